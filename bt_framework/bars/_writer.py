"""One write to a source of the bar store: staged files, moved into place, and counted by one new manifest."""

from __future__ import annotations

import contextlib
import os
import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bt_framework.bars._manifest import DAY_NS, Part, SourceManifest, Span, time_text
from bt_framework.bars._tables import checked, spans, symbol_ranks, times_us
from bt_framework.errors import DataError
from bt_framework.units import format_duration_ns

FLUSH_ROWS = 2_000_000
"""Bars held in memory until they are staged; each flush makes one file a partition."""
_MOST_PARTS = 8
"""Files of a partition; more are merged by the write that makes them."""
_ROW_GROUP = 32_768
_DAY_US = DAY_NS // 1_000
_EPOCH = date(1970, 1, 1)


class BarWriter:
    """Collects bars for one source; nothing counts before `commit`.

    Parameters
    ----------
    folder : Path
        The source's folder.
    staging : Path
        A folder on the same file system.
    old : SourceManifest or None
        What is there now.
    replace : bool
        Whether the symbols written take the place of what they have; otherwise they must go on after it.
    """

    def __init__(
        self, folder: Path, staging: Path, old: SourceManifest | None, *, interval_ns: int, replace: bool
    ) -> None:
        self._folder = folder
        self._staging = staging
        self._source = folder.name.partition("=")[2]
        self._old = old or SourceManifest(interval_ns)
        self._interval_ns = interval_ns
        self._replace = replace
        self._spans: dict[str, Span] = {}
        self._held: list[pa.Table] = []
        self._staged: list[Part] = []
        if not replace:
            self._refuse_other_interval(self._old.symbols)

    def add(self, table: pa.Table) -> int:
        """Take bars of `BAR_SCHEMA`; returns how many.

        Raises
        ------
        DataError
            If they break the schema, or a symbol's bars do not come after those it has.
        """
        table = checked(table, self._source)
        for symbol, span in spans(table, self._source).items():
            before = self._spans.get(symbol) or (None if self._replace else self._old.symbols.get(symbol))
            if before is not None and span.first_us <= before.last_us:
                raise DataError(
                    f"bars of {self._source}: the last bar stored of {symbol} is {time_text(before.last_us)}, the"
                    f" first one offered is {time_text(span.first_us)}. Append later bars only, or replace the"
                    " symbol's."
                )
            known = self._spans.get(symbol)
            self._spans[symbol] = known.and_then(span) if known else span
        self._held.append(table)
        if sum(held.num_rows for held in self._held) >= FLUSH_ROWS:
            self._flush()
        return int(table.num_rows)

    def commit(self) -> None:
        """Make what was added count, all of it at once."""
        if not self._spans:
            return
        self._flush()
        kept = self._kept()
        self._refuse_other_interval(kept)
        parts, doomed = self._merged(self._without_replaced(kept))
        symbols = dict(kept)
        for symbol, span in self._spans.items():
            symbols[symbol] = kept[symbol].and_then(span) if symbol in kept else span
        manifest = SourceManifest(self._interval_ns, self._old.generation + 1, tuple(parts), symbols)
        moved = [part for part in parts if (self._staging / part.path).exists()]
        try:
            for part in moved:
                (self._folder / part.path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(self._staging / part.path, self._folder / part.path)
            manifest.write(self._folder)
        except BaseException:
            remove_files(self._folder, [part.path for part in moved])
            raise
        remove_files(self._folder, [part.path for part in doomed])

    def _kept(self) -> dict[str, Span]:
        """Spans of the old bars that stay."""
        gone = self._spans if self._replace else {}
        return {name: span for name, span in self._old.symbols.items() if name not in gone}

    def _refuse_other_interval(self, kept: dict[str, Span]) -> None:
        if kept and self._old.interval_ns != self._interval_ns:
            raise DataError(
                f"source {self._source} has bars of {format_duration_ns(self._old.interval_ns)}, those offered are"
                f" of {format_duration_ns(self._interval_ns)}. Keep them under another name (bars.source=NAME)."
            )

    def _flush(self) -> None:
        """Stage what is held: one file a partition."""
        if not self._held:
            return
        bars = pa.concat_tables(self._held)
        self._held = []
        times = times_us(bars)
        days = self._partitions(times)
        ranks, _ = symbol_ranks(bars)
        order = np.lexsort((times, ranks, days))
        bars, days = bars.take(order), days[order]
        first = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
        for begin, end in zip(first, np.r_[first[1:], len(days)], strict=True):
            self._staged.append(self._stage(days[begin], bars.slice(begin, end - begin)))

    def _partitions(self, times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """First day of each time's partition, as days since 1970."""
        days = times // _DAY_US
        if self._interval_ns < DAY_NS:
            return days
        return days.astype("M8[D]").astype("M8[Y]").astype("M8[D]").astype(np.int64)

    def _stage(self, day: int, bars: pa.Table) -> Part:
        path = f"date={_EPOCH + timedelta(days=int(day))}/part-{uuid.uuid4().hex}.parquet"
        (self._staging / path).parent.mkdir(exist_ok=True)
        pq.write_table(bars, self._staging / path, compression="zstd", row_group_size=_ROW_GROUP)
        return Part(path, bars.num_rows)

    def _without_replaced(self, kept: dict[str, Span]) -> list[Part]:
        """Old parts without the symbols that are replaced; those that have some of them are staged anew."""
        if len(kept) == len(self._old.symbols):
            return list(self._old.parts)
        if not kept:
            return []
        replaced = pa.array(list(self._spans), pa.string())
        parts = []
        for part in self._old.parts:
            bars = pq.read_table(self._folder / part.path, partitioning=None)
            left = bars.filter(pc.invert(pc.is_in(bars["symbol"], value_set=replaced)))
            if left.num_rows == part.rows:
                parts.append(part)
            elif left.num_rows:
                parts.append(self._stage((part.day - _EPOCH).days, left))
        return parts

    def _merged(self, old: list[Part]) -> tuple[list[Part], list[Part]]:
        """Parts that will count, by partition, and old ones that no longer do."""
        by_day: dict[date, list[Part]] = {}
        for part in [*old, *self._staged]:
            by_day.setdefault(part.day, []).append(part)
        parts = []
        for day in sorted(by_day):
            if len(by_day[day]) > _MOST_PARTS:
                by_day[day] = [self._joined(day, by_day[day])]
            parts += by_day[day]
        return parts, [part for part in self._old.parts if part not in parts]

    def _joined(self, day: date, parts: list[Part]) -> Part:
        tables = []
        for part in parts:
            staged = self._staging / part.path
            path = staged if staged.exists() else self._folder / part.path
            tables.append(pq.read_table(path, partitioning=None))
        bars = pa.concat_tables(tables)
        ranks, _ = symbol_ranks(bars)
        return self._stage((day - _EPOCH).days, bars.take(np.lexsort((times_us(bars), ranks))))


def remove_files(folder: Path, paths: list[str]) -> None:
    """Remove files of `folder` and the partitions that are empty then; what cannot be removed stays."""
    for path in paths:
        with contextlib.suppress(OSError):
            (folder / path).unlink()
        with contextlib.suppress(OSError):
            (folder / path).parent.rmdir()


def remove_strays(folder: Path, manifest: SourceManifest | None) -> None:
    """Remove the files that a killed write left in `folder`."""
    known = {part.path for part in manifest.parts} if manifest else set()
    found = (str(path.relative_to(folder)) for path in folder.glob("date=*/part-*.parquet"))
    remove_files(folder, [path for path in found if path not in known])
