"""Archives of klines, in the form in which they are published: whole, once, and in order, or refused."""

from __future__ import annotations

import hashlib
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.errors import ConfigError, DataError
from bt_framework.testing.bar_contracts import check_bar_source
from bt_plugins.bars.binance_klines import BinanceKlines, Gaps, build
from bt_plugins.bars.binance_klines._archive import archive_of

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
MINUTE = timedelta(minutes=1)


def line(opens: datetime, close: float = 2.0, *, unit: int = 1_000) -> str:
    first = int(opens.timestamp() * unit)
    last = first + 60 * unit - 1
    return f"{first},1.50000000,2.50000000,1.00000000,{close:.8f},10.50000000,{last},21.0,7,5.0,10.0,0\n"


def minutes(start: datetime, count: int, *, unit: int = 1_000) -> str:
    return "".join(line(start + k * MINUTE, k + 1.0, unit=unit) for k in range(count))


@pytest.fixture
def archive(tmp_path):
    def archive(name: str, text: str) -> str:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
            container.writestr(path.stem + ".csv", text)
        return str(path)

    return archive


def bars(*files: str, **keys):
    return check_bar_source(build(BinanceKlines(files=list(files), **keys)))


def refused(*files: str, **keys) -> str:
    with pytest.raises(DataError) as error:
        list(build(BinanceKlines(files=list(files), **keys)).tables(lambda done, total: None))
    return str(error.value)


AUGUST, SEPTEMBER = datetime(2024, 8, 31, 23, 58, tzinfo=UTC), datetime(2024, 9, 1, tzinfo=UTC)


@pytest.mark.parametrize("header", ["", HEADER])
def test_an_archive_is_its_bars(archive, header):
    row, _ = bars(archive("BTCUSDT-1m-2024-08.zip", header + minutes(AUGUST, 2))).to_pylist()
    assert row == {
        "symbol": "BTCUSDT",
        "datetime": AUGUST,
        "open": 1.5,
        "high": 2.5,
        "low": 1.0,
        "close": 1.0,
        "volume": 10.5,
        "adj_factor": 1.0,
        "outlier_flag": 0,
    }


def test_months_follow_each_other_whatever_their_unit_and_the_order_of_their_names(archive):
    december = datetime(2024, 12, 31, 23, 58, tzinfo=UTC)
    january = datetime(2025, 1, 1, tzinfo=UTC)
    later = archive("BTCUSDT-1m-2025-01.zip", minutes(january, 2, unit=1_000_000))
    earlier = archive("BTCUSDT-1m-2024-12.zip", minutes(december, 2))
    assert bars(later, earlier)["datetime"].to_pylist() == [december + k * MINUTE for k in range(4)]


def test_a_month_may_be_followed_by_days_and_by_unpacked_files(archive, tmp_path):
    archive("BTCUSDT-1m-2024-08.zip", minutes(AUGUST, 2))
    (tmp_path / "BTCUSDT-1m-2024-09-01.csv").write_text(HEADER + minutes(SEPTEMBER, 3))
    (tmp_path / "ETHUSDT-1m-2024-08.csv").write_text(minutes(AUGUST, 2))
    assert sorted(bars(str(tmp_path))["symbol"].to_pylist()) == ["BTCUSDT"] * 5 + ["ETHUSDT"] * 2


@pytest.mark.parametrize("name", ["1000SHIBUSDT", "BTCUSDT_240329", "ETH-BTC"])
def test_symbols_of_every_kind_are_read_from_names(name):
    found = archive_of(Path(f"x/{name}-15m-2024-08-09.zip"))
    assert (found.symbol, found.interval_ns, found.period) == (name, 900_000_000_000, "2024-08-09")


def test_a_missing_bar_is_refused_or_counted(archive):
    first = archive("BTCUSDT-1m-2024-08.zip", minutes(AUGUST, 1))
    second = archive("BTCUSDT-1m-2024-09.zip", minutes(SEPTEMBER, 1) + minutes(SEPTEMBER + 5 * MINUTE, 1))
    assert refused(first, second) == (
        f"BTCUSDT lacks 5 bars, the first after 2024-08-31 23:58:00 ({second}). Fetch the archives that are missing;"
        " where the exchange has none, bars.gaps=keep takes what there is."
    )
    source = build(BinanceKlines(files=[first, second], gaps=Gaps.keep))
    assert sum(table.num_rows for table in source.tables(lambda done, total: None)) == 3
    assert source.findings == {"missing bars": 5}


def test_a_bar_that_is_there_twice_is_refused_even_in_two_files(archive):
    month = archive("BTCUSDT-1m-2024-08.zip", minutes(AUGUST, 2))
    day = archive("BTCUSDT-1m-2024-08-31.zip", minutes(AUGUST + MINUTE, 1))
    assert refused(month, day, gaps=Gaps.keep) == (
        f"{day}: BTCUSDT has two bars at 2024-08-31 23:59:00. Bars must come once, 1m apart: give each month or day"
        " once."
    )


