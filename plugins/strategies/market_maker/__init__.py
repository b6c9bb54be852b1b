"""Quotes around mid with an inventory skew: the smallest whole strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class MarketMaker(ComponentConfig):
    """Quote both sides of every instrument around mid, skewed against the inventory."""

    name: str = param("market_maker", "registry name")
    requote_ns: Duration = param("500ms", "how often quotes are reconsidered", unit="ns")
    half_spread_bps: float = param(1.0, "distance of a quote from mid", unit="bps")
    skew_bps: float = param(0.5, "shift of both quotes per unit of inventory", unit="bps")
    max_units: float = param(
        3.0, "no quote on the side that would take the inventory beyond this", unit="units of sizing"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if int(self.requote_ns) <= 0:
            raise ConfigError(f"requote_ns must be > 0, was {self.requote_ns}.")
        for key in ("half_spread_bps", "skew_bps", "max_units"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} must be >= 0, was {getattr(self, key)}.")


class MarketMakerStrategy(Strategy):
    """See `MarketMaker`."""

    kernels = Kernels(on_timer="bt_plugins.strategies.market_maker._kernels:on_timer")

    def __init__(self, config: MarketMaker) -> None:
        self._config = config
        self.timer_ns = int(config.requote_ns)

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return a counter of wake-ups."""
        return np.zeros(1, np.dtype([("wakes", "i8")])).view(np.recarray)[0]  # type: ignore[no-any-return]


def build(config: MarketMaker) -> MarketMakerStrategy:
    """Return the strategy."""
    return MarketMakerStrategy(config)
