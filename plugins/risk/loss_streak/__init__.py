"""Limit on exits at a loss in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels, rule_state
from bt_framework.errors import ConfigError
from bt_framework.records import RiskAction
from bt_framework.results.run import Instrument


@dataclass
class LossStreak(RiskRuleConfig):
    """Halt after a number of exits at a loss in a row, of all instruments together."""

    name: str = param("loss_streak", "registry name")
    action: RiskAction = param(RiskAction.HALT_FOR_DAY, "what follows a breach")
    limit_exits: int = param(5, "exits at a loss in a row, fees included", unit="exits")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_exits > 0:
            raise ConfigError(f"limit_exits must be > 0, was {self.limit_exits}.")


class LossStreakRule(RiskRule):
    """See `LossStreak`."""

    kernels = RuleKernels(watch="bt_plugins.risk.loss_streak._kernels:watch")

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return a count that begins at 0."""
        return rule_state(forgiven=0)


def build(config: LossStreak) -> LossStreakRule:
    """Return the rule."""
    return LossStreakRule(config)
