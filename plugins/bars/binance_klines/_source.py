"""Archives, symbol by symbol and in order of time, with no bar missing or there twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from bt_framework.bars.building import VALUES, raw_bars, slices
from bt_framework.bars.files import bar_files
from bt_framework.bars.source import BarSource, Progress
from bt_framework.errors import ConfigError, DataError
from bt_framework.units import NS_PER_US
from bt_plugins.bars.binance_klines import BinanceKlines, Gaps
from bt_plugins.bars.binance_klines._archive import Archive, archive_of

MISSING_BARS = "missing bars"


class KlineBars(BarSource):
    """Bars from archives of klines; all are checked before the first is handed out."""

    def __init__(self, config: BinanceKlines) -> None:
        self.config: BinanceKlines = config

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        """Yield tables of one symbol each."""
        self.findings.clear()
        by_symbol = self._archives()
        total = sum(self._check(archives) for archives in by_symbol.values())
        done = 0
        for archives in by_symbol.values():
            for archive in archives:
                for times, block in archive.blocks(VALUES):
                    values = {name: block[name] for name in VALUES}
                    for table in slices(raw_bars(archive.symbol, times, values)):
                        done += table.num_rows
                        progress(done, total)
                        yield table

    def _archives(self) -> dict[str, list[Archive]]:
        """Archives of each symbol, in order of time as far as their names say it."""
        archives = [archive_of(path) for path in bar_files(self.config.files, (".zip", ".csv"))]
        intervals = sorted({a.interval for a in archives})
        if len(intervals) > 1:
            raise DataError(
                f"bars.files must be of one interval, were of {' and '.join(intervals)}. Ingest them one after the"
                " other, under different names: bars.source=NAME."
            )
        wanted_ns = int(self.config.interval_ns)
        if wanted_ns not in (0, archives[0].interval_ns):
            raise ConfigError(f"interval_ns must be 0 or that of the files, {intervals[0]}, was {wanted_ns}.")
        by_symbol: dict[str, list[Archive]] = {}
        for archive in sorted(archives, key=lambda a: (a.symbol, a.period)):
            by_symbol.setdefault(archive.symbol, []).append(archive)
        return by_symbol

    def _check(self, archives: Sequence[Archive]) -> int:
        """Number of bars of one symbol, of which none is there twice, and none missing unless that may be."""
        step_us = archives[0].interval_ns // NS_PER_US
        count, missing, first_gap = 0, 0, ""
        last: int | None = None
        for archive in archives:
            archive.check_sum()
            rows = 0
            for times, _ in archive.blocks(()):
                joined = times if last is None else np.concatenate(([last], times))
                gaps = _gaps(archive, joined, step_us)
                if len(gaps):
                    missing += int(np.sum((joined[gaps + 1] - joined[gaps]) // step_us - 1))
                    first_gap = first_gap or f"after {_time_text(joined[gaps[0]])} ({archive.path})"
                last, rows = int(times[-1]), rows + len(times)
            if not rows:
                raise DataError(f"{archive.path} holds no bar. Fetch it again.")
            count += rows
        if missing and self.config.gaps is Gaps.refuse:
            raise DataError(
                f"{archives[0].symbol} lacks {missing:,} bars, the first {first_gap}. Fetch the archives that are"
                " missing; where the exchange has none, bars.gaps=keep takes what there is."
            )
        if missing:
            self.findings[MISSING_BARS] += missing
        return count


def _gaps(archive: Archive, times: np.ndarray[Any, Any], step_us: int) -> np.ndarray[Any, Any]:
    """Places in `times` after which bars are missing; bars that are not one after the other are refused."""
    steps = np.diff(times)
    wrong = np.flatnonzero((steps <= 0) | (steps % step_us != 0))
    if len(wrong):
        before, now = int(times[wrong[0]]), int(times[wrong[0] + 1])
        what = "has two bars at" if before == now else f"has, after {_time_text(before)}, the bar of"
        raise DataError(
            f"{archive.path}: {archive.symbol} {what} {_time_text(now)}. Bars must come once, {archive.interval} apart:"
            " give each month or day once."
        )
    return np.flatnonzero(steps > step_us)


def _time_text(us: int) -> str:
    return str(np.datetime64(int(us), "us")).replace("T", " ").removesuffix(".000000")
