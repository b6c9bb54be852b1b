"""The best bid and ask over time, by either clock."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.stores.clickhouse.touch import Clock, TouchReplay
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS, clean_events
from bt_framework.units import NS_PER_MS

TICK = 0.5


def touches(events: np.ndarray, clock: Clock = Clock.EXCHANGE, rows: int = 1 << 20) -> np.ndarray:
    replay = TouchReplay(clock, TICK)
    blocks = [replay.update(events[i : i + rows]) for i in range(0, len(events), rows)]
    return np.concatenate([*blocks, replay.finish()])


def written(events: np.ndarray, clock: Clock = Clock.EXCHANGE) -> list[tuple[int, float, float]]:
    found = touches(events, clock)
    return [(int(r["ts"]) - START_TS, float(r["bid_px"]), float(r["ask_px"])) for r in found]


def test_a_row_is_written_when_the_touch_changes_and_only_then() -> None:
    feed = (
        SmallFeed(latency_ns=10)
        .book(0, bid_px=100.0, ask_px=101.0)
        .level(5, 1, 99.0, 3.0)  # below the best
        .level(7, 1, 100.0, 9.0)  # more at the best
        .level(9, 1, 100.5, 1.0)
        .trade(11, 1, 101.0, 0.1)
        .level(13, 1, 100.5, 0.0)
    )
    assert written(feed.events()) == [(0, 100.0, 101.0), (9, 100.5, 101.0), (13, 100.0, 101.0)]
    assert written(feed.events(), Clock.LOCAL) == [(10, 100.0, 101.0), (19, 100.5, 101.0), (23, 100.0, 101.0)]


def test_a_row_names_the_last_event_of_its_time() -> None:
    feed = SmallFeed().book(0, bid_px=100.0, ask_px=101.0).trade(3, 1, 101.0, 1.0).level(5, 1, 100.5, 1.0)
    assert touches(feed.events())["sequence"].tolist() == [1, 3]
    assert touches(feed.events(), rows=1)["sequence"].tolist() == [1, 3]


def test_what_changes_and_changes_back_at_one_time_is_no_change() -> None:
    feed = SmallFeed().book(0, bid_px=100.0, ask_px=101.0)
    feed.level(5, 1, 100.5, 1.0).level(5, 1, 100.5, 0.0).level(6, -1, 102.0, 1.0)
    assert written(feed.events()) == [(0, 100.0, 101.0)]


def test_an_empty_side_is_nan() -> None:
    feed = SmallFeed().level(0, 1, 100.0, 1.0).level(5, -1, 101.0, 1.0).clear(9, -1, 200.0)
    (_, bid, ask), second, (_, last_bid, last_ask) = written(feed.events())
    assert bid == 100.0
    assert math.isnan(ask)
    assert second == (5, 100.0, 101.0)
    assert last_bid == 100.0
    assert math.isnan(last_ask)


def test_of_levels_that_cross_the_latest_wins() -> None:
    feed = SmallFeed().book(0, bid_px=100.0, ask_px=101.0).level(1, -1, 102.0, 1.0).level(5, 1, 101.5, 1.0)
    assert written(feed.events())[1:] == [(5, 101.5, 102.0)]


def test_rows_of_the_other_clock_do_not_count() -> None:
    events = SmallFeed().book(0, bid_px=100.0, ask_px=101.0).level(5, 1, 100.5, 1.0).events()
    events["ev"][2] &= ~np.uint64(EventFlag.LOCAL)
    assert [bid for _, bid, _ in written(events)] == [100.0, 100.5]
    assert [bid for _, bid, _ in written(events, Clock.LOCAL)] == [100.0]


def orders(*rows: tuple[int, EventKind, int, float, int]) -> np.ndarray:
    """Events of single orders: time, kind, side, price, id."""
    out = np.zeros(len(rows), EVENT)
    for row, (at_ns, kind, side, px, order_id) in zip(out, rows, strict=True):
        flag = EventFlag.BUY if side > 0 else EventFlag.SELL
        row["ev"] = EventFlag.EXCH | EventFlag.LOCAL | flag | kind
        row["exch_ts"] = row["local_ts"] = START_TS + at_ns
        row["px"], row["qty"], row["order_id"] = px, 1.0, order_id
    return out


def test_orders_make_a_touch_too() -> None:
    add, cancel, modify = EventKind.ADD_ORDER, EventKind.CANCEL_ORDER, EventKind.MODIFY_ORDER
    events = orders(
        (0, add, 1, 100.0, 1),
        (0, add, -1, 101.0, 2),
        (3, add, 1, 100.0, 3),
        (5, cancel, 1, 100.0, 1),  # another order is left at the price
        (7, modify, -1, 101.5, 2),
        (9, cancel, 1, 100.0, 3),
        (11, cancel, 1, 100.0, 77),  # no such order
    )
    found = written(events)
    assert found[:2] == [(0, 100.0, 101.0), (7, 100.0, 101.5)]
    assert found[2][0] == 9
    assert math.isnan(found[2][1])
    assert len(found) == 3


@pytest.mark.parametrize("clock", list(Clock))
@given(rows=st.integers(1, 300), seed=st.integers(0, 3))
def test_blocks_of_any_size_give_the_same_touch(clock: Clock, rows: int, seed: int) -> None:
    events = clean_events(60, seed)
    assert touches(events, clock, rows).tobytes() == touches(events, clock).tobytes()


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([1, -1]), st.integers(0, 6), st.integers(0, 2)),
        max_size=60,
    )
)
def test_the_touch_is_that_of_a_book_kept_in_plain_python(steps: list[tuple[int, int, int, int]]) -> None:
    feed, at_ns = SmallFeed(), 0
    book: dict[tuple[int, float], float] = {}
    truth: dict[int, tuple[float, float]] = {}
    for wait, side, ticks, qty in steps:
        at_ns += wait * NS_PER_MS
        px = 100.0 - ticks * TICK if side > 0 else 101.0 + ticks * TICK
        feed.level(at_ns, side, px, float(qty))
        book[(side, px)] = float(qty)
        bids = [p for (s, p), q in book.items() if s > 0 and q]
        asks = [p for (s, p), q in book.items() if s < 0 and q]
        truth[at_ns] = max(bids, default=math.nan), min(asks, default=math.nan)
    expected, last = [], (math.nan, math.nan)
    for ts, now in truth.items():
        if not np.array_equal(now, last, equal_nan=True):
            expected.append((float(ts), *now))
            last = now
    found = np.array(written(feed.events()) if steps else [], float).reshape(-1, 3)
    assert np.array_equal(found, np.array(expected).reshape(-1, 3), equal_nan=True)
