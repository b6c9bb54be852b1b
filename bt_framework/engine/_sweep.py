"""What one order paid at each price, on an exchange that fills it level by level.

hftbacktest's partial-fill exchange fills a taker at several prices, but its one answer tells the last of them only; and
a resting order whose rest is filled exactly stays in its book and ends the run at the next trade (upstream #312). So
here orders are sent a thousandth of a lot short, which keeps "exactly" from happening and is rounded away in what is
booked; and the exchange's book is followed in a copy of our own, from which the prices before the last are read. The
sum must be what the answer says, otherwise the run stops: no fill is booked at a price that is not known.
"""

from __future__ import annotations

import math

from numba import carray

from bt_framework.engine._native import as_pointer
from bt_framework.engine._state import MAX_SWEPT_LEVELS
from bt_framework.jit import kernel
from bt_framework.records import EVENT, EventFlag, EventKind

SLACK_LOTS = 1e-3
"""How much less than asked for is sent, in lots: far above rounding errors, far below half a lot."""

_EXCH, _BUY, _SELL = int(EventFlag.EXCH), int(EventFlag.BUY), int(EventFlag.SELL)
_DEPTH, _CLEAR, _SNAPSHOT = int(EventKind.DEPTH), int(EventKind.DEPTH_CLEAR), int(EventKind.DEPTH_SNAPSHOT)


@kernel
def level_place(a, asset, is_bid, ticks):
    """Place of a price level in ``exch_qty``, or -1 if the copy does not reach so far."""
    contract, feed = a.contracts[asset], a.exch_feeds[asset]
    if ticks < contract.low_ticks or ticks > contract.high_ticks:
        return -1
    levels = contract.high_ticks - contract.low_ticks + 1
    return feed.first_level + (0 if is_bid else levels) + ticks - contract.low_ticks


@kernel
def whole_lots(contract, qty):
    """`qty` as a whole number of lots, base units; NaN if it is not one but for the slack."""
    lots = round(qty / contract.lot_size)
    return lots * contract.lot_size if abs(qty / contract.lot_size - lots) < 10 * SLACK_LOTS else math.nan


@kernel
def next_level(a, asset, is_bid, ticks):
    """Ticks of the next level of the copy below a bid or above an ask, one tick beyond the range if there is none."""
    feed, contract = a.exch_feeds[asset], a.contracts[asset]
    if is_bid:
        ticks = min(ticks, contract.high_ticks + 1)
        while ticks > feed.low_bid_ticks:
            ticks -= 1
            if a.exch_qty[level_place(a, asset, True, ticks)] > 0:
                return ticks
        return contract.low_ticks - 1
    ticks = max(ticks, contract.low_ticks - 1)
    while ticks < feed.high_ask_ticks:
        ticks += 1
        if a.exch_qty[level_place(a, asset, False, ticks)] > 0:
            return ticks
    return contract.high_ticks + 1


@kernel
def find_touch(a, asset, is_bid, ticks):
    """Make the next level after `ticks` a side's touch; one without a touch has no furthest level either."""
    feed, contract = a.exch_feeds[asset], a.contracts[asset]
    touch = next_level(a, asset, is_bid, ticks)
    if is_bid:
        feed.best_bid_ticks = touch
        feed.low_bid_ticks = feed.low_bid_ticks if touch >= contract.low_ticks else contract.high_ticks + 1
    else:
        feed.best_ask_ticks = touch
        feed.high_ask_ticks = feed.high_ask_ticks if touch <= contract.high_ticks else contract.low_ticks - 1


