"""Kernels of `bt_framework.data.repair`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bt_framework.data._book import (
    ASK,
    BID,
    COUNT,
    NONE,
    RAW,
    SLOTS,
    clear_side,
    drop_order,
    drop_side,
    empty_level,
    fill_level,
    find_level,
    order_place,
    put_order,
)
from bt_framework.data._watch import judge_px
from bt_framework.jit import cached_kernel, kernel

EXCH, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
DEPTH, TRADE, CLEAR, SNAPSHOT, BBO = 1, 2, 3, 4, 5
ADD, CANCEL, MODIFY, FILL = 10, 11, 12, 13

CHECKS = (
    "invalid values",
    "negative sizes",
    "zero sizes",
    "prices off tick",
    "local time order",
    "exchange time order",
    "negative feed latency",
    "implausible feed latency",
    "trade price spikes",
    "crossed book",
    "unknown order ids",
    "duplicate order ids",
    "missing flags",
)
"""What is repaired, by the doctor's names."""

INVALID, NEGATIVE, ZERO, OFF_TICK, LOCAL_BACK, EXCH_BACK, EARLY, IMPLAUSIBLE, SPIKE = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
)
CROSSED, UNKNOWN_ID, KNOWN_ID, FLAGLESS = 9, 10, 11, 12

FIELDS = ("ev", "exch_ts", "local_ts", "px", "qty", "order_id")
EV, EXCH_TS, LOCAL_TS, PX, QTY, ORDER_ID = 0, 1, 2, 3, 4, 5

ACTIONS = ("changed", "dropped", "withheld", "restored")
CHANGED, DROPPED, WITHHELD, RESTORED = 0, 1, 2, 3

CHANGE = np.dtype(
    [
        ("row", "i8"),
        ("check", "i8"),
        ("field", "i8"),
        ("action", "i8"),
        ("before", "f8"),
        ("after", "f8"),
        ("before_whole", "i8"),
        ("after_whole", "i8"),
    ]
)
"""One change: `before` and `after` of prices and quantities, the ``_whole`` ones of times, ids and flags."""

STATE = np.dtype(
    [
        ("changes", "i8"),
        ("tick_size", "f8"),
        ("timed", "i8"),
        ("ordered", "i8"),
        ("last_exch_ts", "i8"),
        ("last_local_ts", "i8"),
        ("latency_ns", "i8"),
        ("live", "i8"),
        ("order_rows", "i8"),
        ("low_bid", "i8"),
        ("high_ask", "i8"),
    ]
)
"""``timed``: times are repaired; ``ordered``: rows are in the engine's order. ``low_bid``, ``high_ask``: the furthest
levels that are withheld, ticks; `NONE` without any."""

FUTURE_NS = 10_000_000_000
"""A row that happened longer after it was received is dropped; one that took longer to arrive has a wrong clock."""


@kernel
def note(
    s: Any, changes: Any, row: int, check: int, field: int, action: int, before: float, after: float
) -> None:
    """Enter a change of a price or a quantity."""
    change = changes[s.changes]
    change["row"] = row
    change["check"] = check
    change["field"] = field
    change["action"] = action
    change["before"] = before
    change["after"] = after
    s.changes += 1


@kernel
def note_whole(
    s: Any, changes: Any, row: int, check: int, field: int, action: int, before: Any, after: Any
) -> None:
    """Enter a change of a time, an order id or flags."""
    changes[s.changes]["before_whole"] = before
    changes[s.changes]["after_whole"] = after
    note(s, changes, row, check, field, action, 0.0, 0.0)


@kernel
def mend_times(s: Any, row: Any, ev: Any, index: int, changes: Any) -> bool:
    """Make both clocks go forward, and nothing be received before it happened; returns whether the row is kept."""
    exch_ts, local_ts = row["exch_ts"], row["local_ts"]
    both = ev & EXCH and ev & LOCAL
    if both and s.last_exch_ts != NONE and exch_ts < s.last_exch_ts and local_ts - exch_ts <= FUTURE_NS:
        note_whole(s, changes, index, EXCH_BACK, EXCH_TS, CHANGED, exch_ts, s.last_exch_ts)
        exch_ts = s.last_exch_ts
    if exch_ts - local_ts > FUTURE_NS:
        note_whole(s, changes, index, EARLY, EXCH_TS, DROPPED, exch_ts, 0)
        return False
    if s.last_local_ts != NONE and local_ts < s.last_local_ts:
        note_whole(s, changes, index, LOCAL_BACK, LOCAL_TS, CHANGED, local_ts, s.last_local_ts)
        local_ts = s.last_local_ts
    if exch_ts > local_ts:
        note_whole(s, changes, index, EARLY, LOCAL_TS, CHANGED, local_ts, exch_ts)
        local_ts = exch_ts
    if local_ts - exch_ts > FUTURE_NS:
        if s.latency_ns != NONE:
            likely_ts = local_ts - s.latency_ns
            if both and s.last_exch_ts != NONE:
                likely_ts = max(likely_ts, s.last_exch_ts)
            note_whole(s, changes, index, IMPLAUSIBLE, EXCH_TS, CHANGED, exch_ts, likely_ts)
            exch_ts = likely_ts
    else:
        s.latency_ns = local_ts - exch_ts
    row["exch_ts"], row["local_ts"] = exch_ts, local_ts
    s.last_local_ts = local_ts
    if ev & EXCH:
        s.last_exch_ts = exch_ts if s.last_exch_ts == NONE else max(s.last_exch_ts, exch_ts)
    return True


