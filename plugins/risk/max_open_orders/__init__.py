"""Limit on the number of working orders, of all instruments and of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.rules import RiskRule, RiskRuleConfig, RuleKernels, check_limits, per_instrument
from bt_framework.engine.strategy import params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class MaxOpenOrders(RiskRuleConfig):
    """Refuse new orders while as many are working as may be."""

    name: str = param("max_open_orders", "registry name")
    limit_orders: int = param(100, "most working orders of all instruments together", unit="orders")
    limit_per_instrument: int = param(20, "most working orders of an instrument", unit="orders")
    by_symbol: dict[str, int] = param({}, "limits of single instruments", unit="orders")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not self.limit_orders > 0:
            raise ConfigError(f"limit_orders must be > 0, was {self.limit_orders}.")
        check_limits("limit_per_instrument", self.limit_per_instrument, self.by_symbol)


class MaxOpenOrdersRule(RiskRule):
    """See `MaxOpenOrders`."""

    kernels = RuleKernels(allow="bt_plugins.risk.max_open_orders._kernels:allow")

    def __init__(self, config: MaxOpenOrders) -> None:
        super().__init__(config)
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the limits: of all instruments, and of each."""
        limits = per_instrument(self._config.limit_per_instrument, self._config.by_symbol, instruments)
        return params_record(self._config, limits=limits)


def build(config: MaxOpenOrders) -> MaxOpenOrdersRule:
    """Return the rule."""
    return MaxOpenOrdersRule(config)
