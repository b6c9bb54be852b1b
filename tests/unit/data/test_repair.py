"""Repair: what each rule does to a defect, that clean events stay as they are, and the table of every change."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.data.doctor import grade
from bt_framework.data.fidelity import judge
from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.repair import RepairedFeed
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.testing.feeds import START_TS, ArrayFeed, clean_events
from bt_framework.units import NS_PER_MS, NS_PER_S

BOTH = EventFlag.EXCH | EventFlag.LOCAL
BUY, SELL = EventFlag.BUY, EventFlag.SELL
KINDS = np.uint64(0xFF)


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return EventStore(tmp_path / "store")


def feed(events: np.ndarray, **options) -> RepairedFeed:
    return RepairedFeed(
        ArrayFeed(events, **{"tick_size": 0.1, "lot_size": 0.001, "chunk_rows": 77, **options})
    )


def repaired(events: np.ndarray, folder: Path, **options) -> tuple[np.ndarray, list[tuple], dict[str, int]]:
    """Events in the engine's order, the changes as rows, and how many there were by check."""
    source, report = feed(events, **options), FeedReport()
    source.audit_path = folder / "audit.parquet"
    chunks = [chunk.copy() for chunk in ordered_chunks(source, report, lambda *_: None, folder)]
    changes = []
    if source.audit_path.exists():
        changes = [tuple(row.values()) for row in pq.read_table(source.audit_path).to_pylist()]
        source.audit_path.unlink()
    return np.concatenate(chunks), changes, report.notes["repairs"]


def at(events: np.ndarray, kind: EventKind, start: int = 500) -> int:
    return start + int(np.argmax((events["ev"][start:] & KINDS) == kind))


@pytest.mark.parametrize("chunk_rows", [1, 50, 100_000])
def test_clean_events_stay_as_they_are(tmp_path, chunk_rows):
    events = clean_events(300)
    after, changes, counts = repaired(events, tmp_path, chunk_rows=chunk_rows)
    assert after.tobytes() == events.tobytes()
    assert (changes, counts) == ([], {})


def test_clean_events_of_two_clocks_stay_as_they_are(tmp_path):
    events = clean_events(300)
    events["exch_ts"][100:110] -= 3 * NS_PER_MS
    raw = events.copy()
    raw["ev"] &= ~np.uint64(BOTH)
    two = [
        c.copy()
        for c in ordered_chunks(ArrayFeed(raw, ordered=False), FeedReport(), lambda *_: None, tmp_path)
    ]
    ordered = np.concatenate(two)
    assert len(ordered) > len(events)
    after, changes, _ = repaired(ordered, tmp_path)
    assert after.tobytes() == ordered.tobytes()
    assert changes == []


def nan_price(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.DEPTH)
    events["px"][i] = np.nan
    return [(i, "invalid values", "px", "nan", "", "dropped")]


def negative_level(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.DEPTH)
    events["qty"][i] = -2.5
    return [(i, "negative sizes", "qty", "-2.5", "0.0", "changed")]


def trade_of_nothing(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.TRADE)
    events["qty"][i] = 0.0
    return [(i, "zero sizes", "qty", "0.0", "", "dropped")]


def level_off_tick(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.DEPTH)
    events["px"][i] = 900.05
    return [(i, "prices off tick", "px", "900.05", "", "dropped")]


def trade_off_tick(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.TRADE)
    events["px"][i] = 1_000.04
    return [(i, "prices off tick", "px", "1000.04", "1000.0", "changed")]


def trade_spike(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.TRADE)
    before = float(events["px"][i])
    events["px"][i] = 1_100.0
    assert before < 1_050.0
    return [(i, "trade price spikes", "px", "1100.0", "", "dropped")]


def local_back(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.TRADE)
    before = int(events["local_ts"][i - 1])
    events["local_ts"][i] = events["exch_ts"][i] + 1
    return [(i, "local time order", "local_ts", str(events["local_ts"][i]), str(before), "changed")]


def exch_back(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.TRADE)
    before = int(events["exch_ts"][i - 1])
    events["exch_ts"][i] -= 2 * NS_PER_MS
    return [(i, "exchange time order", "exch_ts", str(events["exch_ts"][i]), str(before), "changed")]


def received_early(events: np.ndarray) -> list[tuple]:
    events["local_ts"][-1] = events["exch_ts"][-1] = events["local_ts"][-2]
    events["exch_ts"][-1] += 7
    ts = int(events["exch_ts"][-1])
    return [(len(events) - 1, "negative feed latency", "local_ts", str(ts - 7), str(ts), "changed")]


