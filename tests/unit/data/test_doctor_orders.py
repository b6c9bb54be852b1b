"""The doctor on feeds of orders: their book is followed, and ids that the engine would stop on are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.data.doctor import Doctor, Finding, Severity
from bt_framework.data.source import FeedReport
from bt_framework.data.specs import KnownSizes
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.units import NS_PER_MS

ONES = KnownSizes(1.0, 1.0, 1.0, "config", "config")
BOTH = EventFlag.EXCH | EventFlag.LOCAL
BUY, SELL = EventFlag.BUY, EventFlag.SELL


def order(
    ts: int, kind: EventKind, side: EventFlag, order_id: int, px: float, qty: float = 1.0, flags: int = BOTH
):
    return (flags | side | kind, ts, ts + NS_PER_MS, px, qty, order_id, 0, 0.0)


def examined(rows: list[tuple], block_rows: int = 7) -> Doctor:
    doctor = Doctor(ONES)
    events = np.array(rows, EVENT)
    for start in range(0, len(events), block_rows):
        doctor.examine(events[start : start + block_rows])
    doctor.finish()
    return doctor


def serious(doctor: Doctor) -> list[Finding]:
    return [f for f in doctor.findings(FeedReport(), None) if f.severity != Severity.INFO]


def clean_orders(steps: int, seed: int = 1) -> list[tuple]:
    """Orders below 1,000 to buy and from 1,001 to sell that come, move, are filled and go; some stay."""
    rng = np.random.default_rng(seed)
    live: dict[int, tuple[EventFlag, int]] = {1: (BUY, 990), 2: (SELL, 1_010)}
    rows = [order(0, EventKind.ADD_ORDER, side, i, px) for i, (side, px) in live.items()]
    for step in range(1, steps):
        ts, kind = step * 1_000_000, int(rng.integers(4))
        side = BUY if rng.random() < 0.5 else SELL
        px = int(rng.integers(980, 1_000)) if side == BUY else int(rng.integers(1_001, 1_020))
        if kind < 2 or len(live) < 5:
            live[step + 2] = (side, px)
            rows.append(order(ts, EventKind.ADD_ORDER, side, step + 2, px))
            continue
        order_id = int(rng.choice(list(live)[2:] or [1]))
        side, old = live[order_id]
        if kind == 2 and order_id > 2:
            rows.append(order(ts, EventKind.FILL, side, order_id, old))
            rows.append(order(ts, EventKind.CANCEL_ORDER, side, order_id, old))
            del live[order_id]
        else:
            new = old - 1 if side == BUY else old + 1
            live[order_id] = (side, new)
            rows.append(order(ts, EventKind.MODIFY_ORDER, side, order_id, new, 2.0))
    return rows


def test_clean_orders_have_no_defect_and_make_the_touch():
    doctor = examined([*clean_orders(3_000), order(3_001_000_000, EventKind.ADD_ORDER, BUY, 9_999, 1_000.0)])
    assert serious(doctor) == []
    assert doctor.book_level() == "l3"
    low_px, high_px = doctor.touch_px()
    assert 980 <= low_px <= 990
    assert 1_010 <= high_px <= 1_020


@pytest.mark.parametrize("kind", [EventKind.CANCEL_ORDER, EventKind.MODIFY_ORDER, EventKind.FILL])
@pytest.mark.parametrize("flags", [BOTH, EventFlag.EXCH, EventFlag.LOCAL])
def test_an_order_that_is_not_there_is_fatal_on_either_clock(kind, flags):
    rows = clean_orders(50)
    rows.insert(20, order(rows[19][1], kind, BUY, 12_345, 990.0, flags=flags))
    (finding,) = serious(examined(rows))
    assert (finding.check, finding.severity, finding.count, finding.first_index) == (
        "unknown order ids",
        "fatal",
        1,
        20,
    )


@pytest.mark.parametrize("block_rows", [1, 7, 1_000])
def test_levels_among_orders_are_a_mixed_book(block_rows):
    rows = clean_orders(50)
    for place in (20, 30, 40):
        rows.insert(place, order(rows[place - 1][1], EventKind.DEPTH, BUY, 0, 980.0))
    (finding,) = serious(examined(rows, block_rows))
    assert (finding.check, finding.severity, finding.count) == ("mixed book", "warn", 3)
    assert finding.detail == "both orders and price levels; the engine follows one and passes over the other"


def test_an_order_that_is_added_twice_is_fatal():
    rows = clean_orders(50)
    rows.insert(20, order(rows[19][1], EventKind.ADD_ORDER, BUY, 1, 990.0))
    (finding,) = serious(examined(rows))
    assert (finding.check, finding.severity, finding.count, finding.first_index) == (
        "duplicate order ids",
        "fatal",
        1,
        20,
    )


def test_a_cancel_that_the_exchange_sees_before_the_order_is_fatal():
    add = order(0, EventKind.ADD_ORDER, BUY, 1, 100.0)
    cancel = order(1, EventKind.CANCEL_ORDER, BUY, 1, 100.0)
    alone = [order(0, EventKind.ADD_ORDER, SELL, 2, 101.0)]

    def flagged(row: tuple, flag: EventFlag) -> tuple:
        return (row[0] & ~BOTH | flag, *row[1:])

    exch, local = EventFlag.EXCH, EventFlag.LOCAL
    early = order(0, EventKind.CANCEL_ORDER, BUY, 1, 100.0)
    rows = [*alone, flagged(early, exch), flagged(add, exch), flagged(add, local), flagged(cancel, local)]
    fatal = [f for f in serious(examined(rows)) if f.severity == "fatal"]
    assert [(f.check, f.count, f.first_index) for f in fatal] == [("unknown order ids", 1, 1)]


def test_orders_that_cross_are_a_crossed_book_until_they_are_gone():
    rows = [
        order(0, EventKind.ADD_ORDER, BUY, 1, 100.0),
        order(0, EventKind.ADD_ORDER, SELL, 2, 101.0),
        order(0, EventKind.ADD_ORDER, SELL, 3, 102.0),
        order(10, EventKind.MODIFY_ORDER, BUY, 1, 102.0),
        order(30, EventKind.CANCEL_ORDER, SELL, 2, 101.0),
        order(40, EventKind.ADD_ORDER, BUY, 4, 99.0),
    ]
    found = {f.check: (f.count, f.first_index) for f in serious(examined(rows))}
    assert found == {"crossed book": (1, 3), "locked book": (1, 4)}


def test_a_clear_takes_out_the_orders_of_a_side():
    clear = int(BOTH | BUY | EventKind.DEPTH_CLEAR)
    rows = [
        order(0, EventKind.ADD_ORDER, BUY, 1, 100.0),
        order(0, EventKind.ADD_ORDER, SELL, 2, 101.0),
        (clear, 5, NS_PER_MS + 5, 0.0, 0.0, 0, 0, 0.0),
        order(5, EventKind.ADD_ORDER, BUY, 1, 99.0),
        order(6, EventKind.CANCEL_ORDER, SELL, 2, 101.0),
        order(6, EventKind.ADD_ORDER, SELL, 2, 102.0),
    ]
    doctor = examined(rows)
    assert serious(doctor) == []
    assert doctor.stats.live_exch == doctor.stats.live_local == 2
    rows.append(order(7, EventKind.ADD_ORDER, SELL, 2, 101.0))
    assert [f.check for f in serious(examined(rows))] == ["duplicate order ids"]


def test_memory_follows_the_live_orders_only():
    rows = []
    for i in range(20_000):
        rows.append(order(i, EventKind.ADD_ORDER, BUY, i, 100.0))
        if i >= 100:
            rows.append(order(i, EventKind.CANCEL_ORDER, BUY, i - 100, 100.0))
    doctor = examined(rows, block_rows=1_000)
    assert doctor.stats.max_live == 101
    assert len(doctor.orders[0]) == 4_096


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 1), st.integers(90, 110)),
        max_size=150,
    )
)
def test_the_book_of_orders_is_that_of_plain_dictionaries(actions):
    live: dict[int, tuple[int, int]] = {}
    rows = []
    for ts, (action, number, side, px) in enumerate(actions):
        # ids that collide in a small table, and those that fill 64 bits
        order_id = number * 4_096 if number % 2 else 2**64 - 1 - number
        flag = SELL if side else BUY
        if action == 3 and number < 3:
            rows.append((int(BOTH | flag | EventKind.DEPTH_CLEAR), ts, ts, 0.0, 0.0, 0, 0, 0.0))
            live = {i: o for i, o in live.items() if o[0] != side}
        elif order_id not in live:
            live[order_id] = (side, px)
            rows.append(order(ts, EventKind.ADD_ORDER, flag, order_id, px))
        elif action == 1:
            del live[order_id]
            rows.append(order(ts, EventKind.CANCEL_ORDER, flag, order_id, px))
        else:
            live[order_id] = (live[order_id][0], px)
            rows.append(order(ts, EventKind.MODIFY_ORDER, flag, order_id, px))
    doctor = examined(rows)
    from bt_framework.data import _book

    raw = [None if t == _book.NONE else int(t) for t in doctor.book[0][_book.RAW]]
    bids, asks = ([px for side, px in live.values() if side == which] for which in (0, 1))
    assert raw == [max(bids, default=None), min(asks, default=None)]
    assert doctor.stats.live_local == doctor.stats.live_exch == len(live)
    assert not doctor.stats.unknown_ids
    assert not doctor.stats.known_ids


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=60))
def test_a_small_table_of_orders_holds_what_a_dictionary_does(actions):
    from bt_framework.data import _book

    table, kept = np.zeros(16, _book.ORDER), {}
    for add, order_id in actions:
        place = _book.order_place(table, order_id)
        assert (place >= 0) == (order_id in kept)
        if add and place < 0 and len(kept) < 8:
            _book.put_order(table, -1 - place, order_id, 0, 0.0, len(kept))
            kept[order_id] = len(kept)
        elif not add and place >= 0:
            assert table[place]["tick"] == kept.pop(order_id)
            _book.drop_order(table, place)
    assert sorted(table["id"][table["live"] != 0].tolist()) == sorted(kept)
    for order_id in kept:
        assert _book.order_place(table, order_id) >= 0
