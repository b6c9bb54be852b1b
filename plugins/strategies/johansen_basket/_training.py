"""Weights and half-life of a basket from the bars that had closed before a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.bars.schema import BarFlag
from bt_framework.bars.store import BarStore
from bt_framework.errors import ConfigError, DataError
from bt_framework.registry import unknown_name
from bt_framework.stats.johansen import johansen
from bt_framework.stats.mean_reversion import half_life
from bt_plugins.strategies.johansen_basket import JohansenBasket

_NS_PER_S = 1e9
_LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class Trained:
    """What the earlier bars say: weights, the first of them 1, and the half-life in bars and in seconds."""

    weights: tuple[float, ...]
    half_life_bars: float
    half_life_s: float
    taken: dict[str, Any]

    @property
    def window(self) -> int:
        """Samples in mean and deviation: the half-life, at least 3."""
        return max(3, round(self.half_life_bars))


def train(
    config: JohansenBasket,
    store_dir: Path,
    symbols: Sequence[str],
    start_ts: int,
    data_starts_ts: Sequence[int] = (),
) -> Trained:
    """Return Johansen's first eigenvector of the last `train_bars` bars that had closed at `start_ts`.

    Prices are comparable with the first bar of each instrument's data, which begins at `data_starts_ts`, as those of
    the run are; with the last of these bars, where the data begin after it.

    Raises
    ------
    ConfigError
        If no source is named, or there is one instrument only.
    DataError
        If the source lacks a symbol or has too few common bars, or their basket does not revert.
    """
    if not config.train_source:
        raise ConfigError(
            "weights must be given, or train_source must name the source of earlier bars, were both empty."
        )
    if len(symbols) < 2:
        raise ConfigError(f"a basket needs two instruments, the data has {', '.join(symbols)} only.")
    store = BarStore(store_dir / "bars")
    known = store.symbols(config.train_source)
    for symbol in symbols:
        if symbol not in known:
            raise DataError(unknown_name(f"symbol of source {config.train_source}", symbol, known))
    times, closes = _closed_bars(store, config, symbols, (start_ts, data_starts_ts))
    where = f"the last {len(times)} common bars of {', '.join(symbols)} before the start"
    if len(times) < config.train_bars:
        raise DataError(
            f"source {config.train_source} must have {config.train_bars} common bars of {', '.join(symbols)} before "
            f"the start, had {len(times)}. Lower strategy.train_bars or start later."
        )
    prices = np.log(closes) if config.log_prices else closes
    try:
        result = johansen(prices)
        vector = np.asarray(result.vectors[:, 0], np.float64)
        half_life_bars = half_life(prices @ vector)
    except ValueError as error:
        raise DataError(f"no weights can be estimated on {where}: {error}") from error
    values = np.abs(vector if config.log_prices else vector * closes[-1])
    if not np.isfinite(values).all() or values.min() <= _LEAST_SHARE * values.max():
        raise DataError(
            f"every instrument must have a weight on {where}, was {vector.tolist()}. Leave one out."
        )
    if not math.isfinite(half_life_bars):
        raise DataError(f"the basket must revert on {where}, did not. Choose other instruments or more bars.")
    weights = tuple(float(w) for w in vector / vector[0])
    interval_ns = store.interval_ns(config.train_source)
    taken = {
        "weights": dict(zip(symbols, weights, strict=True)),
        "half_life_bars": half_life_bars,
        "trace": float(result.trace[0]),
        "trace_p": float(result.trace_p[0]),
        "bars": len(times),
        "first_bar": str(times[0]),
        "last_bar": str(times[-1]),
    }
    return Trained(weights, half_life_bars, half_life_bars * interval_ns / _NS_PER_S, taken)


def _closed_bars(
    store: BarStore, config: JohansenBasket, symbols: Sequence[str], starts_ts: tuple[int, Sequence[int]]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Opening times of the bars that all symbols have a close in, and closes of shape (n_bars, n_symbols).

    Bars that preprocessing made up are no observations: an interpolated one even comes of a later close.
    """
    start_ts, data_starts_ts = starts_ts
    interval_ns = store.interval_ns(config.train_source)
    closed_ns = start_ts - interval_ns + 1_000
    end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=closed_ns // 1_000)
    columns = ["symbol", "datetime", "close", "adj_factor", "outlier_flag"]
    table = store.read(config.train_source, symbols=symbols, end=end, columns=columns)
    names = table.column("symbol").to_numpy(zero_copy_only=False)
    opens = table.column("datetime").to_numpy(zero_copy_only=False)
    close, factor = (table.column(key).to_numpy(zero_copy_only=False) for key in ("close", "adj_factor"))
    observed = (table.column("outlier_flag").to_numpy(zero_copy_only=False) & int(BarFlag.FILLED)) == 0
    use = np.isfinite(close) & (close > 0) & observed
    of = {symbol: np.flatnonzero((names == symbol) & use) for symbol in symbols}
    times = opens[of[symbols[0]]]
    for symbol in symbols[1:]:
        times = np.intersect1d(times, opens[of[symbol]])
    times = times[-config.train_bars :]
    series = []
    for symbol, data_start_ts in zip(symbols, data_starts_ts or [start_ts] * len(symbols), strict=True):
        rows = of[symbol][np.isin(opens[of[symbol]], times)]
        if not len(rows):
            series.append(close[rows])
            continue
        before_us = np.datetime64((data_start_ts - interval_ns) // 1_000, "us")
        first = int(np.searchsorted(opens[of[symbol]], before_us, side="right"))
        anchor = of[symbol][min(first, len(of[symbol]) - 1)]
        series.append(close[rows] * factor[rows] / factor[anchor])
    return times, np.column_stack(series)
