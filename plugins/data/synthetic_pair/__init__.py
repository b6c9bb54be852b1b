"""Two simulated order books around one random walk and a mean-reverting spread, with known parameters.

The truth, in log prices and seconds::

    log B(t)                 = log B(0) + volatility * W(t)
    log A(t)                 = alpha + hedge_ratio * log B(t) + spread(t)
    d spread(t)              = theta * (mu - spread(t)) dt + sigma * dV(t)

W and V are independent Brownian motions; alpha puts A at its start price when the spread is mu. The spread's
half-life is ln 2 / theta (6.9 s by default), its stationary deviation is sigma / sqrt(2 theta) (17.9 bps by
default), and it starts from its stationary distribution. Both paths are exact on a grid of ``path_step_ns``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from bt_framework.config.schema import Duration, param
from bt_framework.data.batches import PairAndDate, days_of
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_framework.data.source import DataSource

_POSITIVE = (
    "duration_ns",
    "path_step_ns",
    "theta",
    "sigma",
    "quotes_per_s",
    "level_notional",
    "trade_notional",
)
_NOT_NEGATIVE = ("start_ts", "volatility", "trades_per_s", "latency_ns", "jitter_ns")
MAX_PER_S = 1e6
"""Mean rates above one event in a microsecond would never end."""
_LAST_TS = 9_200_000_000_000_000_000


@dataclass
class SyntheticPair(PairAndDate):
    """Two simulated order books around a random walk and an OU spread, of known parameters."""

    name: str = param("synthetic_pair", "registry name; choose another with GROUP=NAME")
    seed: int = param(1, "seed of the books and of the paths")
    symbols: list[str] = param(["SYNA", "SYNB"], "names of the first and the second leg")
    start_ts: int = param(1_704_067_200_000_000_000, "exchange time of the first event", unit="ns UTC")
    duration_ns: Duration = param("10min", "length of the simulation", unit="ns")
    theta: float = param(0.1, "speed of mean reversion of the spread", unit="1/s")
    mu: float = param(0.0, "mean of the spread", unit="log price")
    sigma: float = param(8e-4, "volatility of the spread", unit="log price / sqrt(s)")
    hedge_ratio: float = param(0.8, "slope of log A on log B")
    volatility: float = param(5e-4, "volatility of log B", unit="1/sqrt(s)")
    start_px: list[float] = param([1_000.0, 20_000.0], "start prices of both legs", unit="quote currency")
    tick_size: list[float] = param([0.1, 1.0], "tick sizes of both legs", unit="quote currency")
    lot_size: list[float] = param([0.01, 0.001], "lot sizes of both legs", unit="base units")
    spread_ticks: int = param(2, "distance of the best ask from the best bid", unit="ticks")
    levels: int = param(5, "price levels on each side, one tick apart")
    level_notional: float = param(20_000.0, "mean size of a level", unit="quote currency")
    trade_notional: float = param(4_000.0, "mean size of a trade", unit="quote currency")
    quotes_per_s: float = param(30.0, "mean rate at which a book follows its fair price", unit="1/s")
    trades_per_s: float = param(4.0, "mean rate of trades in each book", unit="1/s")
    latency_ns: Duration = param("2ms", "feed latency: the least", unit="ns")
    jitter_ns: Duration = param("1ms", "feed latency: mean of what comes on top", unit="ns")
    path_step_ns: Duration = param("10ms", "grid of the fair prices", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self._start_on_date()
        for key in ("symbols", "start_px", "tick_size", "lot_size"):
            if len(getattr(self, key)) != 2:
                raise ConfigError(f"{key} must be a list of two, one per leg, was {getattr(self, key)!r}.")
        if len(set(self.symbols)) != 2 or not all(self.symbols):
            raise ConfigError(f"symbols must be two different names, was {self.symbols!r}.")
        for key in ("start_px", "tick_size", "lot_size"):
            if not all(value > 0 for value in getattr(self, key)):
                raise ConfigError(f"{key} must be > 0 for both legs, was {getattr(self, key)!r}.")
        for key in _POSITIVE:
            if not 0 < getattr(self, key) < inf:
                raise ConfigError(f"{key} must be > 0 and finite, was {getattr(self, key)!r}.")
        for key in _NOT_NEGATIVE:
            if not 0 <= getattr(self, key) < inf:
                raise ConfigError(f"{key} must be >= 0 and finite, was {getattr(self, key)!r}.")
        for key in ("quotes_per_s", "trades_per_s"):
            if getattr(self, key) > MAX_PER_S:
                raise ConfigError(f"{key} must be <= {MAX_PER_S:,.0f}, was {getattr(self, key)!r}.")
        if self.start_ts + int(self.duration_ns) + int(self.latency_ns) > _LAST_TS:
            raise ConfigError(f"duration_ns must end before the year 2262, was {self.duration_ns}.")
        if self.spread_ticks < 1:
            raise ConfigError(
                f"spread_ticks must be >= 1, was {self.spread_ticks}: the book would be locked."
            )
        if not 1 <= self.levels <= 1_000:
            raise ConfigError(f"levels must be between 1 and 1000, was {self.levels}.")

    def _start_on_date(self) -> None:
        """Let the books begin at the midnight of ``date``."""
        if not self.date:
            return
        days = days_of(self.date)
        if len(days) != 1 or self.start_ts != type(self).start_ts:
            raise ConfigError(
                f"data.date must be one day, without data.start_ts, was {self.date!r}. "
                "data.duration_ns says how long the books last."
            )
        self.start_ts = days[0].midnight_ts
        self.date = ""


def build(config: SyntheticPair) -> DataSource:
    """Return the source of both legs."""
    from bt_plugins.data.synthetic_pair._feed import SyntheticPairSource

    return SyntheticPairSource(config)
