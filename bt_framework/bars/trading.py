"""How bars are traded at their closes: what data sources of bars have in common. Light, as configurations must be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError

FLAGS = ("outlier", "replaced", "filled")
"""Names of `bt_framework.bars.schema.BarFlag`, as ``skip_flags`` has them."""


class Prices(Enum):
    """Which prices are traded: those of the day, or made comparable by the factors of corporate actions."""

    none = "none"
    backward = "backward"
    point_in_time = "point_in_time"


@dataclass
class TradedBars(ComponentConfig):
    """Base of the configuration of data that trade bars: which of them can be traded, and the quotes around a close.

    Keys of a second base come before these.
    """

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
