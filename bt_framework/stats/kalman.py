"""Kalman filter of a regression whose intercept and hedge ratio walk at random.

Model, for observations ``(x[t], y[t])``::

    y[t]           = intercept[t] + hedge_ratio[t] * x[t] + e[t],   e ~ N(0, r)
    intercept[t]   = intercept[t-1] + u[t],                         u ~ N(0, q_intercept)
    hedge_ratio[t] = hedge_ratio[t-1] + v[t],                       v ~ N(0, q_slope)

`kalman_update` is one step for use inside a compiled loop, `KalmanHedge` filters arrays with the same step;
`kalman_slope_update` and `KalmanSlope` are the model without an intercept. `bt_framework.stats.kalman_fit` estimates
the variances.

References
----------
Kalman, R. E. (1960). A new approach to linear filtering and prediction problems. J. Basic Eng. 82, 35-45.
Bucy, R. S. and Joseph, P. D. (1968). Filtering for Stochastic Processes with Applications to Guidance. Wiley.
Durbin, J. and Koopman, S. J. (2012). Time Series Analysis by State Space Methods, 2nd ed., section 6.2
(regression with time-varying coefficients) and section 7.2 (log-likelihood). Oxford University Press.
Chan, E. P. (2013). Algorithmic Trading, Example 3.3. Wiley.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_framework.records import record

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

KALMAN = np.dtype(
    [
        ("intercept", "f8"),
        ("hedge_ratio", "f8"),
        ("p00", "f8"),
        ("p01", "f8"),
        ("p11", "f8"),
        ("innovation_variance", "f8"),
        ("log_likelihood", "f8"),
        ("observations", "i8"),
    ]
)
"""State of the filter: estimates, their covariance (0 intercept, 1 hedge ratio), last innovation variance."""

KALMAN_STEP = np.dtype(
    [
        ("intercept", "f8"),
        ("hedge_ratio", "f8"),
        ("p00", "f8"),
        ("p01", "f8"),
        ("p11", "f8"),
        ("innovation", "f8"),
        ("innovation_variance", "f8"),
    ]
)
"""The filter after one observation; innovation and its variance are NaN where there was none."""

KALMAN_SLOPE = np.dtype(
    [
        ("hedge_ratio", "f8"),
        ("p11", "f8"),
        ("innovation_variance", "f8"),
        ("log_likelihood", "f8"),
        ("observations", "i8"),
    ]
)
"""State of the filter without an intercept; fields as in `KALMAN`."""

KALMAN_SLOPE_STEP = np.dtype(
    [("hedge_ratio", "f8"), ("p11", "f8"), ("innovation", "f8"), ("innovation_variance", "f8")]
)
"""That filter after one observation, as `KALMAN_STEP`."""

_LOG_TWO_PI = math.log(2.0 * math.pi)
_PSD_SLACK = 1e-9


@kernel
def kalman_reset(s: Any, intercept: float, hedge_ratio: float, p00: float, p11: float) -> None:
    """Start over from a prior without correlation.

    Parameters
    ----------
    s : record of `KALMAN`
        Overwritten.
    intercept, hedge_ratio : float
        Prior means; units of y, and of y per x.
    p00, p11 : float
        Prior variances of intercept and hedge ratio, >= 0.
    """
    s.intercept = intercept
    s.hedge_ratio = hedge_ratio
    s.p00 = p00
    s.p01 = 0.0
    s.p11 = p11
    s.innovation_variance = np.nan
    s.log_likelihood = 0.0
    s.observations = 0


@kernel
def kalman_update(s: Any, x: float, y: float, q_intercept: float, q_slope: float, r: float) -> Any:
    """Predict, then take in one observation; return the innovation.

    With ``h = (1, x)`` and the predicted covariance ``P = P[t-1] + diag(q_intercept, q_slope)``::

        innovation = y - h b,    S = h P h' + r,    K = P h' / S
        b <- b + K innovation,   P <- (I - K h) P (I - K h)' + r K K'

    The last line is Joseph's form: it keeps P symmetric and positive semi-definite under rounding. The very
    first call predicts too, so the first prior covariance is P[0] + Q.

    Parameters
    ----------
    s : record of `KALMAN`
        Updated in place; ``innovation_variance`` becomes S.
    x, y : float
        Regressor and dependent value, usually log prices. If one of them is NaN or infinite (or S is not a
        positive number), the step only predicts.
    q_intercept, q_slope : float
        Variances that intercept and hedge ratio gain per step, >= 0.
    r : float
        Variance of the observation's noise, > 0.

    Returns
    -------
    float
        What y was more than predicted, before it was taken in; NaN if the step only predicted.
    """
    p00 = s.p00 + q_intercept
    p01 = s.p01
    p11 = s.p11 + q_slope
    ph0 = p00 + p01 * x
    ph1 = p01 + p11 * x
    variance = ph0 + ph1 * x + r
    innovation = y - s.intercept - s.hedge_ratio * x
    if not (math.isfinite(innovation) and 0.0 < variance < math.inf):
        s.p00 = p00
        s.p11 = p11
        s.innovation_variance = np.nan
        return np.nan
    k0 = ph0 / variance
    k1 = ph1 / variance
    a00, a01, a10, a11 = 1.0 - k0, -k0 * x, -k1, 1.0 - k1 * x
    t00, t01 = a00 * p00 + a01 * p01, a00 * p01 + a01 * p11
    t10, t11 = a10 * p00 + a11 * p01, a10 * p01 + a11 * p11
    s.intercept += k0 * innovation
    s.hedge_ratio += k1 * innovation
    s.p00 = t00 * a00 + t01 * a01 + r * k0 * k0
    s.p01 = t00 * a10 + t01 * a11 + r * k0 * k1
    s.p11 = t10 * a10 + t11 * a11 + r * k1 * k1
    s.innovation_variance = variance
    s.log_likelihood -= 0.5 * (_LOG_TWO_PI + math.log(variance) + innovation * innovation / variance)
    s.observations += 1
    return innovation


@kernel
def kalman_slope_reset(s: Any, hedge_ratio: float, p11: float) -> None:
    """Start over from a prior; `kalman_reset` without an intercept.

    Parameters
    ----------
    s : record of `KALMAN_SLOPE`
        Overwritten.
    hedge_ratio, p11 : float
        Prior mean and variance, units of y per x and their square, the latter >= 0.
    """
    s.hedge_ratio = hedge_ratio
    s.p11 = p11
    s.innovation_variance = np.nan
    s.log_likelihood = 0.0
    s.observations = 0


@kernel
def kalman_slope_update(s: Any, x: float, y: float, q_slope: float, r: float) -> Any:
    """Predict, then take in one observation of ``y = hedge_ratio * x + e``; return the innovation.

    `kalman_update` for a regression without an intercept. With ``P = P[t-1] + q_slope``::

        innovation = y - x b,    S = x P x + r,    K = P x / S
        b <- b + K innovation,   P <- (1 - K x) P (1 - K x) + r K K

    Parameters
    ----------
    s : record of `KALMAN_SLOPE`
        Updated in place; ``innovation_variance`` becomes S.
    x, y : float
        Regressor and dependent value. If one of them is NaN or infinite (or S is not a positive number), the step
        only predicts.
    q_slope, r : float
        Variances that the hedge ratio gains per step, >= 0, and of the observation's noise, > 0.

    Returns
    -------
    float
        What y was more than predicted; NaN if the step only predicted.
    """
    p11 = s.p11 + q_slope
    ph1 = p11 * x
    variance = ph1 * x + r
    innovation = y - s.hedge_ratio * x
    if not (math.isfinite(innovation) and 0.0 < variance < math.inf):
        s.p11 = p11
        s.innovation_variance = np.nan
        return np.nan
    k1 = ph1 / variance
    a11 = 1.0 - k1 * x
    s.hedge_ratio += k1 * innovation
    s.p11 = a11 * p11 * a11 + r * k1 * k1
    s.innovation_variance = variance
    s.log_likelihood -= 0.5 * (_LOG_TWO_PI + math.log(variance) + innovation * innovation / variance)
    s.observations += 1
    return innovation


@cached_kernel
def _filter(s: Any, noise: Any, predict_first: bool, x: Any, y: Any, out: Any) -> None:
    """Run `kalman_update` over arrays; `noise` is (q_intercept, q_slope, r)."""
    for i in range(len(x)):
        row = out[i]
        moves = predict_first or s.observations > 0
        q_intercept, q_slope = (noise[0], noise[1]) if moves else (0.0, 0.0)
        row.innovation = kalman_update(s, x[i], y[i], q_intercept, q_slope, noise[2])
        row.innovation_variance = s.innovation_variance
        row.intercept = s.intercept
        row.hedge_ratio = s.hedge_ratio
        row.p00 = s.p00
        row.p01 = s.p01
        row.p11 = s.p11


@cached_kernel
def _filter_slope(s: Any, noise: Any, predict_first: bool, x: Any, y: Any, out: Any) -> None:
    """Run `kalman_slope_update` over arrays; `noise` is (q_slope, r)."""
    for i in range(len(x)):
        row = out[i]
        q_slope = noise[0] if predict_first or s.observations > 0 else 0.0
        row.innovation = kalman_slope_update(s, x[i], y[i], q_slope, noise[1])
        row.innovation_variance = s.innovation_variance
        row.hedge_ratio = s.hedge_ratio
        row.p11 = s.p11


class _RandomWalkFilter:
    """What the filters of one and two coefficients share: state, noise, going on with more observations."""

    _STATE: np.dtype
    _STEP: np.dtype

    def __init__(self, state: np.record, noise: list[float], *, predict_first: bool, compiled: bool) -> None:
        self._state = state
        self._noise = np.array(noise, np.float64)
        self._predict_first = bool(predict_first)
        self._compiled = bool(compiled)

    @property
    def hedge_ratio(self) -> float:
        """Estimate after the last observation, units of y per x."""
        return float(self._state["hedge_ratio"])

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood of the observations so far (prediction error decomposition), natural logarithm."""
        return float(self._state["log_likelihood"])

    def filter(self, x: ArrayLike, y: ArrayLike) -> np.recarray[Any, Any]:
        """Go on with more observations.

        Parameters
        ----------
        x, y : array_like of float, shape (n_steps,)
            Regressor and dependent values; a step with a NaN or infinite one only predicts.

        Returns
        -------
        record array of `KALMAN_STEP` or `KALMAN_SLOPE_STEP`, shape (n_steps,)
            The filter after each observation, with its innovation.

        Raises
        ------
        ValueError
            If the shapes differ or are not (n_steps,).
        """
        x = np.ascontiguousarray(x, np.float64)
        y = np.ascontiguousarray(y, np.float64)
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"x and y must have one shape (n_steps,), were {x.shape} and {y.shape}.")
        steps = np.zeros(len(x), self._STEP).view(np.recarray)
        if self._compiled:
            with np.errstate(
                over="ignore", invalid="ignore"
            ):  # plain Python warns where compiled code does not
                self._run(x, y, steps)
            return steps
        from bt_framework.stats._kalman_reference import run

        state, rows = run(self.get_state(), self._noise.tolist(), self._predict_first, x.tolist(), y.tolist())
        steps[:] = np.array(rows, self._STEP)
        self._put(state)
        return steps

    def _run(self, x: Any, y: Any, steps: Any) -> None:
        """Filter with the kernel."""
        raise NotImplementedError

    def get_state(self) -> dict[str, float]:
        """Everything that the filter remembers, by the names of its record."""
        return {name: self._state[name].item() for name in self._STATE.names or ()}

    def set_state(self, state: Mapping[str, float]) -> None:
        """Go on from a `get_state` of this or another filter of its kind.

        Raises
        ------
        ValueError
            If a name is missing or unknown, a number is not finite, or the covariance is not positive semi-definite.
        """
        names = set(self._STATE.names or ())
        if set(state) != names:
            wrong = ", ".join(sorted(names ^ set(state)))
            raise ValueError(
                f"state must have exactly the fields of get_state(); missing or unknown: {wrong}."
            )
        _check_state(state)
        self._put(state)

    def _put(self, state: Mapping[str, float]) -> None:
        for name, value in state.items():
            self._state[name] = value


