"""From the p-values of several tests of each pair to discoveries among all that was tested.

References
----------
Liu, Y. and Xie, J. (2020). Cauchy combination test: a powerful test with analytic p-value calculation under arbitrary
dependency structures. Journal of the American Statistical Association 115, 393-402.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bt_framework.stats.multiple_testing import benjamini_hochberg, storey

_LARGEST_P = 0.99
"""Of a p-value in a combination: one test that is sure of the null must not outvote all others."""

_TUNING = 0.5
"""Storey's. Pairs share symbols, so their p-values lump together: a tuning that is chosen by the data finds too few
true nulls (a fifth of the discoveries were false at a rate of 0.05, in universes of 66 pairs), this one hardly does."""


def combined_p(p_values: np.ndarray) -> np.ndarray:
    """Combine the p-values of several tests of one hypothesis, whatever their dependence.

    With the Cauchy combination of k tests::

        T = sum_i tan((1/2 - p_i) pi) / k,    p = 1/2 - arctan(T) / pi

    Equal p-values keep their value. The result is exact for independent and for equal tests and, as p goes to zero,
    for any dependence (Liu and Xie 2020, theorem 1). p-values above 0.99 count as 0.99.

    Parameters
    ----------
    p_values : float64 array of shape (n, k)
        A row per hypothesis; within [0, 1] or NaN.

    Returns
    -------
    float64 array of shape (n,)
        NaN where any of the row is.

    Examples
    --------
    >>> combined_p(np.array([[0.02, 0.02], [0.01, 0.5]])).round(6).tolist()
    [0.02, 0.01998]
    """
    if p_values.shape[1] == 1:
        return p_values[:, 0].copy()
    # 1/tan and arctan2 keep the digits of a small p, which differences from 1/2 would lose.
    with np.errstate(divide="ignore", over="ignore"):
        total = (1.0 / np.tan(np.minimum(p_values, _LARGEST_P) * math.pi)).mean(axis=1)
    return np.asarray(np.arctan2(1.0, total) / math.pi)


@dataclass(frozen=True)
class Decisions:
    """What remains of p-values after control of the false discovery rate.

    Attributes
    ----------
    p_bh : float64 array of shape (n,)
        Adjusted by Benjamini and Hochberg; NaN where nothing was tested.
    q_storey : float64 array of shape (n,)
        Storey's q-values.
    pi0 : float64 array of shape (f,)
        Storey's share of true nulls, of each family in which something was tested.
    """

    p_bh: np.ndarray
    q_storey: np.ndarray
    pi0: np.ndarray


def decide(p_values: np.ndarray, family: np.ndarray) -> Decisions:
    """Adjust p-values within each family.

    Parameters
    ----------
    p_values : float64 array of shape (n,)
        NaN where nothing was tested.
    family : int64 array of shape (n,)
        Number of each one's family.
    """
    p_bh = np.full(len(p_values), np.nan)
    q = np.full(len(p_values), np.nan)
    pi0 = []
    for number in np.unique(family):
        members = np.flatnonzero((family == number) & ~np.isnan(p_values))
        if len(members):
            p_bh[members] = benjamini_hochberg(p_values[members])
            q[members], share = storey(p_values[members], _TUNING)
            pi0.append(share)
    return Decisions(p_bh, q, np.array(pi0))
