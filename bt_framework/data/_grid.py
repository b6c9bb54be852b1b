"""The grids that prices and quantities lie on, inferred value by value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

NONE = -(1 << 63)
"""No such index."""

_CLEAR = 3

OFF_PER_MILLE = 1
"""Values off the grid, per 1,000, above which an inferred grid is refined instead of blaming the values."""

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
        if kind != _CLEAR:
            px, qty = row["px"], row["qty"]
            if px > 0.0 and px < math.inf:
                place_on_grid(px_grid, px, first_index + i)
            if qty > 0.0 and qty < math.inf:
                place_on_grid(qty_grid, qty, first_index + i)
