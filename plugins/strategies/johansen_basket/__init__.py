"""A basket of several instruments whose weighted sum reverts: weights by Johansen's test, or given.

The spread is the sum of weight x price (or log price); z is its distance from its mean over ``window`` samples in their
standard deviations. With ``trading=linear`` the position is -z units of the basket, at most ``max_units``; with
``bands`` it is one unit between ``entry_z`` and ``exit_z``. One unit holds what the sizing rule gives of the first
instrument, and of the others as much as their weights say.

References
----------
Chan, E. P. (2013). Algorithmic Trading. Wiley. Example 2.8 (linear mean reversion of a portfolio by Johansen's test,
with the half-life as look-back).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.config.schema import Duration, param
from bt_framework.engine.legs import Execution, LegsConfig
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument

if TYPE_CHECKING:
    from bt_plugins.strategies.johansen_basket._training import Trained


class Trading(Enum):
    """How a z-score becomes a position."""

    linear = "linear"
    bands = "bands"


@dataclass
class JohansenBasket(LegsConfig):
    """Trade a mean-reverting basket of two or more instruments; weights by Johansen's test, or given."""

    name: str = param("johansen_basket", "registry name")
    sample_ns: Duration = param(
        0, "time between samples of the prices; 0: whenever all have been updated, as bars are", unit="ns"
    )
    execution: Execution = param(Execution.taker, "maker (post-only at the touch, re-quoted) or taker")
    weights: list[float] = param(
        [], "of the instruments in the data's order; empty: Johansen's first eigenvector of earlier bars"
    )
    train_source: str = param("", "source in the bar store of those earlier bars")
    train_bars: int = param(500, "how many of them, the last ones before the start", unit="bars")
    log_prices: bool = param(False, "logarithms of prices instead of prices")
    window: int = param(
        0, "samples in mean and deviation; 0: the half-life in the earlier bars", unit="samples"
    )
    trading: Trading = param(Trading.linear, "linear (-z units) or bands (one unit)")
    max_units: float = param(3.0, "linear: position at most", unit="units of sizing")
    min_change_units: float = param(0.0, "linear: smaller changes are left", unit="units of sizing")
    entry_z: float = param(1.0, "bands: enter beyond this", unit="sd")
    exit_z: float = param(0.0, "bands: leave within this", unit="sd")
    stop_z: float = param(0.0, "bands: give up beyond this; 0: never", unit="sd")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.weights and (len(self.weights) < 2 or not all(isfinite(w) and w != 0 for w in self.weights)):
            raise ConfigError(f"weights must be two or more finite numbers other than 0, was {self.weights}.")
        if self.weights and self.window == 0:
            raise ConfigError("window must be given with weights, was 0: there is no half-life to take.")
        if self.window != 0 and self.window < 3:
            raise ConfigError(f"window must be 0 or >= 3 samples, was {self.window}.")
        if self.train_bars < 20:
            raise ConfigError(f"train_bars must be >= 20, was {self.train_bars}.")
        if not 0 < self.max_units < float("inf"):
            raise ConfigError(f"max_units must be > 0 and finite, was {self.max_units}.")
        if not 0 <= self.min_change_units <= self.max_units:
            raise ConfigError(f"min_change_units must be from 0 to max_units, was {self.min_change_units}.")
        if not 0 <= self.exit_z <= self.entry_z or not 0 < self.entry_z < float("inf"):
            raise ConfigError(
                f"thresholds must be 0 <= exit_z <= entry_z, were {self.exit_z} and {self.entry_z}."
            )
        if not (self.stop_z == 0 or self.stop_z > self.entry_z):
            raise ConfigError(f"stop_z must be 0 or > entry_z ({self.entry_z}), was {self.stop_z}.")


class JohansenBasketStrategy(Strategy):
    """See `JohansenBasket`."""

    def __init__(self, config: JohansenBasket) -> None:
        self._config = config
        self._trained: Trained | None = None
        self.instruments = len(config.weights) or None
        self.timer_ns = int(config.sample_ns)
        wake = "on_timer" if self.timer_ns else "on_book"
        self.kernels = Kernels(**{wake: f"bt_plugins.strategies.johansen_basket._kernels:{wake}"})

    def load(self, store_dir: Path, symbols: Sequence[str], start_ts: int) -> Mapping[str, Any]:
        """Estimate weights and half-life from the bars that had closed before the run, if no weights are given."""
        if self._config.weights:
            return {}
        from bt_plugins.strategies.johansen_basket._training import train

        self._trained = train(self._config, store_dir, symbols, start_ts, self.data_starts_ts)
        return self._trained.taken

    @property
    def _window(self) -> int:
        if self._config.window == 0 and self._trained:
            return self._trained.window
        return self._config.window or 3

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers and the weights."""
        weights = self._trained.weights if self._trained else self._config.weights or [1.0] * len(instruments)
        return params_record(self._config, weights=np.asarray(weights, np.float64), window=self._window)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the position as it is before the first sample."""
        from bt_framework.records import record
        from bt_plugins.strategies.johansen_basket._kernels import state_dtype

        half_life_s = self._trained.half_life_s if self._trained else np.nan
        dtype = state_dtype(len(instruments))
        return record(dtype, armed=1, hedge_ratio=np.nan, half_life_s=half_life_s)

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray:
        """Return the ring buffer of spreads, shape (1, window)."""
        return np.zeros((1, self._window))


def build(config: JohansenBasket) -> JohansenBasketStrategy:
    """Return the strategy."""
    return JohansenBasketStrategy(config)
