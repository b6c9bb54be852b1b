"""How much of a run its benchmarks explain: its equity against stored bars, at the times of the bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.bars.schema import BarFlag
from bt_framework.errors import ConfigError, DataError
from bt_framework.results.equity import equity_at
from bt_framework.results.metrics import NS_PER_YEAR
from bt_framework.stats.factors import FactorFit, FactorModel, Neutrality, rolling_beta
from bt_framework.units import format_duration_ns

if TYPE_CHECKING:
    from bt_framework.bars.store import BarStore
    from bt_framework.results.folder import RunFolder

MIN_RETURNS = 30
"""Returns in common that a regression needs at least: its errors are those of large samples."""
_OLDEST_PART = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class AttributionOptions:
    """How a run is attributed.

    Parameters
    ----------
    lags : int or None
        Of the HAC errors; None: see `bt_framework.stats.factors.FactorModel`.
    window : int or None
        Returns of the rolling betas; None: a quarter of them, but at least 20.
    largest_beta : float
        Up to which a beta counts as none.
    level : float
        Of the confidence intervals.
    """

    lags: int | None = None
    window: int | None = None
    largest_beta: float = 0.1
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0.0 < self.level < 1.0:
            raise ConfigError(f"level must be between 0 and 1, was {self.level}.")
        if not 0.0 < self.largest_beta < float("inf"):
            raise ConfigError(f"largest_beta must be > 0 and finite, was {self.largest_beta}.")


@dataclass(frozen=True)
class RunFactors:
    """A run's returns explained by benchmarks.

    Attributes
    ----------
    benchmarks : tuple of str, k
        As SOURCE:SYMBOL.
    times_ns : int64 array of shape (n + 1,)
        Common closes of the bars; a return is from one to the next.
    returns : float64 array of shape (n,)
        Change of the equity / capital at the start.
    fit : FactorFit
        Its periods per year are the returns / years from the first close to the last.
    rolling : float64 array of shape (n, k)
        Betas of the last `window` returns; NaN where there are none.
    window : int
    verdict : Neutrality
    options : AttributionOptions
    """

    benchmarks: tuple[str, ...]
    times_ns: np.ndarray
    returns: np.ndarray
    fit: FactorFit
    rolling: np.ndarray
    window: int
    verdict: Neutrality
    options: AttributionOptions

    @property
    def sentence(self) -> str:
        """What the betas say, in words."""
        level, largest = f"{self.options.level:.0%}", f"{self.options.largest_beta:g}"
        words = {
            Neutrality.NEUTRAL: f"market neutral: at {level} no beta differs from 0 or is beyond {largest}",
            Neutrality.SLIGHT: f"slightly exposed: at {level} a beta differs from 0, but none is beyond {largest}",
            Neutrality.EXPOSED: f"not market neutral: at {level} a beta differs from 0 and may be beyond {largest}",
            Neutrality.UNDECIDED: f"undecided: at {level} no beta differs from 0, but one may be beyond {largest}",
        }
        betas = ", ".join(f"{b.name} {b.value:.4f}, se {b.se:.4f}" for b in self.fit.betas)
        return f"{words[self.verdict]} ({betas}; {self.fit.n:,} returns)"


def attribute(
    folder: RunFolder,
    bars: BarStore,
    benchmarks: Sequence[str],
    options: AttributionOptions | None = None,
) -> RunFactors:
    """Regress a run's returns on those of benchmarks.

    A bar's close is known at its open time plus the source's interval; prices are adjusted by ``adj_factor``. Bars
    without a close, and those that preprocessing made up, do not count. Returns are from each close that all
    benchmarks have to the next one, while the run went on.

    Parameters
    ----------
    folder : RunFolder
        Of the run.
    bars : BarStore
        Where the benchmarks are.
    benchmarks : sequence of str
        As SOURCE:SYMBOL.

    Raises
    ------
    ConfigError
        If a benchmark is not so written, is named twice, or an option is out of range.
    DataError
        If a benchmark is unknown, there are fewer than `MIN_RETURNS` returns in common, the run's equity was sampled
        too seldom for the bars, or a series cannot be regressed (constant, collinear).
    StorageError
        If files cannot be read.
    """
    options = options or AttributionOptions()
    _check_names(benchmarks)
    record = folder.record()
    span = (record.start_ts, record.local_ts)
    times, prices = _common([_closes(bars, name, span) for name in benchmarks])
    profit, sample_ts = equity_at(folder, times)
    there = np.isfinite(profit)
    times, prices, profit = times[there], prices[there], profit[there]
    if len(times) <= MIN_RETURNS:
        first, last = (str(np.datetime64(ts, "ns").astype("datetime64[s]")) for ts in span)
        raise DataError(
            f"run {record.run_id} and {', '.join(benchmarks)} must have at least {MIN_RETURNS} returns in common, had "
            f"{max(0, len(times) - 1)}. The run went from {first} to {last} UTC: take shorter bars of that time, or a "
            "longer run."
        )
    _check_sampling(times, sample_ts[there])
    returns, factors = np.diff(profit) / record.capital, prices[1:] / prices[:-1] - 1.0
    years = (times[-1] - times[0]) / NS_PER_YEAR
    window = options.window or max(20, len(returns) // 4)
    try:
        fit = FactorModel(len(returns) / years, options.lags).fit(returns, factors, benchmarks)
        rolling = rolling_beta(returns, factors, window)
    except ValueError as error:
        raise DataError(f"run {record.run_id} cannot be attributed: {error}") from error
    verdict = fit.neutrality(options.largest_beta, options.level)
    return RunFactors(tuple(benchmarks), times, returns, fit, rolling, window, verdict, options)


def _check_names(benchmarks: Sequence[str]) -> None:
    if not benchmarks:
        raise ConfigError("a benchmark must be given, as SOURCE:SYMBOL.")
    for name in benchmarks:
        source, _, symbol = name.partition(":")
        if not source or not symbol:
            raise ConfigError(f"a benchmark must be written SOURCE:SYMBOL, was {name!r}.")
    if len(set(benchmarks)) < len(benchmarks):
        raise ConfigError(f"benchmarks must differ from each other, were {', '.join(benchmarks)}.")


def _closes(bars: BarStore, name: str, span: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Times of a benchmark's closes, int64 ns UTC, and its adjusted prices, while the run went on."""
    source, _, symbol = name.partition(":")
    interval_ns = bars.interval_ns(source)
    start, end = (_EPOCH + timedelta(microseconds=(ts - interval_ns) // 1_000 + 1) for ts in span)
    columns = ["datetime", "close", "adj_factor", "outlier_flag"]
    table = bars.read(
        source, symbols=[symbol], start=start - timedelta(microseconds=1), end=end, columns=columns
    )
    opens = table["datetime"].cast("int64").to_numpy() * 1_000
    prices = table["close"].to_numpy(zero_copy_only=False) * table["adj_factor"].to_numpy()
    made_up = (table["outlier_flag"].to_numpy() & int(BarFlag.FILLED)) != 0
    good = np.isfinite(prices) & (prices > 0) & ~made_up
    return opens[good] + interval_ns, prices[good]


def _common(series: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Times that all series have, and their prices there, shape (n, k)."""
    times = series[0][0]
    for other, _ in series[1:]:
        times = np.intersect1d(times, other, assume_unique=True)
    return times, np.column_stack([prices[np.searchsorted(own, times)] for own, prices in series])


def _check_sampling(times: np.ndarray, sample_ts: np.ndarray) -> None:
    """Refuse equity so old that its returns would be of other times than the benchmarks'."""
    oldest, allowed = int((times - sample_ts).max()), int(np.diff(times).min()) // _OLDEST_PART
    if oldest > allowed:
        raise DataError(
            f"equity must be sampled at most {format_duration_ns(allowed)} before each close, a tenth of the time from "
            f"one to the next, but was {format_duration_ns(oldest)} old. Take longer bars, or run with a shorter "
            "equity_interval_ns."
        )
