"""What this project works around in hftbacktest. A test that fails here says that upstream has changed: look at the
place that it names, and take the work-around away if it is no longer needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import probe
import pytest
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest, ROIVectorMarketDepthBacktest
from numba import njit

from bt_framework.records import Side
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

_ALIVE: list[Any] = []


def _engine(feed: SmallFeed, *, roi: bool = False, partial: bool = False) -> Any:
    _ALIVE.append(feed.events())  # hftbacktest keeps a bare pointer
    asset = BacktestAsset().data([_ALIVE[-1]]).linear_asset(1.0).constant_order_latency(2 * MS, 3 * MS)
    asset.risk_adverse_queue_model().trading_value_fee_model(0.0, 0.0).tick_size(0.5).lot_size(0.25)
    (asset.partial_fill_exchange if partial else asset.no_partial_fill_exchange)()
    if roi:
        return ROIVectorMarketDepthBacktest([asset.roi_lb(90.0).roi_ub(110.0)])
    return HashMapMarketDepthBacktest([asset])


@njit
def _asks_after_clear(hbt: Any) -> Any:
    hbt.elapse(0)
    hbt.elapse(5_000_000)
    before = hbt.depth(0).best_ask_tick
    hbt.elapse(10_000_000)
    depth = hbt.depth(0)
    return before, depth.best_ask_tick, depth.ask_qty_at_tick(201)


@pytest.mark.parametrize("roi", [True, False])
def test_the_price_vector_does_not_clear_asks(roi: bool) -> None:
    """`bt_framework.engine.book` takes the hash map for data with depth-clear events."""
    feed = SmallFeed().book(0, bid_px=99.5, ask_px=100.5)
    for px in (101.0, 101.5, 102.0):
        feed.level(MS, Side.SELL, px, 2.0)
    feed.clear(10 * MS, Side.SELL, 100.5).book(200 * MS, bid_px=99.5, ask_px=105.0)
    before, after, qty = _asks_after_clear(_engine(feed, roi=roi))
    assert before == 201
    assert qty == (1.0 if roi else 0.0)
    # In both forms the best ask skips a level (202) until the next change of the book sets it.
    assert after == 203


@njit
def _best_quantities(hbt: Any) -> Any:
    hbt.elapse(0)
    hbt.elapse(5_000_000)
    depth = hbt.depth(0)
    return depth.best_bid_qty, depth.best_ask_qty, depth.bid_qty_at_tick(199), depth.ask_qty_at_tick(201)


def test_the_price_vector_gives_a_price_as_the_best_bid_quantity() -> None:
    """`bt_framework.engine.view` asks for the quantity at the best tick instead."""
    feed = SmallFeed().book(0, bid_px=99.5, ask_px=100.5, qty=4.0).book(200 * MS, bid_px=99.5, ask_px=100.5)
    assert _best_quantities(_engine(feed)) == (4.0, 4.0, 4.0, 4.0)
    bid_qty, _, bid_qty_at, ask_qty_at = _best_quantities(_engine(feed, roi=True))
    assert (bid_qty_at, ask_qty_at) == (4.0, 4.0)
    assert bid_qty != 4.0


@njit
def _partial(hbt: Any) -> Any:
    hbt.elapse(0)
    hbt.elapse(5_000_000)
    hbt.submit_buy_order(0, 1, 99.5, 3.0, 0, 0, False)
    codes = (hbt.elapse(20_000_000), hbt.elapse(50_000_000))
    return hbt.position(0), codes


@pytest.mark.parametrize(("first", "second"), [(2.0, 0.0), (2.0, 1.0)])
def test_the_partial_fill_exchange_loses_partial_fills_of_resting_orders(first: float, second: float) -> None:
    """There is no plugin for it, and sessions use the other one."""
    feed = SmallFeed().book(0, bid_px=99.0, ask_px=100.5).trade(15 * MS, Side.SELL, 99.5, first)
    if second:
        feed.trade(40 * MS, Side.SELL, 99.5, second)
    feed.book(200 * MS, bid_px=99.0, ask_px=100.5)
    position, codes = _partial(_engine(feed, partial=True))
    assert position == second  # of first + second; the partial fill is never booked
    assert codes == (0, 0)


@njit
def _modified(hbt: Any, px: float, qty: float) -> Any:
    hbt.elapse(0)
    hbt.elapse(5_000_000)
    hbt.submit_buy_order(0, 1, 99.0, 1.0, 0, 0, False)
    hbt.elapse(10_000_000)
    hbt.modify(0, 1, px, qty, False)
    hbt.elapse(50_000_000)
    return hbt.orders(0).get(1).qty, hbt.position(0)


@pytest.mark.parametrize(
    ("px", "qty", "filled"), [(99.5, 2.0, 1.0), (99.5, 0.5, 1.0), (99.0, 2.0, 1.0), (99.0, 0.5, 0.5)]
)
def test_a_modified_order_executes_its_old_quantity(px: float, qty: float, filled: float) -> None:
    """`bt_framework.engine._broker.keeps_qty` refuses modifications that would not be executed as asked."""
    feed = probe.flat_book(until_ms=40).trade(45 * MS, Side.SELL, 98.5, 9.0)
    feed.book(200 * MS, bid_px=99.5, ask_px=100.5)
    assert _modified(_engine(feed), px, qty) == (qty, filled)


@njit
def _codes_and_latencies(hbt: Any, out: Any) -> int:
    hbt.elapse(0)
    hbt.elapse(9_000_000)
    hbt.submit_buy_order(0, 1, 99.0, 1.0, 0, 0, False)
    count = 0
    while count < len(out):
        code = hbt.wait_next_feed(True, 40_000_000)
        out[count, 0], out[count, 1] = code, hbt.current_timestamp
        count += 1
        if code < 2:
            break
    return count


def test_a_return_code_tells_one_of_two_things_that_happen_at_once() -> None:
    """`bt_framework.engine._loop.answered_now` and ``book_changed`` ask the engine for both."""
    feed = SmallFeed(latency_ns=MS)
    for at in range(0, 30):
        feed.book(at * MS, bid_px=99.5, ask_px=100.5)
    out = np.zeros((40, 2), np.int64)
    count = _codes_and_latencies(_engine(feed), out)
    codes, times = out[:count].T
    waited = times[codes > 1]
    assert len(set(waited.tolist())) == len(waited) == 20
    answered = START_TS + 14 * MS  # sent at 10 ms - 1 ms, and a feed arrives then as well
    assert answered in waited
    assert len(codes[times == answered]) == 1


@njit
def _before_start(hbt: Any) -> int:
    return hbt.current_timestamp


def test_there_is_no_time_before_the_first_step() -> None:
    """The loop begins with an elapse of zero."""
    assert _before_start(_engine(probe.flat_book())) == 2**63 - 1


@njit
def _steps(hbt: Any) -> int:
    steps = 0
    while hbt.elapse(5_000_000) == 0:
        steps += 1
    return steps


def test_events_that_go_back_in_time_end_a_run_without_an_error() -> None:
    """The doctor refuses such data."""
    events = probe.flat_book().events()
    events[["exch_ts", "local_ts"]] = events[["exch_ts", "local_ts"]][::-1].copy()

    class Reversed(SmallFeed):
        def events(self) -> Any:
            return events

    assert _steps(_engine(probe.flat_book())) >= 40
    assert _steps(_engine(Reversed())) <= 1
