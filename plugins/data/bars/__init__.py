"""Bars of the bar store, traded at their closes.

A bar becomes events at the time of its close, which is its open plus the interval: a print of its volume, and quotes at
close x (1 -/+ slippage) in the place of those before. They stand until the next bar. A market order that is sent at a
bar's close, and arrives before the next one, is filled at that close x (1 +/- slippage).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.bars._source import BarsSource

FLAGS = ("outlier", "replaced", "filled")
"""Names of `bt_framework.bars.schema.BarFlag`, as ``skip_flags`` has them."""


class Prices(Enum):
    """Which prices are traded: those of the day, or made comparable by the factors of corporate actions."""

    none = "none"
    backward = "backward"
    point_in_time = "point_in_time"


@dataclass
class Bars(ComponentConfig):
    """Bars of the bar store: quotes around each close, a print of the volume.

    Nothing is known of the market between two closes: limit orders fill where a close passes their price.
    """

    name: str = param("bars", "registry name; choose another with GROUP=NAME")
    source: str = param("", "name under which the bars are kept")
    symbols: list[str] = param([], "instruments in the strategy's order; empty: all of the source")
    start: str | None = param(None, "bars that open from here on, ISO-8601; null: the first")
    end: str | None = param(None, "bars that open before this, ISO-8601; null: the last")
    adjust: Prices = param(
        Prices.point_in_time,
        "none: as traded; backward: comparable with the newest; point_in_time: with the first bar",
    )
    skip_flags: list[str] = param(["filled"], "bars that cannot be traded: of outlier, replaced, filled")
    slippage_bps: float = param(1.0, "distance of each quote from the close", unit="bps")
    depth_qty: float = param(1_000_000.0, "quantity of each quote", unit="base units")
    prints: bool = param(True, "whether a bar's volume is printed as a trade at its close")
    delay_ns: Duration = param(0, "from a bar's close to its publication", unit="ns")
    tick_size: dict[str, float] = param({}, "by symbol; else so fine that rounding is nothing", unit="quote")
    lot_size: dict[str, float] = param(
        {}, "by symbol; else 1, or 1e-6 where the first volumes are not whole", unit="base"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if len(set(self.symbols)) != len(self.symbols):
            raise ConfigError(f"data.symbols must differ from each other, was {self.symbols}.")
        for flag in self.skip_flags:
            if flag not in FLAGS:
                from bt_framework.registry import unknown_name

                raise ConfigError(unknown_name("data.skip_flags", flag, FLAGS))
        if not 0 <= self.slippage_bps < 10_000:
            raise ConfigError(f"data.slippage_bps must be >= 0 and < 10000, was {self.slippage_bps}.")
        if not 0 < self.depth_qty < inf:
            raise ConfigError(f"data.depth_qty must be > 0 and finite, was {self.depth_qty}.")
        if int(self.delay_ns) < 0:
            raise ConfigError(f"data.delay_ns must be >= 0, was {self.delay_ns}.")
        for key, sizes in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            for symbol, size in sizes.items():
                if not 0 < size < inf:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0 and finite, was {size}.")
        start_ts = None if self.start is None else parse_time_ns(self.start, "data.start")
        end_ts = None if self.end is None else parse_time_ns(self.end, "data.end")
        if start_ts is not None and end_ts is not None and start_ts >= end_ts:
            raise ConfigError(f"data.end must be later than data.start ({self.start}), was {self.end}.")


def build(config: Bars) -> BarsSource:
    """Return the source."""
    from bt_plugins.data.bars._source import BarsSource

    return BarsSource(config)
