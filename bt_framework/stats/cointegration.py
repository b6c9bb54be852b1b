"""Tests of cointegration by residuals: Engle-Granger, one by one and in bulk, and Phillips-Ouliaris.

References
----------
Engle, R. F. and Granger, C. W. J. (1987). Co-integration and error correction: representation, estimation, and
testing. Econometrica 55, 251-276.
Phillips, P. C. B. and Ouliaris, S. (1990). Asymptotic properties of residual based tests for cointegration.
Econometrica 58, 165-193.
MacKinnon, J. G. (1994). Approximate asymptotic distribution functions for unit-root and cointegration tests. Journal
of Business and Economic Statistics 12, 167-176.
MacKinnon, J. G. (2010). Critical values for cointegration tests. Queen's Economics Department Working Paper 1227.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.stats._engle_granger import EG, PairStatus, engle_granger_rows
from bt_framework.stats._optional import stats_module
from bt_framework.stats._series import columns, series
from bt_framework.stats.unit_root import LEVELS, TRENDS, check_options, dickey_fuller, least_observations

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "EG",
    "EngleGranger",
    "EngleGrangerResult",
    "PairStatus",
    "PhillipsOuliaris",
    "PhillipsOuliarisResult",
    "engle_granger",
    "engle_granger_many",
    "engle_granger_pairs",
    "phillips_ouliaris",
]

_COLLINEAR_FRAC = 100.0 * math.sqrt(float(np.finfo(np.float64).eps))
_MOST_REGRESSORS = 5
"""MacKinnon's p-values are for at most six series."""
_STATISTICS = ("Zt", "Za", "Pu", "Pz")


@dataclass(frozen=True)
class EngleGrangerResult:
    """Engle's and Granger's test; the null is that there is no cointegration.

    Attributes
    ----------
    statistic : float
        t of the level in the residuals' Dickey-Fuller regression.
    p_value : float
        MacKinnon's (1994) approximate asymptotic p-value.
    hedge_ratios : tuple of float, one per column of x
        Units of y per x.
    intercept : float
        Constant of the regression; zero without one.
    lags : int
        Lagged differences of the residuals.
    n : int
        Observations.
    critical_values : dict of str to float
        MacKinnon's (2010), by level "1%", "5%", "10%"; empty for "n", for which there are none.
    """

    statistic: float
    p_value: float
    hedge_ratios: tuple[float, ...]
    intercept: float
    lags: int
    n: int
    critical_values: dict[str, float]

    @property
    def hedge_ratio(self) -> float:
        """Units of y per (the first column of) x."""
        return self.hedge_ratios[0]


@dataclass(frozen=True)
class EngleGranger:
    """Options of Engle's and Granger's test; see `engle_granger`."""

    regression: str = "c"
    lags: int | None = 1

    def __post_init__(self) -> None:
        check_options(self.regression, self.lags)

    def fit(self, y: ArrayLike, x: ArrayLike) -> EngleGrangerResult:
        """Regress `y` on `x` and test the residuals for a unit root; see `engle_granger`."""
        left, right = _sides(y, x, self.regression, self.lags)
        n, k = right.shape
        ratios, intercept, residuals = _regress(left, right, self.regression)
        statistic, _, lags, _, _ = dickey_fuller(residuals, "n", self.lags)
        p_value, critical = _mackinnon(statistic, self.regression, k + 1, n - 1)
        return EngleGrangerResult(statistic, p_value, ratios, intercept, lags, n, critical)


def engle_granger(
    y: ArrayLike, x: ArrayLike, regression: str = "c", lags: int | None = 1
) -> EngleGrangerResult:
    """Test y and x for cointegration by the residuals of y on x.

    The statistic is the t-value of rho in the second of::

        y[t] = hedge_ratio x[t] + d[t] + e[t]
        e[t] - e[t-1] = rho e[t-1] + sum_i g[i] (e[t-i] - e[t-i-1]) + u[t],   i = 1 .. lags

    with deterministic terms d in the first only. It depends on which side y is: test both ways. The Dickey-Fuller
    regression, p-value and critical values are statsmodels'; for many pairs see `engle_granger_many`.

    Parameters
    ----------
    y : array_like of float, shape (n,)
        Log prices, say; evenly spaced, oldest first.
    x : array_like of float, shape (n,) or (n, k)
        At the same times.
    regression : {"c", "n", "ct", "ctt"}
        Deterministic terms of the first regression: constant, none, and linear trend, and squared trend.
    lags : int, optional
        Lagged differences, >= 0; None chooses by Akaike's criterion up to Schwert's 12 (n / 100)^(1/4).

    Returns
    -------
    EngleGrangerResult
        Statistic, p-value, hedge ratio and intercept, lags used and critical values.

    Raises
    ------
    ValueError
        If the series are too short, of different length, not finite, constant or collinear, or an option is unknown.
    ConfigError
        If statsmodels is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> x, noise = np.random.default_rng(1).normal(size=(2, 500))
    >>> x = x.cumsum()
    >>> found = engle_granger(2.0 * x + 1.0 + noise, x)
    >>> found.p_value < 0.01, round(found.hedge_ratio, 1)
    (True, 2.0)
    """
    return EngleGranger(regression, lags).fit(y, x)


