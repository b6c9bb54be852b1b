"""A volatility per instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.rules import Sizing, variance_state
from bt_framework.engine.strategy import numbers_record, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class VolatilityTarget(ComponentConfig):
    """One unit has a target volatility, as a part of the equity: the more a price moves, the less of it."""

    name: str = param("volatility_target", "registry name")
    target_frac: float = param(0.2, "standard deviation of a unit's profit over period_ns / equity")
    period_ns: Duration = param("365d", "what target_frac is for; 1d for a daily volatility", unit="ns")
    sample_ns: Duration = param("1s", "time between the mids whose log-returns count", unit="ns")
    half_life_ns: Duration = param("10min", "age at which a squared return counts half", unit="ns")
    warmup_samples: int = param(30, "returns before the first size", unit="samples")
    max_equity_frac: float = param(1.0, "largest value of a unit / equity, however calm the price")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in (
            "target_frac",
            "period_ns",
            "sample_ns",
            "half_life_ns",
            "warmup_samples",
            "max_equity_frac",
        ):
            if not 0 < getattr(self, key) < float("inf"):
                raise ConfigError(f"{key} must be > 0 and finite, was {getattr(self, key)}.")


class VolatilityTargetSizing(Sizing):
    """See `VolatilityTarget`."""

    kernel = "bt_plugins.sizing.volatility_target._kernels:unit_qty"

    def __init__(self, config: VolatilityTarget) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the averages of each instrument, shape (n_instruments,): no returns yet."""
        return numbers_record(variance_state(len(instruments)))


def build(config: VolatilityTarget) -> VolatilityTargetSizing:
    """Return the sizing."""
    return VolatilityTargetSizing(config)
