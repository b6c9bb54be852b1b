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
def clear_levels(a, asset, is_bid, px):
    """Empty a side of the copy up to `px`, or all of it if that is not finite."""
    contract = a.contracts[asset]
    low, high = contract.low_ticks, contract.high_ticks
    if math.isfinite(px):
        ticks = round(px / contract.tick_size)
        low, high = (max(low, ticks), high) if is_bid else (low, min(high, ticks))
    for ticks in range(low, high + 1):
        a.exch_qty[level_place(a, asset, is_bid, ticks)] = 0.0


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
            kind = row.ev & 0xFF
            if kind in (_DEPTH, _SNAPSHOT):
                place = level_place(a, asset, (row.ev & _BUY) != 0, round(row.px / contract.tick_size))
                if place >= 0:
                    a.exch_qty[place] = row.qty
            elif kind == _CLEAR:
                if row.ev & _BUY:
                    clear_levels(a, asset, True, row.px)
                elif row.ev & _SELL:
                    clear_levels(a, asset, False, row.px)
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
        Ticks of the first level, or 0 if the copy of the book does not explain the fill.
    """
    half_lot = 0.5 * a.contracts[order.asset].lot_size
    is_bid = order.side < 0
    rest, ticks = before_last_qty, last_ticks
    levels = 0
    while rest > half_lot:
        ticks -= order.side
        place = level_place(a, order.asset, is_bid, ticks)
        if place < 0 or levels >= MAX_SWEPT_LEVELS:
            return 0
        if a.exch_qty[place] > 0:
            rest -= a.exch_qty[place]
            levels += 1
    return ticks if rest > -half_lot else 0