def engle_granger_many(y_columns: ArrayLike, x_columns: ArrayLike, lags: int = 1) -> np.ndarray:
    """Test many pairs, with a constant and a fixed number of lags; compiled, and without the GIL.

    The statistics are those of `engle_granger` with regression "c" to ten digits. A pair that cannot be tested has NaN
    statistics and says why in its status; it stops no other.

    Parameters
    ----------
    y_columns, x_columns : array_like of float, shape (n_pairs, n)
        Row i of both is pair i: its series are contiguous.
    lags : int
        Lagged differences, >= 0.

    Returns
    -------
    record array of shape (n_pairs,)
        Of dtype `EG`: statistic, p_value, hedge_ratio, intercept, lags, n, status (a `PairStatus`).

    Raises
    ------
    ValueError
        If the shapes differ or `lags` is negative.
    """
    y = np.ascontiguousarray(y_columns, np.float64)
    x = np.ascontiguousarray(x_columns, np.float64)
    if y.ndim != 2 or y.shape != x.shape:
        raise ValueError(f"y and x must have one shape (n_pairs, n), were {y.shape} and {x.shape}.")
    out = np.recarray(len(y), EG)
    out["lags"] = _fixed_lags(lags)
    with np.errstate(over="ignore", invalid="ignore"):
        engle_granger_rows(out, y, x)
    return out


def engle_granger_pairs(prices: ArrayLike, pairs: ArrayLike, lags: int = 1) -> np.ndarray:
    """Test pairs of columns: `engle_granger_many` of the first of each pair on the second.

    Parameters
    ----------
    prices : array_like of float, shape (n, k)
        One column per symbol.
    pairs : array_like of int, shape (m, 2)
        Columns of y and x.
    lags : int
        Lagged differences, >= 0.

    Returns
    -------
    record array of shape (m,)
        Of dtype `EG`. A column with a NaN makes its pairs NOT_FINITE; `pair_statistics` drops such rows instead.

    Raises
    ------
    ValueError
        If a shape or a column's number is wrong, or `lags` is negative.
    """
    table = np.ascontiguousarray(np.asarray(prices, np.float64).T)
    chosen = check_pairs(pairs, len(table) if table.ndim == 2 else 0)
    return engle_granger_many(table[chosen[:, 0]], table[chosen[:, 1]], lags)


def check_pairs(pairs: ArrayLike, n_columns: int) -> np.ndarray:
    """Return `pairs` as an int64 array of shape (m, 2) of numbers of columns.

    Raises
    ------
    ValueError
        If the shape or a number is wrong.
    """
    chosen = np.ascontiguousarray(pairs, np.int64)
    if chosen.ndim != 2 or chosen.shape[1] != 2:
        raise ValueError(f"pairs must have shape (m, 2), was {chosen.shape}.")
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < n_columns:
        raise ValueError(
            f"pairs must name columns 0 to {n_columns - 1}, were {chosen.min()} to {chosen.max()}."
        )
    return chosen


@dataclass(frozen=True)
class PhillipsOuliarisResult:
    """Phillips' and Ouliaris' test; the null is that there is no cointegration.

    Attributes
    ----------
    statistic, p_value : float
        Of the statistic asked for.
    hedge_ratios : tuple of float, one per column of x
        Units of y per x.
    intercept : float
        Constant of the regression; zero without one.
    bandwidth : float
        Of the long-run variance's kernel, samples.
    n : int
        Observations.
    critical_values : dict of str to float
        By level "1%", "5%", "10%".
    """

    statistic: float
    p_value: float
    hedge_ratios: tuple[float, ...]
    intercept: float
    bandwidth: float
    n: int
    critical_values: dict[str, float]


@dataclass(frozen=True)
class PhillipsOuliaris:
    """Options of Phillips' and Ouliaris' test; see `phillips_ouliaris`."""

    regression: str = "c"
    statistic: str = "Zt"
    bandwidth: int | None = None

    def __post_init__(self) -> None:
        check_options(self.regression, None)
        if self.bandwidth is not None and self.bandwidth < 0:
            raise ValueError(f"bandwidth must be >= 0, or None to choose it, was {self.bandwidth}.")
        if self.statistic not in _STATISTICS:
            raise ValueError(f"statistic must be one of {', '.join(_STATISTICS)}, was {self.statistic!r}.")

    def fit(self, y: ArrayLike, x: ArrayLike) -> PhillipsOuliarisResult:
        """Test the residuals of `y` on `x`; see `phillips_ouliaris`."""
        left, right = _sides(y, x, self.regression, None)
        ratios, intercept, _ = _regress(left, right, self.regression)
        test = stats_module("arch.unitroot.cointegration").phillips_ouliaris
        found = test(left, right, self.regression, test_type=self.statistic, bandwidth=self.bandwidth)
        return PhillipsOuliarisResult(
            statistic=float(found.stat),
            p_value=float(found.pvalue),
            hedge_ratios=ratios,
            intercept=intercept,
            bandwidth=float(found.bandwidth),
            n=len(left),
            critical_values={level: float(found.critical_values[int(level[:-1])]) for level in LEVELS},
        )


