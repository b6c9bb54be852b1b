"""All that screening asks of a pair, for many pairs, in one compiled pass that releases the GIL."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_framework.stats._engle_granger import (
    DEGENERATE,
    EG,
    OK,
    TOO_FEW,
    PairStatus,
    engle_granger_row,
    least_rows,
    mean_of,
)
from bt_framework.stats._johansen_pair import johansen_columns, johansen_pair_row
from bt_framework.stats._johansen_tables import max_p, trace_p
from bt_framework.stats.cointegration import check_pairs
from bt_framework.stats.johansen import JohansenCase

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["PAIR_STATISTICS", "PairOptions", "PairStatus", "pair_statistics"]

_STATISTICS = (
    "t_first",
    "p_first",
    "hedge_ratio_first",
    "intercept_first",
    "half_life_first",
    "hurst_first",
    "t_second",
    "p_second",
    "hedge_ratio_second",
    "intercept_second",
    "half_life_second",
    "hurst_second",
    "johansen_hedge_ratio",
    "eigenvalue_0",
    "eigenvalue_1",
    "trace_0",
    "trace_1",
    "max_0",
    "max_1",
    "trace_p_0",
    "trace_p_1",
    "max_p_0",
    "max_p_1",
)

PAIR_STATISTICS = np.dtype(
    [(name, "i8") for name in ("first", "second", "n", "status", "lags", "johansen_lags", "johansen_case")]
    + [(name, "f8") for name in _STATISTICS]
)
"""A pair: columns ``first`` and ``second``, ``n`` rows in which both are finite, and a `PairStatus`.

