"""Limit on long positions less short ones."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class MaxNetExposure(RiskRuleConfig):
    """Refuse orders that could take |long - short| beyond a limit if all that is working on their side filled."""

    name: str = param("max_net_exposure", "registry name")
    limit_notional: float = param(100_000.0, "largest |sum of position x mid|", unit="quote currency")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_notional > 0:
            raise ConfigError(f"limit_notional must be > 0, was {self.limit_notional}.")


class MaxNetExposureRule(RiskRule):
    """See `MaxNetExposure`."""

    kernels = RuleKernels(allow="bt_plugins.risk.max_net_exposure._kernels:allow")


def build(config: MaxNetExposure) -> MaxNetExposureRule:
    """Return the rule."""
    return MaxNetExposureRule(config)
