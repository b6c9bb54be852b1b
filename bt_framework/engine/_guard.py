"""What follows when a risk rule is breached: cancel, flatten, halt, resume."""

from __future__ import annotations

import math

from bt_framework.engine import _native
from bt_framework.engine._broker import log_order, send
from bt_framework.engine._state import MAX_OPEN_ORDERS
from bt_framework.engine.portfolio import only_reduces
from bt_framework.jit import kernel
from bt_framework.records import (
    IntentKind,
    OrderEvent,
    OrderType,
    RefusalReason,
    RiskAction,
    RiskEvent,
    Tag,
    TimeInForce,
)

_NEW, _CANCEL = int(IntentKind.NEW), int(IntentKind.CANCEL)
_CANCEL_REQUESTED = int(OrderEvent.CANCEL_REQUESTED)
_MARKET, _IOC, _RISK = int(OrderType.MARKET), int(TimeInForce.IOC), int(Tag.RISK)
_RULE, _HALTED = int(RefusalReason.RULE), int(RefusalReason.HALTED)
_REFUSE, _CANCEL_ALL = int(RiskAction.REFUSE), int(RiskAction.CANCEL_ALL)
_FLATTEN_AND_HALT, _HALT_FOR_DAY = int(RiskAction.FLATTEN_AND_HALT), int(RiskAction.HALT_FOR_DAY)
_NEVER = 2**63 - 1
_BREACH, _RESUME, _FLAT = int(RiskEvent.BREACH), int(RiskEvent.RESUME), int(RiskEvent.FLAT)


@kernel
def log_risk_event(a, rule, event, value, limit):
    """Write a row to the risk events."""
    clock, control = a.clock[0], a.controls[rule]
    row = a.risk_events[clock.risk_events]
    clock.risk_events += 1
    row.local_ts, row.rule, row.event = clock.now_ts, rule, event
    row.action, row.until_ts, row.value, row.limit = control.action, control.until_ts, value, limit


# The states of rules are records of different types. Here are only numbers: numba would take a longer record for a
# shorter one that begins with the same fields, and warn.


@kernel
def follow_calendar(a, rule, calendar):
    """Keep a rule's local day; ``calendar`` are its CALENDAR_DAY rows, the first before the run."""
    now_ts, control = a.clock[0].now_ts, a.controls[rule]
    if now_ts < control.day_next_ts:
        return
    while control.day + 1 < calendar.size and calendar[control.day + 1].from_ts <= now_ts:
        control.day += 1
    today, after = calendar[control.day], control.day + 1
    control.day_start_ts, control.utc_offset_ns = today.day_start_ts, today.utc_offset_ns
    control.day_next_ts = calendar[after].from_ts if after < calendar.size else _NEVER
    while after < calendar.size and calendar[after].day_start_ts == today.day_start_ts:
        after += 1
    control.day_end_ts = calendar[after].day_start_ts if after < calendar.size else _NEVER


@kernel
def trip(a, rule, value, limit):
    """Begin what rule `rule`'s action says."""
    clock, control = a.clock[0], a.controls[rule]
    if control.active:
        return
    control.active = 1
    control.until_ts = clock.now_ts + control.resume_after_ns if control.resume_after_ns > 0 else 0
    if control.action == _HALT_FOR_DAY:
        control.until_ts = control.day_end_ts
    if control.action != _REFUSE:
        clock.cancel_below_id = clock.next_order_id
    log_risk_event(a, rule, _BREACH, value, limit)
    if control.action == _FLATTEN_AND_HALT and not clock.flattening:
        clock.flattening, clock.flatten_rule = 1, rule


@kernel
def keep_refusal(a, rule, value, limit):
    """Keep what a refusing rule measured for its row."""
    clock = a.clock[0]
    clock.refused_value, clock.refused_limit = value, limit


@kernel
def note_refusal(a, rule, value, limit):
    """Keep what a refusing rule measured for its row, and begin its action if it lasts longer than the refusal."""
    control = a.controls[rule]
    keep_refusal(a, rule, value, limit)
    control.value, control.limit = value, limit
    if control.action != _REFUSE or control.resume_after_ns > 0:
        trip(a, rule, value, limit)


@kernel
def time_is_over(a, rule):
    """Whether the action of rule `rule` has lasted its time; one that flattens lasts until all is closed."""
    clock, control = a.clock[0], a.controls[rule]
    if not control.active or control.until_ts == 0 or clock.now_ts < control.until_ts:
        return False
    return not (control.action == _FLATTEN_AND_HALT and clock.flattening)


