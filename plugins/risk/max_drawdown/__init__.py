"""Limit on the fall of the equity from its peak."""

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
class MaxDrawdown(RiskRuleConfig):
    """Stop when the equity is by a limit lower than its peak; the peak starts anew when trading resumes."""

    name: str = param("max_drawdown", "registry name")
    action: RiskAction = param(RiskAction.FLATTEN_AND_HALT, "what follows a breach")
    limit_notional: float = param(
        0.0, "largest fall from the peak; 0: no such limit", unit="settlement currency"
    )
    limit_frac: float = param(0.1, "largest fall from the peak / peak; 0: no such limit")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("limit_notional", "limit_frac"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} must be >= 0, was {getattr(self, key)}.")
        if self.limit_notional == 0 and self.limit_frac == 0:
            raise ConfigError("limit_notional or limit_frac must be > 0, both were 0.")


class MaxDrawdownRule(RiskRule):
    """See `MaxDrawdown`."""

    kernels = RuleKernels(watch="bt_plugins.risk.max_drawdown._kernels:watch")

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return no peak yet."""
        return rule_state(peak_equity=-np.inf)


def build(config: MaxDrawdown) -> MaxDrawdownRule:
    """Return the rule."""
    return MaxDrawdownRule(config)
