"""Where to enter and leave a mean-reverting spread: fixed z-scores, Bertram's and Leung and Li's optimal levels.

All three speak of an Ornstein-Uhlenbeck process ``dX = theta (mu - X) dt + sigma dW`` and give z-scores,
``z = (X - mu) / s`` with ``s = sigma / sqrt(2 theta)``: enter long at or below ``long_entry_z``, leave at or above
``long_exit_z``; enter short at or above ``short_entry_z``, leave at or below ``short_exit_z``. The kernels fill a
record of `THRESHOLDS` inside a compiled loop, the functions add what a trade is expected to bring.

References
----------
Bertram, W. K. (2010). Analytic solutions for optimal statistical arbitrage trading. Physica A 389, 2234-2243.
Leung, T. and Li, X. (2015). Optimal mean reversion trading with transaction costs and stop-loss exit.
International Journal of Theoretical and Applied Finance 18 (3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_framework.records import record
from bt_framework.stats._bertram import MAX_Z, bertram_z, passage_sums
from bt_framework.stats._leung_li import entry_z as _entry_z
from bt_framework.stats._leung_li import exit_z as _exit_z
from bt_framework.stats._leung_li import passage


class ThresholdStatus(IntEnum):
    """Whether there are thresholds. Except for `OK`, all levels are NaN."""

    OK = 0
    NOT_REVERTING = 1
    """theta is not a positive number."""
    NO_NOISE = 2
    """sigma is not a positive number."""
    BAD_COST = 3
    """A cost is negative or not finite."""
    OUT_OF_REACH = 4
    """Levels would be more than eight stationary standard deviations from the mean: the costs are too large."""
    BAD_RATE = 5
    """A discount rate is not between 10^-12 and 1 times theta."""
    BAD_LEVELS = 6
    """The entry is not above the exit, or not finite, or the mean is not."""


THRESHOLDS = np.dtype(
    [
        ("long_entry_z", "f8"),
        ("long_exit_z", "f8"),
        ("short_entry_z", "f8"),
        ("short_exit_z", "f8"),
        ("status", "i8"),
    ]
)
"""Levels in stationary standard deviations from the mean, and a `ThresholdStatus`."""

_OK = int(ThresholdStatus.OK)
_NOT_REVERTING = int(ThresholdStatus.NOT_REVERTING)
_NO_NOISE = int(ThresholdStatus.NO_NOISE)
_BAD_COST = int(ThresholdStatus.BAD_COST)
_OUT_OF_REACH = int(ThresholdStatus.OUT_OF_REACH)
_BAD_RATE = int(ThresholdStatus.BAD_RATE)
_BAD_LEVELS = int(ThresholdStatus.BAD_LEVELS)

_MIN_RATE, _MAX_RATE = 1e-12, 1.0
_NO_WIDTH = 1e-100


@kernel
def _set_thresholds(out: Any, long_entry_z: float, long_exit_z: float, status: int) -> int:
    """Store a long trade's levels and their mirror image; return the status."""
    out.long_entry_z = long_entry_z
    out.long_exit_z = long_exit_z
    out.short_entry_z = -long_entry_z
    out.short_exit_z = -long_exit_z
    out.status = status
    return status


@kernel
def fixed_z_thresholds(out: Any, entry_z: float, exit_z: float) -> int:
    """Enter `entry_z` standard deviations from the mean, leave at `exit_z` on the same side.

    Parameters
    ----------
    out : record of `THRESHOLDS`
        Overwritten.
    entry_z, exit_z : float
        Distances from the mean, ``entry_z > exit_z``; a negative exit is beyond the mean.

    Returns
    -------
    int
        A `ThresholdStatus`, also stored: OK or BAD_LEVELS.
    """
    if not -math.inf < exit_z < entry_z < math.inf:
        return _set_thresholds(out, math.nan, math.nan, _BAD_LEVELS)
    return _set_thresholds(out, -entry_z, -exit_z, _OK)


@kernel
def bertram_entry(theta: float, sigma: float, cost: float) -> float:
    """Bertram's distance of entry and exit from the mean, for the largest expected return per time.

    Parameters
    ----------
    theta : float
        Speed of reversion, 1/s.
    sigma : float
        Volatility, units of the spread per square root of a second.
    cost : float
        Of a round trip, units of the spread, >= 0.

    Returns
    -------
    float
        Units of the spread: enter at ``mu - distance``, leave at ``mu + distance``. NaN if there is none, see
        `bertram_thresholds`.
    """
    if not (0.0 < theta < math.inf and 0.0 < sigma < math.inf and 0.0 <= cost < math.inf):
        return math.nan
    sd = sigma / math.sqrt(2.0 * theta)
    return sd * bertram_z(cost / sd) if 0.0 < sd < math.inf else math.nan