@kernel
def govern(a, rule, breached, value, limit):
    """Begin or end what a rule's breach leads to; nothing ends while the limit is breached."""
    control = a.controls[rule]
    if breached:
        trip(a, rule, value, limit)
        control.value, control.limit = value, limit
        return
    if not control.active:
        return
    untimed = control.until_ts == 0 and control.action < _FLATTEN_AND_HALT
    if untimed or time_is_over(a, rule):
        control.active, control.until_ts = 0, 0
        log_risk_event(a, rule, _RESUME, value, limit)


@kernel
def barrier(a, account, intent):
    """Place of the first breached rule that keeps `intent` from being sent, or -1."""
    if intent.kind == _CANCEL:
        return -1
    for rule in range(a.controls.size):
        control = a.controls[rule]
        if control.active and (control.action == _FLATTEN_AND_HALT or not only_reduces(account, intent)):
            a.clock[0].refused_value, a.clock[0].refused_limit = control.value, control.limit
            return rule
    return -1


@kernel
def barrier_reason(a, rule):
    """Return the `RefusalReason` for which breached rule `rule` keeps intents back."""
    return _HALTED if a.controls[rule].action >= _FLATTEN_AND_HALT else _RULE


@kernel
def cancel_marked(engine, is_roi, a):
    """Cancel the working orders that are to be; returns the engine's code."""
    clock, left = a.clock[0], 0
    for index in range(clock.open_orders):
        order = a.open_orders[index]
        if order.order_id >= clock.cancel_below_id:
            continue
        left += 1
        if order.request == 0:
            order.request = _CANCEL
            log_order(a, order, _CANCEL_REQUESTED, 0)
            code = _native.cancel(engine, is_roi, order.asset, order.order_id, 0)
            if code != 0:
                clock.fault_order_id = order.order_id
                return code
    if left == 0:
        clock.cancel_below_id = 0
    return 0


@kernel
def can_close(a, market, asset):
    """Whether an order that closes a position can be sent now: nothing works, there is a touch, one at each instant."""
    books, clock = a.ledger[asset], a.clock[0]
    if books.position_qty == 0 or books.open_buy_qty + books.open_sell_qty > 0:
        return False
    px = market.best_bid_px(asset) if books.position_qty > 0 else market.best_ask_px(asset)
    # Without latency an order that finds no liquidity expires at once, and time would stand still.
    return math.isfinite(px) and books.closed_ts < clock.now_ts and clock.open_orders < MAX_OPEN_ORDERS


@kernel
def close(engine, is_roi, a, market, asset):
    """Send the order that closes a position at the market; returns the engine's code."""
    clock, books, intent = a.clock[0], a.ledger[asset], a.intents[0]
    books.closed_ts = clock.now_ts
    intent.kind, intent.asset, intent.tag, intent.signal_id = _NEW, asset, _RISK, 0
    intent.side = -1 if books.position_qty > 0 else 1
    intent.order_type, intent.time_in_force = _MARKET, _IOC
    intent.px = market.best_ask_px(asset) if intent.side > 0 else market.best_bid_px(asset)
    intent.order_id, intent.qty = clock.next_order_id, abs(books.position_qty)
    clock.next_order_id += 1
    code = send(engine, is_roi, a, intent)
    if code != 0:
        clock.fault_order_id = intent.order_id
    return code


@kernel
def flatten(engine, is_roi, a, market):
    """Close what is open at the market, one order per instrument at a time; returns the engine's code."""
    clock = a.clock[0]
    is_flat = clock.open_orders == 0
    for asset in range(a.ledger.size):
        is_flat = is_flat and a.ledger[asset].position_qty == 0
        if can_close(a, market, asset):
            code = close(engine, is_roi, a, market, asset)
            if code != 0:
                return code
    if is_flat:
        clock.flattening = 0
        log_risk_event(a, clock.flatten_rule, _FLAT, math.nan, math.nan)
    return 0


@kernel
def enforce(engine, is_roi, a, market):
    """Go on with what breached rules have begun; returns the engine's code."""
    code = cancel_marked(engine, is_roi, a) if a.clock[0].cancel_below_id > 0 else 0
    if code == 0 and a.clock[0].flattening:
        code = flatten(engine, is_roi, a, market)
    return code
