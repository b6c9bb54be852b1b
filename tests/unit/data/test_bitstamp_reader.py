"""Small files written by hand: what happens to orders becomes a book that is never crossed."""

from __future__ import annotations

import gzip
import lzma
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.data import csv_blocks
from bt_framework.data.source import FeedReport
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.bitstamp import Bitstamp, _orders, build
from bt_plugins.data.bitstamp._orders import Action, Order, OrderBook

T_MS = 1_430_438_400_000
HEADER = "id,timestamp,exchange.timestamp,price,volume,action,direction"
BUY, SELL = EventFlag.BUY, EventFlag.SELL
ADD, CANCEL, MODIFY, FILL, TRADE, DEPTH = (
    EventKind.ADD_ORDER,
    EventKind.CANCEL_ORDER,
    EventKind.MODIFY_ORDER,
    EventKind.FILL,
    EventKind.TRADE,
    EventKind.DEPTH,
)
TAKES = "of an order that takes, outside the book"
TOLD = "of a trade that others have told"

Step = tuple[int, str, str, float, float]
"""Order id, action, side, price and quantity."""


def lines_of(*steps: Step, step_ms: int = 10) -> list[str]:
    return [
        f"{order_id},{T_MS + k * step_ms},{T_MS // 1_000 * 1_000},{px},{round(qty * 1e8)},{action},{side}"
        for k, (order_id, action, side, px, qty) in enumerate(steps)
    ]


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{text}\n" for text in (HEADER, *lines)))
    return path


def read(*paths: Path, **options: Any) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Bitstamp(files=[str(path) for path in paths], **options)).feeds()
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def tuples(rows: np.ndarray) -> list[tuple[int, int, float, float]]:
    return [(int(row["ev"]), int(row["order_id"]), float(row["px"]), float(row["qty"])) for row in rows]


def events_of(
    folder: Path, *steps: Step, **options: Any
) -> tuple[list[tuple[int, int, float, float]], FeedReport]:
    rows, report = read(write(folder / "BTCUSD.csv", *lines_of(*steps)), **options)
    return tuples(rows), report


def test_orders_are_created_changed_and_deleted(tmp_path: Path) -> None:
    steps: list[Step] = [
        (1, "created", "bid", 9.5, 2),
        (2, "created", "ask", 10, 3),
        (1, "changed", "bid", 9.25, 2),
        (1, "changed", "bid", 9.25, 5),
        (1, "changed", "bid", 9.25, 5),
        (2, "deleted", "ask", 10, 3),
    ]
    events, report = events_of(tmp_path, *steps)
    assert events == [
        (ADD | BUY, 1, 9.5, 2.0),
        (ADD | SELL, 2, 10.0, 3.0),
        (MODIFY | BUY, 1, 9.25, 2.0),
        (MODIFY | BUY, 1, 9.25, 5.0),
        (CANCEL | SELL, 2, 10.0, 3.0),
    ]
    assert (report.symbol, report.rows_read, report.dropped) == ("BTCUSD", 6, {"changed nothing": 1})
    assert report.notes["trades_inferred"] == 0
    by_level, _ = events_of(tmp_path, *steps, book="l2")
    assert by_level == [
        (DEPTH | BUY, 0, 9.5, 2.0),
        (DEPTH | SELL, 0, 10.0, 3.0),
        (DEPTH | BUY, 0, 9.5, 0.0),
        (DEPTH | BUY, 0, 9.25, 2.0),
        (DEPTH | BUY, 0, 9.25, 5.0),
        (DEPTH | SELL, 0, 10.0, 0.0),
    ]


def test_what_an_order_loses_has_traded_and_the_fill_comes_before_the_loss(tmp_path: Path) -> None:
    steps: list[Step] = [
        (1, "created", "bid", 9, 2),
        (2, "created", "bid", 9, 4),
        (1, "changed", "bid", 9, 0.5),
        (1, "deleted", "bid", 9, 0),
        (2, "deleted", "bid", 9, 4),
    ]
    events, report = events_of(tmp_path, *steps)
    assert events[2:] == [
        (TRADE | SELL, 0, 9.0, 1.5),
        (FILL | BUY, 1, 9.0, 1.5),
        (MODIFY | BUY, 1, 9.0, 0.5),
        (TRADE | SELL, 0, 9.0, 0.5),
        (FILL | BUY, 1, 9.0, 0.5),
        (CANCEL | BUY, 1, 9.0, 0.5),
        (CANCEL | BUY, 2, 9.0, 4.0),
    ]
    assert (report.notes["trades_inferred"], report.notes["traded_qty"]) == (2, 2.0)
    by_level, _ = events_of(tmp_path, *steps, book="l2")
    assert by_level[2:] == [
        (TRADE | SELL, 0, 9.0, 1.5),
        (DEPTH | BUY, 0, 9.0, 4.5),
        (TRADE | SELL, 0, 9.0, 0.5),
        (DEPTH | BUY, 0, 9.0, 4.0),
        (DEPTH | BUY, 0, 9.0, 0.0),
    ]


