"""Johansen's test of the cointegration rank, for all five deterministic cases.

The error-correction form of a vector autoregression of k series, with p lagged differences::

    dx[t] = alpha beta' (x[t-1]; restricted terms) + sum_i G[i] dx[t-i] + unrestricted terms + e[t],   i = 1 .. p

Partialling the lagged differences and unrestricted terms out of dx[t] and of (x[t-1]; restricted terms) leaves R0 and
R1; the eigenvalues are the squared canonical correlations of the two.

References
----------
Johansen, S. (1988). Statistical analysis of cointegration vectors. Journal of Economic Dynamics and Control 12,
231-254.
Johansen, S. (1995). Likelihood-Based Inference in Cointegrated Vector Autoregressive Models. Oxford University Press,
chapters 5, 6 and 15.
Doornik, J. A. (1998). Approximations to the asymptotic distributions of cointegration tests. Journal of Economic
Surveys 12, 573-593 (p-values).
MacKinnon, J. G., Haug, A. A. and Michelis, L. (1999). Numerical distribution functions of likelihood ratio tests for
cointegration. Journal of Applied Econometrics 14, 563-577 (critical values).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.stats._johansen_tables import max_p, max_quantiles, trace_p, trace_quantiles
from bt_framework.stats._optional import stats_module
from bt_framework.stats._series import columns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class JohansenCase(IntEnum):
    """Deterministic terms, in rising generality; restricted ones are part of the cointegrating relation.

    In the order of Johansen (1995), section 5.7, and of EViews' cases 1 to 5. The laws of the unrestricted cases hold
    if the trend is there: for two random walks without drift, the trace test of `UNRESTRICTED_CONSTANT` rejects 12 %
    at the level of 5 %, that of `UNRESTRICTED_TREND` 22 %, the maximum-eigenvalue tests 7 and 9 % (simulated, 500
    observations). The restricted cases hold either way. Prices drift and their relation does not:
    `UNRESTRICTED_CONSTANT` is the usual choice for them; where the drift is small, `RESTRICTED_CONSTANT` is honest.
    """

    NONE = 0
    """No terms: everything has mean zero."""
    RESTRICTED_CONSTANT = 1
    """The relation has a mean, the series have no trend."""
    UNRESTRICTED_CONSTANT = 2
    """The series have linear trends, the relation has none."""
    RESTRICTED_TREND = 3
    """Series and relation have linear trends."""
    UNRESTRICTED_TREND = 4
    """The series have quadratic trends, the relation a linear one."""


LEVELS = (0.90, 0.95, 0.99)
"""Probabilities of the critical values."""

_MHM_ORDERS = {
    JohansenCase.NONE: -1,
    JohansenCase.UNRESTRICTED_CONSTANT: 0,
    JohansenCase.UNRESTRICTED_TREND: 1,
}
_MOST_MHM = 12
_RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class JohansenResult:
    """A test of the number r of cointegrating relations among k series.

    Entry r of each array is about the null that there are r relations: `trace` against up to k, `max_eigenvalue`
    against r + 1.

    Attributes
    ----------
    eigenvalues : float64 array of shape (k,)
        Squared canonical correlations, falling.
    vectors : float64 array of shape (k, k)
        Column i is the i-th cointegrating vector over the series, units 1 / unit of each series, scaled to
        v' S11 v = 1 with S11 = R1'R1 / n, its first non-zero entry positive.
    deterministic : float64 array of shape (k,)
        Entry of the restricted constant or trend in each vector; zeros in the other cases. The relation is
        x[t]' v + entry, or x[t]' v + entry t up to a constant.
    trace, max_eigenvalue : float64 array of shape (k,)
        -n sum over i >= r of ln(1 - eigenvalue[i]), and -n ln(1 - eigenvalue[r]).
    trace_p, max_p : float64 array of shape (k,)
        Doornik's (1998) gamma approximation: within 0.005 of MacKinnon, Haug and Michelis at their critical values.
    trace_critical, max_critical : float64 array of shape (k, 3)
        The same law's quantiles at 90, 95 and 99 %; see `mhm_critical_values` for the tabulated ones.
    case : JohansenCase
        Deterministic terms.
    lags : int
        Lagged differences.
    n : int
        Rows of the regressions: observations less lags less one.
    """

    eigenvalues: np.ndarray
    vectors: np.ndarray
    deterministic: np.ndarray
    trace: np.ndarray
    max_eigenvalue: np.ndarray
    trace_p: np.ndarray
    max_p: np.ndarray
    trace_critical: np.ndarray
    max_critical: np.ndarray
    case: JohansenCase
    lags: int
    n: int

    def rank(self, level: float = 0.05) -> int:
        """Number of relations by the trace test: the first r whose null is not rejected at `level`.

        Raises
        ------
        ValueError
            If the level is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be between 0 and 1, was {level!r}.")
        kept = np.flatnonzero(self.trace_p > level)
        return int(kept[0]) if len(kept) else len(self.trace_p)


