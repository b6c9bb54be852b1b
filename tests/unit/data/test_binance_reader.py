"""Small files written by hand: every kind of message, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bt_framework.data.source import FeedReport
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.binance import Binance, build
from bt_plugins.data.binance._kernels import STATE, ScanStatus, scan
from bt_plugins.data.binance._messages import Dropped, MalformedLine, WrongSymbol, rows_of

pytestmark = pytest.mark.usefixtures("own_cache")

T_MS = 1_723_161_256_298
LOCAL_NS = 1_723_161_256_300_000_000
BUY, SELL = EventFlag.BUY, EventFlag.SELL
DEPTH, TRADE, CLEAR, SNAPSHOT = (
    EventKind.DEPTH,
    EventKind.TRADE,
    EventKind.DEPTH_CLEAR,
    EventKind.DEPTH_SNAPSHOT,
)


def depth(u: int = 20, pu: int | None = 10, first: int = 11, **more: Any) -> dict[str, Any]:
    message = {"e": "depthUpdate", "E": T_MS + 1, "T": T_MS, "s": "BTCUSDT", "U": first, "u": u, "pu": pu}
    message |= {"b": [["61800.20", "1.5"]], "a": [["61800.30", "0.000"]]} | more
    return {key: value for key, value in message.items() if value is not None}


def trade(px: str = "61800.30", **more: Any) -> dict[str, Any]:
    message = {"e": "trade", "E": T_MS + 1, "T": T_MS, "s": "BTCUSDT", "t": 7, "p": px, "q": "0.006"}
    return message | {"X": "MARKET", "m": False} | more


def book_ticker(**more: Any) -> dict[str, Any]:
    message = {"e": "bookTicker", "u": 5, "s": "BTCUSDT", "b": "10.1", "B": "2", "a": "10.2", "A": "3"}
    return message | {"T": T_MS, "E": T_MS} | more


def line(
    message: dict[str, Any], local: int | str = LOCAL_NS, *, combined: bool = True, spaces: bool = False
) -> str:
    if combined:
        message = {"stream": f"{message.get('s', 'btcusdt').lower()}@some", "data": message}
    return f"{local} {json.dumps(message, separators=None if spaces else (',', ':'))}\n"


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(lines))
    return path


def read(*paths: Path, **options: Any) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Binance(files=[str(path) for path in paths], **options)).feeds()
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def tuples(rows: np.ndarray) -> list[tuple[int, float, float]]:
    assert (rows["order_id"] == 0).all()
    assert (rows["ival"] == 0).all()
    assert (rows["fval"] == 0).all()
    return [(int(r["ev"]), float(r["px"]), float(r["qty"])) for r in rows]


# What makes rows


@pytest.mark.parametrize("combined", [True, False])
@pytest.mark.parametrize("spaces", [True, False])
def test_futures_diffs_and_trades_become_rows(tmp_path: Path, combined: bool, spaces: bool) -> None:
    shape = {"combined": combined, "spaces": spaces}
    path = write(
        tmp_path / "a",
        line(depth(), **shape),
        line(trade(), **shape),
        line(trade(px="61800.2", m=True), **shape),
    )
    rows, report = read(path)
    assert tuples(rows) == [
        (DEPTH | BUY, 61800.20, 1.5),
        (DEPTH | SELL, 61800.30, 0.0),
        (TRADE | BUY, 61800.30, 0.006),
        (TRADE | SELL, 61800.2, 0.006),
    ]
    assert set(rows["exch_ts"]) == {T_MS * 1_000_000}
    assert set(rows["local_ts"]) == {LOCAL_NS}
    assert (report.symbol, report.rows_read, report.dropped, report.gaps) == ("BTCUSDT", 3, {}, 0)
    assert report.notes["market"] == "usd-m futures"


def test_spot_diffs_have_no_exchange_time_of_their_own_and_trades_no_type(tmp_path: Path) -> None:
    spot_trade = {k: v for k, v in trade(b=88, a=50, M=True).items() if k != "X"}
    path = write(tmp_path / "a", line(depth(T=None, pu=None)), line(spot_trade))
    rows, report = read(path)
    assert rows["exch_ts"].tolist() == [(T_MS + 1) * 1_000_000] * 2 + [T_MS * 1_000_000]
    assert tuples(rows)[2] == (TRADE | BUY, 61800.30, 0.006)
    assert report.notes["market"] == "spot"


def test_coin_margined_futures_are_read(tmp_path: Path) -> None:
    of = {"s": "BTCUSD_PERP", "ps": "BTCUSD"}
    rows, report = read(write(tmp_path / "a", line(depth(**of)), line(trade(**of))))
    assert len(rows) == 3
    assert (report.symbol, report.notes["market"]) == ("BTCUSD_PERP", "coin-m futures")


def test_old_spot_levels_with_a_third_member_are_read(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path / "a", line(depth(pu=None, b=[["1.5", "2", []], ["1.4", "3", []]], a=[]))))
    assert tuples(rows) == [(DEPTH | BUY, 1.5, 2.0), (DEPTH | BUY, 1.4, 3.0)]


@pytest.mark.parametrize("digits", [19, 16, 13])
def test_receive_times_are_told_by_their_digits(tmp_path: Path, digits: int) -> None:
    rows, _ = read(write(tmp_path / "a", line(trade(), str(LOCAL_NS)[:digits])))
    assert rows["local_ts"].tolist() == [LOCAL_NS]


@pytest.mark.parametrize("per_ms", [1, 1_000, 1_000_000])
def test_exchange_times_are_told_by_their_size(tmp_path: Path, per_ms: int) -> None:
    times = {"T": T_MS * per_ms, "E": T_MS * per_ms}
    rows, _ = read(write(tmp_path / "a", line(trade(**times)), line(depth(**times))))
    assert set(rows["exch_ts"]) == {T_MS * 1_000_000}


def test_keys_may_come_in_any_order(tmp_path: Path) -> None:
    backwards = [dict(reversed(message.items())) for message in (depth(), trade(), book_ticker())]
    rows, report = read(write(tmp_path / "a", *[line(message) for message in backwards]))
    forwards, _ = read(
        write(tmp_path / "b", *[line(message) for message in (depth(), trade(), book_ticker())])
    )
    assert rows.tobytes() == forwards.tobytes()
    assert report.dropped == {"bookTicker": 1}


def test_windows_line_ends_and_a_missing_last_one_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes((line(trade()).rstrip() + "\r\n" + line(trade()).rstrip()).encode())
    rows, report = read(path)
    assert (len(rows), report.rows_read) == (2, 2)


@given(
    st.one_of(
        st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=8).map(str),
        st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,25})?", fullmatch=True),
    )
)
@example("9007199254740993")
@example("97257876514.7237606")  # 2**53 or more: dividing would round twice
@example("0.30000000000000004")
@settings(deadline=None)
def test_every_decimal_is_correctly_rounded(number: str) -> None:
    rows, _ = scanned(line(trade(px=number)).encode())
    assert rows["px"].tolist() == [float(number)]


def test_a_snapshot_clears_as_far_as_it_reaches_and_sets_its_levels(tmp_path: Path) -> None:
    snapshot = {
        "lastUpdateId": 9,
        "E": T_MS + 1,
        "T": T_MS,
        "bids": [["9", "1"], ["8", "2"]],
        "asks": [["10", "3"]],
    }
    path = write(tmp_path / "a", line(snapshot, combined=False), line(trade()))
    rows, _ = read(path)
    assert tuples(rows[:-1]) == [
        (CLEAR | BUY, 8.0, 0.0),
        (SNAPSHOT | BUY, 9.0, 1.0),
        (SNAPSHOT | BUY, 8.0, 2.0),
        (CLEAR | SELL, 10.0, 0.0),
        (SNAPSHOT | SELL, 10.0, 3.0),
    ]
    assert set(rows["exch_ts"]) == {T_MS * 1_000_000}


def test_a_spot_snapshot_takes_the_last_exchange_time_or_else_the_receive_time(tmp_path: Path) -> None:
    snapshot = {"lastUpdateId": 9, "bids": [["9", "1"]], "asks": []}
    path = write(tmp_path / "a", *[line(m, combined=False) for m in (snapshot, trade(), snapshot)])
    rows, _ = read(path)
    assert rows["exch_ts"].tolist() == [LOCAL_NS] * 2 + [T_MS * 1_000_000] * 3


def test_a_snapshot_larger_than_a_chunk_of_rows_keeps_its_place(tmp_path: Path) -> None:
    bids = [[str(100_000 - i), "1"] for i in range(40_000)]
    snapshot = {"lastUpdateId": 9, "T": T_MS, "bids": bids, "asks": []}
    path = write(tmp_path / "a", line(trade()), line(snapshot, combined=False), line(trade(px="1")))
    rows, _ = read(path)
    assert len(rows) == 40_003
    assert rows["px"].tolist() == [61800.30, 60_001.0, *(100_000.0 - np.arange(40_000)), 1.0]


def test_a_diff_larger_than_a_chunk_of_rows_keeps_its_place(tmp_path: Path) -> None:
    asks = [[str(1 + i), "1"] for i in range(40_000)]
    rows, _ = read(write(tmp_path / "a", line(trade()), line(depth(b=[], a=asks)), line(trade(px="1"))))
    assert rows["px"].tolist() == [61800.30, *(1.0 + np.arange(40_000)), 1.0]


@pytest.mark.parametrize("extra", [{}, {"x": {}}], ids=["scan", "slow path"])
def test_the_book_ticker_makes_the_book_if_asked(tmp_path: Path, extra: dict[str, Any]) -> None:
    messages = (depth(), book_ticker(**extra), book_ticker(a="0", A="0", **extra), trade())
    rows, report = read(write(tmp_path / "a", *map(line, messages)), book_ticker="bbo")
    bid = [(CLEAR | BUY, 10.1, 0.0), (DEPTH | BUY, 10.1, 2.0)]
    ask = [(CLEAR | SELL, 10.2, 0.0), (DEPTH | SELL, 10.2, 3.0)]
    assert tuples(rows) == [*bid, *ask, *bid, (TRADE | BUY, 61800.30, 0.006)]
    assert report.dropped == {"depth": 1}


def test_the_engine_follows_the_book_that_the_book_ticker_makes(tmp_path: Path) -> None:
    import hftbacktest as hbt

    quotes = [(100.0, 100.1), (100.2, 100.3), (99.8, 99.9), (99.8, 100.5)]
    messages = [
        book_ticker(b=str(bid), a=str(ask), T=T_MS + i, E=T_MS + i) for i, (bid, ask) in enumerate(quotes)
    ]
    lines = [line(message, LOCAL_NS + i * 1_000_000) for i, message in enumerate(messages)]
    rows, _ = read(write(tmp_path / "a", *lines), book_ticker="bbo")
    rows["ev"] |= EventFlag.EXCH | EventFlag.LOCAL
    asset = hbt.BacktestAsset().data([rows]).linear_asset(1.0).constant_order_latency(0, 0)
    asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
    engine = hbt.HashMapMarketDepthBacktest([asset.tick_size(0.1).lot_size(0.001)])
    seen = []
    for _ in quotes:
        engine.wait_next_feed(False, 10**9)
        engine.elapse(0)
        seen.append((round(engine.depth(0).best_bid, 9), round(engine.depth(0).best_ask, 9)))
    assert seen == quotes
    engine.close()


# What is dropped and counted


def test_trades_that_are_no_market_trades_are_dropped_and_counted(tmp_path: Path) -> None:
    other = [line(trade(X=kind, p="0")) for kind in ("INSURANCE_FUND", "NA")]
    rows, report = read(write(tmp_path / "a", line(trade()), *other))
    assert len(rows) == 1
    assert report.dropped == {"not MARKET trade": 2}


def test_control_messages_and_other_streams_are_dropped_and_counted(tmp_path: Path) -> None:
    messages = [
        {"result": None, "id": 1},
        {"code": -1003, "msg": "Too many requests"},
        {"error": {"code": 2, "msg": "Invalid"}, "id": 3},
        {
            "e": "markPriceUpdate",
            "E": T_MS,
            "s": "BTCUSDT",
            "p": "1",
            "i": "1",
            "P": "1",
            "r": "0",
            "T": T_MS,
        },
        {"e": "kline", "E": T_MS, "s": "BTCUSDT", "k": {"t": 1}},
    ]
    rows, report = read(write(tmp_path / "a", line(trade()), *[line(m, combined=False) for m in messages]))
    assert len(rows) == 1
    assert report.dropped == {"control": 3, "markPriceUpdate": 1, "kline": 1}


def agg_trade(**more: Any) -> dict[str, Any]:
    message = {k: v for k, v in trade().items() if k not in ("X", "t")}
    return message | {"e": "aggTrade", "a": 5, "f": 1, "l": 3, "M": True} | more


@pytest.mark.parametrize(
    ("option", "first", "kept", "dropped"),
    [
        ("auto", "trade", 0.006, {"aggTrade": 2}),
        ("auto", "aggTrade", 5.0, {"trade": 2}),
        ("trade", "aggTrade", 0.006, {"aggTrade": 2}),
        ("aggTrade", "trade", 5.0, {"trade": 2}),
    ],
)
@pytest.mark.parametrize("extra", [{}, {"x": {}}], ids=["scan", "slow path"])
def test_one_of_two_trade_streams_is_used(
    tmp_path: Path, option: str, first: str, kept: float, dropped: dict[str, int], extra: dict[str, Any]
) -> None:
    pair = [trade(**extra), agg_trade(q="5", **extra)]
    pair = pair if first == "trade" else pair[::-1]
    rows, report = read(write(tmp_path / "a", *map(line, pair * 2)), trade_stream=option)
    assert rows["qty"].tolist() == [kept] * 2
    assert report.dropped == dropped


# Gaps


@pytest.mark.parametrize("extra", [{}, {"x": {}}], ids=["scan", "slow path"])
def test_futures_gaps_are_counted_by_pu(tmp_path: Path, extra: dict[str, Any]) -> None:
    numbers = [(11, 20, 10), (25, 30, 20), (50, 60, 45), (61, 70, 60), (65, 75, 64)]
    lines = [line(depth(first=f, u=u, pu=pu, **extra)) for f, u, pu in numbers]
    _, report = read(write(tmp_path / "a", *lines))
    assert (report.gaps, report.missing_updates) == (2, 15)


@pytest.mark.parametrize("extra", [{}, {"x": {}}], ids=["scan", "slow path"])
def test_spot_gaps_are_counted_by_the_first_update(tmp_path: Path, extra: dict[str, Any]) -> None:
    numbers = [(11, 20), (21, 30), (35, 40), (41, 50), (45, 60)]
    lines = [line(depth(first=f, u=u, pu=None, **extra)) for f, u in numbers]
    _, report = read(write(tmp_path / "a", *lines))
    assert (report.gaps, report.missing_updates) == (2, 4)


@pytest.mark.parametrize("extra", [{}, {"x": {}}], ids=["scan", "slow path"])
@pytest.mark.parametrize("futures", [True, False])
def test_diffs_that_come_twice_are_counted_and_are_no_gaps(
    tmp_path: Path, futures: bool, extra: dict[str, Any]
) -> None:
    numbers = [(11, 20, 10), (21, 30, 20), (21, 30, 20), (31, 40, 30)]
    lines = [line(depth(first=f, u=u, pu=pu if futures else None, **extra)) for f, u, pu in numbers]
    _, report = read(write(tmp_path / "a", *lines))
    assert (report.duplicates, report.gaps, report.missing_updates) == (1, 0, 0)


def test_gaps_go_on_from_one_file_to_the_next(tmp_path: Path) -> None:
    second = write(tmp_path / "a", line(depth(first=31, u=40, pu=30), LOCAL_NS + 1))
    first = write(tmp_path / "b", line(depth(first=11, u=20, pu=10)))
    rows, report = read(second, first)
    assert rows["local_ts"].tolist() == [LOCAL_NS] * 2 + [LOCAL_NS + 1] * 2
    assert (report.gaps, report.missing_updates, report.rows_read) == (1, 10, 2)


# Compression


def zstd(data: bytes) -> bytes:
    return zstandard.compress(data)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
def test_compression_is_told_by_the_content_not_the_name(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    text = "".join(line(trade(t=i)) for i in range(20_000)).encode()
    for name in ("a.gz", "a.zst", "a.txt"):
        (tmp_path / name).write_bytes(compress(text))
        rows, _ = read(tmp_path / name)
        assert len(rows) == 20_000


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_joined_compressed_files_are_read_as_one(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    parts = [line(trade(px=str(i))).encode() for i in range(1, 4)]
    (tmp_path / "a").write_bytes(b"".join(compress(part) for part in parts))
    assert read(tmp_path / "a")[0]["px"].tolist() == [1.0, 2.0, 3.0]


def test_zeros_after_gzip_data_are_padding(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(line(trade()).encode()) + bytes(1_000))
    assert len(read(tmp_path / "a")[0]) == 1


def test_progress_ends_at_the_size_of_the_files(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, line(trade(), LOCAL_NS + i) * 5_000) for i, name in enumerate("ab")]
    (feed,) = build(Binance(files=[str(p) for p in paths])).feeds()
    calls: list[tuple[int, int]] = []
    for _ in feed.chunks(FeedReport(), lambda done, total: calls.append((done, total))):
        pass
    total = sum(path.stat().st_size for path in paths)
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


# What is wrong with a file


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.gz does not exist"):
        read(tmp_path / "none.gz")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0), zstd(b"")])
def test_an_empty_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz is (empty|not a collected Binance stream: it holds no line)"):
        read(tmp_path / "a.gz")


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
@pytest.mark.parametrize("keep_frac", [0.2, 0.9])
def test_a_truncated_file_is_named(
    tmp_path: Path, compress: Callable[[bytes], bytes], keep_frac: float
) -> None:
    rng = np.random.default_rng(3)
    text = "".join(line(trade(px=str(px))) for px in rng.integers(1, 10**9, 50_000)).encode()
    data = compress(text)
    (tmp_path / "a.gz").write_bytes(data[: int(len(data) * keep_frac)])
    with pytest.raises(
        DataError, match=r"a\.gz is truncated: its (gzip|zstd) data end early, after [\d,]+ bytes"
    ):
        read(tmp_path / "a.gz")


def test_a_gzip_file_without_its_last_bytes_is_truncated(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(line(trade()).encode())[:-1])
    with pytest.raises(DataError, match=r"a\.gz is truncated"):
        read(tmp_path / "a.gz")


@pytest.mark.parametrize(
    "compress", [gzip.compress, lambda d: zstandard.ZstdCompressor(write_checksum=True).compress(d)]
)
def test_a_damaged_file_is_named(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    data = bytearray(compress(line(trade()).encode()))
    data[-6 if data[0] == 0x1F else -1] ^= 1
    (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.gz is corrupt: its (gzip|zstd) data break after"):
        read(tmp_path / "a.gz")


@pytest.mark.parametrize("content", [b"time,price\n1,2\n", bytes(range(256)) * 50, b"{}\n", b"\n\n"])
def test_a_file_of_another_kind_is_no_stream(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(
        DataError, match=r"a\.gz is not a collected Binance stream: line 1: it does not start with"
    ):
        read(tmp_path / "a.gz")


MALFORMED = {
    "cut": (line(depth())[:90] + "\n", "it holds no valid JSON after the receive time"),
    "no time": (line(trade())[20:], "it does not start with a receive time"),
    "short time": (
        line(trade(), "1723161256"),
        "it does not start with a receive time of 19, 16 or 13 digits",
    ),
    "list": (f"{LOCAL_NS} [1,2]\n", "it holds no JSON object"),
    "unknown": (
        f'{LOCAL_NS} {{"x":1}}\n',
        "its message is neither an event, a snapshot nor a control message",
    ),
    "lacks key": (line(depth(b=None)), "its depthUpdate message has no 'b'"),
    "price": (
        line(trade(px="12x")),
        r"its trade message is broken \(could not convert string to float: '12x'\)",
    ),
    "negative": (line(depth(a=[["1", "-2"]])), "prices and quantities must be finite and >= 0, was '-2'"),
    "nan": (line(trade(px="nan")), "must be finite and >= 0, was 'nan'"),
    "time": (line(trade(T=17)), "times must be ms, us or ns since 1970 and in 2001 to 2262, was 17"),
    "quoted time": (line(trade(T=str(T_MS))), "must be whole numbers, was '1723161256298'"),
    "side": (line(trade(m="true")), "m must be true or false, was 'true'"),
    "levels": (line(depth(b=[["1"]])), "its depthUpdate message is broken"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_line_stops_with_file_line_and_reason(tmp_path: Path, case: str) -> None:
    bad, reason = MALFORMED[case]
    path = write(tmp_path / "a.txt", line(trade()), line(trade()), bad, line(trade()))
    with pytest.raises(DataError, match=rf"a\.txt line 3 is malformed: .*{reason}.*max_malformed_lines is 0"):
        read(path)


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_lines_are_skipped_and_counted_up_to_the_limit(tmp_path: Path, case: str) -> None:
    bad, reason = MALFORMED[case]
    path = write(tmp_path / "a.txt", line(trade()), bad, line(trade()), bad, line(trade()))
    rows, report = read(path, max_malformed_lines=2)
    assert len(rows) == 3
    assert report.dropped == {"malformed": 2}
    assert report.first_problem.startswith(f"{path} line 2 is malformed: ")
    with pytest.raises(DataError, match=rf"a\.txt line 4 is malformed: .*{reason}.*max_malformed_lines is 1"):
        read(path, max_malformed_lines=1)


def test_a_plain_file_that_ends_in_a_line_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", line(trade()), line(trade())[:-20])
    with pytest.raises(DataError, match=r"a\.txt line 2 is malformed: .*; the file ends in it"):
        read(path)


def test_malformed_lines_of_all_files_of_a_symbol_count_together(tmp_path: Path) -> None:
    paths = [write(tmp_path / n, line(trade(), LOCAL_NS + i), "x\n") for i, n in enumerate("ab")]
    assert read(*paths, max_malformed_lines=2)[1].dropped == {"malformed": 2}
    with pytest.raises(DataError, match=r"b line 2 is malformed"):
        read(*paths, max_malformed_lines=1)


def test_a_line_longer_than_a_chunk_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", line(trade()), line(depth(a=[["1", "1"]] * 20_000)), line(trade()))
    assert len(read(path)[0]) == 20_003
    with pytest.raises(DataError, match=r"a line 2 is longer than data\.chunk_bytes \(65,536\)"):
        read(path, chunk_bytes=1 << 16)


def test_a_message_of_another_symbol_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a", line(trade()), line(trade(s="ETHUSDT")))
    with pytest.raises(
        DataError, match=r"wrong symbol: .*a line 2 is of ETHUSDT, the lines before are of BTCUSDT"
    ):
        read(path)


def test_a_file_without_depth_or_trades_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", line(book_ticker()), line(trade(X="NA")))
    with pytest.raises(
        DataError,
        match=r"a: no depth or trade rows of BTCUSDT in 2 lines \(dropped: 1 not MARKET trade, 1 bookT",
    ):
        read(path)


def test_a_file_that_names_no_symbol_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", line({"result": None, "id": 1}, combined=False))
    with pytest.raises(DataError, match=r"a holds no message that names a symbol"):
        read(path)


# Symbols and options


def two_files(tmp_path: Path) -> dict[str, str]:
    write(tmp_path / "x", line(trade()))
    write(tmp_path / "y", line(trade(s="ETHUSDT")))
    return {"x": str(tmp_path / "x"), "y": str(tmp_path / "y")}


def symbols(**options: Any) -> list[str]:
    return [feed.symbol for feed in build(Binance(**options)).feeds()]


def test_feeds_come_in_the_order_of_files_or_of_symbols(tmp_path: Path) -> None:
    files = two_files(tmp_path)
    assert symbols(files=[files["y"], files["x"]]) == ["ETHUSDT", "BTCUSDT"]
    assert symbols(files=[files["y"], files["x"]], symbols=["btcusdt", "ETHUSDT"]) == ["BTCUSDT", "ETHUSDT"]


def test_a_file_of_a_symbol_not_asked_for_is_refused(tmp_path: Path) -> None:
    files = two_files(tmp_path)
    with pytest.raises(DataError, match=r"wrong symbol: .*y holds ETHUSDT, data\.symbols is BTCUSDT"):
        symbols(files=list(files.values()), symbols=["BTCUSDT"])
    with pytest.raises(
        DataError, match=r"wrong symbol: data\.symbols asks for SOLUSDT, but no file holds it"
    ):
        symbols(files=[files["x"]], symbols=["BTCUSDT", "SOLUSDT"])


def test_sizes_come_from_the_configuration_by_symbol(tmp_path: Path) -> None:
    (feed,) = build(
        Binance(files=[two_files(tmp_path)["x"]], tick_size={"btcusdt": 0.5}, lot_size={"BTCUSDT": 2.0})
    ).feeds()
    assert (feed.tick_size, feed.lot_size) == (0.5, 2.0)
    with pytest.raises(
        ConfigError, match=r"data\.tick_size's symbols must be one of BTCUSDT, was 'BTCUSD'\. Did you"
    ):
        symbols(files=[two_files(tmp_path)["x"]], tick_size={"BTCUSD": 0.5})


def test_well_known_symbols_have_their_sizes_by_market(tmp_path: Path) -> None:
    sizes = []
    for message in (depth(), depth(pu=None), depth(s="BTCUSD_PERP")):
        (feed,) = build(Binance(files=[str(write(tmp_path / str(len(sizes)), line(message)))])).feeds()
        report = FeedReport()
        next(iter(feed.chunks(report, lambda *_: None)))
        known = feed.known_instrument(report)
        sizes.append(known and (known.tick_size, known.lot_size))
    assert sizes == [(0.1, 0.001), (0.01, 0.00001), None]


def test_a_file_that_was_seen_is_not_opened_again_to_name_its_symbol(tmp_path: Path) -> None:
    path = write(tmp_path / "a", line(trade()))
    before = path.stat()
    assert symbols(files=[str(path)]) == ["BTCUSDT"]
    path.write_bytes(b"x" * before.st_size)
    import os

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert symbols(files=[str(path)]) == ["BTCUSDT"]
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(DataError, match="not a collected Binance stream"):
        symbols(files=[str(path)])


def test_each_option_that_decides_the_events_is_in_the_identity(tmp_path: Path) -> None:
    path = write(tmp_path / "a", line(trade()))

    def identity(**options: Any) -> str:
        (feed,) = build(Binance(files=[str(path)], **options)).feeds()
        return json.dumps(feed.identity(), sort_keys=True)

    options = [
        {},
        {"clock_correction": False},
        {"base_latency_ns": "1us"},
        {"max_malformed_lines": 1},
        {"book_ticker": "bbo"},
        {"trade_stream": "aggTrade"},
    ]
    assert len({identity(**each) for each in options}) == len(options)
    assert identity(chunk_bytes=1 << 20, tick_size={"BTCUSDT": 1.0}) == identity()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tick_size": {"A": -1.0}}, r"data\.tick_size\.A must be > 0, was -1\.0"),
        ({"base_latency_ns": "-1us"}, r"data\.base_latency_ns must be >= 0, was -1000"),
        ({"max_malformed_lines": -1}, r"data\.max_malformed_lines must be >= 0, was -1"),
        ({"chunk_bytes": 10}, r"data\.chunk_bytes must be >= 65536, was 10"),
        ({"book_ticker": "yes"}, r"data\.book_ticker must be one of skip, bbo, was 'yes'"),
        ({"trade_stream": "agg"}, r"data\.trade_stream must be one of auto, trade, aggTrade, was 'agg'"),
        ({"symbols": ["A", "a"]}, r"data\.symbols must differ from each other"),
        ({}, r"data\.files must name at least one file, was \[\]"),
        ({"files": ["x", "./x"]}, r"data\.files must differ from each other, was x twice"),
    ],
)
def test_a_wrong_configuration_says_what_it_was(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Binance(**options)).feeds()


# The scan and the slow path


def new_states(*, bbo: bool = False, last_u: int = -1) -> np.ndarray:
    states = np.zeros(1, STATE)
    states["bbo"], states["last_u"] = bbo, last_u
    return states


def scanned(text: bytes, states: np.ndarray | None = None) -> tuple[np.ndarray, ScanStatus]:
    states = new_states() if states is None else states
    buffer = np.full(len(text) + 8, 34, np.uint8)
    buffer[: len(text)] = np.frombuffer(text, np.uint8)
    rows = np.zeros(200, EVENT)
    status = ScanStatus(scan(buffer, len(text), np.frombuffer(b"BTCUSDT", np.uint8).copy(), rows, states))
    if status == ScanStatus.NOT_UNDERSTOOD:
        return rows_of(text.rstrip(b"\r\n"), "BTCUSDT", states.view(np.recarray)[0]), status
    return rows[: int(states["n_rows"][0])], status


def test_the_common_messages_are_left_to_the_scan() -> None:
    messages = [depth(), depth(pu=None, T=None), trade(), agg_trade(), book_ticker(), book_ticker(e=None)]
    for message in messages:
        text = line({k: v for k, v in message.items() if v is not None}).encode()
        assert scanned(text)[1] == ScanStatus.DONE, text


MESSAGES = [depth(), depth(pu=None, T=None), trade(), agg_trade(), book_ticker(), book_ticker(e="x")]
BYTES = b'0123456789.,:"[]{} eTUuapq-+\\\x00\xff'


@st.composite
def damaged_lines(draw: st.DrawFn) -> bytes:
    message = draw(st.sampled_from(MESSAGES))
    text = bytearray(
        line(message, combined=draw(st.booleans()), spaces=draw(st.booleans())).rstrip().encode()
    )
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text) - 1))
        stop = min(len(text), at + draw(st.integers(0, 12)))
        match draw(st.sampled_from(["replace", "insert", "delete", "repeat"])):
            case "replace":
                text[at] = draw(st.sampled_from(list(BYTES)))
            case "insert":
                text.insert(at, draw(st.sampled_from(list(BYTES))))
            case "delete" if stop - at < len(text):
                del text[at:stop]
            case _:
                text[at:at] = text[at:stop]
    return bytes(text) + b"\n"


@settings(max_examples=3_000, deadline=None)
@given(damaged_lines(), st.booleans(), st.sampled_from([-1, 10, 15]))
def test_what_the_scan_accepts_the_slow_path_reads_alike(text: bytes, bbo: bool, last_u: int) -> None:
    fast, slow = new_states(bbo=bbo, last_u=last_u), new_states(bbo=bbo, last_u=last_u)
    try:
        rows, status = scanned(text, fast)
    except (MalformedLine, WrongSymbol, Dropped):
        return
    if status == ScanStatus.NOT_UNDERSTOOD:
        return
    expected = rows_of(text.rstrip(b"\r\n"), "BTCUSDT", slow.view(np.recarray)[0])
    assert rows.tobytes() == expected.tobytes()
    counted = [
        name for name in STATE.names or () if name not in ("pos", "line", "n_rows", "rows_total", "line_end")
    ]
    assert fast[counted].tolist() == slow[counted].tolist()
