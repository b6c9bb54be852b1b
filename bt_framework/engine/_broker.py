"""From approved intents to the engine, and from the engine's order updates to our books and logs.

Working orders are kept in one array in order of submission, so that everything is logged in an order that does not
depend on the engine's hash maps.
"""

from __future__ import annotations

import math
from enum import IntEnum

from numba import carray

from bt_framework.engine import _native
from bt_framework.engine._ledger import book_fill, fill_fee, note_exit, tier_of
from bt_framework.engine._levels import shown_qty
from bt_framework.engine._native import ORDER_VIEW, as_pointer
from bt_framework.engine._state import MAX_OPEN_ORDERS, MAX_SWEPT_LEVELS
from bt_framework.engine._sweep import first_swept, follow_exchange, level_place, whole_lots
from bt_framework.jit import kernel
from bt_framework.records import IntentKind, OrderEvent, RefusalReason, TimeInForce


class Fault(IntEnum):
    """Why the loop stopped with an error; engine codes are positive and kept as they are."""

    ORDER_LOST = -1
    FILL_WITHOUT_PRICE = -2
    SWEEP_NOT_EXPLAINED = -3
    PART_OF_A_LOT = -4
    TOO_MANY_FILLS = -5


_NEW, _CANCEL, _MODIFY = int(IntentKind.NEW), int(IntentKind.CANCEL), int(IntentKind.MODIFY)
_GTC = int(TimeInForce.GTC)
_ORDER_LOST, _FILL_WITHOUT_PRICE = int(Fault.ORDER_LOST), int(Fault.FILL_WITHOUT_PRICE)
_SWEEP_NOT_EXPLAINED = int(Fault.SWEEP_NOT_EXPLAINED)
_PART_OF_A_LOT, _TOO_MANY_FILLS = int(Fault.PART_OF_A_LOT), int(Fault.TOO_MANY_FILLS)
_NS_PER_DAY = 86_400_000_000_000

_SUBMITTED, _ACCEPTED = int(OrderEvent.SUBMITTED), int(OrderEvent.ACCEPTED)
_PARTIALLY_FILLED, _FILLED = int(OrderEvent.PARTIALLY_FILLED), int(OrderEvent.FILLED)
_CANCEL_REQUESTED, _CANCELLED = int(OrderEvent.CANCEL_REQUESTED), int(OrderEvent.CANCELLED)
_MODIFY_REQUESTED, _MODIFIED = int(OrderEvent.MODIFY_REQUESTED), int(OrderEvent.MODIFIED)
_EXPIRED, _REJECTED = int(OrderEvent.EXPIRED), int(OrderEvent.REJECTED)
_REQUEST_REJECTED = int(OrderEvent.REQUEST_REJECTED)

_OFF_TICK, _OFF_LOT = int(RefusalReason.OFF_TICK), int(RefusalReason.OFF_LOT)
_NOT_POSITIVE_QTY = int(RefusalReason.NOT_POSITIVE_QTY)
_OUTSIDE_PRICE_RANGE = int(RefusalReason.OUTSIDE_PRICE_RANGE)
_UNKNOWN_ORDER, _REQUEST_IN_FLIGHT = int(RefusalReason.UNKNOWN_ORDER), int(RefusalReason.REQUEST_IN_FLIGHT)
_TOO_MANY_ORDERS, _UNKNOWN_KIND = int(RefusalReason.TOO_MANY_ORDERS), int(RefusalReason.UNKNOWN_KIND)
_UNKNOWN_ASSET = int(RefusalReason.UNKNOWN_ASSET)
_NO_MARKET, _QTY_NOT_MODIFIABLE = int(RefusalReason.NO_MARKET), int(RefusalReason.QTY_NOT_MODIFIABLE)
_NOT_MODIFIABLE = int(RefusalReason.NOT_MODIFIABLE)

# hftbacktest's order status
_S_EXPIRED, _S_FILLED, _S_CANCELED, _S_REJECTED = 2, 3, 4, 6
_STEP_TOLERANCE = 1e-6
"""How far, in steps, a price or quantity may be from a whole tick or lot."""


