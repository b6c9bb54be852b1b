"""Estimates of the Ornstein-Uhlenbeck process without the first-order bias of maximum likelihood, and by moments.

Least squares with an estimated mean makes phi too small by about ``(1 + 3 phi) / n`` and therefore theta too large by
about 4 over the length of the sample, however finely it is sampled. `ou_unbias` corrects a fit inside a compiled loop,
`ou_unbiased` does so with a choice of methods, `ou_moments` estimates by the stationary moments instead.

References
----------
Kendall, M. G. (1954). Note on bias in the estimation of autocorrelation. Biometrika 41, 403-404.
Marriott, F. H. C. and Pope, J. A. (1954). Bias in the estimation of autocorrelations. Biometrika 41, 390-402.
Phillips, P. C. B. and Yu, J. (2005). Jackknifing bond option prices. Review of Financial Studies 18, 707-742.
Tang, C. Y. and Chen, S. X. (2009). Parameter estimation and bias correction for diffusion processes.
Journal of Econometrics 149, 65-81.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.jit import kernel
from bt_framework.stats.ou import OuFit, OuStatus, clear_ou, fit_ou, ou_errors, ou_values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_OK = int(OuStatus.OK)
_NOT_REVERTING = int(OuStatus.NOT_REVERTING)
_LN_2 = math.log(2.0)
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)


@kernel
def ou_unbiased_theta(theta: float, n: int, dt_s: float) -> float:
    """Take the first-order bias off a maximum likelihood estimate of theta.

    ``theta - (5 + 2 exp(theta dt_s) + exp(2 theta dt_s)) / (2 n dt_s)``: Tang and Chen (2009), theorem 3.1.1, at the
    estimate.

    Parameters
    ----------
    theta : float
        Estimate, 1/s.
    n : int
        Transitions that it is from.
    dt_s : float
        Time between values, seconds, > 0.

    Returns
    -------
    float
        1/s; zero or less says that the sample does not tell theta from none. NaN without transitions or time.
    """
    if n < 1 or not dt_s > 0.0:
        return math.nan
    growth = math.exp(theta * dt_s)
    return theta - (5.0 + 2.0 * growth + growth * growth) / (2.0 * n * dt_s)


@kernel
def ou_unbias(out: Any, dt_s: float) -> int:
    """Correct a fit for the bias of theta, by `ou_unbiased_theta`, with all that follows from theta.

    phi, sigma, stationary_sd and half_life_s become those of the corrected theta at the same residual variance; mu
    stays.

    Parameters
    ----------
    out : record of `bt_framework.stats.ou.OU`
        A fit of `bt_framework.stats.ou.ou_fit` or `ou_fit_spread`; left alone if its status is not OK.
    dt_s : float
        Time between values, seconds, as in the fit.

    Returns
    -------
    int
        The fit's `OuStatus`; NOT_REVERTING, with NaN estimates, if the corrected theta is not positive.
    """
    if out.status != _OK:
        return out.status  # type: ignore[no-any-return]
    theta = ou_unbiased_theta(out.theta, out.n, dt_s)
    if not 0.0 < theta < math.inf:
        phi = out.phi
        clear_ou(out, out.n)
        out.phi = phi
        out.status = _NOT_REVERTING
        return _NOT_REVERTING
    stationary_sd = math.sqrt(out.residual_variance / -math.expm1(-2.0 * theta * dt_s))
    out.theta = theta
    out.phi = math.exp(-theta * dt_s)
    out.sigma = math.sqrt(2.0 * theta) * stationary_sd
    out.stationary_sd = stationary_sd
    out.half_life_s = _LN_2 / theta
    return _OK


_CORRECTIONS = ("tang_chen", "kendall", "jackknife")


@dataclass(frozen=True)
class OuEstimator:
    """How an Ornstein-Uhlenbeck process is fitted.

    Attributes
    ----------
    method : str
        "ml" (`bt_framework.stats.ou.fit_ou`), "moments" (`ou_moments`), or maximum likelihood without the bias of theta
        by "tang_chen", "kendall" or "jackknife" (`ou_unbiased`).
    blocks : int
        Parts of the jackknife, >= 2.
    """

    method: str = "ml"
    blocks: int = 2

    def __post_init__(self) -> None:
        methods = ("ml", "moments", *_CORRECTIONS)
        if self.method not in methods:
            raise ValueError(f"method must be one of {', '.join(methods)}, was {self.method!r}.")
        _check_blocks(self.blocks)

    def fit(self, values: ArrayLike, dt_s: float) -> OuFit:
        """Fit a process to evenly spaced values, `dt_s` seconds apart; see the method's function."""
        if self.method == "ml":
            return fit_ou(values, dt_s)
        if self.method == "moments":
            return ou_moments(values, dt_s)
        return ou_unbiased(values, dt_s, self.method, self.blocks)


