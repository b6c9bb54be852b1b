"""The book as orders: messages act on the orders that they name, and rows of the book say what was not seen.

LOBSTER's messages are those that act on the best levels of the file. What happens to a level while it is further
away is not in the file, so each row is compared with the orders: where the row has more at a level, the rest is
added as a synthetic order at its end; where it has less, orders are cut from its end. After each message the sums
over orders are therefore the row's; what cannot be known is which orders the difference was, and in which order
they queue.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_plugins.data.lobster._kernels import (
    ASKS,
    BIDS,
    BUY,
    SELL,
    count_drop,
    follow_phase,
    is_covered,
    is_print,
    put,
    put_trade,
    read_pair,
    reason_of,
)

ORDER = np.dtype(
    [("order_id", "i8"), ("side", "i8"), ("key", "i8"), ("qty", "i8"), ("before", "i8"), ("after", "i8")]
)
"""An order that rests; ``before`` and ``after`` are its neighbours in the queue of its level, 0 for none.

Order 0 is no order. Free places are linked by ``after``, the first is ``free_order`` of the state.
"""

FIRST_SYNTHETIC_ID = 1 << 62
"""Numbers of synthetic orders start here; LOBSTER's have at most 18 digits."""

_CLEAR, _ADD, _CANCEL, _MODIFY, _FILL = 3, 10, 11, 12, 13


def new_orders(n_capacity: int) -> tuple[Any, Any]:
    """Room for `n_capacity` orders, and the table in which they are found by their numbers."""
    return np.zeros(n_capacity, ORDER), np.zeros(4 * n_capacity, np.int64)


def grow_orders(orders: Any) -> tuple[Any, Any]:
    """The same orders, with room for twice as many."""
    more, slots = new_orders(2 * len(orders))
    more[: len(orders)] = orders
    fill_slots(more, slots)
    return more, slots


@kernel
def _slot_of(orders: Any, slots: Any, order_id: int) -> int:
    """Where the number is in the table, or would be.

    The table's size is a power of two, and numbers are given out in turn: their last bits spread them well.
    """
    mask = len(slots) - 1
    slot = order_id & mask
    while slots[slot] and orders[slots[slot]]["order_id"] != order_id:
        slot = (slot + 1) & mask
    return slot


@cached_kernel
def fill_slots(orders: Any, slots: Any) -> None:
    """Put all orders that rest into an empty table."""
    for i in range(1, len(orders)):
        if orders[i]["qty"] > 0:
            slots[_slot_of(orders, slots, orders[i]["order_id"])] = i


@kernel
def _forget(orders: Any, slots: Any, order_id: int) -> None:
    """Take a number out of the table, and move up those that were displaced by it."""
    mask = len(slots) - 1
    gap = _slot_of(orders, slots, order_id)
    slots[gap] = 0
    slot = (gap + 1) & mask
    while slots[slot]:
        moved = slots[slot]
        slots[slot] = 0
        slots[_slot_of(orders, slots, orders[moved]["order_id"])] = moved
        slot = (slot + 1) & mask


@kernel
def _level_place(book: Any, side: int, key: int) -> int:
    """Index of the level at `key`, or of the one that it would come after, of those held; the best is last."""
    i = book[1][side] - 1
    while i >= 0 and book[0][side, i]["key"] < key:
        i -= 1
    return i


@kernel
def _open_level(book: Any, side: int, key: int) -> int:
    """Index of the level at `key`, which is made if there is none."""
    levels, held = book[0], book[1]
    i = _level_place(book, side, key)
    if i >= 0 and levels[side, i]["key"] == key:
        return i
    i += 1
    for j in range(held[side], i, -1):
        levels[side, j] = levels[side, j - 1]
    held[side] += 1
    level = levels[side, i]
    level["key"] = key
    level["qty"] = level["head"] = level["tail"] = 0
    level["line"] = -1
    return i


@kernel
def _close_level(book: Any, side: int, i: int) -> None:
    levels, held = book[0], book[1]
    held[side] -= 1
    for j in range(i, held[side]):
        levels[side, j] = levels[side, j + 1]


@kernel
def _put_order(rows: Any, state: Any, kind: int, order: Any, qty: int) -> None:
    """Append a row about an order, unless the book is withheld."""
    if state["closed"] and state["withhold"]:
        return
    if order["side"] == BIDS:
        put(rows, state, kind | BUY, -order["key"], qty)
    else:
        put(rows, state, kind | SELL, order["key"], qty)
    rows[state["n_rows"] - 1]["order_id"] = np.uint64(order["order_id"])


@kernel
def _append(book: Any, side: int, key: int, order_and_qty: tuple[int, int], rows: Any, state: Any) -> None:
    """Add an order at the end of its level's queue."""
    levels, _, orders, slots = book
    order_id, qty = order_and_qty
    i = state["free_order"]
    if i:
        state["free_order"] = orders[i]["after"]
    else:
        i = state["unused_order"]
        state["unused_order"] += 1
    state["n_orders"] += 1
    slots[_slot_of(orders, slots, order_id)] = i
    level = levels[side, _open_level(book, side, key)]
    order = orders[i]
    order["order_id"], order["side"], order["key"], order["qty"] = (order_id, side, key, qty)
    order["before"], order["after"] = level["tail"], 0
    if level["tail"]:
        orders[level["tail"]]["after"] = i
    else:
        level["head"] = i
    level["tail"] = i
    level["qty"] += qty
    _put_order(rows, state, _ADD, order, qty)


