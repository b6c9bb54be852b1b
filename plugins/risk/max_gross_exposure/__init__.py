"""Limit on the value of all positions together, long and short alike."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class MaxGrossExposure(RiskRuleConfig):
    """Refuse orders that could take the sum of |position| x mid beyond a limit if all that is working filled."""

    name: str = param("max_gross_exposure", "registry name")
    limit_notional: float = param(200_000.0, "largest sum of |position| x mid", unit="quote currency")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_notional > 0:
            raise ConfigError(f"limit_notional must be > 0, was {self.limit_notional}.")


class MaxGrossExposureRule(RiskRule):
    """See `MaxGrossExposure`."""

    kernels = RuleKernels(allow="bt_plugins.risk.max_gross_exposure._kernels:allow")


def build(config: MaxGrossExposure) -> MaxGrossExposureRule:
    """Return the rule."""
    return MaxGrossExposureRule(config)
