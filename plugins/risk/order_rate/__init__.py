"""Limit on the rate of orders: a token bucket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels, rule_state
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class OrderRate(RiskRuleConfig):
    """Refuse orders beyond a rate: a bucket of `burst` tokens, one per new or modify, refilled at `rate_per_s`."""

    name: str = param("order_rate", "registry name")
    rate_per_s: float = param(50.0, "tokens per second", unit="orders/s")
    burst: int = param(100, "tokens that the bucket holds", unit="orders")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.rate_per_s > 0:
            raise ConfigError(f"rate_per_s must be > 0, was {self.rate_per_s}.")
        if not self.burst > 0:
            raise ConfigError(f"burst must be > 0, was {self.burst}.")


class OrderRateRule(RiskRule):
    """See `OrderRate`."""

    kernels = RuleKernels(allow="bt_plugins.risk.order_rate._kernels:allow")

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return a full bucket."""
        return rule_state(used=0.0, used_ts=0)


def build(config: OrderRate) -> OrderRateRule:
    """Return the rule."""
    return OrderRateRule(config)
