"""Fee schedules."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.models import FeeSchedule


@dataclass
class BinanceUsdmVip0(ComponentConfig):
    """Binance USD-M futures, VIP 0, no BNB discount: maker 2 bps, taker 5 bps of the value."""

    name: str = param("binance_usdm_vip0", "registry name")
    maker_bps: float = param(2.0, "fee of a maker fill; negative is a rebate", unit="bps of value")
    taker_bps: float = param(5.0, "fee of a taker fill", unit="bps of value")


@dataclass
class FlatPerTrade(ComponentConfig):
    """The same amount for every fill."""

    name: str = param("flat_per_trade", "registry name")
    fee_per_fill: float = param(1.0, "fee of a fill", unit="quote currency")


@dataclass
class ZeroFees(ComponentConfig):
    """No fees."""

    name: str = param("zero", "registry name")


def build(config: ComponentConfig) -> FeeSchedule:
    """Return the fee schedule."""
    if isinstance(config, BinanceUsdmVip0):
        return FeeSchedule(maker_value_frac=config.maker_bps * 1e-4, taker_value_frac=config.taker_bps * 1e-4)
    if isinstance(config, FlatPerTrade):
        return FeeSchedule(per_fill=config.fee_per_fill)
    return FeeSchedule()
