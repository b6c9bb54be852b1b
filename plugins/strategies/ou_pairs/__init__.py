"""Statistical arbitrage of two instruments: Kalman hedge ratio, Ornstein-Uhlenbeck spread, z-score thresholds.

The first instrument is y, the second x; prices are logarithms relative to the first sample. The spread is
y - hedge_ratio * x with the hedge ratio of the last re-estimation; z is its distance from the OU mean in stationary
deviations. z above ``entry_z``: the spread is rich, sell the first leg and buy the second; below ``-entry_z`` the
reverse. Out when z comes back within ``exit_z``, or goes beyond ``stop_z``; after a stop not in again before z has
been back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


class PriceKind(Enum):
    """Which price is sampled."""

    mid = "mid"
    micro = "micro"


class Execution(Enum):
    """How legs are traded. Stops and the flattening at the end always take."""

    maker = "maker"
    taker = "taker"


@dataclass
class OuPairs(ComponentConfig):
    """Trade the mean-reverting spread of two instruments, hedge ratio by Kalman filter, thresholds in z."""

    name: str = param("ou_pairs", "registry name")
    sample_ns: Duration = param("100ms", "time between samples of the prices", unit="ns")
    price: PriceKind = param(PriceKind.mid, "price that is sampled: mid or micro")
    window: int = param(600, "samples in the rolling OU estimation", unit="samples")
    warmup: int = param(600, "samples before the first entry", unit="samples")
    reestimate_every: int = param(10, "samples between OU estimations", unit="samples")
    hedge_ratio_prior: float = param(1.0, "prior mean of the hedge ratio")
    hedge_ratio_prior_sd: float = param(1.0, "prior standard deviation of the hedge ratio")
    intercept_prior_sd: float = param(0.001, "prior standard deviation of the intercept", unit="log price")
    hedge_ratio_drift_sd: float = param(1e-5, "drift of the hedge ratio per sample")
    intercept_drift_sd: float = param(1e-7, "drift of the intercept per sample", unit="log price")
    observation_sd: float = param(1e-4, "noise of an observation", unit="log price")
    entry_z: float = param(2.0, "enter beyond this", unit="stationary sd")
    exit_z: float = param(0.5, "leave within this", unit="stationary sd")
    stop_z: float = param(5.0, "give up beyond this", unit="stationary sd")
    execution: Execution = param(Execution.maker, "maker (post-only at the touch, re-quoted) or taker")
    chase_after_ns: Duration = param("2s", "take with the leg that lags when the other has filled", unit="ns")
    flat_at_end: bool = param(True, "close the position before the end")
    flatten_before_ns: Duration = param("5s", "how long before the end", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("sample_ns", "reestimate_every", "observation_sd", "entry_z"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"{key} must be > 0, was {getattr(self, key)}.")
        at_least_0 = (
            "chase_after_ns",
            "flatten_before_ns",
            "exit_z",
            "hedge_ratio_prior_sd",
            "intercept_prior_sd",
        )
        for key in (*at_least_0, "hedge_ratio_drift_sd", "intercept_drift_sd"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} must be >= 0, was {getattr(self, key)}.")
        if self.window < 10:
            raise ConfigError(f"window must be >= 10 samples, was {self.window}.")
        if self.warmup < self.window:
            raise ConfigError(f"warmup must be >= window ({self.window}), was {self.warmup}.")
        if not self.exit_z < self.entry_z < self.stop_z:
            raise ConfigError(
                f"thresholds must be exit_z < entry_z < stop_z, were {self.exit_z}, {self.entry_z}, {self.stop_z}."
            )


class OuPairsStrategy(Strategy):
    """See `OuPairs`."""

    kernels = Kernels(on_timer="bt_plugins.strategies.ou_pairs._kernels:on_timer")
    instruments = 2

    def __init__(self, config: OuPairs) -> None:
        self._config = config
        self.timer_ns = int(config.sample_ns)

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the filter and the position as they are before the first sample."""
        from bt_plugins.strategies.ou_pairs._kernels import STATE

        return np.zeros(1, STATE).view(np.recarray)[0]  # type: ignore[no-any-return]

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray:
        """Return ring buffers of x and y, shape (2, window)."""
        return np.zeros((2, self._config.window))


def build(config: OuPairs) -> OuPairsStrategy:
    """Return the strategy."""
    return OuPairsStrategy(config)
