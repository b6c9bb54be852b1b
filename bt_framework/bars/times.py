"""Times of bars as files and servers write them, as microseconds UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DAY_US = 86_400_000_000
_STEP_US = 900_000_000
"""Clocks are set at quarters of an hour."""
_EPOCH = datetime(1970, 1, 1)
_UNITS_US = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_DIGITS = {8: "yyyymmdd", 10: "s", 13: "ms", 16: "us", 19: "ns"}
_MISSING = "the time is missing"
_HAS_OFFSET = r"\d[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"


class BadTime(ValueError):
    """A time is not understood; `row` says which, from 0."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row


def times_us(values: pa.ChunkedArray, form: str, zone: str) -> np.ndarray[Any, Any]:
    """When each bar opens, int64 array of shape (n_rows,), us UTC.

    Parameters
    ----------
    values : array of shape (n_rows,)
        Times, days, numbers or texts. A day without a time is that day in UTC, whatever `zone` is.
    form : str
        One of `bt_framework.bars.config.TIME_FORMATS` or a pattern of strptime. ``auto`` takes numbers of 8, 10, 13, 16
        and 19 digits for yyyymmdd, s, ms, us and ns, and other texts for ISO-8601.
    zone : str
        Of times that do not say theirs. An hour that comes twice is its first one.

    Raises
    ------
    BadTime
        If one is missing, not understood, finer than a microsecond, or does not exist in `zone`.
    """
    values = pa.chunked_array(values) if isinstance(values, pa.Array) else values
    if values.null_count:
        raise BadTime(pc.index(pc.is_null(values), True).as_py(), _MISSING)
    if not len(values):
        return np.empty(0, np.int64)
    kind = values.type
    if pa.types.is_date(kind):
        return _int64(values.cast(pa.date32()).cast(pa.timestamp("us")))
    if pa.types.is_timestamp(kind):
        us = _int64(_cast(values, pa.timestamp("us", tz=kind.tz)))
        return us if kind.tz else _utc(us, zone)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(_cast(values, pa.int64()), form, zone)
    return _of_texts(pc.utf8_trim_whitespace(values.cast(pa.string())), form, zone)


def dates(values: pa.ChunkedArray, form: str, zone: str) -> pa.Array:
    """The day of each time on the clock it was written by, date32; arguments as of `times_us`."""
    us = times_us(values, form, zone)
    texts = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    if texts and len(us):
        offsets = pc.utf8_trim_whitespace(values.cast(pa.string()))
        if pc.any(pc.match_substring_regex(offsets, _HAS_OFFSET)).as_py():
            return pc.utf8_slice_codeunits(offsets, 0, 10).cast(pa.date32()).combine_chunks()
    if zone != "UTC" and np.any(us % _DAY_US):
        us = us + _offsets(us, zone, utc=True)
    return pa.array(us // _DAY_US, pa.int32()).cast(pa.date32())


def _of_numbers(values: pa.ChunkedArray, form: str, zone: str) -> np.ndarray[Any, Any]:
    numbers = _int64(values)
    if form == "auto":
        form = _DIGITS.get(len(str(int(numbers[0]))), "")
        if not form:
            raise BadTime(
                0, f"the time {numbers[0]} has not 8, 10, 13, 16 or 19 digits; set bars.time_format"
            )
    if form == "yyyymmdd":
        return _of_pattern(values.cast(pa.string()), "%Y%m%d", zone)
    if form not in _UNITS_US:
        raise BadTime(0, f"the time {numbers[0]} is a number, not {form}")
    times, divided_by = _UNITS_US[form]
    wrong = np.flatnonzero((numbers % divided_by != 0) | (np.abs(numbers // divided_by) > 2**62 // times))
    if len(wrong):
        raise BadTime(
            int(wrong[0]), f"the time {numbers[wrong[0]]} is finer than a microsecond, or too large"
        )
    return numbers // divided_by * times


def _of_texts(values: pa.ChunkedArray, form: str, zone: str) -> np.ndarray[Any, Any]:
    first = values[0].as_py()
    if form not in ("auto", "iso", "yyyymmdd", *_UNITS_US):
        return _of_pattern(values, form, zone)
    if form not in ("auto", "iso") or (form == "auto" and first.lstrip("-").isdigit()):
        return _of_numbers(_cast(values, pa.int64()), form, zone)
    if first[10:] == "" and pc.all(pc.equal(pc.utf8_length(values), 10)).as_py():
        return _int64(_cast(values, pa.timestamp("us")))
    zoned = pc.match_substring_regex(values, _HAS_OFFSET)
    if pc.all(zoned).as_py():
        return _int64(_cast(values, pa.timestamp("us", tz="UTC")))
    if pc.any(zoned).as_py():
        row = pc.index(zoned, False).as_py()
        time = values[row].as_py()
        raise BadTime(row, f"the time {time!r} does not say its zone, others do" if time else _MISSING)
    return _utc(_int64(_cast(values, pa.timestamp("us"))), zone)


def _of_pattern(values: pa.ChunkedArray, pattern: str, zone: str) -> np.ndarray[Any, Any]:
    parsed = pc.strptime(values, format=pattern, unit="us", error_is_null=True)
    if parsed.null_count:
        row = pc.index(pc.is_null(parsed), True).as_py()
        raise BadTime(row, f"the time {values[row].as_py()!r} is not {pattern}")
    us = _int64(parsed)
    return _utc(us, zone) if "%H" in pattern or "%T" in pattern or "%I" in pattern else us


def _cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """`values` as `kind`; the first that cannot be is found by bisection."""
    if _can_be(values, kind):
        return values.cast(kind)
    good, bad = 0, len(values)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if _can_be(values.slice(0, middle), kind) else (good, middle)
    time = _shown(values, good)
    problem = _MISSING if time == "''" else f"the time {time} is not understood; set bars.time_format"
    raise BadTime(good, problem)


def _shown(values: pa.ChunkedArray, row: int) -> str:
    """A value for a message, also a time that datetime does not have."""
    if not pa.types.is_timestamp(values.type):
        return repr(values[row].as_py())
    return str(np.datetime64(values.slice(row, 1).cast(pa.int64())[0].as_py(), values.type.unit))


def _can_be(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _int64(values: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    return values.cast(pa.int64()).to_numpy()  # type: ignore[no-any-return]


def _utc(us: np.ndarray[Any, Any], zone: str) -> np.ndarray[Any, Any]:
    """Times of a wall clock in `zone` as UTC."""
    return us if zone == "UTC" else us - _offsets(us, zone, utc=False)


def _offsets(us: np.ndarray[Any, Any], zone: str, *, utc: bool) -> np.ndarray[Any, Any]:
    """How far the wall clock in `zone` is ahead of UTC at `us`, which are times of the one or the other."""
    clock = ZoneInfo(zone)
    steps, places = np.unique(us // _STEP_US, return_inverse=True)
    offsets = np.empty(len(steps), np.int64)
    for i, step in enumerate(steps.tolist()):
        wall = _EPOCH + timedelta(microseconds=step * _STEP_US)
        when = wall.replace(tzinfo=UTC).astimezone(clock) if utc else wall.replace(tzinfo=clock)
        if not utc and when.astimezone(UTC).astimezone(clock).replace(tzinfo=None) != wall:
            row = int(np.flatnonzero(places == i)[0])
            raise BadTime(row, f"the time {wall} does not exist in {zone}: clocks were put forward")
        offsets[i] = (when.utcoffset() or timedelta()) // timedelta(microseconds=1)
    return offsets[places]
