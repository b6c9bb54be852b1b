"""The parts of the loop that are the same for every composition; `_template` is the rest."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np

from bt_framework.engine import _native
from bt_framework.engine._broker import answered_now, collect_updates
from bt_framework.engine._ledger import equity_at
from bt_framework.engine._state import LOG_HEADROOM
from bt_framework.engine.view import AccountView, Intents, MarketView
from bt_framework.jit import kernel


class Outcome(IntEnum):
    """What a slice ended with."""

    MORE = 0
    END_OF_DATA = 1
    ERROR = 2


class Settled(IntEnum):
    """What the order updates brought."""

    NOTHING = 0
    ANSWERED = 1
    FAULT = 2


_NOTHING, _ANSWERED, _FAULT = int(Settled.NOTHING), int(Settled.ANSWERED), int(Settled.FAULT)
_ENGINE_END, _ENGINE_RESPONSE = 1, 3
_NEVER = 2**63 - 1


@kernel
def log_equity(a, market):
    """Write one row per instrument, marked at mid, or at the last mid while a side of the book is missing."""
    clock = a.clock[0]
    for asset in range(a.ledger.size):
        books = a.ledger[asset]
        mid = market.mid_px(asset)
        if math.isfinite(mid):
            books.mark_px = mid
        row = a.equity[clock.equity]
        clock.equity += 1
        row.local_ts, row.asset, row.mid_px = clock.now_ts, asset, books.mark_px
        row.position_qty, row.cash, row.fees = books.position_qty, books.cash, books.fees
        row.equity = equity_at(books, a.contracts[asset], books.mark_px)


@kernel
def logs_full(a):
    """Whether a wake-up might not fit into the logs any more."""
    clock = a.clock[0]
    room = LOG_HEADROOM
    return (
        clock.signals + room > a.signals.size
        or clock.orders + room > a.orders.size
        or clock.fills + room > a.fills.size
        or clock.refusals + room > a.refusals.size
        or clock.risk_events + room > a.risk_events.size
        or clock.equity + 2 * a.ledger.size > a.equity.size
    )


@kernel
def start(engine, is_roi, a):
    """Go to the start of the run; returns the engine's code."""
    clock = a.clock[0]
    code = _native.elapse(engine, is_roi, 0)
    if code == 0 and _native.current_ts(engine, is_roi) < clock.start_ts:
        code = _native.elapse(engine, is_roi, clock.start_ts - _native.current_ts(engine, is_roi))
    clock.now_ts = clock.start_ts
    clock.next_timer_ts = clock.start_ts + clock.timer_ns if clock.timer_ns > 0 else _NEVER
    clock.next_equity_ts = clock.start_ts
    clock.started = 1
    return code


@kernel
def views_of(engine, is_roi, a):
    """(market, account, out), as kernels are given them."""
    depths = np.empty(a.ledger.size, np.int64)
    for asset in range(a.ledger.size):
        depths[asset] = _native.depth_address(engine, is_roi, asset)
    return (
        MarketView(is_roi, depths, a.clock, a.contracts, engine, a.scratch),
        AccountView(a.clock, a.contracts, a.ledger, a.open_orders),
        Intents(a.clock, a.intents, a.signals),
    )


@kernel
def advance(engine, is_roi, a, wakes_on_book):
    """Let time pass to the next timer, sample, feed or response; returns the engine's code."""
    clock = a.clock[0]
    due = min(clock.next_timer_ts, clock.next_equity_ts, clock.end_ts)
    if clock.now_ts >= due:
        return 0
    if clock.open_orders == 0 and not wakes_on_book:
        # Nothing can answer and nobody listens to the feed: go there in one call.
        code = _native.elapse(engine, is_roi, due - clock.now_ts)
    else:
        code = _native.wait_next_feed(engine, is_roi, 1, due - clock.now_ts)
    # At the end of the data the engine's clock stays behind; all that happens until `due` has happened.
    clock.now_ts = due if code == _ENGINE_END else _native.current_ts(engine, is_roi)
    clock.wakes += 1
    return code


@kernel
def settle(engine, is_roi, a, code, sweeps):
    """Apply the order updates that the last advance (which returned `code`) brought; returns a `Settled`."""
    clock = a.clock[0]
    if clock.open_orders == 0 or not (
        code in (_ENGINE_RESPONSE, _ENGINE_END) or answered_now(engine, is_roi, a)
    ):
        return _NOTHING
    clock.engine_code = collect_updates(engine, is_roi, a, sweeps)
    return _ANSWERED if clock.engine_code == 0 else _FAULT


@kernel
def book_changed(engine, is_roi, a):
    """Whether feed has arrived at this instant: a response or a timer at the same time hides it in the return code."""
    clock = a.clock[0]
    times = a.scratch.ctypes.data
    for asset in range(a.ledger.size):
        known = _native.feed_latency(engine, is_roi, asset, times, times + 8)
        if known != 0 and a.scratch[1] == clock.now_ts and clock.book_ts != clock.now_ts:
            clock.book_ts = clock.now_ts
            return True
    return False