def _check_state(state: Mapping[str, float]) -> None:
    """Refuse numbers that no filter can have; only ``innovation_variance`` may be NaN."""
    for name, value in state.items():
        if name == "innovation_variance":
            if not (math.isnan(value) or 0.0 < value < math.inf):
                raise ValueError(f"innovation_variance must be NaN or finite and > 0, was {value!r}.")
        elif not math.isfinite(value):
            raise ValueError(f"{name} must be finite, was {value!r}.")
    if state["observations"] < 0 or state["observations"] != int(state["observations"]):
        raise ValueError(f"observations must be a whole number >= 0, was {state['observations']!r}.")
    p00, p01, p11 = state.get("p00", 0.0), state.get("p01", 0.0), state["p11"]
    if p00 < 0.0 or p11 < 0.0 or p01 * p01 > p00 * p11 * (1.0 + _PSD_SLACK):
        raise ValueError(f"covariance must be positive semi-definite, was {p00!r}, {p01!r}, {p11!r}.")


def _check_settings(variances: Mapping[str, float], means: Mapping[str, float]) -> None:
    """Refuse settings that no filter can have."""
    for name, value in variances.items():
        if not 0.0 <= value < math.inf or (name == "r" and value == 0.0):
            raise ValueError(f"{name} must be finite and {'>' if name == 'r' else '>='} 0, was {value!r}.")
    for name, value in means.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, was {value!r}.")