def test_a_bar_between_two_others_is_refused(archive):
    text = minutes(AUGUST, 1) + line(AUGUST + timedelta(seconds=90))
    path = archive("BTCUSDT-1m-2024-08.zip", text)
    assert refused(path, gaps=Gaps.keep).startswith(
        f"{path}: BTCUSDT has, after 2024-08-31 23:58:00, the bar of 2024-08-31 23:59:30."
    )


@given(missing=st.sets(st.integers(1, 28), max_size=12), cut=st.integers(1, 29))
def test_bars_that_are_missing_are_counted_wherever_a_file_ends(tmp_path_factory, missing, cut):
    folder = tmp_path_factory.mktemp("klines")
    for name, span in (("2024-08", range(cut)), ("2024-09", range(cut, 30))):
        text = "".join(line(AUGUST + k * MINUTE) for k in span if k not in missing)
        (folder / f"BTCUSDT-1m-{name}.csv").write_text(text)
    if set(range(cut, 30)) <= missing:
        return
    source = build(BinanceKlines(files=[str(folder)], gaps=Gaps.keep))
    assert sum(t.num_rows for t in source.tables(lambda done, total: None)) == 30 - len(missing)
    assert source.findings == ({"missing bars": len(missing)} if missing else {})


def test_a_checksum_beside_an_archive_is_compared(archive):
    path = Path(archive("BTCUSDT-1m-2024-08.zip", minutes(AUGUST, 2)))
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    beside = path.with_name(path.name + ".CHECKSUM")
    beside.write_text(f"{right}  {path.name}\n")
    assert bars(str(path)).num_rows == 2
    beside.write_text(f"{'0' * 64}  {path.name}\n")
    assert refused(str(path)) == (
        f"{path} is not what {beside.name} says: its SHA-256 is {right[:16]}…, not {'0' * 16}…. Fetch it again."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{} cannot be read as klines: Empty CSV file. Fetch it again."),
        (HEADER, "{} holds no bar. Fetch it again."),
        (minutes(AUGUST, 1) + "1,2,3\n", "{}, line 2 must have 12 fields, has 3."),
        (
            HEADER + minutes(AUGUST, 1).replace("2.50", "x"),
            "{}, line 2: high must be a number, was 'x000000'.",
        ),
        (minutes(AUGUST, 1, unit=1), "{}, line 1: open_time must be ms or us since 1970, was 1725148680."),
        (HEADER + "soon" + minutes(AUGUST, 1), "{}, line 2: open_time must be a number, was 'soon"),
        (minutes(AUGUST, 1, unit=10**9), "{}, line 1: open_time must be ms or us since 1970, was 17251486"),
        ("0" + minutes(AUGUST, 1)[13:], "{}, line 1: open_time must be ms or us since 1970, was 0."),
    ],
)
def test_a_wrong_archive_is_named_with_its_line(archive, text, message):
    path = archive("BTCUSDT-1m-2024-08.zip", text)
    assert refused(path).startswith(message.format(path))


def test_files_that_are_no_archives_are_named(tmp_path):
    path = tmp_path / "BTCUSDT-1m-2024-08.zip"
    path.write_bytes(b"PK no zip")
    assert refused(str(path)).startswith(f"{path} cannot be read as klines: ")
    with zipfile.ZipFile(path, "w") as container:
        container.writestr("a.csv", "")
        container.writestr("b.csv", "")
    assert refused(str(path)) == f"{path} must hold one CSV file, held 2."


def test_a_damaged_archive_is_named(archive):
    path = Path(archive("BTCUSDT-1m-2024-08.zip", minutes(AUGUST, 500)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert refused(str(path)).startswith(f"{path} cannot be read as klines: ")


def test_names_intervals_and_keys_that_do_not_fit_are_refused(archive):
    odd = archive("bitcoin.zip", minutes(AUGUST, 1))
    months = archive("BTCUSDT-1mo-2024-08.zip", minutes(AUGUST, 1))
    minute, hour = (archive(f"BTCUSDT-{i}-2024-08.zip", minutes(AUGUST, 1)) for i in ("1m", "1h"))
    assert (
        refused(odd) == f"{odd}: the name must be like BTCUSDT-1m-2024-08.zip, it says symbol and interval."
    )
    assert refused(months) == f"{months}: months are not of one length. Take 1d archives."
    assert refused(minute, hour).startswith("bars.files must be of one interval, were of 1h and 1m.")
    with pytest.raises(ConfigError, match=r"interval_ns must be 0 or that of the files, 1m, was 5000\."):
        list(build(BinanceKlines(files=[minute], interval_ns=5_000)).tables(lambda done, total: None))
    with pytest.raises(ConfigError, match=r"files must name at least one file, was \[\]\."):
        list(build(BinanceKlines()).tables(lambda done, total: None))
