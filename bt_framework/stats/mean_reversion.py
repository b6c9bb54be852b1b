"""How fast, and whether, a series reverts to its mean: half-life, variance ratio, Hurst exponent.

References
----------
Chan, E. P. (2013). Algorithmic Trading. Wiley, chapter 2 (half-life from a regression of the changes).
Lo, A. W. and MacKinlay, A. C. (1988). Stock market prices do not follow random walks: evidence from a simple
specification test. Review of Financial Studies 1, 41-66.
Di Matteo, T. (2007). Multi-scaling in finance. Quantitative Finance 7, 21-36 (generalised Hurst exponent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.stats._series import ROUNDING, series

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_LN_2 = math.log(2.0)
_LEAST = 4


@dataclass(frozen=True)
class HalfLifeResult:
    """Regression of the changes of a series on its level.

    Attributes
    ----------
    half_life : float
        -ln 2 / slope, samples; infinite if the slope is not negative: the series does not revert.
    ar1_half_life : float
        -ln 2 / ln(1 + slope), samples: that of the autoregression of which the regression is another writing.
        Zero if slope <= -1 (the series overshoots its mean within one sample), infinite if slope >= 0.
    slope : float
        Change per sample and unit of level.
    mean : float
        Level at which the expected change is zero; NaN if the slope is zero.
    t : float
        t-value of the slope. Its law under a random walk is Dickey's and Fuller's, not Student's.
    n : int
        Changes, one less than the values.
    """

    half_life: float
    ar1_half_life: float
    slope: float
    mean: float
    t: float
    n: int


@dataclass(frozen=True)
class HalfLife:
    """The half-life of mean reversion, with the regression behind it; see `half_life`."""

    def fit(self, values: ArrayLike) -> HalfLifeResult:
        """Regress the changes of `values` on their level; see `half_life`."""
        array = series(values, "values", _LEAST)
        level, change = array[:-1], np.diff(array)
        mean, mean_change = level.mean(), change.mean()
        u, d = level - mean, change - mean_change
        s_uu = float(u @ u)
        if s_uu <= len(u) * (ROUNDING * float(np.abs(array).max())) ** 2:
            raise ValueError("values must vary before the last one, were constant.")
        slope = float(u @ d) / s_uu
        residuals = d - slope * u
        variance = float(residuals @ residuals) / (len(u) - 2)
        exact = variance <= (ROUNDING * float(np.abs(array).max())) ** 2
        return HalfLifeResult(
            half_life=-_LN_2 / slope if slope < 0.0 else math.inf,
            ar1_half_life=_ar1_half_life(slope),
            slope=slope,
            mean=float(mean - mean_change / slope) if slope != 0.0 else math.nan,
            t=math.copysign(math.inf, slope) if exact else slope / math.sqrt(variance / s_uu),
            n=len(u),
        )


def _ar1_half_life(slope: float) -> float:
    """-ln 2 / ln(1 + slope) with its limits."""
    if slope >= 0.0:
        return math.inf
    return -_LN_2 / math.log1p(slope) if slope > -1.0 else 0.0


def half_life(values: ArrayLike) -> float:
    """Samples until half of a deviation from the mean is expected to be gone.

    With the slope of the regression::

        x[t] - x[t-1] = c + slope x[t-1] + e[t],   half-life = -ln 2 / slope

    This is Chan's reading, in which the slope is -theta dt of an Ornstein-Uhlenbeck process. For a slope that is not
    small, `HalfLifeResult.ar1_half_life` is the exact one.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        Evenly spaced, oldest first.

    Returns
    -------
    float
        In samples; infinite where the slope is not negative, which says that the series does not revert. Never NaN.

    Raises
    ------
    ValueError
        If the values are fewer than four, not finite or constant.

    Examples
    --------
    >>> round(half_life([0.0, 1.0, 0.5, 0.25, 0.2, -0.1, 0.0, 0.3]), 3)
    0.77
    >>> half_life([1.0, 2.0, 4.0, 8.0, 16.0])
    inf
    """
    return HalfLife().fit(values).half_life


@dataclass(frozen=True)
class VarianceRatioResult:
    """Lo's and MacKinlay's variance ratio; the null is a random walk.

    Attributes
    ----------
    ratio : float
        Variance of `lag`-sample changes over `lag` times that of one-sample changes; below 1: reversion.
    z, p_value : float
        Standard normal under a random walk of any heteroskedasticity, and its two-sided p-value.
    z_homoskedastic, p_value_homoskedastic : float
        The same under independent changes of one variance.
    lag, n : int
        Samples, and changes.
    """

    ratio: float
    z: float
    p_value: float
    z_homoskedastic: float
    p_value_homoskedastic: float
    lag: int
    n: int


@dataclass(frozen=True)
class VarianceRatio:
    """Options of the variance ratio; see `variance_ratio`."""

    lag: int = 2

    def __post_init__(self) -> None:
        if self.lag < 2:
            raise ValueError(f"lag must be >= 2, was {self.lag}.")

    def fit(self, values: ArrayLike) -> VarianceRatioResult:
        """Compare the variances of long and short changes; see `variance_ratio`."""
        q = self.lag
        array = series(values, "values", 2 * q + 1)
        change = np.diff(array)
        n, drift = len(change), float((array[-1] - array[0]) / (len(array) - 1))
        single = change - drift
        total = float(single @ single)
        if total <= n * (ROUNDING * float(np.abs(array).max())) ** 2:
            raise ValueError("values must not lie on a straight line, did.")
        multiple = array[q:] - array[:-q] - q * drift
        unbiased = q * (n - q + 1) * (1.0 - q / n)
        ratio = (float(multiple @ multiple) / unbiased) / (total / (n - 1))
        squares = single * single
        robust = 0.0
        for j in range(1, q):
            delta = n * float(squares[j:] @ squares[:-j]) / total**2
            robust += (2.0 * (q - j) / q) ** 2 * delta
        if robust == 0.0:
            raise ValueError("values must change more than once in a while, did not: z has no scale.")
        plain = 2.0 * (2 * q - 1) * (q - 1) / (3.0 * q)
        z, z_plain = (math.sqrt(n) * (ratio - 1.0) / math.sqrt(v) for v in (robust, plain))
        return VarianceRatioResult(ratio, z, _two_sided(z), z_plain, _two_sided(z_plain), q, n)


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2.0))


def variance_ratio(values: ArrayLike, lag: int = 2) -> VarianceRatioResult:
    """Test for a random walk by the variances of changes over `lag` samples and over one.

    With n changes, their mean m, and overlapping changes over q = lag samples::

        VR = sum_t (x[t] - x[t-q] - q m)^2 / (q (n - q + 1) (1 - q / n))  /  (sum_t (x[t] - x[t-1] - m)^2 / (n - 1))
        z  = sqrt(n) (VR - 1) / sqrt(sum_j (2 (q - j) / q)^2 delta[j])
        delta[j] = n sum_t a[t] a[t-j] / (sum_t a[t])^2,   a[t] = (x[t] - x[t-1] - m)^2

    Lo and MacKinlay (1988), equations 12 and 16 to 19 with bias corrections.

    Parameters
    ----------
    values : array_like of float, shape (n + 1,)
        Levels (log prices or a spread), evenly spaced, oldest first.
    lag : int
        Samples of the long change, >= 2.

    Returns
    -------
    VarianceRatioResult
        The ratio, and z and p with and without robustness to heteroskedasticity.

    Raises
    ------
    ValueError
        If there are fewer than 2 lag + 1 values, they are not finite or hardly vary around a straight line, or `lag`
        is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(1).normal(size=500)
    >>> round(variance_ratio(noise, 5).ratio, 1)
    0.2
    """
    return VarianceRatio(lag).fit(values)


@dataclass(frozen=True)
class HurstResult:
    """Generalised Hurst exponent of order two.

    Attributes
    ----------
    exponent : float
        0.5 for a random walk, below for reversion, above for trends; near 0 for stationary values.
    standard_error : float
        Of the line through the points. The points depend on each other, so it says how straight they lie, no more.
    max_lag, n : int
        Longest difference, samples, and number of values.
    """

    exponent: float
    standard_error: float
    max_lag: int
    n: int


@dataclass(frozen=True)
class Hurst:
    """Options of the Hurst exponent; see `hurst`."""

    max_lag: int = 20

    def __post_init__(self) -> None:
        if self.max_lag < 3:
            raise ValueError(f"max_lag must be >= 3, was {self.max_lag}.")

    def fit(self, values: ArrayLike) -> HurstResult:
        """Fit the line through the differences' mean squares; see `hurst`."""
        array = series(values, "values", 2 * self.max_lag)
        lags = np.arange(1, self.max_lag + 1)
        squares = np.array([np.mean((array[lag:] - array[:-lag]) ** 2) for lag in lags])
        if squares.min() <= (ROUNDING * float(np.abs(array).max())) ** 2:
            raise ValueError(f"values must not repeat themselves within max_lag = {self.max_lag}, did.")
        u = np.log(lags) - np.log(lags).mean()
        v = 0.5 * np.log(squares)
        slope = float(u @ v / (u @ u))
        residuals = v - v.mean() - slope * u
        error = math.sqrt(float(residuals @ residuals) / (len(lags) - 2) / float(u @ u))
        return HurstResult(slope, error, self.max_lag, len(array))


def hurst(values: ArrayLike, max_lag: int = 20) -> float:
    """Hurst exponent from how the mean square of differences grows with their lag.

    The generalised exponent of order two, by least squares over the lags 1 .. max_lag::

        log mean_t (x[t+lag] - x[t])^2 = 2 H log lag + c

    Parameters
    ----------
    values : array_like of float, shape (n,)
        Levels (log prices or a spread), evenly spaced, oldest first.
    max_lag : int
        Longest difference, samples, >= 3.

    Returns
    -------
    float
        The exponent; never NaN.

    Raises
    ------
    ValueError
        If there are fewer than 2 max_lag values, they are not finite, constant, or repeat themselves exactly, or
        `max_lag` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(1).normal(size=2_000)
    >>> round(hurst(noise), 1), round(hurst(noise.cumsum()), 1)
    (0.0, 0.5)
    """
    return Hurst(max_lag).fit(values).exponent
