"""A universe of symbols: their closes side by side, and its pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.errors import ConfigError, DataError
from bt_framework.registry import unknown_name
from bt_framework.research.settings import Adjust, ScreenConfig

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Universe:
    """Closes of several symbols at the times of any of them.

    Attributes
    ----------
    source : str
        Of the bars.
    interval_ns : int
        From one bar to the next, ns.
    symbols : tuple of str, k
        By plain string order.
    times_ns : int64 array of shape (n,)
        When the bars open, ns UTC, rising.
    prices : float64 array of shape (n, k)
        Closes, quote currency, or their natural logarithms; NaN where a symbol has no bar.
    factors : tuple of (int64 array, float64 array), k
        Of each symbol when what its closes were multiplied by changes, ns UTC, and to what; empty for prices as traded.
    """

    source: str
    interval_ns: int
    symbols: tuple[str, ...]
    times_ns: np.ndarray
    prices: np.ndarray
    factors: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    def factor_at(self, column: int, ts: int) -> float:
        """What the closes of a symbol were multiplied by in its last bar that opens at `ts`, ns UTC, or before."""
        if not self.factors:
            return 1.0
        times_ns, factors = self.factors[column]
        place = int(np.searchsorted(times_ns, ts, side="right")) - 1
        return float(factors[max(place, 0)]) if len(factors) else 1.0

    @property
    def content_hash(self) -> str:
        """SHA-256 over all of it: equal if every test on it is."""
        digest = hashlib.sha256(repr((self.source, self.interval_ns, self.symbols)).encode())
        digest.update(np.ascontiguousarray(self.times_ns, "<i8").tobytes())
        digest.update(np.ascontiguousarray(self.prices, "<f8").tobytes())
        return digest.hexdigest()


def load_universe(config: ScreenConfig) -> tuple[Universe, np.ndarray]:
    """Read the closes of the symbols and pairs of `config`.

    Bars that preprocessing made up (flag FILLED) are no observations and are left out.

    Returns
    -------
    universe : Universe
        All symbols, or those of the pairs given.
    pairs : int64 array of shape (m, 2)
        Columns of its prices: the smaller symbol, the larger one.

    Raises
    ------
    ConfigError
        If a pair is not written as A/B, or twice.
    DataError
        If source or symbol is unknown, there are no two symbols, or a price cannot be used.
    """
    from bt_framework.bars.store import BarStore

    store = BarStore(Path(config.store_dir) / "bars")
    if not config.source:
        raise ConfigError(
            f"source must name stored bars: {', '.join(store.sources()) or 'there are none in ' + str(store.root)}. "
            "Store some with: bt validate bars=NAME"
        )
    there = store.symbols(config.source)
    for symbol in config.symbols:
        if symbol not in there:
            raise DataError(unknown_name(f"a symbol of source {config.source}", symbol, there))
    named = [_pair(text, there, config.source) for text in config.pairs]
    wanted = sorted({s for pair in named for s in pair} or set(config.symbols) or set(there))
    if len(wanted) < 2:
        raise DataError(
            f"a pair needs two symbols, source {config.source} was asked for {', '.join(wanted)} only."
        )
    table = store.read(
        config.source,
        symbols=wanted,
        start=_time(config.start_ts),
        end=_time(config.end_ts),
        columns=_columns(),
    )
    universe = universe_of(table, config, wanted, store.interval_ns(config.source))
    column = {symbol: i for i, symbol in enumerate(wanted)}
    pairs = (
        sorted({(column[a], column[b]) for a, b in named})
        if named
        else list(combinations(range(len(wanted)), 2))
    )
    if named and len(pairs) < len(named):
        raise ConfigError("pairs must name each pair once; A/B and B/A are the same one.")
    return universe, np.array(pairs, np.int64)


def universe_of(bars: pa.Table, config: ScreenConfig, symbols: Sequence[str], interval_ns: int) -> Universe:
    """Put the closes of `bars`, by symbol and time, side by side.

    Parameters
    ----------
    bars : pa.Table
        The columns of `BAR_SCHEMA` that `config.adjust` needs.
    config : ScreenConfig
        Says how prices are adjusted and whether their logarithms are taken.
    symbols : sequence of str
        The columns of the result.
    interval_ns : int
        From one bar to the next, ns.

    Raises
    ------
    DataError
        If a symbol has two bars at one time, or a price has no logarithm.
    """
    column = _codes(bars, symbols)
    time_ns = bars["datetime"].cast("int64").to_numpy() * 1_000
    close, factor = _closes(bars, config.adjust, column)
    twice = np.flatnonzero((np.diff(column) == 0) & (np.diff(time_ns) <= 0))
    if len(twice):
        row = int(twice[0]) + 1
        raise DataError(
            f"source {config.source}: {symbols[column[row]]} must have one bar at a time, in order, has another at "
            f"{_shown(time_ns[row])}. Store it again: bt validate bars=NAME"
        )
    if config.log:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(close)
        bad = np.flatnonzero((close <= 0.0) & ~np.isnan(close))
        if len(bad):
            row = int(bad[0])
            raise DataError(
                f"source {config.source}: the close of {symbols[column[row]]} at {_shown(time_ns[row])} must be > 0, "
                f"was {close[row]:g}: it has no logarithm. Test prices as they are: log=false"
            )
        close = logs
    times, row_of = np.unique(time_ns, return_inverse=True)
    prices = np.full((len(times), len(symbols)), np.nan)
    prices[row_of, column] = close
    factors = _changes(column, time_ns, factor, len(symbols))
    return Universe(config.source, interval_ns, tuple(symbols), times, prices, factors)


def _columns() -> list[str]:
    return ["symbol", "datetime", "close", "adj_factor", "outlier_flag"]


def _codes(bars: pa.Table, symbols: Sequence[str]) -> np.ndarray:
    """Column of each bar's symbol, int64 array of shape (n_bars,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = pc.index_in(bars["symbol"], pa.array(symbols, pa.string())).to_numpy()
    return np.asarray(codes, np.int64)


