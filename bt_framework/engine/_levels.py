"""Price levels of a local book, and how many of them are shown."""

from __future__ import annotations

from bt_framework.engine._native import ask_qty, best_ask_ticks, best_bid_ticks, bid_qty
from bt_framework.jit import kernel

NO_BID, NO_ASK = -(2**63), 2**63 - 1
"""What the engine answers for the best price of an empty side."""
MAX_WALK_TICKS = 10_000
"""How far from the best price a level is looked for."""


@kernel
def level_qty(depth, is_roi, side, ticks):
    """Quantity at a price of the bids (`side` 1) or the asks (-1)."""
    return bid_qty(depth, is_roi, ticks) if side > 0 else ask_qty(depth, is_roi, ticks)


@kernel
def level_ticks(depth, is_roi, side, level):
    """Ticks of a level, 0 being the best; `NO_BID` if there is none within `MAX_WALK_TICKS` of the best."""
    best = best_bid_ticks(depth, is_roi) if side > 0 else best_ask_ticks(depth, is_roi)
    if best in (NO_BID, NO_ASK):
        return NO_BID
    found = 0
    for away in range(MAX_WALK_TICKS):
        ticks = best - side * away
        if level_qty(depth, is_roi, side, ticks) > 0:
            if found == level:
                return ticks
            found += 1
    return NO_BID


@kernel
def shown_qty(depth, is_roi, shown, side, ticks):
    """Quantity at a price if it is within the first `shown` levels (0: all), else 0.

    Where there are not so many within `MAX_WALK_TICKS` of the best, these are all that is shown.
    """
    if shown > 0:
        best = best_bid_ticks(depth, is_roi) if side > 0 else best_ask_ticks(depth, is_roi)
        if best in (NO_BID, NO_ASK):
            return 0.0
        last = level_ticks(depth, is_roi, side, shown - 1)
        if last == NO_BID:
            last = best - side * (MAX_WALK_TICKS - 1)
        if (ticks - last) * side < 0:
            return 0.0
    return level_qty(depth, is_roi, side, ticks)