class KalmanHedge(_RandomWalkFilter):
    """Intercept and hedge ratio of ``y = intercept + hedge_ratio * x`` as they move, filtered online.

    Parameters
    ----------
    q_intercept, q_slope : float
        Variances that intercept and hedge ratio gain per step, >= 0; squared units of y, and of y per x.
    r : float
        Variance of the observation's noise, > 0; squared units of y.
    intercept, hedge_ratio : float
        Prior means.
    p00, p11 : float
        Prior variances of intercept and hedge ratio, >= 0.
    predict_first : bool
        Whether the prior is that of the step before the first, so that the first observation finds P + Q
        (filterpy's convention); if not, the first observation finds P itself (that of statsmodels and pykalman),
        and nothing is predicted before it.
    compiled : bool
        Whether to filter with the kernel, or with the same arithmetic in plain Python.

    Raises
    ------
    ValueError
        If a variance is negative or not finite, `r` is zero, or a prior mean is not finite.

    Notes
    -----
    The step is `kalman_update`; see there for the formula, and the module for the model and its sources. Chan
    (2013), Algorithmic Trading, Example 3.3, is ``q_intercept = q_slope = delta / (1 - delta)``, ``r = Ve`` and
    ``p00 = p11 = 0`` with ``predict_first=False``; its e and Q are the innovation and its variance.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(1.0, 2.0, 200)
    >>> hedge = KalmanHedge(q_intercept=0.0, q_slope=0.0, r=1e-6)
    >>> steps = hedge.filter(x, 0.5 + 2.0 * x)
    >>> round(float(steps.hedge_ratio[-1]), 3), round(float(steps.intercept[-1]), 3)
    (2.0, 0.5)
    """

    _STATE = KALMAN
    _STEP = KALMAN_STEP

    def __init__(
        self,
        *,
        q_intercept: float,
        q_slope: float,
        r: float,
        intercept: float = 0.0,
        hedge_ratio: float = 0.0,
        p00: float = 1.0,
        p11: float = 1.0,
        predict_first: bool = True,
        compiled: bool = True,
    ) -> None:
        _check_settings(
            {"q_intercept": q_intercept, "q_slope": q_slope, "r": r, "p00": p00, "p11": p11},
            {"intercept": intercept, "hedge_ratio": hedge_ratio},
        )
        state = record(
            KALMAN, intercept=intercept, hedge_ratio=hedge_ratio, p00=p00, p11=p11, innovation_variance=np.nan
        )
        noise = [q_intercept, q_slope, r]
        super().__init__(state, noise, predict_first=predict_first, compiled=compiled)

    @property
    def intercept(self) -> float:
        """Estimate after the last observation, units of y."""
        return float(self._state["intercept"])

    def _run(self, x: Any, y: Any, steps: Any) -> None:
        _filter(self._state, self._noise, self._predict_first, x, y, steps)