def _closes(bars: pa.Table, adjust: Adjust, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted closes, NaN where there is none that was observed, and their factors: float64, of shape (n_bars,)."""
    from bt_framework.bars.schema import BarFlag

    close = np.array(bars["close"].to_numpy(), np.float64)
    made_up = (bars["outlier_flag"].to_numpy() & int(BarFlag.FILLED)) != 0
    close = np.where(made_up | ~np.isfinite(close), np.nan, close)
    if adjust is Adjust.none:
        return close, np.ones(len(close))
    factor = np.array(bars["adj_factor"].to_numpy(), np.float64)
    if adjust is Adjust.backward or not len(factor):
        return close * factor, factor
    # Anchored at each symbol's first bar: what comes later changes no earlier price.
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    lengths = np.diff(starts, append=len(column))
    factor = factor / np.repeat(factor[starts], lengths)
    return close * factor, factor


def _changes(
    column: np.ndarray, time_ns: np.ndarray, factor: np.ndarray, count: int
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Times and new factors of each of `count` symbols."""
    other = (np.diff(column, prepend=-1) != 0) | (np.diff(factor, prepend=np.nan) != 0)
    return tuple((time_ns[rows], factor[rows]) for rows in (other & (column == i) for i in range(count)))


def _pair(text: str, there: Sequence[str], source: str) -> tuple[str, str]:
    """Return the smaller and the larger symbol of a pair written as A/B; symbols may have slashes themselves."""
    parts = text.split("/")
    splits = [("/".join(parts[:i]), "/".join(parts[i:])) for i in range(1, len(parts))]
    if not splits or not all(splits[0]):
        raise ConfigError(f"pairs must each be written as A/B, was {text!r}.")
    known = [pair for pair in splits if pair[0] in there and pair[1] in there]
    if not known:
        wrong = next(symbol for symbol in splits[0] if symbol not in there)
        raise DataError(f"the pair {text}: {unknown_name(f'a symbol of source {source}', wrong, there)}")
    first, second = sorted(known[0])
    if first == second:
        raise ConfigError(f"pairs must have two different symbols, was {text!r}.")
    return first, second


def _time(ts: int | None) -> datetime | None:
    return None if ts is None else instant(ts)


def instant(ts: int) -> datetime:
    """`ts`, ns UTC, as a datetime, to the microsecond below."""
    return _EPOCH + timedelta(microseconds=int(ts) // 1_000)


def _shown(ts: int) -> str:
    return f"{instant(ts):%Y-%m-%d %H:%M:%S}"
