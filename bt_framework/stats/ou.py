"""Maximum likelihood of the Ornstein-Uhlenbeck process from evenly spaced values.

The process and its exact discretisation at a step of ``dt_s`` seconds::

    dX = theta (mu - X) dt + sigma dW
    X[i+1] = mu + phi (X[i] - mu) + e,   phi = exp(-theta dt_s),   e ~ N(0, sigma^2 (1 - phi^2) / (2 theta))

Given the first value, the likelihood is that of a linear regression, so its maximum has a closed form.
`ou_fit` and `ou_fit_spread` are for compiled loops, `fit_ou` adds standard errors and bounds.

References
----------
Uhlenbeck, G. E. and Ornstein, L. S. (1930). On the theory of the Brownian motion. Phys. Rev. 36, 823-841.
Tang, C. Y. and Chen, S. X. (2009). Parameter estimation and bias correction for diffusion processes.
Journal of Econometrics 149, 65-81 (estimators, asymptotic variances and bias).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_framework.records import record

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class OuStatus(IntEnum):
    """What became of a fit. Except for `OK`, the estimates are NaN."""

    OK = 0
    TOO_FEW = 1
    """Fewer than four values."""
    CONSTANT = 2
    """The values, or what the regression leaves of them, do not vary beyond rounding."""
    NOT_REVERTING = 3
    """phi >= 1 or phi <= 0: no theta > 0 explains the values."""
    NOT_FINITE = 4
    """A value is NaN or infinite, a sum overflowed, or the step is no positive number."""
    BAD_WINDOW = 5
    """The window does not lie within the ring buffers."""


OU = np.dtype(
    [
        ("theta", "f8"),
        ("mu", "f8"),
        ("sigma", "f8"),
        ("stationary_sd", "f8"),
        ("half_life_s", "f8"),
        ("phi", "f8"),
        ("residual_variance", "f8"),
        ("n", "i8"),
        ("status", "i8"),
    ]
)
"""A fit: theta in 1/s, sigma in units of the values per square root of a second, ``n`` transitions."""

_OK = int(OuStatus.OK)
_TOO_FEW = int(OuStatus.TOO_FEW)
_CONSTANT = int(OuStatus.CONSTANT)
_NOT_REVERTING = int(OuStatus.NOT_REVERTING)
_NOT_FINITE = int(OuStatus.NOT_FINITE)
_BAD_WINDOW = int(OuStatus.BAD_WINDOW)

_MIN_VALUES = 4
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
_LN_2 = math.log(2.0)


@kernel
def clear_ou(out: Any, n: int) -> None:
    """Set every estimate to NaN."""
    out.theta = np.nan
    out.mu = np.nan
    out.sigma = np.nan
    out.stationary_sd = np.nan
    out.half_life_s = np.nan
    out.phi = np.nan
    out.residual_variance = np.nan
    out.n = n


@kernel
def _ring_mean(x: Any, y: Any, start: int, count: int, hedge_ratio: float) -> Any:
    """Mean of ``y - hedge_ratio * x`` over the window, summed from the first value on: exact if constant."""
    first = y[start] - hedge_ratio * x[start]
    total = 0.0
    at = start
    for _ in range(count):
        total += y[at] - hedge_ratio * x[at] - first
        at += 1
        if at == len(x):
            at = 0
    return first + total / count


@kernel
def _solve(
    out: Any, sums: tuple[float, float, float, float, float], mean: float, scale: float, dt_s: float
) -> int:
    """Turn sums over the transitions into estimates.

    `sums` are those of u, d, u*u, u*d, d*d, where u is the value before the transition less `mean`, and d the
    increment. Regressing increments instead of values keeps the digits of 1 - phi when the step is short.
    `scale` is the size of what the values were formed from: variation below its rounding is none.
    """
    n = out.n
    mean_u, mean_d = sums[0] / n, sums[1] / n
    s_uu = sums[2] - mean_u * sums[0]
    s_ud = sums[3] - mean_u * sums[1]
    s_dd = sums[4] - mean_d * sums[1]
    if not math.isfinite(mean + s_uu + s_ud + s_dd):
        return _NOT_FINITE
    floor = n * (_ROUNDING * scale) ** 2
    if s_uu <= floor:
        return _CONSTANT
    slope = s_ud / s_uu
    out.phi = 1.0 + slope
    if not -1.0 < slope < 0.0:
        return _NOT_REVERTING
    residuals = s_dd - slope * s_ud
    if residuals <= _ROUNDING * (s_dd + scale * math.sqrt(n * s_dd)):
        return _CONSTANT
    theta = -math.log1p(slope) / dt_s
    variance = residuals / n
    stationary_sd = math.sqrt(variance) / math.sqrt(-slope * (2.0 + slope))
    out.theta = theta
    out.mu = mean + mean_u - mean_d / slope
    out.sigma = math.sqrt(2.0 * theta) * stationary_sd
    out.stationary_sd = stationary_sd
    out.half_life_s = _LN_2 / theta
    out.residual_variance = variance
    return _OK


@kernel
def ou_fit_spread(out: Any, x: Any, y: Any, start: int, count: int, hedge_ratio: float, dt_s: float) -> int:
    """Fit the process to the spread ``y - hedge_ratio * x`` of two ring buffers; allocates nothing, O(count).

    With n = count - 1 transitions, increments d[i] = X[i+1] - X[i] and values before them U = X[:-1], the
    conditional likelihood is largest at::

        phi = 1 + cov(U, d) / var(U),   theta = -ln(phi) / dt_s,   mu = mean(U) + mean(d) / (1 - phi)
        s2 = SSR / n,   sigma^2 = 2 theta s2 / (1 - phi^2),   stationary_sd^2 = s2 / (1 - phi^2)

    Parameters
    ----------
    out : record of `OU`
        Overwritten. If the status is not OK, all is NaN but ``n``, ``status`` and, if computed, ``phi``.
    x, y : float64 array of shape (capacity,)
        Ring buffers. A NaN or infinite value inside the window makes the status NOT_FINITE.
    start : int
        Index of the oldest value.
    count : int
        Values in the window, <= capacity; it wraps around the end of the buffers.
    hedge_ratio : float
        Units of y per x.
    dt_s : float
        Time between values, seconds, > 0.

    Returns
    -------
    int
        An `OuStatus`, also stored in ``out.status``.
    """
    clear_ou(out, max(count - 1, 0))
    if len(x) != len(y) or count < 0 or count > len(x) or start < 0 or (count > 0 and start >= len(x)):
        out.status = _BAD_WINDOW
        return _BAD_WINDOW
    if count < _MIN_VALUES:
        out.status = _TOO_FEW
        return _TOO_FEW
    if not 0.0 < dt_s < math.inf:
        out.status = _NOT_FINITE
        return _NOT_FINITE
    mean = _ring_mean(x, y, start, count, hedge_ratio)
    before = y[start] - hedge_ratio * x[start] - mean
    sum_u = sum_d = sum_uu = sum_ud = sum_dd = 0.0
    at = start
    for _ in range(count - 1):
        at += 1
        if at == len(x):
            at = 0
        after = y[at] - hedge_ratio * x[at] - mean
        step = after - before
        sum_u += before
        sum_d += step
        sum_uu += before * before
        sum_ud += before * step
        sum_dd += step * step
        before = after
    scale = abs(y[start]) + abs(hedge_ratio * x[start])
    status = _solve(out, (sum_u, sum_d, sum_uu, sum_ud, sum_dd), mean, scale, dt_s)
    out.status = status
    return status


@kernel
def ou_fit(out: Any, values: Any, dt_s: float) -> int:
    """Fit the process to `values`: `ou_fit_spread` for one series in an array that starts with the oldest.

    Parameters
    ----------
    out : record of `OU`
        Overwritten, see `ou_fit_spread`.
    values : float64 array of shape (n + 1,)
        Evenly spaced; a NaN or infinite one makes the status NOT_FINITE.
    dt_s : float
        Time between values, seconds, > 0.

    Returns
    -------
    int
        An `OuStatus`, also stored in ``out.status``.
    """
    return ou_fit_spread(out, values, values, 0, len(values), 0.0, dt_s)


@cached_kernel
def _fit(out: Any, values: Any, dt_s: float) -> int:
    return ou_fit(out, values, dt_s)


@dataclass(frozen=True)
class OuFit:
    """A fitted Ornstein-Uhlenbeck process, with asymptotic standard errors.

    Attributes
    ----------
    status : OuStatus
        If not OK, every estimate and error is NaN (``phi`` is kept where it was computed).
    theta : float
        Speed of mean reversion, 1/s; biased upwards by about `theta_bias`, see `bt_framework.stats.ou_bias`.
    mu : float
        Long-run mean, units of the values.
    sigma : float
        Volatility, units of the values per square root of a second.
    stationary_sd : float
        sigma / sqrt(2 theta), units of the values.
    half_life_s : float
        ln 2 / theta, seconds.
    phi : float
        exp(-theta dt_s).
    residual_variance : float
        Variance of one transition's noise, SSR / n, squared units of the values.
    n : int
        Transitions, one less than the values.
    dt_s : float
        Time between values, seconds.
    log_likelihood : float
        Conditional log-likelihood at the estimates.
    theta_se, mu_se, sigma_se : float
        Standard errors, units of their estimates.
    theta_bias : float
        First-order bias of `theta`, 1/s: about 4 over the length of the sample in seconds; 0 once it is taken off.
    """

    status: OuStatus
    theta: float
    mu: float
    sigma: float
    stationary_sd: float
    half_life_s: float
    phi: float
    residual_variance: float
    n: int
    dt_s: float
    log_likelihood: float
    theta_se: float
    mu_se: float
    sigma_se: float
    theta_bias: float

    def bounds(self, parameter: str, level: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence bounds of "theta", "mu", "sigma" or "half_life_s".

        Normal bounds, estimate +- quantile x standard error. Those of theta are around the bias-corrected
        estimate ``theta - theta_bias``; the lower one may be negative: no reversion is within the bounds.
        Those of the half-life are ln 2 over theta's, with infinity for what is not positive.

        Raises
        ------
        ValueError
            If there is no such parameter, or `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be between 0 and 1, was {level!r}.")
        if parameter == "half_life_s":
            low, high = self.bounds("theta", level)
            if math.isnan(low):
                return math.nan, math.nan
            return tuple(_LN_2 / rate if rate > 0.0 else math.inf for rate in (high, low))  # type: ignore[return-value]
        centres = {"theta": self.theta - self.theta_bias, "mu": self.mu, "sigma": self.sigma}
        if parameter not in centres:
            raise ValueError(f"parameter must be theta, mu, sigma or half_life_s, was {parameter!r}.")
        half_width = NormalDist().inv_cdf(0.5 + level / 2.0) * float(getattr(self, f"{parameter}_se"))
        return centres[parameter] - half_width, centres[parameter] + half_width


def fit_ou(values: ArrayLike, dt_s: float) -> OuFit:
    """Fit an Ornstein-Uhlenbeck process by conditional maximum likelihood.

    Parameters
    ----------
    values : array_like of float, shape (n + 1,)
        Evenly spaced, oldest first.
    dt_s : float
        Time between values, seconds, > 0.

    Returns
    -------
    OuFit
        Estimates, standard errors and a status; series that cannot be fitted raise nothing.

    Raises
    ------
    ValueError
        If `values` is not one-dimensional or `dt_s` is not a positive number.

    Notes
    -----
    The estimates are those of `ou_fit_spread`. Standard errors follow from the regression's (phi, mu and the
    residual variance s2 are asymptotically independent) by the delta method::

        se(theta) = sqrt((1 - phi^2) / n) / (phi dt_s),   se(mu) = sqrt(s2 / n) / (1 - phi)
        se(sigma) = sigma / 2 sqrt(2 / n + (1 / (phi ln phi) + 2 phi / (1 - phi^2))^2 (1 - phi^2) / n)
        bias(theta) = (5 + 2 / phi + 1 / phi^2) / (2 n dt_s)

    They need a sample of many half-lives. See Tang and Chen (2009), section 3.

    Examples
    --------
    >>> import numpy as np
    >>> rng, x = np.random.default_rng(1), [0.0]
    >>> for _ in range(20_000):
    ...     x.append(0.9 * x[-1] + rng.normal())
    >>> fit = fit_ou(x, dt_s=0.1)
    >>> low, high = fit.bounds("theta")
    >>> bool(low < -np.log(0.9) / 0.1 < high)
    True
    """
    array = ou_values(values, dt_s)
    out = record(OU)
    with np.errstate(over="ignore", invalid="ignore"):  # plain Python warns where compiled code does not
        _fit(out, array, float(dt_s))
    estimates: dict[str, Any] = {name: out[name].item() for name in OU.names or ()}
    estimates["status"] = status = OuStatus(estimates["status"])
    phi, sigma, variance = (out[name].item() for name in ("phi", "sigma", "residual_variance"))
    errors = ou_errors(dt_s, status, phi, sigma, variance, estimates["n"])
    return OuFit(dt_s=dt_s, **estimates, **errors)


def ou_values(values: ArrayLike, dt_s: float) -> np.ndarray:
    """Return the values as a float64 array.

    Raises
    ------
    ValueError
        If they are not one-dimensional or `dt_s` is not a positive number.
    """
    array = np.ascontiguousarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"values must have shape (n + 1,), was {array.shape}.")
    if not 0.0 < dt_s < math.inf:
        raise ValueError(f"dt_s must be finite and > 0, was {dt_s!r}.")
    return array


def ou_errors(
    dt_s: float, status: OuStatus, phi: float, sigma: float, residual_variance: float, n: int
) -> dict[str, Any]:
    """Standard errors, bias of theta and log-likelihood at its maximum; formulas in `fit_ou`."""
    if status != OuStatus.OK:
        return dict.fromkeys(("theta_se", "mu_se", "sigma_se", "theta_bias", "log_likelihood"), math.nan)
    rest = 1.0 - phi * phi
    tilt = 1.0 / (phi * math.log(phi)) + 2.0 * phi / rest
    return {
        "theta_se": math.sqrt(rest / n) / (phi * dt_s),
        "mu_se": math.sqrt(residual_variance / n) / (1.0 - phi),
        "sigma_se": 0.5 * sigma * math.sqrt(2.0 / n + tilt * tilt * rest / n),
        "theta_bias": (5.0 + 2.0 / phi + 1.0 / phi**2) / (2.0 * n * dt_s),
        "log_likelihood": -0.5 * n * (math.log(2.0 * math.pi * residual_variance) + 1.0),
    }
