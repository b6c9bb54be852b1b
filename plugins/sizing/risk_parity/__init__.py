"""Equal risk from instruments that move differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.rules import Sizing, check_limits, per_instrument, variance_state
from bt_framework.engine.strategy import numbers_record, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class RiskParity(ComponentConfig):
    """The units of all instruments share the equity so that each bears its part of the risk."""

    name: str = param("risk_parity", "registry name")
    gross_frac: float = param(0.2, "value of one unit of every instrument together / equity")
    budget: float = param(1.0, "part of the risk that an instrument bears, relative to the others")
    by_symbol: dict[str, float] = param({}, "budgets of single instruments")
    sample_ns: Duration = param("1s", "time between the mids whose log-returns count", unit="ns")
    half_life_ns: Duration = param("10min", "age at which a squared return counts half", unit="ns")
    warmup_samples: int = param(30, "returns of every instrument before the first size", unit="samples")
    max_equity_frac: float = param(1.0, "largest value of a unit / equity, however calm the price")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_limits("budget", self.budget, self.by_symbol)
        for key in ("gross_frac", "sample_ns", "half_life_ns", "warmup_samples", "max_equity_frac"):
            if not 0 < getattr(self, key) < float("inf"):
                raise ConfigError(f"{key} must be > 0 and finite, was {getattr(self, key)}.")


class RiskParitySizing(Sizing):
    """See `RiskParity`."""

    kernel = "bt_plugins.sizing.risk_parity._kernels:unit_qty"

    def __init__(self, config: RiskParity) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers, with the budget of each instrument."""
        budgets = per_instrument(self._config.budget, self._config.by_symbol, instruments)
        return params_record(self._config, budget=budgets)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the averages of each instrument, shape (n_instruments,), and when mids were last seen."""
        return numbers_record({**variance_state(len(instruments)), "seen_ts": 0})


def build(config: RiskParity) -> RiskParitySizing:
    """Return the sizing."""
    return RiskParitySizing(config)
