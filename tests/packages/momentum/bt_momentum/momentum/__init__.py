"""Follow the sign of a fast average of the price against a slow one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument


@dataclass
class Momentum(ComponentConfig):
    """Hold one unit in the direction of a fast average of mid against a slow one."""

    name: str = param("momentum", "registry name")
    sample_ns: Duration = param("100ms", "time between samples of mid", unit="ns")
    fast_samples: float = param(20.0, "span of the fast average", unit="samples")
    slow_samples: float = param(100.0, "span of the slow average", unit="samples")
    threshold_bps: float = param(1.0, "no position while the averages are closer than this", unit="bps")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.sample_ns <= 0:
            raise ConfigError(f"sample_ns must be > 0, was {self.sample_ns}.")
        if not 1 <= self.fast_samples < self.slow_samples:
            raise ConfigError(
                f"fast_samples must be >= 1 and < slow_samples ({self.slow_samples}), was {self.fast_samples}."
            )


class MomentumStrategy(Strategy):
    """See `Momentum`."""

    kernels = Kernels(on_timer="bt_momentum.momentum._kernels:on_timer")

    def __init__(self, config: Momentum) -> None:
        self._config = config
        self.timer_ns = int(config.sample_ns)

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return a counter of samples."""
        return np.zeros(1, np.dtype([("samples", "i8")])).view(np.recarray)[0]

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray:
        """Return the averages: fast and slow of each instrument."""
        return np.zeros((len(instruments), 2))


def build(config: Momentum) -> MomentumStrategy:
    """Return the strategy."""
    return MomentumStrategy(config)
