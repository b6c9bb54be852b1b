"""A universe of simulated bars with cointegrated pairs in it, of known parameters.

The truth, in log prices and bars, for each pair of an A and a B::

    log B(t)      = log start_px + volatility * W(t)
    log A(t)      = log start_px + hedge_ratio * (log B(t) - log start_px) + spread(t)
    d spread(t)   = theta * (mu - spread(t)) dt + sigma * dV(t)

W and V are independent Brownian motions, one bar is the unit of time. The spread is exact at each close and starts from
its stationary distribution: mean mu, deviation sigma / sqrt(2 theta), half-life ln 2 / theta bars. The other symbols
are independent random walks like B.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from bt_framework.bars.config import BarSourceConfig
from bt_framework.config.schema import Duration, param
from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.bars.synthetic._source import SyntheticBars

_LAST_TS = 9_200_000_000_000_000_000


@dataclass
class Synthetic(BarSourceConfig):
    """Simulated bars: cointegrated pairs of known parameters among independent random walks."""

    name: str = param("synthetic", "registry name; choose another with GROUP=NAME")
    interval_ns: Duration = param("1d", "from one bar to the next", unit="ns")
    seed: int = param(1, "seed of all paths")
    symbols: int = param(8, "number of symbols, SYN001 and so on; the pairs come first")
    pairs: int = param(2, "number of cointegrated pairs: SYN001 and SYN002, SYN003 and SYN004, and so on")
    length: int = param(1_500, "bars of each symbol", unit="bars")
    start: str = param("2018-01-01", "when the first bar opens, ISO-8601, UTC unless it says otherwise")
    start_px: float = param(100.0, "price before the first bar", unit="quote currency")
    volatility: float = param(0.01, "volatility of the walks", unit="1/sqrt(bar)")
    hedge_ratio: list[float] = param([0.8, 1.2], "slope of log A on log B, pair by pair, then from the start")
    theta: list[float] = param([0.05, 0.1], "speed of mean reversion of the spreads, likewise", unit="1/bar")
    mu: float = param(0.0, "mean of the spreads", unit="log price")
    sigma: list[float] = param([0.01, 0.01], "volatility of the spreads, likewise", unit="1/sqrt(bar)")
    volume: float = param(100_000.0, "median volume of a bar", unit="base units")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("interval_ns", "start_px", "volatility", "volume"):
            if not 0 < getattr(self, key) < inf:
                raise ConfigError(f"{key} must be > 0 and finite, was {getattr(self, key)}.")
        for key, most in (("symbols", 999), ("length", 10**9)):
            if not 1 <= getattr(self, key) <= most:
                raise ConfigError(f"{key} must be between 1 and {most:,}, was {getattr(self, key)}.")
        if not 0 <= self.pairs <= self.symbols // 2:
            raise ConfigError(f"pairs must be between 0 and half of symbols, was {self.pairs}.")
        for key in ("theta", "sigma"):
            if not getattr(self, key) or not all(0 < v < inf for v in getattr(self, key)):
                raise ConfigError(f"{key} must be numbers > 0, was {getattr(self, key)}.")
        if not self.hedge_ratio or not all(-inf < v < inf for v in self.hedge_ratio):
            raise ConfigError(f"hedge_ratio must be finite numbers, was {self.hedge_ratio}.")
        if not -inf < self.mu < inf:
            raise ConfigError(f"mu must be finite, was {self.mu}.")
        if parse_time_ns(self.start, "start") + self.length * int(self.interval_ns) > _LAST_TS:
            raise ConfigError(f"length must end before the year 2262, was {self.length}.")


def build(config: Synthetic) -> SyntheticBars:
    """Build the source."""
    from bt_plugins.bars.synthetic._source import SyntheticBars

    return SyntheticBars(config)
