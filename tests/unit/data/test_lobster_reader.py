"""Small files of a simulated exchange, every kind of message, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tracemalloc
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lobster_files import Market, Replay, follow

from bt_framework.data.doctor import Severity
from bt_framework.data.recognise import recognise
from bt_framework.data.source import FeedReport, FileConfig
from bt_framework.data.store import EventStore
from bt_framework.errors import ConfigError, DataError
from bt_framework.plugin_manager import discover
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.registry import Kind
from bt_plugins.data.lobster import Lobster, _reader, build

pytestmark = pytest.mark.usefixtures("own_cache")

DAY = "2012-06-21"
MIDNIGHT_TS = 1_340_251_200_000_000_000
BUY, SELL = int(EventFlag.BUY), int(EventFlag.SELL)
DEPTH, SNAPSHOT, TRADE, CLEAR = (
    EventKind.DEPTH,
    EventKind.DEPTH_SNAPSHOT,
    EventKind.TRADE,
    EventKind.DEPTH_CLEAR,
)
ADD, CANCEL, MODIFY, FILL = (
    EventKind.ADD_ORDER,
    EventKind.CANCEL_ORDER,
    EventKind.MODIFY_ORDER,
    EventKind.FILL,
)

# Two levels; the touch is 99.00 x 100.00, ten shares on each level.
FIRST = "34200.000000001,1,11,10,990000,1"
ROW = "1000000,10,990000,10,1010000,10,980000,10"


def write(
    folder: Path,
    messages: str,
    book: str,
    *,
    levels: int = 2,
    symbol: str = "ABC",
    day: str = DAY,
    end: str = ".csv",
) -> Path:
    """Write a pair and return the path of its message file."""
    paths = [
        folder / f"{symbol}_{day}_34200000_57600000_{part}_{levels}{end}" for part in ("message", "orderbook")
    ]
    for path, text in zip(paths, (messages, book), strict=True):
        path.write_bytes(gzip.compress(text.encode()) if end.endswith(".gz") else text.encode())
    return paths[0]


def lines(*texts: str) -> str:
    return "".join(f"{text}\n" for text in texts)


def read(*paths: Path, **options: Any) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Lobster(files=[str(path) for path in paths], **options)).feeds()
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def read_texts(folder: Path, messages: str, rows: str, **options: Any) -> tuple[np.ndarray, FeedReport]:
    return read(write(folder, messages, rows), **options)


def tuples(events: np.ndarray) -> list[tuple[int, float, float]]:
    """Kind and side, price, quantity; both clocks must be flagged."""
    both = int(EventFlag.EXCH | EventFlag.LOCAL)
    assert (events["ev"] & both == both).all()
    return [(int(e["ev"]) & ~both, float(e["px"]), float(e["qty"])) for e in events]


def by_id(events: np.ndarray) -> list[tuple[int, int, float, float]]:
    return [(e[0], int(i), *e[1:]) for e, i in zip(tuples(events), events["order_id"], strict=True)]


def market(seed: int, n_levels: int, steps: int, halts: bool = False) -> Market:
    made = Market(seed, n_levels)
    for i in range(steps):
        if halts and i % 40 == 20:
            made.halt(-1)
        if halts and i % 40 == 30:
            made.halt(0)
        if halts and i % 40 == 35:
            made.halt(1)
        made.step()
    return made


# Price levels


def test_the_first_row_is_a_snapshot_and_the_next_ones_are_differences(tmp_path: Path) -> None:
    second = "1000000,7,990000,10,1010000,10,985000,5"
    messages = lines(FIRST, "34200.5,2,12,3,1000000,-1", "34201,1,13,5,985000,1")
    events, report = read_texts(
        tmp_path, messages, lines(ROW, "1000000,7,990000,10,1010000,10,980000,10", second)
    )
    assert tuples(events) == [
        (SNAPSHOT | BUY, 99.0, 10),
        (SNAPSHOT | BUY, 98.0, 10),
        (SNAPSHOT | SELL, 100.0, 10),
        (SNAPSHOT | SELL, 101.0, 10),
        (DEPTH | SELL, 100.0, 7),
        (DEPTH | BUY, 98.5, 5),
    ]
    times = [34_200_000_000_001] * 4 + [34_200_500_000_000, 34_201_000_000_000]
    assert (events["exch_ts"] - MIDNIGHT_TS).tolist() == times
    assert (report.symbol, report.rows_read, report.dropped) == ("ABC", 3, {})


@pytest.mark.parametrize("beyond", ["keep", "remove"])
def test_a_level_that_leaves_the_file_is_kept_as_last_seen_unless_asked(tmp_path: Path, beyond: str) -> None:
    messages = lines(FIRST, "34201,1,13,5,985000,1", "34202,3,13,5,985000,1")
    back = "1000000,10,990000,10,1010000,10,980000,8"
    events, _ = read_texts(
        tmp_path, messages, lines(ROW, "1000000,10,990000,10,1010000,10,985000,5", back), beyond=beyond
    )
    left = [] if beyond == "keep" else [(DEPTH | BUY, 98.0, 0)]
    assert tuples(events)[4:] == [
        *left,
        (DEPTH | BUY, 98.5, 5),
        (DEPTH | BUY, 98.5, 0),
        (DEPTH | BUY, 98.0, 8),
    ]


def test_a_level_that_went_while_it_was_not_shown_is_removed_when_it_would_be_shown(tmp_path: Path) -> None:
    messages = lines(FIRST, "34201,1,13,5,985000,1", "34202,3,13,5,985000,1")
    events, _ = read_texts(
        tmp_path,
        messages,
        lines(ROW, "1000000,10,990000,10,1010000,10,985000,5", "1000000,10,990000,10,1010000,10,970000,1"),
    )
    assert tuples(events)[5:] == [(DEPTH | BUY, 98.5, 0), (DEPTH | BUY, 98.0, 0), (DEPTH | BUY, 97.0, 1)]


def test_places_without_a_level_are_no_levels(tmp_path: Path) -> None:
    empty = "1000000,10,990000,10,9999999999,0,-9999999999,0"
    events, _ = read_texts(tmp_path, lines(FIRST, "34201,3,9,10,980000,1"), lines(ROW, empty))
    assert tuples(events)[4:] == [(DEPTH | BUY, 98.0, 0), (DEPTH | SELL, 101.0, 0)]


def test_what_goes_is_removed_before_what_comes_crosses_it(tmp_path: Path) -> None:
    events, _ = read_texts(
        tmp_path,
        lines(FIRST, "34201,4,12,10,1000000,-1"),
        lines(ROW, "1010000,10,1005000,4,1020000,10,990000,10"),
    )
    asks = [(DEPTH | SELL, 100.0, 0), (DEPTH | BUY, 100.5, 4), (DEPTH | SELL, 102.0, 10)]
    assert tuples(events)[4:] == [(TRADE | BUY, 100.0, 10), *asks]


@pytest.mark.parametrize(
    ("message", "event", "fval"),
    [
        ("4,12,3,1000000,-1", (TRADE | BUY, 100.0, 3), 0),
        ("4,11,3,990000,1", (TRADE | SELL, 99.0, 3), 0),
        ("5,0,3,995000,-1", (TRADE | BUY, 99.5, 3), 0),
        ("5,0,3,995050,-1", (TRADE | BUY, 99.50, 3), 99.505),
        ("5,0,3,995050,1", (TRADE | SELL, 99.51, 3), 99.505),
        ("6,-1,300,995000,-1", (TRADE, 99.5, 300), 0),
    ],
)
def test_executions_are_trades_of_the_side_that_took(
    tmp_path: Path, message: str, event: tuple[int, float, float], fval: float
) -> None:
    for book in ("l2", "l3"):
        events, report = read_texts(tmp_path, lines(FIRST, f"34201,{message}"), lines(ROW, ROW), book=book)
        (trade,) = events[(events["ev"] & 0xFF) == TRADE]
        assert tuples(events[events["exch_ts"] == trade["exch_ts"]])[0] == event
        assert trade["fval"] == fval
        assert report.notes["off_tick_prints"] == (fval != 0)


def test_messages_without_rows_are_counted_by_reason_with_their_first_place(tmp_path: Path) -> None:
    messages = lines(
        FIRST, "34201,1,12,1,900000,1", "34201,3,12,1,900000,1", "34202,6,-1,0,1000000,-1", "34203,7,0,0,0,-1"
    )
    _, report = read_texts(tmp_path, messages, lines(*[ROW] * 5))
    assert report.dropped == {
        "changes no level of the book": 2,
        "cross without shares": 1,
        "trading halt message": 1,
    }
    assert report.first_dropped["changes no level of the book"].startswith("line 2 of ")
    assert report.first_dropped["trading halt message"].startswith("line 5 of ")


@pytest.mark.parametrize(("first_px", "tick"), [(1_000_000, 0.01), (9_000, 0.0001)])
def test_the_tick_is_that_of_the_first_price(tmp_path: Path, first_px: int, tick: float) -> None:
    path = write(tmp_path, lines(FIRST), f"{first_px + 5_000},1,{first_px},1\n", levels=1)
    (feed,) = build(Lobster(files=[str(path)])).feeds()
    report = FeedReport()
    assert feed.known_instrument(report) is None
    list(feed.chunks(report, lambda *_: None))
    known = feed.known_instrument(report)
    assert known is not None
    assert (known.symbol, known.tick_size, known.lot_size) == ("ABC", tick, 1.0)


def test_a_tick_of_ones_own_decides_where_prints_lie(tmp_path: Path) -> None:
    messages = lines(FIRST, "34201,5,0,3,995050,-1")
    events, report = read_texts(tmp_path, messages, lines(ROW, ROW), tick_size={"ABC": 0.005})
    assert tuples(events)[4:] == [(TRADE | BUY, 99.505, 3)]
    assert report.notes["off_tick_prints"] == 0


@pytest.mark.parametrize(
    ("day", "utc_hour"), [("2012-01-05", 14), ("2012-06-21", 13), ("2012-03-11", 13), ("2012-11-04", 14)]
)
def test_times_are_those_of_new_york_on_that_day(tmp_path: Path, day: str, utc_hour: int) -> None:
    path = write(tmp_path, lines("34200.123456789,1,11,10,990000,1"), lines(ROW), day=day)
    events, _ = read(path, feed_latency_ns="1ms")
    expected = datetime.fromisoformat(f"{day}T{utc_hour}:30:00").replace(tzinfo=ZoneInfo("UTC"))
    assert set(events["exch_ts"]) == {int(expected.timestamp()) * 10**9 + 123_456_789}
    assert set(events["local_ts"] - events["exch_ts"]) == {1_000_000}


# Orders


def test_messages_become_orders_after_those_of_the_first_row(tmp_path: Path) -> None:
    row = "1000000,{},990000,{},1010000,10,980000,10"
    messages = lines(
        "34200,1,11,4,990000,1",
        "34201,1,12,6,990000,1",
        "34202,2,12,1,990000,1",
        "34203,4,9,6,990000,1",
        "34204,4,11,3,990000,1",
        "34205,3,11,1,990000,1",
        "34206,3,8,4,1000000,-1",
    )
    book = lines(*[row.format(*q) for q in ((10, 10), (10, 16), (10, 15), (10, 9), (10, 6), (10, 5), (6, 5))])
    events, report = read_texts(tmp_path, messages, book, book="l3")
    first = 1 << 62
    assert by_id(events) == [
        (ADD | BUY, first, 99.0, 6),
        (ADD | BUY, 11, 99.0, 4),
        (ADD | BUY, first + 1, 98.0, 10),
        (ADD | SELL, first + 2, 100.0, 10),
        (ADD | SELL, first + 3, 101.0, 10),
        (ADD | BUY, 12, 99.0, 6),
        (MODIFY | BUY, 12, 99.0, 5),
        (TRADE | SELL, 0, 99.0, 6),
        (FILL | BUY, first, 99.0, 6),
        (CANCEL | BUY, first, 99.0, 6),
        (TRADE | SELL, 0, 99.0, 3),
        (FILL | BUY, 11, 99.0, 3),
        (MODIFY | BUY, 11, 99.0, 1),
        (CANCEL | BUY, 11, 99.0, 1),
        (MODIFY | SELL, first + 2, 100.0, 6),
    ]
    assert report.dropped == {}
    assert report.notes["synthetic_at_start"] == 4
    assert report.notes["matched_by_price"] == 2
    assert report.notes["repairs_in_book"] == report.notes["cut_orders"] == 0


def test_an_unknown_execution_takes_the_front_and_an_unknown_deletion_is_dropped(tmp_path: Path) -> None:
    row = "1000000,10,990000,{},1010000,10,980000,10"
    messages = lines(
        "34200,1,11,10,990000,1", "34201,1,12,5,990000,1", "34202,4,7,3,990000,1", "34203,3,7,9,990000,1"
    )
    book = lines(*[row.format(qty) for qty in (10, 15, 12, 3)])
    events, report = read_texts(tmp_path, messages, book, book="l3")
    assert by_id(events)[5:] == [
        (TRADE | SELL, 0, 99.0, 3),
        (FILL | BUY, 11, 99.0, 3),
        (MODIFY | BUY, 11, 99.0, 7),
        (CANCEL | BUY, 12, 99.0, 5),
        (MODIFY | BUY, 11, 99.0, 3),
    ]
    assert report.dropped == {"unknown order": 1}
    assert report.notes["cut_orders"] == 2
    assert report.notes["repairs_in_book"] == 1


def test_a_submission_that_the_book_denies_or_that_came_before_is_dropped(tmp_path: Path) -> None:
    messages = lines(FIRST, "34201,1,11,5,980000,1", "34202,1,13,5,985000,1", "34203,1,14,50,990000,1")
    events, report = read_texts(tmp_path, messages, lines(*[ROW] * 4), book="l3")
    assert len(events) == 4
    assert report.dropped == {"order submitted twice": 1, "order that the book does not show": 2}


def test_orders_of_a_level_that_comes_back_are_cut_or_added_at_its_end(tmp_path: Path) -> None:
    messages = lines(
        FIRST,
        "34201,1,13,5,985000,1",
        "34202,3,13,5,985000,1",
        "34203,1,14,5,985000,1",
        "34204,3,14,5,985000,1",
    )
    with_13 = "1000000,10,990000,10,1010000,10,985000,5"
    row = "1000000,10,990000,10,1010000,10,980000,{}"
    events, report = read_texts(
        tmp_path, messages, lines(ROW, with_13, row.format(4), with_13, row.format(9)), book="l3"
    )
    first = 1 << 62
    assert by_id(events)[4:] == [
        (ADD | BUY, 13, 98.5, 5),
        (CANCEL | BUY, 13, 98.5, 5),
        (MODIFY | BUY, first, 98.0, 4),
        (ADD | BUY, 14, 98.5, 5),
        (CANCEL | BUY, 14, 98.5, 5),
        (ADD | BUY, first + 3, 98.0, 5),
    ]
    assert report.notes["repairs_in_book"] == 0
    assert report.notes["synthetic_later"] == 1


def test_orders_whose_numbers_meet_in_the_table_are_told_apart(tmp_path: Path) -> None:
    ids = [1 + i * 4 * _reader._FIRST_CAPACITY for i in range(1, 5)]
    row = "1000000,10,990000,{},1010000,10,980000,10"
    messages = [f"34200,1,{order_id},10,990000,1" for order_id in ids]
    messages += [
        f"34201,3,{ids[0]},10,990000,1",
        f"34202,2,{ids[2]},4,990000,1",
        f"34203,3,{ids[1]},10,990000,1",
    ]
    messages += [f"34204,3,{ids[3]},10,990000,1", f"34205,3,{ids[2]},6,990000,1"]
    book = [row.format(qty) for qty in (10, 20, 30, 40, 30, 26, 16, 6)] + [
        "1000000,10,980000,10,1010000,10,970000,1"
    ]
    events, report = read_texts(tmp_path, lines(*messages), lines(*book), book="l3")
    assert [e[:2] for e in by_id(events) if e[1] < 1 << 62] == [
        *[(ADD | BUY, order_id) for order_id in ids],
        (CANCEL | BUY, ids[0]),
        (MODIFY | BUY, ids[2]),
        (CANCEL | BUY, ids[1]),
        (CANCEL | BUY, ids[3]),
        (CANCEL | BUY, ids[2]),
    ]
    assert report.dropped == {}


# Any files


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_levels=st.integers(1, 4),
    book=st.sampled_from(["l2", "l3"]),
    beyond=st.sampled_from(["keep", "remove"]),
)
def test_events_make_every_row_of_the_book(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_levels: int, book: str, beyond: str
) -> None:
    made = market(seed, n_levels, 150)
    path = write(tmp_path_factory.mktemp("pair"), *made.texts(), levels=n_levels)
    events, report = read(path, book=book, beyond=beyond)
    follow(made.truth(MIDNIGHT_TS), events)
    assert report.rows_read == len(made.messages)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_where_the_file_shows_all_levels_orders_are_those_of_the_exchange(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    made = market(seed, 40, 200)
    path = write(tmp_path_factory.mktemp("pair"), *made.texts(), levels=40)
    events, report = read(path, book="l3")
    replay = follow(made.truth(MIDNIGHT_TS), events)
    for side, levels in enumerate(made.queues):
        for px, queue in levels.items():
            assert replay.queues[side, px] == [order_id for order_id, _ in queue]
            assert [replay.orders[i][2] for i in replay.queues[side, px]] == [qty for _, qty in queue]
    assert len(replay.orders) == sum(len(queue) for levels in made.queues for queue in levels.values())
    assert replay.fills_at_front[False] == 0
    counted = ("synthetic_at_start", "synthetic_later", "cut_orders", "matched_by_price", "repairs_in_book")
    assert [report.notes[name] for name in counted] == [0] * 5
    assert report.dropped == {}


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    book=st.sampled_from(["l2", "l3"]),
    chunk_bytes=st.integers(1 << 10, 1 << 13),
    n_rows=st.sampled_from([1, 64, 300]),
)
def test_blocks_buffers_and_room_do_not_change_the_events(
    tmp_path_factory: pytest.TempPathFactory, seed: int, book: str, chunk_bytes: int, n_rows: int
) -> None:
    made = market(seed, 3, 400, halts=True)
    path = write(tmp_path_factory.mktemp("pair"), *made.texts(), levels=3)
    events, report = read(path, book=book)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_reader, "_ROWS_PER_CHUNK", n_rows)
        patch.setattr(_reader, "_FIRST_CAPACITY", 4)
        small, small_report = read(path, book=book, chunk_bytes=chunk_bytes)
    assert small.tobytes() == events.tobytes()
    assert small_report == report


@pytest.mark.parametrize("book", ["l2", "l3"])
def test_ten_times_the_input_has_the_same_peak_of_memory(tmp_path: Path, book: str) -> None:
    def peak_bytes(n: int) -> int:
        path = write(tmp_path, FIRST + "\n" + lines("34201,5,0,5,990000,1") * n, lines(ROW) * (n + 1))
        (feed,) = build(Lobster(files=[str(path)], book=book, chunk_bytes=1 << 14)).feeds()
        tracemalloc.start()
        n_events = sum(len(chunk) for chunk in feed.chunks(FeedReport(), lambda *_: None))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_events == n + 4
        return peak

    read_texts(tmp_path, lines(FIRST), lines(ROW), book=book)  # so that nothing compiles while it is traced
    assert peak_bytes(50_000) < 1.1 * peak_bytes(5_000)


READ = """
import sys
from hashlib import sha256
from bt_framework.data.source import FeedReport
from bt_plugins.data.lobster import Lobster, _reader, build