@kernel
def off_grid(value, step):
    """Whether `value` is not a whole number of steps."""
    steps = value / step
    return abs(steps - round(steps)) > _STEP_TOLERANCE


@kernel
def find_open(a, order_id):
    """Place of a working order, or -1."""
    for index in range(a.clock[0].open_orders):
        if a.open_orders[index].order_id == order_id:
            return index
    return -1


@kernel
def recount(a, asset):
    """Sum up the working quantity of an instrument's two sides."""
    buy, sell = 0.0, 0.0
    for index in range(a.clock[0].open_orders):
        order = a.open_orders[index]
        if order.asset == asset:
            leaves = max(order.leaves_qty, order.new_qty) if order.request == _MODIFY else order.leaves_qty
            if order.side > 0:
                buy += leaves
            else:
                sell += leaves
    a.ledger[asset].open_buy_qty, a.ledger[asset].open_sell_qty = buy, sell


@kernel
def why_invalid(a, intent):
    """Reason for which the broker cannot send `intent`, or 0."""
    if intent.asset < 0 or intent.asset >= a.ledger.size:
        return _UNKNOWN_ASSET
    if intent.kind == _NEW or intent.kind == _MODIFY:
        contract = a.contracts[intent.asset]
        if not intent.qty > 0:
            return _NOT_POSITIVE_QTY
        if off_grid(intent.qty, contract.lot_size):
            return _OFF_LOT
        if not math.isfinite(intent.px):
            return _NO_MARKET
        if off_grid(intent.px, contract.tick_size):
            return _OFF_TICK
        ticks = round(intent.px / contract.tick_size)
        if ticks < contract.low_ticks or ticks > contract.high_ticks:
            return _OUTSIDE_PRICE_RANGE
        if intent.kind == _NEW:
            return _TOO_MANY_ORDERS if a.clock[0].open_orders >= MAX_OPEN_ORDERS else 0
    elif intent.kind != _CANCEL:
        return _UNKNOWN_KIND
    index = find_open(a, intent.order_id)
    if index < 0:
        return _UNKNOWN_ORDER
    order = a.open_orders[index]
    if order.request != 0:
        return _REQUEST_IN_FLIGHT
    if intent.kind == _MODIFY and a.contracts[order.asset].sweeps:
        return _NOT_MODIFIABLE  # its answer would hide a partial fill of the same instant
    return _QTY_NOT_MODIFIABLE if intent.kind == _MODIFY and not keeps_qty(a, order, intent) else 0


@kernel
def keeps_qty(a, order, intent):
    """Whether the engine executes what a modify asks for: it goes on with the old quantity but for a plain cut."""
    contract = a.contracts[order.asset]
    change = intent.qty - order.leaves_qty
    cut = change < 0 and round(intent.px / contract.tick_size) == round(order.px / contract.tick_size)
    return cut or abs(change) < 0.5 * contract.lot_size


@kernel
def log_refusal(a, intent, reason, rule, value, limit):
    """Write a row to the refusals; `value` and `limit` are the rule's."""
    clock = a.clock[0]
    row = a.refusals[clock.refusals]
    clock.refusals += 1
    row.local_ts, row.asset, row.order_id = clock.now_ts, intent.asset, intent.order_id
    row.signal_id, row.kind, row.side, row.tag = intent.signal_id, intent.kind, intent.side, intent.tag
    row.reason, row.rule, row.px, row.qty = reason, rule, intent.px, intent.qty
    row.value, row.limit = value, limit


@kernel
def log_order(a, order, event, exch_ts):
    """Write a row to the orders."""
    clock = a.clock[0]
    row = a.orders[clock.orders]
    clock.orders += 1
    row.local_ts, row.exch_ts = clock.now_ts, exch_ts
    row.order_id, row.signal_id = order.order_id, order.signal_id
    row.asset, row.event, row.side, row.order_type = order.asset, event, order.side, order.order_type
    row.time_in_force, row.tag, row.px = order.time_in_force, order.tag, order.px
    row.qty, row.leaves_qty = order.qty, order.leaves_qty
    row.queue_ahead_qty = math.nan


