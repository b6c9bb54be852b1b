"""What of a series of returns its benchmarks explain: alpha, betas, R², and what is left.

The regression, by least squares::

    returns[t] = alpha + beta_1 benchmark_1[t] + ... + beta_k benchmark_k[t] + residual[t]

Returns of short periods are neither independent nor of equal variance, so ordinary standard errors mislead. Those here
allow for both (HAC: heteroskedasticity and autocorrelation consistent). With ``x[t] = (1, benchmarks[t])``, residuals e
and ``G_l = sum x[t] e[t] e[t-l] x[t-l]'``::

    covariance = (X'X)^-1 (G_0 + sum over l = 1..L of (1 - l / (L + 1)) (G_l + G_l')) (X'X)^-1

References
----------
Jensen, M. C. (1968). The performance of mutual funds in the period 1945-1964. Journal of Finance 23, 389-416 (alpha).
Newey, W. K. and West, K. D. (1987). A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
covariance matrix. Econometrica 55, 703-708; (1994) Automatic lag selection, Review of Economic Studies 61, 631-653.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.stats._inputs import column_names, positive
from bt_framework.stats._series import ROUNDING, columns, series

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_COLLINEAR = 1e-7
"""Part of a benchmark's deviation that those before it must leave unexplained."""
_BLOCK = 1_024
"""Windows whose betas are solved at once."""


class Neutrality(Enum):
    """What the betas' confidence intervals say, against a largest beta that counts as none."""

    NEUTRAL = "neutral"
    """Every interval has 0 in it and lies within the largest beta."""
    SLIGHT = "slightly exposed"
    """A beta is significant, but every interval lies within the largest beta."""
    EXPOSED = "exposed"
    """A beta is significant, and may be larger than the largest one."""
    UNDECIDED = "undecided"
    """No beta is significant, but one may be larger than the largest one: too few observations, or too noisy."""


@dataclass(frozen=True)
class Coefficient:
    """An estimate with its HAC standard error.

    Attributes
    ----------
    name : str
        "alpha", or that of the benchmark.
    value, se : float
        Return per period for alpha, return per return of the benchmark for a beta.
    t : float
        value / se; infinite where the fit is perfect.
    p : float
        Two-sided, of the normal distribution.
    """

    name: str
    value: float
    se: float
    t: float
    p: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence bounds, by the normal distribution.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be between 0 and 1, was {level!r}.")
        half_width = NormalDist().inv_cdf(0.5 + level / 2.0) * self.se
        return self.value - half_width, self.value + half_width


@dataclass(frozen=True)
class FactorFit:
    """A regression of returns on benchmarks.

    Attributes
    ----------
    alpha : Coefficient
        Return per period that no benchmark explains.
    betas : tuple of Coefficient
        In the order of the benchmarks.
    alpha_annual : float
        alpha x periods per year: what it adds up to in a year, profits not reinvested.
    r_squared, adjusted_r_squared : float
        Part of the variance that the benchmarks explain; the second with degrees of freedom taken off.
    residual_sd : float
        Per period, with n - k - 1 in the denominator.
    residuals : float64 array of shape (n,)
    covariance : float64 array of shape (k + 1, k + 1)
        HAC, of alpha and the betas.
    wald, wald_p : float
        Statistic and p-value (chi-squared, k degrees of freedom) of all betas being 0; of perfect fits, inf and 0.
    lags : int
        L of the HAC covariance.
    n : int
        Observations.
    """

    alpha: Coefficient
    betas: tuple[Coefficient, ...]
    alpha_annual: float
    r_squared: float
    adjusted_r_squared: float
    residual_sd: float
    residuals: np.ndarray
    covariance: np.ndarray
    wald: float
    wald_p: float
    lags: int
    n: int

    def neutrality(self, largest_beta: float, level: float = 0.95) -> Neutrality:
        """Say whether the returns are neutral to the benchmarks, where a beta up to `largest_beta` counts as none."""
        positive(largest_beta, "largest_beta")
        intervals = [beta.interval(level) for beta in self.betas]
        significant = any(not low <= 0.0 <= high for low, high in intervals)
        small = all(-largest_beta <= low and high <= largest_beta for low, high in intervals)
        if significant:
            return Neutrality.SLIGHT if small else Neutrality.EXPOSED
        return Neutrality.NEUTRAL if small else Neutrality.UNDECIDED


