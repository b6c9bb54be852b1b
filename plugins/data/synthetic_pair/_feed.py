"""The two legs as feeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.records import EVENT, record
from bt_framework.units import NS_PER_S
from bt_plugins.data.synthetic_pair import SyntheticPair

GENERATOR_VERSION = 1
"""Part of the feeds' identity: raise it when the same configuration gives other events."""

CHUNK_ROWS = 65_536


class SyntheticPairSource(DataSource):
    """Both legs of a simulated pair."""

    def __init__(self, config: SyntheticPair) -> None:
        self.config = config

    def feeds(self) -> Sequence[Feed]:
        """Return the first and the second leg."""
        return [SyntheticFeed(self.config, leg) for leg in (0, 1)]


class SyntheticFeed(Feed):
    """One leg of a simulated pair; its generator state is made anew by each call of `chunks`."""

    ordered = True

    def __init__(self, config: SyntheticPair, leg: int) -> None:
        self.config = config
        self.leg = leg
        self.symbol = config.symbols[leg]
        self.tick_size = config.tick_size[leg]
        self.lot_size = config.lot_size[leg]

    def identity(self) -> Mapping[str, Any]:
        """Return the whole configuration, the leg, and the generator's version."""
        return {
            "reader": "synthetic_pair",
            "version": GENERATOR_VERSION,
            "leg": self.leg,
            **dataclasses.asdict(self.config),
        }

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
        """Yield the leg's events; all chunks share one buffer."""
        from bt_plugins.data.synthetic_pair._kernels import generate

        config = self.config
        report.symbol = self.symbol
        report.notes["truth"] = truth(config)
        report.notes["clock"] = "synthetic"
        params, state = _params(config, self.leg), _state(config, self.leg)
        bid_lots, ask_lots = np.zeros(config.levels, np.int64), np.zeros(config.levels, np.int64)
        out = np.empty(max(CHUNK_ROWS, 16 * config.levels), EVENT)
        duration_ns = int(config.duration_ns)
        while True:
            with np.errstate(over="ignore"):  # splitmix64 wraps; without the JIT numpy would warn
                count = generate(out, state, params, bid_lots, ask_lots)
            if count == 0:
                return
            report.rows_read += count
            progress(min(int(state.exch_ts) - config.start_ts, duration_ns), duration_ns)
            yield out[:count]


def truth(config: SyntheticPair) -> dict[str, float]:
    """Return the parameters that an estimator should find."""
    return {
        "theta": config.theta,
        "mu": config.mu,
        "sigma": config.sigma,
        "half_life_s": math.log(2.0) / config.theta,
        "stationary_sd": config.sigma / math.sqrt(2.0 * config.theta),
        "hedge_ratio": config.hedge_ratio,
        "intercept": _alpha(config),
        "volatility": config.volatility,
    }


def _alpha(config: SyntheticPair) -> float:
    a_px, b_px = config.start_px
    return math.log(a_px) - config.hedge_ratio * math.log(b_px) - config.mu


def _per_unit(size: float) -> float:
    """1 / `size` if that is a whole number: dividing by it gives decimals exactly, multiplying does not."""
    count = round(1.0 / size)
    return float(count) if count >= 1 and abs(count * size - 1.0) < 1e-9 else 0.0


def _params(config: SyntheticPair, leg: int) -> Any:
    from bt_plugins.data.synthetic_pair._kernels import PARAMS

    step_s = int(config.path_step_ns) / NS_PER_S
    phi = math.exp(-config.theta * step_s)
    rate_per_s = config.quotes_per_s + config.trades_per_s
    tick_size, lot_size, px = config.tick_size[leg], config.lot_size[leg], config.start_px[leg]
    return record(
        PARAMS,
        end_ts=config.start_ts + int(config.duration_ns),
        path_step_ns=int(config.path_step_ns),
        latency_ns=float(config.latency_ns),
        jitter_ns=float(config.jitter_ns),
        action_interval_ns=NS_PER_S / rate_per_s,
        trade_share=config.trades_per_s / rate_per_s,
        phi=phi,
        mu=config.mu,
        stationary_sd=config.sigma / math.sqrt(2.0 * config.theta),
        spread_step=config.sigma * math.sqrt((1.0 - phi * phi) / (2.0 * config.theta)),
        walk_step=config.volatility * math.sqrt(step_s),
        log_constant=_alpha(config) if leg == 0 else 0.0,
        walk_weight=config.hedge_ratio if leg == 0 else 1.0,
        spread_weight=1.0 if leg == 0 else 0.0,
        tick_size=tick_size,
        ticks_per_unit=_per_unit(tick_size),
        lot_size=lot_size,
        lots_per_unit=_per_unit(lot_size),
        spread_ticks=config.spread_ticks,
        level_lots=config.level_notional / (px * lot_size),
        trade_lots=config.trade_notional / (px * lot_size),
    )


def _mixed(z: int) -> int:
    """splitmix64's output function, as `_kernels.mixed` has it."""
    mask = (1 << 64) - 1
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def _state(config: SyntheticPair, leg: int) -> Any:
    from bt_plugins.data.synthetic_pair._kernels import STATE

    seed = _mixed(config.seed % (1 << 64))
    return record(
        STATE,
        path_rng=seed,
        book_rng=_mixed(seed + leg + 1),
        exch_ts=config.start_ts,
        path_ts=config.start_ts,
        walk=math.log(config.start_px[1]),
    )
