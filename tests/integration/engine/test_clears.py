"""The price vector is told of clears in its own way, and shows and fills what the hash map does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bt_framework.engine import clears
from bt_framework.engine.clears import Range, for_vector, rewritten
from bt_framework.engine.models import (
    ExchangeKind,
    ExchangeModel,
    FeeSchedule,
    LatencyModel,
    QueueKind,
    QueueModel,
)
from bt_framework.engine.program import KernelSet, build_program
from bt_framework.engine.session import AccountTerms, Clocking, Market, Records, Session
from bt_framework.engine.strategy import Kernels, numbers_record
from bt_framework.features import FeatureCache, input_of
from bt_framework.records import EVENT, EventFlag, EventKind, TimeInForce
from bt_framework.results.run import Instrument
from bt_framework.testing.conformance import run_tables
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS
from bt_framework.units import NS_PER_S

TICK, LOT, LOW, HIGH = 0.5, 0.25, 180, 219
REACH = Range(TICK, LOT, LOW, HIGH + 1)  # the vector has a tick more than orders reach
GTC, GTX = int(TimeInForce.GTC), int(TimeInForce.GTX)
BOTH = EventFlag.EXCH | EventFlag.LOCAL
NOTES = 400
RISK_AVERSE = QueueModel(QueueKind.RISK_AVERSE)
QUEUES = [
    RISK_AVERSE,
    QueueModel(QueueKind.LOG_PROB),
    QueueModel(QueueKind.LOG_PROB2),
    *(QueueModel(kind, 2.5) for kind in (QueueKind.POWER_PROB, QueueKind.POWER_PROB2, QueueKind.POWER_PROB3)),
]


class Row(NamedTuple):
    """An event: what, side (0: none), ticks (None: infinitely far), lots."""

    kind: EventKind
    side: int
    ticks: int | None
    lots: int = 4


class Order(NamedTuple):
    """An order: ms, side, ticks, time in force."""

    at_ms: int
    side: int
    ticks: int
    tif: int


def events_of(rows: list[Row], *, apart: bool) -> np.ndarray[Any, Any]:
    """One row each ms, seen 3 ms later; `apart` if those of the exchange and ours are rows of their own."""
    events = []
    book = [Row(EventKind.DEPTH, 1, LOW + 5), Row(EventKind.DEPTH, -1, HIGH - 5)]
    for at, row in enumerate([*book, *rows, *book]):
        side = (EventFlag.BUY if row.side > 0 else EventFlag.SELL) if row.side else 0
        ts, px = START_TS + at * MS, np.inf if row.ticks is None else row.ticks * TICK
        rest = (ts, ts + 3 * MS, px, row.lots * LOT, 0, 0, 0.0)
        for flags in (EventFlag.EXCH, EventFlag.LOCAL) if apart else (BOTH,):
            events.append((int(flags | side | row.kind), *rest))
    found = np.array(events, EVENT)
    when = np.where(found["ev"] & int(EventFlag.EXCH), found["exch_ts"], found["local_ts"])
    return found[np.argsort(when, kind="stable")] if apart else found


def outcome(
    events: np.ndarray[Any, Any],
    pieces: Sequence[np.ndarray[Any, Any]] | None,
    orders: list[Order],
    queue: QueueModel = RISK_AVERSE,
) -> Any:
    """What a run sees and gets: on the hash map, or on the vector if there are `pieces` for it."""
    bounds = {} if pieces is None else {"low_px": LOW * TICK, "high_px": HIGH * TICK}
    market = Market(
        Instrument("TEST", TICK, LOT),
        [events] if pieces is None else pieces,
        LatencyModel(MS, MS),
        queue,
        ExchangeModel(ExchangeKind.NO_PARTIAL_FILL),
        FeeSchedule(),
        **bounds,
    )
    work = np.zeros((len(orders) + NOTES, 4 + 2 * (HIGH - LOW + 1)))
    for row, order in zip(work, orders, strict=False):
        row[:4] = order.at_ms * MS, order.side, order.ticks * TICK, order.tif
    fixed = {"start_ts": START_TS, "orders": len(orders), "low_ticks": LOW, "levels": HIGH - LOW + 1}
    unused = numbers_record({})
    state = numbers_record({"sent": 0, "noted": 0})
    records = Records(numbers_record(fixed), state, work, (), (unused, unused), unused)
    kernels = Kernels(on_book="clears_kernels:on_book")
    program = build_program(KernelSet(kernels, (), "clears_kernels:one"))
    clocking = Clocking(START_TS, int(events["local_ts"].max()), 0, NS_PER_S)
    session = Session([market], program, clocking, records, AccountTerms(100_000.0))
    tables = {name: rows.tobytes() for name, rows in run_tables(session).items()}
    assert int(state["noted"]) > len(events) / 4
    return work, tables


KINDS = st.sampled_from([EventKind.DEPTH, EventKind.DEPTH, EventKind.DEPTH_SNAPSHOT])
CLEAR = st.just(EventKind.DEPTH_CLEAR)
SIDES = st.sampled_from([1, -1])
LOTS = st.sampled_from([0, 1, 2, 5, 8])
# Where much meets: bids and asks cross at times, trades and orders are among the asks that are cleared.
LOW_ASK, HIGH_ASK = HIGH - 20, HIGH - 3
BIDS = st.builds(Row, KINDS, st.just(1), st.integers(LOW + 4, LOW_ASK + 5), LOTS)
ASKS = st.builds(Row, KINDS, st.just(-1), st.integers(LOW_ASK, HIGH_ASK), LOTS)
TRADES = st.builds(
    Row, st.just(EventKind.TRADE), SIDES, st.integers(LOW_ASK - 2, HIGH_ASK), st.integers(1, 3)
)
CLEARS = st.one_of(
    st.builds(Row, CLEAR, st.just(-1), st.integers(LOW_ASK - 2, HIGH_ASK)),
    st.builds(Row, CLEAR, st.just(-1), st.integers(LOW_ASK - 2, HIGH_ASK)),
    st.builds(Row, CLEAR, st.just(-1), st.integers(LOW - 5, HIGH + 5)),
    st.builds(Row, CLEAR, st.just(1), st.integers(LOW - 5, HIGH + 5)),
    st.builds(Row, CLEAR, SIDES, st.none()),
    st.just(Row(EventKind.DEPTH_CLEAR, 0, None)),
)
ROWS = st.lists(st.one_of(BIDS, ASKS, ASKS, TRADES, TRADES, CLEARS), min_size=5, max_size=90)
ORDERS = st.lists(
    st.builds(
        Order,
        st.integers(3, 80),
        SIDES,
        st.one_of(st.integers(LOW_ASK - 4, HIGH_ASK), st.integers(LOW, HIGH)),
        st.sampled_from([GTC, GTX]),
    ),
    max_size=12,
).map(sorted)


def asks(*ticks: int, lots: int = 4) -> list[Row]:
    """Ask levels."""
    return [Row(EventKind.DEPTH, -1, level, lots) for level in ticks]


def cleared(ticks: int) -> list[Row]:
    """A clear of the asks."""
    return [Row(EventKind.DEPTH_CLEAR, -1, ticks)]


def bid(ticks: int, lots: int = 4) -> Row:
    """A bid level."""
    return Row(EventKind.DEPTH, 1, ticks, lots)


def bought(ticks: int, lots: int) -> Row:
    """A trade that takes asks."""
    return Row(EventKind.TRADE, 1, ticks, lots)


BIDS_CLEARED = [Row(EventKind.DEPTH_CLEAR, 1, LOW + level) for level in (6, 7)]
PAUSE = [Row(EventKind.TRADE, 1, 200, 0)] * 8
"""Trades of nothing."""
HIDDEN = [*asks(202, 206), bid(204), *asks(206, lots=0)]
"""A bid that crosses the asks hides 202."""
SKIPPED = [*asks(202, 203, 206, 209), *cleared(202)]
"""The engine does not look at 203."""
COME_BACK = [*asks(202, 206), bid(204), bid(204, 0)]
"""202 is hidden until the next clear."""
QUEUED = [*asks(202, 206, 209, lots=5), *PAUSE, bought(206, 2), *cleared(203), *asks(206, lots=3), *PAUSE]
"""The row of a trade's level comes after a clear below it."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return FeatureCache(tmp_path_factory.mktemp("store"))


