"""Unit root test of one series: augmented Dickey-Fuller.

References
----------
Dickey, D. A. and Fuller, W. A. (1979). Distribution of the estimators for autoregressive time series with a unit
root. Journal of the American Statistical Association 74, 427-431.
Said, S. E. and Dickey, D. A. (1984). Testing for unit roots in ARMA models of unknown order. Biometrika 71, 599-607.
MacKinnon, J. G. (1994). Approximate asymptotic distribution functions for unit-root and cointegration tests. Journal
of Business and Economic Statistics 12, 167-176.
MacKinnon, J. G. (2010). Critical values for cointegration tests. Queen's Economics Department Working Paper 1227.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.stats._optional import stats_module
from bt_framework.stats._series import series

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

TRENDS = ("n", "c", "ct", "ctt")
"""Deterministic terms of a regression: none, constant, and linear trend, and squared trend."""

LEVELS = ("1%", "5%", "10%")
"""Significance levels of the critical values."""

_LEAST = 4


@dataclass(frozen=True)
class AdfResult:
    """An augmented Dickey-Fuller test; the null is a unit root.

    Attributes
    ----------
    statistic : float
        t of the level's coefficient; the further below zero, the less the series looks like a random walk.
    p_value : float
        MacKinnon's (1994) approximate asymptotic p-value.
    lags : int
        Lagged differences in the regression.
    n : int
        Rows of the regression.
    critical_values : dict of str to float
        MacKinnon's (2010) for `n` rows, by level: "1%", "5%", "10%".
    """

    statistic: float
    p_value: float
    lags: int
    n: int
    critical_values: dict[str, float]


@dataclass(frozen=True)
class Adf:
    """Options of the augmented Dickey-Fuller test; see `adf`."""

    regression: str = "c"
    lags: int | None = None

    def __post_init__(self) -> None:
        check_options(self.regression, self.lags)

    def fit(self, values: ArrayLike) -> AdfResult:
        """Test `values` for a unit root; see `adf`."""
        trends = 0 if self.regression == "n" else len(self.regression)
        array = series(values, "values", least_observations(self.lags, trends))
        statistic, p_value, lags, n, critical = dickey_fuller(array, self.regression, self.lags)
        return AdfResult(statistic, p_value, lags, n, critical)


def adf(values: ArrayLike, regression: str = "c", lags: int | None = None) -> AdfResult:
    """Test a series for a unit root by the augmented Dickey-Fuller regression.

    The statistic is the t-value of rho in::

        x[t] - x[t-1] = rho x[t-1] + sum_i g[i] (x[t-i] - x[t-i-1]) + d[t] + e[t],   i = 1 .. lags

    with deterministic terms d. Computed by statsmodels.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        Evenly spaced, oldest first.
    regression : {"c", "n", "ct", "ctt"}
        Deterministic terms: constant, none, and linear trend, and squared trend.
    lags : int, optional
        Lagged differences, >= 0; None chooses by Akaike's criterion up to Schwert's 12 (n / 100)^(1/4).

    Returns
    -------
    AdfResult
        Statistic, p-value, lags used and critical values.

    Raises
    ------
    ValueError
        If the values are too few, not finite or constant, or an option is not one of those above.
    ConfigError
        If statsmodels is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(1).normal(size=500)
    >>> adf(noise).p_value < 0.01, adf(noise.cumsum()).p_value > 0.1
    (True, True)
    """
    return Adf(regression, lags).fit(values)


def check_options(regression: str, lags: int | None) -> None:
    """Refuse options that no Dickey-Fuller regression has.

    Raises
    ------
    ValueError
        With the option's name and what it was.
    """
    if regression not in TRENDS:
        raise ValueError(f"regression must be one of {', '.join(TRENDS)}, was {regression!r}.")
    if lags is not None and lags < 0:
        raise ValueError(f"lags must be >= 0, or None to choose them, was {lags}.")


def least_observations(lags: int | None, terms: int) -> int:
    """Observations that a regression with `lags` differences and `terms` other regressors needs."""
    return max(_LEAST + 2 * terms, 2 * ((lags or 0) + terms + 1))


def dickey_fuller(
    array: np.ndarray, regression: str, lags: int | None
) -> tuple[float, float, int, int, dict[str, float]]:
    """Statistic, p-value, lags, rows and critical values of one series, by statsmodels."""
    adfuller = stats_module("statsmodels.tsa.stattools").adfuller
    # Since 0.15 a call that does not say which form of result it wants is warned about; before, none could.
    plain = {"result_object": False} if "result_object" in inspect.signature(adfuller).parameters else {}
    found = adfuller(array, lags, regression, "AIC" if lags is None else None, **plain)
    critical = {level: float(found[4][level]) for level in LEVELS}
    return float(found[0]), float(found[1]), int(found[2]), int(found[3]), critical
