"""Hours of the week in which positions may be opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.engine.strategy import params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument
from bt_framework.units import NS_PER_S

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"([a-z]{3})(?:-([a-z]{3}))? (\d\d):(\d\d)-(\d\d):(\d\d)")
_MINUTES_PER_DAY = 24 * 60
_MINUTES_PER_WEEK = 7 * _MINUTES_PER_DAY
_MAX_WINDOWS = 64


@dataclass
class TradingWindows(RiskRuleConfig):
    """Let only what reduces a position through outside of windows in the local week."""

    name: str = param("trading_windows", "registry name")
    windows: list[str] = param(
        ["mon-fri 00:00-24:00"],
        "DAY HH:MM-HH:MM or DAY-DAY HH:MM-HH:MM in time_zone; may end on the next day",
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.windows:
            raise ConfigError("windows must have a window, was []. Leave the rule out to trade at all times.")
        parts = len(week_minutes(self.windows))
        if parts > _MAX_WINDOWS:
            raise ConfigError(f"windows must be at most {_MAX_WINDOWS}, one for each day, was {parts}.")


class TradingWindowsRule(RiskRule):
    """See `TradingWindows`."""

    kernels = RuleKernels(watch="bt_plugins.risk.trading_windows._kernels:watch")

    def __init__(self, config: TradingWindows) -> None:
        super().__init__(config)
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return ``windows_ns``: (begin, end) of each in the local week, ns since Monday; empty ones fill up."""
        windows_ns = np.zeros((_MAX_WINDOWS, 2), np.int64)  # of one shape: one compilation serves all
        parts = week_minutes(self._config.windows)
        windows_ns[: len(parts)] = np.array(parts) * 60 * NS_PER_S
        return params_record(self._config, windows_ns=windows_ns)


def week_minutes(windows: Sequence[str]) -> list[tuple[int, int]]:
    """Return (begin, end) of windows in minutes since Monday 00:00, cut where the week ends.

    Raises
    ------
    ConfigError
        If a window is not written as `TradingWindows.windows` says.

    Examples
    --------
    >>> week_minutes(["mon-tue 09:30-16:00", "sun 23:00-01:00"])
    [(570, 960), (2010, 2400), (10020, 10080), (0, 60)]
    """
    parts = []
    for window in windows:
        first, last, begin, end = _parsed(window)
        length = (end - begin) % _MINUTES_PER_DAY or _MINUTES_PER_DAY
        for day in range(first, first + (last - first) % 7 + 1):
            start = day % 7 * _MINUTES_PER_DAY + begin
            parts.append((start, min(start + length, _MINUTES_PER_WEEK)))
            if start + length > _MINUTES_PER_WEEK:
                parts.append((0, start + length - _MINUTES_PER_WEEK))
    return parts


def _parsed(window: str) -> tuple[int, int, int, int]:
    """First and last day (0 is Monday), begin and end in minutes of the day."""
    match = _WINDOW.fullmatch(window.strip().lower())
    if match:
        first, last, *numbers = match.groups()
        last, (hour, minute, end_hour, end_minute) = last or first, map(int, numbers)
        begin, end = 60 * hour + minute, 60 * end_hour + end_minute
        if (
            first in _DAYS
            and last in _DAYS
            and minute < 60
            and end_minute < 60
            and begin < 1440
            and 0 < end <= 1440
        ):
            return _DAYS.index(first), _DAYS.index(last), begin, end
    raise ConfigError(
        f"windows must be like 'mon-fri 09:30-16:00' or 'sun 18:00-24:00', was {window!r}. Days: {', '.join(_DAYS)}."
    )


def build(config: TradingWindows) -> TradingWindowsRule:
    """Return the rule."""
    return TradingWindowsRule(config)
