"""The paths, and the bars around them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from bt_framework.bars.building import ROWS_PER_TABLE, raw_bars
from bt_framework.bars.source import BarSource, Progress
from bt_framework.config.settings import parse_time_ns
from bt_framework.units import NS_PER_US
from bt_plugins.bars.synthetic import Synthetic

_WALK, _SPREAD, _SHAPE = range(3)
_WICK = 0.5
"""Mean distance of high and low from the body, in moves of one bar."""
_VOLUME_SD = 0.5


class SyntheticBars(BarSource):
    """Symbols one after another; the same bars however they are cut into tables."""

    def __init__(self, config: Synthetic) -> None:
        self.config: Synthetic = config

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        """Yield tables of one symbol each."""
        return self.cut(ROWS_PER_TABLE, progress)

    def cut(self, rows_per_table: int, progress: Progress) -> Iterator[pa.Table]:
        """Yield tables of at most `rows_per_table` bars."""
        config = self.config
        total = config.symbols * config.length
        for place in range(config.symbols):
            path, shape = _Path(config, place), _stream(config, place, _SHAPE)
            before = path.first
            for start in range(0, config.length, rows_per_table):
                count = min(rows_per_table, config.length - start)
                log_close = path.next(count)
                yield self._table(place, start, np.concatenate(([before], log_close)), shape)
                before = log_close[-1]
                progress(place * config.length + start + count, total)

    def _table(self, place: int, start: int, log_close: np.ndarray, shape: np.random.Generator) -> pa.Table:
        """Bars from the close before them and their own closes: array of shape (n_bars + 1,), log prices."""
        config = self.config
        count = len(log_close) - 1
        # Row by row: a bar takes its three numbers together, wherever the tables are cut.
        above, below, size = shape.standard_normal((count, 3)).T
        wick = _WICK * config.volatility
        px = np.exp(log_close)
        body_high, body_low = np.maximum(px[1:], px[:-1]), np.minimum(px[1:], px[:-1])
        first_us = parse_time_ns(config.start, "start") // NS_PER_US
        step_us = int(config.interval_ns) // NS_PER_US
        values = {
            "open": px[:-1],
            "high": body_high * np.exp(wick * np.abs(above)),
            "low": body_low * np.exp(-wick * np.abs(below)),
            "close": px[1:],
            "volume": config.volume * np.exp(_VOLUME_SD * size),
        }
        return raw_bars(
            symbol_of(place), first_us + step_us * np.arange(start, start + count, dtype=np.int64), values
        )


class _Path:
    """Log closes of one symbol, piece by piece."""

    def __init__(self, config: Synthetic, place: int) -> None:
        self._config = config
        self._pair = place // 2 if place < 2 * config.pairs else -1
        is_a = self._pair >= 0 and place % 2 == 0
        # The A of a pair follows the walk of its B, which it makes again.
        self._walk = _stream(config, place + 1 if is_a else place, _WALK)
        self._log_start = math.log(config.start_px)
        self._moved = 0.0
        self._spread: _Spread | None = _Spread(config, self._pair, place) if is_a else None
        self.first = self._log_start + (self._spread.first if self._spread else 0.0)

    def next(self, count: int) -> np.ndarray:
        """The next `count` log closes."""
        steps = self._config.volatility * self._walk.standard_normal(count)
        steps[0] += self._moved
        moved = np.cumsum(steps)
        self._moved = float(moved[-1])
        if self._spread is None:
            return self._log_start + moved
        slope = truth(self._config)[self._pair]["hedge_ratio"]
        return self._log_start + slope * moved + self._spread.next(count)


class _Spread:
    """An OU process, exact at each bar."""

    def __init__(self, config: Synthetic, pair: int, place: int) -> None:
        known = truth(config)[pair]
        self._rng = _stream(config, place, _SPREAD)
        self._mu = config.mu
        self._phi = math.exp(-known["theta"])
        self._step_sd = known["stationary_sd"] * math.sqrt(1.0 - self._phi**2)
        self._deviation = known["stationary_sd"] * float(self._rng.standard_normal())
        self.first = config.mu + self._deviation

    def next(self, count: int) -> np.ndarray:
        """The next `count` values."""
        phi, noise = self._phi, (self._step_sd * self._rng.standard_normal(count)).tolist()
        deviations = accumulate(noise, lambda x, e: phi * x + e, initial=self._deviation)
        path = np.fromiter(deviations, float, count + 1)[1:]
        self._deviation = float(path[-1])
        return self._mu + path


def symbol_of(place: int) -> str:
    """Name of the symbol at `place`, from 0."""
    return f"SYN{place + 1:03d}"


def truth(config: Synthetic) -> list[dict[str, Any]]:
    """Return what an estimator should find, pair by pair: log prices, bars."""
    return [
        {
            "symbol_a": symbol_of(2 * k),
            "symbol_b": symbol_of(2 * k + 1),
            "hedge_ratio": config.hedge_ratio[k % len(config.hedge_ratio)],
            "theta": (theta := config.theta[k % len(config.theta)]),
            "mu": config.mu,
            "sigma": (sigma := config.sigma[k % len(config.sigma)]),
            "half_life": math.log(2.0) / theta,
            "stationary_sd": sigma / math.sqrt(2.0 * theta),
        }
        for k in range(config.pairs)
    ]


def _stream(config: Synthetic, place: int, purpose: int) -> np.random.Generator:
    """Random numbers of one symbol for one purpose."""
    return np.random.Generator(np.random.PCG64([config.seed % 2**64, place, purpose]))