def phillips_ouliaris(
    y: ArrayLike, x: ArrayLike, regression: str = "c", statistic: str = "Zt", bandwidth: int | None = None
) -> PhillipsOuliarisResult:
    """Test y and x for cointegration by Phillips' and Ouliaris' statistics, as arch computes them.

    Instead of lagged differences, the long-run variance (Bartlett's kernel) takes care of serial correlation.

    Parameters
    ----------
    y : array_like of float, shape (n,)
        Evenly spaced, oldest first.
    x : array_like of float, shape (n,) or (n, k)
        At the same times.
    regression : {"c", "n", "ct", "ctt"}
        Deterministic terms: constant, none, and linear trend, and squared trend.
    statistic : {"Zt", "Za", "Pu", "Pz"}
        The t-value or the coefficient of the residuals' autoregression; the variance ratio; the trace, which does not
        depend on which side y is.
    bandwidth : int, optional
        Of the kernel, samples, >= 0; None chooses by Andrews' rule.

    Returns
    -------
    PhillipsOuliarisResult
        Statistic, p-value, hedge ratio, intercept, bandwidth and critical values.

    Raises
    ------
    ValueError
        If the series are too short, of different length, not finite or constant, or an option is unknown.
    ConfigError
        If arch is not installed.
    """
    return PhillipsOuliaris(regression, statistic, bandwidth).fit(y, x)


def _sides(y: ArrayLike, x: ArrayLike, regression: str, lags: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides of a regression as arrays of shape (n,) and (n, k).

    Raises
    ------
    ValueError
        If they cannot be tested.
    """
    terms = TRENDS.index(regression) + (np.asarray(x).shape[1] if np.ndim(x) == 2 else 1)
    least = least_observations(lags, terms)
    left, right = series(y, "y", least), columns(x, "x", least)
    if right.shape[1] > _MOST_REGRESSORS:
        raise ValueError(f"x must have at most {_MOST_REGRESSORS} columns, had {right.shape[1]}.")
    if len(left) != len(right):
        raise ValueError(f"y and x must have one length, were {len(left)} and {len(right)}.")
    return left, right


def _regress(
    left: np.ndarray, right: np.ndarray, regression: str
) -> tuple[tuple[float, ...], float, np.ndarray]:
    """Hedge ratios, intercept and residuals of the cointegrating regression.

    Raises
    ------
    ValueError
        If the regressors, or both sides, are collinear.
    """
    n, k = right.shape
    powers = np.vander(np.arange(1.0, n + 1.0), TRENDS.index(regression), increasing=True)
    design = np.hstack([right, powers])
    scale = np.sqrt((design**2).sum(axis=0))  # least squares sees levels and powers of time alike
    found, _, rank, _ = np.linalg.lstsq(design / scale, left, rcond=None)
    if rank < design.shape[1]:
        raise ValueError("the columns of x and the trend must be linearly independent, were not.")
    residuals = left - (design / scale) @ found
    about = left if regression == "n" else left - left.mean()
    if residuals @ residuals <= _COLLINEAR_FRAC * (about @ about):
        raise ValueError(
            "y and x must not be collinear: the regression leaves no residual to test (R^2 > 1 - 1.5e-6). "
            "Are they the same instrument?"
        )
    coefficients = found / scale
    intercept = 0.0 if regression == "n" else float(coefficients[k])
    return tuple(float(c) for c in coefficients[:k]), intercept, residuals


def _mackinnon(statistic: float, regression: str, n_series: int, n: int) -> tuple[float, dict[str, float]]:
    """P-value and critical values of a statistic for `n_series` series, by statsmodels' tables."""
    tables = stats_module("statsmodels.tsa.adfvalues")
    p_value = float(tables.mackinnonp(statistic, regression=regression, N=n_series))
    if regression == "n":
        return p_value, {}
    found = tables.mackinnoncrit(N=n_series, regression=regression, nobs=n)
    return p_value, {level: float(value) for level, value in zip(LEVELS, found, strict=True)}


def _fixed_lags(lags: int) -> int:
    """Return `lags`.

    Raises
    ------
    ValueError
        If it is negative.
    """
    if lags < 0:
        raise ValueError(f"lags must be >= 0, was {lags}.")
    return lags
