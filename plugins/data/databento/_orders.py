"""Replay of market-by-order records: the live orders, and the events that they become."""

from __future__ import annotations

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_framework.records import EventKind
from bt_plugins.data.databento._levels import (
    begin_record,
    change,
    drop,
    empty_levels,
    end_packet,
    side_of,
    trade,
    write,
)
from bt_plugins.data.databento._protocol import (
    UNDEFINED_PX,
    UNDEFINED_SIZE,
    Drop,
    Flag,
    Status,
)

_ADD, _CANCEL = int(EventKind.ADD_ORDER), int(EventKind.CANCEL_ORDER)
_MODIFY, _FILL, _CLEAR = int(EventKind.MODIFY_ORDER), int(EventKind.FILL), int(EventKind.DEPTH_CLEAR)
_A, _C, _F, _M, _R, _T = 65, 67, 70, 77, 82, 84  # ord of the action


@kernel
def slot_of(orders, order_id):
    """Slot of `order_id`, or the empty one where it would go; the length of `orders` is a power of two."""
    mask = len(orders) - 1
    i = (order_id ^ (order_id >> 20)) & mask
    while orders[i]["side"] != 0 and orders[i]["order_id"] != order_id:
        i = (i + 1) & mask
    return i


@kernel
def free_slot(orders, i):
    """Empty slot `i`, and move up what would no longer be found behind it."""
    mask = len(orders) - 1
    j = i
    while True:
        j = (j + 1) & mask
        if orders[j]["side"] == 0:
            break
        order_id = orders[j]["order_id"]
        home = (order_id ^ (order_id >> 20)) & mask
        if ((j - home) & mask) >= ((j - i) & mask):
            orders[i] = orders[j]
            i = j
    orders[i]["side"] = 0


@kernel
def write_order(rows, state, kind, order, px, qty):
    """Append an order event, if the book is told in orders."""
    if state["orders"]:
        write(rows, state, kind, order["side"], px, float(qty))
        rows[state["n_rows"] - 1]["order_id"] = np.uint64(order["order_id"])


@kernel
def add(record, side, orders, levels, touched, rows, state):
    """Put a new order at the end of its level's queue."""
    order = orders[slot_of(orders, record["order_id"])]
    state["last_rank"] += 1
    order["order_id"] = record["order_id"]
    order["side"] = side
    order["px"] = record["price"]
    order["qty"] = record["size"]
    order["rank"] = state["last_rank"]
    order["mark"] = state["snapshots"]
    state["n_orders"] += 1
    change(levels, touched, side, order["px"], order["qty"], state)
    write_order(rows, state, _ADD, order, order["px"], order["qty"])


@kernel
def remove(slot, orders, levels, touched, rows, state):
    """Take an order out of the book."""
    order = orders[slot]
    change(levels, touched, order["side"], order["px"], -order["qty"], state)
    write_order(rows, state, _CANCEL, order, order["px"], order["qty"])
    free_slot(orders, slot)
    state["n_orders"] -= 1


@kernel
def modify(order, px, qty, levels, touched, rows, state):
    """Change price or quantity; another price or a larger quantity loses priority."""
    if px != order["px"] or qty > order["qty"]:
        state["last_rank"] += 1
        order["rank"] = state["last_rank"]
    change(levels, touched, order["side"], order["px"], -order["qty"], state)
    change(levels, touched, order["side"], px, qty, state)
    order["px"] = px
    order["qty"] = qty
    write_order(rows, state, _MODIFY, order, px, qty)


@kernel
def set_order(record, number, orders, levels, touched, rows, drops, state):
    """An order as an A or M record has it, whether it is known or not.

    One that a snapshot repeats unchanged keeps its place and makes no event.
    """
    slot = slot_of(orders, record["order_id"])
    known = orders[slot]["side"] != 0
    side = side_of(record["side"])
    if side == 0 and known:
        side = orders[slot]["side"]
    if record["price"] == UNDEFINED_PX:
        drop(drops, Drop.NO_PX, number, state)
    elif record["size"] == UNDEFINED_SIZE or (record["size"] == 0 and not known):
        drop(drops, Drop.NO_SIZE, number, state)
    elif side == 0:
        drop(drops, Drop.NO_SIDE, number, state)
    elif not known:
        add(record, side, orders, levels, touched, rows, state)
    elif record["size"] == 0:
        remove(slot, orders, levels, touched, rows, state)
    elif side != orders[slot]["side"] or (record["action"] == _A and not state["in_snapshot"]):
        remove(slot, orders, levels, touched, rows, state)
        add(record, side, orders, levels, touched, rows, state)
    else:
        order = orders[slot]
        order["mark"] = state["snapshots"]
        qty = np.int64(record["size"])
        if record["price"] != order["px"] or qty != order["qty"]:
            modify(order, record["price"], qty, levels, touched, rows, state)
        else:
            drop(drops, Drop.UNCHANGED, number, state)


