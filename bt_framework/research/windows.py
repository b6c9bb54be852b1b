"""Windows of bars and their test dates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bt_framework.errors import DataError


@dataclass(frozen=True)
class Window:
    """Consecutive rows of a universe, first to last.

    Attributes
    ----------
    first, last : int
        Rows, both within the window.
    start_ts, end_ts : int
        When the first and the last bar open, ns UTC.
    as_of_ts : int
        When the last bar has closed, ns UTC: the test date.
    """

    first: int
    last: int
    start_ts: int
    end_ts: int
    as_of_ts: int

    @property
    def rows(self) -> slice:
        """Rows of the window."""
        return slice(self.first, self.last + 1)


def windows_of(times_ns: np.ndarray, interval_ns: int, *, window: int, step: int) -> list[Window]:
    """Return the windows of `window` bars, one every `step` bars, oldest first.

    They are counted from the first bar on, so that more bars at the end add windows and leave the others as they are.

    Parameters
    ----------
    times_ns : int64 array of shape (n,)
        When the bars open, ns UTC, rising.
    interval_ns : int
        From one bar to the next, ns.
    window : int
        Bars; 0 for one window of all.
    step : int
        Bars from one window to the next; 0 for `window`.

    Raises
    ------
    DataError
        If there are fewer bars than one window has.
    """
    n = len(times_ns)
    length = window or n
    if n == 0:
        raise DataError("there are no bars between start and end. Give other times, or none.")
    if length > n:
        raise DataError(f"window must be at most the {n:,} bars that there are, was {window:,}.")
    lasts = range(length - 1, n, step or length)
    return [_window(times_ns, interval_ns, last - length + 1, last) for last in lasts]


def _window(times_ns: np.ndarray, interval_ns: int, first: int, last: int) -> Window:
    start_ts, end_ts = int(times_ns[first]), int(times_ns[last])
    return Window(first, last, start_ts, end_ts, end_ts + interval_ns)
