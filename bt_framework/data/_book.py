"""A book of price levels in ticks, and the orders that make one: kernels.

Each side is a table of `SLOTS` ticks addressed by ``tick % SLOTS``: of two levels further apart than that, the nearer
one stays. Two touches are kept: `RAW` is the best of all levels, which may be crossed; `ENGINE` is what hftbacktest
shows, where the latest level wins and the other side's crossed ones are passed over. `COUNT` is the number of levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

SLOTS = 1 << 18
PER_GROUP = 64
NONE = -(1 << 63)
"""No such tick, time or index."""

ENGINE, RAW, COUNT = 0, 1, 2
BID, ASK = 0, 1


@kernel
def find_level(tags: Any, groups: Any, side: int, tick: Any, away: int) -> Any:
    """First filled tick at or after `tick` in the direction `away`, or `NONE`."""
    seen = 0
    while seen < SLOTS:
        slot = tick & (SLOTS - 1)
        step = 1
        if groups[side, slot // PER_GROUP] == 0:
            inside = slot & (PER_GROUP - 1)
            step = PER_GROUP - inside if away > 0 else inside + 1
        elif tags[side, slot] == tick:
            return tick
        tick += away * step
        seen += step
    return NONE


@kernel
def fill_level(best: Any, tags: Any, groups: Any, side: int, tick: Any) -> None:
    """A level has size: enter it, and move both touches."""
    away = 1 if side == ASK else -1
    slot = tick & (SLOTS - 1)
    held = tags[side, slot]
    if held == NONE:
        groups[side, slot // PER_GROUP] += 1
        best[COUNT, side] += 1
        tags[side, slot] = tick
    elif held != tick:
        reference = best[ENGINE, side]
        if reference == NONE or abs(tick - reference) < abs(held - reference):
            tags[side, slot] = tick
    for view in (ENGINE, RAW):
        if best[view, side] == NONE or (best[view, side] - tick) * away > 0:
            best[view, side] = tick
    other = 1 - side
    if best[ENGINE, other] != NONE and (best[ENGINE, other] - best[ENGINE, side]) * away >= 0:
        best[ENGINE, other] = find_level(tags, groups, other, best[ENGINE, side] - away, -away)


@kernel
def empty_level(best: Any, tags: Any, groups: Any, side: int, tick: Any) -> None:
    """A level has no size any more: take it out, and move the touches that it was."""
    away = 1 if side == ASK else -1
    slot = tick & (SLOTS - 1)
    if tags[side, slot] == tick:
        tags[side, slot] = NONE
        groups[side, slot // PER_GROUP] -= 1
        best[COUNT, side] -= 1
    for view in (ENGINE, RAW):
        if best[view, side] == tick:
            empty = best[COUNT, side] == 0
            best[view, side] = NONE if empty else find_level(tags, groups, side, tick + away, away)


@kernel
def clear_side(best: Any, tags: Any, groups: Any, side: int, limit: Any) -> None:
    """Take out the levels from the best to `limit`, or all of them if that is `NONE`."""
    away = 1 if side == ASK else -1
    while best[RAW, side] != NONE and (limit == NONE or (limit - best[RAW, side]) * away >= 0):
        empty_level(best, tags, groups, side, best[RAW, side])


@kernel
def reset_book(book: Any) -> None:
    """Take everything out of the book."""
    best, tags, groups, counts = book
    best[:, :] = NONE
    best[COUNT, :] = 0
    tags[:, :] = NONE
    groups[:, :] = 0
    counts[:, :] = 0


ORDER = np.dtype([("id", "i8"), ("px", "f8"), ("tick", "i8"), ("side", "i8"), ("live", "i8")])
"""A live order; ``live`` is 0 in a free place of the table."""


@kernel
def order_place(orders: Any, order_id: Any) -> Any:
    """Where an order is in the table (open addressing); ``-1 - place`` of a free place if it is not there."""
    mask = len(orders) - 1
    mixed = (order_id % 2_147_483_629) * 2_654_435
    place = (mixed ^ (mixed >> 20)) & mask
    while orders[place]["live"]:
        if orders[place]["id"] == order_id:
            return place
        place = (place + 1) & mask
    return -1 - place


@kernel
def put_order(orders: Any, place: Any, order_id: Any, side: int, px: float, tick: Any) -> None:
    """Enter an order at a free place."""
    orders[place]["id"] = order_id
    orders[place]["side"] = side
    orders[place]["px"] = px
    orders[place]["tick"] = tick
    orders[place]["live"] = 1


@kernel
def drop_order(orders: Any, place: Any) -> None:
    """Free a place, and move up what collided with it."""
    mask = len(orders) - 1
    free, place = place, (place + 1) & mask
    orders[free]["live"] = 0
    while orders[place]["live"]:
        order_id = orders[place]["id"]
        orders[place]["live"] = 0
        at = -1 - order_place(orders, order_id)
        orders[at] = orders[place]
        orders[at]["live"] = 1
        place = (place + 1) & mask


@kernel
def drop_side(orders: Any, side: int) -> None:
    """Take out all orders of a side."""
    for place in range(len(orders)):
        while orders[place]["live"] and orders[place]["side"] == side:
            drop_order(orders, place)


@kernel
def join_level(book: Any, side: int, tick: Any) -> None:
    """One more order at a level."""
    best, tags, groups, counts = book
    slot = tick & (SLOTS - 1)
    is_new = tags[side, slot] != tick
    fill_level(best, tags, groups, side, tick)
    if tags[side, slot] == tick:
        counts[side, slot] = 1 if is_new else counts[side, slot] + 1


@kernel
def leave_level(book: Any, side: int, tick: Any) -> None:
    """One order less at a level; without any, the level is empty."""
    best, tags, groups, counts = book
    slot = tick & (SLOTS - 1)
    if tags[side, slot] == tick:
        counts[side, slot] -= 1
        if counts[side, slot] <= 0:
            empty_level(best, tags, groups, side, tick)


@cached_kernel
def copy_orders(orders: Any, larger: Any) -> None:
    """Enter all `orders` into an empty, larger table."""
    for i in range(len(orders)):
        if orders[i]["live"]:
            larger[-1 - order_place(larger, orders[i]["id"])] = orders[i]


def with_room(orders: np.ndarray[Any, Any], live: int) -> np.ndarray[Any, Any]:
    """Return a table that is at most half full with so many orders: `orders`, or a larger copy."""
    size = len(orders)
    while size < 2 * live:
        size *= 2
    if size == len(orders):
        return orders
    larger = np.zeros(size, ORDER)
    copy_orders(orders, larger)
    return larger


@cached_kernel
def rebuild_book(orders: Any, book: Any, tick_size: float) -> None:
    """Make the book anew from `orders`, in a tick that has become finer."""
    reset_book(book)
    for i in range(len(orders)):
        if orders[i]["live"]:
            orders[i]["tick"] = np.int64(np.floor(orders[i]["px"] / tick_size + 0.5))
            join_level(book, orders[i]["side"], orders[i]["tick"])
