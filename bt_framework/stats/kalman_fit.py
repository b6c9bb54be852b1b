"""Variances of the Kalman regression by maximum likelihood or expectation-maximisation.

Both take the smoothed disturbances of `bt_framework.stats.kalman`'s model. With ``h = (1, x)``, the filter's
innovation v, its variance S and gain K, backwards from ``rho = 0, N = 0``::

    u = v / S - K' rho,      D = 1 / S + K' N K
    E[e^2 | all]  = r + r^2 (u^2 - D)
    rho <- rho + h' u,       N <- (I - K h)' N (I - K h) + h' h / S        (unchanged where y is missing)
    E[w_i^2 | all] = q_i + q_i^2 (rho_i^2 - N_ii)

Means of these expectations are the next variances of expectation-maximisation, and by Fisher's identity the gradient
of the log-likelihood is ``dlogL / dlog q_i = q_i / 2 sum(rho_i^2 - N_ii)`` and ``dlogL / dlog r = r / 2 sum(u^2 - D)``,
which maximum likelihood climbs. No covariance is inverted, so a prior without uncertainty does no harm.

References
----------
Koopman, S. J. (1993). Disturbance smoother for state space models. Biometrika 80, 117-126.
Koopman, S. J. and Shephard, N. (1992). Exact score for time series models in state space form. Biometrika 79, 823-826.
Shumway, R. H. and Stoffer, D. S. (1982). An approach to time series smoothing and forecasting using the EM algorithm.
Journal of Time Series Analysis 3, 253-264.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.jit import cached_kernel
from bt_framework.records import record
from bt_framework.stats._optional import stats_module
from bt_framework.stats.kalman import KALMAN, KalmanHedge, KalmanSlope, kalman_update

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_MIN_OBSERVED = 10
_ROUNDING = 64.0 * float(np.finfo(np.float64).eps)
_STARTS = (1e-2, 1e-4, 1e-6)
"""Drift per step to begin with, as a share of the noise."""
_LOG_RANGE = (-30.0, 10.0)
"""Search range of each log variance against its scale."""
_TOLERANCE = 1e-9


@cached_kernel
def _smooth(s: Any, noise: Any, x: Any, y: Any, work: Any, out: Any) -> float:
    """Filter and smooth; return the log-likelihood.

    Parameters
    ----------
    s : record of `KALMAN`
        The prior; becomes the last state.
    noise : float64 array of shape (3,)
        q_intercept, q_slope, r.
    x, y : float64 array of shape (n,)
    work : float64 array of shape (n, 4)
        Overwritten: v / S, 1 / S and both gains; NaN where y is missing.
    out : float64 array of shape (3,)
        Overwritten: sums of ``rho_i^2 - N_ii`` for intercept and slope, and of ``u^2 - D``.
    """
    n = len(x)
    for t in range(n):
        ph0 = s.p00 + noise[0] + s.p01 * x[t]
        ph1 = s.p01 + (s.p11 + noise[1]) * x[t]
        innovation = kalman_update(s, x[t], y[t], noise[0], noise[1], noise[2])
        variance = s.innovation_variance
        work[t, 0], work[t, 1] = innovation / variance, 1.0 / variance
        work[t, 2], work[t, 3] = ph0 / variance, ph1 / variance
    rho0 = rho1 = n00 = n01 = n11 = 0.0
    out[:] = 0.0
    for t in range(n - 1, -1, -1):
        if not math.isnan(work[t, 0]):
            k0, k1 = work[t, 2], work[t, 3]
            nk0, nk1 = n00 * k0 + n01 * k1, n01 * k0 + n11 * k1
            u = work[t, 0] - k0 * rho0 - k1 * rho1
            d = work[t, 1] + k0 * nk0 + k1 * nk1
            out[2] += u * u - d
            rho0 += u
            rho1 += x[t] * u
            n00 += d - 2.0 * nk0
            n01 += d * x[t] - nk0 * x[t] - nk1
            n11 += d * x[t] * x[t] - 2.0 * nk1 * x[t]
        out[0] += rho0 * rho0 - n00
        out[1] += rho1 * rho1 - n11
    return s.log_likelihood  # type: ignore[no-any-return]


@dataclass(frozen=True)
class KalmanPrior:
    """What is known before the first observation: means, and variances without correlation.

    Attributes
    ----------
    hedge_ratio, p11 : float
        Mean and variance of the hedge ratio, units of y per x and their square.
    intercept, p00 : float
        Of the intercept, units of y and their square; zero for a model without one.
    """

    hedge_ratio: float
    p11: float
    intercept: float = 0.0
    p00: float = 0.0


@dataclass(frozen=True)
class KalmanFit:
    """Fitted variances of the Kalman regression, and a filter that has seen the sample.

    Attributes
    ----------
    method : str
        "ml" or "em".
    q_intercept, q_slope, r : float
        Variances per step of intercept and hedge ratio, and of the observation's noise. A drift is 0 where the
        likelihood only rises towards none.
    log_likelihood : float
        Of the sample at these variances, natural logarithm.
    log_likelihoods : tuple of float
        What each iteration of "em" began with, never falling; for "ml", the maximum from each starting point.
    iterations : int
        Steps taken; for "ml" those of the best starting point.
    converged : bool
        Whether the last step was too small to matter.
    n : int
        Observations without the missing ones.
    prior : KalmanPrior
        Before the first step.
    filter : KalmanHedge or KalmanSlope
        After the last observation, ready to go on.
    """

    method: str
    q_intercept: float
    q_slope: float
    r: float
    log_likelihood: float
    log_likelihoods: tuple[float, ...]
    iterations: int
    converged: bool
    n: int
    prior: KalmanPrior
    filter: KalmanHedge | KalmanSlope


class _Sample:
    """The data, and the likelihood of variances with its gradient."""

    def __init__(self, x: np.ndarray, y: np.ndarray, *, intercept: bool, prior: KalmanPrior | None) -> None:
        self.x, self.y, self.intercept = x, y, intercept
        seen = np.isfinite(x) & np.isfinite(y)
        self.n = int(seen.sum())
        if self.n < _MIN_OBSERVED:
            raise ValueError(f"x and y must have at least {_MIN_OBSERVED} observations, had {self.n}.")
        own, scales = _least_squares(x[seen], y[seen], intercept)
        self.prior = own if prior is None else prior
        if not intercept and (self.prior.intercept != 0.0 or self.prior.p00 != 0.0):
            raise ValueError("prior must have intercept = p00 = 0 for a model without an intercept.")
        self.scales = scales
        self.free = np.array([intercept, True, True])
        self._work = np.empty((len(x), 4))
        self.new_filter(scales)  # refuses an impossible prior

    def score(self, noise: np.ndarray) -> tuple[float, np.ndarray]:
        """Log-likelihood, and its gradient by the logarithms of the variances."""
        prior = self.prior
        state = record(
            KALMAN,
            intercept=prior.intercept,
            hedge_ratio=prior.hedge_ratio,
            p00=prior.p00,
            p11=prior.p11,
        )
        sums = np.empty(3)
        with np.errstate(invalid="ignore", over="ignore"):  # plain Python warns where compiled code does not
            value = _smooth(state, noise, self.x, self.y, self._work, sums)
        return float(value), np.where(self.free, 0.5 * noise * sums, 0.0)

    def new_filter(self, noise: np.ndarray) -> KalmanHedge | KalmanSlope:
        """A filter with these variances that starts from the prior."""
        q_intercept, q_slope, r = (float(value) for value in noise)
        prior = self.prior
        if not self.intercept:
            return KalmanSlope(q_slope=q_slope, r=r, hedge_ratio=prior.hedge_ratio, p11=prior.p11)
        return KalmanHedge(
            q_intercept=q_intercept,
            q_slope=q_slope,
            r=r,
            intercept=prior.intercept,
            hedge_ratio=prior.hedge_ratio,
            p00=prior.p00,
            p11=prior.p11,
        )


def _least_squares(x: np.ndarray, y: np.ndarray, intercept: bool) -> tuple[KalmanPrior, np.ndarray]:
    """A prior worth one observation around the regression by least squares, and the scales of the variances."""
    x_mean, y_mean = (float(x.mean()), float(y.mean())) if intercept else (0.0, 0.0)
    u, v = x - x_mean, y - y_mean
    s_xx = float(u @ u)
    if s_xx <= len(x) * (_ROUNDING * float(np.abs(x).max())) ** 2:
        raise ValueError(f"x must {'vary' if intercept else 'not be zero'}, was {float(x[0])!r} throughout.")
    slope = float(u @ v) / s_xx
    residuals = v - slope * u
    r = float(residuals @ residuals) / len(x)
    size = float(np.abs(y).max()) + abs(slope) * float(np.abs(x).max())
    if r <= (_ROUNDING * size) ** 2:
        raise ValueError(
            "y must not be an exact multiple of x plus a constant: there is no noise to estimate."
        )
    n = len(x)
    p00 = r * (1.0 + n * x_mean * x_mean / s_xx) if intercept else 0.0
    prior = KalmanPrior(slope, n * r / s_xx, y_mean - slope * x_mean, p00)
    return prior, np.array([r, n * r / float(x @ x), r])


@dataclass(frozen=True)
class KalmanEstimator:
    """Options of the estimation of variances; see `fit_kalman`."""

    method: str = "ml"
    intercept: bool = True
    prior: KalmanPrior | None = None
    max_iterations: int = 1_000

    def __post_init__(self) -> None:
        if self.method not in ("ml", "em"):
            raise ValueError(f"method must be ml or em, was {self.method!r}.")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations must be >= 1, was {self.max_iterations!r}.")

    def fit(self, x: ArrayLike, y: ArrayLike) -> KalmanFit:
        """Estimate the variances of y's regression on x; see `fit_kalman`."""
        x, y = np.ascontiguousarray(x, np.float64), np.ascontiguousarray(y, np.float64)
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"x and y must have one shape (n_steps,), were {x.shape} and {y.shape}.")
        sample = _Sample(x, y, intercept=self.intercept, prior=self.prior)
        search = _climb if self.method == "ml" else _expect
        noise, path, iterations, converged = search(sample, self.max_iterations)
        found = sample.new_filter(noise)
        found.filter(x, y)
        q_intercept, q_slope, r = (float(value) for value in noise)
        return KalmanFit(
            self.method,
            q_intercept,
            q_slope,
            r,
            log_likelihood=found.log_likelihood,
            log_likelihoods=tuple(path),
            iterations=iterations,
            converged=converged,
            n=sample.n,
            prior=sample.prior,
            filter=found,
        )


