"""Random delays that are the same on every machine: counters instead of streams, and arithmetic that IEEE 754 fixes.

A draw belongs to a place on the grid of absolute time, so it depends neither on where a run starts nor on what was
drawn before. Logarithms and tables are worked out here: those of mathematical libraries differ in the last bit.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np

from bt_framework.errors import ConfigError

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

MAX_Z = 5.0
"""Draws are taken from inside this many standard deviations of the normal behind them (all but one in 1.7 million)."""

_KNOTS_PER_Z = 256
_LONGEST_NS = 2**40
"""The longest delay, 18 minutes: what a table can hold back must fit into memory."""
_LONGEST_STEP_NS = 2_000_000_000
_MOST_STEPS = 1 << 20


class Distribution(StrEnum):
    """Distributions of delays, with scale and shape as is usual."""

    LOGNORMAL = "lognormal"
    GAMMA = "gamma"


@dataclass(frozen=True)
class Jitter:
    """Random delay on a grid of time.

    Attributes
    ----------
    distribution : Distribution
    scale_ns : int
        Median of the lognormal, scale of the gamma (its mean is shape x scale).
    shape : float
        Sigma of the lognormal, shape of the gamma.
    step_ns : int
        Distance of the grid; between its places delays are interpolated.
    correlation_ns : int
        Delays closer than this are alike, those twice as far apart independent; 0: independent at every step.
    """

    distribution: Distribution
    scale_ns: int
    shape: float
    step_ns: int
    correlation_ns: int = 0

    def identity(self) -> Mapping[str, Any]:
        """Everything but the seed that decides the delays."""
        return {**asdict(self), "distribution": str(self.distribution), "version": 1}

    @property
    def longest_ns(self) -> int:
        """The longest delay."""
        return int(_delays(self.distribution, self.scale_ns, self.shape)[-1])

    def check(self, keys: Mapping[str, str]) -> None:
        """Refuse what cannot be drawn from; `keys` gives the configuration key of each attribute, for the message.

        Raises
        ------
        ConfigError
        """
        low, high = {"lognormal": (0.0, 3.0), "gamma": (0.05, 1e4)}[self.distribution]
        ranges = {
            "scale_ns": (0, _LONGEST_NS),
            "shape": (low, high),
            "step_ns": (1, _LONGEST_STEP_NS),
            "correlation_ns": (0, 2**60),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{keys[name]} must be from {least:g} to {most:g}, was {value}.")
        if self.longest_ns > min(_LONGEST_NS, self.step_ns * _MOST_STEPS):
            raise ConfigError(
                f"{keys['scale_ns']} and {keys['shape']} must keep delays below 18 minutes and below {_MOST_STEPS:,} "
                f"steps of {keys['step_ns']}, the longest was {self.longest_ns} ns."
            )

    def delays(self, key: tuple[int, int], first: int, last: int) -> Ints:
        """Delays at the places `first` to `last`, ns: int64 array of shape (last - first,).

        Parameters
        ----------
        key : (int, int)
            From `key_of`; different keys give independent delays.
        first, last : int
            Places: place k is at k x `step_ns`, ns UTC. The last is not included.
        """
        knots = _delays(self.distribution, self.scale_ns, self.shape).astype(np.float64)
        at = (self._normals(key, first, last) + MAX_Z) * _KNOTS_PER_Z
        index = np.minimum(at.astype(np.int64), len(knots) - 2)
        rise = (knots[index + 1] - knots[index]) * (at - index)
        delays: Ints = (knots[index] + rise).astype(np.int64)
        return delays

    def arrivals(self, key: tuple[int, int], first: int, last: int, base_ns: int = 0) -> Ints:
        """When what is sent at each place arrives, none before an earlier one: int64 array, ns UTC.

        What was sent longer before `first` than the longest delay cannot hold anything up, so that no more of the
        past is needed.
        """
        before = first - self.longest_ns // self.step_ns - 1
        sent_ts = np.arange(before, last, dtype=np.int64) * self.step_ns
        arrived = np.maximum.accumulate(sent_ts + self.delays(key, before, last))
        held: Ints = arrived[first - before :] + base_ns
        return held

    def _normals(self, key: tuple[int, int], first: int, last: int) -> Floats:
        """Standard normal numbers at places, correlated as wanted."""
        if self.correlation_ns <= self.step_ns:
            return _normals(key, first, last)
        place_ns = np.arange(first, last, dtype=np.int64) * self.step_ns
        knot = place_ns // self.correlation_ns
        after = (place_ns - knot * self.correlation_ns) / self.correlation_ns
        drawn = _normals(key, int(knot[0]), int(knot[-1]) + 2) if len(knot) else np.zeros(2)
        index = knot - knot[0] if len(knot) else knot
        mixed = (1.0 - after) * drawn[index] + after * drawn[index + 1]
        # Of unit variance between the knots too.
        spread = np.sqrt((1.0 - after) * (1.0 - after) + after * after)
        normals: Floats = np.clip(mixed / spread, -MAX_Z, MAX_Z)
        return normals


def key_of(identity: Mapping[str, Any]) -> tuple[int, int]:
    """Two 64-bit numbers from everything that tells a source of delays from others. JSON types only."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def _normals(key: tuple[int, int], first: int, last: int) -> Floats:
    """Independent standard normal numbers at places, clipped to +-`MAX_Z`."""
    block = first // 4  # Philox makes four numbers per step of its counter
    bits = np.random.Philox(
        key=np.array(key, np.uint64), counter=np.array([block & (2**64 - 1), 0, 0, 0], np.uint64)
    )
    raw = bits.random_raw(last - 4 * block)[first - 4 * block :]
    uniform = ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return np.clip(normal_quantile(uniform), -MAX_Z, MAX_Z)


