"""The loop: market -> strategy -> intents -> risk -> broker -> engine -> order updates -> ledger, in slices.

A generated module (`bt_framework.engine.program`) calls `drive` with the kernels of one composition.
"""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np

from bt_framework.engine import _native
from bt_framework.engine._broker import answered_now, collect_updates, log_refusal, send, why_invalid
from bt_framework.engine._state import LOG_HEADROOM
from bt_framework.engine.view import AccountView, Intents, MarketView
from bt_framework.jit import kernel
from bt_framework.records import IntentKind, OrderType, RefusalReason


class Outcome(IntEnum):
    """What a slice ended with."""

    MORE = 0
    END_OF_DATA = 1
    ERROR = 2


class Wake(IntEnum):
    """Why a strategy is called."""

    TIMER = 1
    BOOK = 2
    ORDER = 3


_MORE, _END, _ERROR = int(Outcome.MORE), int(Outcome.END_OF_DATA), int(Outcome.ERROR)
_TIMER, _BOOK, _ORDER = int(Wake.TIMER), int(Wake.BOOK), int(Wake.ORDER)
_RULE = int(RefusalReason.RULE)
_NEW, _MARKET = int(IntentKind.NEW), int(OrderType.MARKET)
_ENGINE_END, _ENGINE_FEED, _ENGINE_RESPONSE = 1, 2, 3
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
        value = books.position_qty * books.mark_px * a.contracts[asset].contract_size
        row.equity = books.cash + value - books.fees


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
def submit_intents(engine, is_roi, a, market, account, approve, rules):
    """Let every intent pass risk and the broker's checks, in the order written; returns the engine's code."""
    clock = a.clock[0]
    for index in range(clock.intents):
        intent = a.intents[index]
        if intent.kind == _NEW and intent.order_type == _MARKET:
            intent.px = market.best_ask_px(intent.asset) if intent.side > 0 else market.best_bid_px(intent.asset)
        reason = why_invalid(a, intent)
        if reason != 0:
            log_refusal(a, intent, reason, -1)
            continue
        rule = approve(market, account, intent, rules)
        if rule >= 0:
            log_refusal(a, intent, _RULE, rule)
            continue
        code = send(engine, is_roi, a, intent)
        if code != 0:
            clock.fault_order_id = intent.order_id
            return code
    return 0


@kernel
def react(engine, is_roi, a, views, calls, records, reason):
    """Call the strategy and send what it asks for; returns the engine's code."""
    market, account, out = views
    wake, approve, size = calls
    params, state, work, rules, sizing = records
    if reason == _TIMER or a.clock[0].timer_ns == 0:
        for asset in range(a.ledger.size):
            a.ledger[asset].unit_qty = size(market, account, asset, sizing)
    out.begin()
    wake(reason, market, account, out, params, state, work)
    return submit_intents(engine, is_roi, a, market, account, approve, rules)


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
        code = _native.wait_next_feed(engine, is_roi, due - clock.now_ts)
    # At the end of the data the engine's clock stays behind; all that happens until `due` has happened.
    clock.now_ts = due if code == _ENGINE_END else _native.current_ts(engine, is_roi)
    clock.wakes += 1
    return code


@kernel
def step(engine, is_roi, a, views, calls, records, wakes_on_book):
    """Advance once and do what is due; returns an `Outcome`."""
    clock = a.clock[0]
    code = advance(engine, is_roi, a, wakes_on_book)
    if code < 0 or code > _ENGINE_RESPONSE:
        clock.engine_code = code
        return _ERROR
    answered = False
    if clock.open_orders > 0 and (
        code == _ENGINE_RESPONSE or code == _ENGINE_END or answered_now(engine, is_roi, a)
    ):
        clock.engine_code = collect_updates(engine, is_roi, a)
        if clock.engine_code != 0:
            return _ERROR
        answered = True
    ended = code == _ENGINE_END or clock.now_ts >= clock.end_ts
    if not ended:
        on_timer = clock.now_ts >= clock.next_timer_ts
        if on_timer:
            clock.next_timer_ts += clock.timer_ns
        for reason in (_ORDER, _BOOK, _TIMER):
            if (
                (reason == _ORDER and answered)
                or (reason == _BOOK and wakes_on_book and code == _ENGINE_FEED)
                or (reason == _TIMER and on_timer)
            ):
                clock.engine_code = react(engine, is_roi, a, views, calls, records, reason)
                if clock.engine_code != 0:
                    return _ERROR
    if ended or clock.now_ts >= clock.next_equity_ts:
        clock.next_equity_ts += clock.equity_ns
        log_equity(a, views[0])
    return _END if ended else _MORE


@kernel
def drive(engine, is_roi, a, calls, records, max_wakes, wakes_on_book):
    """Run until `max_wakes` wake-ups are used up, a log is nearly full, the data ends, or something fails.

    Parameters
    ----------
    engine : int
        Address of the engine.
    is_roi : bool
        Which form of the engine it is.
    a : LoopArrays
        All of the run's state.
    calls : tuple
        (wake, approve, size): the composition's kernels, see `bt_framework.engine.program`.
    records : tuple
        (params, state, work, rules, sizing) of the composition.
    max_wakes : int
        Size of the slice; it never changes a result.
    wakes_on_book : bool
        Whether the strategy is called at every feed update.

    Returns
    -------
    int
        An `Outcome`. After ERROR, ``clock.engine_code`` is the engine's code or a `Fault`.
    """
    if a.clock[0].started == 0:
        code = start(engine, is_roi, a)
        if code != 0:
            a.clock[0].engine_code = code
            return _END if code == _ENGINE_END else _ERROR
    depths = np.empty(a.ledger.size, np.int64)
    for asset in range(a.ledger.size):
        depths[asset] = _native.depth_address(engine, is_roi, asset)
    views = (
        MarketView(is_roi, depths, a.clock, a.contracts),
        AccountView(a.clock, a.ledger, a.open_orders),
        Intents(a.clock, a.intents, a.signals),
    )
    for _ in range(max_wakes):
        if logs_full(a):
            return _MORE
        outcome = step(engine, is_roi, a, views, calls, records, wakes_on_book)
        if outcome != _MORE:
            return outcome
    return _MORE
