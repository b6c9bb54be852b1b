"""Kernels of Engle and Granger's test for many pairs: least squares, Dickey-Fuller regression, p-value.

Sums run in four parts, which the processor adds side by side, over values less their mean.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel


class PairStatus(IntEnum):
    """What became of a pair. Except for `OK`, its statistics are NaN."""

    OK = 0
    TOO_FEW = 1
    """Fewer rows than the tests need."""
    CONSTANT = 2
    """A leg does not vary beyond rounding."""
    COLLINEAR = 3
    """One leg is the other's multiple, nearly: R^2 > 1 - 1.5e-6, so that the residuals say nothing."""
    NOT_FINITE = 4
    """A value is NaN or infinite, or a sum overflowed."""
    DEGENERATE = 5
    """A regression's columns depend on each other, or it leaves no residual."""


EG = np.dtype(
    [
        ("statistic", "f8"),
        ("p_value", "f8"),
        ("hedge_ratio", "f8"),
        ("intercept", "f8"),
        ("lags", "i8"),
        ("n", "i8"),
        ("status", "i8"),
    ]
)
"""One test: y = intercept + hedge_ratio x + e; t of e's Dickey-Fuller regression with ``lags`` differences;
``n`` observations."""

OK = int(PairStatus.OK)
TOO_FEW = int(PairStatus.TOO_FEW)
CONSTANT = int(PairStatus.CONSTANT)
COLLINEAR = int(PairStatus.COLLINEAR)
NOT_FINITE = int(PairStatus.NOT_FINITE)
DEGENERATE = int(PairStatus.DEGENERATE)

_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
_COLLINEAR_FRAC = 100.0 * math.sqrt(float(np.finfo(np.float64).eps))
_SQRT_2 = math.sqrt(2.0)

# MacKinnon (1994) for two series and a constant, tables 3 and 4: p = Phi(polynomial in t), below and above the star.
_STAR, _MIN, _MAX = -2.62, -18.86, 0.92
_SMALL = (2.92, 1.5012, 0.039796)
_LARGE = (2.1945, 0.64695, -0.29198, -0.042377)


@kernel
def mackinnon_p_pair(t: float) -> float:
    """P-value of Engle and Granger's statistic for two series and a constant; NaN gives NaN.

    MacKinnon (1994): p = Phi(d0 + d1 t + d2 t^2 [+ d3 t^3]); 1 above 0.92 and 0 below -18.86.
    """
    if t > _MAX:
        return 1.0
    if t < _MIN:
        return 0.0
    if t <= _STAR:
        z = _SMALL[0] + t * (_SMALL[1] + t * _SMALL[2])
    else:
        z = _LARGE[0] + t * (_LARGE[1] + t * (_LARGE[2] + t * _LARGE[3]))
    return 0.5 * math.erfc(-z / _SQRT_2)


@kernel
def dot(a: Any, b: Any, n: int) -> Any:
    """Sum of products of the first `n` values."""
    s0 = s1 = s2 = s3 = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
    for i in range(whole, n):
        s0 += a[i] * b[i]
    return (s0 + s1) + (s2 + s3)


@kernel
def mean_of(a: Any, n: int) -> Any:
    """Mean of the first `n` values, summed from the first one on: exact if they are constant."""
    first = a[0]
    s0 = s1 = s2 = s3 = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        s0 += a[i] - first
        s1 += a[i + 1] - first
        s2 += a[i + 2] - first
        s3 += a[i + 3] - first
    for i in range(whole, n):
        s0 += a[i] - first
    return first + ((s0 + s1) + (s2 + s3)) / n


@kernel
def centred_products(y: Any, x: Any, n: int) -> tuple[float, float, float, float, float]:
    """Means of y and x, and the sums of yy, yx and xx about them."""
    mean_y, mean_x = mean_of(y, n), mean_of(x, n)
    yy0 = yy1 = yx0 = yx1 = xx0 = xx1 = 0.0
    whole = n - n % 2
    for i in range(0, whole, 2):
        u0, v0 = y[i] - mean_y, x[i] - mean_x
        u1, v1 = y[i + 1] - mean_y, x[i + 1] - mean_x
        yy0 += u0 * u0
        yx0 += u0 * v0
        xx0 += v0 * v0
        yy1 += u1 * u1
        yx1 += u1 * v1
        xx1 += v1 * v1
    if whole < n:
        u0, v0 = y[whole] - mean_y, x[whole] - mean_x
        yy0 += u0 * u0
        yx0 += u0 * v0
        xx0 += v0 * v0
    return mean_y, mean_x, yy0 + yy1, yx0 + yx1, xx0 + xx1


@kernel
def _fill_products(g: Any, e: Any, n: int, lags: int) -> None:
    """Fill the lower triangle of cross products of the lagged differences, the level before, the change.

    `g` has shape (lags + 2, lags + 2); the rows are t = lags + 1 .. n - 1.
    """
    k = lags + 2
    for i in range(k):
        for j in range(i + 1):
            g[i, j] = 0.0
    for t in range(lags + 1, n):
        level = e[t - 1]
        change = e[t] - level
        for i in range(lags):
            a = e[t - 1 - i] - e[t - 2 - i]
            for j in range(i + 1):
                g[i, j] += a * (e[t - 1 - j] - e[t - 2 - j])
            g[lags, i] += level * a
            g[lags + 1, i] += change * a
        g[lags, lags] += level * level
        g[lags + 1, lags] += change * level
        g[lags + 1, lags + 1] += change * change