@kernel
def bertram_thresholds(out: Any, theta: float, sigma: float, cost: float) -> int:
    """Bertram's thresholds: a long trade enters at ``-z`` and leaves at ``+z``, where a short one enters.

    Parameters
    ----------
    out : record of `THRESHOLDS`
        Overwritten.
    theta, sigma, cost : float
        As of `bertram_entry`.

    Returns
    -------
    int
        A `ThresholdStatus`, also stored: OK, NOT_REVERTING, NO_NOISE, BAD_COST or OUT_OF_REACH.
    """
    if not 0.0 < theta < math.inf:
        return _set_thresholds(out, math.nan, math.nan, _NOT_REVERTING)
    if not 0.0 < sigma < math.inf:
        return _set_thresholds(out, math.nan, math.nan, _NO_NOISE)
    if not 0.0 <= cost < math.inf:
        return _set_thresholds(out, math.nan, math.nan, _BAD_COST)
    sd = sigma / math.sqrt(2.0 * theta)
    z = bertram_z(cost / sd) if 0.0 < sd < math.inf else math.nan
    if math.isnan(z):
        return _set_thresholds(out, math.nan, math.nan, _OUT_OF_REACH)
    return _set_thresholds(out, -z, z, _OK)


@kernel
def _leung_li_long(nus: Any, mu_z: float, sell_z: float, buy_z: float) -> Any:
    """Entry and exit of a long trade, in z, -inf where there are none. Costs in z, `mu_z` is the mean over s."""
    b_z = _exit_z(nus[0], sell_z - mu_z)
    if math.isnan(b_z):
        return -math.inf, -math.inf
    d_z = _entry_z(nus, b_z, sell_z - mu_z, buy_z + mu_z)
    if math.isnan(d_z):
        return -math.inf, -math.inf
    return d_z, b_z


@kernel
def leung_li_thresholds(out: Any, process: Any, costs: Any, rates: Any) -> int:
    """Leung and Li's thresholds: the entry and exit with the largest expected discounted gain of one trade.

    While a long trade is held, ``X - costs[0]`` discounted at ``rates[0]`` is worth most if it is sold at b*; before,
    the gain discounted at ``rates[1]`` is worth most if it is bought at d*. A short trade is a long one in ``-X``;
    a side that is never worth entering has infinite levels, at which none is entered and any is left.

    Discounting acts on the spread itself, so its mean matters: where the level of a spread means nothing, as that
    of log prices, pass a mean of zero. The slower the rates are against theta, the farther out are the levels.

    Parameters
    ----------
    out : record of `THRESHOLDS`
        Overwritten.
    process : (float, float, float)
        theta in 1/s, mu in units of the spread, sigma in those per square root of a second.
    costs : (float, float)
        Of leaving and of entering, units of the spread, >= 0.
    rates : (float, float)
        Discount rates while a trade is held and while it is waited for, 1/s.

    Returns
    -------
    int
        A `ThresholdStatus`, also stored.

    References
    ----------
    Leung and Li (2015), sections 3 and 4.
    """
    theta, mu, sigma = process
    if not 0.0 < theta < math.inf:
        return _set_thresholds(out, math.nan, math.nan, _NOT_REVERTING)
    if not 0.0 < sigma < math.inf:
        return _set_thresholds(out, math.nan, math.nan, _NO_NOISE)
    if not (0.0 <= costs[0] < math.inf and 0.0 <= costs[1] < math.inf):
        return _set_thresholds(out, math.nan, math.nan, _BAD_COST)
    if not math.isfinite(mu):
        return _set_thresholds(out, math.nan, math.nan, _BAD_LEVELS)
    nus = rates[0] / theta, rates[1] / theta
    if not (_MIN_RATE <= nus[0] <= _MAX_RATE and _MIN_RATE <= nus[1] <= _MAX_RATE):
        return _set_thresholds(out, math.nan, math.nan, _BAD_RATE)
    sd = sigma / math.sqrt(2.0 * theta)
    if not 0.0 < sd < math.inf:
        return _set_thresholds(out, math.nan, math.nan, _OUT_OF_REACH)
    long_entry, long_exit = _leung_li_long(nus, mu / sd, costs[0] / sd, costs[1] / sd)
    short_entry, short_exit = _leung_li_long(nus, -mu / sd, costs[0] / sd, costs[1] / sd)
    if math.isinf(long_entry) and math.isinf(short_entry):
        return _set_thresholds(out, math.nan, math.nan, _OUT_OF_REACH)
    _set_thresholds(out, long_entry, long_exit, _OK)
    out.short_entry_z = -short_entry
    out.short_exit_z = -short_exit
    return _OK