@pytest.mark.parametrize("taker_first", [True, False])
def test_an_order_that_takes_enters_with_what_is_left_of_it(tmp_path: Path, taker_first: bool) -> None:
    """It takes all of order 1 and rests with the remaining 3; both orders tell the trade, in either order."""
    own: Step = (2, "changed", "bid", 11, 3)
    other: Step = (1, "deleted", "ask", 10, 0)
    steps: list[Step] = [
        (1, "created", "ask", 10, 2),
        (2, "created", "bid", 11, 5),
        *([own, other] if taker_first else [other, own]),
        (2, "changed", "bid", 11, 2.5),
        (2, "deleted", "bid", 11, 2.5),
    ]
    events, report = events_of(tmp_path, *steps)
    assert events == [
        (ADD | SELL, 1, 10.0, 2.0),
        (TRADE | BUY, 0, 10.0, 2.0),
        (FILL | SELL, 1, 10.0, 2.0),
        (CANCEL | SELL, 1, 10.0, 2.0),
        (ADD | BUY, 2, 11.0, 3.0),
        (TRADE | SELL, 0, 11.0, 0.5),
        (FILL | BUY, 2, 11.0, 0.5),
        (MODIFY | BUY, 2, 11.0, 2.5),
        (CANCEL | BUY, 2, 11.0, 2.5),
    ]
    assert report.dropped == ({TAKES: 2} if taker_first else {TAKES: 1, TOLD: 1})
    assert (report.notes["traded_qty"], report.notes["taken_qty"]) == (2.5, 2.0)
    assert report.notes["orders_that_crossed"] == 1


@pytest.mark.parametrize("taker_first", [True, False])
def test_an_order_that_takes_and_is_used_up_never_enters(tmp_path: Path, taker_first: bool) -> None:
    """The two sides of the second trade differ by a hundred-millionth, as the venue rounds."""
    own: Step = (3, "deleted", "ask", 9, 0)
    other: Step = (2, "deleted", "bid", 9.5, 0)
    steps: list[Step] = [
        (1, "created", "bid", 10, 2),
        (2, "created", "bid", 9.5, 2.5),
        (3, "created", "ask", 9, 4.50000001),
        (1, "deleted", "bid", 10, 0),
        *([own, other] if taker_first else [other, own]),
    ]
    events, _ = events_of(tmp_path, *steps)
    assert events[2:] == [
        (TRADE | SELL, 0, 10.0, 2.0),
        (FILL | BUY, 1, 10.0, 2.0),
        (CANCEL | BUY, 1, 10.0, 2.0),
        (TRADE | SELL, 0, 9.5, 2.5),
        (FILL | BUY, 2, 9.5, 2.5),
        (CANCEL | BUY, 2, 9.5, 2.5),
    ]


def test_an_order_that_moves_across_waits_outside(tmp_path: Path) -> None:
    events, _ = events_of(
        tmp_path,
        (1, "created", "ask", 10, 1),
        (2, "created", "bid", 9, 3),
        (2, "changed", "bid", 10.5, 3),
        (1, "deleted", "ask", 10, 0),
    )
    assert events[2:] == [
        (CANCEL | BUY, 2, 9.0, 3.0),
        (TRADE | BUY, 0, 10.0, 1.0),
        (FILL | SELL, 1, 10.0, 1.0),
        (CANCEL | SELL, 1, 10.0, 1.0),
        (ADD | BUY, 2, 10.5, 2.0),
    ]


def test_orders_that_are_crossed_for_too_long_are_taken_for_gone(tmp_path: Path) -> None:
    steps: list[Step] = [
        (1, "created", "ask", 10, 1),
        (2, "created", "ask", 12, 1),
        (3, "created", "bid", 11, 3),
        (4, "created", "bid", 8, 1),
        (5, "created", "bid", 8, 1),
        (1, "deleted", "ask", 10, 1),
    ]
    events, report = events_of(tmp_path, *steps, stale_after_ns="15ms")
    assert events[2:] == [
        (ADD | BUY, 4, 8.0, 1.0),
        (CANCEL | SELL, 1, 10.0, 1.0),
        (ADD | BUY, 5, 8.0, 1.0),
        (ADD | BUY, 3, 11.0, 3.0),
    ]
    assert report.notes["stale_orders"] == 1
    assert report.dropped == {TAKES: 1, "deleted again": 1}


