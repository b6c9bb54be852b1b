"""Small files written by hand: every kind of file, how they become one feed, and every way to be wrong."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from bt_framework.data import csv_blocks
from bt_framework.data.source import FeedReport
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.tardis import Tardis, _kernels, build
from bt_plugins.data.tardis._formats import level_names

T_US = 1_700_000_000_000_000
BUY, SELL = EventFlag.BUY, EventFlag.SELL
DEPTH, SNAPSHOT, TRADE = EventKind.DEPTH, EventKind.DEPTH_SNAPSHOT, EventKind.TRADE

COMMON = "exchange,symbol,timestamp,local_timestamp"
TRADES = f"{COMMON},id,side,price,amount"
INCREMENTAL = f"{COMMON},is_snapshot,side,price,amount"
QUOTES = f"{COMMON},ask_amount,ask_price,bid_price,bid_amount"


def snapshot_header(depth: int) -> str:
    return ",".join([COMMON, *(name for level in range(depth) for name in level_names(level))])


def line(t: int, rest: str, symbol: str = "BTCUSDT", exchange: str = "binance-futures") -> str:
    return f"{exchange},{symbol},{T_US + t},{T_US + t + 10},{rest}"


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{text}\n" for text in lines))
    return path


def read(*paths: Path, **options: Any) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Tardis(files=[str(path) for path in paths], **options)).feeds()
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def tuples(rows: np.ndarray) -> list[tuple[int, int, float, float]]:
    assert (rows["local_ts"] - rows["exch_ts"] == 10_000).all()
    return [
        (int(row["ev"]), int(row["exch_ts"]) // 1_000 - T_US, float(row["px"]), float(row["qty"]))
        for row in rows
    ]


def test_trades_have_the_side_of_the_taker(tmp_path: Path) -> None:
    rows, report = read(
        write(
            tmp_path / "t",
            TRADES,
            line(1, "a,buy,10.5,2"),
            line(2, ",sell,10,1e-7"),
            line(3, "c,unknown,10,3"),
        )
    )
    assert tuples(rows) == [(TRADE | BUY, 1, 10.5, 2.0), (TRADE | SELL, 2, 10.0, 1e-7)]
    assert report.dropped == {"trade of unknown side": 1}
    assert report.first_dropped == {"trade of unknown side": f"{tmp_path / 't'} line 4"}
    assert (report.symbol, report.rows_read) == ("BTCUSDT", 3)
    assert "contract" not in report.notes


def test_a_snapshot_after_a_reconnect_replaces_the_book(tmp_path: Path) -> None:
    path = write(
        tmp_path / "b",
        INCREMENTAL,
        line(1, "true,bid,99,1"),
        line(1, "true,ask,101,1"),
        line(2, "false,bid,98,5"),
        line(3, "false,ask,102,6"),
        line(4, "false,ask,101,0"),
        line(9, "true,bid,99,2"),
        line(9, "true,ask,103,3"),
        line(10, "false,buy,97,4"),
        line(11, "false,sell,0,4"),
    )
    rows, report = read(path)
    assert tuples(rows[:5]) == [
        (SNAPSHOT | BUY, 1, 99.0, 1.0),
        (SNAPSHOT | SELL, 1, 101.0, 1.0),
        (DEPTH | BUY, 2, 98.0, 5.0),
        (DEPTH | SELL, 3, 102.0, 6.0),
        (DEPTH | SELL, 4, 101.0, 0.0),
    ]
    # Only what the snapshot has not goes; the bid of 99 keeps its queue.
    assert set(tuples(rows[5:7])) == {(DEPTH | BUY, 9, 98.0, 0.0), (DEPTH | SELL, 9, 102.0, 0.0)}
    assert tuples(rows[7:]) == [
        (SNAPSHOT | BUY, 9, 99.0, 2.0),
        (SNAPSHOT | SELL, 9, 103.0, 3.0),
        (DEPTH | BUY, 10, 97.0, 4.0),
    ]
    assert report.notes["snapshots"] == 2
    assert report.dropped == {"price of zero": 1}


def test_a_snapshot_at_the_start_of_the_next_file_replaces_the_book(tmp_path: Path) -> None:
    second = write(tmp_path / "a", INCREMENTAL, line(50, "true,bid,98,1"))
    first = write(tmp_path / "b", INCREMENTAL, line(1, "true,bid,99,1"))
    rows, _ = read(second, first)
    assert tuples(rows) == [
        (SNAPSHOT | BUY, 1, 99.0, 1.0),
        (DEPTH | BUY, 50, 99.0, 0.0),
        (SNAPSHOT | BUY, 50, 98.0, 1.0),
    ]


def test_rows_of_the_best_levels_become_their_changes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "s",
        snapshot_header(2),
        line(1, "101,1,99,2,102,3,98,4"),
        line(2, "101,1,99,2,102,3,98,4"),
        line(3, "101,5,99.5,1,,,99,2"),
        line(4, "101,5,,,,,,"),
    )
    rows, _ = read(path)
    assert tuples(rows) == [
        (DEPTH | SELL, 1, 101.0, 1.0),
        (DEPTH | SELL, 1, 102.0, 3.0),
        (DEPTH | BUY, 1, 99.0, 2.0),
        (DEPTH | BUY, 1, 98.0, 4.0),
        (DEPTH | SELL, 3, 102.0, 0.0),
        (DEPTH | BUY, 3, 98.0, 0.0),
        (DEPTH | SELL, 3, 101.0, 5.0),
        (DEPTH | BUY, 3, 99.5, 1.0),
        (DEPTH | BUY, 4, 99.5, 0.0),
        (DEPTH | BUY, 4, 99.0, 0.0),
    ]


def test_quotes_become_a_book_of_one_level(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path / "q", QUOTES, line(1, "1,101,99,2"), line(2, "1,101,100,3")))
    assert tuples(rows) == [
        (DEPTH | SELL, 1, 101.0, 1.0),
        (DEPTH | BUY, 1, 99.0, 2.0),
        (DEPTH | BUY, 2, 99.0, 0.0),
        (DEPTH | BUY, 2, 100.0, 3.0),
    ]


def test_files_of_a_symbol_become_one_feed_by_receive_time_with_trades_first(tmp_path: Path) -> None:
    book = write(tmp_path / "b", INCREMENTAL, *[line(t, f"false,bid,{t},1") for t in (1, 5, 7, 9)])
    later = write(tmp_path / "t2", TRADES, line(8, "x,buy,8,1"), line(30, "x,buy,30,1"))
    trades = write(tmp_path / "t1", TRADES, line(5, "x,sell,5,1"), line(6, "x,sell,6,1"))
    rows, report = read(book, later, trades)
    kinds = {DEPTH | BUY: "book", TRADE | BUY: "buy", TRADE | SELL: "sell"}
    assert [(kinds[ev], t) for ev, t, _, _ in tuples(rows)] == [
        ("book", 1),
        ("sell", 5),
        ("book", 5),
        ("sell", 6),
        ("book", 7),
        ("buy", 8),
        ("book", 9),
        ("buy", 30),
    ]
    assert report.rows_read == 8


@pytest.mark.parametrize(
    ("book", "px", "unused"),
    [
        ("auto", 1.0, ["q", "s2", "s3"]),
        ("incremental", 1.0, ["q", "s2", "s3"]),
        ("snapshot", 3.0, ["i", "q", "s2"]),
        ("quotes", 4.0, ["i", "s2", "s3"]),
    ],
)
def test_one_kind_of_file_makes_the_book(tmp_path: Path, book: str, px: float, unused: list[str]) -> None:
    paths = [
        write(tmp_path / "i", INCREMENTAL, line(1, "false,bid,1,1")),
        write(tmp_path / "s2", snapshot_header(2), line(1, ",,2,1,,,,")),
        write(tmp_path / "s3", snapshot_header(3), line(1, ",,3,1,,,,,,,,")),
        write(tmp_path / "q", QUOTES, line(1, ",,4,1")),
    ]
    rows, report = read(*paths, book=book)
    assert rows["px"].tolist() == [px]
    assert report.notes["unused_files"] == unused


def test_files_of_two_symbols_are_two_feeds(tmp_path: Path) -> None:
    a = write(tmp_path / "a", TRADES, line(1, "x,buy,1,1", "A"))
    b = write(tmp_path / "b", TRADES, line(1, "x,buy,1,1", "B"))
    assert [f.symbol for f in build(Tardis(files=[str(a), str(b)], symbols=["B", "A"])).feeds()] == ["B", "A"]
    with pytest.raises(DataError, match=r"wrong symbol: .*b holds B, data.symbols is A"):
        build(Tardis(files=[str(a), str(b)], symbols=["A"])).feeds()
    with pytest.raises(DataError, match=r"wrong symbol: data.symbols asks for C, but no file holds it"):
        build(Tardis(files=[str(a)], symbols=["A", "C"])).feeds()


@pytest.mark.parametrize("rows_and_bytes", [(1, 40), (3, 64), (1_000, 1 << 18)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_blocks_of_any_size_give_the_same_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_and_bytes: tuple[int, int], pack: Any
) -> None:
    rng = np.random.default_rng(3)
    lines = [INCREMENTAL]
    for t in range(400):
        snapshot = "true" if t // 40 % 3 == 0 else "false"
        side = "bid" if rng.random() < 0.5 else "ask"
        lines.append(line(t, f"{snapshot},{side},{rng.integers(90, 110)},{rng.integers(1, 4)}"))
    tops = [snapshot_header(2), *[line(t, f"101,{rng.integers(3)},99,1,102,3,98,4") for t in range(300)]]
    for name, content in (("i", lines), ("s", tops)):
        path = tmp_path / name
        path.write_bytes(pack(("\n".join(content) + "\n").encode()))
        expected, expected_report = read(path)
        with monkeypatch.context() as patch:
            patch.setattr(csv_blocks, "_ROWS_PER_BLOCK", rows_and_bytes[0])
            patch.setattr(csv_blocks, "_BYTES_PER_BLOCK", rows_and_bytes[1])
            rows, report = read(path)
        assert rows.tobytes() == expected.tobytes()
        assert len(rows) > 150
        assert report == expected_report


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["a,b,c", "1,2,3"], "is no file of Tardis.dev: its first line is 'a,b,c'"),
        ([TRADES], "must have a row in line 2, has none"),
        (
            [TRADES, line(1, "x,buy,1,1"), line(1, "x,buy,1,1", "ETH")],
            "line 3 is malformed: symbol must be BTCUSDT",
        ),
        (
            [TRADES, line(1, "x,buy,1,1"), line(1, "x,buy,1")],
            "line 3 is malformed: it must have 8 fields, has 7",
        ),
        (
            [TRADES, line(1, "x,hold,1,1")],
            "line 2 is malformed: side must be buy or sell or unknown, was 'hold'",
        ),
        ([TRADES, line(-T_US + 5, "x,buy,1,1")], "line 2: timestamp must be microseconds since 1970, was 5."),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, lines: list[str], error: str) -> None:
    path = write(tmp_path / "a", *lines)
    with pytest.raises(DataError, match=error) as raised:
        read(path)
    assert str(path) in str(raised.value)


def test_malformed_lines_are_counted_up_to_the_limit_over_all_files(tmp_path: Path) -> None:
    a = write(tmp_path / "a", TRADES, line(1, "x,buy,1,1"), "broken")
    b = write(tmp_path / "b", INCREMENTAL, line(1, "false,bid,1,1"), "broken")
    _, report = read(a, b, max_malformed_lines=2)
    assert report.dropped == {"malformed": 2}
    with pytest.raises(DataError, match=r"data.max_malformed_lines is 1"):
        read(a, b, max_malformed_lines=1)


def test_files_of_two_exchanges_are_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a", TRADES, line(1, "x,buy,1,1"))
    b = write(tmp_path / "b", TRADES, line(1, "x,buy,1,1", exchange="bybit"))
    with pytest.raises(
        DataError, match="the files of BTCUSDT must be of one exchange, were of binance-futures, bybit"
    ):
        read(a, b)


def test_a_book_that_no_file_has_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a", TRADES, line(1, "x,buy,1,1"))
    with pytest.raises(DataError, match=r"data.book is quotes, but no file of BTCUSDT is of that kind"):
        read(a, book="quotes")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"book": "best"}, "data.book must be one of auto, incremental, snapshot, quotes, was 'best'"),
        ({"tick_size": {"A": 0.0}}, "data.tick_size.A must be > 0, was 0.0"),
        ({"base_latency_ns": -1}, "data.base_latency_ns must be >= 0, was -1"),
        ({"symbols": ["A", "A"]}, "data.symbols must differ from each other"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        Tardis(**options)


def test_files_and_sizes_must_fit(tmp_path: Path) -> None:
    a = write(tmp_path / "a", TRADES, line(1, "x,buy,1,1"))
    with pytest.raises(ConfigError, match=r"data.files must name at least one file"):
        build(Tardis()).feeds()
    with pytest.raises(ConfigError, match=r"data.files must differ from each other"):
        build(Tardis(files=[str(a), str(a)])).feeds()
    with pytest.raises(ConfigError, match=r"data.lot_size's symbols"):
        build(Tardis(files=[str(a)], lot_size={"BTC": 1.0})).feeds()


def test_the_kernel_agrees_with_its_plain_form() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 4, (200, 3, 2, 2)).astype(np.float64)
    values[:, :, :, 0] += 3 * np.arange(3)[None, :, None]
    ts = np.arange(200)
    results = []
    for function in (_kernels.changes, _kernels.changes.py_func):
        held, rows, at, total = np.full((2, 3, 2), np.nan), np.zeros(64, EVENT), 0, []
        while at < len(values):
            at, n_rows = function(values, ts, ts + 1, held, at, rows)
            total.append(rows[:n_rows].tobytes())
        results.append(total)
    assert results[0] == results[1]
    assert len(results[0]) > 3
