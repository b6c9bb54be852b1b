"""The loop on the real engine: when a strategy is woken, and what becomes of each kind of request."""

from __future__ import annotations

import probe_kernels as pk
import pytest
from probe import BUY, FOK, GTC, IOC, SELL, do, flat_book, run_probe

from bt_framework.engine.models import FeeSchedule, LatencyModel
from bt_framework.records import OrderEvent as E
from bt_framework.records import RefusalReason as R
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

TIMER, BOOK, ORDER = pk.TIMER, pk.BOOK, pk.ORDER


def test_the_timer_wakes_on_its_grid_and_not_at_the_end() -> None:
    done = run_probe([flat_book()], timer_ms=25, end_ms=100)
    assert done.notes == [(25.0, TIMER), (50.0, TIMER), (75.0, TIMER)]


def test_a_strategy_without_a_timer_is_woken_by_what_happens() -> None:
    script = [do(pk.LIMIT, 10, px=99.5)]
    done = run_probe([flat_book()], script, timer_ms=0, book=True, end_ms=35)
    # The feed is seen 1 ms after the exchange has it, the answer 5 ms after the order.
    assert done.notes == [(1.0, BOOK), (11.0, BOOK), (16.0, ORDER), (21.0, BOOK), (31.0, BOOK)]


def test_without_a_timer_orders_alone_never_wake_a_strategy_that_cannot_send() -> None:
    assert run_probe([flat_book()], timer_ms=0).notes == []


def test_every_instrument_wakes() -> None:
    second = SmallFeed().book(-5 * MS, bid_px=99.5, ask_px=100.5).book(14 * MS, bid_px=99.5, ask_px=100.5)
    second.book(200 * MS, bid_px=99.5, ask_px=100.5)
    done = run_probe([flat_book(), second], timer_ms=0, book=True, end_ms=30)
    assert done.notes == [(1.0, BOOK), (11.0, BOOK), (15.0, BOOK), (21.0, BOOK)]


@pytest.mark.parametrize("roi", [True, False])
def test_a_response_and_a_feed_at_the_same_time_are_both_seen_then(roi: bool) -> None:
    # Order at 10 ms, answered at 10 + 2 + 9 = 21 ms, when the book of 20 ms arrives as well.
    script = [do(pk.MARKET, 10)]
    latency = LatencyModel(2 * MS, 9 * MS)
    for book in (True, False):
        done = run_probe([flat_book()], script, latency=latency, book=book, roi=roi, end_ms=29, timer_ms=10)
        assert (21.0, ORDER) in done.notes
        assert ((21.0, BOOK) in done.notes) == book
        assert done.tables["fills"]["local_ts"].tolist() == [START_TS + 21 * MS]
        at_fill = done.notes.index((21.0, ORDER))
        assert done.state.position_qty[at_fill] == 1.0


def test_order_book_and_timer_of_one_moment_come_in_that_order() -> None:
    latency = LatencyModel(2 * MS, 9 * MS)
    script = [do(pk.MARKET, 0, reason=TIMER)]
    feed = SmallFeed()
    for at in range(-2, 100):
        feed.book(at * MS, bid_px=99.5, ask_px=100.5)
    done = run_probe([feed], script, latency=latency, book=True, end_ms=25, timer_ms=11)
    assert [reason for ms, reason in done.notes if ms == 22.0] == [ORDER, BOOK, TIMER]


def test_a_fill_that_arrives_with_the_end_is_booked() -> None:
    done = run_probe([flat_book()], [do(pk.MARKET, 90)], end_ms=95)
    assert done.tables["fills"]["local_ts"].tolist() == [START_TS + 95 * MS]
    assert done.steps() == [E.SUBMITTED, E.FILLED]
    assert done.tables["equity"]["position_qty"][-1] == 1.0


def test_a_fill_that_arrives_after_the_end_is_not() -> None:
    done = run_probe([flat_book()], [do(pk.MARKET, 90)], end_ms=94)
    assert done.steps() == [E.SUBMITTED]
    assert len(done.tables["fills"]) == 0


def test_what_happens_between_the_last_event_and_the_end_is_booked() -> None:
    done = run_probe([flat_book(until_ms=91)], [do(pk.MARKET, 90)], end_ms=150)
    assert done.steps() == [E.SUBMITTED, E.FILLED]
    assert done.tables["equity"]["position_qty"][-1] == 1.0


