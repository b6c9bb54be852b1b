"""A fixed share of the price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.rules import Slippage
from bt_framework.engine.strategy import numbers_record
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name
from bt_framework.results.run import Instrument


@dataclass
class FixedBps(ComponentConfig):
    """Takers pay a fixed share of the price more than the engine's price."""

    name: str = param("fixed_bps", "registry name")
    bps: float = param(1.0, "how much worse", unit="bps of price")
    by_symbol: dict[str, float] = param({}, "by symbol, where it differs", unit="bps of price")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        named = {f"by_symbol.{symbol}": bps for symbol, bps in self.by_symbol.items()}
        for key, bps in ({"bps": self.bps} | named).items():
            if not 0 <= bps < 10_000:
                raise ConfigError(f"{key} must be >= 0 and below 10,000, was {bps}.")


class FixedBpsModel(Slippage):
    """See `FixedBps`."""

    kernel = "bt_plugins.slippage.fixed_bps._kernels:slippage_bps"

    def __init__(self, config: FixedBps) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the bps of each instrument.

        Raises
        ------
        ConfigError
            If a symbol is none of theirs.
        """
        symbols = [instrument.symbol for instrument in instruments]
        for symbol in self._config.by_symbol:
            if symbol not in symbols:
                raise ConfigError(unknown_name("slippage.by_symbol's symbols", symbol, symbols))
        return numbers_record(
            {"bps": [float(self._config.by_symbol.get(s, self._config.bps)) for s in symbols]}
        )


def build(config: FixedBps) -> FixedBpsModel:
    """Return the model."""
    return FixedBpsModel(config)