def fit_kalman(
    x: ArrayLike,
    y: ArrayLike,
    method: str = "ml",
    *,
    intercept: bool = True,
    prior: KalmanPrior | None = None,
    max_iterations: int = 1_000,
) -> KalmanFit:
    """Estimate how fast a hedge ratio moves, and how noisy its observations are.

    Parameters
    ----------
    x, y : array_like of float, shape (n_steps,)
        Regressor and dependent values; a step with a NaN or infinite one is missing.
    method : str
        "ml", maximum likelihood by L-BFGS-B from three starting points (needs scipy), or "em",
        expectation-maximisation, which never loses likelihood and is slow where a drift is small.
    intercept : bool
        Whether the model has an intercept (`KalmanHedge`) or none (`KalmanSlope`).
    prior : KalmanPrior or None
        Before the first step. By default the sample's regression by least squares, with variances n times those of
        its estimates: as much as one observation knows.
    max_iterations : int
        Steps at most.

    Returns
    -------
    KalmanFit
        With ``converged`` False if `max_iterations` were not enough.

    Raises
    ------
    ValueError
        If the shapes differ, fewer than ten observations are left, x does not vary, y follows x without any noise,
        or an argument is unknown or impossible.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> x = rng.normal(0.0, 1.0, 3_000)
    >>> y = (1.0 + np.cumsum(rng.normal(0.0, 0.01, 3_000))) * x + rng.normal(0.0, 0.1, 3_000)
    >>> fit = fit_kalman(x, y, intercept=False)
    >>> 0.008 < fit.q_slope**0.5 < 0.012, 0.095 < fit.r**0.5 < 0.105
    (True, True)
    """
    return KalmanEstimator(method, intercept, prior, max_iterations).fit(x, y)


