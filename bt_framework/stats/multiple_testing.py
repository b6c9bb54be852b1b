"""Many tests at once: control of the false discovery rate.

References
----------
Benjamini, Y. and Hochberg, Y. (1995). Controlling the false discovery rate. Journal of the Royal Statistical Society
B 57, 289-300.
Storey, J. D. (2002). A direct approach to false discovery rates. Journal of the Royal Statistical Society B 64,
479-498.
Storey, J. D., Taylor, J. E. and Siegmund, D. (2004). Strong control, conservative point estimation and simultaneous
conservative consistency of false discovery rates. Journal of the Royal Statistical Society B 66, 187-205.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_TUNING = np.arange(1, 20) * 0.05


@dataclass(frozen=True)
class FdrResult:
    """Tests after control of the false discovery rate.

    Attributes
    ----------
    adjusted : float64 array of shape (m,)
        Per test, the smallest rate at which it is still a discovery; NaN where its p-value is NaN.
    pi0 : float
        Share of true nulls that was assumed (1 for Benjamini's and Hochberg's) or estimated.
    tested : int
        p-values that are not NaN.
    """

    adjusted: np.ndarray
    pi0: float
    tested: int

    def discoveries(self, rate: float) -> np.ndarray:
        """Which tests are discoveries at `rate`, shape (m,) of bool; a test without p-value never is.

        Raises
        ------
        ValueError
            If the rate is not between 0 and 1.
        """
        if not 0.0 < rate < 1.0:
            raise ValueError(f"rate must be between 0 and 1, was {rate!r}.")
        return np.asarray(self.adjusted <= rate)


@dataclass(frozen=True)
class BenjaminiHochberg:
    """Step-up adjustment of p-values; see `benjamini_hochberg`."""

    def fit(self, p_values: ArrayLike) -> FdrResult:
        """Adjust `p_values`; see `benjamini_hochberg`."""
        array = _p_values(p_values)
        return FdrResult(_step_up(array), 1.0, int(np.count_nonzero(~np.isnan(array))))


def benjamini_hochberg(p_values: ArrayLike) -> np.ndarray:
    """Adjust p-values for the false discovery rate.

    With m p-values in rising order, the i-th adjusted one is::

        min over k >= i of  m p[k] / k,   at most 1

    Rejecting those at or below a rate keeps the expected share of false ones among them below it, for independent
    tests and for those that depend on each other positively.

    Parameters
    ----------
    p_values : array_like of float, shape (m,)
        Within [0, 1]. NaN is a test that could not be made: it does not count.

    Returns
    -------
    float64 array of shape (m,)
        In the order given; NaN where there was no test.

    Raises
    ------
    ValueError
        If the p-values are not one-dimensional or not within [0, 1].

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    return BenjaminiHochberg().fit(p_values).adjusted


@dataclass(frozen=True)
class Storey:
    """Options of Storey's q-values; see `storey`."""

    tuning: float | None = None

    def __post_init__(self) -> None:
        if self.tuning is not None and not 0.0 < self.tuning < 1.0:
            raise ValueError(f"tuning must be between 0 and 1, or None to choose it, was {self.tuning!r}.")

    def fit(self, p_values: ArrayLike) -> FdrResult:
        """Estimate the share of true nulls and the q-values; see `storey`."""
        array = _p_values(p_values)
        tested = array[~np.isnan(array)]
        pi0 = _share_of_nulls(tested, self.tuning) if len(tested) else 1.0
        return FdrResult(pi0 * _step_up(array), pi0, len(tested))


def storey(p_values: ArrayLike, tuning: float | None = None) -> tuple[np.ndarray, float]:
    """q-values: false discovery rates with an estimated share of true nulls.

    p-values of true nulls are uniform, so those above a tuning value L tell their share::

        pi0(L) = min(1, (#{p > L} + 1) / (m (1 - L)))
        q[i]   = min over k >= i of  pi0 m p[k] / k,   p in rising order

    The 1 keeps pi0 above zero and conservative (Storey, Taylor and Siegmund 2004, theorem 3). Without `tuning`, L is
    the one of 0.05, 0.10 .. 0.95 with the least estimated mean square error around the lowest decile of all pi0(L),
    in the closed form of the bootstrap (ibid., section 6)::

        mse(L) = W (1 - W / m) / (m (1 - L))^2 + (pi0(L) - decile)^2,   W = #{p > L}

    Parameters
    ----------
    p_values : array_like of float, shape (m,)
        Within [0, 1]. NaN is a test that could not be made: it does not count.
    tuning : float, optional
        L, between 0 and 1.

    Returns
    -------
    q : float64 array of shape (m,)
        In the order given, monotone in the p-values, never above the adjusted p-values of `benjamini_hochberg`; NaN
        where there was no test.
    pi0 : float
        Estimated share of true nulls, within (0, 1].

    Raises
    ------
    ValueError
        If the p-values are not one-dimensional or not within [0, 1], or `tuning` is out of range.

    Examples
    --------
    >>> q, pi0 = storey([0.001, 0.002, 0.003, 0.004, 0.6, 0.9], tuning=0.5)
    >>> round(pi0, 6), q.tolist()[3]
    (1.0, 0.006)
    """
    found = Storey(tuning).fit(p_values)
    return found.adjusted, found.pi0


def _p_values(p_values: ArrayLike) -> np.ndarray:
    """Return them as an array.

    Raises
    ------
    ValueError
        If they are not one-dimensional or not within [0, 1].
    """
    array = np.asarray(p_values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"p_values must have shape (m,), was {array.shape}.")
    outside = np.flatnonzero((array < 0.0) | (array > 1.0))
    if len(outside):
        raise ValueError(f"p_values must be within [0, 1], was {array[outside[0]]} at {outside[0]}.")
    return array


def _step_up(array: np.ndarray) -> np.ndarray:
    """min over k >= i of m p[k] / k, at most 1, in the order given; NaN stays where it is."""
    adjusted = np.full(len(array), np.nan)
    (where,) = np.nonzero(~np.isnan(array))
    order = where[np.argsort(array[where], kind="stable")]
    m = len(order)
    scaled = array[order] * (m / np.arange(1, m + 1))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _share_of_nulls(tested: np.ndarray, tuning: float | None) -> float:
    """pi0 at `tuning`, or at the one with the least estimated error; see `storey`."""
    m = len(tested)
    values = _TUNING if tuning is None else np.array([tuning])
    above = m - np.searchsorted(np.sort(tested), values, side="right")
    pi0 = (above + 1.0) / (m * (1.0 - values))
    errors = above * (1.0 - above / m) / (m * (1.0 - values)) ** 2 + (pi0 - np.quantile(pi0, 0.1)) ** 2
    return float(min(pi0[np.argmin(errors)], 1.0))
