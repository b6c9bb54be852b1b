"""Leung and Li's optimal stopping of the Ornstein-Uhlenbeck process, in stationary standard deviations.

For a discount rate r and ``nu = r / theta``, the increasing solution of ``L F = r F`` is, up to a factor,
``F(x) = M(nu, z)`` with ``z = (x - mu) / s``, and the decreasing one ``G(x) = M(nu, -z)``, where::

    M(nu, z) = integral of u^(nu-1) exp(z u - u^2 / 2) over u > 0,    dM/dz = M(nu+1, z)
    M(nu+2, z) = nu M(nu, z) + z M(nu+1, z)

No integral is taken: for z >= 0 the power series has positive terms only, for z < 0 the recurrence is a continued
fraction of the ratio ``rho = M(nu+1) / M(nu)``, and the Wronskian gives M itself.

References
----------
Leung, T. and Li, X. (2015). Optimal mean reversion trading with transaction costs and stop-loss exit.
International Journal of Theoretical and Applied Finance 18 (3). Equations for F, G, b* and d* in sections 3 and 4.
DLMF, chapter 12 (parabolic cylinder functions: ``M(nu, z) = Gamma(nu) exp(z^2 / 4) U(nu - 1/2, -z)``).
"""

from __future__ import annotations

import math
from typing import Any

from bt_framework.jit import kernel
from bt_framework.stats._bertram import MAX_Z

_MAX_STEPS = 100
_MAX_TERMS = 400
_RELATIVE = 4e-15
_SMALL = 2.0
"""Up to here the power series serves negative z too; it loses two digits at most."""


@kernel
def _series(nu: float, z: float) -> Any:
    """M(nu, z) and M(nu+1, z) by power series; ``-2 <= z``."""
    even = 2.0 ** (0.5 * nu - 1.0) * math.gamma(0.5 * nu)
    odd = 2.0 ** (0.5 * nu - 0.5) * math.gamma(0.5 * nu + 0.5)  # times z, kept apart: z may be zero
    value, slope = even + odd * z, odd
    for j in range(0, _MAX_TERMS, 2):
        even *= z * z * (nu + j) / ((j + 1) * (j + 2))
        slope += even * (j + 2) / z if z != 0.0 else 0.0
        odd *= z * z * (nu + j + 1) / ((j + 2) * (j + 3))
        slope += odd * (j + 3)
        value += even + odd * z
        if even + odd * (j + 3) <= 1e-18 * min(value, slope):
            break
    return value, slope


@kernel
def _fraction(nu: float, a: float) -> float:
    """M(nu+1, -a) / M(nu, -a) for a > 0, by its continued fraction from the tail.

    ``rho(nu) = nu / (a + rho(nu + 1))`` follows from the recurrence; M is its minimal solution, so the fraction
    converges (Pincherle), and 400 terms are enough for full precision from a = 2 on.
    """
    rho = 0.0
    for j in range(_MAX_TERMS, -1, -1):
        rho = (nu + j) / (a + rho)
    return rho


@kernel
def passage(nu: float, z: float) -> Any:
    """Return ln M(nu, z) and its derivative ``M(nu+1, z) / M(nu, z)``; ``0 < nu <= 1``, ``|z| <= 8``."""
    if z >= -_SMALL:
        value, slope = _series(nu, z)
        return math.log(value), slope / value
    rho = _fraction(nu, -z)
    value, slope = _series(nu, -z)
    at_0, slope_0 = _series(nu, 0.0)  # Wronskian: M(z) M'(-z) + M'(z) M(-z) = 2 M(0) M'(0) exp(z^2 / 2)
    wronskian = math.log(2.0 * at_0 * slope_0) + 0.5 * z * z
    return wronskian - math.log(value) - math.log(slope / value + rho), rho


@kernel
def exit_z(nu: float, cost_z: float) -> float:
    """Where to sell what is held: the z* > cost_z with ``(z* - cost_z) rho(z*) = 1``.

    That is ``F(b) = (b - c) F'(b)``, Leung and Li (2015), section 3. The left side rises from 0, so there is one root.

    Parameters
    ----------
    nu : float
        Discount rate over theta, > 0.
    cost_z : float
        ``(c - mu) / s``, where c is the cost of selling.

    Returns
    -------
    float
        ``(b* - mu) / s``; NaN if it is beyond `MAX_Z` on either side.
    """
    if not cost_z < MAX_Z:
        return math.nan
    low, high = max(cost_z, -MAX_Z), MAX_Z
    if (low - cost_z) * passage(nu, low)[1] >= 1.0 or (high - cost_z) * passage(nu, high)[1] < 1.0:
        return math.nan
    z = 0.5 * (low + high)
    for _ in range(_MAX_STEPS):
        rho = passage(nu, z)[1]
        miss = (z - cost_z) * rho - 1.0
        if miss > 0.0:
            high = z
        else:
            low = z
        then = z - miss / (rho + (z - cost_z) * (nu + z * rho - rho * rho))
        if not low < then < high:
            then = 0.5 * (low + high)
        done = abs(then - z) <= _RELATIVE * (1.0 + abs(z))
        z = then
        if done:
            break
    return z


@kernel
def _entry_condition(z: float, rates: Any, sale: Any, buy_z: float) -> Any:
    """Condition for d* and its slope, in z; `sale` is (b* in z, cost of selling in z, ln M(nu, b*)).

    ``V'(d) - 1 - (V(d) - d - c_buy) G'(d) / G(d)`` times s, for ``V = (b* - c) F / F(b*)``; here ``G'/G = -rho / s``.
    """
    log_m, rho = passage(rates[0], z)
    back = passage(rates[1], -z)[1]
    value = (sale[0] - sale[1]) * math.exp(log_m - sale[2])
    gain = value - z - buy_z
    back_slope = -(rates[1] - z * back - back * back)
    slope = value * (z * rho + rates[0]) + back_slope * gain + back * (value * rho - 1.0)
    return value * rho - 1.0 + back * gain, slope


@kernel
def entry_z(rates: Any, b_z: float, sell_z: float, buy_z: float) -> float:
    """Where to buy: the largest z at which waiting for the sale at `b_z` is worth more than its price.

    Parameters
    ----------
    rates : (float, float)
        Discount rates while holding and while waiting to buy, over theta, > 0.
    b_z : float
        `exit_z`.
    sell_z, buy_z : float
        ``(c - mu) / s`` of the cost of selling and ``(c + mu) / s`` of the cost of buying.

    Returns
    -------
    float
        ``(d* - mu) / s``; NaN if it is below ``-MAX_Z``.

    References
    ----------
    Leung and Li (2015), section 4: ``G(d) (V'(d) - 1) = G'(d) (V(d) - d - c)``, one root below b*.
    """
    sale = (b_z, sell_z, passage(rates[0], b_z)[0])
    low, high = -MAX_Z, b_z
    if not _entry_condition(low, rates, sale, buy_z)[0] > 0.0:
        return math.nan
    z = 0.5 * (low + high)
    for _ in range(_MAX_STEPS):
        miss, slope = _entry_condition(z, rates, sale, buy_z)
        if miss > 0.0:
            low = z
        else:
            high = z
        then = z - miss / slope if slope != 0.0 else math.nan
        if not low < then < high:
            then = 0.5 * (low + high)
        done = abs(then - z) <= _RELATIVE * (1.0 + abs(z))
        z = then
        if done:
            break
    return z
