"""No orders while the book is wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.rules import RiskRule
from bt_framework.engine.strategy import params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class MaxSpread(ComponentConfig):
    """Refuse orders while the spread is wider than a limit."""

    name: str = param("max_spread", "registry name")
    limit_bps: float = param(5.0, "widest spread to trade in", unit="bps")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_bps >= 0:
            raise ConfigError(f"limit_bps must be >= 0, was {self.limit_bps}.")


class MaxSpreadRule(RiskRule):
    """See `MaxSpread`."""

    kernel = "bt_momentum.max_spread._kernels:allow"

    def __init__(self, config: MaxSpread) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the limit."""
        return params_record(self._config)


def build(config: MaxSpread) -> MaxSpreadRule:
    """Return the rule."""
    return MaxSpreadRule(config)
