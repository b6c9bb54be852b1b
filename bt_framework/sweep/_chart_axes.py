"""What varied, as an axis of a chart: categories and numbers in places and at heights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST_VALUES = 40
"""Numbers that have a place each; of more, parts of the range have."""

_PARTS = 24
_MOST_TICKS = 12
_LONGEST = 28
_NONE = "none"

Value = int | float | str | None


@dataclass(frozen=True)
class Axis:
    """A parameter of a sweep.

    Attributes
    ----------
    labels : tuple of str
        One per place, in order.
    places : int64 array of shape (n_jobs,)
        Place of each job's value.
    heights : float64 array of shape (n_jobs,)
        Where it is between the first and the last, from 0 to 1.
    ticks : tuple of (float, str)
        Heights with their labels, few enough to read.
    """

    name: str
    labels: tuple[str, ...]
    places: np.ndarray
    heights: np.ndarray
    ticks: tuple[tuple[float, str], ...]

    def spread(self, merit: np.ndarray) -> np.ndarray:
        """Return the heights with those of equal values a little apart, by `merit`: lines can be told apart."""
        heights = self.heights.copy()
        if len(self.labels) > _MOST_TICKS:
            return heights
        width = 0.25 / max(len(self.labels), 4)
        for place in range(len(self.labels)):
            own = np.flatnonzero(self.places == place)
            if len(own) > 1:
                own = own[np.argsort(merit[own], kind="stable")]
                heights[own] += width * (np.arange(len(own)) / (len(own) - 1) - 0.5)
        return heights


def axis_of(name: str, values: Sequence[Value]) -> Axis:
    """Return the axis of a parameter whose values, one per job, are these; None is a category of its own.

    >>> axis = axis_of("z", [2.0, 1.0, 4.0, 1.0])
    >>> axis.labels, axis.places.tolist(), axis.heights.round(3).tolist()
    (('1', '2', '4'), [1, 0, 2, 0], [0.333, 0.0, 1.0, 0.0])
    """
    distinct = list(dict.fromkeys(values))
    numbers = sorted(value for value in distinct if isinstance(value, int | float) and np.isfinite(value))
    if len(numbers) == len(distinct) > 0:
        return _of_numbers(name, np.array(values, np.float64), np.array(numbers, np.float64))
    ordered = [*numbers, *(value for value in distinct if value not in numbers)]
    position = {value: place for place, value in enumerate(ordered)}
    places = np.array([position[value] for value in values], np.int64)
    labels = shortened([_NONE if v is None else v if isinstance(v, str) else f"{v:.6g}" for v in ordered])
    step = -(-len(labels) // _MOST_TICKS)
    last = max(len(labels) - 1, 1)
    middle = 0.5 if len(labels) < 2 else 0.0
    ticks = tuple((place / last + middle, labels[place]) for place in range(0, len(labels), step))
    return Axis(name, labels, places, places / last + middle, ticks)


def shortened(labels: Sequence[str]) -> tuple[str, ...]:
    """Return `labels` without what long ones have in common at both ends, short all the same, and different.

    >>> shortened(["/data/binance/btcusdt_20240808.gz", "/data/binance/ethusdt_20240808.gz"])
    ('…btc…', '…eth…')
    >>> shortened(["a" * 20 + "b" * 20 + "c" * 20, "a" * 20 + "x" * 20 + "c" * 20, "colo"])
    ('1: aaaaaaaaaaaaa…ccccccccccccc', '2: aaaaaaaaaaaaa…ccccccccccccc', '3: colo')
    """
    if max(map(len, labels), default=0) <= _LONGEST:
        return tuple(labels)
    start = _in_common(labels)
    end = _in_common([label[start:][::-1] for label in labels])
    parts = (label[start : len(label) - end] for label in labels)
    found = [short(f"{'…' * bool(start)}{part}{'…' * bool(end)}") for part in parts]
    if len(set(found)) < len(found):
        found = [f"{number}: {label}" for number, label in enumerate(found, 1)]
    return tuple(found)


def _in_common(labels: Sequence[str]) -> int:
    """How many characters all labels begin with; one label has nothing in common."""
    found = 0
    for characters in zip(*labels, strict=False) if len(labels) > 1 else ():
        if len(set(characters)) > 1:
            break
        found += 1
    return found


def short(text: str) -> str:
    """`text` with its middle left out where it is long.

    >>> short("/data/binance/btcusdt_20240808.gz")
    '/data/binance…t_20240808.gz'
    """
    half = (_LONGEST - 1) // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"


def _of_numbers(name: str, values: np.ndarray, ordered: np.ndarray) -> Axis:
    """Each of the numbers `ordered` has a place, or each of equal parts of their range, called as its middle."""
    low, high = ordered[0], ordered[-1]
    heights = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    marks = ordered if len(ordered) <= _MOST_TICKS else np.linspace(low, high, 6)
    tick_heights = (marks - low) / (high - low) if high > low else [0.5]
    ticks = tuple((float(height), f"{mark:.6g}") for height, mark in zip(tick_heights, marks, strict=True))
    if len(ordered) <= _MOST_VALUES:
        labels = tuple(f"{value:.6g}" for value in ordered)
        return Axis(name, labels, np.searchsorted(ordered, values), heights, ticks)
    middles = low + (np.arange(_PARTS) + 0.5) * (high - low) / _PARTS
    places = np.minimum((heights * _PARTS).astype(np.int64), _PARTS - 1)
    return Axis(name, tuple(f"{middle:.4g}" for middle in middles), places, heights, ticks)