@dataclass(frozen=True)
class FactorModel:
    """Least squares on benchmarks with HAC standard errors.

    Parameters
    ----------
    periods_per_year : float
        Of the returns, for `FactorFit.alpha_annual`.
    lags : int or None
        L; None: 4 (n / 100)^(2/9), rounded down. Returns of overlapping periods need at least the overlap.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    periods_per_year: float = 252.0
    lags: int | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self.periods_per_year, "periods_per_year")
        if self.lags is not None and self.lags < 0:
            raise ValueError(f"lags must be >= 0, was {self.lags}.")

    def fit(self, returns: ArrayLike, benchmarks: ArrayLike, names: Sequence[str] | None = None) -> FactorFit:
        """Regress.

        Parameters
        ----------
        returns : array_like of float, shape (n,)
            Per period, less the risk-free rate where that matters.
        benchmarks : array_like of float, shape (n,) or (n, k)
            Of the same periods.
        names : sequence of str, shape (k,), optional
            Of the benchmarks.

        Raises
        ------
        ValueError
            If the lengths differ, there are fewer than k + 3 observations, one is not finite, a series is constant, or
            a benchmark is a combination of those before it.
        """
        x, y = _observations(returns, benchmarks)
        n, k = x.shape
        names = column_names(names, k, "benchmark")
        _refuse_collinear(x, names)
        lags = int(4.0 * (n / 100.0) ** (2.0 / 9.0)) if self.lags is None else self.lags
        if lags >= n:
            raise ValueError(f"lags must be less than the observations, {n}, was {lags}.")
        values, residuals, covariance = _least_squares(x, y, lags)
        alpha, *betas = map(_coefficient, ("alpha", *names), values, np.sqrt(np.diagonal(covariance)))
        left, total = float(residuals @ residuals), float(((y - y.mean()) ** 2).sum())
        wald = _wald(values[1:], covariance[1:, 1:])
        return FactorFit(
            alpha=alpha,
            betas=tuple(betas),
            alpha_annual=alpha.value * self.periods_per_year,
            r_squared=1.0 - left / total,
            adjusted_r_squared=1.0 - (left / (n - k - 1)) / (total / (n - 1)),
            residual_sd=math.sqrt(left / (n - k - 1)),
            residuals=residuals,
            covariance=covariance,
            wald=wald,
            wald_p=_chi_squared_tail(wald, k),
            lags=lags,
            n=n,
        )


def factor_regression(
    returns: ArrayLike,
    benchmarks: ArrayLike,
    periods_per_year: float = 252.0,
    names: Sequence[str] | None = None,
) -> FactorFit:
    """Regress returns on benchmarks: `FactorModel` in one line.

    Examples
    --------
    >>> fit = factor_regression([0.011, -0.009, 0.021, 0.001, 0.012], [0.02, -0.02, 0.04, 0.0, 0.02])
    >>> round(fit.betas[0].value, 3), round(fit.alpha.value, 5)
    (0.504, 0.00115)
    """
    return FactorModel(periods_per_year).fit(returns, benchmarks, names)


def rolling_beta(returns: ArrayLike, benchmarks: ArrayLike, window: int) -> np.ndarray:
    """Betas of the regression over each of the windows.

    Parameters
    ----------
    returns : array_like of float, shape (n,)
    benchmarks : array_like of float, shape (n,) or (n, k)
    window : int
        Observations, from k + 2 to n.

    Returns
    -------
    float64 array of shape (n, k)
        Row t has the betas of the `window` observations that end with t. NaN before there are that many, and where a
        benchmark is constant in the window or a combination of the others.

    Raises
    ------
    ValueError
        As `FactorModel.fit`, or if `window` is out of range.
    """
    x, y = _observations(returns, benchmarks)
    n, k = x.shape
    if not k + 2 <= window <= n:
        raise ValueError(f"window must be between {k + 2} and the observations, {n}, was {window}.")
    betas = np.full((n, k), np.nan)
    views = np.lib.stride_tricks.sliding_window_view(np.column_stack((y, x)), window, axis=0)
    for first in range(0, len(views), _BLOCK):
        block = views[first : first + _BLOCK]
        betas[first + window - 1 : first + window - 1 + len(block)] = _window_betas(block)
    return betas


def _observations(returns: ArrayLike, benchmarks: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Benchmarks of shape (n, k) and returns of shape (n,), checked."""
    x = np.asarray(benchmarks, np.float64)
    least = (x.shape[1] if x.ndim == 2 else 1) + 3
    y, x = series(returns, "returns", least), columns(x, "benchmarks", least)
    if len(x) != len(y):
        raise ValueError(f"returns and benchmarks must be of the same periods, were {len(y)} and {len(x)}.")
    return x, y


