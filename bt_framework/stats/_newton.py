"""Newton's method for convex functions that rise to infinity at the border of where they are defined."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_MAX_STEPS = 300
_NEAR = 0.05
"""Squared Newton decrement of a self-concordant function below which whole steps converge quadratically."""


def minimised(
    start: np.ndarray,
    value: Callable[[np.ndarray], float],
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    scale: float = 1.0,
) -> tuple[np.ndarray, bool]:
    """Return where a function is least, and whether it was found.

    Parameters
    ----------
    start : float64 array of shape (k,)
        A place where the function is finite.
    value, derivatives : callable
        The function, infinite where it is not defined; its gradient, shape (k,), and Hessian, shape (k, k).
    scale : float
        The function divided by it is self-concordant.

    Notes
    -----
    Far from the minimum steps are halved until the function falls by a quarter of what the gradient promises; near it
    they are whole, until they grow no shorter. See Boyd and Vandenberghe (2004), Convex Optimization, sections 9.5
    and 9.6.
    """
    x, last = start, math.inf
    for _ in range(_MAX_STEPS):
        gradient, hessian = derivatives(x)
        step = np.linalg.solve(hessian, -gradient)
        decrement = float(-gradient @ step) / scale
        if decrement < _NEAR:
            if decrement >= 0.25 * last or decrement <= 0.0:
                return x, True
            x, last = x + step, decrement
            continue
        now, length = value(x), 1.0
        while value(x + length * step) > now - 0.25 * length * decrement * scale:
            length *= 0.5
            if length < 1e-12:
                return x, False
        x = x + length * step
    return x, False
