"""Kernel of a regression over the bars before each bar."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel

_ROUNDING = 64.0 * float(np.finfo(np.float64).eps)


@cached_kernel
def rolling_regression(y: Any, x: Any, window: int, out: Any) -> None:
    """Predict each bar by the regression of y on x over the `window` bars before it.

    ``y = intercept + slope x + e`` by least squares; z is the prediction's error over the regression's residual
    standard deviation, sqrt(SSR / (window - 2)).

    Parameters
    ----------
    y, x : float64 array of shape (n,)
        Finite.
    window : int
        Bars, >= 3.
    out : float64 array of shape (n, 4)
        Overwritten: slope, intercept, error, z. NaN for the first `window` bars, and where x does not vary within
        the window or y follows it without residual.
    """
    for t in range(len(y)):
        for j in range(4):
            out[t, j] = math.nan
        if t < window:
            continue
        # From the first values on: exact where they are constant.
        first_y, first_x = y[t - window], x[t - window]
        sum_y = sum_x = 0.0
        for i in range(t - window, t):
            sum_y += y[i] - first_y
            sum_x += x[i] - first_x
        mean_y, mean_x = first_y + sum_y / window, first_x + sum_x / window
        s_yy = s_yx = s_xx = 0.0
        for i in range(t - window, t):
            v, u = y[i] - mean_y, x[i] - mean_x
            s_yy += v * v
            s_yx += v * u
            s_xx += u * u
        if s_xx <= window * (_ROUNDING * mean_x) ** 2:
            continue
        slope = s_yx / s_xx
        residual = s_yy - slope * s_yx
        if residual <= _ROUNDING * (s_yy + window * (_ROUNDING * mean_y) ** 2):
            continue
        error = (y[t] - mean_y) - slope * (x[t] - mean_x)
        out[t, 0] = slope
        out[t, 1] = mean_y - slope * mean_x
        out[t, 2] = error
        out[t, 3] = error / math.sqrt(residual / (window - 2))
