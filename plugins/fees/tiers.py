"""Fees that fall with the volume traded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.models import FeeSchedule, FeeTier
from bt_framework.errors import ConfigError
from bt_plugins.fees._numbers import finite

_KEYS = ("min_volume", "maker_bps", "taker_bps")
_USDM = (
    (15e6, 1.6, 4.0),
    (50e6, 1.4, 3.5),
    (100e6, 1.2, 3.2),
    (600e6, 1.0, 3.0),
    (1_000e6, 0.8, 2.7),
    (2_500e6, 0.6, 2.5),
    (5_000e6, 0.4, 2.2),
    (12_500e6, 0.2, 2.0),
    (25_000e6, 0.0, 1.7),
)


@dataclass
class ByVolume(ComponentConfig):
    """Base of schedules that look at the volume traded."""

    earlier_volume: float = param(
        0.0, "traded over the last days before the run, and taken to stay", unit="quote currency"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 0 <= self.earlier_volume < math.inf:
            raise ConfigError(f"earlier_volume must be >= 0 and finite, was {self.earlier_volume}.")


@dataclass
class BinanceUsdmTiers(ByVolume):
    """Binance USD-M futures, VIP 0 to 9 by 30-day volume, no BNB discount; BNB holdings are not asked for."""

    name: str = param("binance_usdm_tiers", "registry name")


@dataclass
class Tiered(ByVolume):
    """A fraction of the traded value that depends on the value traded over the last days."""

    name: str = param("tiered", "registry name")
    maker_bps: float = param(2.0, "fee of a maker fill before the first tier", unit="bps of value")
    taker_bps: float = param(5.0, "fee of a taker fill before the first tier", unit="bps of value")
    tiers: list[Any] = param([], "min_volume in quote currency, maker_bps and taker_bps of each, ascending")
    volume_days: int = param(30, "UTC days over which the volume is summed, today included", unit="days")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 1 <= self.volume_days <= 366:
            raise ConfigError(f"volume_days must be 1 to 366, was {self.volume_days}.")
        finite("maker_bps", self.maker_bps)
        finite("taker_bps", self.taker_bps)
        reached = 0.0
        for place, tier in enumerate(self.tiers):
            if not isinstance(tier, dict) or sorted(tier) != sorted(_KEYS):
                raise ConfigError(f"tiers[{place}] must have the keys {', '.join(_KEYS)}, was {tier!r}.")
            least, *_ = [finite(f"tiers[{place}].{key}", tier[key]) for key in _KEYS]
            if not least > reached:
                raise ConfigError(f"tiers[{place}].min_volume must be > {reached:,.0f}, was {least:,.0f}.")
            reached = least


def build(config: ByVolume) -> FeeSchedule:
    """Return the fee schedule."""
    if not isinstance(config, Tiered):
        rows = [dict(zip(_KEYS, row, strict=True)) for row in _USDM]
        config = Tiered(earlier_volume=config.earlier_volume, tiers=rows)
    return FeeSchedule(
        maker_value_frac=config.maker_bps * 1e-4,
        taker_value_frac=config.taker_bps * 1e-4,
        tiers=tuple(_tier(tier, config.earlier_volume) for tier in config.tiers),
        volume_days=config.volume_days,
    )


def _tier(tier: dict[str, float], earlier_volume: float) -> FeeTier:
    left = max(tier["min_volume"] - earlier_volume, 0.0)
    return FeeTier(left, tier["maker_bps"] * 1e-4, tier["taker_bps"] * 1e-4)