@kernel
def _fill_products_one_lag(g: Any, e: Any, n: int) -> None:
    """`_fill_products` for one lag, three values in registers."""
    dd = dl = ll = dc = lc = cc = 0.0
    level = e[1]
    before = level - e[0]
    for t in range(2, n):
        after = e[t]
        change = after - level
        dd += before * before
        dl += before * level
        ll += level * level
        dc += before * change
        lc += level * change
        cc += change * change
        before = change
        level = after
    g[0, 0] = dd
    g[1, 0] = dl
    g[1, 1] = ll
    g[2, 0] = dc
    g[2, 1] = lc
    g[2, 2] = cc


@kernel
def _t_of_last_regressor(g: Any, k: int, rows: int) -> Any:
    """Student's t of the last of `k` regressors of the cross products `g`, whose row `k` is the regressand.

    By Cholesky in place: with the regressand's row (z_0 .. z_(k-1), r), the residual sum of squares is r^2 and the
    last coefficient's t is z_(k-1) / sqrt(r^2 / (rows - k)). NaN if a pivot is lost in rounding.
    """
    for i in range(k + 1):
        for j in range(i):
            s = g[i, j]
            for m in range(j):
                s -= g[i, m] * g[j, m]
            g[i, j] = s / g[j, j]
        pivot = g[i, i]
        left = pivot
        for m in range(i):
            left -= g[i, m] * g[i, m]
        if not left > rows * _ROUNDING * pivot:
            return math.nan
        g[i, i] = math.sqrt(left)
    return g[k, k - 1] / math.sqrt(g[k, k] * g[k, k] / (rows - k))


@kernel
def dickey_fuller_t(e: Any, n: int, lags: int, g: Any) -> Any:
    """Student's t of rho in de[t] = rho e[t-1] + sum_i g_i de[t-i] + u[t], i = 1 .. lags; NaN if degenerate.

    `e` holds `n` values, `g` is scratch of shape (lags + 2, lags + 2).
    """
    if lags == 1:
        _fill_products_one_lag(g, e, n)
    else:
        _fill_products(g, e, n, lags)
    return _t_of_last_regressor(g, lags + 1, n - 1 - lags)


@kernel
def least_rows(lags: int) -> int:
    """Rows that the test needs: as many differences again as regressors, and two."""
    return 2 * lags + 6


@kernel
def check_products(sums: tuple[float, float, float, float, float], n: int) -> int:
    """Status of a pair by its means and centred products."""
    mean_y, mean_x, yy, yx, xx = sums
    if not math.isfinite(mean_y + mean_x + yy + xx):
        return NOT_FINITE
    if yy <= n * (_ROUNDING * mean_y) ** 2 or xx <= n * (_ROUNDING * mean_x) ** 2:
        return CONSTANT
    if yx * yx > (1.0 - _COLLINEAR_FRAC) * yy * xx:
        return COLLINEAR
    return OK


@kernel
def engle_granger_row(out: Any, y: Any, x: Any, n: int, e: Any, g: Any) -> int:
    """Test one pair; allocates nothing.

    Parameters
    ----------
    out : record of `EG`
        ``lags`` is read, the rest written: NaN but for ``n`` and ``status`` if the status is not OK.
    y, x : float64 array of shape (>= n,)
        Regressand and regressor. NaN or infinity make the status NOT_FINITE.
    n : int
        Observations.
    e : float64 array of shape (>= n,)
        The residuals y - intercept - hedge_ratio x are left here.
    g : float64 array of shape (lags + 2, lags + 2)
        Scratch.

    Returns
    -------
    int
        A `PairStatus`, also in ``out.status``.
    """
    out.statistic = math.nan
    out.p_value = math.nan
    out.hedge_ratio = math.nan
    out.intercept = math.nan
    out.n = n
    out.status = TOO_FEW
    if n < least_rows(out.lags):
        return TOO_FEW
    sums = centred_products(y, x, n)
    status = check_products(sums, n)
    if status == OK:
        mean_y, mean_x, _, yx, xx = sums
        slope = yx / xx
        for i in range(n):
            e[i] = (y[i] - mean_y) - slope * (x[i] - mean_x)
        t = dickey_fuller_t(e, n, out.lags, g)
        if math.isfinite(t):
            out.statistic = t
            out.p_value = mackinnon_p_pair(t)
            out.hedge_ratio = slope
            out.intercept = mean_y - slope * mean_x
        else:
            status = DEGENERATE
    out.status = status
    return status


@cached_kernel
def engle_granger_rows(out: Any, y: Any, x: Any) -> None:
    """`engle_granger_row` for the rows of `y` and `x`, shape (m, n) each, into `out`, shape (m,) of `EG`."""
    n = y.shape[1]
    e = np.empty(n)
    for i in range(len(out)):
        k = out[i].lags + 2
        engle_granger_row(out[i], y[i], x[i], n, e, np.empty((k, k)))