@kernel
def mend_values(s: Any, row: Any, kind: Any, index: int, changes: Any) -> Any:
    """Make price and quantity possible, never better than they were; returns the row's kind, 0 if it is dropped."""
    px, qty = row["px"], row["qty"]
    if kind not in (DEPTH, SNAPSHOT, TRADE, BBO, ADD, MODIFY, FILL):
        return kind
    if not (px > 0.0 and px < math.inf):
        note(s, changes, index, INVALID, PX, DROPPED, px, math.nan)
        return 0
    if not (qty > 0.0 and qty < math.inf) and not (qty == 0.0 and kind in (DEPTH, SNAPSHOT, BBO)):
        check = ZERO if qty == 0.0 else NEGATIVE if qty < 0.0 and qty > -math.inf else INVALID
        if kind == MODIFY:
            note(s, changes, index, check, QTY, CHANGED, qty, 0.0)
            row["qty"] = 0.0
            return CANCEL
        if kind not in (DEPTH, SNAPSHOT):
            note(s, changes, index, check, QTY, DROPPED, qty, math.nan)
            return 0
        note(s, changes, index, check, QTY, CHANGED, qty, 0.0)
        row["qty"] = 0.0
    return kind


@kernel
def mend_tick(s: Any, row: Any, ev: Any, kind: Any, index: int, changes: Any) -> bool:
    """Put a price on the grid, orders away from the touch; levels off it are dropped. Returns whether it is kept."""
    if s.tick_size <= 0.0 or kind not in (DEPTH, SNAPSHOT, TRADE, BBO, ADD, MODIFY, FILL):
        return True
    steps = row["px"] / s.tick_size
    nearest = math.floor(steps + 0.5)
    if abs(steps - nearest) <= 1e-4:
        return True
    if kind in (DEPTH, SNAPSHOT):
        note(s, changes, index, OFF_TICK, PX, DROPPED, row["px"], math.nan)
        return False
    if kind in (ADD, MODIFY):
        nearest = math.floor(steps) if ev & BUY else math.ceil(steps)
    mended = round(nearest * s.tick_size, 10)
    note(s, changes, index, OFF_TICK, PX, CHANGED, row["px"], mended)
    row["px"] = mended
    return bool(mended > 0.0)


@kernel
def follows_orders(s: Any, row: Any, ev: Any, kind: Any, index: int, orders: Any, changes: Any) -> bool:
    """Whether a row is about an order that it can be about."""
    s.order_rows += 1
    order_id = np.int64(row["order_id"])
    place = order_place(orders, order_id)
    if kind == ADD:
        if place >= 0:
            note_whole(s, changes, index, KNOWN_ID, ORDER_ID, DROPPED, order_id, 0)
            return False
        put_order(orders, -1 - place, order_id, BID if ev & BUY else ASK, row["px"], 0)
        s.live += 1
    elif place < 0:
        note_whole(s, changes, index, UNKNOWN_ID, ORDER_ID, DROPPED, order_id, 0)
        return False
    elif kind == CANCEL:
        drop_order(orders, place)
        s.live -= 1
    return True


@kernel
def clear_known(s: Any, ev: Any, orders: Any) -> None:
    """Forget the orders of the side that a row clears, or of both."""
    both = not ev & (BUY | SELL)
    if both or ev & BUY:
        drop_side(orders, BID)
    if both or not ev & BUY:
        drop_side(orders, ASK)
    s.live = 0
    for i in range(len(orders)):
        s.live += orders[i]["live"]


