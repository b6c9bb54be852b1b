"""Limit on the quantity of one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels, check_limits, per_instrument
from bt_framework.engine.strategy import params_record
from bt_framework.results.run import Instrument


@dataclass
class MaxOrderQty(RiskRuleConfig):
    """Refuse orders of more than a quantity."""

    name: str = param("max_order_qty", "registry name")
    limit_qty: float = param(10.0, "largest quantity of an order", unit="base units")
    by_symbol: dict[str, float] = param({}, "limits of single instruments", unit="base units")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_limits("limit_qty", self.limit_qty, self.by_symbol)


class MaxOrderQtyRule(RiskRule):
    """See `MaxOrderQty`."""

    kernels = RuleKernels(allow="bt_plugins.risk.max_order_qty._kernels:allow")

    def __init__(self, config: MaxOrderQty) -> None:
        super().__init__(config)
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the limit of each instrument."""
        limits = per_instrument(self._config.limit_qty, self._config.by_symbol, instruments)
        return params_record(self._config, limits=limits)


def build(config: MaxOrderQty) -> MaxOrderQtyRule:
    """Return the rule."""
    return MaxOrderQtyRule(config)