def test_messages_about_orders_that_are_not_there_are_dropped(tmp_path: Path) -> None:
    events, report = events_of(
        tmp_path,
        (1, "deleted", "bid", 9, 1),
        (1, "created", "bid", 9, 1),
        (1, "changed", "bid", 9, 0.5),
        (1, "deleted", "bid", 9, 1),
        (2, "changed", "bid", 9, 1),
        (3, "created", "bid", 9, 0),
        (4, "created", "bid", 9, 1),
        (4, "created", "bid", 9, 1),
    )
    assert events == [(ADD | BUY, 4, 9.0, 1.0)]
    assert report.dropped == {
        "deleted, never seen": 1,
        "created after its deletion": 1,
        "changed after its deletion": 1,
        "deleted again": 1,
        "changed, never seen": 1,
        "created without volume": 1,
        "created again": 1,
    }
    assert report.first_dropped["created again"] == f"{tmp_path / 'BTCUSD.csv'} line 9"


def test_times_are_of_receipt_and_never_step_back(tmp_path: Path) -> None:
    path = write(
        tmp_path / "BTCUSD.csv",
        f"1,{T_MS + 700},{T_MS},9,100000000,created,bid",
        f"2,{T_MS + 690},{T_MS - 1_000},9,100000000,created,bid",
        f"3,{T_MS + 800},{T_MS},9,100000000,created,bid",
    )
    rows, report = read(path, feed_latency_ns="300ms")
    assert rows["local_ts"].tolist() == [(T_MS + ms) * 1_000_000 for ms in (700, 700, 800)]
    assert (rows["local_ts"] - rows["exch_ts"] == 300_000_000).all()
    assert report.notes["receive_time_steps_back"] == 1
    assert report.notes["exchange_time_steps_back"] == 1
    assert report.notes["creation_age_ns"] == [700_000_000, 1_690_000_000]


def test_files_of_one_symbol_go_on_from_each_other(tmp_path: Path) -> None:
    lines = lines_of((1, "created", "bid", 9, 1), (2, "created", "ask", 10, 1), (1, "deleted", "bid", 9, 1))
    whole = write(tmp_path / "whole_BTCUSD_1.csv", *lines)
    expected, _ = read(whole)
    first = write(tmp_path / "b_BTCUSD.csv", *lines[:2])
    second = write(tmp_path / "a_BTCUSD.csv", *lines[2:])
    second.write_bytes(lzma.compress(second.read_bytes()))
    first.write_bytes(gzip.compress(first.read_bytes()))
    assert read(second, first)[0].tobytes() == expected.tobytes()
    feeds = build(Bitstamp(files=[str(first), str(second)], symbols=["ETHUSD", "LTCUSD"])).feeds()
    assert [feed.symbol for feed in feeds] == ["ETHUSD", "LTCUSD"]


MESSAGES = st.lists(
    st.tuples(
        st.integers(1, 12),
        st.sampled_from(list(Action)),
        st.integers(10, 16).map(lambda k: k / 2),
        st.integers(0, 6),
        st.integers(0, 3),
    ),
    max_size=80,
)
Emitted = list[tuple[int, float, int, int]]


def run(messages: list[tuple[int, Action, float, int, int]], by_order: bool) -> list[Emitted]:
    """What each message makes; odd ids are asks."""
    emitted: list[Emitted] = []
    book = OrderBook(lambda *event: emitted[-1].append(event), by_order, stale_after_ns=20)
    ts = 0
    for order_id, action, px, volume, wait in messages:
        ts += wait
        emitted.append([])
        book.apply(ts, action, Order(order_id, order_id % 2, px, 10 * volume, ts))
    return emitted


