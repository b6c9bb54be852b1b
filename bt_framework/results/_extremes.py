"""Lowest and highest values of many stretches of one array."""

from __future__ import annotations

import numpy as np


class Extremes:
    """Answers for any stretch in constant time, after n log n of preparation.

    Parameters
    ----------
    values : float64 array of shape (n_values,)

    References
    ----------
    M. A. Bender and M. Farach-Colton, "The LCA Problem Revisited", LATIN 2000, section 3 (sparse table).

    Examples
    --------
    >>> low, high = Extremes(np.array([3.0, 1.0, 2.0])).between(np.array([0, 2, 1]), np.array([3, 3, 1]))
    >>> low.tolist(), high.tolist()
    ([1.0, 2.0, inf], [3.0, 2.0, -inf])
    """

    def __init__(self, values: np.ndarray) -> None:
        self._low = _levels(values, np.minimum)
        self._high = _levels(values, np.maximum)

    def between(self, first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest of ``values[first:end]``; inf and -inf where that is empty.

        Parameters
        ----------
        first, end : int64 arrays of shape (n_stretches,)
        """
        low, high = np.full(len(first), np.inf), np.full(len(first), -np.inf)
        some = np.flatnonzero(end > first)
        start, stop = first[some], end[some]
        level = np.frexp(stop - start)[1] - 1  # 2^level values are the most that fit in
        second = stop - (1 << level)  # two of them cover the stretch
        low[some] = np.minimum(self._low[level, start], self._low[level, second])
        high[some] = np.maximum(self._high[level, start], self._high[level, second])
        return low, high


def _levels(values: np.ndarray, worst: np.ufunc) -> np.ndarray:
    """Row k holds, at i, the extreme of ``values[i : i + 2**k]``."""
    size = len(values)
    levels = np.empty((max(1, size.bit_length()), size))
    levels[0] = values
    for level in range(1, len(levels)):
        half = 1 << (level - 1)
        levels[level] = levels[level - 1]
        worst(levels[level - 1, : size - half], levels[level - 1, half:], out=levels[level, : size - half])
    return levels
