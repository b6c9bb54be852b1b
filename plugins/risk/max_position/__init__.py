"""Position limit per instrument, counting what is still working."""

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
class MaxPosition(ComponentConfig):
    """Refuse orders that could take a position beyond a limit if all that is working filled."""

    name: str = param("max_position", "registry name")
    limit_notional: float = param(50_000.0, "largest |position| x mid, per instrument", unit="quote currency")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_notional >= 0:
            raise ConfigError(f"limit_notional must be >= 0, was {self.limit_notional}.")


class MaxPositionRule(RiskRule):
    """See `MaxPosition`."""

    kernel = "bt_plugins.risk.max_position._kernels:allow"

    def __init__(self, config: MaxPosition) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the limit."""
        return params_record(self._config)


def build(config: MaxPosition) -> MaxPositionRule:
    """Return the rule."""
    return MaxPositionRule(config)