@given(ROWS, ORDERS, st.booleans(), st.sampled_from(QUEUES))
@example(
    [*asks(202, 203, 206, 209), *cleared(203), *asks(206, lots=0), *asks(209, lots=0)], [], False, RISK_AVERSE
)
@example(
    [*asks(202, 203, 206, 209), *cleared(202), *asks(206, lots=0)], [], False, RISK_AVERSE
)  # 203 is skipped
@example(
    [*asks(202, 206, 209), *cleared(LOW - 4), *asks(202, lots=0)], [], False, RISK_AVERSE
)  # nothing is cleared
@example(
    [*QUEUED, bought(206, 1), *PAUSE, bought(206, 2), *PAUSE], [Order(4, -1, 206, GTX)], False, QUEUES[3]
)
@example(
    [*asks(202, 203, 206, 209), *cleared(202), *PAUSE, *cleared(201), *PAUSE],
    [Order(6, 1, 204, GTX)],
    False,
    RISK_AVERSE,
)
@example(
    [*asks(202, 206), bid(204), bid(204, 0), *PAUSE, *cleared(200), *PAUSE],
    [Order(7, 1, 203, GTX)],
    False,
    RISK_AVERSE,
)
@settings(max_examples=200, deadline=None)
def test_both_forms_show_and_fill_the_same(
    cache: FeatureCache, rows: list[Row], orders: list[Order], apart: bool, queue: QueueModel
) -> None:
    events = events_of(rows, apart=apart)
    pieces = for_vector(cache, input_of(events), REACH)
    assume(pieces is not None)
    hashed, vector = outcome(events, None, orders, queue), outcome(events, pieces, orders, queue)
    np.testing.assert_array_equal(vector[0], hashed[0])
    assert vector[1] == hashed[1]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(BIDS_CLEARED, id="bids that nobody looks for any more"),
        pytest.param([*HIDDEN, *asks(214, lots=0), *cleared(200)], id="asks that nobody looks for any more"),
        pytest.param(
            [*asks(202, 203, HIGH + 30), *asks(214, lots=0), *cleared(202)], id="an ask above the range"
        ),
        pytest.param([*asks(202, LOW), *cleared(LOW - 4), *cleared(LOW - 6)], id="an ask at its first tick"),
        pytest.param([bid(HIGH + 1), Row(EventKind.DEPTH_CLEAR, 1, HIGH + 4)], id="a bid at its last tick"),
        pytest.param([bid(LOW - 9), *(Row(EventKind.DEPTH_CLEAR, 1, LOW - 2),)], id="a bid below the range"),
        pytest.param(
            [*asks(202), Row(EventKind.DEPTH, -1, None), *cleared(203)], id="an ask without a price"
        ),
    ],
)
def test_what_a_vector_would_see_differently_is_for_the_hash_map(
    cache: FeatureCache, rows: list[Row]
) -> None:
    events = events_of(rows, apart=False)
    assert for_vector(cache, input_of(events), REACH) is None
    assert for_vector(cache, input_of(events[:2]), REACH) is not None