_reader._FIRST_CAPACITY = 4
for book in ("l2", "l3"):
    (feed,) = build(Lobster(files=[sys.argv[1]], book=book, max_malformed_lines=1)).feeds()
    report = FeedReport()
    print(sha256(b"".join(chunk.tobytes() for chunk in feed.chunks(report, lambda *_: None))).hexdigest(), report)
"""


@pytest.mark.long
def test_the_events_are_the_same_without_the_jit_and_with_bounds_checks(tmp_path: Path) -> None:
    messages, book = market(5, 3, 250, halts=True).texts()
    path = write(tmp_path, messages + "no message", book + "1,2,3", levels=3)
    outputs = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", READ, str(path)],
            env=os.environ | mode,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for mode in ({}, {"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_BOUNDSCHECK": "1"})
    ]
    assert outputs[0].count("'malformed': 1") == 2
    assert outputs[0].count("'closed_phases': [[") == 2
    assert outputs[0] == outputs[1] == outputs[2]


# Halts

HALT = lines(
    FIRST,
    "34201,7,0,0,-1,-1",
    "34202,3,11,4,990000,1",
    "34203,5,0,1,995000,1",
    "34204,7,0,0,0,-1",
    "34205,6,-1,500,995000,-1",
    "34206,7,0,0,1,-1",
    "34207,3,11,1,990000,1",
)
CHANGED = "1000000,10,990000,6,1010000,10,980000,10"
HALT_BOOK = lines(ROW, ROW, *[CHANGED] * 5, "1000000,10,990000,5,1010000,10,980000,10")
PHASE = [[MIDNIGHT_TS + 34_201 * 10**9, MIDNIGHT_TS + 34_206 * 10**9]]


def test_the_book_is_away_while_trading_is_halted(tmp_path: Path) -> None:
    events, report = read_texts(tmp_path, HALT, HALT_BOOK)
    assert tuples(events)[4:] == [
        (DEPTH | BUY, 99.0, 0),
        (DEPTH | BUY, 98.0, 0),
        (DEPTH | SELL, 100.0, 0),
        (DEPTH | SELL, 101.0, 0),
        (TRADE, 99.5, 500),
        (SNAPSHOT | BUY, 99.0, 6),
        (SNAPSHOT | BUY, 98.0, 10),
        (SNAPSHOT | SELL, 100.0, 10),
        (SNAPSHOT | SELL, 101.0, 10),
        (DEPTH | BUY, 99.0, 5),
    ]
    assert report.notes["closed_phases"] == PHASE
    assert report.dropped == {"in a trading halt": 2, "trading halt message": 1}


def test_orders_are_cleared_for_a_halt_and_come_back_in_their_queues(tmp_path: Path) -> None:
    messages = HALT.replace(FIRST, "34200,1,11,6,990000,1").replace("1,990000,1\n", "1,990000,1\n")
    events, report = read_texts(tmp_path, messages, HALT_BOOK, book="l3")
    first = 1 << 62
    assert by_id(events)[5:] == [
        (CLEAR, 0, 0.0, 0),
        (TRADE, 0, 99.5, 500),
        (ADD | BUY, first, 99.0, 4),
        (ADD | BUY, first + 4, 99.0, 2),
        (ADD | BUY, first + 1, 98.0, 10),
        (ADD | SELL, first + 2, 100.0, 10),
        (ADD | SELL, first + 3, 101.0, 10),
        (MODIFY | BUY, first, 99.0, 3),
    ]
    assert report.notes["closed_phases"] == PHASE


@pytest.mark.parametrize("book", ["l2", "l3"])
def test_a_halt_may_be_passed_on(tmp_path: Path, book: str) -> None:
    events, report = read_texts(tmp_path, HALT, HALT_BOOK, book=book, auction="keep")
    assert report.notes["closed_phases"] == PHASE
    assert report.dropped["trading halt message"] == 3
    assert "in a trading halt" not in report.dropped
    assert [(k, px, q) for k, px, q in tuples(events) if k & 0xFF == TRADE] == [
        (TRADE | SELL, 99.5, 1),
        (TRADE, 99.5, 500),
    ]
    assert not ((events["ev"] & 0xFF) == CLEAR).any()


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), book=st.sampled_from(["l2", "l3"]))
def test_nothing_can_be_filled_while_trading_is_halted(
    tmp_path_factory: pytest.TempPathFactory, seed: int, book: str
) -> None:
    made = market(seed, 3, 200, halts=True)
    path = write(tmp_path_factory.mktemp("pair"), *made.texts(), levels=3)
    events, report = read(path, book=book)
    phases = report.notes["closed_phases"]
    assert len(phases) == 5
    for start, end in phases:
        inside = events[(events["exch_ts"] > start) & (events["exch_ts"] < end)]
        assert len(inside) == 0
    replay = Replay()
    for event in events:
        kind = int(event["ev"]) & 0xFF
        if kind == CLEAR:
            replay = Replay()
        elif kind != TRADE:
            replay.take(event)
    *_, row = made.truth(MIDNIGHT_TS).rows()
    assert all(replay.sides[i].starts_with(row[i], 3) for i in (0, 1))


def test_a_halt_that_the_file_ends_in_lasts_to_its_end(tmp_path: Path) -> None:
    events, report = read_texts(tmp_path, lines(*HALT.splitlines()[:4]), lines(*HALT_BOOK.splitlines()[:4]))
    assert len(events) == 8
    assert report.notes["closed_phases"] == [[PHASE[0][0], MIDNIGHT_TS + 34_203 * 10**9]]


# Days and symbols


@pytest.mark.parametrize("auction", ["withhold", "keep"])
@pytest.mark.parametrize("book", ["l2", "l3"])
def test_days_of_a_symbol_are_joined_and_the_book_is_away_in_between(
    tmp_path: Path, book: str, auction: str
) -> None:
    days = ["2012-06-22", "2012-06-21"]
    made = [market(seed, 3, 100) for seed in (1, 2)]
    paths = [write(tmp_path, *m.texts(), levels=3, day=day) for m, day in zip(made, days, strict=True)]
    events, report = read(*paths, book=book, auction=auction)
    apart = [read(path, book=book, auction=auction)[0] for path in reversed(paths)]
    first_day = events[events["exch_ts"] <= apart[0]["exch_ts"][-1]]
    away = first_day[len(apart[0]) :]
    assert first_day[: len(apart[0])].tobytes() == apart[0].tobytes()
    assert len(away) == 1 if book == "l3" else (away["qty"] == 0).all()
    assert len(away) > 0
    second_day = events[len(first_day) :].copy()
    if book == "l3":
        synthetic = second_day["order_id"] >= 1 << 62
        second_day["order_id"][synthetic] = apart[1]["order_id"][synthetic]
    assert second_day.tobytes() == apart[1].tobytes()
    assert report.notes["closed_phases"] == [[int(apart[0]["exch_ts"][-1]), int(apart[1]["exch_ts"][0])]]
    assert report.rows_read == sum(len(m.messages) for m in made)


@pytest.mark.parametrize("end", [".csv", ".csv.gz"])
def test_either_file_of_a_pair_names_both(tmp_path: Path, end: str) -> None:
    path = write(tmp_path, lines(FIRST), lines(ROW), end=end)
    other = path.with_name(path.name.replace("message", "orderbook"))
    feeds = [
        build(Lobster(files=files)).feeds()[0]
        for files in ([str(path)], [str(other)], [str(other), str(path)])
    ]
    assert {feed.files for feed in feeds} >= {(path, other)}
    assert {frozenset(feed.files) for feed in feeds} == {frozenset((path, other))}
    assert len(read(other)[0]) == 4


def test_a_zip_file_may_hold_several_symbols_and_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for symbol in ("XY.Z", "ABC"):
            path = write(tmp_path, lines(FIRST), lines(ROW), symbol=symbol)
            for part in (path, path.with_name(path.name.replace("message", "orderbook"))):
                archive.write(part, f"folder/{part.name}")
        archive.writestr("readme.txt", "hello")
    config = Lobster(files=[str(tmp_path / "a.zip")], symbols=["ABC", "XY.Z"])
    assert [feed.symbol for feed in build(config).feeds()] == ["ABC", "XY.Z"]
    assert [feed.files for feed in build(config).feeds()] == [(tmp_path / "a.zip",)] * 2


def test_the_name_of_a_file_and_the_options_are_part_of_its_identity(tmp_path: Path) -> None:
    def identity(day: str = DAY, **options: Any) -> str:
        path = write(tmp_path, lines(FIRST), lines(ROW), day=day)
        return repr(build(Lobster(files=[str(path)], **options)).feeds()[0].identity())

    others = [
        identity("2012-06-22"),
        identity(book="l3"),
        identity(beyond="remove"),
        identity(auction="keep"),
        identity(feed_latency_ns=1),
        identity(tick_size={"ABC": 0.005}),
        identity(max_malformed_lines=1),
    ]
    assert len({identity(), *others}) == 8


def test_a_small_file_is_ingested(tmp_path: Path) -> None:
    made = market(3, 5, 300, halts=True)
    path = write(tmp_path, *made.texts(), levels=5)
    for book in ("l2", "l3"):
        (feed,) = build(Lobster(files=[str(path)], book=book)).feeds()
        stored = EventStore(tmp_path / "store").load(feed)
        assert not [f for f in stored.findings if f.severity == Severity.FATAL]
        assert stored.spec.tick_size == 0.01


# Files that cannot be read

BAD_BOOK_ROW = (
    r"orderbook_2\.csv line 2 is malformed: it must have 8 columns of whole numbers \(2 levels\), has {}"
)


@pytest.mark.parametrize(
    ("message", "row", "problem"),
    [
        ("34201,1,12,5,990000", ROW, r"message_2\.csv line 2 is malformed: it must have 6 columns"),
        ("34201,1,12,5,990000,1,0", ROW, "it must have 6 columns"),
        ("34201,1,12,5.5,990000,1", ROW, "it must have 6 columns"),
        ("", ROW, "its time must be seconds after midnight"),
        ("34201.1234567891,1,12,5,990000,1", ROW, "with at most nine decimals"),
        ("-1.5,1,12,5,990000,1", ROW, "its time must be"),
        ("86401,1,12,5,990000,1", ROW, "its time must be"),
        ("34199.9,1,12,5,990000,1", ROW, "its time is before that of the line above"),
        ("34201,8,12,5,990000,1", ROW, "its type, size, price or direction cannot be"),
        ("34201,1,0,5,990000,1", ROW, "cannot be"),
        ("34201,1,12,0,990000,1", ROW, "cannot be"),
        ("34201,1,12,5,-990000,1", ROW, "cannot be"),
        ("34201,4,12,5,990000,0", ROW, "cannot be"),
        ("34201,7,0,0,2,-1", ROW, "cannot be"),
        ("34201,5,0,5,990000,1", "1000000,10,990000,10", BAD_BOOK_ROW.format(4)),
        ("34201,5,0,5,990000,1", ROW + ",1020000,10,970000,10", BAD_BOOK_ROW.format(12)),
        ("34201,5,0,5,990000,1", ROW.replace("980000", "x"), BAD_BOOK_ROW.format(8)),
        (
            "34201,5,0,5,990000,1",
            ROW.replace("980000", "990000"),
            "prices must get worse from level to level",
        ),
        ("34201,5,0,5,990000,1", ROW.replace("1010000", "999900"), "prices must get worse"),
        ("34201,5,0,5,990000,1", ROW.replace("1010000,10", "1010000,0"), "with sizes above 0"),
        ("34201,5,0,5,990000,1", "9999999999,0," + ROW[11:], "prices must get worse"),
    ],
)
def test_a_malformed_line_is_an_error_that_names_it_or_is_counted(
    tmp_path: Path, message: str, row: str, problem: str
) -> None:
    messages, book = lines(FIRST, message, "34202,5,0,9,990000,1"), lines(ROW, row, ROW)
    with pytest.raises(DataError, match=problem):
        read_texts(tmp_path, messages, book)
    for levels in ("l2", "l3"):
        events, report = read_texts(tmp_path, messages, book, book=levels, max_malformed_lines=1)
        assert report.dropped == {"malformed": 1}
        assert report.first_dropped["malformed"].startswith("line 2 of ")
        assert "line 2 is malformed" in report.first_problem
        assert report.rows_read == 3
        assert tuples(events)[4:] == [(TRADE | SELL, 99.0, 9)]
        with pytest.raises(DataError, match=r"data\.max_malformed_lines is 1"):
            read_texts(tmp_path, messages + lines(message), book + lines(row), max_malformed_lines=1)


@pytest.mark.parametrize("cut", ["message", "orderbook"])
def test_a_file_cut_in_a_line_is_malformed_there(tmp_path: Path, cut: str) -> None:
    path = write(tmp_path, lines(FIRST, "34201,5,0,5,990000,1"), lines(ROW, ROW))
    cut_path = path.with_name(path.name.replace("message", cut))
    cut_path.write_text(cut_path.read_text()[:-4])
    with pytest.raises(DataError, match=rf"{cut}_2\.csv line 2 is malformed: .*; the file ends in it\."):
        read(path)


def test_the_last_line_needs_no_end_and_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    expected, _ = read_texts(tmp_path, lines(FIRST, "34201,5,0,5,990000,1"), lines(ROW, ROW))
    events, report = read_texts(tmp_path, f"{FIRST}\r\n34201,5,0,5,990000,1", f"{ROW}\r\n{ROW}")
    assert events.tobytes() == expected.tobytes()
    assert report.rows_read == 2


@pytest.mark.parametrize(("n_messages", "n_rows"), [(3, 2), (2, 3), (2, 0), (0, 2)])
def test_files_of_different_lengths_are_refused(tmp_path: Path, n_messages: int, n_rows: int) -> None:
    messages = lines(*[FIRST] * n_messages)
    shorter, longer = ("message", "orderbook") if n_messages < n_rows else ("orderbook", "message")
    last = min(n_messages, n_rows)
    problem = rf"{shorter}_2\.csv must have as many rows as .*{longer}_2\.csv, ends after row {last}\."
    with pytest.raises(DataError, match=problem if n_messages and n_rows else "is empty"):
        read_texts(tmp_path, messages, lines(*[ROW] * n_rows))


def test_files_without_a_line_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hold no row"):
        read_texts(tmp_path, " ", "\r")


def test_a_line_longer_than_a_chunk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"message_2\.csv line 2 is longer than data\.chunk_bytes \(1,024\)"):
        read_texts(tmp_path, lines(FIRST) + "1" * 4_000, lines(ROW, ROW), chunk_bytes=1_024)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_zip_file_is_refused(tmp_path: Path, kept: float) -> None:
    made = market(3, 5, 300)
    path = write(tmp_path, *made.texts(), levels=5)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, path.name)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"a\.zip is truncated or corrupt: .*Fetch it again"):
        read(tmp_path / "a.zip")
    assert Lobster.recognise(tmp_path / "a.zip", content[:1_000])


def test_a_zip_file_with_broken_content_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, *market(3, 5, 300).texts(), levels=5)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for part in (path, path.with_name(path.name.replace("message", "orderbook"))):
            archive.write(part, part.name)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip is truncated or corrupt"):
        read(tmp_path / "a.zip")


def test_a_pair_needs_both_halves_and_a_name_like_lobsters(tmp_path: Path) -> None:
    path = write(tmp_path, lines(FIRST), lines(ROW))
    path.unlink()
    other = path.with_name(path.name.replace("message", "orderbook"))
    with pytest.raises(DataError, match=rf"lacks its other half, {path.name}"):
        read(other)
    other.rename(tmp_path / "book.csv")
    with pytest.raises(DataError, match="must be as LOBSTER gives it, such as GOOG_2012-06-21"):
        read(tmp_path / "book.csv")
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "none.csv")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "1")
    with pytest.raises(DataError, match="must hold message and order book files"):
        read(tmp_path / "a.zip")


def test_a_day_must_be_given_once_and_be_a_day(tmp_path: Path) -> None:
    paths = [write(tmp_path, lines(FIRST), lines(ROW), levels=levels) for levels in (2, 3)]
    with pytest.raises(DataError, match="ABC on 2012-06-21 must be given once"):
        read(*paths)
    with pytest.raises(DataError, match="must be a day, was 2012-13-41"):
        read(write(tmp_path, lines(FIRST), lines(ROW), day="2012-13-41"))


def test_symbols_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path, lines(FIRST), lines(ROW))
    with pytest.raises(DataError, match=r"wrong symbol: .* is of ABC, data.symbols is XYZ"):
        read(path, symbols=["XYZ"])
    with pytest.raises(DataError, match=r"data\.symbols asks for XYZ, but no file is of it"):
        build(Lobster(files=[str(path)], symbols=["ABC", "XYZ"])).feeds()
    with pytest.raises(ConfigError, match="ABD"):
        read(path, tick_size={"ABD": 0.01})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"book": "l4"}, r"data\.book must be one of l2, l3, was 'l4'"),
        ({"auction": "no"}, r"data\.auction must be one of withhold, keep"),
        ({"beyond": "no"}, r"data\.beyond must be one of keep, remove"),
        ({"feed_latency_ns": -1}, r"data\.feed_latency_ns must be >= 0, was -1|feed_latency_ns"),
        ({"max_malformed_lines": -1}, r"data\.max_malformed_lines must be >= 0"),
        ({"chunk_bytes": 10}, r"data\.chunk_bytes must be >= 1024"),
        ({"tick_size": {"A": 0.0}}, r"data\.tick_size\.A must be > 0"),
        ({"tick_size": {"A": 0.00001}}, r"data\.tick_size\.A must be whole ten-thousandths"),
        ({"symbols": ["A", "A"]}, r"data\.symbols must differ"),
    ],
)
def test_options_are_checked(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Lobster(files=["a"], **options)


def test_files_must_be_given_and_differ(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must name at least one file"):
        build(Lobster()).feeds()
    path = write(tmp_path, lines(FIRST), lines(ROW))
    with pytest.raises(ConfigError, match="twice"):
        read(path, path)


# Recognition


def test_pairs_are_recognised_by_name_and_first_line(tmp_path: Path) -> None:
    path = write(tmp_path, lines(FIRST), lines(ROW))
    assert Lobster.recognise(path, lines(FIRST).encode())
    assert Lobster.recognise(path.with_name(path.name.replace("message", "orderbook")), ROW.encode())
    assert not Lobster.recognise(path, ROW.encode())
    assert not Lobster.recognise(path, b"time,type,id,size,price,direction\n")
    assert not Lobster.recognise(path.with_name("message_10.csv"), lines(FIRST).encode())


def test_of_the_shared_data_only_the_samples_are_recognised(shared_dir: Path) -> None:
    components = [c for c in discover().registry.components() if c.kind is Kind.DATA]
    readers = {c.name: c.config_class for c in components if issubclass(c.config_class, FileConfig)}
    found = recognise([shared_dir / "data"], readers)
    samples = sorted((shared_dir / "data" / "lobster").glob("*.zip"))
    assert len(samples) == 4
    assert sorted(found.by_reader["lobster"]) == samples
    assert not [path for path, _ in found.ambiguous if path in samples]