@dataclass(frozen=True)
class Johansen:
    """Options of Johansen's test; see `johansen`."""

    case: JohansenCase = JohansenCase.UNRESTRICTED_CONSTANT
    lags: int = 1

    def __post_init__(self) -> None:
        if self.lags < 0:
            raise ValueError(f"lags must be >= 0, was {self.lags}.")

    def fit(self, values: ArrayLike, exog: ArrayLike | None = None) -> JohansenResult:
        """Estimate the cointegrating vectors of the columns of `values`; see `johansen`."""
        x = columns(values, "values", self._least(np.shape(values), () if exog is None else np.shape(exog)))
        k = x.shape[1]
        changes, levels, others = _sides(x, self.case, self.lags, exog)
        n = len(changes)
        q0, _ = _orthogonal(changes, others)
        q1, r1 = _orthogonal(levels, others)
        _, roots, turn = np.linalg.svd(q0.T @ q1)
        eigenvalues = np.minimum(roots[:k] ** 2, 1.0)
        vectors = np.linalg.solve(r1, turn[:k].T) * np.sqrt(n)
        vectors *= np.sign(vectors[np.argmax(vectors != 0.0, axis=0), np.arange(k)])
        if eigenvalues[0] >= 1.0 - _RANK_TOLERANCE:
            raise ValueError("values must not follow each other without error, did: an eigenvalue is 1.")
        return self._result(eigenvalues, vectors, n)

    def _least(self, shape: tuple[int, ...], exog: tuple[int, ...]) -> int:
        """Observations that leave a row more than there are columns in all regressions."""
        k, further = (size[1] if len(size) == 2 else len(size) for size in (shape, exog))
        terms = (self.case + 1) // 2
        return self.lags + 2 + self.lags * k + terms + 2 * k + further

    def _result(self, eigenvalues: np.ndarray, vectors: np.ndarray, n: int) -> JohansenResult:
        """Statistics, p-values and critical values."""
        k = len(eigenvalues)
        largest = -n * np.log1p(-eigenvalues)
        trace = np.cumsum(largest[::-1])[::-1]
        trends = k - np.arange(k)
        restricted = vectors[k] if len(vectors) > k else np.zeros(k)
        return JohansenResult(
            eigenvalues=eigenvalues,
            vectors=vectors[:k],
            deterministic=restricted,
            trace=trace,
            max_eigenvalue=largest,
            trace_p=trace_p(trace, trends, self.case),
            max_p=max_p(largest, trends, self.case),
            trace_critical=trace_quantiles(np.array(LEVELS), trends, self.case),
            max_critical=max_quantiles(np.array(LEVELS), trends, self.case),
            case=JohansenCase(self.case),
            lags=self.lags,
            n=n,
        )


def johansen(
    values: ArrayLike,
    case: JohansenCase = JohansenCase.UNRESTRICTED_CONSTANT,
    lags: int = 1,
    exog: ArrayLike | None = None,
) -> JohansenResult:
    """Test how many cointegrating relations there are among series, and estimate them.

    With R0 and R1 as above, QR decompositions R0 = Q0 U0 and R1 = Q1 U1, and the singular values s of Q0'Q1 = W s V'::

        eigenvalue[i] = s[i]^2,   vector[i] = sqrt(n) U1^-1 V[:, i]
        trace[r] = -n sum_(i >= r) ln(1 - eigenvalue[i]),   max_eigenvalue[r] = -n ln(1 - eigenvalue[r])

    Parameters
    ----------
    values : array_like of float, shape (n, k)
        Log prices, say; evenly spaced, oldest first.
    case : JohansenCase
        Deterministic terms.
    lags : int
        Lagged differences, >= 0: one less than those of the autoregression in levels.
    exog : array_like of float, shape (n, m), optional
        Further unrestricted regressors, say centred seasonal dummies. P-values do not know of them.

    Returns
    -------
    JohansenResult
        Eigenvalues, vectors, statistics, p-values and critical values.

    Raises
    ------
    ValueError
        If the values are too few, not finite, constant, or linear combinations of each other.
    ConfigError
        If scipy, whose gamma law p-values need, is not installed.

    Notes
    -----
    statsmodels' `coint_johansen` with ``det_order`` -1 and 0 and ``k_ar_diff`` >= 1 gives the same as the cases `NONE`
    and `UNRESTRICTED_CONSTANT`. Its ``det_order=1`` is none of the five: it takes a trend out of the levels before they
    are differenced, which is neither a restricted nor an unrestricted trend, and compares the result with critical
    values of `UNRESTRICTED_TREND`. Its ``k_ar_diff=0`` relates the changes to x[t] instead of x[t-1].

    Examples
    --------
    >>> import numpy as np
    >>> steps, noise = np.random.default_rng(1).normal(size=(2, 500))
    >>> x = steps.cumsum()
    >>> found = johansen(np.column_stack([x, 2.0 * x + noise]))
    >>> found.rank(), bool(abs(-found.vectors[0, 0] / found.vectors[1, 0] - 2.0) < 0.1)
    (1, True)
    """
    return Johansen(JohansenCase(case), lags).fit(values, exog)


