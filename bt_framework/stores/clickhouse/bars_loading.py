"""From the bar store to the tables of bars: what is new or other than before, and nothing twice."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import DataError, StorageError
from bt_framework.registry import unknown_name
from bt_framework.stores.clickhouse import _bar_tables as tables
from bt_framework.stores.clickhouse._bar_tables import Selection
from bt_framework.stores.clickhouse.retrying import patiently
from bt_framework.stores.clickhouse.schema import require
from bt_framework.units import format_duration_ns

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.bars._manifest import Span
    from bt_framework.bars.pieces import Piece
    from bt_framework.stores.clickhouse.connection import ClickHouse

ROWS_AT_ONCE = 500_000
"""Bars in memory, and in one insert, together; inserts of this size are stored whole or not at all."""

_HASH_BYTES = 16
_STALE = "source = {source:String} AND symbol IN {symbols:Array(String)} AND load_id NOT IN {load_ids:Array(String)}"
_REMOVE_STALE = (f"DELETE FROM bars WHERE {_STALE}", f"DELETE FROM bars_actions WHERE {_STALE}")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BarsLoaded:
    """What a load has done.

    Attributes
    ----------
    symbols, bars : int
        All that were asked for, as they are in the database now.
    loaded : tuple of str
        Symbols that are new there, or other than before.
    inserted : int
        Bars that were sent.
    kept_symbols : int
        Other symbols of the source that the database has.
    """

    source: str
    symbols: int
    bars: int
    loaded: tuple[str, ...]
    inserted: int
    kept_symbols: int

    @property
    def line(self) -> str:
        """It in one line for people."""
        same = self.symbols - len(self.loaded)
        parts = [f"{self.source}: {self.symbols:,} symbols, {self.bars:,} bars; {len(self.loaded):,} loaded"]
        parts += [f"{same:,} already there"] if same else []
        parts += [f"{self.kept_symbols:,} others stay as they were"] if self.kept_symbols else []
        return ", ".join(parts)


def load_bars(
    db: ClickHouse,
    store_dir: Path,
    source: str,
    symbols: Sequence[str] = (),
    progress: Progress | None = None,
) -> BarsLoaded:
    """Load the bars of a source of the bar store, and the corporate actions of its symbols.

    A symbol whose bars the database has already is left alone; one whose history has changed takes the place of what
    was there, all at once. A load that was stopped goes on where it was.

    Parameters
    ----------
    store_dir : Path
        Folder of the stores.
    symbols : sequence of str
        All of the source where empty.
    progress : callable, optional
        Called with (done, total) of two passes over the bars: one to compare, one to send.

    Raises
    ------
    DataError
        If the bar store has no such source or symbol, the bars change meanwhile, or the database has other symbols of
        this source with another interval.
    StorageError
        If the database cannot be written, or another load interferes.
    """
    require(db)
    return _Load(db, Path(store_dir), source, symbols, progress or _silent).run()


class _Load:
    """One load; nothing of a symbol counts before all of it is there."""

    def __init__(
        self, db: ClickHouse, store_dir: Path, source: str, symbols: Sequence[str], progress: Progress
    ) -> None:
        from bt_framework.bars.store import BarStore

        self._db = db
        self._source = source
        self._store = BarStore(store_dir / "bars")
        self._spans = _chosen(self._store.spans(source), symbols, source)
        self._interval_ns = self._store.interval_ns(source)
        self._actions = _stored_actions(store_dir, source, self._spans)
        self._before = tables.loads(db, source)
        self._refuse_other_interval()
        self._progress = progress
        self._done = 0
        self._bars = sum(span.rows for span in self._spans.values())

    def run(self) -> BarsLoaded:
        """Compare, send what is new, and remove what it replaces."""
        load_ids = self._load_ids(self._spans)
        there = tables.counts(self._db, self._source, self._spans)
        wanted = {s: span for s, span in self._spans.items() if not self._has(s, load_ids[s], there)}
        inserted = self._send(wanted, load_ids, there)
        stale = {symbol for symbol, load_id in there if load_id != load_ids[symbol]}
        self._remove_stale(sorted(stale), load_ids)
        self._progress(2 * self._bars, 2 * self._bars)
        return BarsLoaded(
            source=self._source,
            symbols=len(self._spans),
            bars=self._bars,
            loaded=tuple(wanted),
            inserted=inserted,
            kept_symbols=len(set(self._before) - set(self._spans)),
        )

    def _has(self, symbol: str, load_id: str, there: Mapping[tuple[str, str], int]) -> bool:
        """Whether the load counts already, and all of its bars are there."""
        before = self._before.get(symbol)
        return (
            before is not None
            and before.load_id == load_id
            and there.get((symbol, load_id)) == self._spans[symbol].rows
        )

    def _load_ids(self, spans: Mapping[str, Span]) -> dict[str, str]:
        """Hash of each symbol's bars and actions."""
        from bt_framework.bars.pieces import pieces

        found: dict[str, str] = {}
        contents: dict[str, _Content] = {}
        for piece in pieces(spans, ROWS_AT_ONCE):
            self._read(piece, contents)
            found |= self._finished(piece, contents)
        return found

    def _read(self, piece: Piece, contents: dict[str, _Content]) -> pa.Table:
        """Bars of a piece; they go into the hashes of their symbols."""
        from bt_framework.bars._tables import by_symbol

        table = self._store.read(self._source, symbols=piece.symbols, start=piece.start, end=piece.end)
        for symbol, rows in by_symbol(table):
            content = contents.setdefault(symbol, _Content(symbol, self._interval_ns))
            content.add(table.slice(int(rows[0]), len(rows)))
        self._done += table.num_rows
        self._progress(self._done, 2 * self._bars)
        return table

    def _finished(self, piece: Piece, contents: dict[str, _Content]) -> dict[str, str]:
        """Hashes of the symbols whose last bars were in `piece`."""
        found: dict[str, str] = {}
        for symbol in piece.symbols if piece.last else ():
            content = contents.pop(symbol, None)
            if content is None or content.rows != self._spans[symbol].rows:
                raise self._changed(symbol)
            found[symbol] = content.hexdigest(self._actions.get(symbol, []))
        return found

    def _changed(self, symbol: str) -> DataError:
        return DataError(
            f"bars of {symbol} in source {self._source} changed while they were loaded. Run again once they are"
            " complete."
        )

    def _send(
        self, wanted: Mapping[str, Span], load_ids: Mapping[str, str], there: Mapping[tuple[str, str], int]
    ) -> int:
        """Insert the bars of `wanted`, symbol by symbol; returns how many were sent."""
        from bt_framework.bars.pieces import pieces

        self._done = 2 * self._bars - sum(span.rows for span in wanted.values())
        contents: dict[str, _Content] = {}
        sent = 0
        for piece in pieces(wanted, ROWS_AT_ONCE):
            table = self._read(piece, contents)
            begun = any((symbol, load_ids[symbol]) in there for symbol in piece.symbols)
            if not begun or tables.count(self._db, self._selection(piece, load_ids)) != table.num_rows:
                self._insert("bars", _with_keys(table, self._source, load_ids))
                sent += table.num_rows
            for symbol, load_id in self._finished(piece, contents).items():
                if load_id != load_ids[symbol]:
                    raise self._changed(symbol)
            if piece.last:
                self._let_count(piece, load_ids)
        return sent

    def _selection(self, piece: Piece, load_ids: Mapping[str, str]) -> Selection:
        ids = tuple(load_ids[symbol] for symbol in piece.symbols)
        return Selection(self._source, piece.symbols, ids, piece.first_us, piece.end_us)

    def _insert(self, table: str, rows: pa.Table) -> None:
        # Rows with equal keys replace each other: what is sent twice is seen once.
        patiently(lambda: self._db.insert(table, rows))

    def _let_count(self, piece: Piece, load_ids: Mapping[str, str]) -> None:
        """Let the loads of the piece's symbols count, once the database has all of their bars."""
        import pyarrow as pa

        from bt_framework.bars.schema import ACTION_SCHEMA

        known = [row for symbol in piece.symbols for row in self._actions.get(symbol, [])]
        actions = pa.Table.from_pylist(known, schema=ACTION_SCHEMA)
        if actions.num_rows:
            self._insert("bars_actions", _with_keys(actions, self._source, load_ids))
        there = tables.counts(self._db, self._source, piece.symbols)
        rows = []
        for symbol in piece.symbols:
            found, expected = there.get((symbol, load_ids[symbol]), 0), self._spans[symbol].rows
            if found != expected:
                raise StorageError(
                    f"{self._db.address.name} has {found:,} of {expected:,} bars of {symbol} that were sent. Another"
                    " load of this source may be at work; run again when it has finished."
                )
            rows.append(self._source_row(symbol, load_ids[symbol]))
        self._insert("bars_sources", pa.Table.from_pylist(rows, schema=_sources_schema()))

    def _source_row(self, symbol: str, load_id: str) -> dict[str, Any]:
        span, before = self._spans[symbol], self._before.get(symbol)
        return {
            "source": self._source,
            "symbol": symbol,
            "interval_ns": self._interval_ns,
            "load_id": load_id,
            "bars": span.rows,
            "actions": len(self._actions.get(symbol, [])),
            "first_datetime": span.first_us,
            "last_datetime": span.last_us,
            # Also where this clock is behind that of the one before.
            "updated_at_ns": max(time.time_ns(), before.updated_at_ns + 1 if before else 0),
        }

    def _remove_stale(self, symbols: Sequence[str], load_ids: Mapping[str, str]) -> None:
        """Remove the rows of the symbols' other loads, which no longer count."""
        for some in tables.batches(symbols):
            values = {"source": self._source, "symbols": some, "load_ids": [load_ids[s] for s in some]}
            for statement in _REMOVE_STALE:
                patiently(lambda sql=statement, values=values: self._db.command(sql, values))  # type: ignore[misc]

    def _refuse_other_interval(self) -> None:
        for load in self._before.values():
            if load.symbol not in self._spans and load.interval_ns != self._interval_ns:
                raise DataError(
                    f"{self._db.address.name} has bars of {format_duration_ns(load.interval_ns)} of {load.symbol} in"
                    f" source {self._source}, those to load are of {format_duration_ns(self._interval_ns)}. Keep them"
                    " under another name (bars.source=NAME), or load all symbols."
                )


