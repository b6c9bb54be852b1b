"""How much of a position to hold so that its volatility is a chosen one: target / forecast, from past returns only.

The scale of period t uses returns up to t - 1, so that it can be traded: ``scale[t] * returns[t]`` is the return of the
scaled position.

References
----------
J.P. Morgan (1996). RiskMetrics Technical Document, 4th ed., section 5.2 (exponentially weighted variance, mean zero).
Moreira, A. and Muir, T. (2017). Volatility-managed portfolios. Journal of Finance 72, 1611-1644.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.jit import cached_kernel
from bt_framework.stats._inputs import positive
from bt_framework.stats._series import series

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class VolatilityEstimator(Enum):
    """How the next period's volatility is forecast."""

    rolling = "rolling"
    """Standard deviation of the last ``window`` returns, with window - 1 in the denominator."""
    ewma = "ewma"
    """Root of the weighted mean of all squared returns so far; the weight halves every ``half_life`` periods."""


@cached_kernel
def _rolling_sd(returns: Any, window: int, out: Any) -> None:
    """``out[t]``: sd of ``returns[t - window:t]``; in two passes, so that nothing cancels. NaN before."""
    for t in range(len(out)):
        if t < window:
            out[t] = math.nan
            continue
        mean = 0.0
        for i in range(t - window, t):
            mean += returns[i]
        mean /= window
        squares = 0.0
        for i in range(t - window, t):
            squares += (returns[i] - mean) ** 2
        out[t] = math.sqrt(squares / (window - 1))


@cached_kernel
def _ewma_sd(returns: Any, keep: float, warmup: int, out: Any) -> None:
    """``out[t]``: root of sum keep^(t-1-i) returns[i]^2 / sum keep^(t-1-i) over i < t. NaN before `warmup` returns."""
    squares = weight = 0.0
    for t in range(len(out)):
        out[t] = math.sqrt(squares / weight) if t >= warmup else math.nan
        if t < len(returns):
            squares = keep * squares + (1.0 - keep) * returns[t] ** 2
            weight = keep * weight + (1.0 - keep)


@dataclass(frozen=True)
class VolatilityFit:
    """A position's scale through time.

    Attributes
    ----------
    scale : float64 array of shape (n,)
        Multiple of the position to hold over each period; 0 in the warm-up.
    forecast_sd : float64 array of shape (n,)
        Of each period's return, annualised, from the returns before it; NaN in the warm-up.
    next_scale : float
        For the period after the sample; 0 if that is still in the warm-up.
    returns : float64 array of shape (n,)
        Of the scaled position.
    """

    scale: np.ndarray
    forecast_sd: np.ndarray
    next_scale: float
    returns: np.ndarray


@dataclass(frozen=True)
class VolatilityTarget:
    """Volatility targeting with a cap.

    Parameters
    ----------
    target_sd : float
        Annualised standard deviation of returns to aim at, > 0.
    periods_per_year : float
        Annualisation: sd per period x its square root. 252 for trading days, 365 for days of a market that never
        closes, 525 600 for its minutes.
    estimator : VolatilityEstimator
        Rolling or exponentially weighted.
    window : int
        Rolling: returns that count, >= 2. Exponentially weighted: returns before the first scale.
    half_life : float
        Exponentially weighted: periods after which a return counts half, > 0.
    max_scale : float
        Largest scale, > 0; also that of a forecast of 0.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    target_sd: float
    periods_per_year: float
    estimator: VolatilityEstimator = VolatilityEstimator.rolling
    window: int = 20
    half_life: float = 10.0
    max_scale: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("target_sd", "periods_per_year", "half_life", "max_scale"):
            positive(getattr(self, name), name)
        if self.window < 2:
            raise ValueError(f"window must be >= 2, was {self.window!r}.")

    def fit(self, returns: ArrayLike) -> VolatilityFit:
        """Scale a position by its returns so far.

        Parameters
        ----------
        returns : array_like of float, shape (n,)
            Per period, oldest first.

        Raises
        ------
        ValueError
            If the shape is another, or a return is not finite, or they never vary.
        """
        array = series(returns, "returns", 2)
        sd = np.empty(len(array) + 1)
        if self.estimator is VolatilityEstimator.rolling:
            _rolling_sd(array, self.window, sd)
        else:
            _ewma_sd(array, 0.5 ** (1.0 / self.half_life), self.window, sd)
        sd *= math.sqrt(self.periods_per_year)
        # Not target / sd, which a forecast of next to nothing would overflow.
        capped = self.target_sd >= sd * self.max_scale
        scale = np.where(capped, self.max_scale, self.target_sd / np.where(capped, 1.0, sd))
        scale[np.isnan(sd)] = 0.0
        return VolatilityFit(scale[:-1], sd[:-1], float(scale[-1]), scale[:-1] * array)


def volatility_scale(
    returns: ArrayLike, target_sd: float, periods_per_year: float, window: int = 20, max_scale: float = 1.0
) -> np.ndarray:
    """Multiple of a position to hold over each period, from its rolling volatility: `VolatilityTarget` in one line.

    Examples
    --------
    >>> volatility_scale([0.01, -0.01, 0.01, -0.01], 0.1, 252, window=2).round(3).tolist()
    [0.0, 0.0, 0.445, 0.445]
    """
    return (
        VolatilityTarget(target_sd, periods_per_year, window=window, max_scale=max_scale).fit(returns).scale
    )