@cached_kernel
def mend_rows(
    rows: Any,
    first_row: int,
    s: Any,
    orders: Any,
    series: Any,
    window: Any,
    out: Any,
    sources: Any,
    changes: Any,
) -> int:
    """Repair what can be told from a row and those before it.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
        In order of arrival, flagged or not.
    first_row : int
        Index of the first row in the whole stream.
    s : record of `STATE`
    orders : `bt_framework.data._book.ORDER` array, at most half full after these rows
    series, window : a record and float64 array of shape (WINDOW,), see `bt_framework.data._watch.judge_px`
        Trade prices.
    out : EVENT array of shape (n_rows,)
        Rows that are kept, with kind and side only.
    sources : int64 array of shape (n_rows,)
        Their indices in the whole stream.
    changes : CHANGE array of shape (at least 6 n_rows,)

    Returns
    -------
    int
        Rows in `out`.
    """
    n_out = 0
    for i in range(len(rows)):
        ev = np.int64(rows[i]["ev"])
        kind = ev & 0xFF
        if s.ordered and ev & EXCH and not ev & LOCAL:
            exch_ts = rows[i]["exch_ts"]
            s.last_exch_ts = exch_ts if s.last_exch_ts == NONE else max(s.last_exch_ts, exch_ts)
            continue
        index = first_row + i
        row = out[n_out]
        out[n_out] = rows[i]
        if s.ordered and not ev & (EXCH | LOCAL):
            note_whole(s, changes, index, FLAGLESS, EV, CHANGED, ev, ev | EXCH | LOCAL)
            ev |= EXCH | LOCAL
        if s.timed and not mend_times(s, row, ev, index, changes):
            continue
        kind = mend_values(s, row, kind, index, changes)
        if kind == 0 or not mend_tick(s, row, ev, kind, index, changes):
            continue
        if kind >= ADD and not follows_orders(s, row, ev, kind, index, orders, changes):
            continue
        if kind == CLEAR and s.live:
            clear_known(s, ev, orders)
        if kind == TRADE:
            judge_px(series, window, row["px"], s.tick_size, index)
            if series["odd_index"] == index:
                note(s, changes, index, SPIKE, PX, DROPPED, row["px"], math.nan)
                continue
        row["ev"] = np.uint64(ev & (BUY | SELL) | kind)
        sources[n_out] = index
        n_out += 1
    return n_out


@kernel
def is_level(kind: Any) -> bool:
    """Whether a row sets the quantity of a level."""
    return bool(kind in (DEPTH, SNAPSHOT))


@kernel
def set_level(book: Any, side: int, tick: Any, px: float, qty: float) -> None:
    """Fill or empty a level of a book."""
    best, tags, groups, qtys, pxs = book
    if qty > 0.0:
        fill_level(best, tags, groups, side, tick)
        if tags[side, tick & (SLOTS - 1)] == tick:
            qtys[side, tick & (SLOTS - 1)] = qty
            pxs[side, tick & (SLOTS - 1)] = px
    else:
        empty_level(best, tags, groups, side, tick)


@kernel
def clear_levels(book: Any, ev: Any, px: float, tick_size: float) -> None:
    """Let a row clear a book's sides."""
    best, tags, groups, _, _ = book
    both = not ev & (BUY | SELL)
    limit: Any = NONE
    if not both and px > 0.0 and px < math.inf:
        limit = np.int64(math.floor(px / tick_size + 0.5))
    if both or ev & BUY:
        clear_side(best, tags, groups, BID, limit)
    if both or not ev & BUY:
        clear_side(best, tags, groups, ASK, limit)


@kernel
def has_level(book: Any, side: int, tick: Any) -> bool:
    """Whether a book has a level."""
    return bool(book[1][side, tick & (SLOTS - 1)] == tick)


@kernel
def overlaps(best: Any, side: int, tick: Any) -> bool:
    """Whether a level of a book is beyond the best of the other side."""
    other = best[RAW, 1 - side]
    return bool(other != NONE and (tick > other if side == BID else tick < other))


@kernel
def add_row(out: Any, n_out: int, like: Any, side: int, px: float, qty: float) -> None:
    """Write a row that sets a level, at the time of another."""
    out[n_out] = like
    out[n_out]["ev"] = np.uint64((BUY if side == BID else SELL) | DEPTH)
    out[n_out]["px"] = px
    out[n_out]["qty"] = qty
    out[n_out]["order_id"] = 0


