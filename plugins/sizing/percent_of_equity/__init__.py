"""A part of the equity per instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.rules import Sizing
from bt_framework.engine.strategy import params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class PercentOfEquity(ComponentConfig):
    """One unit is what a part of the equity buys at mid."""

    name: str = param("percent_of_equity", "registry name")
    equity_frac: float = param(0.1, "value of one unit / equity")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 0 < self.equity_frac < float("inf"):
            raise ConfigError(f"equity_frac must be > 0 and finite, was {self.equity_frac}.")


class PercentOfEquitySizing(Sizing):
    """See `PercentOfEquity`."""

    kernel = "bt_plugins.sizing.percent_of_equity._kernels:unit_qty"

    def __init__(self, config: PercentOfEquity) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)


def build(config: PercentOfEquity) -> PercentOfEquitySizing:
    """Return the sizing."""
    return PercentOfEquitySizing(config)