class _Content:
    """Hash of one symbol's bars, however they are cut; null and NaN are the same."""

    def __init__(self, symbol: str, interval_ns: int) -> None:
        from bt_framework.bars.schema import BAR_SCHEMA

        self.rows = 0
        self._names = BAR_SCHEMA.names[1:]
        self._head = f"{symbol}\n{interval_ns}\n"
        self._columns = [hashlib.blake2b(digest_size=_HASH_BYTES) for _ in self._names]

    def add(self, table: pa.Table) -> None:
        """Take the next bars."""
        import numpy as np

        from bt_framework.bars._tables import times_us

        self.rows += table.num_rows
        for name, column in zip(self._names, self._columns, strict=True):
            values = times_us(table) if name == "datetime" else table[name].to_numpy()
            column.update(np.ascontiguousarray(values).data)

    def hexdigest(self, actions: Sequence[Mapping[str, Any]]) -> str:
        """Hash of the bars and these actions."""
        total = hashlib.blake2b(self._head.encode(), digest_size=_HASH_BYTES)
        for column in self._columns:
            total.update(column.digest())
        for row in actions:
            total.update(f"{row['ex_date']}\n{row['kind']}\n{row['value']!r}\n".encode())
        return total.hexdigest()


def _chosen(spans: Mapping[str, Span], symbols: Sequence[str], source: str) -> dict[str, Span]:
    """Spans of `symbols`, or of all, by symbol."""
    for symbol in symbols:
        if symbol not in spans:
            raise DataError(unknown_name(f"symbols, a symbol of source {source}", symbol, sorted(spans)))
    return {symbol: spans[symbol] for symbol in sorted(set(symbols) or spans)}