@cached_kernel
def _bertram(out: Any, theta: float, sigma: float, cost: float) -> int:
    return bertram_thresholds(out, theta, sigma, cost)


@cached_kernel
def _leung_li(out: Any, process: Any, costs: Any, rates: Any) -> int:
    return leung_li_thresholds(out, process, costs, rates)


@cached_kernel
def _log_passage(nu: float, z: float) -> float:
    return passage(nu, z)[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TradeCycle:
    """What trading between an entry and an exit brings: the time from one entry to the next, and the return over it.

    Attributes
    ----------
    duration_s, duration_variance_s2 : float
        Mean and variance of the time from one entry to the next, seconds and their square.
    mean_return, return_variance : float
        Of the return per second, ``r / E[T]`` and ``r^2 V[T] / E[T]^3`` for a trade's return r, units of the spread;
        NaN for a trade without width.
    """

    duration_s: float
    duration_variance_s2: float
    mean_return: float
    return_variance: float

    def sharpe(self, rate: float = 0.0) -> float:
        """Ratio of `mean_return`, less `rate` per trade over its duration, to the return's standard deviation."""
        if not self.return_variance > 0.0:
            return math.nan
        return (self.mean_return - rate / self.duration_s) / math.sqrt(self.return_variance)


def trade_cycle(theta: float, sigma: float, entry_z: float, exit_z: float, cost: float = 0.0) -> TradeCycle:
    """Moments of a trade that enters at one z-score and leaves at a higher one, again and again.

    Parameters
    ----------
    theta : float
        Speed of reversion, 1/s, > 0.
    sigma : float
        Volatility, units of the spread per square root of a second, > 0.
    entry_z, exit_z : float
        Levels, ``-8 <= entry_z <= exit_z <= 8``; a short trade has those of its mirror image.
    cost : float
        Of a round trip, units of the spread.

    Returns
    -------
    TradeCycle

    Raises
    ------
    ValueError
        If theta or sigma is not a positive number, or the levels are not in that order and range.

    References
    ----------
    Bertram (2010), section 3: mean and variance of the time from a to m and back to a.
    """
    if not (0.0 < theta < math.inf and 0.0 < sigma < math.inf):
        raise ValueError(f"theta and sigma must be finite and > 0, were {theta!r} and {sigma!r}.")
    if not -MAX_Z <= entry_z <= exit_z <= MAX_Z:
        raise ValueError(
            f"levels must be -{MAX_Z:g} <= entry_z <= exit_z <= {MAX_Z:g}, were {entry_z!r} and {exit_z!r}."
        )
    (mean_in, variance_in), (mean_out, variance_out) = passage_sums(entry_z), passage_sums(exit_z)
    duration, variance = mean_out - mean_in, variance_out - variance_in  # in 1 / theta and its square
    if duration < _NO_WIDTH:
        return TradeCycle(0.0, 0.0, math.nan, math.nan)
    gain = (exit_z - entry_z) * sigma / math.sqrt(2.0 * theta) - cost
    return TradeCycle(
        duration_s=duration / theta,
        duration_variance_s2=variance / theta / theta,
        mean_return=theta * gain / duration,
        return_variance=theta * gain * gain * variance / duration**3,
    )


@dataclass(frozen=True)
class Thresholds:
    """Levels of a strategy on one spread; if the status is not OK, all of them are NaN.

    Attributes
    ----------
    status : ThresholdStatus
        OK, or why there are none.
    mu, stationary_sd : float
        Mean and standard deviation of the process, units of the spread.
    long_entry_z, long_exit_z, short_entry_z, short_exit_z : float
        Levels in standard deviations from the mean; `level` has them in units of the spread.
    cycle : TradeCycle or None
        What the long trade brings; None without thresholds, and for Leung and Li's, whose gain is a discounted one.
    exit_value, entry_value : float
        Leung and Li's V(mu), what a position held at the mean is worth, and ``V(d*) - d* - cost``, what entering at
        the threshold is; else NaN.
    """

    status: ThresholdStatus
    mu: float
    stationary_sd: float
    long_entry_z: float
    long_exit_z: float
    short_entry_z: float
    short_exit_z: float
    cycle: TradeCycle | None = None
    exit_value: float = math.nan
    entry_value: float = math.nan

    def level(self, name: str) -> float:
        """Return "long_entry", "long_exit", "short_entry" or "short_exit" in units of the spread.

        Raises
        ------
        ValueError
            If there is no such level.
        """
        z = getattr(self, f"{name}_z", None)
        if z is None:
            raise ValueError(f"name must be long_entry, long_exit, short_entry or short_exit, was {name!r}.")
        return self.mu + float(z) * self.stationary_sd


def _thresholds(out: np.record, theta: float, mu: float, sigma: float, **more: Any) -> Thresholds:
    """Of a filled record of `THRESHOLDS`."""
    levels: dict[str, Any] = {name: float(out[name]) for name in (THRESHOLDS.names or ())[:4]}
    usable = theta > 0.0 and sigma > 0.0
    sd = sigma / math.sqrt(2.0 * theta) if usable else math.nan
    return Thresholds(ThresholdStatus(int(out["status"])), float(mu), sd, **levels, **more)


def _cycle(out: np.record, theta: float, sigma: float, cost: float) -> TradeCycle | None:
    """What the long trade brings; None without one, or with levels out of reach."""
    entry, leave = float(out["long_entry_z"]), float(out["long_exit_z"])
    if not -MAX_Z <= entry <= leave <= MAX_Z:  # NaN without thresholds
        return None
    return trade_cycle(theta, sigma, entry, leave, cost)


def fixed_z(
    theta: float, mu: float, sigma: float, entry_z: float, exit_z: float = 0.0, cost: float = 0.0
) -> Thresholds:
    """Thresholds at given z-scores, `entry_z` and `exit_z` from the mean on the side of the entry.

    Parameters
    ----------
    theta, mu, sigma : float
        The process: 1/s, units of the spread, units per square root of a second.
    entry_z, exit_z : float
        Distances from the mean, ``entry_z > exit_z``.
    cost : float
        Of a round trip, units of the spread, for what the trade brings.

    Returns
    -------
    Thresholds
        Its status is OK, NOT_REVERTING, NO_NOISE, BAD_COST or BAD_LEVELS.

    Examples
    --------
    >>> levels = fixed_z(theta=0.5, mu=10.0, sigma=2.0, entry_z=2.0)
    >>> levels.level("long_entry"), levels.level("long_exit"), levels.level("short_entry")
    (6.0, 10.0, 14.0)
    """
    out = record(THRESHOLDS)
    checks = ((theta, _NOT_REVERTING), (sigma, _NO_NOISE))
    refused = [status for value, status in checks if not 0.0 < value < math.inf]
    refused += [_BAD_COST] * (not 0.0 <= cost < math.inf) + [_BAD_LEVELS] * (not math.isfinite(mu))
    if refused:
        _set_thresholds(out, math.nan, math.nan, refused[0])
    else:
        fixed_z_thresholds(out, entry_z, exit_z)
    return _thresholds(out, theta, mu, sigma, cycle=_cycle(out, theta, sigma, cost))


def bertram(
    theta: float, mu: float, sigma: float, cost: float, *, maximise: str = "return", rate: float = 0.0
) -> Thresholds:
    """Bertram's optimal thresholds under transaction costs.

    Parameters
    ----------
    theta, mu, sigma : float
        The process: 1/s, units of the spread, units per square root of a second.
    cost : float
        Of a round trip, units of the spread, >= 0. Without cost the return is largest at the mean itself.
    maximise : str
        "return", the expected return per time, or "sharpe", its ratio to the return's standard deviation.
    rate : float
        For "sharpe": what a trade must earn before it counts, units of the spread per trade, > 0. (Without it the
        ratio is sqrt(E[T] / V[T]) whatever a trade earns, and largest for one that earns nothing.)

    Returns
    -------
    Thresholds
        Its status is OK, NOT_REVERTING, NO_NOISE, BAD_COST, OUT_OF_REACH or BAD_LEVELS.

    Raises
    ------
    ValueError
        If `maximise` is neither, or a Sharpe ratio is asked for with a rate that is not a positive number.

    Notes
    -----
    A cycle enters at ``a``, leaves at ``m`` and waits for ``a`` again; with ``r = m - a - cost``::

        E[T] = pi / theta (erfi(m' / sqrt 2) - erfi(a' / sqrt 2)),     a', m' in stationary standard deviations
        mean return = r / E[T],   variance = r^2 V[T] / E[T]^3,   Sharpe = (r - rate) / E[T] / sqrt(variance)

    All three are largest for a symmetric trade, ``m = -a`` around the mean. Going short at m as well doubles return
    and cost per cycle and leaves the thresholds where they are.

    Examples
    --------
    >>> best = bertram(theta=180.967, mu=0.0, sigma=0.1538, cost=0.001)
    >>> round(best.level("long_entry"), 6), round(best.cycle.mean_return, 6)
    (-0.004715, 0.492358)
    """
    if maximise not in ("return", "sharpe"):
        raise ValueError(f"maximise must be return or sharpe, was {maximise!r}.")
    if maximise == "sharpe" and not 0.0 < rate < math.inf:
        raise ValueError(f"rate must be finite and > 0 for a Sharpe ratio, was {rate!r}.")
    out = record(THRESHOLDS)
    if not math.isfinite(mu):
        _set_thresholds(out, math.nan, math.nan, _BAD_LEVELS)
    elif _bertram(out, float(theta), float(sigma), float(cost)) == _OK and maximise == "sharpe":
        z = _sharpe_z(theta, sigma, cost, rate)
        status = _OK if z < MAX_Z * (1.0 - 1e-6) else _OUT_OF_REACH
        _set_thresholds(out, *((-z, z) if status == _OK else (math.nan, math.nan)), status)
    return _thresholds(out, theta, mu, sigma, cycle=_cycle(out, theta, sigma, cost))


def _sharpe_z(theta: float, sigma: float, cost: float, rate: float) -> float:
    """Symmetric level with the largest Sharpe ratio, by golden section up to `MAX_Z`."""
    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    low, high = 0.5 * cost * math.sqrt(2.0 * theta) / sigma, MAX_Z

    def sharpe(z: float) -> float:
        return trade_cycle(theta, sigma, -z, z, cost).sharpe(rate)

    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = sharpe(left), sharpe(right)
    while high - low > 1e-9:
        if at_left >= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = sharpe(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = sharpe(right)
    return 0.5 * (low + high)


def leung_li(
    theta: float, mu: float, sigma: float, costs: tuple[float, float], rates: tuple[float, float]
) -> Thresholds:
    """Leung and Li's optimal stopping: the entry and exit with the largest discounted gain of one trade.

    Parameters
    ----------
    theta, mu, sigma : float
        The process: 1/s, units of the spread, units per square root of a second.
    costs : (float, float)
        Of leaving and of entering, units of the spread, >= 0.
    rates : (float, float)
        Discount rates while a trade is held and while it is waited for, 1/s.

    Returns
    -------
    Thresholds
        b* is "long_exit", d* is "long_entry"; see `leung_li_thresholds`, also for a side that is not worth entering.

    Examples
    --------
    >>> best = leung_li(theta=8.0, mu=0.3, sigma=0.3, costs=(0.02, 0.02), rates=(0.05, 0.05))
    >>> round(best.level("long_entry"), 6), round(best.level("long_exit"), 6)
    (0.115681, 0.466836)
    """
    out = record(THRESHOLDS)
    process = float(theta), float(mu), float(sigma)
    sell, buy = (float(cost) for cost in costs)
    hold, wait = (float(rate) for rate in rates)
    if _leung_li(out, process, (sell, buy), (hold, wait)) != _OK or math.isinf(out["long_exit_z"]):
        return _thresholds(out, theta, mu, sigma)
    sd, nu = sigma / math.sqrt(2.0 * theta), hold / theta
    b_z, d_z = float(out["long_exit_z"]), float(out["long_entry_z"])

    def value(z: float) -> float:
        ahead = _log_passage(nu, min(z, b_z)) - _log_passage(nu, b_z)
        return (mu + max(z, b_z) * sd - sell) * math.exp(ahead)

    gain = value(d_z) - (mu + d_z * sd) - buy
    return _thresholds(out, theta, mu, sigma, exit_value=value(0.0), entry_value=gain)