@kernel
def set_level(a, asset, is_bid, ticks, qty):
    """Set a level's quantity as the engine's hash map does: a level that crosses the other side stays behind it."""
    feed, place = a.exch_feeds[asset], level_place(a, asset, is_bid, ticks)
    if place < 0:
        return
    is_empty = round(qty / a.contracts[asset].lot_size) == 0
    a.exch_qty[place] = 0.0 if is_empty else qty
    if is_empty:
        if ticks == (feed.best_bid_ticks if is_bid else feed.best_ask_ticks):
            find_touch(a, asset, is_bid, ticks)
    elif is_bid:
        feed.low_bid_ticks = min(feed.low_bid_ticks, ticks)
        if ticks > feed.best_bid_ticks:
            feed.best_bid_ticks = ticks
            if ticks >= feed.best_ask_ticks:
                feed.best_ask_ticks = next_level(a, asset, False, ticks)
    else:
        feed.high_ask_ticks = max(feed.high_ask_ticks, ticks)
        if ticks < feed.best_ask_ticks:
            feed.best_ask_ticks = ticks
            if ticks <= feed.best_bid_ticks:
                feed.best_bid_ticks = next_level(a, asset, True, ticks)


@kernel
def clear_levels(a, asset, is_bid, px):
    """Empty a side of the copy from the touch up to `px`, or all of it if that is not finite, as the engine does."""
    feed, contract = a.exch_feeds[asset], a.contracts[asset]
    low, high = contract.low_ticks, contract.high_ticks
    ticks = low - 1 if is_bid else high + 1  # beyond the last level
    if math.isfinite(px):
        ticks = min(max(round(px / contract.tick_size), low - 1), high + 1)
        low, high = (
            (max(low, ticks), feed.best_bid_ticks) if is_bid else (feed.best_ask_ticks, min(high, ticks))
        )
    for level in range(low, high + 1):
        a.exch_qty[level_place(a, asset, is_bid, level)] = 0.0
    # The engine looks for the new touch from the second tick beyond `px` on.
    find_touch(a, asset, is_bid, ticks - 1 if is_bid else ticks + 1)


@kernel
def follow_exchange(a, asset, exch_ts):
    """Bring the copy of an exchange's book up to `exch_ts`: at one time, data comes before orders."""
    feed, contract = a.exch_feeds[asset], a.contracts[asset]
    rows = carray(as_pointer(feed.address), feed.rows, EVENT)
    while feed.next_row < feed.rows:
        row = rows[feed.next_row]
        if row.ev & _EXCH:
            if row.exch_ts > exch_ts:
                return
            kind, is_bid = row.ev & 0xFF, (row.ev & _BUY) != 0
            is_ask = (row.ev & _SELL) != 0
            if kind in (_DEPTH, _SNAPSHOT) and (is_bid or is_ask):
                set_level(a, asset, is_bid, round(row.px / contract.tick_size), row.qty)
            elif kind == _CLEAR:
                if is_bid or is_ask:
                    clear_levels(a, asset, is_bid, row.px)
                else:
                    clear_levels(a, asset, True, math.inf)
                    clear_levels(a, asset, False, math.inf)
        feed.next_row += 1


@kernel
def first_swept(a, order, last_ticks, before_last_qty):
    """Find the level at which a taker began.

    Parameters
    ----------
    order : OPEN_ORDER record
        The order that took.
    last_ticks : int
        Its last price.
    before_last_qty : float
        What was filled before that, base units.

    Returns
    -------
    int
        Ticks of the first level, or 0 if the copy of the book does not explain the fill: the levels from the touch to
        the last price must be whole lots, and as much as was filled.
    """
    contract, feed = a.contracts[order.asset], a.exch_feeds[order.asset]
    is_bid = order.side < 0
    rest, ticks, levels = before_last_qty, last_ticks, 0
    while rest > 0.5 * contract.lot_size:
        ticks -= order.side
        place = level_place(a, order.asset, is_bid, ticks)
        if place < 0 or levels >= MAX_SWEPT_LEVELS:
            return 0
        if a.exch_qty[place] > 0:
            qty = whole_lots(contract, a.exch_qty[place])
            if math.isnan(qty):
                return 0
            rest -= qty
            levels += 1
    touch = feed.best_bid_ticks if is_bid else feed.best_ask_ticks
    return ticks if rest > -0.5 * contract.lot_size and ticks == touch else 0
