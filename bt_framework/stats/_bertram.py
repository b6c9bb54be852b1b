"""Bertram's optimal trade of the Ornstein-Uhlenbeck process, in stationary standard deviations.

Everything is in z, the distance from the mean over ``s = sigma / sqrt(2 theta)``, and in the time ``1 / theta``.

References
----------
Bertram, W. K. (2010). Analytic solutions for optimal statistical arbitrage trading. Physica A 389, 2234-2243.
"""

from __future__ import annotations

import math
from typing import Any

from bt_framework.jit import kernel

MAX_Z = 8.0
"""Levels beyond are out of reach: a cycle through 8 standard deviations takes more than 10^13 / theta."""

_MAX_STEPS = 80
_MAX_TERMS = 400
_RELATIVE = 4e-16


@kernel
def _dawson(u: float) -> Any:
    """Dawson's integral D(u) and ``u - D(u)``, each to full precision; ``0 <= u <= 9``.

    With ``t_k = u^(2k+1) / k!``: ``D = exp(-u^2) sum t_k / (2k+1)``, ``u - D = exp(-u^2) sum t_k 2k / (2k+1)``;
    all terms are positive.
    """
    term, total, rest = u, u, 0.0
    for k in range(1, _MAX_TERMS):
        term *= u * u / k
        total += term / (2 * k + 1)
        rest += term * (2 * k) / (2 * k + 1)
        if term <= 1e-18 * rest or term == 0.0:
            break
    shrink = math.exp(-u * u)
    return total * shrink, rest * shrink


@kernel
def bertram_z(cost_z: float) -> float:
    """Distance of entry and exit from the mean that earns most per time, for a cost per trade.

    The trade enters at ``-z`` and leaves at ``+z``; the return per time ``(2 z - c) / E[T]`` is largest where
    ``exp(z^2 / 2) (2 z - c) = sqrt(2 pi) erfi(z / sqrt 2)``, which is ``u - D(u) = c / sqrt 8`` for
    ``u = z / sqrt 2`` and Dawson's integral D. The left side rises from 0 without bound: there is one root.

    Parameters
    ----------
    cost_z : float
        Cost of a round trip in stationary standard deviations, >= 0.

    Returns
    -------
    float
        z >= 0; NaN if the cost is negative, NaN or so large that z would be beyond `MAX_Z`.

    References
    ----------
    Bertram (2010), section 4: maximum of the expected return per unit time.
    """
    target = cost_z / math.sqrt(8.0)
    if not 0.0 <= target < MAX_Z:
        return math.nan
    low, high = (1.5 * target) ** (1.0 / 3.0), target + 0.5411  # u - D <= 2 u^3 / 3 and D < 0.5411
    u = min(low, high)
    for _ in range(_MAX_STEPS):
        if u == 0.0:
            break
        dawson, rest = _dawson(u)
        if rest > target:
            high = u
        else:
            low = u
        then = u - (rest - target) / (2.0 * u * dawson)
        if not low <= then <= high:
            then = 0.5 * (low + high)
        done = abs(then - u) <= _RELATIVE * u
        u = then
        if done:
            break
    z = math.sqrt(2.0) * u
    return z if z <= MAX_Z else math.nan


def passage_sums(z: float) -> tuple[float, float]:
    """Return what mean and variance of a cycle's duration are differences of.

    With ``y = sqrt(2) z`` and ``t_j = Gamma(j / 2) y^j / j!``, ``sum_odd t_j`` and
    ``sum_odd t_j sum_even t_j - sum_odd t_j (psi(j / 2) - psi(1))``. A cycle from a to m and back takes
    ``E[T] = (first(m) - first(a)) / theta``, ``V[T] = (second(m) - second(a)) / theta^2`` (Bertram 2010, section 3).
    """
    y = math.sqrt(2.0) * z
    odd_term, even_term = math.sqrt(math.pi) * y, 0.5 * y * y
    odd = even = weighted = 0.0
    harmonic, j = -2.0 * math.log(2.0), 1
    while abs(odd_term) > 1e-18 * abs(odd) or even_term > 1e-18 * even:
        odd += odd_term
        even += even_term
        weighted += odd_term * harmonic
        harmonic += 2.0 / j
        odd_term *= y * y * (0.5 * j) / ((j + 1) * (j + 2))
        even_term *= y * y * (0.5 * (j + 1)) / ((j + 2) * (j + 3))
        j += 2
    return odd, odd * even - weighted
