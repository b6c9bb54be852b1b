"""A fixed value per instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.rules import Sizing, check_limits, per_instrument
from bt_framework.engine.strategy import params_record
from bt_framework.results.run import Instrument


@dataclass
class FixedNotional(ComponentConfig):
    """One unit is what a fixed value buys at mid."""

    name: str = param("fixed_notional", "registry name")
    notional: float = param(10_000.0, "value of one unit", unit="quote currency")
    by_symbol: dict[str, float] = param({}, "values of single instruments", unit="quote currency")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_limits("notional", self.notional, self.by_symbol)


class FixedNotionalSizing(Sizing):
    """See `FixedNotional`."""

    kernel = "bt_plugins.sizing.fixed_notional._kernels:unit_qty"

    def __init__(self, config: FixedNotional) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the value of each instrument."""
        units = per_instrument(self._config.notional, self._config.by_symbol, instruments)
        return params_record(self._config, units=units)


def build(config: FixedNotional) -> FixedNotionalSizing:
    """Return the sizing."""
    return FixedNotionalSizing(config)