@kernel
def _append_synthetic(book: Any, side: int, key: int, qty: int, rows: Any, state: Any) -> None:
    order_id = FIRST_SYNTHETIC_ID + state["synthetic"]
    state["synthetic"] += 1
    if state["fresh"]:
        state["synthetic_at_start"] += 1
    _append(book, side, key, (order_id, qty), rows, state)


@kernel
def _reduce(book: Any, i: int, qty: int, rows: Any, state: Any) -> None:
    """Take up to `qty` from an order; it goes when nothing is left, and its level with the last order."""
    levels, _, orders, slots = book
    order = orders[i]
    side = order["side"]
    level_index = _level_place(book, side, order["key"])
    level = levels[side, level_index]
    if qty < order["qty"]:
        order["qty"] -= qty
        level["qty"] -= qty
        _put_order(rows, state, _MODIFY, order, order["qty"])
        return
    _put_order(rows, state, _CANCEL, order, order["qty"])
    level["qty"] -= order["qty"]
    order["qty"] = 0
    if order["before"]:
        orders[order["before"]]["after"] = order["after"]
    else:
        level["head"] = order["after"]
    if order["after"]:
        orders[order["after"]]["before"] = order["before"]
    else:
        level["tail"] = order["before"]
    if not level["head"]:
        _close_level(book, side, level_index)
    _forget(orders, slots, order["order_id"])
    order["after"] = state["free_order"]
    state["free_order"] = i
    state["n_orders"] -= 1


@kernel
def _place_of(state: Any) -> tuple[int, int]:
    """Side and key of the order that the message is about."""
    if state["direction"] == 1:
        return BIDS, -state["units"]
    return ASKS, state["units"]


@kernel
def _order_of(book: Any, state: Any) -> int:
    """The order that the message names, else one at its price; 0 if there is none.

    That is the first synthetic one that is large enough, or what an execution takes: the front of the queue.
    """
    levels, _, orders, slots = book
    side, key = _place_of(state)
    i = slots[_slot_of(orders, slots, state["order_id"])]
    if i:
        return i if orders[i]["side"] == side and orders[i]["key"] == key else 0
    place = _level_place(book, side, key)
    if place < 0 or levels[side, place]["key"] != key:
        return 0
    front = levels[side, place]["head"]
    i = front
    while i and (orders[i]["order_id"] < FIRST_SYNTHETIC_ID or orders[i]["qty"] < state["qty"]):
        i = orders[i]["after"]
    if not i and state["kind"] == 4:
        i = front
    if i:
        state["matched_by_price"] += 1
    return i


@kernel
def _act(book: Any, rows: Any, drops: Any, state: Any) -> None:
    """Let a reduction, deletion or execution act on its order."""
    i = _order_of(book, state)
    if not i:
        count_drop(drops, 4, state["line"])
        return
    order = book[2][i]
    qty = state["qty"]
    if state["kind"] == 4:
        _put_order(rows, state, _FILL, order, min(qty, order["qty"]))
    elif state["kind"] == 3 and order["order_id"] < FIRST_SYNTHETIC_ID:
        qty = order["qty"]
    _reduce(book, i, qty, rows, state)


@kernel
def _cut_level(book: Any, side: int, place: int, qty: int, rows: Any, state: Any) -> None:
    """Take `qty` from the end of a level's queue."""
    orders = book[2]
    left = min(qty, book[0][side, place]["qty"])
    while left > 0:
        i = book[0][side, place]["tail"]
        taken = min(left, orders[i]["qty"])
        left -= taken
        state["cut_orders"] += 1
        _reduce(book, i, taken, rows, state)


@kernel
def _remove_gone(book: Any, side: int, quotes: Any, rows: Any, state: Any) -> None:
    """Cut the levels that the row of the book would show and does not."""
    levels, held = book[0], book[1]
    place = held[side] - 1
    n = 0
    while place >= 0:
        level = levels[side, place]
        if not is_covered(level["key"], quotes, state):
            break
        while n < len(quotes) and quotes[n, 0] < level["key"]:
            n += 1
        if n == len(quotes) or quotes[n, 0] != level["key"]:
            if level["line"] == state["line"] - 1 and not state["remove_beyond"]:
                state["repairs_in_book"] += 1
            _cut_level(book, side, place, level["qty"], rows, state)
        place -= 1


