"""Small files of quotes and trades: what each row becomes, what is dropped, what is refused."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bt_framework.data.source import FeedReport
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.quotes import Quotes, build

Row = tuple[str, int, float, float]
CSV = {"columns": {"time": "0", "bid": "1", "bid_size": "2", "ask": "3", "ask_size": "4"}, "time_unit": "ns"}
ALL = {name: name for name in ("time", "bid", "bid_size", "ask", "ask_size", "price", "size", "exchange")}
_LETTERS = {EventKind.DEPTH: "", EventKind.TRADE: "trade "}


def read(path: Path | Sequence[Path], **options: object) -> tuple[list[Row], FeedReport]:
    """Rows as (what, ts, px, qty), where what is bid, ask, trade buy, trade sell or trade."""
    events, report = events_of(path, **options)
    rows = []
    for ev, ts, local_ts, px, qty, *_ in events.tolist():
        assert local_ts == ts
        trade = ev & 0xFF == EventKind.TRADE
        words = ("buy", "sell") if trade else ("bid", "ask")
        side = words[0] if ev & EventFlag.BUY else words[1] if ev & EventFlag.SELL else ""
        rows.append((_LETTERS[EventKind(ev & 0xFF)] + side, ts, px, qty))
    return rows, report


def events_of(path: Path | Sequence[Path], **options: object) -> tuple[np.ndarray, FeedReport]:
    paths = [path] if isinstance(path, Path) else path
    (feed,) = build(Quotes(files=list(map(str, paths)), **options)).feeds()  # type: ignore[arg-type]
    report = FeedReport()
    chunks = [np.zeros(0, EVENT), *(chunk.copy() for chunk in feed.chunks(report, lambda *_: None))]
    return np.concatenate(chunks), report


def write(path: Path, text: str, member: str = "") -> Path:
    if not member:
        path.write_text(text)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, text)
    return path


@pytest.fixture
def csv(tmp_path: Path):
    """Return a function that reads the text of a CSV file."""

    def read_text(text: str, **options: object) -> tuple[list[Row], FeedReport]:
        return read(write(tmp_path / "abc.csv", text), **{**CSV, **options})

    return read_text


def utc_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def test_the_first_quote_sets_both_sides_and_a_size_replaces_one(csv):
    rows, _ = csv("1,10,5,11,6\n2,10,7,11,6\n")
    assert rows == [("bid", 1, 10.0, 5.0), ("ask", 1, 11.0, 6.0), ("bid", 2, 10.0, 7.0)]


def test_a_quote_that_moves_up_moves_its_ask_first(csv):
    rows, _ = csv("1,10,5,11,6\n2,11,5,12,6\n")
    assert rows[2:] == [
        ("ask", 2, 12.0, 6.0),
        ("ask", 2, 11.0, 0.0),
        ("bid", 2, 11.0, 5.0),
        ("bid", 2, 10.0, 0.0),
    ]


def test_a_quote_that_moves_down_moves_its_bid_first(csv):
    rows, _ = csv("1,10,5,11,6\n2,9,5,10,6\n")
    assert rows[2:] == [
        ("bid", 2, 9.0, 5.0),
        ("bid", 2, 10.0, 0.0),
        ("ask", 2, 10.0, 6.0),
        ("ask", 2, 11.0, 0.0),
    ]


def test_a_side_of_no_price_or_no_quantity_is_taken_away_and_one_that_is_empty_stays(csv):
    rows, _ = csv("1,10,5,11,6\n2,0,5,,\n3,10,5,,\n4,,,11,0\n")
    assert rows[2:] == [("bid", 2, 10.0, 0.0), ("bid", 3, 10.0, 5.0), ("ask", 4, 11.0, 0.0)]


def test_after_a_crossed_book_both_sides_are_set_again(csv):
    rows, report = csv("1,10,5,11,6\n2,11,5,11,6\n3,10,5,11,6\n")
    assert rows[2:] == [
        # The bid reaches the ask, which is said again first: the engine keeps the later one.
        ("bid", 2, 11.0, 5.0),
        ("bid", 2, 10.0, 0.0),
        ("bid", 3, 11.0, 0.0),
        ("bid", 3, 10.0, 5.0),
        ("ask", 3, 11.0, 6.0),
    ]
    assert report.notes["locked_quotes"] == 1
    assert "crossed_quotes" not in report.notes


def test_a_bid_alone_and_the_ask_of_the_same_time_after_it_are_one_update(csv):
    rows, _ = csv("1,10,5,11,6\n2,11,5,,\n2,,,12,6\n3,12,5,,\n4,,,13,6\n")
    assert rows[2:6] == [
        ("ask", 2, 12.0, 6.0),
        ("ask", 2, 11.0, 0.0),
        ("bid", 2, 11.0, 5.0),
        ("bid", 2, 10.0, 0.0),
    ]
    assert rows[6][:2] == ("bid", 3)


def test_quantities_that_the_file_lacks_are_the_default(tmp_path):
    path = write(tmp_path / "a.csv", "1,10,11\n")
    options = {"columns": {"time": "0", "bid": "1", "ask": "2"}, "time_unit": "ns", "default_qty": 7.0}
    assert read(path, **options)[0] == [("bid", 1, 10.0, 7.0), ("ask", 1, 11.0, 7.0)]


def test_trades_take_their_side_from_the_quote_and_between_quotes_from_the_last_change(csv):
    text = "time,bid,bid_size,ask,ask_size,price,size,exchange\n"
    text += "1,,,,,10.5,1,\n2,10,5,11,6,,,\n3,,,,,11,1,\n4,,,,,10,1,\n5,,,,,10.4,1,\n6,,,,,10.4,1,\n7,,,,,10.3,1,\n"
    text += "8,,,,,12,1,\n9,,,,,9,1,\n"
    rows, report = csv(text, columns=ALL)
    sides = [what for what, *_ in rows if what.startswith("trade")]
    assert sides == [
        "trade ",
        "trade buy",
        "trade sell",
        "trade buy",
        "trade buy",
        "trade sell",
        "trade buy",
        "trade sell",
    ]
    assert report.notes["trades_without_side"] == 1


def test_trades_of_a_file_of_their_own_come_before_the_quotes_of_the_same_time(tmp_path):
    quotes = write(tmp_path / "q.csv", "time,bid,ask\n1,10,11\n2,11,12\n4,13,14\n")
    trades = write(tmp_path / "t.csv", "time,price,size\n0,9,1\n2,11,1\n3,12,1\n5,13,1\n")
    columns = {"time": "time", "bid": "bid", "ask": "ask", "price": "price", "size": "size"}
    for files in ([quotes, trades], [trades, quotes]):
        rows, _ = read(files, columns=columns, time_unit="ns", symbols=["X", "X"])
        assert [ts for _, ts, *_ in rows] == sorted(ts for _, ts, *_ in rows)
        assert next(row[0] for row in rows if row[1] == 2) == "trade buy"
        assert [row[:3] for row in rows if row[0].startswith("trade")] == [
            ("trade ", 0, 9.0),
            ("trade buy", 2, 11.0),
            ("trade buy", 3, 12.0),
            ("trade sell", 5, 13.0),
        ]


VENUES = "time,bid,bid_size,ask,ask_size,price,size,exchange\n"


def test_the_best_of_all_venues_is_the_book_with_their_sizes_summed(csv):
    rows, _ = csv(VENUES + "1,10,5,12,6,,,A\n2,10,7,11,1,,,B\n3,9,1,12,1,,,B\n4,0,0,0,0,,,A\n", columns=ALL)
    assert rows == [
        ("bid", 1, 10.0, 5.0),
        ("ask", 1, 12.0, 6.0),
        ("bid", 2, 10.0, 12.0),
        ("ask", 2, 11.0, 1.0),
        ("ask", 2, 12.0, 0.0),
        ("bid", 3, 10.0, 5.0),
        ("ask", 3, 12.0, 7.0),
        ("ask", 3, 11.0, 0.0),
        ("bid", 4, 9.0, 1.0),
        ("bid", 4, 10.0, 0.0),
        ("ask", 4, 12.0, 1.0),
    ]


def test_of_venues_that_cross_the_older_quote_is_withdrawn_until_it_comes_again(csv):
    text = VENUES + "1,10,5,12,6,,,A\n2,12,7,13,1,,,B\n3,11,1,12,6,,,A\n"
    rows, report = csv(text, columns=ALL)
    assert rows[2:] == [
        ("ask", 2, 13.0, 1.0),
        ("ask", 2, 12.0, 0.0),
        ("bid", 2, 12.0, 7.0),
        ("bid", 2, 10.0, 0.0),
        ("bid", 3, 11.0, 1.0),
        ("bid", 3, 12.0, 0.0),
        ("ask", 3, 12.0, 6.0),
        ("ask", 3, 13.0, 0.0),
    ]
    assert (report.notes["locked_quotes"], report.notes["withdrawn_venue_quotes"]) == (2, 2)
    rows, report = csv(text, columns=ALL, crossed_venues="keep")
    assert [row[:3] for row in rows[2:4]] == [("bid", 2, 12.0), ("bid", 2, 10.0)]
    assert "withdrawn_venue_quotes" not in report.notes


def test_a_venues_own_crossed_quote_is_kept_as_it_is(csv):
    rows, report = csv(VENUES + "1,12,5,11,6,,,A\n", columns=ALL)
    assert rows == [("bid", 1, 12.0, 5.0), ("ask", 1, 11.0, 6.0)]
    assert report.notes["crossed_quotes"] == 1


def test_book_best_takes_rows_as_they_are_whatever_their_venue(csv):
    rows, _ = csv(VENUES + "1,10,5,12,6,,,A\n2,9,7,11,1,,,B\n", columns=ALL, book="best")
    assert {row[:3] for row in rows if row[3] > 0} == {
        ("bid", 1, 10.0),
        ("ask", 1, 12.0),
        ("bid", 2, 9.0),
        ("ask", 2, 11.0),
    }


def test_rows_that_become_no_event_are_counted_with_their_first_place(csv, tmp_path):
    text = (
        VENUES
        + "2,10,5,12,6,,,A\n3,10,5,12,6,,,A\n4,10,5,12,6,,,A\n5,,,,,,,A\n1,9,5,12,6,,,A\n6,,,,,10,0,A\n"
    )
    rows, report = csv(text, columns=ALL)
    path = tmp_path / "abc.csv"
    assert len(rows) == 2
    assert report.dropped == {
        "unchanged best": 2,
        "neither quote nor trade": 1,
        "trade without price or quantity": 1,
        "time before an earlier row's": 1,
    }
    assert report.first_dropped == {
        "unchanged best": f"{path} line 3",
        "neither quote nor trade": f"{path} line 5",
        "time before an earlier row's": f"{path} line 6",
        "trade without price or quantity": f"{path} line 7",
    }
    assert report.rows_read == 6


@pytest.mark.parametrize(
    ("options", "text", "ns"),
    [
        ({"time_unit": "s"}, "1398902400", utc_ns("2014-05-01")),
        ({"time_unit": "s"}, "1398902400.123456789", utc_ns("2014-05-01") + 123_456_789),
        ({"time_unit": "ms"}, "1398902400000.5", utc_ns("2014-05-01") + 500_000),
        ({"time_unit": "us"}, "1398902400000001", utc_ns("2014-05-01") + 1_000),
        ({"time_unit": "ns"}, "1398902400000000001", utc_ns("2014-05-01") + 1),
        ({}, "2014-05-01 09:30:00", utc_ns("2014-05-01T09:30:00")),
        ({}, "2014-05-01T09:30", utc_ns("2014-05-01T09:30:00")),
        ({}, "20140501 09:30:00.1", utc_ns("2014-05-01T09:30:00") + 100_000_000),
        ({}, "2014/05/01 09:30:00.123456789", utc_ns("2014-05-01T09:30:00") + 123_456_789),
        ({}, "2014.05.01 09:30:00Z", utc_ns("2014-05-01T09:30:00")),
        ({}, "2014-05-01T09:30:00+02:00", utc_ns("2014-05-01T07:30:00")),
        ({}, "2014-05-01T09:30:00-0430", utc_ns("2014-05-01T14:00:00")),
        ({"time_zone": "America/New_York"}, "2014-05-01 09:30:00", utc_ns("2014-05-01T13:30:00")),
        ({"time_zone": "America/New_York"}, "2014-12-01 09:30:00", utc_ns("2014-12-01T14:30:00")),
        ({"time_zone": "America/New_York"}, "2014-03-09 01:59:59", utc_ns("2014-03-09T06:59:59")),
        ({"time_zone": "America/New_York"}, "2014-03-09 03:00:00", utc_ns("2014-03-09T07:00:00")),
        ({"time_zone": "America/New_York"}, "2014-11-02 01:30:00", utc_ns("2014-11-02T05:30:00")),
        ({"time_zone": "America/New_York"}, "2014-11-02 02:00:00", utc_ns("2014-11-02T07:00:00")),
        ({"time_zone": "America/New_York"}, "2014-05-01T09:30:00Z", utc_ns("2014-05-01T09:30:00")),
        ({"time_zone": "UTC-05:00"}, "2014-05-01 09:30:00", utc_ns("2014-05-01T14:30:00")),
        ({"time_zone": "UTC+05:30"}, "2016-02-29 09:30:00", utc_ns("2016-02-29T04:00:00")),
    ],
)
def test_times_are_read_to_the_nanosecond_in_any_zone(csv, options, text, ns):
    rows, _ = csv(f"{text},10,5,11,6\n", **{"time_unit": "text", **options})
    assert {ts for _, ts, *_ in rows} == {ns}


def test_times_since_midnight_take_their_day_from_the_name(tmp_path):
    path = write(tmp_path / "abc_2014-05-01.csv", "34200000,10,5,11,6\n")
    options = {**CSV, "time_unit": "ms", "time_from": "midnight", "time_zone": "America/New_York"}
    rows, report = read(path, **options)
    assert rows[0] == ("bid", utc_ns("2014-05-01T13:30:00"), 10.0, 5.0)
    assert report.symbol == "ABC"
    with pytest.raises(DataError, match="must have its day in its name"):
        read(write(tmp_path / "abc.csv", "1,10,5,11,6\n"), **options)


def test_prices_are_those_that_python_reads(csv):
    texts = [
        "0.1",
        "1.38671",
        "1.50",
        "100",
        "7.00000000",
        "0.00000001",
        "123456.789",
        "9007199254740991",
        ".5",
        "5.",
    ]
    rows, _ = csv("".join(f"{i},{text},1,,\n" for i, text in enumerate(texts)))
    assert [px for what, _, px, qty in rows if what == "bid" and qty] == [float(text) for text in texts]
    rows, _ = csv("1,1836300,1,,\n", price_scale=10_000.0)
    assert rows == [("bid", 1, 183.63, 1.0)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("x,10,5,11,6", "column 0 ('x') is no time"),
        ("-1,10,5,11,6", "column 0 ('-1') is no time"),
        (",10,5,11,6", "column 0 ('') is no time"),
        ("99999999999999999999,10,5,11,6", "column 0 ('99999999999999999999') is no time"),
        ("1,ten,5,11,6", "column 1 ('ten') is no number >= 0"),
        ("1,-10,5,11,6", "column 1 ('-10') is no number >= 0"),
        ("1,1e5,5,11,6", "column 1 ('1e5') is no number >= 0"),
        ("1,1.2.3,5,11,6", "column 1 ('1.2.3') is no number >= 0"),
        ("1,.,5,11,6", "column 1 ('.') is no number >= 0"),
        ("1,nan,5,11,6", "column 1 ('nan') is no number >= 0"),
        ("1,99999999999999999,5,11,6", "column 1 ('99999999999999999') is no number >= 0"),
        ("1,10,5,11", "it has 4 columns, must have 5 or more"),
        ("1,10,5,1", "it has 4 columns, must have 5 or more"),
    ],
)
def test_a_malformed_line_is_refused_with_its_place_or_counted(csv, tmp_path, line, why):
    text = f"1,10,5,11,6\n\n{line}\n2,10,5,12,6\n"
    where = f"{tmp_path / 'abc.csv'} line 3"
    with pytest.raises(DataError) as error:
        csv(text)
    assert str(error.value).startswith(f"{where} is malformed: {why}. data.max_malformed_lines is 0")
    rows, report = csv(text, max_malformed_lines=1)
    assert rows[2:] == [("ask", 2, 12.0, 6.0), ("ask", 2, 11.0, 0.0)]
    assert (report.dropped, report.first_dropped) == ({"malformed": 1}, {"malformed": where})
    assert report.first_problem == f"{where} is malformed: {why}."


@pytest.mark.parametrize(
    "text",
    [
        "2014-02-29 09:30",
        "2014-13-01 09:30",
        "2014-05-01",
        "2014-05-01 24:00",
        "2014-05/01 09:30",
        "2014-05-01 09:30:60",
        "2014-05-01 09:30:00+25",
        "2014-05-01 09:30:00 PM",
        "1969-12-31 00:00",
    ],
)
def test_times_that_are_none_are_malformed(csv, text):
    with pytest.raises(DataError, match="is no time"):
        csv(f"{text},10,5,11,6\n", time_unit="text")


def test_a_line_longer_than_a_chunk_and_a_name_longer_than_seven_letters_are_refused(csv):
    with pytest.raises(DataError, match=r"line 1 is longer than data.chunk_bytes \(1,024\)"):
        csv("1," + "0" * 5000, chunk_bytes=1024)
    with pytest.raises(DataError, match=r"column 7 \('NASDAQ-BX'\) has more than 7 letters"):
        csv(VENUES + "1,10,5,12,6,,,NASDAQ-BX\n", columns=ALL)


def test_more_venues_than_there_are_is_a_wrong_column(csv):
    with pytest.raises(DataError, match="must have at most 64 exchanges"):
        csv(VENUES + "".join(f"{i},10,5,12,6,,,V{i}\n" for i in range(65)), columns=ALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"bid": "1"}}, "data.columns must name time and at least one of bid, ask and price"),
        ({"columns": {"time": "0"}}, "data.columns must name time and at least one of bid, ask and price"),
        ({"columns": {"time": "0", "bids": "1"}}, "Did you mean 'bid'?"),
        ({**CSV, "book": "venues"}, "data.columns must name exchange if data.book is venues."),
        ({"delimiter": ",,"}, "data.delimiter must be one character"),
        ({"price_scale": 3.0}, "data.price_scale must be a power of ten"),
        ({"time_from": "midnight", "time_unit": "text"}, "data.time_unit must be s, ms, us or ns"),
        ({"time_zone": "New York"}, "data.time_zone must be UTC, UTC+hh:mm or a name"),
        ({"default_qty": 0.0}, "data.default_qty must be > 0"),
        ({"feed_latency_ns": -1}, "data.feed_latency_ns must be >= 0"),
        ({"skip_conditions": ["odd"]}, "Did you mean 'odd_lot'?"),
        ({"suspicious": "drop"}, "data.suspicious must be one of keep, skip"),
        ({"symbols": ["A", "B"]}, "data.symbols must name the symbol of each file"),
        ({"tick_size": {"A": 0.0}}, "data.tick_size.A must be > 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError) as error:
        Quotes(files=["a.csv"], **options)
    assert message in str(error.value)


def test_files_that_cannot_be_read_say_why(tmp_path):
    def feeds(*names: str, **options: object) -> None:
        build(Quotes(files=[str(tmp_path / name) for name in names], **options)).feeds()  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"data\.files must name at least one file"):
        feeds()
    write(tmp_path / "a.csv", "time,bid\n1,2\n")
    with pytest.raises(DataError, match=r"a.csv is no zip file of LEAN's"):
        feeds("a.csv")
    with pytest.raises(ConfigError, match="must differ from each other"):
        feeds("a.csv", "a.csv", **CSV)
    with pytest.raises(DataError, match=r"must have the columns of data.columns \(when, bid\).*'time, bid'"):
        feeds("a.csv", columns={"time": "when", "bid": "bid"})
    with pytest.raises(DataError, match=r"missing.csv does not exist"):
        feeds("missing.csv", **CSV)
    with pytest.raises(ConfigError, match=r"data\.tick_size's symbols must be one of A, was 'B'"):
        feeds("a.csv", tick_size={"B": 0.1}, **CSV)


def lean(path: Path, member: str, *lines: str) -> Path:
    return write(path, "".join(f"{line}\n" for line in lines), member)


def test_a_truncated_zip_file_is_refused(tmp_path):
    path = lean(
        tmp_path / "a.zip", "20140501_eurusd_tick_quote.csv", *(f"{i},1.1{i},1.2{i}" for i in range(500))
    )
    content = bytearray(path.read_bytes())
    (feed,) = build(Quotes(files=[str(path)])).feeds()
    content[1000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip is truncated or corrupt: Bad CRC-32"):
        list(feed.chunks(FeedReport(), lambda *_: None))


def test_leans_paths_tell_symbol_market_and_zone(tmp_path):
    places = {
        "forex/oanda/tick/eurusd/20140501_quote.zip": ("EURUSD_OANDA", "UTC"),
        "forex/fxcm/tick/usdjpy/20140501_quote.zip": ("USDJPY_FXCM", "UTC-05:00"),
        "lean_fxcm_eurusd_20140501_quote.zip": ("EURUSD_FXCM", "UTC-05:00"),
        "elsewhere/eurusd.zip": ("EURUSD", "UTC"),
    }
    for name, (symbol, zone) in places.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lean(path, f"20140501_{symbol[:6].lower()}_tick_quote.csv", "0,1.5,1.6")
        rows, report = read(path)
        assert (report.symbol, report.notes["time_zone"]) == (symbol, zone)
        assert rows[0][1] == utc_ns("2014-05-01") + (5 * 3_600_000_000_000 if "fxcm" in name else 0)
        (feed,) = build(Quotes(files=[str(path)])).feeds()
        instrument = feed.known_instrument(report)
        assert instrument is not None
        assert instrument.tick_size == (0.001 if "jpy" in name else 0.00001)


def test_leans_equity_ticks_are_read_with_their_conditions(tmp_path):
    quotes = lean(
        tmp_path / "20131007_quote.zip",
        "20131007_ibm_Quote_Tick.csv",
        "34200000,1820000,100,0,0,N,1,0",
        "34200000,0,0,1820100,200,Q,1,0",
        "34200005,0,0,1819000,100,P,1,1",
        "34200009,1820000,0,0,0,N,1,0",
    )
    trades = lean(
        tmp_path / "20131007_trade.zip",
        "20131007_ibm_Trade_Tick.csv",
        "34200001,1820100,50,D,1,0",
        "34200002,1820000,50,D,20100000,0",
        "34200003,1820000,50,N,20000020,0",
        "34200004,1830000,50,N,1,1",
    )
    open_ns = utc_ns("2013-10-07T13:30:00")
    rows, report = read([trades, quotes])
    assert rows == [
        ("bid", open_ns, 182.0, 100.0),
        ("ask", open_ns, 182.01, 200.0),
        ("trade buy", open_ns + 1_000_000, 182.01, 50.0),
        ("trade sell", open_ns + 3_000_000, 182.0, 50.0),
        ("bid", open_ns + 9_000_000, 182.0, 0.0),
    ]
    assert report.dropped == {"sale condition": 1, "suspicious": 2}
    rows, report = read([trades, quotes], suspicious="keep", skip_conditions=["intermarket_sweep"])
    assert report.dropped == {"sale condition": 1}
    assert ("ask", open_ns + 5_000_000, 181.9, 100.0) in rows


@pytest.mark.parametrize(
    ("member", "line"),
    [
        ("20131007_ibm_second_trade.csv", "1,2,3,4,5,6"),
        ("20131007_ibm_minute_quote.csv", "1,2,3,4,5,6,7,8,9,10,11"),
        ("20131007_ibm_Quote_Tick.csv", "1,2,3"),
        ("20131007_ibm_Trade_Tick.csv", "1,2,3"),
        ("ibm.csv", "1,1.5,1.6"),
        ("20131007_eurusd_tick_quote.csv", "1,1.5,1.6,1.7"),
    ],
)
def test_other_zip_files_are_not_recognised(tmp_path, member, line):
    path = lean(tmp_path / "a.zip", member, line)
    expected = member == "20131007_ibm_Quote_Tick.csv"
    assert Quotes.recognise(path, b"") is expected
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and no more")
    assert not Quotes.recognise(tmp_path / "b.zip", b"")
    assert not Quotes.recognise(tmp_path / "missing.zip", b"")


def test_local_time_is_later_by_the_feed_latency(tmp_path):
    path = write(tmp_path / "a.csv", "1000,10,5,11,6\n")
    events, _ = events_of(path, **CSV, feed_latency_ns=250)
    assert set(events["local_ts"] - events["exch_ts"]) == {250}


def test_compressed_and_zipped_text_gives_the_same_events(tmp_path):
    text = "".join(f"{i},{10 + i % 3},5,{13 + i % 2},6\n" for i in range(1000))
    plain, _ = read(write(tmp_path / "a.csv", text), **CSV)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    zipped = write(tmp_path / "a.zip", text, "a.csv")
    header = write(
        tmp_path / "h.csv",
        "time;bid;bid_size;ask;ask_size\r\n" + text.replace(",", ";").replace("\n", "\r\n"),
    )
    assert len(plain) > 1000
    assert read(tmp_path / "a.csv.gz", **CSV)[0] == plain
    assert read(zipped, **CSV)[0] == plain
    named = {name: name for name in CSV["columns"]}
    assert read(header, columns=named, time_unit="ns", delimiter=";")[0] == plain
