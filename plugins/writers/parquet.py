"""Parquet files in the run folder, streamed while the run goes on.

Rows are buffered and written as part files, each complete before it gets its name, so that a killed run
leaves nothing that cannot be read. At the end a table's parts become one file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError, StorageError
from bt_framework.hookspecs import hookimpl
from bt_framework.registry import unknown_name
from bt_framework.results.folder import PARTS_FOLDER, replacing
from bt_framework.results.record import RunNames
from bt_framework.results.run import TABLES, RunContext, RunSummary, SliceBatch
from bt_framework.results.schemas import RECORDS, columns, schema, to_arrow

_COMPRESSIONS = ("zstd", "snappy", "lz4", "gzip", "none")
_SMALL_ROWS = 1_000
"""Tables with fewer rows are not compressed: that would take longer than the rest of writing them."""


@dataclass
class Parquet(ComponentConfig):
    """One Parquet file per table in the run folder, streamed while the run goes on."""

    name: str = param("parquet", "registry name")
    compression: str = param(
        "zstd", f"of tables of {_SMALL_ROWS:,} rows and more: one of {', '.join(_COMPRESSIONS)}"
    )
    flush_rows: int = param(100_000, "rows of a table that are kept in memory; size of a row group")
    flush_interval_ns: Duration = param("5s", "wall time until rows are written", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.compression not in _COMPRESSIONS:
            raise ConfigError(unknown_name("compression", self.compression, _COMPRESSIONS))
        if self.flush_rows < 1:
            raise ConfigError(f"flush_rows must be >= 1, was {self.flush_rows}.")
        if int(self.flush_interval_ns) < 0:
            raise ConfigError(f"flush_interval_ns must be >= 0, was {self.flush_interval_ns}.")


def build(config: Parquet) -> ParquetWriter:
    """Return the writer."""
    return ParquetWriter(config)


class ParquetWriter:
    """Writes the tables of one run."""

    def __init__(self, config: Parquet) -> None:
        self._config = config
        self._failed = False
        self._finished: set[str] = set()
        self._flushed_at_ns = 0
        self._rows: dict[str, list[np.ndarray]] = {name: [] for name in TABLES}
        self._parts: dict[str, list[Path]] = {name: [] for name in TABLES}

    @hookimpl
    def before_run(self, run: RunContext) -> None:
        """Start the clock."""
        self._flushed_at_ns = time.monotonic_ns()

    @hookimpl
    def on_slice(self, run: RunContext, batch: SliceBatch) -> None:
        """Keep the slice's rows, and write what is due."""
        late = time.monotonic_ns() - self._flushed_at_ns >= int(self._config.flush_interval_ns)
        for name, rows in batch.tables.items():
            if len(rows):
                self._rows[name].append(rows.copy())
            if late or sum(map(len, self._rows[name])) >= self._config.flush_rows:
                self._write_part(name, run)
        if late:
            self._flushed_at_ns = time.monotonic_ns()

    @hookimpl
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Write what is left, and join each table's parts."""
        for name in TABLES:
            if name not in self._finished:
                self._finish(name, run)
                self._finished.add(name)
        with suppress(OSError):
            (run.run_dir / PARTS_FOLDER).rmdir()

    @hookimpl
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Write what is left, unless writing was what failed: the parts stay readable then."""
        if not self._failed:
            self.after_run(run, summary)

    def _take(self, name: str, run: RunContext) -> Any:
        """Return the buffered rows as a table; rows that cannot be told in words are dropped with an error."""
        rows, self._rows[name] = self._rows[name], []
        return to_arrow(name, np.concatenate(rows) if rows else np.empty(0, RECORDS[name]), run)

    def _write_part(self, name: str, run: RunContext) -> None:
        table = self._take(name, run)
        if table.num_rows == 0:
            return
        folder = run.run_dir / PARTS_FOLDER
        path = folder / f"{name}-{len(self._parts[name]):05d}.parquet"
        with self._failing(folder):
            folder.mkdir(exist_ok=True)
            self._write(path, name, [table])
        self._parts[name].append(path)

    def _finish(self, name: str, run: RunContext) -> None:
        path = run.run_dir / f"{name}.parquet"
        parts = self._parts[name]
        with self._failing(path):
            if not parts and not self._rows[name]:
                with replacing(path) as file:
                    file.write(_without_rows(name, self._config.compression))
                return
            table = self._take(name, run)
            if len(parts) == 1 and table.num_rows == 0:
                os.replace(parts[0], path)
                return
            if not parts and table.num_rows < _SMALL_ROWS:
                with replacing(path) as file:
                    file.write(_content(table, _layout(name, "none")))
                return
            self._write(path, name, _joined(parts, table))
            for part in parts:
                part.unlink()

    def _write(self, path: Path, name: str, tables: Iterable[Any]) -> None:
        import pyarrow.parquet as pq

        layout = _layout(name, self._config.compression)
        with replacing(path) as file, pq.ParquetWriter(file, schema(name), **layout) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=self._config.flush_rows)

    @contextmanager
    def _failing(self, path: Path) -> Iterator[None]:
        """Remember a failure to write, and say where it was."""
        try:
            yield
        except (OSError, StorageError) as error:
            self._failed = True
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from error


@lru_cache(maxsize=64)
def _without_rows(table: str, compression: str) -> bytes:
    """The file of a table that nothing came into: a run has some, and they are all the same."""
    nothing = to_arrow(table, np.empty(0, RECORDS[table]), RunNames((), ()))
    return bytes(_content(nothing, _layout(table, compression)))


def _content(table: Any, layout: Mapping[str, Any]) -> Any:
    """Make a file in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pa.BufferOutputStream()
    with pq.ParquetWriter(file, table.schema, **layout) as writer:
        writer.write_table(table)
    return file.getvalue()


def _layout(table: str, compression: str) -> dict[str, Any]:
    """Compression, and encodings that suit the columns: half the time and two thirds of the size of the default."""
    by_kind = {"i": "DELTA_BINARY_PACKED", "f": "BYTE_STREAM_SPLIT"}
    numbers = [c for c in columns(table) if c.words is None and not c.boolean]
    return {
        "compression": compression,
        "use_dictionary": [c.name for c in columns(table) if c.words is not None],
        "column_encoding": {c.name: by_kind[RECORDS[table][c.field].kind] for c in numbers},
    }


def _joined(parts: Iterable[Path], rest: Any) -> Iterator[Any]:
    """Yield the tables of `parts`, one in memory at a time, and then `rest`."""
    import pyarrow.parquet as pq

    for part in parts:
        yield pq.read_table(part)
    yield rest
