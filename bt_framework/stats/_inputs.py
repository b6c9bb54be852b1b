"""Checks of covariances, vectors and numbers that sizing and factor models are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_LEAST_EIGENVALUE = 8.0 * float(np.finfo(np.float64).eps)
_ASYMMETRY = 1e-9


def positive(value: float, name: str) -> float:
    """Return `value` if it is finite and > 0.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be finite and > 0, was {value!r}.")
    return float(value)


def finite(value: float, name: str) -> float:
    """Return `value` if it is finite.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, was {value!r}.")
    return float(value)


def vector(values: ArrayLike, name: str, size: int | None = None) -> np.ndarray:
    """Return a number or `values` as a finite float64 array of shape (k,), of `size` values if that is given.

    Raises
    ------
    ValueError
        If they have another shape, or one is not finite.
    """
    array = np.atleast_1d(np.asarray(values, np.float64))
    if array.ndim != 1 or not array.size or (size is not None and array.size != size):
        wanted = "(k,)" if size is None else f"({size},)"
        raise ValueError(f"{name} must have shape {wanted}, was {array.shape}.")
    if not np.isfinite(array).all():
        at = int(np.argmin(np.isfinite(array)))
        raise ValueError(f"{name} must be finite, was {array[at]} at {at}.")
    return array


def covariance_matrix(values: ArrayLike) -> np.ndarray:
    """Return a variance, or a covariance matrix, as a float64 array of shape (k, k).

    Raises
    ------
    ValueError
        If it is not square, finite, symmetric and, beyond rounding, positive definite.
    """
    array = np.atleast_2d(np.asarray(values, np.float64))
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise ValueError(f"covariance must have shape (k, k), was {array.shape}.")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"covariance must be finite, was {array[row, column]} at ({row}, {column}).")
    variances = np.diagonal(array)
    if not (variances > 0.0).all():
        at = int(np.argmax(~(variances > 0.0)))
        raise ValueError(
            f"covariance must have variances > 0, was {variances[at]} at {at}. Leave out what does not vary."
        )
    sd = np.sqrt(variances)
    correlation = array / sd / sd[:, None]
    if np.abs(correlation - correlation.T).max() > _ASYMMETRY:
        raise ValueError("covariance must be symmetric.")
    least = float(np.linalg.eigvalsh(0.5 * (correlation + correlation.T))[0])
    if least <= len(sd) * _LEAST_EIGENVALUE:
        raise ValueError(
            f"covariance must be positive definite, but its correlations have the eigenvalue {least:.3g}: a mix of "
            "the series bears no risk, or it is no covariance. Use more observations than series, or leave one out."
        )
    return 0.5 * (array + array.T)


def column_names(names: Sequence[str] | None, count: int, word: str) -> tuple[str, ...]:
    """Return `names`, or without them `word` and a number from 1 on, one per column.

    Raises
    ------
    ValueError
        If there are not `count`, or one comes twice.
    """
    if names is None:
        return tuple(f"{word}_{i + 1}" for i in range(count))
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"names must be {count} different ones, one per column, were {', '.join(names)}.")
    return tuple(names)