``*_first`` are of first = intercept + hedge_ratio second + e, ``*_second`` of the other way around: Engle's and
Granger's t and p, and half-life (samples, infinite where e does not revert) and Hurst exponent of e. ``trace_0`` is
about no relation, ``trace_1`` about at most one. ``johansen_hedge_ratio`` is in units of first per second, like
``hedge_ratio_first``.
"""


@dataclass(frozen=True)
class PairOptions:
    """How pairs are tested."""

    lags: int = 1
    """Lagged differences in Engle's and Granger's test."""
    johansen_lags: int = 1
    """Lagged differences in Johansen's."""
    johansen_case: JohansenCase = JohansenCase.UNRESTRICTED_CONSTANT
    """Deterministic terms in Johansen's."""
    hurst_max_lag: int = 20
    """Longest difference for the Hurst exponent, samples."""
    min_observations: int = 50
    """Pairs with fewer rows are refused; the tests may need more."""

    def __post_init__(self) -> None:
        for name, least in (("lags", 0), ("johansen_lags", 0), ("hurst_max_lag", 3), ("min_observations", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, was {getattr(self, name)}.")


@kernel
def spread_half_life(e: Any, n: int) -> float:
    """Samples, -ln 2 / slope of the changes of `e` on its level; infinite if the slope is not negative."""
    mean = mean_of(e, n - 1)
    mean_change = (e[n - 1] - e[0]) / (n - 1)
    uu = ud = 0.0
    for i in range(n - 1):
        u = e[i] - mean
        uu += u * u
        ud += u * (e[i + 1] - e[i] - mean_change)
    if ud >= 0.0 or uu == 0.0:
        return math.inf
    return -math.log(2.0) * uu / ud


@kernel
def spread_hurst(e: Any, n: int, max_lag: int) -> float:
    """Half the slope of log mean (e[t+lag] - e[t])^2 on log lag; NaN if a difference is always zero."""
    mean_u = 0.0
    for lag in range(1, max_lag + 1):
        mean_u += math.log(lag)
    mean_u /= max_lag
    uu = uv = 0.0
    for lag in range(1, max_lag + 1):
        s0 = s1 = 0.0
        count = n - lag
        whole = count - count % 2
        for i in range(0, whole, 2):
            d0 = e[i + lag] - e[i]
            d1 = e[i + 1 + lag] - e[i + 1]
            s0 += d0 * d0
            s1 += d1 * d1
        if whole < count:
            d0 = e[whole + lag] - e[whole]
            s0 += d0 * d0
        if not s0 + s1 > 0.0:
            return math.nan
        u = math.log(lag) - mean_u
        uu += u * u
        uv += u * math.log((s0 + s1) / count)
    return 0.5 * uv / uu


@kernel
def _gather(prices: Any, first: int, second: int, a: Any, b: Any) -> int:
    """Copy the rows in which both columns are finite; returns how many."""
    n = 0
    for i in range(prices.shape[1]):
        u, v = prices[first, i], prices[second, i]
        if math.isfinite(u) and math.isfinite(v):
            a[n] = u
            b[n] = v
            n += 1
    return n


@kernel
def _residual_tests(out: Any, a: Any, b: Any, e: Any, g: Any, options: Any) -> int:
    """Engle-Granger, half-life and Hurst, both ways round."""
    lags, max_lag = options[0], options[1]
    eg = options[2]
    eg.lags = lags
    status = engle_granger_row(eg, a, b, out.n, e, g)
    if status != OK:
        return status
    out.t_first, out.p_first = eg.statistic, eg.p_value
    out.hedge_ratio_first, out.intercept_first = eg.hedge_ratio, eg.intercept
    out.half_life_first = spread_half_life(e, out.n)
    out.hurst_first = spread_hurst(e, out.n, max_lag)
    status = engle_granger_row(eg, b, a, out.n, e, g)
    if status != OK:
        return status
    out.t_second, out.p_second = eg.statistic, eg.p_value
    out.hedge_ratio_second, out.intercept_second = eg.hedge_ratio, eg.intercept
    out.half_life_second = spread_half_life(e, out.n)
    out.hurst_second = spread_hurst(e, out.n, max_lag)
    if math.isnan(out.hurst_first + out.hurst_second):
        return DEGENERATE
    return OK


@cached_kernel
def _statistics(out: Any, prices: Any, eg: Any, max_lag: int, least: int) -> None:
    """Fill `out`, whose columns, lags and case are set; `prices` has shape (k, n), `eg` is one scratch record."""
    rows = prices.shape[1]
    if len(out) == 0:
        return
    lags = out[0].lags
    m = johansen_columns(out[0].johansen_case, out[0].johansen_lags)
    a, b, e = np.empty(rows), np.empty(rows), np.empty(rows)
    g, z, r = np.empty((lags + 2, lags + 2)), np.empty((m, rows)), np.empty((m, m))
    for i in range(len(out)):
        row = out[i]
        row.n = _gather(prices, row.first, row.second, a, b)
        if row.n < least:
            row.status = TOO_FEW
            continue
        row.status = _residual_tests(row, a, b, e, g, (lags, max_lag, eg[0]))
        if row.status == OK:
            row.status = johansen_pair_row(row, a, b, row.n, z, r)


@cached_kernel
def _least(lags: int, johansen_lags: int, case: int, max_lag: int) -> int:
    """Rows that all tests need."""
    return max(least_rows(lags), johansen_lags + 2 + johansen_columns(case, johansen_lags), 2 * max_lag)


def pair_statistics(prices: ArrayLike, pairs: ArrayLike, options: PairOptions | None = None) -> np.ndarray:
    """Test pairs of columns for cointegration and mean reversion.

    The numbers are those of `engle_granger` (regression "c") both ways round, `johansen`, and `half_life` and `hurst`
    of the residuals. The compiled part holds no lock: threads may share the work, each with its part of the pairs.

    Parameters
    ----------
    prices : array_like of float, shape (n, k)
        One column per symbol, log prices, say; rows are times, the oldest first. NaN where there is none.
    pairs : array_like of int, shape (m, 2)
        Columns of the first and second of each pair.
    options : PairOptions, optional
        Lags, deterministic terms, and how many rows a pair needs.

    Returns
    -------
    record array of shape (m,)
        Of dtype `PAIR_STATISTICS`. A row of prices in which one of the two is NaN or infinite is left out for that
        pair, and its neighbours become neighbours of each other: fill gaps before if that matters. A pair that cannot
        be tested has NaN statistics and says why in its status; it stops no other.

    Raises
    ------
    ValueError
        If a shape or a column's number is wrong.
    ConfigError
        If scipy, whose gamma law Johansen's p-values need, is not installed.
    """
    chosen = options or PairOptions()
    table = np.asarray(prices, np.float64)
    if table.ndim != 2:
        raise ValueError(f"prices must have shape (n, k), was {table.shape}.")
    columns = check_pairs(pairs, table.shape[1])
    out = np.recarray(len(columns), PAIR_STATISTICS)
    out["first"], out["second"] = columns[:, 0], columns[:, 1]
    out["lags"], out["johansen_lags"] = chosen.lags, chosen.johansen_lags
    out["johansen_case"] = case = int(chosen.johansen_case)
    for name in _STATISTICS:
        out[name] = np.nan
    least = _least(chosen.lags, chosen.johansen_lags, case, chosen.hurst_max_lag)
    with np.errstate(over="ignore", invalid="ignore"):
        _statistics(
            out,
            np.ascontiguousarray(table.T),
            np.recarray(1, EG),
            chosen.hurst_max_lag,
            max(least, chosen.min_observations),
        )
    _add_p_values(out, case)
    return out


def _add_p_values(out: np.ndarray, case: int) -> None:
    """Johansen's p-values; NaN where a pair was refused, with whatever had been computed before it was."""
    fine = out["status"] == OK
    for name in _STATISTICS:
        out[name][~fine] = np.nan
    for r in (0, 1):
        out[f"trace_p_{r}"][fine] = trace_p(out[f"trace_{r}"][fine], 2 - r, case)
        out[f"max_p_{r}"][fine] = max_p(out[f"max_{r}"][fine], 2 - r, case)
