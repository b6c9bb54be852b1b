"""From rows that hold the best levels to the changes between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

_EV_DEPTH = 1
_EV_BUY, _EV_SELL = 1 << 29, 1 << 28


@kernel
def _qty_at(levels: Any, px: float) -> float:
    """Quantity at a price; 0 where there is none."""
    for k in range(len(levels)):
        if levels[k, 0] == px:
            return float(levels[k, 1]) if levels[k, 1] > 0.0 else 0.0
    return 0.0


@cached_kernel
def changes(values: Any, exch_ts: Any, local_ts: Any, held: Any, start: int, rows: Any) -> tuple[int, int]:
    """Depth rows that lead from each row's levels to the next one's.

    Levels that are gone come first, then what is new or has changed, the asks before the bids.

    Parameters
    ----------
    values : float64 array of shape (n, n_levels, 2 sides, 2), quote currency and base units
        Ask and bid, price and amount; NaN or an amount of 0 where there is no level.
    exch_ts, local_ts : int64 arrays of shape (n,), ns
    held : float64 array of shape (2 sides, n_levels, 2)
        Levels of the last row; updated.
    start : int
        Row to go on with.
    rows : EVENT array of shape (n_capacity,), zero but for what `changes` writes
        At least ``4 n_levels``.

    Returns
    -------
    tuple of int
        Row to go on with, and rows written.
    """
    n_levels = values.shape[1]
    n_rows = 0
    for i in range(start, len(values)):
        if n_rows + 4 * n_levels > len(rows):
            return i, n_rows
        first = n_rows
        for side in range(2):
            now = values[i, :, side]
            for k in range(n_levels):
                if held[side, k, 1] > 0.0 and _qty_at(now, held[side, k, 0]) == 0.0:
                    rows[n_rows]["ev"] = np.uint64(_EV_DEPTH | (_EV_SELL if side == 0 else _EV_BUY))
                    rows[n_rows]["px"] = held[side, k, 0]
                    rows[n_rows]["qty"] = 0.0
                    n_rows += 1
        for side in range(2):
            now = values[i, :, side]
            for k in range(n_levels):
                if now[k, 1] > 0.0 and now[k, 0] > 0.0 and _qty_at(held[side], now[k, 0]) != now[k, 1]:
                    rows[n_rows]["ev"] = np.uint64(_EV_DEPTH | (_EV_SELL if side == 0 else _EV_BUY))
                    rows[n_rows]["px"] = now[k, 0]
                    rows[n_rows]["qty"] = now[k, 1]
                    n_rows += 1
        held[:, :, :] = np.nan
        for side in range(2):
            for k in range(n_levels):
                if values[i, k, side, 1] > 0.0 and values[i, k, side, 0] > 0.0:
                    held[side, k, 0] = values[i, k, side, 0]
                    held[side, k, 1] = values[i, k, side, 1]
        for j in range(first, n_rows):
            rows[j]["exch_ts"] = exch_ts[i]
            rows[j]["local_ts"] = local_ts[i]
    return len(values), n_rows
