"""From the text of lines to rows."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

SPEC = np.dtype(
    [
        ("delimiter", "i8"),
        ("min_columns", "i8"),
        ("max_columns", "i8"),
        ("unit_ns", "i8"),
        ("base_ns", "i8"),
        ("price_scale", "f8"),
        ("zero_is_absent", "i8"),
        ("file", "i8"),
    ]
)
"""How a file is written.

``unit_ns`` is the unit of its times, 0 where they are dates and times as text; ``base_ns`` is added to them.
Prices are divided by ``price_scale``. With ``zero_is_absent``, a side whose price and quantity are both 0 is
not spoken of.
"""

STATE = np.dtype([("pos", "i8"), ("line", "i8"), ("n_rows", "i8"), ("problem", "i8"), ("column", "i8")])
"""Where parsing is: ``pos`` is the start of a line, ``line`` counts the lines before it."""


class ParseStatus(IntEnum):
    """Why `parse` returned."""

    DONE = 0
    MALFORMED = 1


_POW10 = 10.0 ** np.arange(23)
_MAX_EXACT = 1 << 53
_NS_PER_S = 1_000_000_000
_MAX_S = 9_000_000_000
_NAN = np.nan


@kernel
def decimal(text: Any, p: int, end: int) -> tuple[int, int, int]:
    """Decimal number in ``text[p:end]``: position after it (-1 if it is none), mantissa, decimals.

    Zeros at the end of the decimals are left out, so 1.50 is 15 with one decimal.
    """
    start = p
    mantissa, n_digits, n_decimals, zeros = 0, 0, 0, 0
    dot = False
    while p < end:
        digit = np.int64(text[p]) - 48
        if text[p] == 46 and not dot:
            dot = True
        elif digit < 0 or digit > 9:
            break
        elif dot and digit == 0:
            zeros += 1
            n_digits += 1
        else:
            for _ in range(zeros + 1):
                if mantissa > _MAX_EXACT:
                    return -1, 0, 0
                mantissa *= 10
            mantissa += digit
            n_decimals += (zeros + 1) * dot
            zeros = 0
            n_digits += 1
        p += 1
    if p == start or n_digits == 0 or n_decimals > 18 or mantissa > _MAX_EXACT:
        return -1, 0, 0
    return p, mantissa, n_decimals


@kernel
def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a date of the Gregorian calendar; -1 if there is no such day since then."""
    if year < 1970 or year > 2261 or month < 1 or month > 12 or day < 1:
        return -1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    length = 28 + leap if month == 2 else 30 + (month in (1, 3, 5, 7, 8, 10, 12))
    if day > length:
        return -1
    # Years start in March, so that the leap day is the last one.
    y = year - (month <= 2)
    month_of_year = (month + 9) % 12
    day_of_year = (153 * month_of_year + 2) // 5 + day - 1
    return y * 365 + y // 4 - y // 100 + y // 400 + day_of_year - 719_468