@kernel
def _set_levels(book: Any, side: int, quotes: Any, rows: Any, state: Any) -> None:
    """Make the sums over orders those of the row; an order that the message adds comes last."""
    added_side, added_key = _place_of(state)
    for n in range(len(quotes)):
        key, target = quotes[n, 0], quotes[n, 1]
        is_added = state["is_added"] and side == added_side and key == added_key
        if is_added:
            target -= state["qty"]
        place = _level_place(book, side, key)
        found = place >= 0 and book[0][side, place]["key"] == key
        held_qty = book[0][side, place]["qty"] if found else 0
        if found and held_qty != target and book[0][side, place]["line"] == state["line"] - 1:
            state["repairs_in_book"] += 1
        if held_qty < target:
            _append_synthetic(book, side, key, target - held_qty, rows, state)
        elif held_qty > target:
            _cut_level(book, side, place, held_qty - target, rows, state)
        if is_added:
            _append(book, side, key, (state["order_id"], state["qty"]), rows, state)
        book[0][side, _level_place(book, side, key)]["line"] = state["line"]


@kernel
def _is_showable(book: Any, sides: Any, drops: Any, state: Any) -> bool:
    """Whether a submitted order can be in the book; what speaks against it is counted."""
    orders, slots = book[2], book[3]
    if slots[_slot_of(orders, slots, state["order_id"])]:
        count_drop(drops, 5, state["line"])
        return False
    side, key = _place_of(state)
    quotes = sides[side]
    if not is_covered(key, quotes, state):
        return True
    for n in range(len(quotes)):
        if quotes[n, 0] == key and quotes[n, 1] >= state["qty"]:
            return True
    count_drop(drops, 6, state["line"])
    return False


@kernel
def _follow_book(book: Any, sides: Any, rows: Any, state: Any) -> None:
    """Make the book the row's, with the order that the message adds; what goes is put before what comes."""
    for side in (BIDS, ASKS):
        _remove_gone(book, side, sides[side], rows, state)
    for side in (BIDS, ASKS):
        _set_levels(book, side, sides[side], rows, state)
    side, key = _place_of(state)
    if state["is_added"] and not is_covered(key, sides[side], state):
        _append(book, side, key, (state["order_id"], state["qty"]), rows, state)
    state["fresh"] = 0


@kernel
def _show_orders(book: Any, rows: Any, state: Any) -> None:
    """Add all orders anew, the best level first, each level in the order of its queue."""
    levels, held, orders, _ = book
    for side in (BIDS, ASKS):
        for place in range(held[side] - 1, -1, -1):
            i = levels[side, place]["head"]
            while i:
                _put_order(rows, state, _ADD, orders[i], orders[i]["qty"])
                i = orders[i]["after"]


@kernel
def _take_pair(book: Any, sides: Any, rows: Any, drops: Any, state: Any) -> int:
    """Put the rows of one message and its row of the book; return 1 or -1 where a phase begins or ends."""
    n_before = state["n_rows"]
    n_drops = drops[4, 0] + drops[5, 0] + drops[6, 0]
    kind = state["kind"]
    phase = follow_phase(state)
    if phase == -1 and state["withhold"]:
        _show_orders(book, rows, state)
    hidden = state["closed"] and state["withhold"]
    if phase == 1 and hidden:
        put(rows, state, _CLEAR, 0, 0)
    if is_print(state, hidden):
        put_trade(rows, state)
    state["is_added"] = kind == 1 and _is_showable(book, sides, drops, state)
    if 2 <= kind <= 4:
        _act(book, rows, drops, state)
    _follow_book(book, sides, rows, state)
    if state["n_rows"] == n_before and n_drops == drops[4, 0] + drops[5, 0] + drops[6, 0]:
        count_drop(drops, reason_of(state, hidden), state["line"])
    return phase


@cached_kernel
def scan_orders(texts: Any, book: Any, rows: Any, drops: Any, state_array: Any) -> int:
    """Turn pairs of lines into rows of orders until either text ends or something needs attention.

    As `_kernels.scan_levels`, but for `book`: levels, how many are held of each side, ORDER array of shape
    (n_capacity,), int64 array of shape (4 * n_capacity,) with the place of each order by its number.
    """
    state = state_array[0]
    n_levels = state["n_levels"]
    quotes = np.zeros((2, n_levels, 2), np.int64)
    n_quotes = np.zeros(2, np.int64)
    while state["message_pos"] < state["message_end"] and state["book_pos"] < state["book_end"]:
        if max(book[1][BIDS], book[1][ASKS]) + n_levels >= book[0].shape[1]:
            return 2
        if state["n_orders"] + 2 * n_levels + 2 > len(book[2]):
            return 2
        if state["n_rows"] + 2 * state["n_orders"] + 4 * n_levels + 8 > len(rows):
            return 1
        status = read_pair(texts, quotes, n_quotes, state)
        if status != 0:
            return status
        sides = (quotes[BIDS, : n_quotes[BIDS]], quotes[ASKS, : n_quotes[ASKS]])
        if _take_pair(book, sides, rows, drops, state) != 0:
            return 3
    return 0


@cached_kernel
def take_orders_away(book: Any, rows: Any, state_array: Any) -> None:
    """Put a row that clears the book, at the time of the last message, and forget all orders."""
    state = state_array[0]
    _, held, orders, slots = book
    put(rows, state, _CLEAR, 0, 0)
    held[:] = 0
    slots[:] = 0
    for i in range(len(orders)):
        orders[i]["qty"] = 0
    state["n_orders"] = state["free_order"] = 0
    state["unused_order"] = state["fresh"] = 1
