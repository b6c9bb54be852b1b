"""No orders while the book is wide."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class MaxSpread(RiskRuleConfig):
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

    kernels = RuleKernels(allow="bt_momentum.max_spread._kernels:allow")


def build(config: MaxSpread) -> MaxSpreadRule:
    """Return the rule."""
    return MaxSpreadRule(config)
