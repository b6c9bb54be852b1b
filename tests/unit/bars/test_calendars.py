"""Exchange calendars: sessions, minutes, and names that are not known."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from bt_framework.bars.calendars import expected_opens_us
from bt_framework.errors import ConfigError, DataError

MIN_NS, DAY_NS = 60_000_000_000, 86_400_000_000_000


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def opens(calendar: str, interval_ns: int, first: str, last: str) -> list[str]:
    times = expected_opens_us(calendar, interval_ns, us(first), us(last))
    return [str(time) for time in times.astype("M8[us]").astype("M8[m]")]


def test_days_are_sessions_without_weekends_and_holidays():
    days = opens("XNYS", DAY_NS, "2024-12-23", "2024-12-29")
    assert days == [f"2024-12-{day}T00:00" for day in (23, 24, 26, 27)]
    assert len(opens("24/7", DAY_NS, "2024-12-23T05:00", "2024-12-29T05:00")) == 7


def test_minutes_begin_with_the_session_and_end_before_its_close():
    times = opens("NYSE", MIN_NS, "2024-11-29", "2024-11-30")
    assert (times[0], times[-1], len(times)) == ("2024-11-29T14:30", "2024-11-29T17:59", 210)


def test_a_break_is_no_session():
    times = opens("XHKG", 3_600_000_000_000, "2024-01-03", "2024-01-04")
    assert times == [f"2024-01-03T0{hour}" for hour in ("1:30", "2:30", "3:30", "5:00", "6:00", "7:00")]


def test_an_evening_session_of_the_next_day_is_there():
    times = opens("CMES", MIN_NS, "2024-01-07T22:00", "2024-01-07T23:10")
    assert (times[0], len(times)) == ("2024-01-07T23:00", 11)


def test_both_ends_are_included():
    assert len(opens("24/7", MIN_NS, "2024-01-01T00:00", "2024-01-01T00:05")) == 6


def test_a_holiday_alone_has_no_bars():
    assert opens("XNYS", DAY_NS, "2024-12-25", "2024-12-25") == []


def test_an_unknown_calendar_is_answered_with_the_nearest_names():
    with pytest.raises(ConfigError) as caught:
        opens("XNYX", DAY_NS, "2024-01-01", "2024-01-02")
    assert str(caught.value).startswith("calendar must be one of ")
    assert "names, was 'XNYX'. The nearest are XNYS, " in str(caught.value)


def test_years_that_a_calendar_does_not_cover_are_refused():
    message = r"calendar XTKS does not cover 1990-01-02 to .*1997-01-01.* Leave bars\.calendar out"
    with pytest.raises(DataError, match=message):
        opens("XTKS", DAY_NS, "1990-01-02", "2024-01-01")


def test_longer_bars_have_no_calendar():
    with pytest.raises(ConfigError, match=r"bars\.calendar knows bars of a day or less, was asked for 168h"):
        opens("XNYS", 7 * DAY_NS, "2024-01-01", "2024-01-02")


def test_the_install_line_is_shown_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(ConfigError, match=r"pip install 'bt-framework\[bars\]'"):
        expected_opens_us("XNYS", DAY_NS, 0, 1)


def test_times_are_ascending_over_a_change_of_clocks():
    times = expected_opens_us("XNYS", 30 * MIN_NS, us("2024-03-01"), us("2024-03-31"))
    assert (np.diff(times) > 0).all()
    assert len(times) == 13 * 20


def test_more_bars_than_memory_holds_are_refused():
    with pytest.raises(ConfigError, match=r"knows up to 50,000,000 bars, was asked for 86,400,000 of 1ms\."):
        opens("24/7", 1_000_000, "2024-01-01", "2024-01-02")
