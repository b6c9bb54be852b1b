"""Bars of the bar store, traded at their closes.

A bar becomes events at the time of its close, which is its open plus the interval: a print of its volume, and quotes at
close x (1 -/+ slippage) in the place of those before. They stand until the next bar. A market order that is sent at a
bar's close, and arrives before the next one, is filled at that close x (1 +/- slippage).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bt_framework.bars.trading import TradedBars
from bt_framework.config.schema import param
from bt_framework.config.settings import parse_time_ns
from bt_framework.data.batches import PairAndDate, times_of
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.bars._source import BarsSource


@dataclass
class _Chosen(PairAndDate):
    """Which bars of the store."""

    source: str = param("", "name under which the bars are kept")
    symbols: list[str] = param([], "instruments in the strategy's order; empty: all of the source")
    start: str | None = param(None, "bars that open from here on, ISO-8601; null: the first")
    end: str | None = param(None, "bars that open before this, ISO-8601; null: the last")


@dataclass
class Bars(TradedBars, _Chosen):
    """Bars of the bar store: quotes around each close, a print of the volume.

    Nothing is known of the market between two closes: limit orders fill where a close passes their price.
    """

    name: str = param("bars", "registry name; choose another with GROUP=NAME")

    def __post_init__(self) -> None:
        """Check symbols and times."""
        super().__post_init__()
        if len(set(self.symbols)) != len(self.symbols):
            raise ConfigError(f"data.symbols must differ from each other, was {self.symbols}.")
        self.start, self.end = times_of(self.date, self.start, self.end)
        self.date = ""
        start_ts, end_ts = self.range_ns()
        if start_ts is not None and end_ts is not None and start_ts >= end_ts:
            raise ConfigError(f"data.end must be later than data.start ({self.start}), was {self.end}.")

    def range_ns(self) -> tuple[int | None, int | None]:
        """`start` and `end`, ns UTC; None where not given."""
        start_ts = None if self.start is None else parse_time_ns(self.start, "data.start")
        end_ts = None if self.end is None else parse_time_ns(self.end, "data.end")
        return start_ts, end_ts


def build(config: Bars) -> BarsSource:
    """Return the source."""
    from bt_plugins.data.bars._source import BarsSource

    return BarsSource(config)
