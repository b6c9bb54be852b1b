"""Trades with the imbalance of the best quotes: the smallest strategy in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.strategy import PlainStrategy
from bt_framework.errors import ConfigError
from bt_framework.records import Side, Tag
from bt_framework.results.run import Instrument


@dataclass
class Imbalance(ComponentConfig):
    """Hold one unit in the direction of a smoothed imbalance of the best quotes; plain Python."""

    name: str = param("imbalance", "registry name")
    sample_ns: Duration = param("100ms", "how often the book is looked at", unit="ns")
    half_life_samples: float = param(5.0, "half-life of the smoothing", unit="samples")
    entry_frac: float = param(0.3, "imbalance, from -1 to 1, beyond which a position is taken")
    exit_frac: float = param(0.05, "imbalance below which it is given up")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if int(self.sample_ns) <= 0:
            raise ConfigError(f"sample_ns must be > 0, was {self.sample_ns}.")
        if not self.half_life_samples > 0:
            raise ConfigError(f"half_life_samples must be > 0, was {self.half_life_samples}.")
        if not 0 <= self.exit_frac < self.entry_frac <= 1:
            raise ConfigError(
                f"entry_frac must be > exit_frac and at most 1, was {self.entry_frac} and {self.exit_frac}."
            )


class ImbalanceStrategy(PlainStrategy):
    """See `Imbalance`."""

    def __init__(self, config: Imbalance) -> None:
        self._config = config
        self._weight = 1.0 - 0.5 ** (1.0 / config.half_life_samples)
        self.timer_ns = int(config.sample_ns)

    def start(self, instruments: Sequence[Instrument]) -> None:
        """Begin with balanced books."""
        self._smoothed = [0.0 for _ in instruments]

    def on_timer(self, market: Any, account: Any, out: Any) -> None:
        """Sample, decide, send what is missing as a market order."""
        for asset in range(market.count()):
            bid_qty, ask_qty = market.best_bid_qty(asset), market.best_ask_qty(asset)
            imbalance = (bid_qty - ask_qty) / (bid_qty + ask_qty)
            if math.isnan(imbalance):
                continue
            self._smoothed[asset] += self._weight * (imbalance - self._smoothed[asset])
            lot = market.lot_size(asset)
            held = round(account.position_qty(asset) / lot)
            unit = math.floor(account.unit_qty(asset) / lot)
            missing = self.direction(self._smoothed[asset], held) * unit - held
            if missing and account.order_count() == 0:
                out.market(asset, Side.BUY if missing > 0 else Side.SELL, abs(missing) * lot, Tag.ENTRY)

    def direction(self, imbalance: float, held: int) -> int:
        """Return the direction to be in, 1, -1 or 0, given the position held in lots."""
        if abs(imbalance) >= self._config.entry_frac:
            return 1 if imbalance > 0 else -1
        keep = held * imbalance > 0 and abs(imbalance) >= self._config.exit_frac
        return (1 if held > 0 else -1) if keep else 0


def build(config: Imbalance) -> ImbalanceStrategy:
    """Return the strategy."""
    return ImbalanceStrategy(config)
