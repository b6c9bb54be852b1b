"""Kernels of `bt_framework.data.level_book`.

The levels of a side are a hash table: the place of a price is its mantissa modulo the length, or the next free
one. A level without quantity keeps its place until the table is built anew.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

LEVEL = np.dtype([("px", "f8"), ("qty", "f8"), ("mark", "i8")])
"""A level; ``px`` is 0 where the place is free. ``mark`` is the last replacement that has named it."""

_BUY = 1 << 29
_EV_DEPTH_BUY, _EV_DEPTH_SELL = 1 | 1 << 29, 1 | 1 << 28


@kernel
def _place(levels: Any, px: float) -> Any:
    """Place of the price, or the free one that it would get."""
    mantissa, exponent = math.frexp(px)
    place: Any = (np.int64(mantissa * 9007199254740992.0) + exponent) % len(levels)
    while levels[place]["px"] != px and levels[place]["px"] != 0.0:
        place = place + 1 if place + 1 < len(levels) else 0
    return place


@cached_kernel
def set_levels(rows: Any, levels: Any, used: Any, mark: int) -> None:
    """Put the quantities of `rows` into the table.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
        Prices > 0, with the side in ``ev``.
    levels : LEVEL array of shape (2, n_places), bids and asks
        Has free places for all of them.
    used : int64 array of shape (2,)
        Places that are not free; updated.
    mark : int
        Put on each level of `rows`.
    """
    for i in range(len(rows)):
        side = 0 if np.int64(rows[i]["ev"]) & _BUY else 1
        table = levels[side]
        place = _place(table, rows[i]["px"])
        if table[place]["px"] == 0.0:
            table[place]["px"] = rows[i]["px"]
            used[side] += 1
        table[place]["qty"] = rows[i]["qty"]
        table[place]["mark"] = mark


@cached_kernel
def take_unmarked(levels: Any, mark: int, rows: Any) -> int:
    """Empty the levels that do not bear `mark`; write their side and price to `rows` and return how many."""
    n_rows = 0
    for side in range(2):
        for place in range(levels.shape[1]):
            level = levels[side, place]
            if level["qty"] > 0.0 and level["mark"] != mark:
                level["qty"] = 0.0
                rows[n_rows]["ev"] = np.uint64(_EV_DEPTH_BUY if side == 0 else _EV_DEPTH_SELL)
                rows[n_rows]["px"] = level["px"]
                n_rows += 1
    return n_rows
