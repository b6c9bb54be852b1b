"""Limit on the value of one order."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class MaxOrderNotional(RiskRuleConfig):
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

    kernels = RuleKernels(allow="bt_plugins.risk.max_order_notional._kernels:allow")


def build(config: MaxOrderNotional) -> MaxOrderNotionalRule:
    """Return the rule."""
    return MaxOrderNotionalRule(config)
