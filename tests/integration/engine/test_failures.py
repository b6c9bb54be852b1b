"""What fails inside the loop becomes an error that says what and when, and leaves what led to it."""

from __future__ import annotations

import probe_kernels as pk
import pytest
from probe import SELL, do, flat_book, run_probe, session_of

from bt_framework.errors import EngineError, KernelError, LedgerError
from bt_framework.records import Side
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (pk.DIVIDE, "a kernel raised ZeroDivisionError: integer division by zero"),
        (pk.OVERFLOW, "a kernel raised IndexError: more intents in one wake-up than the buffer holds"),
    ],
)
def test_a_kernel_that_raises_is_an_error_with_the_simulated_time(action: int, text: str) -> None:
    with pytest.raises(KernelError) as caught:
        run_probe([flat_book()], [do(action, 30, px=99.0)])
    assert str(caught.value) == f"{text} (simulated time 2024-01-01T00:00:00.030000000Z)."
    assert caught.value.local_ts == START_TS + 30 * MS
    assert isinstance(caught.value.__cause__, ZeroDivisionError | IndexError)


@pytest.mark.parametrize("max_wakes", [1, 3, 1_000])
def test_what_led_to_a_failure_is_handed_out_before_it_is_raised(max_wakes: int) -> None:
    session, _ = session_of([flat_book()], [do(pk.MARKET, 10), do(pk.DIVIDE, 50)])
    events = (tables["orders"]["event"].tolist() for tables in session.slices(max_wakes))
    orders: list[int] = []
    with pytest.raises(KernelError):
        orders.extend(event for part in events for event in part)
    session.close()
    assert orders == [1, 4]


def test_a_ledger_that_differs_from_the_engine_stops_the_run_and_names_the_last_fill() -> None:
    session, _ = session_of([flat_book()], [do(pk.MARKET, 10)])
    slices = session.slices(4)
    for _ in range(3):
        next(slices)
    session.arrays.ledger[0]["position_qty"] += 0.25
    with pytest.raises(LedgerError) as caught:
        for _ in slices:
            pass
    session.close()
    assert str(caught.value).startswith(
        "TEST0: the ledger's position must be the engine's, was 1.25 against 1.0 at 2024"
    )
    assert "no fill in this slice" in str(caught.value)


def test_a_ledger_that_differs_after_a_fill_names_it() -> None:
    session, _ = session_of([flat_book()], [do(pk.MARKET, 10)])
    session.arrays.ledger[0]["position_qty"] = 0.5
    with pytest.raises(LedgerError, match=r"last fill: order 1 at 2024-01-01T00:00:00.015000000Z"):
        list(session.slices(1_000))
    session.close()


@pytest.mark.parametrize("roi", [True, False])
@pytest.mark.parametrize("side", list(Side))
def test_a_fill_at_no_price_stops_the_run(roi: bool, side: int) -> None:
    # We still see the other side when we decide; at the exchange it is gone when the order arrives.
    feed = flat_book(until_ms=10)
    feed.level(11 * MS, -side, 100.5 if side > 0 else 99.5, 0.0)
    for at in range(20, 201, 10):
        feed.level(at * MS, side, 99.5 if side > 0 else 100.5, 1.0)
    with pytest.raises(EngineError) as caught:
        run_probe([feed], [do(pk.MARKET, 10, side=side)], roi=roi)
    assert str(caught.value) == (
        "an order was filled while the other side of the exchange's book was empty "
        "(simulated time 2024-01-01T00:00:00.015000000Z, order 1)."
    )
    assert caught.value.local_ts == START_TS + 15 * MS


def test_a_code_of_the_engine_is_an_error_with_its_meaning_and_the_simulated_time() -> None:
    session, _ = session_of([flat_book()], [do(pk.LIMIT, 10, px=99.0), do(pk.LIMIT, 30, px=99.0, side=SELL)])
    slices = session.slices(1)
    while session.local_ts < START_TS + 20 * MS:
        next(slices)
    session.arrays.clock[0]["next_order_id"] = 1  # the engine knows this one
    with pytest.raises(EngineError) as caught:
        list(slices)
    session.close()
    assert str(caught.value) == (
        "the engine returned code 10: order id already exists "
        "(simulated time 2024-01-01T00:00:00.030000000Z, order 1)."
    )


def test_an_order_that_the_engine_has_forgotten_stops_the_run() -> None:
    session, _ = session_of([flat_book()], [do(pk.LIMIT, 10, px=99.0), do(pk.LIMIT, 30, px=99.0)])
    slices = session.slices(1)
    while session.local_ts < START_TS + 20 * MS:
        next(slices)
    session.arrays.open_orders[0]["order_id"] = 77
    with pytest.raises(EngineError, match=r"the engine no longer knows a working order .*, order 77\)"):
        list(slices)
    session.close()


def test_a_session_can_be_closed_twice_and_while_slices_are_pending() -> None:
    session, _ = session_of([flat_book()])
    slices = session.slices(1)
    next(slices)
    session.close()
    session.close()


def test_events_that_go_back_in_time_end_the_run_at_once_and_say_nothing() -> None:
    """Why there is a doctor: the engine itself does not notice."""
    feed = SmallFeed().book(-5 * MS, bid_px=99.5, ask_px=100.5).book(10 * MS, bid_px=99.5, ask_px=100.5)
    feed.book(50 * MS, bid_px=99.5, ask_px=100.5).book(60 * MS, bid_px=99.5, ask_px=100.5)
    reversed_events = feed.events()[::-1].copy()

    class Reversed(SmallFeed):
        def events(self):  # type: ignore[no-untyped-def]
            return reversed_events

    done = run_probe([Reversed()], timer_ms=10)
    assert len(done.notes) <= 9
