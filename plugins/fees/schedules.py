"""Fee schedules."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.models import FeeSchedule
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name
from bt_plugins.fees._numbers import finite


@dataclass
class PerSymbol(ComponentConfig):
    """Base of schedules that may differ by instrument: ``by_symbol`` overrides keys of the same name."""

    by_symbol: dict[str, Any] = param({}, "by symbol: keys of this schedule, where they differ")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        keys = [f.name for f in fields(self) if f.name not in ("name", "by_symbol")]
        for key in keys:
            finite(key, getattr(self, key))
        for symbol, values in self.by_symbol.items():
            if not isinstance(values, dict):
                raise ConfigError(f"by_symbol.{symbol} must be keys with values, was {values!r}.")
            for key, value in values.items():
                if key not in keys:
                    raise ConfigError(unknown_name(f"by_symbol.{symbol}'s keys", key, keys))
                finite(f"by_symbol.{symbol}.{key}", value)


@dataclass
class ByValue(PerSymbol):
    """A fraction of the traded value."""

    name: str = param("by_value", "registry name")
    maker_bps: float = param(2.0, "fee of a maker fill; negative is a rebate", unit="bps of value")
    taker_bps: float = param(5.0, "fee of a taker fill", unit="bps of value")


@dataclass
class BinanceUsdmVip0(ByValue):
    """Binance USD-M futures, VIP 0, no BNB discount: maker 2 bps, taker 5 bps of the value."""

    name: str = param("binance_usdm_vip0", "registry name")


@dataclass
class ByQty(PerSymbol):
    """An amount per unit of quantity: per share, per contract."""

    name: str = param("by_qty", "registry name")
    maker_per_qty: float = param(0.0, "of a maker fill; negative is a rebate", unit="settlement currency")
    taker_per_qty: float = param(0.003, "of a taker fill", unit="settlement currency")


@dataclass
class FlatPerTrade(PerSymbol):
    """The same amount for every fill."""

    name: str = param("flat_per_trade", "registry name")
    fee_per_fill: float = param(1.0, "fee of a fill", unit="settlement currency")


@dataclass
class ZeroFees(ComponentConfig):
    """No fees."""

    name: str = param("zero", "registry name")


def build(config: ComponentConfig) -> FeeSchedule:
    """Return the fee schedule."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    by_symbol = values.pop("by_symbol", {})
    own = {symbol: _schedule(values | overrides) for symbol, overrides in by_symbol.items()}
    return _schedule(values, own)


def _schedule(values: dict[str, float], by_symbol: dict[str, FeeSchedule] | None = None) -> FeeSchedule:
    """Return the schedule that the keys of any of the configurations describe."""
    return FeeSchedule(
        maker_value_frac=values.get("maker_bps", 0.0) * 1e-4,
        taker_value_frac=values.get("taker_bps", 0.0) * 1e-4,
        maker_per_qty=values.get("maker_per_qty", 0.0),
        taker_per_qty=values.get("taker_per_qty", 0.0),
        per_fill=values.get("fee_per_fill", 0.0),
        by_symbol=by_symbol or {},
    )