def from_the_future(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.TRADE)
    events["exch_ts"][i] += 60 * NS_PER_S
    return [(i, "negative feed latency", "exch_ts", str(events["exch_ts"][i]), "", "dropped")]


def no_flags(events: np.ndarray) -> list[tuple]:
    i = at(events, EventKind.TRADE)
    events["ev"][i] &= ~np.uint64(BOTH)
    ev = int(events["ev"][i])
    return [(i, "missing flags", "ev", str(ev), str(ev | BOTH), "changed")]


DAMAGES = [
    nan_price,
    negative_level,
    trade_of_nothing,
    level_off_tick,
    trade_off_tick,
    trade_spike,
    local_back,
    exch_back,
    received_early,
    from_the_future,
    no_flags,
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("chunk_rows", [1, 77, 100_000])
def test_each_defect_is_repaired_and_told(damage, chunk_rows, tmp_path, store):
    events = clean_events(400)
    expected = damage(events)
    _, changes, counts = repaired(events, tmp_path, chunk_rows=chunk_rows)
    assert changes == expected
    assert counts == {expected[0][1]: 1}
    stored = store.load(feed(events))
    assert grade(stored.findings) in ("ok", "warn")
    assert judge(stored.book_level, stored.findings).grade == "C"
    assert pq.read_table(store.repairs_path(stored.key)).num_rows == 1
    store.remove([stored.key])
    assert not store.repairs_path(stored.key).exists()


def test_a_time_that_took_too_long_is_that_of_the_row_before(tmp_path):
    events = clean_events(400)
    i = at(events, EventKind.TRADE)
    events["ev"][i] &= ~np.uint64(EventFlag.EXCH)  # it has a twin, or the exchange's order would be wrong
    twin = events[i : i + 1].copy()
    twin["ev"] = events["ev"][i] ^ np.uint64(BOTH)
    events["exch_ts"][i] -= 20 * NS_PER_S
    twin["exch_ts"] -= 20 * NS_PER_S
    latency_ns = int(events["local_ts"][i - 1] - events["exch_ts"][i - 1])
    _, changes, _ = repaired(np.concatenate([twin, events]), tmp_path)
    after = str(int(events["local_ts"][i]) - latency_ns)
    assert changes == [
        (i + 1, "implausible feed latency", "exch_ts", str(events["exch_ts"][i]), after, "changed")
    ]


def row(ts: int, kind: EventKind, side: EventFlag, px: float, qty: float, order_id: int = 0) -> tuple:
    return (int(BOTH | side | kind), START_TS + ts, START_TS + ts, px, qty, order_id, 0, 0.0)


def level(ts: int, side: EventFlag, px: float, qty: float) -> tuple:
    return row(ts, EventKind.DEPTH, side, px, qty)


def told(events: np.ndarray) -> list[tuple[int, str, float, float]]:
    sides = np.where(events["ev"] & np.uint64(BUY), "bid", "ask")
    return list(zip((events["exch_ts"] - START_TS).tolist(), sides, events["px"], events["qty"], strict=True))


CROSSING = [
    level(0, BUY, 100.0, 1),
    level(0, BUY, 99.0, 2),
    level(0, SELL, 101.0, 3),
    level(0, SELL, 103.0, 4),
    level(10, BUY, 102.0, 5),  # crosses 101
    level(20, SELL, 101.0, 6),  # still away
    level(30, SELL, 101.0, 0),  # crosses no longer
    level(40, BUY, 101.0, 7),
]


def test_levels_that_cross_are_away_on_both_sides_until_they_cross_no_longer(tmp_path):
    after, changes, counts = repaired(np.array(CROSSING, EVENT), tmp_path, tick_size=1.0, lot_size=1.0)
    assert told(after) == [
        (0, "bid", 100.0, 1),
        (0, "bid", 99.0, 2),
        (0, "ask", 101.0, 3),
        (0, "ask", 103.0, 4),
        (10, "ask", 101.0, 0),
        (30, "ask", 101.0, 0),
        (30, "bid", 102.0, 5),
        (40, "bid", 101.0, 7),
    ]
    assert changes == [
        (4, "crossed book", "qty", "5.0", "0.0", "withheld"),
        (4, "crossed book", "qty", "3.0", "0.0", "withheld"),
        (5, "crossed book", "qty", "6.0", "0.0", "withheld"),
        (6, "crossed book", "qty", "0.0", "5.0", "restored"),
    ]
    assert counts == {"crossed book": 4}


def test_a_quote_that_crosses_within_one_time_only_is_left_alone(tmp_path):
    rows = [
        level(0, BUY, 100.0, 1),
        level(0, SELL, 101.0, 1),
        level(1, BUY, 102.0, 1),
        level(1, BUY, 100.0, 0),
        level(1, SELL, 101.0, 0),
        level(1, SELL, 103.0, 1),
    ]
    after, changes, _ = repaired(np.array(rows, EVENT), tmp_path, tick_size=1.0)
    assert changes == []
    assert len(after) == len(rows)


def test_orders_that_the_engine_would_stop_on_are_dropped(tmp_path):
    add, cancel, modify, fill = (EventKind[k] for k in ("ADD_ORDER", "CANCEL_ORDER", "MODIFY_ORDER", "FILL"))
    rows = [
        row(0, add, BUY, 100.0, 1, 1),
        row(0, add, SELL, 101.0, 1, 2),
        row(1, add, BUY, 99.0, 1, 1),  # there already
        row(2, cancel, BUY, 99.0, 1, 3),  # not there
        row(3, fill, BUY, 99.0, 1, 4),
        row(4, add, BUY, 98.5, 1, 5),  # down, away from the touch
        row(5, add, SELL, 101.5, 1, 6),  # up
        row(6, modify, SELL, 101.0, 0, 2),  # nothing left: a cancel
        row(7, modify, SELL, 101.0, 1, 2),  # so it is not there any more
        row(8, cancel, BUY, 100.0, 1, 1),
    ]
    after, changes, _ = repaired(np.array(rows, EVENT), tmp_path, tick_size=1.0)
    assert changes == [
        (2, "duplicate order ids", "order_id", "1", "", "dropped"),
        (3, "unknown order ids", "order_id", "3", "", "dropped"),
        (4, "unknown order ids", "order_id", "4", "", "dropped"),
        (5, "prices off tick", "px", "98.5", "98.0", "changed"),
        (6, "prices off tick", "px", "101.5", "102.0", "changed"),
        (7, "zero sizes", "qty", "0.0", "0.0", "changed"),
        (8, "unknown order ids", "order_id", "2", "", "dropped"),
    ]
    assert (after["ev"] & KINDS).tolist() == [add, add, add, add, cancel, cancel]


def test_rows_for_the_exchange_without_twins_are_refused(tmp_path):
    events = clean_events(100)
    events["ev"][50] &= ~np.uint64(EventFlag.LOCAL)
    with pytest.raises(DataError, match="1 rows for the exchange only have no twin for the receiver"):
        repaired(events, tmp_path)


def test_a_repaired_feed_has_a_key_of_its_own_and_is_repaired_once(store):
    events = clean_events(100)
    plain, mended = ArrayFeed(events, tick_size=0.1), feed(events)
    assert store.load(plain).key != store.load(mended).key
    assert store.load(mended).content_hash == store.load(plain).content_hash
    assert store.load(mended).key == store.load(feed(events)).key != store.load(feed(clean_events(99))).key
    assert not list(store.root.glob("manifests/*.repairs.parquet"))


levels = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([BUY, SELL]), st.integers(95, 105), st.integers(0, 3)),
    max_size=80,
)


