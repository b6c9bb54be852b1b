"""Limit on the value of one order."""

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
class MaxOrderNotional(ComponentConfig):
    """Refuse orders of more than a value."""

    name: str = param("max_order_notional", "registry name")
    limit_notional: float = param(25_000.0, "largest price x quantity of an order", unit="quote currency")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_notional > 0:
            raise ConfigError(f"limit_notional must be > 0, was {self.limit_notional}.")


class MaxOrderNotionalRule(RiskRule):
    """See `MaxOrderNotional`."""

    kernel = "bt_plugins.risk.max_order_notional._kernels:allow"

    def __init__(self, config: MaxOrderNotional) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the limit."""
        return params_record(self._config)


def build(config: MaxOrderNotional) -> MaxOrderNotionalRule:
    """Return the rule."""
    return MaxOrderNotionalRule(config)
