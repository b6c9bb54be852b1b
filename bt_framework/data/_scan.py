"""One pass over the events: their order, flags and values, the grids of prices and quantities, and the book.

The book is that of the receiver (rows flagged LOCAL), in ticks, without sizes. Each side is a table of
`SLOTS` ticks addressed by ``tick % SLOTS``: of two levels further apart than that, the nearer one stays. Two
touches are kept: `RAW` is the best of all levels, which may be crossed; `ENGINE` is what hftbacktest shows,
where the latest level wins and the other side's crossed ones are passed over. `COUNT` is the number of levels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

SLOTS = 1 << 18
PER_GROUP = 64
NONE = -(1 << 63)
"""No such tick, time or index."""

EXCH, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
DEPTH, TRADE, CLEAR, SNAPSHOT, BBO = 1, 2, 3, 4, 5
ADD, CANCEL, MODIFY, FILL = 10, 11, 12, 13
ENGINE, RAW, COUNT = 0, 1, 2
BID, ASK = 0, 1

OFF_PER_MILLE = 1
"""Values off the grid, per 1,000, above which an inferred grid is refined instead of blaming the values."""

TIGHT_SHARE = 50
"""A touch is tight if its spread is at most 1 / 50 of its bid."""

GRID = np.dtype(
    [
        ("scale", "f8"),
        ("unit", "i8"),
        ("values", "i8"),
        ("off", "i8"),
        ("off_unit", "i8"),
        ("first_off", "i8"),
        ("known_size", "f8"),
        ("known_off", "i8"),
        ("known_first", "i8"),
        ("known_value", "f8"),
    ]
)
"""A grid under inference, of size ``unit / scale``. ``known_*`` compare with a size given beforehand."""

STATS = np.dtype(
    [
        ("rows", "i8"),
        ("exch_rows", "i8"),
        ("local_rows", "i8"),
        ("first_exch_ts", "i8"),
        ("first_local_ts", "i8"),
        ("last_exch_ts", "i8"),
        ("last_local_ts", "i8"),
        ("exch_back", "i8"),
        ("exch_back_first", "i8"),
        ("exch_back_ns", "i8"),
        ("local_back", "i8"),
        ("local_back_first", "i8"),
        ("local_back_ns", "i8"),
        ("flagless", "i8"),
        ("flagless_first", "i8"),
        ("early", "i8"),
        ("early_first", "i8"),
        ("early_ns", "i8"),
        ("invalid", "i8"),
        ("invalid_first", "i8"),
        ("clears", "i8"),
        ("level_rows", "i8"),
        ("order_rows", "i8"),
        ("deep_batches", "i8"),
        ("batch_ts", "i8"),
        ("batch_index", "i8"),
        ("batches", "i8"),
        ("tight_batches", "i8"),
        ("low_ticks", "i8"),
        ("high_ticks", "i8"),
        ("tight_low_ticks", "i8"),
        ("tight_high_ticks", "i8"),
        ("trade_low_ticks", "i8"),
        ("trade_high_ticks", "i8"),
        ("crossed", "i8"),
        ("crossed_first", "i8"),
        ("crossed_ns", "i8"),
        ("crossed_since", "i8"),
        ("tick_size", "f8"),
    ]
)
"""What has been seen so far. Indices and times that were not seen yet are `NONE`."""


@kernel
def gcd(a: Any, b: Any) -> Any:
    """Greatest common divisor of two int64 >= 0."""
    while b:
        a, b = b, a % b
    return a


@kernel
def place_on_grid(g: Any, value: float, index: int) -> None:
    """Refine the grid `g` by one value > 0, and compare the value with the size known beforehand, if any."""
    scaled = value * g.scale
    if scaled < 4e18:
        mantissa = np.int64(scaled + 0.5)
        if mantissa > 0:
            g.values += 1
            if g.unit == 0:
                g.unit = mantissa
            elif mantissa % g.unit != 0:
                g.off += 1
                g.off_unit = gcd(g.off_unit, mantissa)
                if g.first_off == NONE:
                    g.first_off = index
                if g.off * 1_000 > g.values * OFF_PER_MILLE:
                    g.unit = gcd(g.unit, g.off_unit)
                    g.off, g.off_unit, g.first_off = 0, 0, NONE
    if g.known_size > 0.0:
        steps = value / g.known_size
        if abs(steps - math.floor(steps + 0.5)) > 1e-4:
            if g.known_off == 0:
                g.known_first, g.known_value = index, value
            g.known_off += 1


@cached_kernel
def scan_grids(rows: Any, px_grid: Any, qty_grid: Any, first_index: int) -> None:
    """Infer the grids of prices and quantities; both in records of `GRID`.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
    px_grid, qty_grid : records of `GRID`
    first_index : int
        Index of the first row in the whole stream.
    """
    for i in range(len(rows)):
        row = rows[i]
        kind = np.int64(row["ev"]) & 0xFF
        if kind != CLEAR:
            px, qty = row["px"], row["qty"]
            if px > 0.0 and px < math.inf:
                place_on_grid(px_grid, px, first_index + i)
            if qty > 0.0 and qty < math.inf:
                place_on_grid(qty_grid, qty, first_index + i)


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
            best[view, side] = find_level(tags, groups, side, tick + away, away)


@kernel
def clear_side(best: Any, tags: Any, groups: Any, side: int, limit: Any) -> None:
    """Take out the levels from the best to `limit`, or all of them if that is `NONE`."""
    away = 1 if side == ASK else -1
    while best[RAW, side] != NONE and (limit == NONE or (limit - best[RAW, side]) * away >= 0):
        empty_level(best, tags, groups, side, best[RAW, side])


@kernel
def close_batch(s: Any, best: Any, end_ts: int) -> None:
    """All rows of one local time are in: judge the book."""
    if best[COUNT, BID] > 1 or best[COUNT, ASK] > 1:
        s.deep_batches += 1
    bid, ask = best[ENGINE, BID], best[ENGINE, ASK]
    if bid != NONE and ask != NONE:
        s.batches += 1
        s.low_ticks = min(s.low_ticks, bid) if s.low_ticks != NONE else bid
        s.high_ticks = max(s.high_ticks, ask)
        if (ask - bid) * TIGHT_SHARE <= bid:
            s.tight_batches += 1
            s.tight_low_ticks = min(s.tight_low_ticks, bid) if s.tight_low_ticks != NONE else bid
            s.tight_high_ticks = max(s.tight_high_ticks, ask)
    if best[RAW, BID] != NONE and best[RAW, ASK] != NONE and best[RAW, BID] >= best[RAW, ASK]:
        if s.crossed_since == NONE:
            s.crossed_since = s.batch_ts
            s.crossed += 1
            if s.crossed_first == NONE:
                s.crossed_first = s.batch_index
        s.crossed_ns += end_ts - s.batch_ts
    else:
        s.crossed_since = NONE


@kernel
def check_row(s: Any, row: Any, ev: Any) -> None:
    """Order, flags, latency and values of one row."""
    index = s.rows
    if ev & EXCH:
        if s.exch_rows == 0:
            s.first_exch_ts = row["exch_ts"]
        elif row["exch_ts"] < s.last_exch_ts:
            s.exch_back += 1
            s.exch_back_ns = max(s.exch_back_ns, s.last_exch_ts - row["exch_ts"])
            if s.exch_back_first == NONE:
                s.exch_back_first = index
        s.exch_rows += 1
        s.last_exch_ts = max(s.last_exch_ts, row["exch_ts"])
    if ev & LOCAL:
        if s.local_rows == 0:
            s.first_local_ts = row["local_ts"]
        elif row["local_ts"] < s.last_local_ts:
            s.local_back += 1
            s.local_back_ns = max(s.local_back_ns, s.last_local_ts - row["local_ts"])
            if s.local_back_first == NONE:
                s.local_back_first = index
        s.local_rows += 1
        s.last_local_ts = max(s.last_local_ts, row["local_ts"])
        if row["local_ts"] < row["exch_ts"]:
            s.early += 1
            s.early_ns = max(s.early_ns, row["exch_ts"] - row["local_ts"])
            if s.early_first == NONE:
                s.early_first = index
    if not ev & (EXCH | LOCAL):
        s.flagless += 1
        if s.flagless_first == NONE:
            s.flagless_first = index


@kernel
def is_invalid(row: Any, kind: Any) -> bool:
    """Whether price or quantity cannot be: not a number, infinite, a price <= 0, a quantity < 0."""
    if kind == CLEAR:
        return math.isnan(row["px"])
    priced = kind in (DEPTH, TRADE, SNAPSHOT, BBO)
    if priced and not (row["px"] > 0.0 and row["px"] < math.inf):
        return True
    return priced and not (row["qty"] >= 0.0 and row["qty"] < math.inf)


@kernel
def replay_row(s: Any, row: Any, ev: Any, best: Any, tags: Any, groups: Any) -> None:
    """Let one LOCAL row of a valid price act on the book."""
    kind = ev & 0xFF
    side = BID if ev & BUY else ASK
    if kind in (DEPTH, SNAPSHOT):
        s.level_rows += 1
        tick = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
        if row["qty"] > 0.0:
            fill_level(best, tags, groups, side, tick)
        else:
            empty_level(best, tags, groups, side, tick)
    elif kind in (TRADE, BBO):
        tick = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
        s.trade_low_ticks = min(s.trade_low_ticks, tick) if s.trade_low_ticks != NONE else tick
        s.trade_high_ticks = max(s.trade_high_ticks, tick)
    elif kind == CLEAR:
        s.clears += 1
        both = not ev & (BUY | SELL)
        limit: Any = NONE
        if not both and row["px"] > 0.0 and row["px"] < math.inf:
            limit = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
        if both or side == BID:
            clear_side(best, tags, groups, BID, limit)
        if both or side == ASK:
            clear_side(best, tags, groups, ASK, limit)


@cached_kernel
def scan_rows(rows: Any, s: Any, best: Any, tags: Any, groups: Any) -> None:
    """Check the rows and replay the book.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
    s : record of `STATS`
    best : int64 array of shape (3, 2), ticks, [ENGINE | RAW | COUNT, BID | ASK]
    tags : int64 array of shape (2, SLOTS), the tick that each slot holds
    groups : int64 array of shape (2, SLOTS // PER_GROUP), filled slots of each group
    """
    for i in range(len(rows)):
        row = rows[i]
        ev = np.int64(row["ev"])
        check_row(s, row, ev)
        invalid = is_invalid(row, ev & 0xFF)
        if invalid:
            s.invalid += 1
            if s.invalid_first == NONE:
                s.invalid_first = s.rows
        if ev & 0xFF >= ADD:
            s.order_rows += 1
        if ev & LOCAL:
            if row["local_ts"] != s.batch_ts:
                if s.batch_ts != NONE:
                    close_batch(s, best, row["local_ts"])
                s.batch_ts = row["local_ts"]
                s.batch_index = s.rows
            if not invalid:
                replay_row(s, row, ev, best, tags, groups)
        s.rows += 1


@cached_kernel
def finish_scan(s: Any, best: Any) -> None:
    """Close the last batch."""
    if s.batch_ts != NONE:
        close_batch(s, best, s.batch_ts)


@cached_kernel
def rescale_book(s: Any, best: Any, tags: Any, groups: Any, ratio: int) -> None:
    """The tick has become `ratio` times finer: move every level and every extreme.

    Late in a stream some levels may have been rounded to the coarser tick: then the book starts anew.
    """
    late = s.rows * OFF_PER_MILLE >= 1_000
    for side in range(2):
        levels = tags[side][tags[side] != NONE]
        tags[side, :] = NONE
        groups[side, :] = 0
        best[COUNT, side] = 0
        for view in range(2):
            if late:
                best[view, side] = NONE
            elif best[view, side] != NONE:
                best[view, side] *= ratio
        for j in range(0 if late else len(levels)):
            tick = levels[j] * ratio
            slot = tick & (SLOTS - 1)
            if tags[side, slot] == NONE:
                groups[side, slot // PER_GROUP] += 1
                best[COUNT, side] += 1
            tags[side, slot] = tick
    if s.low_ticks != NONE:
        s.low_ticks *= ratio
        s.high_ticks *= ratio
    if s.tight_low_ticks != NONE:
        s.tight_low_ticks *= ratio
        s.tight_high_ticks *= ratio
    if s.trade_low_ticks != NONE:
        s.trade_low_ticks *= ratio
        s.trade_high_ticks *= ratio