def _check_blocks(blocks: int) -> None:
    if blocks < 2:
        raise ValueError(f"blocks must be >= 2, was {blocks!r}.")


def ou_unbiased(values: ArrayLike, dt_s: float, method: str = "tang_chen", blocks: int = 2) -> OuFit:
    """Fit an Ornstein-Uhlenbeck process by maximum likelihood and correct theta's bias.

    Parameters
    ----------
    values : array_like of float, shape (n + 1,)
        Evenly spaced, oldest first.
    dt_s : float
        Time between values, seconds, > 0.
    method : str
        "tang_chen", "kendall" or "jackknife", see Notes.
    blocks : int
        Parts of the jackknife, >= 2.

    Returns
    -------
    OuFit
        With ``theta_bias`` 0 and what follows from theta recomputed; NOT_REVERTING if the corrected theta is not
        positive or a part of the jackknife has phi <= 0.

    Raises
    ------
    ValueError
        If `values` is not one-dimensional, `dt_s` is not a positive number, the method is unknown or there are
        fewer than two blocks.

    Notes
    -----
    ::

        tang_chen   theta - (5 + 2 / phi + 1 / phi^2) / (2 n dt_s)
        kendall     -ln((n phi + 1) / (n - 3)) / dt_s, from E[estimate] = phi - (1 + 3 phi) / n
        jackknife   m / (m - 1) theta - sum of the m parts' theta / (m (m - 1))

    The jackknife needs no formula for the bias, and pays with variance: least with two or three parts (Phillips
    and Yu 2005).

    Examples
    --------
    >>> import numpy as np
    >>> rng, x = np.random.default_rng(4), [0.0]
    >>> for _ in range(500):
    ...     x.append(0.9 * x[-1] + rng.normal())
    >>> fit_ou(x, 0.1).theta > ou_unbiased(x, 0.1).theta > 0.0
    True
    """
    if method not in _CORRECTIONS:
        raise ValueError(f"method must be tang_chen, kendall or jackknife, was {method!r}.")
    _check_blocks(blocks)
    fit = fit_ou(values, dt_s)
    if fit.status is not OuStatus.OK:
        return fit
    array = ou_values(values, dt_s)
    if method == "tang_chen":
        theta = float(ou_unbiased_theta(fit.theta, fit.n, dt_s))
    elif method == "kendall":
        theta = _kendall_theta(fit)
    else:
        theta = _jackknife_theta(fit, array, blocks)
    return replace(_fit_at(array, fit, theta), theta_bias=0.0 if theta > 0.0 else math.nan)


def _kendall_theta(fit: OuFit) -> float:
    """Theta of the phi whose expected estimate is the fit's; not positive or NaN if there is none."""
    if fit.n <= 3:
        return math.nan
    return -math.log((fit.n * fit.phi + 1.0) / (fit.n - 3.0)) / fit.dt_s


def _jackknife_theta(fit: OuFit, array: np.ndarray, blocks: int) -> float:
    """Jackknife over consecutive parts of equal length, which share the values at their ends."""
    length = fit.n // blocks
    parts = [fit_ou(array[i * length : (i + 1) * length + 1], fit.dt_s) for i in range(blocks)]
    if any(not part.phi > 0.0 for part in parts):  # NaN if too short or constant
        return math.nan
    total = sum(-math.log(part.phi) / fit.dt_s for part in parts)
    return (blocks * fit.theta - total / blocks) / (blocks - 1)