@kernel
def cancel(record, number, orders, levels, touched, rows, drops, state):
    """Take the record's size off an order; the rest keeps its priority."""
    slot = slot_of(orders, record["order_id"])
    order = orders[slot]
    if order["side"] == 0:
        drop(drops, Drop.UNKNOWN_CANCEL, number, state)
    elif record["size"] >= order["qty"] or record["size"] == 0:
        remove(slot, orders, levels, touched, rows, state)
    else:
        modify(order, order["px"], order["qty"] - record["size"], levels, touched, rows, state)


@kernel
def fill(record, number, orders, rows, drops, state):
    """A resting order was hit. The book changes with the record that follows."""
    order = orders[slot_of(orders, record["order_id"])]
    if order["side"] == 0:
        drop(drops, Drop.UNKNOWN_FILL, number, state)
    elif not state["orders"]:
        drop(drops, Drop.FILL, number, state)
    elif record["price"] == UNDEFINED_PX:
        drop(drops, Drop.NO_PX, number, state)
    else:
        write_order(rows, state, _FILL, order, record["price"], record["size"])


@kernel
def clear(orders, levels, rows, state):
    """The venue has emptied the book."""
    if state["orders"] and state["n_orders"]:
        write(rows, state, _CLEAR, 0, 0, 0.0)
    for i in range(len(orders)):
        orders[i]["side"] = 0
    state["n_orders"] = 0
    empty_levels(levels, state)


@kernel
def end_snapshot(orders, levels, touched, rows, state):
    """Remove the orders that the snapshot did not have."""
    state["in_snapshot"] = 0
    i = 0
    while i < len(orders):
        if orders[i]["side"] != 0 and orders[i]["mark"] != state["snapshots"]:
            remove(i, orders, levels, touched, rows, state)
        else:
            i += 1


@kernel
def apply(record, number, orders, levels, touched, rows, drops, state):
    """One record's effect on the book, and its rows."""
    action = record["action"]
    if action in (_A, _M):
        set_order(record, number, orders, levels, touched, rows, drops, state)
    elif action == _C:
        cancel(record, number, orders, levels, touched, rows, drops, state)
    elif action == _F:
        fill(record, number, orders, rows, drops, state)
    elif action == _T:
        if record["price"] == UNDEFINED_PX:
            drop(drops, Drop.NO_PX, number, state)
        elif record["size"] == 0 or record["size"] == UNDEFINED_SIZE:
            drop(drops, Drop.NO_SIZE, number, state)
        else:
            trade(record, rows, state)
    elif action == _R:
        if not state["in_snapshot"]:
            clear(orders, levels, rows, state)
    else:
        drop(drops, Drop.UNKNOWN_ACTION, number, state)


@cached_kernel
def replay_orders(records, numbers, orders, levels, touched, rows, phases, drops, states):
    """Replay the records from ``state.pos`` on.

    Parameters
    ----------
    records : array of the library's MBO records, shape (n_records,)
    numbers : int64 array of shape (n_records,)
    orders : ORDER array, its length a power of two and more than the orders that there can be
    levels : LEVEL array of shape (2, capacity)
    touched : int64 array of shape (capacity, 2), side index and key
    rows : EVENT array with room for all that the records may make
    phases : int64 array of shape (MAX_PHASES, 2), ns UTC, exchange time
    drops : DROP array of shape (len(Drop),)
    states : STATE array of shape (1,)

    Returns
    -------
    Status
    """
    state = states[0]
    while state["pos"] < len(records):
        record = records[state["pos"]]
        in_snapshot = 1 if record["flags"] & Flag.SNAPSHOT else 0
        if state["in_snapshot"] and not in_snapshot:
            end_snapshot(orders, levels, touched, rows, state)
            if end_packet(levels, touched, rows, phases, drops, state) == Status.PHASE_ENDED:
                return Status.PHASE_ENDED
        if in_snapshot and not state["in_snapshot"]:
            state["in_snapshot"] = 1
            state["snapshots"] += 1
        begin_record(record, numbers[state["pos"]], state)
        apply(record, numbers[state["pos"]], orders, levels, touched, rows, drops, state)
        state["pos"] += 1
        ends = record["flags"] & Flag.LAST and not in_snapshot
        if ends and end_packet(levels, touched, rows, phases, drops, state) == Status.PHASE_ENDED:
            return Status.PHASE_ENDED
    return Status.DONE


@cached_kernel
def finish_orders(orders, levels, touched, rows, phases, drops, states):
    """End the last packet, with which the data may stop; returns a `Status`."""
    state = states[0]
    if state["in_snapshot"]:
        end_snapshot(orders, levels, touched, rows, state)
    if state["packet_records"] == 0:
        return Status.DONE
    return end_packet(levels, touched, rows, phases, drops, state)


@cached_kernel
def grow_orders(orders, grown):
    """Put the live orders into a larger table."""
    for i in range(len(orders)):
        if orders[i]["side"] != 0:
            grown[slot_of(grown, orders[i]["order_id"])] = orders[i]


@cached_kernel
def tell_orders(orders, ranked, rows, states):
    """Write the live orders, `ranked` slots, as new ones in the order of their priority; returns the rows."""
    state = states[0]
    state["n_rows"] = 0
    for slot in ranked:
        write_order(rows, state, _ADD, orders[slot], orders[slot]["px"], orders[slot]["qty"])
    return state["n_rows"]
