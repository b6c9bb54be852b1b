"""Bars as events: what a close becomes, which bars make none, and what their identity follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bar_stores import DAY_NS, OPEN_US, bars_of, store_bars
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.bars import closes as _closes
from bt_framework.bars.closes import Closes
from bt_framework.bars.quotes import BarsFeed, Quoter, fine_tick
from bt_framework.bars.schema import BarFlag
from bt_framework.bars.store import BarStore
from bt_framework.bars.trading import Prices
from bt_framework.data.fidelity import judge
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EventFlag, EventKind
from bt_plugins.data.bars import Bars, build

FIRST_CLOSE_TS = OPEN_US * 1_000 + DAY_NS
_Rows = np.ndarray[Any, Any]


def feed_of(store_dir: Path, symbol: str = "AAA", **config: Any) -> BarsFeed:
    source = build(Bars(source="test", symbols=[symbol], **config))
    source.use_store(store_dir)
    (feed,) = source.feeds()
    return feed


def events_of(store_dir: Path, symbol: str = "AAA", **config: Any) -> tuple[_Rows, FeedReport]:
    report = FeedReport()
    chunks = [c.copy() for c in feed_of(store_dir, symbol, **config).chunks(report, lambda *_: None)]
    return np.concatenate(chunks), report


def words(rows: _Rows) -> list[tuple[int, str, float, float]]:
    """(closes since the first, what, price, quantity) of each row."""
    names = {
        int(EventKind.DEPTH): "quote",
        int(EventKind.TRADE): "print",
        int(EventKind.DEPTH_CLEAR): "clear",
    }
    said = []
    for row in rows.tolist():
        sides = {int(EventFlag.BUY): "bid", int(EventFlag.SELL): "ask", 0: "both"}
        side = sides[row[0] & (EventFlag.BUY | EventFlag.SELL)]
        at = (row[1] - FIRST_CLOSE_TS) // DAY_NS
        said.append((at, f"{names[row[0] & 0xFF]} {side}", row[3], row[4]))
    return said


def test_a_close_becomes_a_print_and_quotes_in_the_place_of_those_before(tmp_path: Path) -> None:
    store_bars(tmp_path, {"AAA": [100.0, 102.0, 101.0]}, volume=[500, 700, 300])
    rows, report = events_of(tmp_path, slippage_bps=10.0, depth_qty=9_000.0)
    assert words(rows) == [
        (-1, "quote bid", 1e-6, 0.0),
        (0, "print bid", 100.0, 500.0),
        (0, "quote bid", 99.9, 9_000.0),
        (0, "quote ask", 100.1, 9_000.0),
        (1, "print bid", 102.0, 700.0),
        (1, "clear both", 0.0, 0.0),
        (1, "quote bid", 101.898, 9_000.0),
        (1, "quote ask", 102.102, 9_000.0),
        (2, "print ask", 101.0, 300.0),
        (2, "clear both", 0.0, 0.0),
        (2, "quote bid", 100.899, 9_000.0),
        (2, "quote ask", 101.101, 9_000.0),
        (3, "quote bid", 100.899, 9_000.0),
    ]
    assert np.all(
        rows["ev"] & np.uint64(EventFlag.EXCH | EventFlag.LOCAL) == EventFlag.EXCH | EventFlag.LOCAL
    )
    assert rows["exch_ts"].tolist() == rows["local_ts"].tolist()
    assert (report.symbol, report.rows_read, report.notes["bar_interval_ns"]) == ("AAA", 3, DAY_NS)


def test_a_publication_delay_is_of_the_receiver_alone(tmp_path: Path) -> None:
    store_bars(tmp_path, {"AAA": [100.0, 101.0]})
    rows, _ = events_of(tmp_path, delay_ns="15min")
    assert np.unique(rows["local_ts"] - rows["exch_ts"]).tolist() == [900_000_000_000]
    assert rows["exch_ts"][1] == FIRST_CLOSE_TS


def test_every_bar_makes_an_event_also_if_nothing_has_changed(tmp_path: Path) -> None:
    store_bars(tmp_path, {"AAA": [100.0, 100.0, 100.0]})
    rows, _ = events_of(tmp_path, slippage_bps=10.0)
    assert [word[:2] for word in words(rows)][1:] == [
        (0, "quote bid"),
        (0, "quote ask"),
        (1, "quote bid"),
        (2, "quote bid"),
        (3, "quote bid"),
    ]
    assert set(rows["qty"][1:]) == {1_000_000.0}


def test_without_slippage_a_tick_lies_between_the_quotes(tmp_path: Path) -> None:
    store_bars(tmp_path, {"AAA": [100.0, 110.0]})
    rows, _ = events_of(tmp_path, slippage_bps=0.0)
    assert words(rows)[1][2] == 100.0
    assert words(rows)[2][2] == 100.000001
    coarse, _ = events_of(tmp_path, slippage_bps=0.0, tick_size={"AAA": 0.25})
    assert words(coarse)[2][2] == 100.25


def test_bars_without_a_close_and_filled_ones_make_no_event_and_are_counted(tmp_path: Path) -> None:
    flags = [0, 0, int(BarFlag.FILLED), int(BarFlag.OUTLIER | BarFlag.REPLACED), 0]
    store_bars(tmp_path, {"AAA": [100.0, np.nan, 101.0, 102.0, 103.0]}, outlier_flag=flags)
    rows, report = events_of(tmp_path)
    assert sorted({at for at, *_ in words(rows)}) == [-1, 0, 3, 4, 5]
    assert report.dropped == {"no close": 1, "flagged bars": 1}
    rows, report = events_of(tmp_path, skip_flags=["replaced", "filled"])
    assert sorted({at for at, *_ in words(rows)}) == [-1, 0, 4, 5]
    rows, report = events_of(tmp_path, skip_flags=[])
    assert sorted({at for at, *_ in words(rows)}) == [-1, 0, 2, 3, 4, 5]


def test_bars_interpolated_from_later_ones_are_never_traded(tmp_path: Path) -> None:
    flags = [0, int(BarFlag.FILLED | BarFlag.INTERPOLATED), 0]
    store_bars(tmp_path, {"AAA": [100.0, 101.0, 102.0]}, outlier_flag=flags)
    rows, report = events_of(tmp_path, skip_flags=[])
    assert sorted({at for at, *_ in words(rows)}) == [-1, 0, 2, 3]
    assert report.dropped == {"flagged bars": 1}


def test_prices_and_volumes_are_adjusted_as_asked_for(tmp_path: Path) -> None:
    # Four new shares for an old one open the third bar.
    columns = {"volume": [10, 10, 40], "adj_factor": [0.25, 0.25, 1.0]}
    store_bars(tmp_path, {"AAA": [400.0, 440.0, 110.0]}, **columns)

    def prints(adjust: str, **config: Any) -> list[tuple[float, float]]:
        rows, _ = events_of(tmp_path, adjust=Prices[adjust], slippage_bps=0.0, **config)
        return [(px, qty) for _, what, px, qty in words(rows) if what.startswith("print")]

    assert prints("none") == [(400.0, 10.0), (440.0, 10.0), (110.0, 40.0)]
    assert prints("backward") == [(100.0, 40.0), (110.0, 40.0), (110.0, 40.0)]
    assert prints("point_in_time") == [(400.0, 10.0), (440.0, 10.0), (440.0, 10.0)]
    assert prints("point_in_time", start="2020-01-03") == [(110.0, 40.0)]


def test_a_later_action_changes_no_price_that_was_known_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    closes = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, 60))), 2)
    steps = np.where(rng.random(60) < 0.2, 1 - 0.01 * rng.random(60), 1.0)
    for last in (40, 60):
        factor = np.cumprod(np.append(1.0, steps[:last][:0:-1]))[::-1]
        store_bars(tmp_path / str(last), {"AAA": closes[:last]}, adj_factor=factor, volume=np.full(last, 1e6))
    before, _ = events_of(tmp_path / "40", tick_size={"AAA": 1e-6})
    after, _ = events_of(tmp_path / "60", tick_size={"AAA": 1e-6})
    assert before[:-1].tobytes() == after[: len(before) - 1].tobytes()
    assert not np.array_equal(
        *(events_of(tmp_path / last, adjust=Prices.backward)[0]["px"][:9] for last in ("40", "60"))
    )


def test_start_and_end_choose_bars_by_their_opening(tmp_path: Path) -> None:
    store_bars(tmp_path, {"AAA": range(100, 110)})
    rows, report = events_of(tmp_path, start="2020-01-03", end="2020-01-05T00:00:00Z")
    assert sorted({at for at, *_ in words(rows)}) == [1, 2, 3, 4]
    assert report.rows_read == 2
    with pytest.raises(DataError, match=r"no bar of AAA that can be traded in the time asked for: 0 read"):
        feed_of(tmp_path, start="2021-01-01")


def test_bars_before_1970_are_refused_for_the_engine_answers_no_order_then(tmp_path: Path) -> None:
    first = -OPEN_US // (DAY_NS // 1_000)
    store_bars(tmp_path, {"AAA": [100.0, 101.0, 102.0]}, at=[first - 1, first, first + 1])
    with pytest.raises(
        DataError, match=r"bars of AAA must open after 1970-01-01 .* opens 1969-12-31T00:00:00"
    ):
        feed_of(tmp_path)
    assert len(events_of(tmp_path, start="1970-01-02")[0]) == 4


def test_blocks_of_any_size_give_the_same_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    closes = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.01, 200))), 2)
    closes[rng.random(200) < 0.1] = np.nan
    factor = np.repeat([0.25, 0.5, 1.0, 1.0], 50)
    columns = {"at": np.cumsum(rng.integers(1, 40, 200)), "adj_factor": factor, "volume": np.full(200, 7.0)}
    store_bars(tmp_path, {"AAA": closes}, **columns)
    whole, _ = events_of(tmp_path)
    identity = feed_of(tmp_path).identity()
    for rows in (1, 7, 100):
        monkeypatch.setattr(_closes, "BLOCK_ROWS", rows)
        assert events_of(tmp_path)[0].tobytes() == whole.tobytes()
        assert feed_of(tmp_path).identity() == identity


def test_equal_bars_have_one_identity_whatever_files_they_are_in(tmp_path: Path) -> None:
    closes = [100.0, 101.0, 102.0, 103.0]
    store_bars(tmp_path / "one", {"AAA": closes})
    store = store_bars(tmp_path / "other", {"AAA": closes[:2], "ZZZ": closes})
    store.append("test", bars_of("AAA", closes[2:], at=[2, 3]), interval_ns=DAY_NS)
    one, other = feed_of(tmp_path / "one").identity(), feed_of(tmp_path / "other").identity()
    assert one == other
    store_bars(tmp_path / "other", {"AAA": [*closes[:3], 103.01]})
    assert feed_of(tmp_path / "other").identity() != one


@pytest.mark.parametrize(
    "option",
    [
        {"slippage_bps": 2.0},
        {"depth_qty": 5.0},
        {"prints": False},
        {"delay_ns": 1},
        {"adjust": Prices.none},
    ],
    ids=lambda option: next(iter(option)),
)
def test_the_identity_follows_every_option_that_decides_the_events(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    store_bars(tmp_path, {"AAA": [100.0, 101.0]}, volume=[5, 5], adj_factor=[0.5, 1.0])
    assert feed_of(tmp_path, **option).identity() != feed_of(tmp_path).identity()


def test_bars_that_change_between_two_reads_are_refused(tmp_path: Path) -> None:
    store_bars(tmp_path, {"AAA": [100.0, 101.0]})
    feed = feed_of(tmp_path)
    store_bars(tmp_path, {"AAA": [100.0, 99.0]})
    with pytest.raises(DataError, match="bars of AAA in source test changed while they were read"):
        list(feed.chunks(FeedReport(), lambda *_: None))


def stored(store_dir: Path, symbol: str = "AAA", **config: Any) -> StoredFeed:
    return EventStore(store_dir).load(feed_of(store_dir, symbol, **config))


@pytest.mark.parametrize(
    "config", [{}, {"delay_ns": "1min"}, {"prints": False, "slippage_bps": 0.0}], ids=str
)
@pytest.mark.parametrize("interval_ns", [DAY_NS, 60_000_000_000], ids=["days", "minutes"])
def test_the_doctor_finds_bars_and_no_defect(
    tmp_path: Path, config: dict[str, Any], interval_ns: int
) -> None:
    rng = np.random.default_rng(2)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 400)))
    volume = rng.integers(0, 1_000, 400)
    at = np.flatnonzero(np.arange(700) % 7 < 5)[:400]
    store_bars(tmp_path, {"AAA": closes}, interval_ns=interval_ns, volume=volume, at=at)
    feed = stored(tmp_path, **config)
    assert {f.check for f in feed.findings} == {"bars", "one clock"}
    assert {str(f.severity) for f in feed.findings} == {"info"}
    fidelity = judge(feed.book_level, feed.findings)
    assert fidelity.grade == "D"
    length = "24h" if interval_ns == DAY_NS else "1min"
    assert fidelity.reasons[0].startswith(f"D: bars: bars of {length}: no queue")
    assert (feed.book_level, feed.has_depth_clear) == ("l1", True)
    assert feed.last_local_ts - feed.first_local_ts == (at[-1] + 2) * interval_ns


def test_sizes_are_fine_by_default_and_otherwise_as_configured(tmp_path: Path) -> None:
    store_bars(tmp_path, {"AAA": [95.0, 650.0], "BBB": [0.5, 0.9]}, volume=[10, 20])
    assert (feed_of(tmp_path).tick_size, feed_of(tmp_path).lot_size) == (1e-6, 1.0)
    assert feed_of(tmp_path, "BBB").tick_size == 1e-9
    own = feed_of(tmp_path, tick_size={"AAA": 0.01}, lot_size={"AAA": 100.0})
    assert (own.tick_size, own.lot_size) == (0.01, 100.0)
    store_bars(tmp_path, {"AAA": [60_000.0, 61_000.0]}, volume=[1.25, 3.0])
    assert (feed_of(tmp_path).tick_size, feed_of(tmp_path).lot_size) == (1e-4, 1e-6)


@pytest.mark.parametrize(("place", "lot_size"), [(99, 1e-6), (100, 1.0), (399, 1.0)])
def test_the_lot_size_follows_the_first_volumes_and_no_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, lot_size: float
) -> None:
    volume = np.full(400, 7.0)
    volume[place] = 7.5
    store_bars(tmp_path, {"AAA": np.full(400, 100.0)}, volume=volume)
    assert feed_of(tmp_path).lot_size == lot_size
    monkeypatch.setattr(_closes, "BLOCK_ROWS", 30)
    assert feed_of(tmp_path).lot_size == lot_size


@given(
    st.lists(st.floats(0.01, 1e5), min_size=1, max_size=40),
    st.floats(0.0, 200.0),
    st.sampled_from([None, 0.01, 0.25]),
)
def test_quotes_are_never_crossed_nor_further_from_the_close_than_asked(
    closes: list[float], slippage_bps: float, tick_size: float | None
) -> None:
    tick = tick_size or fine_tick(max(closes))
    px = np.array(closes)
    quoter = Quoter(Bars(slippage_bps=slippage_bps), tick, 1.0)
    rows = quoter.events(Closes(np.arange(len(px)), px, np.zeros(len(px))))
    assert np.all(np.diff(rows["exch_ts"]) >= 0)
    book: dict[int, dict[float, float]] = {int(EventFlag.BUY): {}, int(EventFlag.SELL): {}}
    part = slippage_bps * 1e-4
    for at, close in enumerate(closes):
        for row in rows[rows["exch_ts"] == at]:
            if int(row["ev"]) & 0xFF == EventKind.DEPTH_CLEAR:
                for side in book.values():
                    side.clear()
                continue
            side = book[int(row["ev"]) & int(EventFlag.BUY | EventFlag.SELL)]
            side[row["px"]] = row["qty"]
        (bid,), (ask,) = (list(side) for side in book.values())
        assert bid < ask
        noise = 1e-9 * close
        assert bid == pytest.approx(max(close * (1 - part), tick), abs=0.5 * tick + noise)
        assert ask == pytest.approx(max(close * (1 + part), bid + tick), abs=0.5 * tick + noise)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"slippage_bps": -1.0}, "data.slippage_bps must be >= 0 and < 10000, was -1.0"),
        ({"slippage_bps": 10_000.0}, "data.slippage_bps must be >= 0 and < 10000"),
        ({"slippage_bps": float("nan")}, "data.slippage_bps must be >= 0"),
        ({"depth_qty": 0.0}, "data.depth_qty must be > 0 and finite, was 0.0"),
        ({"delay_ns": -1}, "data.delay_ns must be >= 0, was -1"),
        ({"tick_size": {"A": 0.0}}, "data.tick_size.A must be > 0 and finite, was 0.0"),
        ({"lot_size": {"A": float("inf")}}, "data.lot_size.A must be > 0 and finite, was inf"),
        ({"symbols": ["A", "A"]}, r"data.symbols must differ from each other, was \['A', 'A'\]"),
        ({"skip_flags": ["fill"]}, "data.skip_flags.*fill.*filled"),
        ({"start": "yesterday"}, "data.start must be an ISO-8601 time, was 'yesterday'"),
        ({"start": "2020-01-02", "end": "2020-01-02"}, "data.end must be later than data.start"),
    ],
)
def test_a_bad_key_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Bars(**config)


def test_a_source_or_symbol_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    store_bars(tmp_path, {"EWA": [20.0, 21.0], "EWC": [25.0, 26.0]}, source="etf")

    def feeds(**config: Any) -> list[str]:
        source = build(Bars(**config))
        source.use_store(tmp_path)
        return [feed.symbol for feed in source.feeds()]

    assert feeds(source="etf") == ["EWA", "EWC"]
    assert feeds(source="etf", symbols=["EWC", "EWA"]) == ["EWC", "EWA"]
    with pytest.raises(
        ConfigError, match=r"data.source must name a source of bars, was ''. There are: etf\."
    ):
        feeds()
    with pytest.raises(DataError, match=r"source of bars.*'etff'.*etf"):
        feeds(source="etff")
    with pytest.raises(DataError, match=r"a symbol of source etf.*EWS.*EW"):
        feeds(source="etf", symbols=["EWS"])
    with pytest.raises(ConfigError, match=r"data.tick_size's symbols"):
        feeds(source="etf", symbols=["EWA"], tick_size={"EWC": 0.01})
    source = build(Bars())
    source.use_store(tmp_path / "empty")
    with pytest.raises(ConfigError, match="There are: none; bt validate bars=NAME stores bars"):
        source.feeds()


def test_a_million_bars_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_closes, "BLOCK_ROWS", 1_000)
    store_bars(tmp_path, {"AAA": np.linspace(100, 101, 10_000)}, interval_ns=60_000_000_000)
    chunks = [len(chunk) for chunk in feed_of(tmp_path).chunks(FeedReport(), lambda *_: None)]
    assert len(chunks) == 12
    assert max(chunks) <= 5 * 1_001
    assert BarStore(tmp_path / "bars").spans("test")["AAA"].rows == 10_000