@kernel
def pass_row(
    s: Any, row: Any, source: int, given: Any, shown: Any, out: Any, n_out: int, changes: Any
) -> Any:
    """Write a row of a batch unless its level is withheld; returns the number of rows written so far."""
    ev = np.int64(row["ev"])
    kind = ev & 0xFF
    if not is_level(kind):
        if kind == CLEAR:
            clear_levels(shown, ev, row["px"], s.tick_size)
        out[n_out] = row
        return n_out + 1
    side = BID if ev & BUY else ASK
    tick = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
    qty = row["qty"]
    if qty > 0.0 and has_level(given, side, tick) and overlaps(given[0], side, tick):
        note(s, changes, source, CROSSED, QTY, WITHHELD, qty, 0.0)
        remember(s, side, tick)
        if not has_level(shown, side, tick):
            return n_out
        qty = 0.0
    set_level(shown, side, tick, row["px"], qty)
    out[n_out] = row
    out[n_out]["qty"] = qty
    return n_out + 1


@kernel
def remember(s: Any, side: int, tick: Any) -> None:
    """Keep how far from the touch levels are withheld."""
    if side == BID:
        s.low_bid = tick if s.low_bid == NONE else min(s.low_bid, tick)
    else:
        s.high_ask = tick if s.high_ask == NONE else max(s.high_ask, tick)


@kernel
def settle_side(
    s: Any, side: int, last: Any, source: int, given: Any, shown: Any, out: Any, n_out: int, changes: Any
) -> Any:
    """Withhold the levels of a side that overlap now, and restore those that do no longer; returns rows written."""
    best, tags, groups, qtys, pxs = given
    away = 1 if side == ASK else -1
    withheld = False
    tick = best[RAW, side]
    while tick != NONE:
        limit = s.low_bid if side == BID else s.high_ask
        overlapping = overlaps(best, side, tick)
        qty, px = qtys[side, tick & (SLOTS - 1)], pxs[side, tick & (SLOTS - 1)]
        if not overlapping and (limit == NONE or (tick - limit) * away > 0):
            break
        if overlapping and has_level(shown, side, tick):
            note(s, changes, source, CROSSED, QTY, WITHHELD, qty, 0.0)
            remember(s, side, tick)
            set_level(shown, side, tick, px, 0.0)
            add_row(out, n_out, last, side, px, 0.0)
            n_out += 1
        elif not overlapping and not has_level(shown, side, tick):
            note(s, changes, source, CROSSED, QTY, RESTORED, 0.0, qty)
            set_level(shown, side, tick, px, qty)
            add_row(out, n_out, last, side, px, qty)
            n_out += 1
        withheld = withheld or overlapping
        tick = find_level(tags, groups, side, tick + away, away)
    if not withheld:
        if side == BID:
            s.low_bid = NONE
        else:
            s.high_ask = NONE
    return n_out


@cached_kernel
def withhold_crossed(
    rows: Any, sources: Any, s: Any, given: Any, shown: Any, out: Any, changes: Any, done: Any
) -> int:
    """Take levels that overlap away on both sides until they overlap no longer.

    Rows of one local time are a batch: whether they overlap is judged once all of them are in.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
        Whole batches, with kind and side.
    sources : int64 array of shape (n_rows,)
        Their indices in the whole stream.
    s : record of `STATE`
    given, shown : tuples of arrays ``best``, ``tags``, ``groups`` as in `bt_framework.data._scan.scan_rows`, and
        ``qtys`` and ``pxs``, float64 (2, SLOTS): the book as the rows say it, and as it is passed on
    out : EVENT array
    changes : CHANGE array, longer than `out`
    done : int64 array of shape (1,)
        First row that is still to do; there is room for no more in `out` if that is not the end.

    Returns
    -------
    int
        Rows in `out`.
    """
    n_out, i = 0, done[0]
    best = given[0]
    while i < len(rows):
        end = i
        while end < len(rows) and rows[end]["local_ts"] == rows[i]["local_ts"]:
            end += 1
        levels = best[COUNT, BID] + best[COUNT, ASK] + 2 * (end - i)
        if n_out + levels + (end - i) > len(out):
            break
        for k in range(i, end):
            ev = np.int64(rows[k]["ev"])
            if is_level(ev & 0xFF):
                tick = np.int64(math.floor(rows[k]["px"] / s.tick_size + 0.5))
                set_level(given, BID if ev & BUY else ASK, tick, rows[k]["px"], rows[k]["qty"])
            elif ev & 0xFF == CLEAR:
                clear_levels(given, ev, rows[k]["px"], s.tick_size)
        for k in range(i, end):
            n_out = pass_row(s, rows[k], sources[k], given, shown, out, n_out, changes)
        for side in (BID, ASK):
            n_out = settle_side(s, side, rows[end - 1], sources[end - 1], given, shown, out, n_out, changes)
        i = end
    done[0] = i
    return n_out
