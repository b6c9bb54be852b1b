"""Bars that come in any mixture of symbols, handed out symbol by symbol; what is too much for memory is on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bt_framework.bars._tables import by_symbol, checked, times_us
from bt_framework.bars.schema import BAR_SCHEMA

HELD_ROWS = 2_000_000
"""Bars in memory; each further such number makes a file."""
_ROW_GROUP = 65_536


class Spool:
    """Collects tables of bars.

    Parameters
    ----------
    folder : Path
        For files; it exists.
    source : str
        For messages.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._source = source
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._files: list[Path] = []
        self._rows: Counter[str] = Counter()
        self._distances: Counter[int] = Counter()
        self._last_us: dict[str, int] = {}
        self._bounds_us: list[int] = []

    def add(self, table: pa.Table) -> None:
        """Take bars; each symbol's come in order of time, from table to table too.

        Raises
        ------
        DataError
            If the table is not of `BAR_SCHEMA`.
        """
        table = checked(table, self._source)
        times = times_us(table)
        for symbol, rows in by_symbol(table):
            self._rows[symbol] += len(rows)
            before = self._last_us.get(symbol)
            own = times[rows] if before is None else np.r_[before, times[rows]]
            distances, counts = np.unique(np.diff(own), return_counts=True)
            self._distances.update(dict(zip(distances.tolist(), counts.tolist(), strict=True)))
            self._last_us[symbol] = int(times[rows[-1]])
        if len(times):
            everything = [*self._bounds_us, int(times.min()), int(times.max())]
            self._bounds_us = [min(everything), max(everything)]
        self._held.append(table)
        self._held_rows += table.num_rows
        if self._held_rows >= HELD_ROWS:
            self._spill()

    @property
    def rows(self) -> dict[str, int]:
        """How many bars each symbol has, by symbol."""
        return dict(sorted(self._rows.items()))

    def range_us(self) -> tuple[int, int]:
        """When the first and the last bar open; there is one."""
        return self._bounds_us[0], self._bounds_us[1]

    def usual_distance_us(self) -> int:
        """Return the most frequent distance between two bars of a symbol, the shorter of two; 0 if there is none."""
        ahead = [(-count, distance) for distance, count in self._distances.items() if distance > 0]
        return min(ahead)[1] if ahead else 0

    def bars(self, symbols: Sequence[str]) -> dict[str, pa.Table]:
        """Return the bars of each of `symbols`, as they came."""
        wanted = pa.array(list(symbols), pa.string())
        tables = [pq.read_table(path, filters=[("symbol", "in", list(symbols))]) for path in self._files]
        tables += [held.filter(pc.is_in(held["symbol"], value_set=wanted)) for held in self._grouped()]
        table = pa.concat_tables(tables).combine_chunks() if tables else BAR_SCHEMA.empty_table()
        return {symbol: table.take(rows) for symbol, rows in by_symbol(table)}

    def _grouped(self) -> list[pa.Table]:
        """Hold what is held as one table by symbol, each symbol's rows as they came."""
        if len(self._held) > 1:
            table = pa.concat_tables(self._held).combine_chunks()
            parts: list[Any] = [rows for _, rows in by_symbol(table)]
            self._held = [table.take(np.concatenate(parts))]
        return self._held

    def _spill(self) -> None:
        path = self._folder / f"run-{len(self._files)}.parquet"
        pq.write_table(self._grouped()[0], path, row_group_size=_ROW_GROUP)
        self._files.append(path)
        self._held, self._held_rows = [], 0
