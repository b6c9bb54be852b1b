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
from bt_framework.stats._series import ROUNDING, series

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

TRENDS = ("n", "c", "ct", "ctt")
"""Deterministic terms of a regression: none, constant, and linear trend, and squared trend."""

LEVELS = ("1%", "5%", "10%")
"""Significance levels of the critical values."""

_LEAST = 6
_LEAST_TO_CHOOSE = 25
"""Fewer leave Schwert's longest regression hardly a degree of freedom, and Akaike's criterion likes that."""


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
    return terms + (_LEAST_TO_CHOOSE if lags is None else 2 * lags + _LEAST)


def dickey_fuller(
    array: np.ndarray, regression: str, lags: int | None
) -> tuple[float, float, int, int, dict[str, float]]:
    """Statistic, p-value, lags, rows and critical values of one series, by statsmodels.

    Raises
    ------
    ValueError
        If the regression has no error, or no unique solution: its t-value would be rounding.
    """
    adfuller = stats_module("statsmodels.tsa.stattools").adfuller
    # Since 0.15 a call that does not say which form of result it wants is warned about; before, none could.
    plain = {"result_object": False} if "result_object" in inspect.signature(adfuller).parameters else {}
    criterion = "AIC" if lags is None else None
    statistic, p_value, critical, found = adfuller(array, lags, regression, criterion, store=True, **plain)
    fit = found.resols
    if (
        fit.model.rank < fit.model.exog.shape[1]
        or fit.ssr <= fit.nobs * (ROUNDING * np.abs(array).max()) ** 2
    ):
        raise ValueError(
            "values must not follow from their own past without error, did: the test has no residual."
        )
    values = {level: float(critical[level]) for level in LEVELS}
    return float(statistic), float(p_value), int(found.usedlag), int(fit.nobs), values