def _start(sample: _Sample, share: float) -> np.ndarray:
    """Variances to begin with."""
    return np.where(sample.free, sample.scales * np.array([share, share, 1.0]), 0.0)


def _climb(sample: _Sample, max_iterations: int) -> tuple[np.ndarray, list[float], int, bool]:
    """Maximum likelihood over the logarithms of the variances."""
    minimize = stats_module("scipy.optimize").minimize
    free, scales = sample.free, sample.scales

    def noise_at(logs: np.ndarray) -> np.ndarray:
        noise = np.zeros(3)
        noise[free] = scales[free] * np.exp(logs)
        return noise

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = sample.score(noise_at(logs))
        return -value / sample.n, -gradient[free] / sample.n

    options = {"maxiter": max_iterations, "ftol": 1e-13, "gtol": _TOLERANCE}
    found = [
        minimize(
            loss,
            np.log(_start(sample, share)[free] / scales[free]),
            jac=True,
            method="L-BFGS-B",
            bounds=[_LOG_RANGE] * int(free.sum()),
            options=options,
        )
        for share in _STARTS
    ]
    best = min(found, key=lambda result: result.fun)
    noise = noise_at(best.x)
    drifts = np.array([True, True, False])
    flat = drifts & free & (noise <= scales * math.exp(_LOG_RANGE[0] + 1.0))
    # A line search that finds no higher point is at the top as well.
    converged = bool(best.success or np.abs(best.jac).max() < math.sqrt(_TOLERANCE))
    return np.where(flat, 0.0, noise), [-r.fun * sample.n for r in found], int(best.nit), converged


def _expect(sample: _Sample, max_iterations: int) -> tuple[np.ndarray, list[float], int, bool]:
    """Expectation-maximisation until a step adds less than 1e-9 to the log-likelihood of an observation."""
    noise, counts = _start(sample, _STARTS[0]), np.array([len(sample.x), len(sample.x), sample.n])
    path: list[float] = []
    for _ in range(max_iterations):
        value, gradient = sample.score(noise)
        path.append(value)
        noise = noise * (1.0 + 2.0 * gradient / counts)
        if len(path) > 1 and path[-1] - path[-2] <= _TOLERANCE * sample.n:
            return noise, path, len(path), True
    return noise, path, len(path), False
