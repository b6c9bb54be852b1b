"""On the exchange that fills in parts, what is booked is what a plain matcher fills, or the run stops."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import partial_matcher as pm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.engine.models import FeeSchedule, LatencyModel
from bt_framework.engine.session import Clocking, Session
from bt_framework.errors import EngineError
from bt_framework.records import EVENT, EventFlag, EventKind, OrderEvent, OrderType, RefusalReason
from bt_framework.results.run import Instrument
from bt_framework.testing import _script
from bt_framework.testing.conformance import Venue, run_tables, script_session
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

TICK, LOT = 0.1, 0.1
LOW, HIGH = 150, 250
FEES = FeeSchedule(maker_value_frac=-1e-4, taker_value_frac=5e-4, taker_per_qty=0.01, per_fill=0.002)
ENTRY_MS, END_MS = 2, 80


class Row(NamedTuple):
    """An event: ms, kind, side, ticks (None: a clear of the whole side), lots."""

    at_ms: int
    kind: EventKind
    side: int
    ticks: int | None
    lots: int


class Order(NamedTuple):
    """A row of the script: ms, what, side, ticks, lots, time in force, order that a cancel or modify is for."""

    at_ms: int
    do: int
    side: int = 1
    ticks: int = 200
    lots: int = 1
    tif: int = pm.GTC
    order: int = 0


def events_of(rows: list[Row]) -> np.ndarray[Any, Any]:
    """The feed as events, confirmed at the end."""
    events = []
    for row in [*rows, Row(END_MS + 20, EventKind.DEPTH, 1, LOW, 1)]:
        flag = EventFlag.EXCH | EventFlag.LOCAL | (EventFlag.BUY if row.side > 0 else EventFlag.SELL)
        ts = START_TS + row.at_ms * MS
        px = np.inf if row.ticks is None else row.ticks * TICK
        events.append((int(flag | row.kind), ts, ts, px, row.lots * LOT, 0, 0, 0.0))
    return np.array(events, EVENT)


class Outcome(NamedTuple):
    tables: dict[str, np.ndarray[Any, Any]]
    ledger: Any

    @property
    def parts(self) -> list[pm.Part]:
        """Fills as parts."""
        return [
            pm.Part(
                (int(r["exch_ts"]) - START_TS) // MS,
                int(r["order_id"]),
                round(r["px"] / TICK),
                round(r["qty"] / LOT),
                bool(r["maker"]),
            )
            for r in self.tables["fills"]
        ]


def session_of(
    rows: list[Row], orders: list[Order], swept: tuple[int, int] = (LOW, HIGH), *, roi: bool = False
) -> Session:
    """A session with the orders on the feed."""
    script = [(o.at_ms * MS, o.do, o.side, o.ticks * TICK, o.lots * LOT, o.tif, o.order) for o in orders]
    return script_session(
        events_of(rows),
        np.array(script, np.float64).reshape(-1, _script.COLUMNS),
        Instrument("TEST", TICK, LOT),
        Venue("risk_averse", "partial_fill"),
        LatencyModel(ENTRY_MS * MS, 3 * MS),
        Clocking(START_TS, START_TS + END_MS * MS, MS, 1_000 * MS),
        fees=FEES,
        swept_px=(swept[0] * TICK, swept[1] * TICK),
        roi=roi,
    )


def run(rows: list[Row], orders: list[Order], **options: Any) -> Outcome:
    """Run the orders on the feed."""
    session = session_of(rows, orders, **options)
    return Outcome(run_tables(session), session.arrays.ledger[0])


def matched(rows: list[Row], orders: np.ndarray[Any, Any]) -> pm.Matcher:
    """Feed and requests, as they were sent, to the matcher: at one time, data comes before orders."""
    sent = (OrderEvent.SUBMITTED, OrderEvent.CANCEL_REQUESTED)
    requests = orders[np.isin(orders["event"], sent)]
    queue: list[tuple[int, int, int, Any]] = [(row.at_ms, 0, place, row) for place, row in enumerate(rows)]
    for place, row in enumerate(requests):
        queue.append(((int(row["local_ts"]) - START_TS) // MS + ENTRY_MS, 1, place, row))
    matcher = pm.Matcher()
    for ts, is_request, _, row in sorted(queue, key=lambda item: item[:3]):
        if is_request and row["event"] == OrderEvent.CANCEL_REQUESTED:
            matcher.cancel(int(row["order_id"]))
        elif is_request:
            order = pm.Resting(
                int(row["order_id"]), int(row["side"]), round(row["px"] / TICK), round(row["qty"] / LOT), 0
            )
            matcher.new(ts, order, int(row["time_in_force"]), market=row["order_type"] == OrderType.MARKET)
        elif row.kind == EventKind.TRADE:
            matcher.trade(ts, row.side, row.ticks, row.lots)
        elif row.kind == EventKind.DEPTH_CLEAR:
            matcher.book.clear(row.side, row.ticks)
        else:
            matcher.depth(ts, row.side, row.ticks, row.lots)
    return matcher


ENDS = {
    OrderEvent.FILLED: "filled",
    OrderEvent.CANCELLED: "cancelled",
    OrderEvent.EXPIRED: "expired",
    OrderEvent.REJECTED: "expired",
}
LAST_KNOWN_MS = END_MS - 3


def check(rows: list[Row], orders: list[Order], **options: Any) -> Outcome:
    """Run, and compare fills, ends, ledger and identity with the matcher."""
    done = run(rows, orders, **options)
    matcher = matched(rows, done.tables["orders"])
    expected = pm.merged([part for part in matcher.parts if part.ts <= LAST_KNOWN_MS])
    assert pm.merged(done.parts) == expected
    table = done.tables["orders"]
    ended = {int(r["order_id"]): ENDS[r["event"]] for r in table if r["event"] in ENDS}
    last_requests = {int(r["order_id"]) for r in table if r["local_ts"] > START_TS + (END_MS - 6) * MS}
    assert {k: v for k, v in ended.items() if k not in last_requests} == {
        k: v for k, v in matcher.ends.items() if k not in last_requests
    }
    fills, books = done.tables["fills"], done.ledger
    assert books["position_qty"] == pytest.approx(float((fills["side"] * fills["qty"]).sum()), abs=1e-9)
    assert books["cash"] == pytest.approx(
        -float((fills["side"] * fills["qty"] * fills["px"]).sum()), abs=1e-9
    )
    frac = np.where(fills["maker"] == 1, -1e-4, 5e-4)
    fees = frac * fills["px"] * fills["qty"] + np.where(fills["maker"] == 1, 0.0, 0.01) * fills["qty"] + 0.002
    assert books["fees"] == pytest.approx(float(fees.sum()), abs=1e-9)
    for order_id in set(fills["order_id"].tolist()):
        asked = table["qty"][(table["order_id"] == order_id) & (table["event"] == OrderEvent.SUBMITTED)][0]
        assert fills["qty"][fills["order_id"] == order_id].sum() <= asked + 1e-9
    return done


SIDES = st.sampled_from([1, -1])
OPENING = [Row(0, EventKind.DEPTH, side, 200 - side * away, 3) for side in (1, -1) for away in (1, 2, 4)]
EVENTS = st.builds(
    Row,
    at_ms=st.integers(1, END_MS - 5),
    kind=st.sampled_from([EventKind.DEPTH] * 4 + [EventKind.TRADE] * 3),
    side=SIDES,
    ticks=st.integers(192, 208),
    lots=st.integers(0, 6),
)
CLEARS = st.builds(
    Row,
    at_ms=st.integers(1, END_MS - 5),
    kind=st.just(EventKind.DEPTH_CLEAR),
    side=SIDES,
    ticks=st.none() | st.integers(192, 208),
    lots=st.just(0),
)
ORDERS = st.lists(
    st.builds(
        Order,
        at_ms=st.integers(1, END_MS - 10),
        do=st.sampled_from([_script.LIMIT] * 4 + [_script.MARKET, _script.CANCEL, _script.CANCEL]),
        side=SIDES,
        ticks=st.integers(194, 206),
        lots=st.integers(1, 20),
        tif=st.integers(0, 3),
        order=st.integers(1, 8),
    ),
    min_size=1,
    max_size=14,
)


def in_time(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: row.at_ms)


def sane(rows: list[Row]) -> list[Row]:
    """Trades of something."""
    return [row._replace(lots=max(row.lots, 1)) if row.kind == EventKind.TRADE else row for row in rows]


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(EVENTS, max_size=60), orders=ORDERS, roi=st.booleans())
def test_what_is_booked_is_what_a_plain_matcher_fills(
    rows: list[Row], orders: list[Order], roi: bool
) -> None:
    check(OPENING + in_time(sane(rows)), in_time(orders), roi=roi)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(EVENTS | CLEARS, max_size=60), orders=ORDERS)
def test_books_that_are_cleared_are_followed(rows: list[Row], orders: list[Order]) -> None:
    check(OPENING + in_time(sane(rows)), in_time(orders))


def sends(order: Order, swept: tuple[int, int]) -> bool:
    """Whether the broker sends an order when the book has this range."""
    return order.do != _script.LIMIT or swept[0] <= order.ticks <= swept[1]


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(EVENTS, max_size=60),
    orders=ORDERS,
    swept=st.tuples(st.integers(193, 199), st.integers(201, 207)),
)
def test_outside_the_book_that_is_followed_the_fills_are_right_or_the_run_stops(
    rows: list[Row], orders: list[Order], swept: tuple[int, int]
) -> None:
    feed = OPENING + in_time(sane(rows))
    try:
        check(feed, in_time(orders), swept=swept)
    except EngineError:
        sent = [o._replace(lots=o.lots if sends(o, swept) else 0) for o in in_time(orders)]
        parts = run(feed, sent).parts
        assert any(not swept[0] <= part.ticks <= swept[1] for part in parts if not part.maker)


def ladder(count: int, lots: float = 1) -> list[Row]:
    """Asks at `count` prices."""
    asks = [Row(0, EventKind.DEPTH, -1, 200 + k, lots) for k in range(count)]  # type: ignore[arg-type]
    return [Row(0, EventKind.DEPTH, 1, 199, 1), *asks]


def test_a_limit_order_through_many_levels_pays_each() -> None:
    done = check(ladder(120), [Order(10, _script.LIMIT, 1, 400, 120, pm.IOC)], swept=(LOW, 420))
    assert [part.ticks for part in done.parts] == list(range(200, 320))
    assert done.ledger["position_qty"] == pytest.approx(12.0)


def test_more_levels_than_can_be_followed_stop_the_run() -> None:
    with pytest.raises(EngineError, match="that the followed book does not explain"):
        run(ladder(140), [Order(10, _script.LIMIT, 1, 400, 140, pm.IOC)], swept=(LOW, 420))


def test_a_price_beyond_the_followed_book_stops_the_run() -> None:
    with pytest.raises(EngineError, match="that the followed book does not explain"):
        run(ladder(3, 1), [Order(10, _script.MARKET, 1, 200, 2)], swept=(LOW, 200))


@pytest.mark.parametrize(("level_lots", "lots"), [(1.4, 3), (1.3, 2), (2.6, 2)])
def test_parts_of_a_lot_stop_the_run(level_lots: float, lots: int) -> None:
    orders = [Order(10, _script.MARKET, 1, 200, lots)]
    if level_lots > lots:
        assert check(ladder(3, 3), orders).parts == run(ladder(3, level_lots), orders).parts
        return
    with pytest.raises(EngineError, match=r"part of a lot|does not explain"):
        run(ladder(3, level_lots), orders)


def test_a_level_of_less_than_half_a_lot_is_not_there() -> None:
    rows = ladder(4, 2)
    rows.insert(3, Row(0, EventKind.DEPTH, -1, 201, 0.3))  # type: ignore[arg-type]
    done = run(rows, [Order(10, _script.MARKET, 1, 200, 5)])
    assert [(part.ticks, part.lots) for part in done.parts] == [(200, 2), (202, 2), (203, 1)]


def test_at_one_time_data_comes_before_orders() -> None:
    rows = [
        *ladder(4, 2),
        Row(10 + ENTRY_MS, EventKind.DEPTH, -1, 200, 1),
        Row(40, EventKind.DEPTH, -1, 200, 2),
    ]
    done = check(rows, [Order(10, _script.MARKET, 1, 200, 4)])
    assert [(part.ticks, part.lots) for part in done.parts] == [(200, 1), (201, 2), (202, 1)]


def test_levels_that_were_crossed_are_not_cleared() -> None:
    """An ask at 198 hides the bids at 199 and 198 from the clear; a bid at 200 brings them back."""
    rows = [
        *OPENING,
        Row(1, EventKind.DEPTH, -1, 198, 1),
        Row(2, EventKind.DEPTH, -1, 198, 0),
        Row(3, EventKind.DEPTH_CLEAR, 1, 190, 0),
        Row(4, EventKind.DEPTH, 1, 200, 1),
    ]
    done = check(rows, [Order(10, _script.MARKET, -1, 200, 5)])
    assert [(part.ticks, part.lots) for part in done.parts] == [(200, 1), (199, 3), (198, 1)]


def test_the_level_next_to_a_clear_is_not_the_touch() -> None:
    rows = [
        *OPENING,
        Row(0, EventKind.DEPTH, 1, 197, 2),
        Row(0, EventKind.DEPTH, 1, 195, 2),
        Row(3, EventKind.DEPTH_CLEAR, 1, 198, 0),
    ]
    done = check(rows, [Order(10, _script.MARKET, -1, 200, 4)])
    assert [(part.ticks, part.lots) for part in done.parts] == [(196, 3), (195, 1)]


def test_a_book_that_has_another_touch_stops_the_run() -> None:
    session = session_of(ladder(4, 2)[1:], [Order(10, _script.MARKET, 1, 200, 4)])
    session.arrays.exch_feeds["best_ask_ticks"] = 198
    with pytest.raises(EngineError, match="that the followed book does not explain"):
        run_tables(session)


def test_modifying_is_refused() -> None:
    """A partial fill of the same instant would be hidden by the answer."""
    orders = [Order(10, _script.LIMIT, 1, 198, 3), Order(20, _script.MODIFY, 1, 197, 3, order=1)]
    done = check(OPENING, orders)
    assert done.tables["refusals"]["reason"].tolist() == [RefusalReason.NOT_MODIFIABLE]


def test_a_difference_from_what_the_engine_has_finished_stops_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hftbacktest import binding

    from bt_framework.errors import LedgerError

    monkeypatch.setattr(binding, "hashmapbt_position", lambda *_: 0.0)
    with pytest.raises(LedgerError, match="the ledger's position must be the engine's"):
        run(OPENING, [Order(10, _script.MARKET, 1, 200, 2)])