class KalmanSlope(_RandomWalkFilter):
    """Hedge ratio of ``y = hedge_ratio * x`` as it moves, without an intercept, filtered online.

    Parameters
    ----------
    q_slope : float
        Variance that the hedge ratio gains per step, >= 0; squared units of y per x.
    r : float
        Variance of the observation's noise, > 0; squared units of y.
    hedge_ratio, p11 : float
        Prior mean and variance, the latter >= 0.
    predict_first, compiled : bool
        As of `KalmanHedge`.

    Raises
    ------
    ValueError
        If a variance is negative or not finite, `r` is zero, or the prior mean is not finite.

    Notes
    -----
    The step is `kalman_slope_update`: `KalmanHedge` with an intercept that is known to be zero.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(1.0, 2.0, 200)
    >>> slope = KalmanSlope(q_slope=0.0, r=1e-6)
    >>> round(float(slope.filter(x, 2.0 * x).hedge_ratio[-1]), 3)
    2.0
    """

    _STATE = KALMAN_SLOPE
    _STEP = KALMAN_SLOPE_STEP

    def __init__(
        self,
        *,
        q_slope: float,
        r: float,
        hedge_ratio: float = 0.0,
        p11: float = 1.0,
        predict_first: bool = True,
        compiled: bool = True,
    ) -> None:
        _check_settings({"q_slope": q_slope, "r": r, "p11": p11}, {"hedge_ratio": hedge_ratio})
        state = record(KALMAN_SLOPE, hedge_ratio=hedge_ratio, p11=p11, innovation_variance=np.nan)
        super().__init__(state, [q_slope, r], predict_first=predict_first, compiled=compiled)

    def _run(self, x: Any, y: Any, steps: Any) -> None:
        _filter_slope(self._state, self._noise, self._predict_first, x, y, steps)
