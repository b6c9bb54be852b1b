"""Limit on the number of instruments with a position."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class MaxOpenPositions(RiskRuleConfig):
    """Refuse orders in further instruments while as many are open as may be."""

    name: str = param("max_open_positions", "registry name")
    limit_positions: int = param(
        10, "most instruments with a position or a working order", unit="instruments"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_positions > 0:
            raise ConfigError(f"limit_positions must be > 0, was {self.limit_positions}.")


class MaxOpenPositionsRule(RiskRule):
    """See `MaxOpenPositions`."""

    kernels = RuleKernels(allow="bt_plugins.risk.max_open_positions._kernels:allow")


def build(config: MaxOpenPositions) -> MaxOpenPositionsRule:
    """Return the rule."""
    return MaxOpenPositionsRule(config)
