"""A risk per instrument, by the average true range."""

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
class Atr(ComponentConfig):
    """One unit loses a part of the equity when the price moves by a multiple of its average true range."""

    name: str = param("atr", "registry name")
    risk_frac: float = param(0.01, "loss of a unit at a move of atr_multiple / equity")
    atr_multiple: float = param(2.0, "move that counts, as of a stop", unit="average true ranges")
    bar_ns: Duration = param("1min", "length of the bars that are built from mids", unit="ns")
    bars: int = param(14, "bars of the average, and of its warm-up", unit="bars")
    max_equity_frac: float = param(1.0, "largest value of a unit / equity, however calm the price")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("risk_frac", "atr_multiple", "bar_ns", "bars", "max_equity_frac"):
            if not 0 < getattr(self, key) < float("inf"):
                raise ConfigError(f"{key} must be > 0 and finite, was {getattr(self, key)}.")


class AtrSizing(Sizing):
    """See `Atr`."""

    kernel = "bt_plugins.sizing.atr._kernels:unit_qty"

    def __init__(self, config: Atr) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers."""
        return params_record(self._config)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the bar under way and the average of each instrument, shape (n_instruments,): none yet."""
        zeros = np.zeros(len(instruments))
        return numbers_record(
            {
                "bar": zeros.astype(np.int64),
                "high_px": zeros,
                "low_px": zeros,
                "last_px": zeros,
                "close_px": zeros,
                "atr_px": zeros,
                "closed_bars": zeros,
            }
        )


def build(config: Atr) -> AtrSizing:
    """Return the sizing."""
    return AtrSizing(config)
