"""Times as files and servers write them become microseconds UTC, or a row that is named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.bars.times import BadTime, dates, times_us


def us(values, form="auto", zone="UTC", kind=None) -> list[int]:
    return times_us(pa.array(values, kind), form, zone).tolist()


def micros(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000


NINE = micros(2024, 3, 1, 9, 30)


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        ("2024-03-01 09:30", "auto", NINE),
        ("2024-03-01T09:30:00Z", "auto", NINE),
        ("2024-03-01 04:30:00-05:00", "auto", NINE),
        (" 2024-03-01T09:30:00.000007 ", "iso", NINE + 7),
        ("2024-03-01", "auto", micros(2024, 3, 1)),
        ("20240301", "auto", micros(2024, 3, 1)),
        (20240301, "yyyymmdd", micros(2024, 3, 1)),
        (NINE // 1_000_000, "auto", NINE),
        (str(NINE // 1_000), "auto", NINE),
        (NINE, "auto", NINE),
        (NINE * 1_000, "auto", NINE),
        (float(NINE // 1_000_000), "s", NINE),
        ("5", "s", 5_000_000),
        ("-5", "ms", -5_000),
        ("01/03/2024 09:30", "%d/%m/%Y %H:%M", NINE),
        ("01/03/2024", "%d/%m/%Y", micros(2024, 3, 1)),
    ],
)
def test_a_time_is_the_same_however_it_is_written(value, form, expected):
    assert us([value], form) == [expected]


def test_columns_of_days_and_of_times_are_taken_as_they_are():
    assert us([date(2024, 3, 1)], kind=pa.date32()) == [micros(2024, 3, 1)]
    assert us([datetime(2024, 3, 1, 9, 30)], kind=pa.timestamp("ns")) == [NINE]
    new_york = datetime(2024, 3, 1, 4, 30, tzinfo=ZoneInfo("America/New_York"))
    assert us([new_york], zone="Asia/Tokyo", kind=pa.timestamp("s", tz="America/New_York")) == [NINE]
    assert us([], kind=pa.string()) == []


@pytest.mark.parametrize("kind", [pa.string(), pa.timestamp("us")])
def test_a_wall_clock_is_read_in_its_zone_before_and_after_clocks_are_set(kind):
    texts = pa.array(["2024-03-08 16:00:00", "2024-03-11 16:00:00"]).cast(kind)
    assert times_us(texts, "auto", "America/New_York").tolist() == [
        micros(2024, 3, 8, 21),
        micros(2024, 3, 11, 20),
    ]


def test_a_day_is_that_day_in_every_zone():
    assert us(["2024-03-01"], zone="Asia/Tokyo") == [micros(2024, 3, 1)]
    assert us([20240301], zone="Asia/Tokyo") == [micros(2024, 3, 1)]


def test_an_hour_that_comes_twice_is_its_first_one():
    assert us(["2024-11-03 01:30"], zone="America/New_York") == [micros(2024, 11, 3, 5, 30)]


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)),
    st.sampled_from(["Europe/Berlin", "Asia/Kolkata"]),
)
def test_zones_are_those_of_the_standard_library(wall, zone):
    local = wall.replace(tzinfo=ZoneInfo(zone))
    there = local.astimezone(UTC)
    if there.astimezone(ZoneInfo(zone)).replace(tzinfo=None) != wall:
        with pytest.raises(BadTime, match="does not exist"):
            us([wall], zone=zone, kind=pa.timestamp("us"))
    else:
        since = there - datetime(1970, 1, 1, tzinfo=UTC)
        assert us([wall], zone=zone, kind=pa.timestamp("us")) == [since // (since.resolution)]


@pytest.mark.parametrize(
    ("values", "form", "zone", "row", "message"),
    [
        (["20240301", "soon"], "auto", "UTC", 1, "the time 'soon' is not understood; set bars.time_format"),
        (["2024-03-01", "01.03.2024"], "auto", "UTC", 1, "the time '01.03.2024' is not understood"),
        (["2024-03-01", None], "auto", "UTC", 1, "the time is missing"),
        (["01/03/2024", "2024"], "%d/%m/%Y", "UTC", 1, "the time '2024' is not %d/%m/%Y"),
        (
            [12345],
            "auto",
            "UTC",
            0,
            "the time 12345 has not 8, 10, 13, 16 or 19 digits; set bars.time_format",
        ),
        ([20240301], "iso", "UTC", 0, "the time 20240301 is a number, not iso"),
        ([1_000, 1_001], "ns", "UTC", 1, "the time 1001 is finer than a microsecond, or too large"),
        ([2**62], "s", "UTC", 0, "is finer than a microsecond, or too large"),
        (
            ["2024-03-10 02:30"],
            "auto",
            "America/New_York",
            0,
            "does not exist in America/New_York: clocks were",
        ),
        ([1.5], "s", "UTC", 0, "the time 1.5 is not understood"),
        (["20241301"], "auto", "UTC", 0, "the time '20241301' is not %Y%m%d"),
    ],
)
def test_a_time_that_is_none_is_named_with_its_row(values, form, zone, row, message):
    with pytest.raises(BadTime) as error:
        us(values, form, zone)
    assert error.value.row == row
    assert message in str(error.value)


def test_days_of_events_are_those_of_the_clock_they_were_written_by():
    written = pa.chunked_array([["2012-08-09 00:00:00-04:00", "2012-11-07 00:00:00+09:00"]])
    assert dates(written, "auto", "UTC").to_pylist() == [date(2012, 8, 9), date(2012, 11, 7)]
    midnight_in_tokyo = pa.chunked_array([["2012-08-09 00:00:00"]])
    assert dates(midnight_in_tokyo, "auto", "Asia/Tokyo").to_pylist() == [date(2012, 8, 9)]
    assert dates(pa.chunked_array([[20120809]]), "auto", "Asia/Tokyo").to_pylist() == [date(2012, 8, 9)]


def test_numbers_of_other_kinds_are_no_times():
    with pytest.raises(BadTime, match="not understood"):
        us([Decimal("1.5")], "s", kind=pa.decimal128(5, 2))


def test_times_with_and_without_a_zone_are_not_mixed():
    with pytest.raises(
        BadTime, match="the time '2024-01-03T00:00:00' does not say its zone, others do"
    ) as caught:
        times_us(pa.chunked_array([["2024-01-02T00:00:00Z", "2024-01-03T00:00:00"]]), "auto", "UTC")
    assert caught.value.row == 1