def _refuse_collinear(x: np.ndarray, names: Sequence[str]) -> None:
    """Name the first benchmark that those before it explain but for rounding."""
    centred = x - x.mean(axis=0)
    left = np.abs(np.diagonal(np.linalg.qr(centred / np.linalg.norm(centred, axis=0), mode="r")))
    if left.min() < _COLLINEAR:
        at = int(np.argmax(left < _COLLINEAR))
        raise ValueError(
            f"benchmarks must not be collinear, but {names[at]} is a combination of {', '.join(names[:at])}. "
            "Leave it out."
        )


def _least_squares(x: np.ndarray, y: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Alpha and betas, residuals, and the HAC covariance."""
    n = len(y)
    design = np.column_stack((np.ones(n), x))
    scale = np.linalg.norm(design, axis=0)
    q, r = np.linalg.qr(design / scale)
    values = np.linalg.solve(r, q.T @ y)
    residuals = y - (design / scale) @ values
    rounding = ROUNDING * float(np.abs(y).max())
    if float(np.abs(residuals).max()) <= rounding:  # a perfect fit: what is left is rounding
        residuals, values = np.zeros(n), np.where(np.abs(values) > n * rounding, values, 0.0)
    scores = q * residuals[:, None]
    middle = scores.T @ scores
    for lag in range(1, lags + 1):
        shifted = scores[lag:].T @ scores[:-lag]
        middle += (1.0 - lag / (lags + 1.0)) * (shifted + shifted.T)
    half = np.linalg.solve(r, np.linalg.solve(r, middle).T)
    covariance = 0.5 * (half + half.T) / np.outer(scale, scale)
    return values / scale, residuals, covariance


def _coefficient(name: str, value: float, se: float) -> Coefficient:
    value, se = float(value), float(se)
    t = value / se if se > 0.0 else math.copysign(math.inf, value) if value != 0.0 else 0.0
    return Coefficient(name, value, se, t, math.erfc(abs(t) / math.sqrt(2.0)))


def _wald(betas: np.ndarray, covariance: np.ndarray) -> float:
    """``b' V^-1 b``; infinite for a perfect fit, 0 for betas of 0."""
    if not betas.any():
        return 0.0
    sd = np.sqrt(np.diagonal(covariance))
    if not sd.all():
        return math.inf
    scaled = betas / sd
    return float(scaled @ np.linalg.lstsq(covariance / np.outer(sd, sd), scaled, rcond=None)[0])


def _chi_squared_tail(statistic: float, freedom: int) -> float:
    """Probability of more than `statistic`: a finite sum for whole degrees of freedom.

    Abramowitz and Stegun (1964), Handbook of Mathematical Functions, equations 26.4.4 and 26.4.5.
    """
    if math.isinf(statistic):
        return 0.0
    half = 0.5 * statistic
    tail = math.erfc(math.sqrt(half)) if freedom % 2 else 0.0
    for i in range(freedom // 2):
        power = i + 0.5 * (freedom % 2)
        if half > 0.0:
            tail += math.exp(power * math.log(half) - half - math.lgamma(power + 1.0))
        else:
            tail += 1.0 if power == 0.0 else 0.0
    return min(1.0, tail)


def _window_betas(block: np.ndarray) -> np.ndarray:
    """Betas of windows of shape (m, k + 1, window), returns first; shape (m, k)."""
    centred = block - block.mean(axis=2, keepdims=True)
    squares = np.einsum("mit,mit->mi", centred, centred)
    floor = block.shape[2] * (ROUNDING * np.abs(block).max(axis=2)) ** 2
    varies = (squares[:, 1:] > floor[:, 1:]).all(axis=1)
    norms = np.sqrt(np.where(squares > 0.0, squares, 1.0))
    scaled = centred / norms[:, :, None]
    products = scaled[:, 1:] @ scaled.transpose(0, 2, 1)
    gram = products[:, :, 1:]
    gram[~varies] = np.eye(gram.shape[1])
    varies &= np.linalg.eigvalsh(gram)[:, 0] > _COLLINEAR**2
    gram[~varies] = np.eye(gram.shape[1])
    betas: np.ndarray = np.linalg.solve(gram, products[:, :, :1])[:, :, 0] * norms[:, :1] / norms[:, 1:]
    betas[~varies] = np.nan
    return betas