def test_a_limit_order_is_accepted_and_cancelled() -> None:
    done = run_probe([flat_book()], [do(pk.LIMIT, 10, px=99.5), do(pk.CANCEL, 30, order_id=1)])
    assert done.steps() == [E.SUBMITTED, E.ACCEPTED, E.CANCEL_REQUESTED, E.CANCELLED]
    orders = done.tables["orders"]
    assert ((orders["local_ts"] - START_TS) / MS).tolist() == [10, 15, 30, 35]
    assert (orders["exch_ts"][[1, 3]] - START_TS).tolist() == [12 * MS, 32 * MS]


def test_a_resting_order_is_filled_by_a_trade_through_its_price_as_maker() -> None:
    feed = flat_book(until_ms=30).trade(35 * MS, SELL, 99.0, 5.0).book(200 * MS, bid_px=99.5, ask_px=100.5)
    fees = FeeSchedule(maker_value_frac=0.01, taker_value_frac=0.02, maker_per_qty=0.5, per_fill=0.25)
    done = run_probe([feed], [do(pk.LIMIT, 10, px=99.5, qty=2.0)], fees=fees, contract_size=10.0)
    (fill,) = done.tables["fills"]
    assert (fill["px"], fill["qty"], fill["maker"], fill["position_qty"]) == (99.5, 2.0, 1, 2.0)
    assert fill["fee"] == pytest.approx(99.5 * 2 * 10 * 0.01 + 2 * 0.5 + 0.25)
    equity = done.tables["equity"][-1]
    assert equity["cash"] == pytest.approx(-99.5 * 2 * 10)
    assert equity["equity"] == pytest.approx((100.0 - 99.5) * 2 * 10 - fill["fee"])


def test_the_account_values_contracts_as_the_equity_table_does() -> None:
    script = [do(pk.MARKET, 1_010)]
    feed = flat_book(until_ms=2_100)
    done = run_probe([feed], script, contract_size=10.0, end_ms=2_050)
    seen = done.state.equity[done.notes.index((2_010.0, TIMER))]
    assert seen == pytest.approx((100.0 - 100.5) * 10.0)
    assert done.tables["equity"]["equity"][-1] == pytest.approx(seen)


@pytest.mark.parametrize(
    ("tif", "px", "steps"),
    [
        pytest.param(1, 100.5, [E.SUBMITTED, E.EXPIRED], id="post-only that would cross"),
        pytest.param(1, 100.0, [E.SUBMITTED, E.ACCEPTED], id="post-only inside the spread"),
        pytest.param(GTC, 100.5, [E.SUBMITTED, E.FILLED], id="gtc that crosses"),
        pytest.param(IOC, 100.0, [E.SUBMITTED, E.EXPIRED], id="ioc that does not cross"),
        pytest.param(FOK, 100.0, [E.SUBMITTED, E.EXPIRED], id="fok that does not cross"),
        pytest.param(IOC, 101.0, [E.SUBMITTED, E.FILLED], id="ioc that crosses"),
    ],
)
@pytest.mark.parametrize("roi", [True, False])
def test_times_in_force(tif: int, px: float, steps: list[int], roi: bool) -> None:
    done = run_probe([flat_book()], [do(pk.LIMIT, 10, px=px, tif=tif)], roi=roi)
    assert done.steps() == steps
    assert done.tables["fills"]["px"].tolist() == ([100.5] if E.FILLED in steps else [])


def test_a_modified_order_has_its_new_price_and_quantity() -> None:
    script = [
        do(pk.LIMIT, 10, px=99.0, qty=1.0),
        do(pk.MODIFY, 20, order_id=1, px=99.5, qty=1.0),
        do(pk.MODIFY, 30, order_id=1, px=99.5, qty=0.5),
    ]
    feed = flat_book(until_ms=40).trade(45 * MS, SELL, 99.0, 9.0).book(200 * MS, bid_px=99.5, ask_px=100.5)
    done = run_probe([feed], script)
    assert done.steps() == [E.SUBMITTED, E.ACCEPTED, *[E.MODIFY_REQUESTED, E.MODIFIED] * 2, E.FILLED]
    (fill,) = done.tables["fills"]
    assert (fill["px"], fill["qty"]) == (99.5, 0.5)
    first, second = done.tables["orders"][[3, 5]]
    assert (first["px"], first["qty"], first["leaves_qty"]) == (99.5, 1.0, 1.0)
    assert (second["px"], second["qty"], second["leaves_qty"]) == (99.5, 0.5, 0.5)


@pytest.mark.parametrize(("px", "qty"), [(99.0, 2.0), (99.5, 2.0), (99.5, 0.5)])
def test_a_modify_that_the_engine_would_not_execute_as_asked_is_refused(px: float, qty: float) -> None:
    done = run_probe(
        [flat_book()], [do(pk.LIMIT, 10, px=99.0), do(pk.MODIFY, 20, order_id=1, px=px, qty=qty)]
    )
    assert done.tables["refusals"]["reason"].tolist() == [R.QTY_NOT_MODIFIABLE]
    assert done.steps() == [E.SUBMITTED, E.ACCEPTED]