def test_only_the_rows_until_the_last_clear_are_copied_once(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    events = events_of([*asks(202, 206), *cleared(203), *asks(*range(202, 219)), *asks(205)], apart=False)
    for _ in range(2):
        first, rest = for_vector(cache, input_of(events), REACH) or ()
        assert (
            len(first) == 4 + 2 + 2 * 2
        )  # the clear twice, and of each book a level at the last tick, come and gone
        assert rest.base is events or rest.base is events.base
        np.testing.assert_array_equal(rest, events[5:])
    assert [stored.name for stored in cache.stored()] == ["vector_clears"]


def test_events_without_clears_up_to_a_price_are_read_as_they_are(tmp_path: Path) -> None:
    rows = [*asks(202), Row(EventKind.DEPTH_CLEAR, 1, None), Row(EventKind.DEPTH_CLEAR, -1, None)]
    events = events_of(rows, apart=False)
    (piece,) = for_vector(FeatureCache(tmp_path), input_of(events), REACH) or ()
    assert np.shares_memory(piece, events)


def test_events_are_cut_only_where_both_sides_read_the_rest_at_once(tmp_path: Path) -> None:
    """Otherwise hftbacktest drops the rest when the exchange is through with it, and our side waits for it forever."""
    events = events_of([*asks(202, 206), *cleared(203)], apart=False)
    (piece,) = for_vector(FeatureCache(tmp_path), input_of(events), REACH) or ()
    assert len(piece) == len(events) + 5


def test_levels_far_away_and_clears_beyond_all_prices_take_no_time() -> None:
    far = Range(TICK, LOT, 1, 4_000_000)
    rows = [
        row for n in range(300) for row in [*asks(200 + n % 2), *asks(3_999_999), *asks(200 + n % 2, lots=0)]
    ]
    clear = Row(EventKind.DEPTH_CLEAR, -1, 10**15)
    began = time.process_time()
    assert rewritten(events_of([*rows, clear, *asks(200)], apart=True), far) is not None
    assert time.process_time() - began < 2


def test_a_late_clear_is_for_the_hash_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clears, "MOST_ROWS", 5)
    late, later = ([*asks(*range(202, 202 + n)), *cleared(203), *asks(*range(202, 219))] for n in (2, 3))
    assert for_vector(FeatureCache(tmp_path), input_of(events_of(late, apart=False)), REACH) is not None
    assert for_vector(FeatureCache(tmp_path), input_of(events_of(later, apart=False)), REACH) is None


def test_a_store_that_cannot_be_written_costs_the_copy_only(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("in the way")
    events = events_of([*asks(202, 206), *cleared(203)], apart=False)
    (piece,) = for_vector(FeatureCache(tmp_path), input_of(events), REACH) or ()
    assert len(piece) == len(events) + 5
