"""Position limit per instrument, counting what is still working."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels, check_limits, per_instrument
from bt_framework.engine.strategy import params_record
from bt_framework.results.run import Instrument


@dataclass
class MaxPosition(RiskRuleConfig):
    """Refuse orders that could take a position beyond a limit if all that is working filled."""

    name: str = param("max_position", "registry name")
    limit_notional: float = param(50_000.0, "largest |position| x mid, per instrument", unit="quote currency")
    by_symbol: dict[str, float] = param({}, "limits of single instruments", unit="quote currency")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_limits("limit_notional", self.limit_notional, self.by_symbol)


class MaxPositionRule(RiskRule):
    """See `MaxPosition`."""

    kernels = RuleKernels(allow="bt_plugins.risk.max_position._kernels:allow")

    def __init__(self, config: MaxPosition) -> None:
        super().__init__(config)
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the limit of each instrument."""
        limits = per_instrument(self._config.limit_notional, self._config.by_symbol, instruments)
        return params_record(self._config, limits=limits)


def build(config: MaxPosition) -> MaxPositionRule:
    """Return the rule."""
    return MaxPositionRule(config)
