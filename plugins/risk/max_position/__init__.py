"""Position limit per instrument, counting what is still working."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class MaxPosition(RiskRuleConfig):
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

    kernels = RuleKernels(allow="bt_plugins.risk.max_position._kernels:allow")


def build(config: MaxPosition) -> MaxPositionRule:
    """Return the rule."""
    return MaxPositionRule(config)
