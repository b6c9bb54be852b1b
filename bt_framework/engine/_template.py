"""The loop: market -> strategy -> intents -> risk -> broker -> engine -> order updates -> ledger, in slices.

`bt_framework.engine.program` makes one module of this file per composition: the kernels between the two markers are
replaced by the composition's own. As it stands, it does nothing.
"""

import math

from bt_framework.engine._broker import book_fill_row, log_refusal, send, why_invalid
from bt_framework.engine._guard import barrier, barrier_reason, enforce
from bt_framework.engine._loop import advance, book_changed, log_equity, logs_full, settle, start, views_of
from bt_framework.engine._ownership import borrowed, keep_alive
from bt_framework.engine._state import LoopState
from bt_framework.jit import cached_kernel, kernel

WAKES_ON_BOOK = False  # whether the strategy wakes on feed updates
GUARDED = True  # whether a risk rule may do more than refuse
SWEEPS = 1  # whether an exchange fills level by level: 1 or None, which leaves its code out

# composition: begin


@kernel
def wake(reason, market, account, out, p, s, w):
    """Call the strategy's kernel for a reason: 1 timer, 2 book, 3 order."""


@kernel
def first_refusal(a, market, account, intent, rules):
    """Place of the first rule that refuses, or -1."""
    return -1


@kernel
def watch_rules(a, market, account, rules):
    """Ask every rule whether its limit is breached."""


@kernel
def unit_qty(market, account, asset, p, s):
    """Size one unit."""
    return 0.0


@kernel
def slippage_bps(market, asset, side, px, qty, p):
    """How much worse than the engine's price a taker is filled."""
    return 0.0


# composition: end

_MORE, _END, _ERROR = 0, 1, 2  # bt_framework.engine._loop.Outcome
_TIMER, _BOOK, _ORDER = 1, 2, 3
_ANSWERED, _FAULT = 1, 2  # bt_framework.engine._loop.Settled
_NEW, _CANCEL, _MARKET = 1, 2, 1  # bt_framework.records
_RULE, _UNKNOWN_ASSET = 1, 13
_ENGINE_END, _ENGINE_RESPONSE = 1, 3


@kernel
def why_refused(a, views, rules, intent):
    """Return (reason, rule) for which `intent` is not sent: breached rules, the broker's checks, then the chain."""
    market, account, _ = views
    if intent.kind == _NEW and intent.order_type == _MARKET and 0 <= intent.asset < a.ledger.size:
        intent.px = market.best_ask_px(intent.asset) if intent.side > 0 else market.best_bid_px(intent.asset)
    reason = why_invalid(a, intent)
    if reason != 0 or intent.kind == _CANCEL:
        return reason, -1
    rule = barrier(a, account, intent) if GUARDED else -1
    if rule >= 0:
        return barrier_reason(a, rule), rule
    rule = first_refusal(a, market, account, intent, rules)
    return (_RULE, rule) if rule >= 0 else (0, -1)


@kernel
def submit_intents(engine, is_roi, a, views, rules):
    """Let every intent pass the broker's checks and risk, in the order written; returns the engine's code."""
    clock = a.clock[0]
    for index in range(clock.intents):
        intent = a.intents[index]
        clock.refused_value, clock.refused_limit = math.nan, math.nan
        reason, rule = why_refused(a, views, rules, intent)
        if reason != 0:
            log_refusal(a, intent, reason, rule, clock.refused_value, clock.refused_limit)
            continue
        code = send(engine, is_roi, a, intent)
        if code != 0:
            clock.fault_order_id = intent.order_id
            return code
    return 0


@kernel
def book_fills(a, market, slippage):
    """Put the fills that the last updates brought into the ledger."""
    clock = a.clock[0]
    while clock.booked_fills < clock.fills:
        row = a.fills[clock.booked_fills]
        bps = 0.0 if row.maker else slippage_bps(market, row.asset, row.side, row.px, row.qty, slippage)
        book_fill_row(a, row, bps)
        clock.booked_fills += 1


@kernel
def react(engine, is_roi, a, views, records, reason):
    """Call the strategy and send what it asks for; returns the engine's code."""
    market, account, out = views
    params, state, work, rules, sizing, _ = records
    if reason == _TIMER or a.clock[0].timer_ns == 0:
        for asset in range(a.ledger.size):
            a.ledger[asset].unit_qty = unit_qty(market, account, asset, sizing[0], sizing[1])
    out.begin()
    wake(reason, market, account, out, params, state, work)
    code = submit_intents(engine, is_roi, a, views, rules)
    if code == 0 and GUARDED:
        code = enforce(engine, is_roi, a, market)
    return code


@kernel
def guard(engine, is_roi, a, views, rules):
    """Ask the rules, and go on with what breached ones have begun; returns the engine's code."""
    market, account, _ = views
    watch_rules(a, market, account, rules)
    if GUARDED:
        return enforce(engine, is_roi, a, market)
    return 0


@kernel
def step(engine, is_roi, a, views, records):
    """Advance once and do what is due; returns an outcome."""
    clock = a.clock[0]
    code = advance(engine, is_roi, a, WAKES_ON_BOOK)
    if code < 0 or code > _ENGINE_RESPONSE:
        clock.engine_code = code
        return _ERROR
    settled = settle(engine, is_roi, a, code, SWEEPS)
    if settled == _FAULT:
        return _ERROR
    book_fills(a, views[0], records[5])
    ended = code == _ENGINE_END or clock.now_ts >= clock.end_ts
    timer = clock.now_ts >= clock.next_timer_ts
    sample = clock.now_ts >= clock.next_equity_ts
    if timer:
        clock.next_timer_ts += clock.timer_ns
    if not ended and (timer or sample or settled == _ANSWERED or WAKES_ON_BOOK):
        clock.engine_code = guard(engine, is_roi, a, views, records[3])
        if clock.engine_code != 0:
            return _ERROR
    for reason in (_ORDER, _BOOK, _TIMER):
        if not ended and (
            (reason == _ORDER and settled == _ANSWERED)
            or (reason == _BOOK and WAKES_ON_BOOK and book_changed(engine, is_roi, a))
            or (reason == _TIMER and timer)
        ):
            clock.engine_code = react(engine, is_roi, a, views, records, reason)
            if clock.engine_code != 0:
                return _ERROR
    if ended or sample:
        clock.next_equity_ts += clock.equity_ns
        log_equity(a, views[0])
    return _END if ended else _MORE


@cached_kernel
def run_slice(engine, is_roi, arrays, records, max_wakes):
    """Run until `max_wakes` wake-ups are used up, a log is nearly full, the data ends, or something fails.

    `engine` is its address and `is_roi` its form, `arrays` the run's `LoopArrays`, `records` the kernels' (params,
    state, work, rules, sizing, slippage). `max_wakes` never changes a result. Returns an outcome; after ERROR,
    ``clock.engine_code`` is the engine's code or a `Fault`.
    """
    owner = LoopState(borrowed(arrays))
    a = borrowed(owner)
    if a.clock[0].started == 0:
        code = start(engine, is_roi, a)
        if code != 0:
            a.clock[0].engine_code = code
            keep_alive(owner)
            return _END if code == _ENGINE_END else _ERROR
    views_owner = views_of(engine, is_roi, a)
    views, kernel_records = borrowed(views_owner), borrowed(records)
    outcome = _MORE
    for _ in range(max_wakes):
        if logs_full(a):
            break
        outcome = step(engine, is_roi, a, views, kernel_records)
        if outcome != _MORE:
            break
    keep_alive((owner, views_owner))
    return outcome
