"""Limit laws of Johansen's statistics: Doornik's gamma approximation.

Means and variances of the limit laws are regressions on n = k - r, the number of common trends under the null, for
each of the five deterministic cases; a gamma law has both.

References
----------
Doornik, J. A. (1998). Approximations to the asymptotic distributions of cointegration tests. Journal of Economic
Surveys 12, 573-593, and erratum (1999); tables 7 and 8.
"""

from __future__ import annotations

import numpy as np

from bt_framework.stats._optional import stats_module

# Rows: the cases in the order of JohansenCase. Columns for the trace: n^2, n, 1, 1{n = 1}, 1{n = 2}, sqrt(n).
_TRACE_MEAN = np.array(
    [
        [2.0, -1.0, 0.07, 0.07, 0.0, 0.0],
        [2.0, 2.01, 0.0, 0.06, 0.05, 0.0],
        [2.0, 1.05, -1.55, -0.5, -0.23, 0.0],
        [2.0, 4.05, 0.5, -0.23, -0.07, 0.0],
        [2.0, 2.85, -5.1, -0.1, -0.06, 1.35],
    ]
)
_TRACE_VARIANCE = np.array(
    [
        [3.0, -0.33, -0.55, 0.0, 0.0, 0.0],
        [3.0, 3.6, 0.75, -0.4, -0.3, 0.0],
        [3.0, 1.8, 0.0, -2.8, -1.1, 0.0],
        [3.0, 5.7, 3.2, -1.3, -0.5, 0.0],
        [3.0, 4.0, 0.8, -5.8, -2.66, 0.0],
    ]
)
# Columns for the largest eigenvalue: n, 1, 1{n = 1}, 1{n = 2}, sqrt(n).
_MAX_MEAN = np.array(
    [
        [6.0019, -2.7558, 0.67185, 0.1149, -2.7764],
        [5.9498, 0.43402, 0.04836, 0.018198, -2.3669],
        [5.8271, -1.6487, -1.6118, -0.25949, -1.5666],
        [5.8658, 2.5595, -0.34443, -0.077991, -1.7552],
        [5.6364, -0.90531, -3.5166, -0.47966, -0.21447],
    ]
)
_MAX_VARIANCE = np.array(
    [
        [1.8806, -15.499, 1.1136, 0.070508, 14.714],
        [2.2231, -7.9064, 0.58592, -0.034324, 12.058],
        [2.0785, -9.7846, -3.368, -0.24528, 13.074],
        [1.9955, -5.5428, 1.2425, 0.41949, 12.841],
        [2.0899, -5.3303, -7.1523, -0.2526, 12.393],
    ]
)


def trace_p(statistic: np.ndarray, trends: np.ndarray | int, case: int) -> np.ndarray:
    """P-values of trace statistics for `trends` = k - r common trends; NaN gives NaN."""
    return _gamma_p(statistic, *_trace_law(trends, case))


def max_p(statistic: np.ndarray, trends: np.ndarray | int, case: int) -> np.ndarray:
    """P-values of maximum-eigenvalue statistics for `trends` = k - r common trends; NaN gives NaN."""
    return _gamma_p(statistic, *_max_law(trends, case))


def trace_quantiles(levels: np.ndarray, trends: np.ndarray, case: int) -> np.ndarray:
    """Quantiles of the trace statistic, shape (len(trends), len(levels))."""
    return _gamma_quantiles(levels, *_trace_law(trends, case))


def max_quantiles(levels: np.ndarray, trends: np.ndarray, case: int) -> np.ndarray:
    """Quantiles of the maximum-eigenvalue statistic, shape (len(trends), len(levels))."""
    return _gamma_quantiles(levels, *_max_law(trends, case))


def _trace_law(trends: np.ndarray | int, case: int) -> tuple[np.ndarray, np.ndarray]:
    n = np.atleast_1d(np.asarray(trends, np.float64))
    terms = np.stack([n**2, n, np.ones_like(n), n == 1, n == 2, np.sqrt(n)])
    return _TRACE_MEAN[case] @ terms, _TRACE_VARIANCE[case] @ terms


def _max_law(trends: np.ndarray | int, case: int) -> tuple[np.ndarray, np.ndarray]:
    n = np.atleast_1d(np.asarray(trends, np.float64))
    terms = np.stack([n, np.ones_like(n), n == 1, n == 2, np.sqrt(n)])
    return _MAX_MEAN[case] @ terms, _MAX_VARIANCE[case] @ terms


def _gamma_p(statistic: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Upper tail of the gamma law of `mean` and `variance`."""
    special = stats_module("scipy.special")
    return np.asarray(special.gammaincc(mean**2 / variance, np.maximum(statistic, 0.0) * mean / variance))


def _gamma_quantiles(levels: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Quantiles of the gamma laws of `mean` and `variance`, one row each."""
    special = stats_module("scipy.special")
    shape = (mean**2 / variance)[:, None]
    return np.asarray(special.gammaincinv(shape, np.asarray(levels)[None, :]) * (variance / mean)[:, None])
