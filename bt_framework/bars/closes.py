"""From stored bars to the closes that are traded, in blocks of bounded size."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from bt_framework.bars._manifest import Span
from bt_framework.bars.schema import BarFlag
from bt_framework.bars.trading import Prices, TradedBars
from bt_framework.data.source import FeedReport
from bt_framework.errors import DataError

BLOCK_ROWS = 1 << 17
"""About how many bars are read at a time."""

LOT_BARS = 100
"""Bars whose volumes say whether parts of units are traded: the first ones, so that later ones change nothing."""

_COLUMNS = ("datetime", "close", "volume", "adj_factor", "outlier_flag")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Floats = np.ndarray[Any, np.dtype[np.float64]]
_Ints = np.ndarray[Any, np.dtype[np.int64]]


class BarReader(Protocol):
    """Where bars are kept: the bar store, or a database that reads as it does."""

    def opened(self) -> AbstractContextManager[BarReader]:
        """It with what it needs for several reads in one thread, such as a connection."""
        ...

    def sources(self) -> list[str]:
        """Names of the sources, sorted."""
        ...

    def symbols(self, source: str) -> list[str]:
        """Symbols of `source`, sorted; DataError if there is no such source."""
        ...

    def spans(self, source: str) -> dict[str, Span]:
        """How many bars each symbol of `source` has, and its first and last."""
        ...

    def interval_ns(self, source: str) -> int:
        """From one bar of `source` to the next."""
        ...

    def read(
        self,
        source: str,
        *,
        symbols: Sequence[str],
        start: datetime,
        end: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        """Return bars that open in [`start`, `end`), by symbol and time."""
        ...


@dataclass(frozen=True)
class BarRange:
    """Which bars of a store are traded: those of `source` that open in [`start_ts`, `end_ts`), ns UTC; None: all."""

    source: str
    start_ts: int | None = None
    end_ts: int | None = None


@dataclass(frozen=True)
class Closes:
    """Bars that are traded, in order of time.

    Attributes
    ----------
    ts : int64 array of shape (n_bars,), ns UTC
        When each bar closes.
    px : float64 array of shape (n_bars,), quote currency
        Adjusted as configured.
    qty : float64 array of shape (n_bars,), base units
        Volume, likewise; 0 where there is none.
    """

    ts: _Ints
    px: _Floats
    qty: _Floats


@dataclass
class Summary:
    """What one pass over a symbol's closes has found; prices in quote currency, times of closes in ns UTC."""

    rows: int = 0
    first_ts: int = 0
    last_ts: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    high_px: float = 0.0
    whole_volumes: bool = True
    content: str = ""