@kernel
def log_resting(engine, is_roi, a, order, event, exch_ts):
    """Write a row to the orders, with the queue that our book shows in front of the order."""
    depth = _native.depth_address(engine, is_roi, order.asset)
    ticks = round(order.px / a.contracts[order.asset].tick_size)
    log_order(a, order, event, exch_ts)
    a.orders[a.clock[0].orders - 1].queue_ahead_qty = shown_qty(
        depth, is_roi, a.clock[0].seen_levels, order.side, ticks
    )


@kernel
def submit(engine, is_roi, a, intent):
    """Send a new order; returns the engine's code."""
    asset, order_id, px = intent.asset, intent.order_id, intent.px
    qty = intent.qty - a.contracts[asset].slack_qty
    tif, kind = intent.time_in_force, intent.order_type
    if intent.side > 0:
        return _native.submit_buy(engine, is_roi, asset, order_id, px, qty, tif, kind, 0)
    return _native.submit_sell(engine, is_roi, asset, order_id, px, qty, tif, kind, 0)


@kernel
def send(engine, is_roi, a, intent):
    """Send an approved and valid intent; returns the engine's code."""
    clock = a.clock[0]
    if intent.kind == _NEW:
        order = a.open_orders[clock.open_orders]
        clock.open_orders += 1
        order.order_id, order.signal_id, order.asset = intent.order_id, intent.signal_id, intent.asset
        order.side, order.tag, order.accepted, order.request = intent.side, intent.tag, 0, _NEW
        order.order_type, order.time_in_force = intent.order_type, intent.time_in_force
        order.sent_ts = clock.now_ts
        order.px, order.qty, order.leaves_qty = intent.px, intent.qty, intent.qty
        order.new_px, order.new_qty = 0.0, 0.0
        log_order(a, order, _SUBMITTED, 0)
        recount(a, intent.asset)
        return submit(engine, is_roi, a, intent)
    order = a.open_orders[find_open(a, intent.order_id)]
    order.request = intent.kind
    if intent.kind == _CANCEL:
        log_order(a, order, _CANCEL_REQUESTED, 0)
        return _native.cancel(engine, is_roi, intent.asset, intent.order_id, 0)
    order.new_px, order.new_qty = intent.px, intent.qty
    log_order(a, order, _MODIFY_REQUESTED, 0)
    recount(a, intent.asset)
    qty = intent.qty - a.contracts[intent.asset].slack_qty
    return _native.modify(engine, is_roi, intent.asset, intent.order_id, intent.px, qty, 0)


@kernel
def log_fill(a, order, px, qty, maker, exch_ts):
    """Write a fill's row; `book_fill_row` completes it."""
    clock = a.clock[0]
    row = a.fills[clock.fills]
    clock.fills += 1
    row.local_ts, row.exch_ts = clock.now_ts, exch_ts
    row.order_id, row.signal_id = order.order_id, order.signal_id
    row.asset, row.side, row.tag, row.maker = order.asset, order.side, order.tag, maker
    row.px, row.qty = px, qty


@kernel
def traded_volume(a, now_ts):
    """Value traded over the last days, quote currency; forgets what is older."""
    clock, day = a.clock[0], now_ts // _NS_PER_DAY
    if clock.volume_day == 0:
        clock.volume_day = day
    for passed in range(1, min(day - clock.volume_day, a.volume.size) + 1):
        a.volume[(clock.volume_day + passed) % a.volume.size] = 0.0
    clock.volume_day = max(day, clock.volume_day)
    return a.volume.sum()


@kernel
def book_fill_row(a, row, slippage_bps):
    """Book a fill that `log_fill` wrote, at a price worse by `slippage_bps`, and complete its row."""
    clock, contract, books = a.clock[0], a.contracts[row.asset], a.ledger[row.asset]
    if slippage_bps != 0:
        row.px *= 1 + row.side * slippage_bps * 1e-4
    tiers, place = a.tiers[row.asset], 0
    if tiers.size > 1:
        place = tier_of(tiers, traded_volume(a, row.local_ts))
        notional = row.qty * contract.contract_size * (1.0 if contract.inverse else row.px)
        a.volume[clock.volume_day % a.volume.size] += notional
    if books.mark_px == 0:
        books.mark_px = row.px  # until there is a mid
    before_qty = books.position_qty
    fee = fill_fee(contract, tiers[place], row.px, row.qty, row.maker)
    realised = book_fill(books, contract, row.side, row.px, row.qty, fee)
    lost = note_exit(books, before_qty, realised, fee, row.local_ts)
    if lost != 0:
        clock.losing_exits = clock.losing_exits + 1 if lost > 0 else 0
    row.slippage_bps, row.fee = slippage_bps, fee
    row.position_qty, row.realised_pnl = books.position_qty, realised


