"""Bars in JSON: lists, or mappings with keys."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from bt_framework.bars.building import VALUES
from bt_framework.bars.times import BadTime, times_us

_MISSING = object()
_SHOWN = 100


class BadBar(ValueError):
    """A bar is not what the columns say; the text says why."""


def at_path(value: Any, path: str) -> Any:
    """What is at `path`, keys or places with dots between them, or None; the empty path is `value` itself."""
    found = _at(value, path)
    return None if found is _MISSING else found


def bar_times(rows: Sequence[Any], columns: Mapping[str, str], form: str, zone: str) -> np.ndarray[Any, Any]:
    """When each bar opens, int64 array of shape (n_bars,), us UTC; see `bt_framework.bars.times.times_us`.

    Raises
    ------
    BadBar
        Names the bar, from 0.
    """
    found = []
    for place, row in enumerate(rows):
        time = _at(row, columns["time"])
        if isinstance(time, float) and time.is_integer():
            time = int(time)
        known = isinstance(time, int | str) and not isinstance(time, bool)
        if not known or (isinstance(time, int) and abs(time) >= 2**63):
            raise BadBar(f"bar {place} has no time at {columns['time']!r}: {_shown(row)}")
        found.append(time)
    try:
        return times_us(
            pa.chunked_array([pa.array(found)] if found else [pa.array([], pa.int64())]), form, zone
        )
    except BadTime as error:
        raise BadBar(f"bar {error.row}: {error}") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise BadBar("some times are numbers and some are texts") from None


def bar_values(rows: Sequence[Any], columns: Mapping[str, str]) -> dict[str, np.ndarray[Any, Any]]:
    """The numbers of the bars by field, float64 arrays of shape (n_bars,), NaN where null.

    Numbers may be written as text. A close must be there.

    Raises
    ------
    BadBar
        Names the bar, from 0, and the field.
    """
    values = {}
    for field in VALUES:
        if columns.get(field):
            numbers = [_number(row, columns[field], field, place) for place, row in enumerate(rows)]
            values[field] = np.array(numbers, float)
    return values


def _number(row: Any, path: str, field: str, place: int) -> float:
    value = _at(row, path)
    if value is None and field != "close":
        return math.nan
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        number = math.inf
    if not math.isfinite(number):
        raise BadBar(f"bar {place} has no number for the {field} at {path!r}: {_shown(row)}")
    return number


def _at(value: Any, path: str) -> Any:
    for key in path.split(".") if path else ():
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return _MISSING
    return value


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
