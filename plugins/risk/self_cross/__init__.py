"""Guard against trading with oneself."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels


@dataclass
class SelfCross(RiskRuleConfig):
    """Refuse orders that would trade with one's own working order."""

    name: str = param("self_cross", "registry name")


class SelfCrossRule(RiskRule):
    """See `SelfCross`."""

    kernels = RuleKernels(allow="bt_plugins.risk.self_cross._kernels:allow")


def build(config: SelfCross) -> SelfCrossRule:
    """Return the rule."""
    return SelfCrossRule(config)