@kernel
def log_sweep(a, order, seen, filled_qty):
    """Write the rows of a taker that an exchange filled level by level; returns 0, or a `Fault`."""
    contract, lot_size = a.contracts[order.asset], a.contracts[order.asset].lot_size
    last_ticks, exch_ts = seen.exec_price_tick, seen.exch_timestamp
    last_qty = whole_lots(contract, seen.exec_qty + (contract.slack_qty if seen.status == _S_FILLED else 0.0))
    if not last_qty > 0:
        return _PART_OF_A_LOT
    rest_qty = filled_qty
    if filled_qty - last_qty > 0.5 * lot_size:
        if a.clock[0].fills + MAX_OPEN_ORDERS + MAX_SWEPT_LEVELS > a.fills.size:
            return _TOO_MANY_FILLS
        follow_exchange(a, order.asset, exch_ts)
        ticks = first_swept(a, order, last_ticks, filled_qty - last_qty)
        if ticks == 0 and order.side < 0 and order.time_in_force == _GTC:
            # What a seller's limit leaves is filled there apart from the level; a buyer's is one with it.
            at_limit_qty = a.exch_qty[level_place(a, order.asset, True, last_ticks)]
            ticks = first_swept(a, order, last_ticks, filled_qty - last_qty - at_limit_qty)
        if ticks == 0:
            return _SWEEP_NOT_EXPLAINED
        while ticks != last_ticks:
            qty = a.exch_qty[level_place(a, order.asset, order.side < 0, ticks)]
            if qty > 0:
                qty = round(qty / lot_size) * lot_size
                log_fill(a, order, ticks * contract.tick_size, qty, 0, exch_ts)
                rest_qty -= qty
            ticks += order.side
    log_fill(a, order, last_ticks * contract.tick_size, round(rest_qty / lot_size) * lot_size, 0, exch_ts)
    return 0


@kernel
def filled_since(contract, order, seen):
    """What has been filled since the last update of `order`, base units; NaN if that is no whole number of lots."""
    if seen.status == _S_EXPIRED and seen.exec_qty == 0:
        return 0.0  # a book that is cleared expires what rests in it, and reports nothing left
    if not contract.sweeps:
        return order.leaves_qty if seen.status == _S_FILLED else order.leaves_qty - seen.leaves_qty
    if seen.status == _S_FILLED:  # to the engine, less than half a lot is nothing left
        rest = whole_lots(contract, seen.leaves_qty)
        return order.leaves_qty if rest == 0 else math.nan
    return whole_lots(contract, order.leaves_qty - contract.slack_qty - seen.leaves_qty)


@kernel
def apply_fill(a, order, seen, sweeps):
    """Log what has been filled of `order` since its last update; returns 0, or a `Fault`.

    `sweeps` is None where no exchange fills level by level: the code for that is left out then.
    """
    contract = a.contracts[order.asset]
    filled = filled_since(contract, order, seen)
    if math.isnan(filled):
        return _PART_OF_A_LOT
    if filled <= 0.5 * contract.lot_size:
        return 0
    ticks = seen.exec_price_tick
    if ticks < contract.low_ticks or ticks > contract.high_ticks:
        return _SWEEP_NOT_EXPLAINED if contract.sweeps else _FILL_WITHOUT_PRICE
    order.leaves_qty = 0.0 if seen.status == _S_FILLED else order.leaves_qty - filled
    if seen.status == _S_FILLED:
        a.ledger[order.asset].engine_qty += order.side * seen.exec_qty
    log_order(a, order, _FILLED if seen.status == _S_FILLED else _PARTIALLY_FILLED, seen.exch_timestamp)
    if sweeps is not None and contract.sweeps and not seen.maker:
        return log_sweep(a, order, seen, filled)
    log_fill(a, order, ticks * contract.tick_size, filled, 1 if seen.maker else 0, seen.exch_timestamp)
    return 0