def _fit_at(array: np.ndarray, fit: OuFit, theta: float) -> OuFit:
    """`fit` with another theta, at its mu and residual variance."""
    if not 0.0 < theta < math.inf:
        nothing: dict[str, Any] = dict.fromkeys(
            ("theta", "mu", "sigma", "stationary_sd", "half_life_s", "residual_variance"), math.nan
        )
        errors = ou_errors(fit.dt_s, OuStatus.NOT_REVERTING, fit.phi, math.nan, math.nan, fit.n)
        return replace(fit, status=OuStatus.NOT_REVERTING, **nothing, **errors)
    phi, variance = math.exp(-theta * fit.dt_s), fit.residual_variance
    stationary_sd = math.sqrt(variance / -math.expm1(-2.0 * theta * fit.dt_s))
    sigma = math.sqrt(2.0 * theta) * stationary_sd
    errors = ou_errors(fit.dt_s, OuStatus.OK, phi, sigma, variance, fit.n)
    residuals = array[1:] - fit.mu - phi * (array[:-1] - fit.mu)
    squares = float(residuals @ residuals)
    errors["log_likelihood"] = -0.5 * (fit.n * math.log(2.0 * math.pi * variance) + squares / variance)
    return replace(
        fit,
        theta=theta,
        phi=phi,
        sigma=sigma,
        stationary_sd=stationary_sd,
        half_life_s=_LN_2 / theta,
        **errors,
    )


def ou_moments(values: ArrayLike, dt_s: float) -> OuFit:
    """Fit an Ornstein-Uhlenbeck process by its stationary moments.

    Parameters
    ----------
    values : array_like of float, shape (n + 1,)
        Evenly spaced, oldest first.
    dt_s : float
        Time between values, seconds, > 0.

    Returns
    -------
    OuFit
        Estimates, standard errors and a status, as `bt_framework.stats.ou.fit_ou`.

    Raises
    ------
    ValueError
        If `values` is not one-dimensional or `dt_s` is not a positive number.

    Notes
    -----
    With the mean m and variance v of all values and their autocorrelation at lag one::

        mu = m,   stationary_sd^2 = v,   phi = sum (X[i] - m) (X[i+1] - m) / sum (X[i] - m)^2
        theta = -ln(phi) / dt_s,   sigma^2 = 2 theta v,   residual variance = v (1 - phi^2)
        bias(theta) = (7 + 2 / phi + 1 / phi^2) / (2 n dt_s),  from E[phi] - phi ~ -(1 + 4 phi) / n

    In large samples as precise as maximum likelihood, with the same standard errors; biased more in small ones
    (Marriott and Pope 1954). It describes the sample's own spread, where maximum likelihood extrapolates it.

    Examples
    --------
    >>> ou_moments([0.0, 0.0, 0.0, 2.0, 2.0], dt_s=2.0).mu
    0.8
    """
    array = ou_values(values, dt_s)
    n = max(len(array) - 1, 0)
    status, mean, phi, variance = _moments(array)
    estimates: dict[str, Any] = dict.fromkeys(
        ("theta", "mu", "sigma", "stationary_sd", "half_life_s"), math.nan
    )
    residual_variance = math.nan
    if status is OuStatus.OK:
        theta = -math.log(phi) / dt_s
        residual_variance = variance * (1.0 - phi * phi)
        estimates = {
            "theta": theta,
            "mu": mean,
            "sigma": math.sqrt(2.0 * theta * variance),
            "stationary_sd": math.sqrt(variance),
            "half_life_s": _LN_2 / theta,
        }
    errors = ou_errors(dt_s, status, phi, estimates["sigma"], residual_variance, n)
    fit = OuFit(
        status=status, phi=phi, residual_variance=residual_variance, n=n, dt_s=dt_s, **estimates, **errors
    )
    if status is not OuStatus.OK:
        return fit
    bias = (7.0 + 2.0 / phi + 1.0 / phi**2) / (2.0 * n * dt_s)
    return replace(_fit_at(array, fit, fit.theta), theta_bias=bias)


def _moments(array: np.ndarray) -> tuple[OuStatus, float, float, float]:
    """Status, mean, lag-one autocorrelation and variance; what was not computed is NaN."""
    nothing = math.nan, math.nan, math.nan
    if len(array) < 4:
        return OuStatus.TOO_FEW, *nothing
    if not np.isfinite(array).all():
        return OuStatus.NOT_FINITE, *nothing
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(array[0] + (array - array[0]).mean())
        centred = array - mean
        squares, products = float(centred @ centred), float(centred[:-1] @ centred[1:])
    if not math.isfinite(squares):
        return OuStatus.NOT_FINITE, *nothing
    if squares <= len(array) * (_ROUNDING * float(np.abs(array).max())) ** 2:
        return OuStatus.CONSTANT, *nothing
    phi, variance = products / squares, squares / len(array)
    if not 0.0 < phi < 1.0:
        return OuStatus.NOT_REVERTING, math.nan, phi, math.nan
    return OuStatus.OK, mean, phi, variance