@kernel
def _fixed(text: Any, p: int, end: int, n_digits: int) -> int:
    """Number of exactly `n_digits` digits at `p`; -1 if it is none."""
    if p + n_digits > end:
        return -1
    value = 0
    for i in range(p, p + n_digits):
        digit = np.int64(text[i]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@kernel
def _fraction_ns(text: Any, p: int, end: int) -> tuple[int, int]:
    """Position after the digits at `p`, and them as decimals of a second in ns; beyond nine they are cut off."""
    value, scale = 0, _NS_PER_S
    while p < end and 48 <= text[p] <= 57:
        scale //= 10
        value += (np.int64(text[p]) - 48) * scale
        p += 1
    return p, value


@kernel
def _offset_ns(text: Any, p: int, end: int) -> tuple[int, int]:
    """UTC offset at `p` (Z, +hh, +hhmm or +hh:mm): position after it (-1 if it is none), and it in ns."""
    if text[p] == 90:
        return p + 1, 0
    sign = 1 if text[p] == 43 else -1
    hours = _fixed(text, p + 1, end, 2)
    p += 3
    if hours < 0 or hours > 23:
        return -1, 0
    if p < end and text[p] == 58:
        p += 1
    minutes = 0
    if p < end:
        minutes = _fixed(text, p, end, 2)
        p += 2
        if minutes < 0 or minutes > 59:
            return -1, 0
    return p, sign * (hours * 3600 + minutes * 60) * _NS_PER_S


@kernel
def _text_ns(text: Any, p: int, end: int) -> tuple[int, int, bool]:
    """Time as text: position after it (-1 if it is none), ns since 1970, whether it says its UTC offset.

    ``2014-05-01 09:30:00.123``: the date also without dashes, with slashes or dots; T or a space; seconds and
    their decimals may be missing.
    """
    year = _fixed(text, p, end, 4)
    p += 4
    dashes = 1 if p < end and (text[p] == 45 or text[p] == 47 or text[p] == 46) else 0
    month = _fixed(text, p + dashes, end, 2)
    day = _fixed(text, p + 2 + 2 * dashes, end, 2)
    if dashes and p + 3 < end and text[p + 3] != text[p]:
        return -1, 0, False
    p += 4 + 2 * dashes
    days = days_of(year, month, day)
    if days < 0 or p >= end or (text[p] != 32 and text[p] != 84):
        return -1, 0, False
    hour = _fixed(text, p + 1, end, 2)
    minute = _fixed(text, p + 4, end, 2)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or text[p + 3] != 58:
        return -1, 0, False
    p += 6
    second, fraction_ns = 0, 0
    if p < end and text[p] == 58:
        second = _fixed(text, p + 1, end, 2)
        p += 3
        if second < 0 or second > 59:
            return -1, 0, False
        if p < end and text[p] == 46:
            p, fraction_ns = _fraction_ns(text, p + 1, end)
    ns = (days * 86_400 + hour * 3600 + minute * 60 + second) * _NS_PER_S + fraction_ns
    if p < end and (text[p] == 90 or text[p] == 43 or text[p] == 45):
        p, offset_ns = _offset_ns(text, p, end)
        return p, ns - offset_ns, True
    return p, ns, False


@kernel
def _unit_time_ns(text: Any, p: int, end: int, unit_ns: int) -> tuple[int, int]:
    """Time as a number of `unit_ns`: position after it (-1 if it is none), ns; what is finer is cut off."""
    start = p
    most = _MAX_S * _NS_PER_S // unit_ns
    value = 0
    while p < end and 48 <= text[p] <= 57:
        if value > most // 10:
            return -1, 0
        value = value * 10 + np.int64(text[p]) - 48
        p += 1
    if p == start or value > most:
        return -1, 0
    ns = value * unit_ns
    if p < end and text[p] == 46:
        p += 1
        while p < end and 48 <= text[p] <= 57:
            unit_ns //= 10
            ns += (np.int64(text[p]) - 48) * unit_ns
            p += 1
    return p, ns


@kernel
def _zone_offset_ns(zone: Any, ts: int) -> int:
    """UTC offset of the wall clock time `ts`; `zone` is as `bt_plugins.data.quotes._zones.offsets` makes it."""
    low, high = 0, len(zone)
    while high - low > 1:
        middle = (low + high) // 2
        if zone[middle, 0] <= ts:
            low = middle
        else:
            high = middle
    return np.int64(zone[low, 1])


@kernel
def _time(text: Any, p: int, end: int, spec: Any, zone: Any) -> int:
    """Time of the field in ns UTC; -1 if it is none."""
    zoned = False
    if spec["unit_ns"] == 0:
        p, ns, zoned = _text_ns(text, p, end)
    else:
        p, ns = _unit_time_ns(text, p, end, spec["unit_ns"])
    if p != end:
        return -1
    ns += spec["base_ns"]
    return ns if zoned else ns - _zone_offset_ns(zone, ns)


@kernel
def _letters(text: Any, p: int, end: int) -> int:
    """Up to seven letters as one number; -1 if there are more."""
    if end - p > 7:
        return -1
    value = 0
    for i in range(p, end):
        value = value * 256 + np.int64(text[i])
    return value


@kernel
def _hex(text: Any, p: int, end: int) -> int:
    """Hexadecimal number of at most 15 digits; -1 if it is none, 0 if the field is empty."""
    if end - p > 15:
        return -1
    value = 0
    for i in range(p, end):
        c = np.int64(text[i])
        digit = c - 48 if 48 <= c <= 57 else c - 87 if 97 <= c <= 102 else c - 55 if 65 <= c <= 70 else -1
        if digit < 0:
            return -1
        value = value * 16 + digit
    return value


@kernel
def _number(text: Any, p: int, end: int, scale: float) -> tuple[bool, float]:
    """Whether the field is a number or empty, and the number over `scale`; NaN if it is empty.

    A whole number up to 2**53 over a power of ten up to 10**22 is correctly rounded, because both are exact.
    """
    if p == end:
        return True, _NAN
    p, mantissa, n_decimals = decimal(text, p, end)
    if p != end:
        return False, _NAN
    return True, mantissa / (_POW10[n_decimals] * scale)


@kernel
def _field(text: Any, p: int, end: int, slot: int, spec: Any, zone: Any, row: Any) -> int:
    """Put the field ``text[p:end]`` into `row`; returns a `Problem`."""
    if slot == 1:
        row["ts"] = _time(text, p, end, spec, zone)
        return 2 if row["ts"] < 0 else 0
    if slot == 8:
        row["venue"] = _letters(text, p, end)
        return 4 if row["venue"] < 0 else 0
    if slot == 9:
        row["condition"] = _hex(text, p, end)
        return 5 if row["condition"] < 0 else 0
    ok, value = _number(text, p, end, spec["price_scale"] if slot in (2, 4, 6) else 1.0)
    if not ok:
        return 3
    if slot == 2:
        row["bid_px"] = value
    elif slot == 3:
        row["bid_qty"] = value
    elif slot == 4:
        row["ask_px"] = value
    elif slot == 5:
        row["ask_qty"] = value
    elif slot == 6:
        row["px"] = value
    elif slot == 7:
        row["qty"] = value
    else:
        row["suspicious"] = value > 0.0
    return 0


@kernel
def _clear(row: Any, spec: Any, line: int) -> None:
    row["ts"] = -1
    row["file"] = spec["file"]
    row["line"] = line
    row["has"] = row["venue"] = row["condition"] = row["suspicious"] = 0
    row["bid_px"] = row["bid_qty"] = row["ask_px"] = row["ask_qty"] = row["px"] = row["qty"] = _NAN


@kernel
def _is_said(px: float, qty: float, zero_is_absent: bool) -> bool:
    """Whether a line speaks of a side."""
    return not (np.isnan(px) or (zero_is_absent and px == 0.0 and qty == 0.0))


@kernel
def _line(text: Any, p: int, end: int, slots: Any, spec: Any, zone: Any, row: Any, state: Any) -> int:
    """Parse the line ``text[p:end]`` into `row`; returns a `Problem`, whose column is in ``state``."""
    n_columns = 0
    while True:
        stop = p
        while stop < end and text[stop] != spec["delimiter"]:
            stop += 1
        if n_columns < len(slots) and slots[n_columns] != 0:
            first, last = p, stop
            while first < last and text[first] == 32:
                first += 1
            while last > first and text[last - 1] == 32:
                last -= 1
            problem = _field(text, first, last, slots[n_columns], spec, zone, row)
            if problem:
                state["column"] = n_columns
                return problem
        n_columns += 1
        if stop == end:
            break
        p = stop + 1
    state["column"] = n_columns
    if n_columns < spec["min_columns"] or n_columns > spec["max_columns"]:
        return 1
    absent = spec["zero_is_absent"] != 0
    row["has"] = (
        1 * _is_said(row["bid_px"], row["bid_qty"], absent)
        + 2 * _is_said(row["ask_px"], row["ask_qty"], absent)
        + 4 * (not np.isnan(row["px"]))
    )
    return 0


@cached_kernel
def parse(text: Any, slots: Any, spec_array: Any, zone: Any, rows: Any, state_array: Any) -> int:
    """Turn lines into rows until the text ends or a line cannot be read.

    Parameters
    ----------
    text : uint8 array of shape (n_bytes,)
        Whole lines.
    slots : int64 array of shape (n_columns,)
        The `Slot` of each column; further ones are unused.
    spec_array : SPEC array of shape (1,)
    zone : int64 array of shape (n_offsets, 2)
        Wall clock times, ns, and the UTC offset from each on, ns.
    rows : ROW array of shape (n_capacity,)
        At least as many as there are lines.
    state_array : STATE array of shape (1,)
        Updated. At a line that cannot be read, ``pos`` and ``line`` are after it.

    Returns
    -------
    int
        A `ParseStatus`.
    """
    spec, state = spec_array[0], state_array[0]
    p = state["pos"]
    while p < len(text):
        end = p
        while text[end] != 10:
            end += 1
        state["line"] += 1
        state["pos"] = end + 1
        stop = end - 1 if end > p and text[end - 1] == 13 else end
        if stop > p:
            row = rows[state["n_rows"]]
            _clear(row, spec, state["line"])
            state["problem"] = _line(text, p, stop, slots, spec, zone, row, state)
            if state["problem"]:
                return 1
            state["n_rows"] += 1
        p = end + 1
    return 0
