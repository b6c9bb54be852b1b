"""Limit on the value of all positions relative to the equity."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class MaxLeverage(RiskRuleConfig):
    """Refuse orders that could take gross exposure / equity beyond a limit, and breach when prices have."""

    name: str = param("max_leverage", "registry name")
    limit_leverage: float = param(5.0, "largest sum of |position| x mid / equity")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_leverage > 0:
            raise ConfigError(f"limit_leverage must be > 0, was {self.limit_leverage}.")


class MaxLeverageRule(RiskRule):
    """See `MaxLeverage`."""

    kernels = RuleKernels(
        allow="bt_plugins.risk.max_leverage._kernels:allow",
        watch="bt_plugins.risk.max_leverage._kernels:watch",
    )


def build(config: MaxLeverage) -> MaxLeverageRule:
    """Return the rule."""
    return MaxLeverageRule(config)
