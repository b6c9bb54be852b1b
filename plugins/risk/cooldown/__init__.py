"""Pause after an exit."""

from __future__ import annotations

from dataclasses import dataclass

from bt_framework.config.schema import Duration, param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels
from bt_framework.errors import ConfigError


@dataclass
class Cooldown(RiskRuleConfig):
    """Refuse what increases a position of an instrument for a time after an exit from it."""

    name: str = param("cooldown", "registry name")
    after_exit_ns: Duration = param("10s", "pause after an exit that brought a profit", unit="ns")
    after_loss_ns: Duration = param("1min", "pause after an exit at a loss, fees included", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("after_exit_ns", "after_loss_ns"):
            if int(getattr(self, key)) < 0:
                raise ConfigError(f"{key} must be >= 0, was {getattr(self, key)}.")


class CooldownRule(RiskRule):
    """See `Cooldown`."""

    kernels = RuleKernels(allow="bt_plugins.risk.cooldown._kernels:allow")


def build(config: Cooldown) -> CooldownRule:
    """Return the rule."""
    return CooldownRule(config)
