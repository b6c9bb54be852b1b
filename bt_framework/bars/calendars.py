"""Which bars an exchange's calendar expects: the `exchange_calendars` library behind one function."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from bt_framework.bars._manifest import DAY_NS
from bt_framework.errors import ConfigError, DataError
from bt_framework.registry import unknown_name
from bt_framework.units import format_duration_ns

_MOST_BARS = 50_000_000
"""In a range without nights; more are a mistake, and do not fit into memory."""
_MARGIN = timedelta(days=10)
"""Longer than any holiday: a calendar over this long has a session; no session is longer."""


def expected_opens_us(calendar: str, interval_ns: int, first_us: int, last_us: int) -> np.ndarray[Any, Any]:
    """Return when the bars open that `calendar` expects between two times.

    Parameters
    ----------
    calendar : str
        As XNYS, or an alias as NYSE; 24/7 for what never closes.
    interval_ns : int
        From one bar to the next; a day or less. Shorter bars begin with each session, and again after its break.
    first_us, last_us : int
        us UTC, both included; of bars of a day, their days.

    Returns
    -------
    int64 array of shape (n_expected,)
        us UTC, ascending. Bars of a day: the midnight UTC of each session's date.

    Raises
    ------
    ConfigError
        If there is no such calendar, or none for this interval, which may be too short for the range too.
    DataError
        If the calendar does not reach as far back or ahead.
    """
    if interval_ns > DAY_NS:
        raise ConfigError(
            f"bars.calendar knows bars of a day or less, was asked for {format_duration_ns(interval_ns)}. Leave it"
            " out."
        )
    count = (last_us - first_us) * 1_000 // interval_ns
    if count > _MOST_BARS:
        raise ConfigError(
            f"bars.calendar knows up to {_MOST_BARS:,} bars, was asked for {count:,} of"
            f" {format_duration_ns(interval_ns)}. Look at bars.interval_ns and at the first and last bar, or leave the"
            " calendar out."
        )
    begin, end = _day(first_us), _day(last_us)
    if interval_ns == DAY_NS:
        opens = _opened(calendar, begin, end + _MARGIN).sessions
        return _between(opens, _midnight_us(begin), _midnight_us(end))
    exchange = _opened(calendar, begin - _MARGIN, end + _MARGIN)
    with _library():
        import pandas as pd

        opens = exchange.trading_index(
            exchange.first_session,
            exchange.last_session,
            period=pd.Timedelta(interval_ns, "ns"),
            intervals=False,
            closed="left",
        )
    return _between(opens.tz_convert(None), first_us, last_us)


def calendar_names() -> list[str]:
    """Names of the calendars there are, aliases included."""
    with _library():
        import exchange_calendars

        return sorted(exchange_calendars.get_calendar_names(include_aliases=True))


def _opened(name: str, begin: datetime, end: datetime) -> Any:
    with _library():
        import exchange_calendars
        from exchange_calendars.errors import InvalidCalendarName

        try:
            return exchange_calendars.get_calendar(name, start=f"{begin:%Y-%m-%d}", end=f"{end:%Y-%m-%d}")
        except InvalidCalendarName:
            raise ConfigError(unknown_calendar(name)) from None
        except ValueError as error:
            raise DataError(
                f"calendar {name} does not cover {begin:%Y-%m-%d} to {end:%Y-%m-%d}: {error} Leave"
                " bars.calendar out, or the bars that are outside it."
            ) from None


def unknown_calendar(name: str) -> str:
    """Say that there is no calendar of that name, and the nearest ones."""
    import difflib

    names = calendar_names()
    near = difflib.get_close_matches(name.upper(), names, n=5, cutoff=0.5)
    if not near:
        return unknown_name("calendar", name, names)
    return f"calendar must be one of {len(names)} names, was {name!r}. The nearest are {', '.join(near)}."


@contextmanager
def _library() -> Iterator[None]:
    """Import and use the library: say how to install it, and keep its own deprecations to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            yield
        except ImportError as error:
            raise ConfigError(
                f"exchange calendars need a package that is not installed ({error.name}). Install it:"
                " pip install 'bt-framework[bars]'."
            ) from error


def _day(us: int) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )


def _midnight_us(day: datetime) -> int:
    return int(day.timestamp()) * 1_000_000


def _between(opens: Any, first_us: int, last_us: int) -> np.ndarray[Any, Any]:
    times = opens.to_numpy().astype("M8[us]").astype(np.int64)
    return times[(times >= first_us) & (times <= last_us)]  # type: ignore[no-any-return]