@kernel
def apply_answer(engine, is_roi, a, order, seen):
    """Bring a working order up to the exchange's answer to a new or modify request."""
    contract = a.contracts[order.asset]
    if order.request == _NEW and seen.req == 0:
        order.request, order.accepted = 0, 1
        if seen.status != _S_FILLED and seen.status != _S_EXPIRED and seen.status != _S_REJECTED:
            log_resting(engine, is_roi, a, order, _ACCEPTED, seen.exch_timestamp)
    elif order.request == _MODIFY and seen.req == 0:
        changed = (
            round(order.new_px / contract.tick_size) == seen.price_tick
            and abs(order.new_qty - seen.qty) < 0.5 * contract.lot_size
        )
        order.request = 0
        if changed:
            order.px, order.qty, order.leaves_qty = order.new_px, order.new_qty, order.new_qty
            log_resting(engine, is_roi, a, order, _MODIFIED, seen.exch_timestamp)
        else:
            log_order(a, order, _REQUEST_REJECTED, seen.exch_timestamp)


@kernel
def apply_update(engine, is_roi, a, order, seen, sweeps):
    """Bring a working order up to what the engine says of it.

    Parameters
    ----------
    order : OPEN_ORDER record
        Ours.
    seen : ORDER_VIEW record
        The engine's.

    Returns
    -------
    int
        1 if the order is finished, 0 if it goes on, a `Fault` if its fill cannot be booked.
    """
    apply_answer(engine, is_roi, a, order, seen)
    fault = apply_fill(a, order, seen, sweeps)
    if fault != 0:
        a.clock[0].fault_order_id = order.order_id
        return fault
    if seen.status == _S_FILLED:
        return 1
    if seen.status == _S_CANCELED:
        log_order(a, order, _CANCELLED, seen.exch_timestamp)
        return 1
    if seen.status == _S_EXPIRED or seen.status == _S_REJECTED:
        # What never reached the exchange was rejected on the way.
        rejected = seen.status == _S_REJECTED or seen.exch_timestamp == 0
        log_order(a, order, _REJECTED if rejected else _EXPIRED, seen.exch_timestamp)
        return 1
    if order.request == _CANCEL and seen.req == 0:
        order.request = 0
        log_order(a, order, _REQUEST_REJECTED, seen.exch_timestamp)
    return 0


@kernel
def collect_updates(engine, is_roi, a, sweeps):
    """Apply all order updates that have reached us; returns 0, or a `Fault`."""
    clock = a.clock[0]
    kept = 0
    count = clock.open_orders
    finished = False
    for index in range(count):
        order = a.open_orders[index]
        orders = _native.orders_address(engine, is_roi, order.asset)
        address = _native.order_address(orders, order.order_id)
        if address == 0:
            clock.fault_order_id = order.order_id
            return _ORDER_LOST
        seen = carray(as_pointer(address), 1, ORDER_VIEW)[0]
        outcome = apply_update(engine, is_roi, a, order, seen, sweeps)
        if outcome < 0:
            return outcome
        if outcome == 1:
            finished = True
        else:
            if kept != index:
                a.open_orders[kept] = a.open_orders[index]
            kept += 1
    clock.open_orders = kept
    for asset in range(a.ledger.size):
        recount(a, asset)
        if finished:
            _native.clear_inactive_orders(engine, is_roi, asset)
    return 0


@kernel
def answered_now(engine, is_roi, a):
    """Whether an order response arrived at this instant: a feed at the same time hides it in the return code."""
    times = a.scratch.ctypes.data
    for asset in range(a.ledger.size):
        known = _native.order_latency(engine, is_roi, asset, times, times + 8, times + 16)
        if known != 0 and a.scratch[2] == a.clock[0].now_ts:
            return True
    return False