def mhm_critical_values(k: int, case: JohansenCase) -> tuple[np.ndarray, np.ndarray]:
    """Tabulated critical values of MacKinnon, Haug and Michelis (1999), as statsmodels has them.

    Parameters
    ----------
    k : int
        Number of series, 1 to 12.
    case : JohansenCase
        `NONE`, `UNRESTRICTED_CONSTANT` or `UNRESTRICTED_TREND`.

    Returns
    -------
    trace, max_eigenvalue : float64 array of shape (k, 3)
        At 90, 95 and 99 % for r = 0 .. k - 1.

    Raises
    ------
    ValueError
        If there is no table.
    ConfigError
        If statsmodels is not installed.
    """
    if case not in _MHM_ORDERS:
        listed = ", ".join(known.name for known in _MHM_ORDERS)
        raise ValueError(
            f"there is no table for case {JohansenCase(case).name}, only for {listed}; "
            "JohansenResult.trace_critical has quantiles for every case."
        )
    if not 1 <= k <= _MOST_MHM:
        raise ValueError(f"k must be 1 to {_MOST_MHM}, was {k}.")
    tables = stats_module("statsmodels.tsa.coint_tables")
    order = _MHM_ORDERS[case]
    trends = [k - r for r in range(k)]
    return (
        np.array([tables.c_sjt(n, order) for n in trends]),
        np.array([tables.c_sja(n, order) for n in trends]),
    )


def _sides(
    x: np.ndarray, case: JohansenCase, lags: int, exog: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Changes, levels with restricted terms, and what is partialled out of both; rows t = lags + 1 .. n - 1."""
    n = len(x)
    changes = np.diff(x, axis=0)
    time = np.arange(lags + 1.0, n)[:, None]
    one = np.ones_like(time)
    levels, others = [x[lags:-1]], [changes[lags - i : n - 1 - i] for i in range(1, lags + 1)]
    if case is JohansenCase.RESTRICTED_CONSTANT:
        levels.append(one)
    elif case is JohansenCase.RESTRICTED_TREND:
        levels.append(time)
    if case >= JohansenCase.UNRESTRICTED_CONSTANT:
        others.append(one)
    if case is JohansenCase.UNRESTRICTED_TREND:
        others.append(time)
    if exog is not None:
        others.append(_exog(exog, n)[lags + 1 :])
    return changes[lags:], np.hstack(levels), np.hstack([np.empty((len(time), 0)), *others])


def _exog(exog: ArrayLike, n: int) -> np.ndarray:
    """Return further regressors as an array of shape (n, m).

    Raises
    ------
    ValueError
        If they are not finite or of another length.
    """
    array = np.asarray(exog, np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != n:
        raise ValueError(f"exog must have shape ({n}, m), was {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("exog must be finite, was not.")
    return array


def _orthogonal(left: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """QR decomposition of what least squares on `others` leaves of `left`.

    Raises
    ------
    ValueError
        If columns depend on each other.
    """
    rest = left
    if others.shape[1]:
        base, triangle = np.linalg.qr(others)
        _check_rank(triangle, others)
        rest = left - base @ (base.T @ left)
    q, r = np.linalg.qr(rest)
    _check_rank(r, left)
    return q, r


def _check_rank(triangle: np.ndarray, columns_of: np.ndarray) -> None:
    """Refuse columns of which next to nothing is left besides those before them.

    Raises
    ------
    ValueError
        If there is one.
    """
    size = np.sqrt((columns_of**2).sum(axis=0))
    if (np.abs(np.diag(triangle)) <= _RANK_TOLERANCE * size).any():
        raise ValueError(
            "values, their lagged changes and the other regressors must be linearly independent, were not: "
            "one column is a combination of others."
        )
