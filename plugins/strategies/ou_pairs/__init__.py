"""Statistical arbitrage of two instruments: Kalman hedge ratio, Ornstein-Uhlenbeck spread, thresholds in z.

The first instrument is y, the second x; prices are logarithms relative to the first sample. The spread is
y - hedge_ratio * x with the hedge ratio of the last re-estimation; z is its distance from the OU mean in stationary
deviations. z above ``entry_z``: the spread is rich, sell the first leg and buy the second; below ``-entry_z`` the
reverse. Out when z comes back within ``exit_z``, goes beyond ``stop_z``, or has taken ``time_stop_half_lives``; after
a stop not in again before z has been back. With ``thresholds=bertram`` or ``leung_li``, entry and exit are the optimal
ones of the last fit; the exit is beyond the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.config.schema import param
from bt_framework.engine.legs import LegsConfig, PriceKind
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument

if TYPE_CHECKING:
    from bt_plugins.strategies.ou_pairs._stored import Stored


class ThresholdMethod(Enum):
    """Where entry and exit come from."""

    z = "z"
    bertram = "bertram"
    leung_li = "leung_li"


class Estimator(Enum):
    """How the Ornstein-Uhlenbeck process is estimated."""

    ml = "ml"
    unbiased = "unbiased"


class WarmStart(Enum):
    """Whether parameters that were stored earlier are gone on from."""

    none = "none"
    stored = "stored"


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
    estimator: Estimator = param(Estimator.ml, "ml, or unbiased: less the first-order bias of theta")
    thresholds: ThresholdMethod = param(
        ThresholdMethod.z, "z (entry_z and exit_z), or by the fit: bertram, leung_li"
    )
    entry_z: float = param(2.0, "enter beyond this", unit="stationary sd")
    exit_z: float = param(0.5, "leave within this", unit="stationary sd")
    cost_bps: float = param(
        10.0, "for bertram and leung_li: cost of a round trip in both legs", unit="bps of the first leg"
    )
    discount_rate: float = param(0.05, "for leung_li: what later gains are worth less", unit="1/year")
    stop_z: float = param(5.0, "give up beyond this", unit="stationary sd")
    time_stop_half_lives: float = param(
        0.0, "give up after this time; 0: never", unit="half-lives as estimated at the entry"
    )
    warm_start: WarmStart = param(
        WarmStart.none, "none, or stored: go on from what bt screen has stored of the pair before the start"
    )
    stored_source: str = param("", "source of bars of the stored parameters; empty: any")

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
        if self.thresholds is not ThresholdMethod.z:
            for key in ("cost_bps", "discount_rate", "stop_z"):
                if not 0 < getattr(self, key) < float("inf"):
                    raise ConfigError(f"{key} must be > 0 and finite, was {getattr(self, key)}.")
        elif not self.exit_z < self.entry_z < self.stop_z:
            raise ConfigError(
                f"levels must be exit_z < entry_z < stop_z, were {self.exit_z}, {self.entry_z}, {self.stop_z}."
            )


class OuPairsStrategy(Strategy):
    """See `OuPairs`."""

    instruments = 2

    def __init__(self, config: OuPairs) -> None:
        self._config = config
        self._stored: Stored | None = None
        self._path: Mapping[str, np.ndarray] | None = None
        self.timer_ns = int(config.sample_ns)
        wake = "on_timer" if self.timer_ns else "on_book"
        plain = config.thresholds is ThresholdMethod.z and config.estimator is Estimator.ml
        kernel = f"bt_plugins.strategies.ou_pairs._kernels:{wake}{'' if plain else '_optimal'}"
        self.kernels = Kernels(**{wake: kernel})

    def load(self, store_dir: Path, symbols: Sequence[str], start_ts: int) -> Mapping[str, Any]:
        """Take the pair's newest parameters, if that is wanted; the path of the estimates, if others want it too."""
        if self._config.warm_start is WarmStart.none:
            self._path = self._shared_path()
            return {}
        from bt_plugins.strategies.ou_pairs._stored import stored_parameters

        self._stored = stored_parameters(
            self._config, store_dir, symbols, start_ts, min(self.data_starts_ts, default=start_ts)
        )
        return self._stored.taken

    def _shared_path(self) -> Mapping[str, np.ndarray] | None:
        config = self._config
        plain = config.thresholds is ThresholdMethod.z and config.estimator is Estimator.ml
        if self.features is None or not (self.features.shared and plain and self.timer_ns):
            return None
        if config.price is not PriceKind.mid:
            return None
        from bt_plugins.strategies.ou_pairs._path import path_of

        return path_of(config, self.features)

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers, those of the filter as stored if they were."""
        return params_record(self._config, **(self._stored.params if self._stored else {}))

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the filter and the position as they are before the first sample."""
        from bt_framework.records import record
        from bt_plugins.strategies.ou_pairs._kernels import STATE

        levels = {key: getattr(self._config, key) for key in ("entry_z", "exit_z", "stop_z")}
        state = record(STATE, **levels)
        if self._stored:
            self._stored.fill(state)
        if self._path is not None:
            state.path_samples = int(self._path["samples"][0])
        return state

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray:
        """Return ring buffers of x and y, and of the samples' times where they vary, shape (2 or 3, window).

        With a path, it lies behind the first two.
        """
        if self._path is not None:
            return self._path["work"]
        return np.zeros((2 if self.timer_ns else 3, self._config.window))


def build(config: OuPairs) -> OuPairsStrategy:
    """Return the strategy."""
    return OuPairsStrategy(config)
