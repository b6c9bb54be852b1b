"""Limit on the loss of a day."""

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
class DailyLoss(RiskRuleConfig):
    """Halt when the equity is by a limit lower than at the beginning of the day in `time_zone`."""

    name: str = param("daily_loss", "registry name")
    action: RiskAction = param(RiskAction.HALT_FOR_DAY, "what follows a breach")
    limit_notional: float = param(0.0, "largest loss of a day; 0: no such limit", unit="settlement currency")
    limit_frac: float = param(0.02, "largest loss of a day / capital; 0: no such limit")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("limit_notional", "limit_frac"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} must be >= 0, was {getattr(self, key)}.")
        if self.limit_notional == 0 and self.limit_frac == 0:
            raise ConfigError("limit_notional or limit_frac must be > 0, both were 0.")


class DailyLossRule(RiskRule):
    """See `DailyLoss`."""

    kernels = RuleKernels(watch="bt_plugins.risk.daily_loss._kernels:watch")

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return no day yet."""
        return rule_state(day_equity=0.0, day_seen_ts=-1)


def build(config: DailyLoss) -> DailyLossRule:
    """Return the rule."""
    return DailyLossRule(config)
