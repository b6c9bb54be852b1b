"""Wall clocks: time zones as tables that kernels can read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from bt_framework.errors import ConfigError
from bt_framework.units import NS_PER_S

_FIXED = re.compile(r"UTC(?:([+-])(\d{2}):(\d{2}))?")
_FIRST, _LAST = datetime(1970, 1, 2), datetime(2100, 1, 1)

Offsets = np.ndarray[tuple[int, int], np.dtype[np.int64]]


def zone_of(name: str) -> tzinfo:
    """Zone called `name`: ``UTC``, ``UTC-05:00``, or a name such as ``America/New_York``.

    Raises
    ------
    ConfigError
        If there is none.
    """
    fixed = _FIXED.fullmatch(name)
    if fixed:
        sign, hours, minutes = fixed[1], int(fixed[2] or 0), int(fixed[3] or 0)
        offset = timedelta(hours=hours, minutes=minutes)
        if offset < timedelta(days=1):
            return timezone(-offset if sign == "-" else offset) if offset else UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"data.time_zone must be UTC, UTC+hh:mm or a name such as America/New_York, was {name!r}."
        ) from None


@cache
def offsets(name: str) -> Offsets:
    """UTC offsets of a zone's wall clock from 1970 to 2100.

    An hour that comes twice is taken as its first time, one that is left out as if the clock had not been set.

    Returns
    -------
    int64 array of shape (n_offsets, 2)
        Wall clock time, ns since 1970 as if it were UTC, from which on an offset holds; and the offset, ns.
    """
    zone = zone_of(name)
    table = [(np.iinfo(np.int64).min, _offset_ns(zone, _FIRST))]
    if isinstance(zone, ZoneInfo):
        day = _FIRST
        while day < _LAST:
            after = day + timedelta(days=1)
            if _offset_ns(zone, after) != table[-1][1]:
                start = _change(zone, day, after)
                table.append((int(start.replace(tzinfo=UTC).timestamp()) * NS_PER_S, _offset_ns(zone, start)))
            day = after
    return np.array(table, np.int64)


def _change(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """First second in (low, high] whose offset is that of `high`."""
    wanted = _offset_ns(zone, high)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        low, high = (low, middle) if _offset_ns(zone, middle) == wanted else (middle, high)
    return high


def _offset_ns(zone: tzinfo, wall: datetime) -> int:
    offset = wall.replace(tzinfo=zone).utcoffset()
    return int((offset or timedelta()).total_seconds()) * NS_PER_S
