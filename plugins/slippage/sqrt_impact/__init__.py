"""The square-root law of market impact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.rules import Slippage
from bt_framework.engine.strategy import numbers_record
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name
from bt_framework.results.run import Instrument


@dataclass
class SqrtImpact(ComponentConfig):
    """Takers pay coefficient x daily volatility x sqrt(quantity / daily volume) more than the engine's price."""

    name: str = param("sqrt_impact", "registry name")
    coefficient: float = param(1.0, "Y of the law, of order one")
    daily_volatility_frac: dict[str, float] = param(
        {}, "by symbol: standard deviation of daily returns", unit="fraction"
    )
    daily_volume_qty: dict[str, float] = param(
        {}, "by symbol: quantity that the market trades in a day", unit="base or contracts"
    )
    max_bps: float = param(1_000.0, "never more than this", unit="bps of price")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 0 <= self.coefficient < math.inf:
            raise ConfigError(f"coefficient must be >= 0 and finite, was {self.coefficient}.")
        if not 0 < self.max_bps < 10_000:
            raise ConfigError(f"max_bps must be > 0 and below 10,000, was {self.max_bps}.")
        for key in ("daily_volatility_frac", "daily_volume_qty"):
            for symbol, value in getattr(self, key).items():
                if not 0 < value < math.inf:
                    raise ConfigError(f"{key}.{symbol} must be > 0 and finite, was {value}.")


class SqrtImpactModel(Slippage):
    """See `SqrtImpact`."""

    kernel = "bt_plugins.slippage.sqrt_impact._kernels:slippage_bps"

    def __init__(self, config: SqrtImpact) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return bps at a quantity of one and the cap.

        Raises
        ------
        ConfigError
            If an instrument has no volatility or volume, or a symbol is none of theirs.
        """
        config = self._config
        symbols = [instrument.symbol for instrument in instruments]
        volatility = _of_each("daily_volatility_frac", config.daily_volatility_frac, symbols)
        volume = _of_each("daily_volume_qty", config.daily_volume_qty, symbols)
        scale_bps = 1e4 * config.coefficient * volatility / np.sqrt(volume)
        return numbers_record({"scale_bps": scale_bps, "max_bps": float(config.max_bps)})


def _of_each(key: str, values: Mapping[str, float], symbols: Sequence[str]) -> np.ndarray:
    for symbol in values:
        if symbol not in symbols:
            raise ConfigError(unknown_name(f"slippage.{key}'s symbols", symbol, symbols))
    for symbol in symbols:
        if symbol not in values:
            raise ConfigError(
                f"slippage.{key}.{symbol} must be given: the market's own number is not guessed."
            )
    return np.array([float(values[symbol]) for symbol in symbols])


def build(config: SqrtImpact) -> SqrtImpactModel:
    """Return the model."""
    return SqrtImpactModel(config)
