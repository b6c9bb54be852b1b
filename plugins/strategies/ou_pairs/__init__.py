"""Statistical arbitrage of two instruments: Kalman hedge ratio, Ornstein-Uhlenbeck spread, z-score thresholds.

The first instrument is y, the second x; prices are logarithms relative to the first sample. The spread is
y - hedge_ratio * x with the hedge ratio of the last re-estimation; z is its distance from the OU mean in stationary
deviations. z above ``entry_z``: the spread is rich, sell the first leg and buy the second; below ``-entry_z`` the
reverse. Out when z comes back within ``exit_z``, goes beyond ``stop_z``, or has taken ``time_stop_half_lives``; after
a stop not in again before z has been back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.legs import LegsConfig
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class OuPairs(LegsConfig):
    """Trade the mean-reverting spread of two instruments, hedge ratio by Kalman filter, thresholds in z."""

    name: str = param("ou_pairs", "registry name")
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
    time_stop_half_lives: float = param(
        0.0, "give up after this time; 0: never", unit="half-lives as estimated at the entry"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("reestimate_every", "observation_sd", "entry_z"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"{key} must be > 0, was {getattr(self, key)}.")
        at_least_0 = ("exit_z", "hedge_ratio_prior_sd", "intercept_prior_sd", "time_stop_half_lives")
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

    instruments = 2

    def __init__(self, config: OuPairs) -> None:
        self._config = config
        self.timer_ns = int(config.sample_ns)
        module = "bt_plugins.strategies.ou_pairs._kernels"
        self.kernels = (
            Kernels(on_timer=f"{module}:on_timer") if self.timer_ns else Kernels(on_book=f"{module}:on_book")
        )

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the filter and the position as they are before the first sample."""
        from bt_framework.records import record
        from bt_plugins.strategies.ou_pairs._kernels import STATE

        levels = {key: getattr(self._config, key) for key in ("entry_z", "exit_z", "stop_z")}
        return record(STATE, **levels)

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray:
        """Return ring buffers of x and y, and of the samples' times where they vary, shape (2 or 3, window)."""
        return np.zeros((2 if self.timer_ns else 3, self._config.window))


def build(config: OuPairs) -> OuPairsStrategy:
    """Return the strategy."""
    return OuPairsStrategy(config)
