"""Local days of a run, for rules that count them."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from bt_framework.engine._state import CALENDAR_DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_days(start_ts: int, end_ts: int, time_zone: str) -> np.ndarray:
    """Return the days of an interval on a local clock.

    Parameters
    ----------
    start_ts, end_ts : int
        The interval, ns UTC.
    time_zone : str
        IANA name.

    Returns
    -------
    CALENDAR_DAY array
        In order of time: a row where each day begins, and where the clock is put forward or back within one. The
        first is not later than `start_ts`, the last later than `end_ts`.
    """
    zone = ZoneInfo(time_zone)
    day = _at(start_ts).astimezone(zone).date() - timedelta(days=1)
    rows: list[tuple[int, int, int]] = []
    while not rows or rows[-1][1] <= end_ts:
        begin = datetime.combine(day, time(), zone).astimezone(UTC)
        following = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
        start = _ns(begin)
        rows.append((start, start, _offset_ns(begin, zone)))
        if _offset_ns(following - timedelta(microseconds=1), zone) != rows[-1][2]:
            change = _change(begin, following, zone)
            rows.append((_ns(change), start, _offset_ns(change, zone)))
        day += timedelta(days=1)
    return np.array(rows, CALENDAR_DAY)


def _change(begin: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """First second of a UTC interval at which the clock's offset is that of its end."""
    before = _offset_ns(begin, zone)
    while end - begin > timedelta(seconds=1):
        middle = begin + timedelta(seconds=(end - begin) // timedelta(seconds=2))
        if _offset_ns(middle, zone) == before:
            begin = middle
        else:
            end = middle
    return end


def _at(ts: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ts // 1_000)


def _ns(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _offset_ns(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1) * 1_000
