"""Limit on the value of one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels, check_limits, per_instrument
from bt_framework.engine.strategy import params_record
from bt_framework.results.run import Instrument


@dataclass
class MaxOrderNotional(RiskRuleConfig):
    """Refuse orders of more than a value."""

    name: str = param("max_order_notional", "registry name")
    limit_notional: float = param(
        25_000.0,
        "largest quantity x the higher of price and mid",
        unit="quote currency",
    )
    by_symbol: dict[str, float] = param({}, "limits of single instruments", unit="quote currency")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_limits("limit_notional", self.limit_notional, self.by_symbol)


class MaxOrderNotionalRule(RiskRule):
    """See `MaxOrderNotional`."""

    kernels = RuleKernels(allow="bt_plugins.risk.max_order_notional._kernels:allow")

    def __init__(self, config: MaxOrderNotional) -> None:
        super().__init__(config)
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the limit of each instrument."""
        limits = per_instrument(self._config.limit_notional, self._config.by_symbol, instruments)
        return params_record(self._config, limits=limits)


def build(config: MaxOrderNotional) -> MaxOrderNotionalRule:
    """Return the rule."""
    return MaxOrderNotionalRule(config)