def test_a_modify_to_a_price_that_crosses_is_modified_and_filled() -> None:
    script = [
        do(pk.LIMIT, 10, px=99.0, tif=GTC),
        do(pk.MODIFY, 20, order_id=1, px=101.0, qty=1.0),
    ]
    done = run_probe([flat_book()], script)
    assert done.steps() == [E.SUBMITTED, E.ACCEPTED, E.MODIFY_REQUESTED, E.MODIFIED, E.FILLED]
    assert done.tables["fills"]["px"].tolist() == [100.5]
    assert done.tables["orders"]["px"].tolist() == [99.0, 99.0, 99.0, 101.0, 101.0]


def test_a_modify_of_an_order_that_is_filled_on_the_way_is_refused_by_the_venue() -> None:
    script = [
        do(pk.LIMIT, 10, px=99.5),
        do(pk.MODIFY, 20, order_id=1, px=98.0, qty=1.0),
    ]
    feed = flat_book(until_ms=20).trade(21 * MS, SELL, 99.0, 9.0).book(200 * MS, bid_px=99.5, ask_px=100.5)
    done = run_probe([feed], script)
    assert done.steps() == [E.SUBMITTED, E.ACCEPTED, E.MODIFY_REQUESTED, E.REQUEST_REJECTED, E.FILLED]
    assert done.tables["fills"]["px"].tolist() == [99.5]


def test_a_cancel_of_an_order_that_is_filled_on_the_way_finds_it_filled() -> None:
    script = [do(pk.LIMIT, 10, px=99.5), do(pk.CANCEL, 20, order_id=1), do(pk.LIMIT, 40, px=99.5)]
    feed = flat_book(until_ms=20).trade(21 * MS, SELL, 99.0, 9.0).book(39 * MS, bid_px=99.5, ask_px=100.5)
    done = run_probe([feed.book(200 * MS, bid_px=99.5, ask_px=100.5)], script)
    assert done.steps() == [E.SUBMITTED, E.ACCEPTED, E.CANCEL_REQUESTED, E.FILLED]
    assert done.steps(2) == [E.SUBMITTED, E.ACCEPTED]
    assert done.state.position_qty[int(done.state.count) - 1] == 1.0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (do(pk.LIMIT, px=99.25), R.OFF_TICK),
        (do(pk.LIMIT, px=99.5, qty=0.1), R.OFF_LOT),
        (do(pk.LIMIT, px=99.5, qty=0.0), R.NOT_POSITIVE_QTY),
        (do(pk.LIMIT, px=99.5, qty=-1.0), R.NOT_POSITIVE_QTY),
        (do(pk.LIMIT, px=99.5, qty=float("nan")), R.NOT_POSITIVE_QTY),
        (do(pk.LIMIT, px=99.5, qty=float("inf")), R.OFF_LOT),
        (do(pk.LIMIT, px=float("nan")), R.NO_MARKET),
        (do(pk.LIMIT, px=89.5), R.OUTSIDE_PRICE_RANGE),
        (do(pk.LIMIT, px=110.5, side=SELL), R.OUTSIDE_PRICE_RANGE),
        (do(pk.LIMIT, px=1e300), R.OFF_TICK),
        (do(pk.CANCEL_UNKNOWN), R.UNKNOWN_ORDER),
    ],
)
def test_what_the_venue_could_not_take_is_refused_with_the_reason(
    row: tuple[float, ...], reason: int
) -> None:
    done = run_probe([flat_book()], [row])
    assert done.tables["refusals"]["reason"].tolist() == [reason]
    assert done.tables["refusals"]["rule"].tolist() == [-1]
    assert len(done.tables["orders"]) == 0


@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_market_order_against_an_empty_side_is_refused(side: int) -> None:
    feed = SmallFeed().level(-5 * MS, -side, 100.0, 0.0)
    for at in range(0, 100, 10):
        feed.level(at * MS, side, 100.0, 1.0)
    done = run_probe([feed.level(200 * MS, side, 100.0, 1.0)], [do(pk.MARKET, 20, side=side)])
    assert done.tables["refusals"]["reason"].tolist() == [R.NO_MARKET]


