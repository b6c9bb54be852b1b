"""The size at which the account grows fastest, or a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.rules import Sizing
from bt_framework.engine.strategy import numbers_record, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class Kelly(ComponentConfig):
    """One unit is a part of what the Kelly criterion gives: mean / variance of a unit's profit, times the equity."""

    name: str = param("kelly", "registry name")
    fraction: float = param(0.5, "part of mean / variance that is used; 0.5 is half Kelly")
    max_equity_frac: float = param(0.2, "largest value of a unit / equity, however good the edge")
    mean_frac: float = param(0.0, "mean profit of a unit / its value; 0: from the account's own profits")
    sd_frac: float = param(0.0, "its standard deviation over the same period; 0: from the account")
    sample_ns: Duration = param("1min", "time between the account's values whose changes count", unit="ns")
    half_life_ns: Duration = param("1d", "age at which a change counts half", unit="ns")
    warmup_samples: int = param(100, "changes before they decide", unit="samples")
    start_frac: float = param(0.05, "value of a unit / equity before")
    min_frac: float = param(0.0, "least value of a unit / equity after; 0: a mean <= 0 ends trading for good")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("max_equity_frac", "sample_ns", "half_life_ns", "warmup_samples", "start_frac"):
            if not 0 < getattr(self, key) < float("inf"):
                raise ConfigError(f"{key} must be > 0 and finite, was {getattr(self, key)}.")
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"fraction must be > 0 and <= 1, was {self.fraction}.")
        if not 0 <= self.min_frac <= self.max_equity_frac:
            raise ConfigError(
                f"min_frac must be >= 0 and <= max_equity_frac ({self.max_equity_frac}), was {self.min_frac}."
            )
        for key, other in (("mean_frac", "sd_frac"), ("sd_frac", "mean_frac")):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ConfigError(f"{key} must be >= 0 and finite, was {getattr(self, key)}.")
            if getattr(self, key) == 0 < getattr(self, other):
                raise ConfigError(f"{key} must be > 0 where {other} is, was 0. Set both, or neither.")


class KellySizing(Sizing):
    """See `Kelly`."""

    kernel = "bt_plugins.sizing.kelly._kernels:unit_qty"

    def __init__(self, config: Kelly) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return what is known of the account: nothing yet."""
        numbers = ("last_equity", "unit_value", "weight", "mean_frac", "variance")
        return numbers_record({"last_ts": 0, "samples": 0, **dict.fromkeys(numbers, 0.0)})


def build(config: Kelly) -> KellySizing:
    """Return the sizing."""
    return KellySizing(config)
