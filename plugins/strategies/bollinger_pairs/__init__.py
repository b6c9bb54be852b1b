"""Bollinger bands around the spread of two instruments, hedged by a fixed, a regressed or a filtered ratio.

The first instrument is y, the second x; the spread is y - hedge_ratio * x. With ``hedge=fixed`` and ``ols``, z is the
spread's distance from its mean over ``window`` samples in their standard deviations, all with the hedge ratio of now.
With ``hedge=kalman``, z is the filter's innovation over its standard deviation: what y is more than predicted before it
was seen. Beyond ``entry_z`` the spread is sold (bought below), reversed if need be; out when z is within ``exit_z``.

References
----------
Chan, E. P. (2013). Algorithmic Trading. Wiley. Examples 3.2 (Bollinger bands, rolling regression) and 3.3 (Kalman
filter as dynamic regression).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from bt_framework.config.schema import Duration, param
from bt_framework.engine.legs import Execution, LegsConfig
from bt_framework.engine.strategy import Kernels, Strategy, params_record, timer_of
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


class Hedge(Enum):
    """Where the hedge ratio comes from."""

    fixed = "fixed"
    ols = "ols"
    kalman = "kalman"


@dataclass
class BollingerPairs(LegsConfig):
    """Trade the spread of two instruments between Bollinger bands; hedge ratio fixed, regressed or filtered."""

    name: str = param("bollinger_pairs", "registry name")
    sample_ns: Duration = param(
        0, "time between samples of the prices; 0: whenever both have been updated, as bars are", unit="ns"
    )
    execution: Execution = param(Execution.taker, "maker (post-only at the touch, re-quoted) or taker")
    hedge: Hedge = param(Hedge.ols, "fixed, ols (rolling regression) or kalman")
    hedge_ratio: float = param(0.0, "the fixed ratio, or where the filter begins", unit="y per x")
    hedge_window: int = param(20, "samples in the regression", unit="samples")
    hedge_sample_ns: Duration = param(
        0, "time between samples of the regression, a multiple of sample_ns; 0: every sample", unit="ns"
    )
    drift: float = param(1e-4, "delta of the filter: it forgets delta / (1 - delta) per sample")
    observation_variance: float = param(1e-3, "noise of the filter's observations", unit="price squared")
    log_prices: bool = param(False, "logarithms of prices instead of prices")
    window: int = param(20, "samples in mean and deviation of the spread", unit="samples")
    warmup: int = param(50, "samples before the first entry", unit="samples")
    entry_z: float = param(1.0, "enter beyond this", unit="sd")
    exit_z: float = param(0.0, "leave within this; as large as entry_z: as soon as it is back", unit="sd")
    stop_z: float = param(0.0, "give up beyond this; 0: never", unit="sd")
    rebalance: bool = param(False, "let the second leg follow the hedge ratio while a position is held")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key, least in (("window", 3), ("hedge_window", 3), ("warmup", 1)):
            if getattr(self, key) < least:
                raise ConfigError(f"{key} must be >= {least} samples, was {getattr(self, key)}.")
        if not 0 < self.drift < 1:
            raise ConfigError(f"drift must be > 0 and < 1, was {self.drift}.")
        if not 0 < self.observation_variance < float("inf"):
            raise ConfigError(
                f"observation_variance must be > 0 and finite, was {self.observation_variance}."
            )
        if not abs(self.hedge_ratio) < float("inf"):
            raise ConfigError(f"hedge_ratio must be finite, was {self.hedge_ratio}.")
        if self.hedge is Hedge.fixed and self.hedge_ratio == 0:
            raise ConfigError("hedge_ratio must not be 0 with hedge=fixed. Give the units of y per x.")
        if self.hedge_sample_ns and self.hedge is not Hedge.ols:
            raise ConfigError(
                f"hedge_sample_ns must be 0 with hedge={self.hedge.name}: only ols samples apart."
            )
        if self.hedge_sample_ns and self.hedge_sample_ns < self.sample_ns:
            raise ConfigError(
                f"hedge_sample_ns must be >= sample_ns ({self.sample_ns}), was {self.hedge_sample_ns}."
            )
        if not 0 <= self.exit_z <= self.entry_z or not 0 < self.entry_z < float("inf"):
            raise ConfigError(
                f"thresholds must be 0 <= exit_z <= entry_z, were {self.exit_z} and {self.entry_z}."
            )
        if not (self.stop_z == 0 or self.stop_z > self.entry_z):
            raise ConfigError(f"stop_z must be 0 or > entry_z ({self.entry_z}), was {self.stop_z}.")


class BollingerPairsStrategy(Strategy):
    """See `BollingerPairs`."""

    instruments = 2

    def __init__(self, config: BollingerPairs) -> None:
        self._config = config
        wake = "on_timer" if config.sample_ns else "on_book"
        way = "filter" if config.hedge is Hedge.kalman else "rolling"
        kernel = f"bt_plugins.strategies.bollinger_pairs._kernels:{wake}_{way}"
        self.kernels = Kernels(**{wake: kernel})
        if config.sample_ns:
            self.timer_ns = timer_of(int(config.sample_ns), int(config.hedge_sample_ns or config.sample_ns))

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the estimates and the position as they are before the first sample."""
        from bt_framework.records import record
        from bt_plugins.strategies.bollinger_pairs._kernels import STATE

        ratio = self._config.hedge_ratio
        fitted = self._config.hedge is Hedge.fixed
        state = record(STATE, armed=1, fitted=fitted, hedge_ratio=ratio, half_life_s=np.nan)
        state.kalman.hedge_ratio = ratio
        return state

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray:
        """Return ring buffers of y and x, and of y and x as regressed, shape (4, longest window)."""
        return np.zeros((4, max(self._config.window, self._config.hedge_window)))


def build(config: BollingerPairs) -> BollingerPairsStrategy:
    """Return the strategy."""
    return BollingerPairsStrategy(config)
