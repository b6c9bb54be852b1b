"""Local days: where they begin and how long they are, on the days when clocks change and when they do not."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.engine._guard import follow_calendar
from bt_framework.engine._state import CLOCK, CONTROL
from bt_framework.engine.calendar import local_days

HOUR = 3_600 * 10**9


def ns(text: str) -> int:
    """Time in ns UTC."""
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 10**9


def iso(ts: int) -> str:
    """Minutes, UTC."""
    return str(np.datetime64(int(ts), "ns").astype("M8[m]"))


DAYS = [
    # zone, a time in the day, the day's begin, length in hours, the change of the clock and the offset after it
    ("UTC", "2024-03-31T12:00", "2024-03-31T00:00", 24.0, None),
    ("Asia/Tokyo", "2024-03-31T12:00", "2024-03-30T15:00", 24.0, None),
    ("Asia/Kolkata", "2024-03-31T18:30", "2024-03-31T18:30", 24.0, None),
    ("Europe/Berlin", "2024-03-31T12:00", "2024-03-30T23:00", 23.0, ("2024-03-31T01:00", 2.0)),
    ("Europe/Berlin", "2024-10-27T12:00", "2024-10-26T22:00", 25.0, ("2024-10-27T01:00", 1.0)),
    ("America/New_York", "2024-03-10T12:00", "2024-03-10T05:00", 23.0, ("2024-03-10T07:00", -4.0)),
    ("America/New_York", "2024-11-03T12:00", "2024-11-03T04:00", 25.0, ("2024-11-03T06:00", -5.0)),
    ("Australia/Lord_Howe", "2024-04-06T20:00", "2024-04-06T13:00", 24.5, ("2024-04-06T15:00", 10.5)),
    ("Australia/Lord_Howe", "2024-10-05T20:00", "2024-10-05T13:30", 23.5, ("2024-10-05T15:30", 11.0)),
    ("America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", 23.0, None),
    ("America/Sao_Paulo", "2019-02-16T12:00", "2019-02-16T02:00", 25.0, ("2019-02-17T02:00", -3.0)),
    ("Pacific/Apia", "2011-12-31T00:00", "2011-12-30T10:00", 24.0, None),
]


@pytest.mark.parametrize(("zone", "moment", "begin", "hours", "change"), DAYS)
def test_days_and_changes_of_the_clock(
    zone: str, moment: str, begin: str, hours: float, change: tuple[str, float] | None
) -> None:
    days = local_days(ns(moment), ns(moment), zone)
    last = int(np.searchsorted(days["from_ts"], ns(moment), "right")) - 1
    start = int(days[last]["day_start_ts"])
    assert iso(start) == begin
    later = days[days["day_start_ts"] > start]
    assert (int(later[0]["day_start_ts"]) - start) / HOUR == hours
    rows = days[(days["day_start_ts"] == start) & (days["from_ts"] > start)]
    changes = [(iso(int(row["from_ts"])), row["utc_offset_ns"] / HOUR) for row in rows]
    assert changes == ([] if change is None else [change])


@given(
    zone=st.sampled_from(["UTC", "Europe/London", "America/Chicago", "Australia/Lord_Howe", "Africa/Cairo"]),
    start_s=st.integers(1_000_000_000, 1_900_000_000),
    length_s=st.integers(0, 400 * 86_400),
    share=st.floats(0.0, 1.0),
)
def test_the_offset_and_the_date_are_those_of_the_zone(
    zone: str, start_s: int, length_s: int, share: float
) -> None:
    days = local_days(start_s * 10**9, (start_s + length_s) * 10**9, zone)
    assert days[0]["from_ts"] <= start_s * 10**9
    assert days[-1]["day_start_ts"] > (start_s + length_s) * 10**9
    assert (np.diff(days["from_ts"]) > 0).all()
    at_s = start_s + int(share * length_s)
    row = days[int(np.searchsorted(days["from_ts"], at_s * 10**9, "right")) - 1]
    local = datetime.fromtimestamp(at_s, ZoneInfo(zone))
    assert local.utcoffset().total_seconds() * 1e9 == row["utc_offset_ns"]  # type: ignore[union-attr]
    began = datetime.fromtimestamp(int(row["day_start_ts"]) // 10**9, ZoneInfo(zone))
    before = datetime.fromtimestamp(int(row["day_start_ts"]) // 10**9 - 1, ZoneInfo(zone))
    assert began.date() == local.date() > before.date()


def followed(times: list[str], zone: str) -> list[tuple[str, str, float]]:
    """(begin, end, offset in hours) of the day that a rule knows at each time."""
    a = SimpleNamespace(
        clock=np.zeros(1, CLOCK).view(np.recarray), controls=np.zeros(1, CONTROL).view(np.recarray)
    )
    days = local_days(ns(times[0]), ns(times[-1]), zone).view(np.recarray)
    follow = getattr(follow_calendar, "py_func", follow_calendar)
    known = []
    for time in times:
        a.clock[0].now_ts = ns(time)
        follow(a, 0, days)
        control = a.controls[0]
        known.append((iso(control.day_start_ts), iso(control.day_end_ts), control.utc_offset_ns / HOUR))
    return known


def test_a_rule_follows_days_and_changes_and_jumps_over_many() -> None:
    times = [
        "2024-03-30T22:59",
        "2024-03-30T23:00",
        "2024-03-31T00:59",
        "2024-03-31T01:00",
        "2024-10-27T12:00",
    ]
    assert followed(times, "Europe/Berlin") == [
        ("2024-03-29T23:00", "2024-03-30T23:00", 1.0),
        ("2024-03-30T23:00", "2024-03-31T22:00", 1.0),
        ("2024-03-30T23:00", "2024-03-31T22:00", 1.0),
        ("2024-03-30T23:00", "2024-03-31T22:00", 2.0),
        ("2024-10-26T22:00", "2024-10-27T23:00", 1.0),
    ]
