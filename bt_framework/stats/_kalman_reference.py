"""The Kalman filters in plain Python, operation by operation what the kernels do: to compare with, and to read."""

from __future__ import annotations

import math

_LOG_TWO_PI = math.log(2.0 * math.pi)

State = dict[str, float]
Row = tuple[float, ...]


def run(
    state: State, noise: list[float], predict_first: bool, x: list[float], y: list[float]
) -> tuple[State, list[Row]]:
    """Filter all observations; return the state after them and one row of a step's record each."""
    state = dict(state)
    step = _hedge_step if "p00" in state else _slope_step
    still = [0.0] * (len(noise) - 1) + noise[-1:]
    rows = []
    for x_now, y_now in zip(x, y, strict=True):
        moves = predict_first or state["observations"] > 0
        rows.append(step(state, x_now, y_now, noise if moves else still))
    return state, rows


def _hedge_step(state: State, x: float, y: float, noise: list[float]) -> Row:
    """One step of `bt_framework.stats.kalman.kalman_update`; a row of `KALMAN_STEP`."""
    b0, b1 = state["intercept"], state["hedge_ratio"]
    p00, p01, p11 = state["p00"] + noise[0], state["p01"], state["p11"] + noise[1]
    r = noise[2]
    ph0, ph1 = p00 + p01 * x, p01 + p11 * x
    variance = ph0 + ph1 * x + r
    innovation = y - b0 - b1 * x
    if _usable(innovation, variance):
        k0, k1 = ph0 / variance, ph1 / variance
        # Joseph: A P A' + r K K' with A = I - K h.
        a = ((1.0 - k0, -k0 * x), (-k1, 1.0 - k1 * x))
        t = [(row[0] * p00 + row[1] * p01, row[0] * p01 + row[1] * p11) for row in a]
        b0, b1 = b0 + k0 * innovation, b1 + k1 * innovation
        p00 = t[0][0] * a[0][0] + t[0][1] * a[0][1] + r * k0 * k0
        p01 = t[0][0] * a[1][0] + t[0][1] * a[1][1] + r * k0 * k1
        p11 = t[1][0] * a[1][0] + t[1][1] * a[1][1] + r * k1 * k1
        _count(state, innovation, variance)
    else:
        innovation = variance = math.nan
    state.update(intercept=b0, hedge_ratio=b1, p00=p00, p01=p01, p11=p11, innovation_variance=variance)
    return b0, b1, p00, p01, p11, innovation, variance


def _slope_step(state: State, x: float, y: float, noise: list[float]) -> Row:
    """One step of `bt_framework.stats.kalman.kalman_slope_update`; a row of `KALMAN_SLOPE_STEP`."""
    b1, p11, r = state["hedge_ratio"], state["p11"] + noise[0], noise[1]
    ph1 = p11 * x
    variance = ph1 * x + r
    innovation = y - b1 * x
    if _usable(innovation, variance):
        k1 = ph1 / variance
        b1 += k1 * innovation
        p11 = (1.0 - k1 * x) * p11 * (1.0 - k1 * x) + r * k1 * k1
        _count(state, innovation, variance)
    else:
        innovation = variance = math.nan
    state.update(hedge_ratio=b1, p11=p11, innovation_variance=variance)
    return b1, p11, innovation, variance


def _usable(innovation: float, variance: float) -> bool:
    """Whether there is an observation to take in."""
    return math.isfinite(innovation) and 0.0 < variance < math.inf


def _count(state: State, innovation: float, variance: float) -> None:
    """Add an observation to the likelihood."""
    state["log_likelihood"] -= 0.5 * (_LOG_TWO_PI + math.log(variance) + innovation * innovation / variance)
    state["observations"] += 1
