"""What every test asks of the series it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
"""Variation of a series below this share of its size is rounding."""


def series(values: ArrayLike, name: str, least: int) -> np.ndarray:
    """Return `values` as a float64 array of shape (n,), finite, of at least `least` values that vary.

    Raises
    ------
    ValueError
        If they are not; the message has `name`.
    """
    array = np.ascontiguousarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), was {array.shape}.")
    check_columns(array[:, None], name, least)
    return array


def columns(values: ArrayLike, name: str, least: int) -> np.ndarray:
    """Return `values` as a float64 array of shape (n, k), finite, every column of which varies.

    Raises
    ------
    ValueError
        If they are not; the message has `name`.
    """
    array = np.ascontiguousarray(values, np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, k) with k >= 1, was {array.shape}.")
    check_columns(array, name, least)
    return array


def check_columns(array: np.ndarray, name: str, least: int) -> None:
    """Refuse columns that are too short, not finite or constant.

    Raises
    ------
    ValueError
        With the first reason found.
    """
    if len(array) < least:
        raise ValueError(f"{name} must have at least {least} observations, had {len(array)}.")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must be finite, was {array[row, column]} at {row} ({len(bad)} in all). "
            "Drop or fill missing observations first."
        )
    spread = array.max(axis=0) - array.min(axis=0)
    for column in np.flatnonzero(spread <= ROUNDING * np.abs(array).max(axis=0)):
        where = f" in column {column}" if array.shape[1] > 1 else ""
        raise ValueError(f"{name} must vary, was constant at {array[0, column]}{where}.")
