"""Windows: where they lie, and when they are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.errors import DataError
from bt_framework.research.windows import windows_of


def bounds(n: int, window: int, step: int) -> list[tuple[int, int]]:
    return [(w.first, w.last) for w in windows_of(np.arange(n) * 10, 10, window=window, step=step)]


def test_one_window_has_all_bars_and_is_known_when_the_last_one_has_closed():
    (window,) = windows_of(np.array([0, 10, 40]), 10, window=0, step=0)
    assert (window.first, window.last, window.start_ts, window.end_ts, window.as_of_ts) == (0, 2, 0, 40, 50)


def test_windows_are_counted_from_the_first_bar():
    assert bounds(10, window=4, step=3) == [(0, 3), (3, 6), (6, 9)]
    assert bounds(11, window=4, step=3) == [(0, 3), (3, 6), (6, 9)]
    assert bounds(10, window=5, step=0) == [(0, 4), (5, 9)]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 20), st.integers(0, 20))
def test_more_bars_add_windows_and_change_none(n, window, step, more):
    if window > n:
        with pytest.raises(DataError, match="window must be at most the"):
            bounds(n, window, step)
        return
    before = bounds(n, window, step)
    assert bounds(n + more, window, step)[: len(before)] == before
    assert all(last - first + 1 == window and last < n for first, last in before)


def test_a_window_longer_than_the_bars_is_refused():
    with pytest.raises(DataError, match="window must be at most the 10 bars that there are, was 11"):
        bounds(10, window=11, step=1)


def test_no_bars_at_all_are_refused():
    with pytest.raises(DataError, match="there are no bars between start and end"):
        bounds(0, window=0, step=0)
