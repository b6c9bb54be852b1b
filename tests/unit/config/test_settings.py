"""Times as they are written in a configuration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import ConfigError


@given(st.integers(-(10**18), 4 * 10**18))
def test_a_time_is_read_to_the_nanosecond(ts: int) -> None:
    text = str(np.datetime64(ts, "ns"))
    assert parse_time_ns(text, "start") == ts
    assert parse_time_ns(f"{text}Z", "start") == ts


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01.5", 1_500_000_000),
        ("1970-01-01T00:00:00.1234567", 123_456_700),
        ("1970-01-01T00:00:00,000000001", 1),
        ("1970-01-01T02:00:00.000000001+02:00", 1),
        ("1970-01-01T00:00:00.000000001000", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
    ],
)
def test_fractions_of_a_second_are_whole_nanoseconds(text: str, ns: int) -> None:
    assert parse_time_ns(text, "start") == ns


def test_a_time_between_two_nanoseconds_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^start must have at most nine digits after the second, was '1970"
    ):
        parse_time_ns("1970-01-01T00:00:00.0000000015", "start")
