"""A fixed quantity per instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.rules import Sizing, check_limits, per_instrument
from bt_framework.engine.strategy import params_record
from bt_framework.results.run import Instrument


@dataclass
class FixedQty(ComponentConfig):
    """One unit is a fixed quantity."""

    name: str = param("fixed_qty", "registry name")
    qty: float = param(0.1, "quantity of one unit", unit="base units")
    by_symbol: dict[str, float] = param({}, "quantitys of single instruments", unit="base units")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_limits("qty", self.qty, self.by_symbol)


class FixedQtySizing(Sizing):
    """See `FixedQty`."""

    kernel = "bt_plugins.sizing.fixed_qty._kernels:unit_qty"

    def __init__(self, config: FixedQty) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the quantity of each instrument."""
        units = per_instrument(self._config.qty, self._config.by_symbol, instruments)
        return params_record(self._config, units=units)


def build(config: FixedQty) -> FixedQtySizing:
    """Return the sizing."""
    return FixedQtySizing(config)