def _stored_actions(store_dir: Path, source: str, symbols: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Corporate actions in the research store: rows of `ACTION_SCHEMA` by symbol, in order."""
    from bt_framework.stores.research import FILE_NAME, ResearchStore

    if not (store_dir / FILE_NAME).exists():
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in ResearchStore.in_folder(store_dir).actions(symbols, source=source).to_pylist():
        found.setdefault(row["symbol"], []).append(row)
    return found


def _with_keys(rows: pa.Table, source: str, load_ids: Mapping[str, str]) -> pa.Table:
    """`rows` with the columns source and load_id."""
    import pyarrow as pa

    encoded = rows["symbol"].combine_chunks().dictionary_encode()
    ids = pa.array([load_ids[symbol] for symbol in encoded.dictionary.to_pylist()], pa.string())
    rows = rows.append_column("load_id", ids.take(encoded.indices))
    return rows.append_column("source", pa.repeat(source, rows.num_rows))


def _sources_schema() -> pa.Schema:
    import pyarrow as pa

    texts = [pa.field(name, pa.string()) for name in ("source", "symbol", "load_id")]
    numbers = [pa.field(name, pa.int64()) for name in ("interval_ns", "bars", "actions", "updated_at_ns")]
    times = [pa.field(name, pa.timestamp("us", tz="UTC")) for name in ("first_datetime", "last_datetime")]
    return pa.schema([*texts, *numbers, *times])


def _silent(done: int, total: int) -> None:
    pass