def test_a_second_request_waits_for_the_answer_to_the_first() -> None:
    script = [do(pk.LIMIT, 10, px=99.5), *[do(pk.CANCEL, 30, order_id=1)] * 2]
    done = run_probe([flat_book()], script)
    assert done.tables["refusals"]["reason"].tolist() == [R.REQUEST_IN_FLIGHT]
    assert done.steps() == [E.SUBMITTED, E.ACCEPTED, E.CANCEL_REQUESTED, E.CANCELLED]


def test_orders_beyond_the_limit_are_refused_and_the_rest_live() -> None:
    script = [do(pk.FILL_UP, at, px=99.0, order_id=120) for at in (10, 20, 30)]
    done = run_probe([flat_book()], script)
    assert len(set(done.tables["orders"]["order_id"])) == 256
    assert done.tables["refusals"]["reason"].tolist() == [R.TOO_MANY_ORDERS] * (360 - 256)


def test_a_step_that_fills_every_order_and_sends_as_many_fits_the_smallest_logs() -> None:
    # 256 fills with up to two rows each, and three kernels that send 128 each, in one step.
    script = [do(pk.FILL_UP, at, px=99.5, order_id=128, reason=TIMER) for at in (10, 20)]
    script += [do(pk.FILL_UP, 36, px=98.0, order_id=128, reason=r) for r in (ORDER, BOOK, TIMER)]
    feed = flat_book(until_ms=20).trade(32 * MS, SELL, 99.0, 999.0)
    for at in range(33, 60):
        feed.book(at * MS, bid_px=99.0, ask_px=100.5)
    done = run_probe(
        [feed], script, timer_ms=5, book=True, log_rows=1, end_ms=50, latency=LatencyModel(2 * MS, 8 * MS)
    )
    assert len(done.tables["fills"]) == 256
    assert len(done.tables["refusals"]) == 128


def test_fills_of_both_sides_realise_by_average_cost() -> None:
    script = [
        do(pk.MARKET, 10, qty=1.0),
        do(pk.MARKET, 20, qty=3.0, side=SELL),
        do(pk.MARKET, 30, qty=2.0),
    ]
    done = run_probe([flat_book()], script)
    assert done.tables["fills"]["position_qty"].tolist() == [1.0, -2.0, 0.0]
    assert done.tables["fills"]["realised_pnl"].tolist() == [0.0, -1.0, -2.0]
    assert done.tables["equity"]["equity"][-1] == -3.0


@pytest.mark.parametrize("roi", [True, False], ids=["price vector", "hash map"])
def test_a_position_without_a_mid_is_valued_at_its_first_fill(roi: bool) -> None:
    feed = SmallFeed()
    for at in range(0, 2_000, 10):
        feed.level(at * MS, SELL, 100.5, 1.0)  # nobody bids
    outcome = run_probe([feed], [do(pk.LIMIT, 30, px=100.5, tif=GTC)], end_ms=1_900, roi=roi)
    assert len(outcome.tables["fills"]) == 1
    last = outcome.tables["equity"][-1]
    assert (last["position_qty"], last["mid_px"], last["equity"]) == (1.0, 100.5, 0.0)


@pytest.mark.parametrize("roi", [True, False], ids=["price vector", "hash map"])
@pytest.mark.parametrize(("levels", "ahead"), [(0, [2.0, 4.0]), (1, [2.0, 0.0]), (2, [2.0, 4.0])])
def test_the_broker_sees_no_more_levels_than_are_shown(levels: int, ahead: list[float], roi: bool) -> None:
    feed = SmallFeed()
    for at in range(0, 200, 10):
        feed.book(at * MS, bid_px=99.5, ask_px=100.5, qty=2.0).level(at * MS, BUY, 98.0, 4.0)
    script = [do(pk.LIMIT, 30, px=99.5), do(pk.LIMIT, 60, px=98.0)]
    rows = run_probe([feed], script, roi=roi, seen_levels=levels).tables["orders"]
    assert rows["queue_ahead_qty"][rows["event"] == E.ACCEPTED].tolist() == ahead


def test_levels_far_behind_the_best_are_not_shown_where_levels_are_counted() -> None:
    feed = SmallFeed()
    for at in range(0, 200, 10):
        feed.book(at * MS, bid_px=9_000.0, ask_px=9_000.5, qty=2.0)
        feed.level(at * MS, BUY, 500.0, 3.0).level(at * MS, BUY, 100.0, 4.0)
    script = [do(pk.LIMIT, 30, px=500.0), do(pk.LIMIT, 60, px=100.0)]
    rows = run_probe([feed], script, roi=False, seen_levels=2).tables["orders"]
    assert rows["queue_ahead_qty"][rows["event"] == E.ACCEPTED].tolist() == [0.0, 0.0]
