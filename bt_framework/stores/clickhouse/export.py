"""Stored events as a Parquet or Arrow file with the columns of market_data, bit for bit."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.data._workspace import storage_errors
from bt_framework.errors import DataError
from bt_framework.stores.clickhouse.loading import event_table

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.data.source import Progress
    from bt_framework.data.store import StoredFeed

BLOCK_ROWS = 1 << 18
"""Of a row group or record batch."""

_FLOATS = ("px", "qty", "fval")
_TIMES = {name: "DELTA_BINARY_PACKED" for name in ("sequence", "exch_ts", "local_ts")}


class FileFormat(StrEnum):
    """Of the file."""

    PARQUET = "parquet"
    ARROW = "arrow"


def export_events(
    feeds: Iterable[StoredFeed],
    span: tuple[int | None, int | None],
    path: Path,
    file_format: FileFormat,
    progress: Progress,
) -> int:
    """Write the events of feeds that were received in a span of time, one feed after the other.

    Parameters
    ----------
    span : (int or None, int or None)
        Local time, ns UTC: from, and before; None for no bound.
    path : Path
        Is there, or another than before, once everything is written.

    Returns
    -------
    int
        Events written.

    Raises
    ------
    DataError
        If there are none in the span.
    StorageError
        If the file cannot be written; there is no part of it then.
    """
    feeds, done = list(feeds), 0
    total = sum(feed.events for feed in feeds)
    with storage_errors(path.parent, f"writing {path.name}"), _Writer(path, file_format) as writer:
        for feed in feeds:
            for sequence, rows in _inside(feed, span):
                writer.write(_spelled(event_table(feed.content_hash, feed.symbol, sequence, rows)))
                done += len(rows)
                progress(done, total)
        if not done:
            spans = "; ".join(
                f"{f.symbol} {_iso(f.first_local_ts)} to {_iso(f.last_local_ts)}" for f in feeds
            )
            raise DataError(f"no events were received in the time asked for. There are: {spans}.")
        writer.finish()
    return done


def _inside(
    feed: StoredFeed, span: tuple[int | None, int | None]
) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Blocks of the events in a span, and their positions in the feed."""
    events = feed.open()
    for start in range(0, len(events), BLOCK_ROWS):
        rows = events[start : start + BLOCK_ROWS]
        inside = np.ones(len(rows), bool)
        if span[0] is not None:
            inside &= rows["local_ts"] >= span[0]
        if span[1] is not None:
            inside &= rows["local_ts"] < span[1]
        if inside.any():
            yield np.flatnonzero(inside).astype(np.uint64) + np.uint64(start), rows[inside]


def _spelled(table: pa.Table) -> pa.Table:
    """`table` with words in every row: an Arrow file has one dictionary, and feeds have words of their own."""
    import pyarrow as pa

    types = [pa.string() if pa.types.is_dictionary(f.type) else f.type for f in table.schema]
    return table.cast(pa.schema(list(zip(table.schema.names, types, strict=True))))


class _Writer:
    """A file that appears under its name when it is finished."""

    def __init__(self, path: Path, file_format: FileFormat) -> None:
        self._path, self._format = path, file_format
        self._draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        self._writer: Any = None

    def __enter__(self) -> _Writer:
        return self

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if self._writer is None:
            self._writer = self._opened(table.schema)
        self._writer.write_table(table)

    def finish(self) -> None:
        """Complete the file."""
        self._writer.close()
        os.replace(self._draft, self._path)

    def __exit__(self, *exc: object) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            self._draft.unlink(missing_ok=True)

    def _opened(self, schema: pa.Schema) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._format is FileFormat.ARROW:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            return pa.ipc.new_file(self._draft, schema, options=options)
        # Without dictionaries, floats keep every bit.
        words = [name for name in schema.names if name not in (*_FLOATS, *_TIMES)]
        return pq.ParquetWriter(
            self._draft, schema, compression="zstd", use_dictionary=words, column_encoding=_TIMES
        )


def _iso(ts: int) -> str:
    return f"{np.datetime64(ts, 'ns')}Z"
