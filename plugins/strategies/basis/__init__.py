"""Spot against future: the basis is traded between bands, both legs with the same base quantity.

The first instrument is the spot, the second the future. The basis is (future / spot - 1) in bps, per year until
``expiry`` if ``annualised``. More than ``entry_bps`` above ``fair_bps`` the future is rich: buy the spot, sell the
future (cash and carry); out when it is within ``exit_bps``. The reverse, which sells the spot, is traded with
``short_spot`` only. In a signal, z is fair less actual basis in bps, and spread the basis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.config.schema import Duration, param
from bt_framework.config.settings import parse_time_ns
from bt_framework.engine.legs import Execution, LegsConfig
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument

_NEVER_TS = 2**62


@dataclass
class Basis(LegsConfig):
    """Trade the basis of a future against its spot between bands; cash and carry, and the reverse if asked for."""

    name: str = param("basis", "registry name")
    sample_ns: Duration = param(
        0, "time between samples of the prices; 0: whenever both have been updated, as bars are", unit="ns"
    )
    execution: Execution = param(Execution.taker, "maker (post-only at the touch, re-quoted) or taker")
    expiry: str | None = param(None, "when the future expires, ISO-8601; null: never, as perpetuals")
    annualised: bool = param(False, "basis per year until the expiry instead of as it is")
    close_before_ns: Duration = param("1d", "how long before the expiry the position is closed", unit="ns")
    fair_bps: float = param(0.0, "basis that is neither rich nor cheap: the cost of carry", unit="bps")
    entry_bps: float = param(30.0, "enter beyond this distance from fair_bps", unit="bps")
    exit_bps: float = param(5.0, "leave within this", unit="bps")
    stop_bps: float = param(0.0, "give up beyond this; 0: never", unit="bps")
    short_spot: bool = param(False, "also sell the spot and buy the future where the basis is cheap")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 0 <= self.exit_bps <= self.entry_bps or not 0 < self.entry_bps < float("inf"):
            raise ConfigError(
                f"bands must be 0 <= exit_bps <= entry_bps, were {self.exit_bps} and {self.entry_bps}."
            )
        if not (self.stop_bps == 0 or self.stop_bps > self.entry_bps):
            raise ConfigError(f"stop_bps must be 0 or > entry_bps ({self.entry_bps}), was {self.stop_bps}.")
        if not abs(self.fair_bps) < float("inf"):
            raise ConfigError(f"fair_bps must be finite, was {self.fair_bps}.")
        if self.close_before_ns < 0:
            raise ConfigError(f"close_before_ns must be >= 0, was {self.close_before_ns}.")
        if self.annualised and self.expiry is None:
            raise ConfigError("expiry must be given with annualised=true, was null. Write an ISO-8601 time.")
        if self.annualised and self.close_before_ns == 0:
            raise ConfigError(
                "close_before_ns must be > 0 with annualised=true: nothing is left at the expiry."
            )
        if self.expiry is not None:
            parse_time_ns(self.expiry, "expiry")


class BasisStrategy(Strategy):
    """See `Basis`."""

    instruments = 2

    def __init__(self, config: Basis) -> None:
        self._config = config
        self.timer_ns = int(config.sample_ns)
        wake = "on_timer" if self.timer_ns else "on_book"
        self.kernels = Kernels(**{wake: f"bt_plugins.strategies.basis._kernels:{wake}"})
        self._expiry_ts = _NEVER_TS if config.expiry is None else parse_time_ns(config.expiry, "expiry")

    def load(self, store_dir: Path, symbols: Sequence[str], start_ts: int) -> Mapping[str, Any]:
        """Refuse a future that cannot be traded any more; nothing is taken from the stores."""
        if start_ts >= self._expiry_ts - self._config.close_before_ns:
            raise ConfigError(
                f"expiry must be later than the start of the run and close_before_ns, was {self._config.expiry}."
            )
        return {}

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the configuration's numbers and the expiry, ns UTC."""
        return params_record(self._config, expiry_ts=self._expiry_ts)

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the position as it is before the first sample."""
        from bt_framework.engine.legs import legs_fields
        from bt_framework.records import record

        return record(np.dtype(legs_fields(2)), armed=1, hedge_ratio=1.0, half_life_s=np.nan)


def build(config: Basis) -> BasisStrategy:
    """Return the strategy."""
    return BasisStrategy(config)
