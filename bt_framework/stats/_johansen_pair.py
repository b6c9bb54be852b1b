"""Kernel of Johansen's test for two series.

The columns of all regressions in one array are made orthogonal from the first to the last (modified Gram-Schmidt); what
is left of the levels and changes is in the last rows of the triangle, where the eigenvalue problem is two by two.
"""

from __future__ import annotations

import math
from typing import Any

from bt_framework.jit import kernel
from bt_framework.stats._engle_granger import DEGENERATE, OK, dot

# The numbers of JohansenCase, as compiled code wants them.
_RESTRICTED_CONSTANT, _UNRESTRICTED_CONSTANT, _RESTRICTED_TREND, _UNRESTRICTED_TREND = 1, 2, 3, 4
_RANK_TOLERANCE = 1e-12


@kernel
def johansen_columns(case: int, lags: int) -> int:
    """Columns of the regressions: deterministic terms, lagged differences, levels and changes."""
    if case == 0:
        terms = 0
    elif case <= _UNRESTRICTED_CONSTANT:
        terms = 1
    else:
        terms = 2
    return 2 * lags + terms + 4


@kernel
def _fill(z: Any, a: Any, b: Any, n: int, lags: int, case: int) -> int:
    """Fill the rows of `z` with the columns; returns how many come before the levels."""
    rows = n - lags - 1
    at = 0
    if case >= _UNRESTRICTED_CONSTANT:
        z[at, :rows] = 1.0
        at += 1
    if case == _UNRESTRICTED_TREND:
        for i in range(rows):
            z[at, i] = (i + 1.0) / rows
        at += 1
    for lag in range(1, lags + 1):
        for i in range(rows):
            t = i + lags + 1 - lag
            z[at, i] = a[t] - a[t - 1]
            z[at + 1, i] = b[t] - b[t - 1]
        at += 2
    others = at
    for i in range(rows):
        z[at, i] = a[i + lags]
        z[at + 1, i] = b[i + lags]
    at += 2
    if case == _RESTRICTED_CONSTANT:
        z[at, :rows] = 1.0
        at += 1
    elif case == _RESTRICTED_TREND:
        for i in range(rows):
            z[at, i] = (i + 1.0) / rows
        at += 1
    for i in range(rows):
        t = i + lags + 1
        z[at, i] = a[t] - a[t - 1]
        z[at + 1, i] = b[t] - b[t - 1]
    return others


@kernel
def _triangle(r: Any, z: Any, m: int, rows: int) -> int:
    """Triangle of the first `m` rows of `z`, which are overwritten; DEGENERATE if they depend on each other."""
    for i in range(m):
        r[i, i] = math.sqrt(dot(z[i], z[i], rows))
    for i in range(m):
        size = r[i, i]
        left = math.sqrt(dot(z[i], z[i], rows))
        if not left > _RANK_TOLERANCE * size:
            return DEGENERATE
        r[i, i] = left
        for t in range(rows):
            z[i, t] /= left
        for j in range(i + 1, m):
            share = dot(z[i], z[j], rows)
            r[i, j] = share
            for t in range(rows):
                z[j, t] -= share * z[i, t]
    return OK


@kernel
def _solve(out: Any, r: Any, first: int, m: int, rows: int) -> int:
    """Eigenvalues, statistics and hedge ratio from the triangle whose levels begin at `first`."""
    y, x = m - 2, m - 1  # the changes' columns
    aa = ab = bb = 0.0  # what the levels explain of the changes
    for i in range(first, y):
        aa += r[i, y] * r[i, y]
        ab += r[i, y] * r[i, x]
        bb += r[i, x] * r[i, x]
    l00 = math.sqrt(aa + r[y, y] * r[y, y])  # Cholesky factor of all of it
    l10 = (ab + r[y, y] * r[y, x]) / l00
    left = bb + r[y, x] * r[y, x] + r[x, x] * r[x, x] - l10 * l10
    if not left > 0.0:
        return DEGENERATE
    l11 = math.sqrt(left)
    c00 = aa / (l00 * l00)
    c01 = (ab - l10 * aa / l00) / (l00 * l11)
    c11 = (bb - 2.0 * l10 * ab / l00 + l10 * l10 * c00) / (l11 * l11)
    half = 0.5 * (c00 + c11)
    large = half + math.hypot(0.5 * (c00 - c11), c01)
    if not 0.0 < large < 1.0 - _RANK_TOLERANCE:
        return DEGENERATE
    small = max((c00 * c11 - c01 * c01) / large, 0.0)
    if c00 >= c11:
        v0, v1 = large - c11, c01
    else:
        v0, v1 = c01, large - c00
    w1 = v1 / l11
    w0 = (v0 - l10 * w1) / l00
    out.johansen_hedge_ratio = _hedge_ratio(r, first, y, w0, w1)
    out.eigenvalue_0 = large
    out.eigenvalue_1 = small
    out.max_0 = -rows * math.log1p(-large)
    out.max_1 = -rows * math.log1p(-small)
    out.trace_0 = out.max_0 + out.max_1
    out.trace_1 = out.max_1
    return OK


@kernel
def _hedge_ratio(r: Any, first: int, y: int, w0: float, w1: float) -> Any:
    """Units of the first series per second in the combination of levels that the changes follow best."""
    third = 0.0
    if y - first == 3:
        third = (r[first + 2, y] * w0 + r[first + 2, y + 1] * w1) / r[first + 2, first + 2]
    right = r[first + 1, y] * w0 + r[first + 1, y + 1] * w1
    left = r[first, y] * w0 + r[first, y + 1] * w1
    if y - first == 3:
        right -= r[first + 1, first + 2] * third
        left -= r[first, first + 2] * third
    beta_1 = right / r[first + 1, first + 1]
    beta_0 = (left - r[first, first + 1] * beta_1) / r[first, first]
    if beta_0 == 0.0:
        return math.inf
    return -beta_1 / beta_0


@kernel
def johansen_pair_row(out: Any, a: Any, b: Any, n: int, z: Any, r: Any) -> int:
    """Test two series; allocates nothing.

    Parameters
    ----------
    out : record of `PAIR_STATISTICS`
        ``johansen_case`` and ``johansen_lags`` are read; eigenvalues, statistics and hedge ratio are written if OK.
    a, b : float64 array of shape (>= n,)
        Finite.
    n : int
        Observations, more than the columns and ``johansen_lags`` + 1 together.
    z : float64 array of shape (columns, >= n)
        Scratch, `johansen_columns` rows.
    r : float64 array of shape (columns, columns)
        Scratch.

    Returns
    -------
    int
        `OK` or `DEGENERATE`.
    """
    m = johansen_columns(out.johansen_case, out.johansen_lags)
    rows = n - out.johansen_lags - 1
    others = _fill(z, a, b, n, out.johansen_lags, out.johansen_case)
    if _triangle(r, z, m, rows) != OK:
        return DEGENERATE
    return _solve(out, r, others, m, rows)
