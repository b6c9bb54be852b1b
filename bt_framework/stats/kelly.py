"""How much of the capital to stake so that it grows fastest: the Kelly criterion.

A fraction is the value of a position / capital; above 1 it is borrowed, below 0 it is short. With a constant fraction
f of a bet whose excess return has the mean m and the variance v, capital grows by ``r + f m - f^2 v / 2`` per period,
which is most at ``f = m / v``. Twice that grows no more than r, and estimated means are noisy: use a part of it
(`Kelly.fraction`) and a cap.

References
----------
Kelly, J. L. (1956). A new interpretation of information rate. Bell System Technical Journal 35, 917-926.
Thorp, E. O. (2006). The Kelly criterion in blackjack, sports betting and the stock market. Handbook of Asset and
Liability Management 1, 385-428: equation (2.1) for single bets, sections 7.1 and 8 for continuous ones.
MacLean, L. C., Thorp, E. O. and Ziemba, W. T. (2010). Long-term capital growth: the good and bad properties of the
Kelly and fractional Kelly capital growth criteria. Quantitative Finance 10, 681-687.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.stats._inputs import covariance_matrix, finite, positive, vector
from bt_framework.stats._newton import minimised
from bt_framework.stats._series import columns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class KellyMethod(Enum):
    """How fractions follow from returns."""

    moments = "moments"
    """Means and covariance: right for many small returns."""
    log_optimal = "log_optimal"
    """The largest mean of log(1 + return of the whole) over the sample itself: right for large returns too."""


def kelly_discrete(win_probability: float, win: float, loss: float = 1.0) -> float:
    """Best stake of a bet with two outcomes, as a fraction of capital: ``p / loss - (1 - p) / win``.

    Parameters
    ----------
    win_probability : float
        p, in [0, 1].
    win, loss : float
        What one unit of stake gains or loses, > 0.

    Returns
    -------
    float
        Negative if the bet is unfavourable: nothing, or the other side, is staked.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> round(kelly_discrete(0.6, 1.0), 12)
    0.2
    """
    if not 0.0 <= win_probability <= 1.0:
        raise ValueError(f"win_probability must be in [0, 1], was {win_probability!r}.")
    return win_probability / positive(loss, "loss") - (1.0 - win_probability) / positive(win, "win")


def kelly_continuous(mean: float, variance: float, risk_free: float = 0.0) -> float:
    """Best fraction of one asset: ``(mean - risk_free) / variance``, all over the same period.

    Raises
    ------
    ValueError
        If `variance` is not > 0, or a number is not finite.

    Examples
    --------
    >>> round(kelly_continuous(0.08, 0.04, 0.02), 12)
    1.5
    """
    return (finite(mean, "mean") - finite(risk_free, "risk_free")) / positive(variance, "variance")


def kelly_weights(mean: ArrayLike, covariance: ArrayLike, risk_free: float = 0.0) -> np.ndarray:
    """Best fractions of several assets: ``covariance^-1 (mean - risk_free)``.

    Parameters
    ----------
    mean : array_like of float, shape (k,)
        Returns per period.
    covariance : array_like of float, shape (k, k)
        Of the returns, over the same period; positive definite.
    risk_free : float
        Return of what is not staked, and cost of what is borrowed, per period.

    Returns
    -------
    float64 array of shape (k,)

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, or the covariance is not positive definite.
    """
    matrix = covariance_matrix(covariance)
    excess = vector(mean, "mean", len(matrix)) - finite(risk_free, "risk_free")
    fractions: np.ndarray = np.linalg.solve(matrix, excess)
    return fractions


def kelly_empirical(returns: ArrayLike, risk_free: float = 0.0) -> np.ndarray:
    """Fractions with the largest mean of ``log(1 + risk_free + f (return - risk_free))`` over a sample.

    The mean is concave in f, so Newton's method finds the one maximum; every outcome of the sample is survived there.

    Parameters
    ----------
    returns : array_like of float, shape (n,) or (n, k)
        Simple returns per period, > -1 where they are to be held long without borrowing.
    risk_free : float
        Per period, > -1.

    Returns
    -------
    float64 array of shape (k,)

    Raises
    ------
    ValueError
        If a return is not finite, a mix of the series never varies, or never loses against the risk-free rate: then
        the growth has no maximum.
    """
    sample = columns(returns, "returns", 2)
    if not -1.0 < risk_free < math.inf:
        raise ValueError(f"risk_free must be > -1 and finite, was {risk_free!r}.")
    covariance_matrix(np.cov(sample, rowvar=False))
    bets = (sample - risk_free) / (1.0 + risk_free)

    def value(fractions: np.ndarray) -> float:
        wealth = 1.0 + bets @ fractions
        return -float(np.log(wealth).sum()) if wealth.min() > 0.0 else math.inf

    def derivatives(fractions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        relative = bets / (1.0 + bets @ fractions)[:, None]
        return -relative.sum(axis=0), relative.T @ relative

    fractions, found = minimised(np.zeros(bets.shape[1]), value, derivatives)
    if not found:
        raise ValueError(
            "returns must lose at times against the risk-free rate, but a mix of them never does: its growth has no "
            "maximum. Use a longer sample, or `kelly_weights`."
        )
    return fractions


def growth_rate(
    fractions: ArrayLike, mean: ArrayLike, covariance: ArrayLike, risk_free: float = 0.0
) -> float:
    """Growth of capital per period: ``risk_free + f' (mean - risk_free) - f' covariance f / 2``.

    Scalars are one asset, whose `covariance` is its variance.

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, or the covariance is not positive definite.
    """
    matrix = covariance_matrix(covariance)
    f = vector(fractions, "fractions", len(matrix))
    m = vector(mean, "mean", len(matrix)) - finite(risk_free, "risk_free")
    return risk_free + float(f @ m) - 0.5 * float(f @ matrix @ f)


@dataclass(frozen=True)
class KellyFit:
    """Fractions from a sample of returns.

    Attributes
    ----------
    fractions : float64 array of shape (k,)
        To use: a part of `full`, capped.
    full : float64 array of shape (k,)
        With the fastest growth over the sample; negative is short.
    mean : float64 array of shape (k,)
        Return per period.
    covariance : float64 array of shape (k, k)
        Of the returns, with n - 1 in the denominator.
    growth : float
        Of capital per period at `fractions`: by mean and covariance, or for `KellyMethod.log_optimal` over the sample.
    n : int
        Observations.
    """

    fractions: np.ndarray
    full: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    growth: float
    n: int


@dataclass(frozen=True)
class Kelly:
    """The Kelly criterion with what practice puts around it.

    Parameters
    ----------
    fraction : float
        Part of the best fractions that is used, in (0, 1]; 0.5 keeps three quarters of the growth at half the risk.
    cap : float
        Largest sum of the absolute fractions, > 0; above it all shrink by one factor.
    risk_free : float
        Per period of the returns.
    method : KellyMethod
        How fractions follow from returns.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> Kelly(fraction=0.5, cap=1.0).sized([4.0, -2.0]).tolist()
    [0.6666666666666666, -0.3333333333333333]
    """

    fraction: float = 1.0
    cap: float = math.inf
    risk_free: float = 0.0
    method: KellyMethod = KellyMethod.moments

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(f"fraction must be in (0, 1], was {self.fraction!r}.")
        if not self.cap > 0.0:
            raise ValueError(f"cap must be > 0, was {self.cap!r}.")
        finite(self.risk_free, "risk_free")

    def sized(self, full: ArrayLike) -> np.ndarray:
        """Return the part of the best fractions that is used, shape (k,)."""
        fractions = self.fraction * vector(full, "full")
        gross = float(np.abs(fractions).sum())
        return fractions * (self.cap / gross) if gross > self.cap else fractions

    def fit(self, returns: ArrayLike) -> KellyFit:
        """Estimate fractions from simple returns of shape (n,) or (n, k).

        Raises
        ------
        ValueError
            If a return is not finite, there are fewer than k + 2 rows, or a mix of the series never varies; for the
            log-optimal method also if one never loses.
        """
        sample = columns(returns, "returns", 3)
        count, k = sample.shape
        if count < k + 2:
            raise ValueError(f"returns must have at least {k + 2} observations of {k} series, had {count}.")
        mean, covariance = sample.mean(axis=0), np.atleast_2d(np.cov(sample, rowvar=False))
        if self.method is KellyMethod.log_optimal:
            full = kelly_empirical(sample, self.risk_free)
            fractions = self.sized(full)
            growth = float(np.log1p(self.risk_free + (sample - self.risk_free) @ fractions).mean())
        else:
            full = kelly_weights(mean, covariance, self.risk_free)
            fractions = self.sized(full)
            growth = growth_rate(fractions, mean, covariance, self.risk_free)
        return KellyFit(fractions, full, mean, covariance, growth, count)