@given(MESSAGES)
def test_no_stream_crosses_the_book_or_touches_an_order_that_is_not_there(
    messages: list[tuple[int, Action, float, int, int]],
) -> None:
    orders: dict[int, tuple[float, int]] = {}
    levels: dict[tuple[int, float], int] = {}
    for by_order, by_level in zip(run(messages, True), run(messages, False), strict=True):
        for ev, px, volume, order_id in by_order:
            kind = ev & 0xFF
            assert kind == TRADE or bool(ev & SELL) == bool(order_id % 2)
            if kind == ADD:
                assert order_id not in orders
            elif kind == CANCEL:
                assert orders.pop(order_id) == (px, volume)
            elif kind == MODIFY:
                assert order_id in orders
            elif kind == FILL:
                assert orders[order_id][0] == px
                assert 0 < volume <= orders[order_id][1]
            if kind in (ADD, MODIFY):
                assert volume > 0
                orders[order_id] = (px, volume)
        for ev, px, volume, _ in by_level:
            if ev & 0xFF == DEPTH:
                levels[(ev & (BUY | SELL), px)] = volume
        sums: Counter[tuple[int, float]] = Counter()
        for order_id, (px, volume) in orders.items():
            sums[(SELL if order_id % 2 else BUY, px)] += volume
        assert sums == {level: volume for level, volume in levels.items() if volume}
        bids = [px for side, px in sums if side == BUY]
        asks = [px for side, px in sums if side == SELL]
        assert not bids or not asks or max(bids) < min(asks)


def test_only_the_last_deletions_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_orders, "_REMEMBERED_IDS", 3)
    book = OrderBook(lambda *_: None, True, 0)
    for order_id in range(5):
        assert book.apply(order_id, Action.DELETED, Order(order_id, 0, 1.0, 1, 0)) == "deleted, never seen"
    reasons = [book.apply(9, Action.DELETED, Order(order_id, 0, 1.0, 1, 0)) for order_id in (2, 3, 4, 0)]
    assert reasons == ["deleted again"] * 3 + ["deleted, never seen"]


def test_blocks_of_any_size_give_the_same_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    steps: list[Step] = []
    for _ in range(900):
        order_id, volume = int(rng.integers(1, 2_000)), float(rng.integers(0, 4))
        action = ["created", "changed", "deleted"][int(rng.integers(0, 3))]
        steps.append(
            (order_id, action, "ask" if order_id % 2 else "bid", float(rng.integers(90, 110)), volume)
        )
    path = write(tmp_path / "BTCUSD.csv", *lines_of(*steps))
    expected, expected_report = read(path)
    assert len(expected) > 200
    for rows_per_block, n_bytes in ((1, 50), (7, 1_000)):
        monkeypatch.setattr(csv_blocks, "_ROWS_PER_BLOCK", rows_per_block)
        monkeypatch.setattr(csv_blocks, "_BYTES_PER_BLOCK", n_bytes)
        rows, report = read(path)
        assert rows.tobytes() == expected.tobytes()
        assert report == expected_report


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a,b\n1,2\n", "is no file of Bitstamp orders: its first line must begin with id,timestamp"),
        (f"{HEADER}\n", "must have a row in line 2, has none"),
        (
            f"{HEADER}\n1,{T_MS},{T_MS},9,1.5,created,bid\n",
            "line 2 is malformed: volume must be a whole number",
        ),
        (
            f"{HEADER}\n1,{T_MS},{T_MS},9,15,made,bid\n",
            "line 2 is malformed: action must be created or changed or",
        ),
        (f"{HEADER}\n1,{T_MS},{T_MS},9,15,created\n", "line 2 is malformed: it must have 7 fields, has 6"),
        (f"{HEADER}\n1,{T_MS},{T_MS},0,15,created,bid\n", "line 2: price must be > 0, was 0"),
        (
            f"{HEADER}\n1,15,{T_MS},9,15,created,bid\n",
            "line 2: timestamp must be milliseconds since 1970, was 15",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "BTCUSD.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=error) as raised:
        read(path)
    assert str(path) in str(raised.value)


def test_malformed_lines_are_counted_up_to_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "BTCUSD.csv", "broken", *lines_of((1, "created", "bid", 9, 1)), "1,2")
    with pytest.raises(DataError, match="must have a row in line 2"):
        read(path, max_malformed_lines=2)
    path = write(tmp_path / "BTCUSD.csv", *lines_of((1, "created", "bid", 9, 1)), "broken", "1,2")
    assert read(path, max_malformed_lines=2)[1].dropped == {"malformed": 2}
    with pytest.raises(DataError, match="line 4 is malformed"):
        read(path, max_malformed_lines=1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"book": "l1"}, "data.book must be one of l3, l2, was 'l1'"),
        ({"tick_size": {"A": 0.0}}, "data.tick_size.A must be > 0, was 0.0"),
        ({"feed_latency_ns": -1}, "data.feed_latency_ns must be >= 0, was -1"),
        ({"symbols": ["A"]}, "data.symbols must name the symbol of each file, was 1 symbols for 0 files"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        Bitstamp(**options)