@given(steps=levels, chunk_rows=st.integers(1, 40))
def test_a_repaired_book_never_crosses_and_never_has_what_was_not_there(steps, chunk_rows):
    rows, ts = [level(0, BUY, 90.0, 1)], 0
    for later, side, px, qty in steps:
        ts += later
        rows.append(level(ts, side, float(px), float(qty)))
    given_rows = np.array(rows, EVENT)
    with TemporaryDirectory() as folder:
        after, _, _ = repaired(given_rows, Path(folder), tick_size=1.0, chunk_rows=chunk_rows)
    for end in sorted(set(given_rows["local_ts"].tolist())):
        raw, shown = (book_until(events, end) for events in (given_rows, after))
        raw_bids = {px for is_bid, px in raw if is_bid}
        raw_asks = {px for is_bid, px in raw if not is_bid}
        low, high = min(raw_asks, default=np.inf), max(raw_bids, default=-np.inf)
        assert shown == {
            (is_bid, px): qty for (is_bid, px), qty in raw.items() if (px <= low if is_bid else px >= high)
        }


def book_until(events: np.ndarray, ts: int) -> dict[tuple[bool, float], float]:
    book: dict[tuple[bool, float], float] = {}
    for ev, px, qty in events[events["local_ts"] <= ts][["ev", "px", "qty"]].tolist():
        if qty:
            book[bool(ev & BUY), px] = qty
        else:
            book.pop((bool(ev & BUY), px), None)
    return book