class SymbolCloses:
    """The closes of one symbol; each call of `blocks` reads them anew.

    Parameters
    ----------
    reader : BarReader
        Opened for each pass over the bars.
    """

    def __init__(self, reader: BarReader, chosen: BarRange, symbol: str, config: TradedBars) -> None:
        self.symbol = symbol
        self.source = chosen.source
        self.interval_ns = reader.interval_ns(chosen.source)
        self._reader = reader
        self._chosen = chosen
        self._config = config
        self._summary: Summary | None = None
        # What was interpolated comes of a later bar: it was not known then, and is never traded.
        self._skip = int(BarFlag.INTERPOLATED) | sum(int(BarFlag[flag.upper()]) for flag in config.skip_flags)

    @property
    def summary(self) -> Summary:
        """Prices, volumes and content of all of them, as `look` found them."""
        return self._summary or self.look(self._reader)

    def look(self, reader: BarReader) -> Summary:
        """Pass over all of them, through `reader`, and return what `summary` is from now on.

        Raises
        ------
        DataError
            If none can be traded, or some were before 1970, when the engine answers no order.
        """
        summary, report = Summary(), FeedReport()
        content = _Content()
        for closes in self._blocks(reader, report):
            content.update(closes)
            summary.first_ts = int(closes.ts[0]) if summary.high_px == 0.0 else summary.first_ts
            summary.last_ts = int(closes.ts[-1])
            summary.high_px = max(summary.high_px, float(closes.px.max()))
        self._check(summary, report)
        summary.rows, summary.dropped = report.rows_read, dict(report.dropped)
        summary.whole_volumes = not report.notes.get("parts_of_units", False)
        summary.content = content.hexdigest()
        self._summary = summary
        return summary

    def _check(self, summary: Summary, report: FeedReport) -> None:
        if summary.high_px == 0.0:
            raise DataError(
                f"source {self.source} has no bar of {self.symbol} that can be traded in the time asked for:"
                f" {report.rows_read:,} read, {sum(report.dropped.values()):,} left out."
                " Give another data.start, data.end or data.skip_flags."
            )
        opens_ts = summary.first_ts - self.interval_ns
        if opens_ts <= 0:
            raise DataError(
                f"bars of {self.symbol} must open after 1970-01-01 to be traded, the first opens"
                f" {np.datetime64(opens_ts, 'ns').astype('M8[s]')}. Give data.start=1970-01-02."
            )

    def checked_blocks(self, report: FeedReport) -> Iterator[Closes]:
        """Yield `blocks`, and check that they are those of `summary`.

        Raises
        ------
        DataError
            If the bars have changed in between.
        """
        content = _Content()
        for closes in self.blocks(report):
            content.update(closes)
            yield closes
        if content.hexdigest() != self.summary.content:
            raise DataError(
                f"bars of {self.symbol} in source {self.source} changed while they were read."
                " Run again once they are complete."
            )

    def blocks(self, report: FeedReport) -> Iterator[Closes]:
        """Yield the closes in order of time; what is left out is counted in `report`."""
        return self._blocks(self._reader, report)

    def _blocks(self, reader: BarReader, report: FeedReport) -> Iterator[Closes]:
        anchor = math.nan
        for columns in self._read(reader):
            if _has_parts(columns["volume"][: max(0, LOT_BARS - report.rows_read)]):
                report.notes["parts_of_units"] = True
            report.rows_read += len(columns["close"])
            bars = _traded(columns, self._skip, report)
            if len(bars["close"]) == 0:
                continue
            if math.isnan(anchor):
                anchor = float(bars["adj_factor"][0])
            yield self._adjusted(bars, anchor)

    def _read(self, reader: BarReader) -> Iterator[dict[str, Any]]:
        """Yield the columns of the bars chosen, block by block."""
        with reader.opened() as opened:
            for start, end in self._windows():
                yield _columns(
                    opened.read(self.source, symbols=[self.symbol], start=start, end=end, columns=_COLUMNS)
                )

    def _adjusted(self, bars: Mapping[str, Any], anchor: float) -> Closes:
        factor: _Floats = np.ones(len(bars["close"]))
        if self._config.adjust is not Prices.none:
            factor = bars["adj_factor"]
        if self._config.adjust is Prices.point_in_time:
            factor = factor / anchor
        ts = bars["datetime"] * 1_000 + self.interval_ns
        return Closes(ts, bars["close"] * factor, np.nan_to_num(bars["volume"], nan=0.0) / factor)

    def _windows(self) -> list[tuple[datetime, datetime]]:
        """Spans of time that have about `BLOCK_ROWS` bars each."""
        chosen, span = self._chosen, self._reader.spans(self.source)[self.symbol]
        first, last = span.first_us, span.last_us + 1
        if chosen.start_ts is not None:
            first = max(first, chosen.start_ts // 1_000)
        if chosen.end_ts is not None:
            last = min(last, chosen.end_ts // 1_000)
        if first >= last:
            return []
        count = max(
            1, math.ceil(span.rows / BLOCK_ROWS * (last - first) / (span.last_us + 1 - span.first_us))
        )
        edges = [first + (last - first) * i // count for i in range(count + 1)]
        times = [_EPOCH + timedelta(microseconds=edge) for edge in edges]
        return list(pairwise(times))


class _Content:
    """Hash of closes, however they are cut into blocks."""

    def __init__(self) -> None:
        self._hashes = [hashlib.sha256() for _ in range(3)]

    def update(self, closes: Closes) -> None:
        for column, values in zip(self._hashes, (closes.ts, closes.px, closes.qty), strict=True):
            column.update(np.ascontiguousarray(values).data)

    def hexdigest(self) -> str:
        return hashlib.sha256(b"".join(column.digest() for column in self._hashes)).hexdigest()


def _has_parts(volume: _Floats) -> bool:
    return bool(np.any(volume[np.isfinite(volume)] % 1.0))


def _columns(table: pa.Table) -> dict[str, Any]:
    """Columns as arrays; a missing price or volume is NaN."""
    columns = {name: table.column(name).combine_chunks() for name in _COLUMNS}
    times = columns.pop("datetime").cast(pa.int64()).to_numpy(zero_copy_only=False)
    return {"datetime": times, **{n: c.to_numpy(zero_copy_only=False) for n, c in columns.items()}}


def _traded(bars: Mapping[str, Any], skip: int, report: FeedReport) -> dict[str, Any]:
    """The bars that have a close, and none of the flags to skip."""
    close = bars["close"]
    priced = np.isfinite(close) & (close > 0.0)
    open_to_all = (bars["outlier_flag"] & skip) == 0
    report.drop("no close", count=int(np.count_nonzero(~priced)))
    report.drop("flagged bars", count=int(np.count_nonzero(priced & ~open_to_all)))
    kept = priced & open_to_all
    return {name: column[kept] for name, column in bars.items()}