def normal_quantile(p: Floats) -> Floats:
    """Quantile of the standard normal distribution, to 1 part in 10^15.

    Parameters
    ----------
    p : float64 array
        Probabilities between 0 and 1.

    References
    ----------
    Wichura (1988), Algorithm AS 241: The Percentage Points of the Normal Distribution, PPND16.
    """
    q = p - 0.5
    z = np.empty_like(p)
    inner = np.abs(q) <= 0.425
    r = 0.180625 - q[inner] * q[inner]
    z[inner] = q[inner] * _ratio(r, _CENTRE)
    tail = ~inner
    r = np.sqrt(-_log(np.minimum(p[tail], 1.0 - p[tail])))
    size = np.where(r <= 5.0, _ratio(r - 1.6, _NEAR_TAIL), _ratio(r - 5.0, _FAR_TAIL))
    z[tail] = np.where(q[tail] < 0.0, -size, size)
    return z


_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_NEAR_TAIL = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


def _ratio(r: Floats, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Floats:
    above, below = (_horner(r, c) for c in coefficients)
    return above / below


def _horner(x: Floats, coefficients: tuple[float, ...]) -> Floats:
    value = np.zeros_like(x)
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


def _log(x: Floats) -> Floats:
    """Natural logarithm by 2 artanh((m - c) / (m + c)), of sums and products alone."""
    mantissa, exponent = np.frexp(x)
    root = 0.7071067811865476
    f = (mantissa - root) / (mantissa + root)
    series = _horner(f * f, tuple(1.0 / k for k in range(23, 0, -2)))
    return 2.0 * f * series + (exponent - 0.5) * 0.6931471805599453


@cache
def _delays(distribution: Distribution, scale_ns: int, shape: float) -> Ints:
    """Quantiles in whole ns at equal steps of the normal behind them, from -`MAX_Z` to `MAX_Z`."""
    z = np.arange(-MAX_Z, MAX_Z + 0.5 / _KNOTS_PER_Z, 1.0 / _KNOTS_PER_Z)
    if distribution == Distribution.LOGNORMAL:
        values = np.array([math.exp(shape * x) for x in z])
    else:
        values = gamma_quantile(shape, np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in z]))
    delays: Ints = np.rint(np.minimum(values * scale_ns, 2.0**62)).astype(np.int64)
    return delays


def gamma_quantile(shape: float, p: Floats) -> Floats:
    """Quantile of the gamma distribution of scale 1, by bisection of the regularised incomplete gamma function.

    References
    ----------
    Abramowitz and Stegun (1964), 6.5.29 (series) and 6.5.31 (continued fraction).
    """
    low, high = np.full_like(p, -800.0), np.full_like(p, math.log(shape + 12.0 * math.sqrt(shape) + 40.0))
    for _ in range(64):
        middle = 0.5 * (low + high)
        too_low = _gamma_below(shape, np.exp(middle)) < p
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    return np.exp(high)


def _gamma_below(shape: float, x: Floats) -> Floats:
    front = np.exp(shape * np.log(x) - x - math.lgamma(shape))
    small = np.minimum(x, shape + 1.0)
    term = np.full_like(x, 1.0 / shape)
    total = term.copy()
    for n in range(1, 2_000 + int(12 * math.sqrt(shape))):
        term = term * small / (shape + n)
        total += term
        if np.all(term <= 1e-17 * total):
            break
    large = np.maximum(x, shape + 1.0)
    fraction = np.zeros_like(x)
    for n in range(400 + int(12 * math.sqrt(shape)), 0, -1):
        fraction = n * (n - shape) / (large + 2 * n + 1 - shape - fraction)
    above = 1.0 / (large + 1 - shape - fraction)
    return np.where(x < shape + 1.0, front * total, 1.0 - front * above)
