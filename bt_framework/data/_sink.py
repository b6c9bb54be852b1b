"""Writing events: one .npy file to be mapped and one Parquet file per day, from a thread of its own.

Floats are archived without a dictionary: that keeps every bit, negative zeros and NaN payloads included.
"""

from __future__ import annotations

import hashlib
import io
import queue
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from bt_framework.errors import StorageError
from bt_framework.records import EVENT, EventFlag
from bt_framework.units import NS_PER_S

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Rows = np.ndarray[Any, Any]
BLOCK_ROWS = 65_536
NS_PER_DAY = 86_400 * NS_PER_S
_BLOCKS = 3
_INTEGER_COLUMNS = ["ev", "order_id", "ival"]
_DELTA_COLUMNS = {"exch_ts": "DELTA_BINARY_PACKED", "local_ts": "DELTA_BINARY_PACKED"}


class NpyFile:
    """An .npy file of events that grows; the header is written again once their number is known."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._digest = hashlib.sha256()
        self._rows = 0
        self._file.write(npy_header(0))

    def append(self, rows: Rows) -> None:
        """Add an EVENT array of shape (n_rows,), contiguous."""
        content = rows.view(np.uint8).data
        self._digest.update(content)
        self._file.write(content)
        self._rows += len(rows)

    def finish(self) -> str:
        """Complete and close the file; returns the SHA-256 of the events' bytes."""
        self._file.seek(0)
        self._file.write(npy_header(self._rows))
        self._file.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()


def npy_header(rows: int) -> bytes:
    """Header of an .npy file of `rows` events; its length does not depend on their number."""
    out = io.BytesIO()
    fields = {"descr": EVENT.descr, "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_1_0(out, fields)  # type: ignore[no-untyped-call]
    return out.getvalue()


class Archive:
    """Parquet files of one day each; a row belongs to the latest day that local time has reached."""

    def __init__(self, folder: Path, reader: str, symbol: str) -> None:
        self._folder = folder
        self._metadata = {"bt_format": "1", "reader": reader, "symbol": symbol}
        self._day = -1
        self._writer: pq.ParquetWriter | None = None
        self.parts: list[tuple[str, int]] = []

    def append(self, rows: Rows) -> None:
        """Add an EVENT array of shape (n_rows,)."""
        local = (rows["ev"] & np.uint64(EventFlag.LOCAL)) != 0
        days = np.where(local, rows["local_ts"] // NS_PER_DAY, -1)
        first = self._day if self._day >= 0 else int(rows["local_ts"][0] // NS_PER_DAY)
        days = np.maximum(np.maximum.accumulate(days), first)
        starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(rows)]
        for start, stop in pairwise(starts):
            self._append_day(rows[start:stop], int(days[start]))

    def _append_day(self, rows: Rows, day: int) -> None:
        import pyarrow as pa

        schema = event_schema().with_metadata(self._metadata)
        if self._writer is None or day != self._day:
            self._open(day, schema)
        assert self._writer is not None
        columns = [_arrow_column(rows[field.name], field.type) for field in schema]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=schema))
        date, count = self.parts[-1]
        self.parts[-1] = (date, count + len(rows))

    def _open(self, day: int, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self.finish()
        date = datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
        self._day = day
        self.parts.append((date, 0))
        self._writer = pq.ParquetWriter(
            self._folder / f"{date}.parquet",
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=_INTEGER_COLUMNS,
            column_encoding=_DELTA_COLUMNS,
            write_statistics=["exch_ts", "local_ts"],
        )

    def finish(self) -> None:
        """Complete the file that is open."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _arrow_column(values: Rows, type_: pa.DataType) -> pa.Array:
    """Copy a column; `pyarrow.array` would do too, but imports pandas."""
    import pyarrow as pa

    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(type_, len(values), [None, buffer])


def event_schema() -> pa.Schema:
    """Arrow schema of archived events: the fields of `bt_framework.records.EVENT`."""
    import pyarrow as pa

    assert EVENT.names is not None
    return pa.schema(
        [pa.field(name, pa.from_numpy_dtype(EVENT[name]), nullable=False) for name in EVENT.names]
    )


def archived_rows(path: Path) -> Iterator[Rows]:
    """Yield the events of an archived day; all arrays share one buffer."""
    import pyarrow.parquet as pq

    block = np.empty(BLOCK_ROWS, EVENT)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BLOCK_ROWS, columns=list(EVENT.names or ())):
            rows = block[: batch.num_rows]
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                rows[name] = column.to_numpy()
            yield rows


class BlockSink(Protocol):
    """Gives blocks to fill and takes them back."""

    def block(self) -> Rows:
        """Return an EVENT array of shape (BLOCK_ROWS,) to fill."""
        ...

    def submit(self, rows: Rows) -> None:
        """Take the first rows of the block that `block` gave."""
        ...


class MemorySink:
    """Keeps events in memory that grows by an eighth: where the system can move pages, nothing is copied."""

    def __init__(self) -> None:
        self._rows: Rows = np.empty(4 * BLOCK_ROWS, EVENT)
        self._filled = 0
        self._digest = hashlib.sha256()

    def block(self) -> Rows:
        """Return an EVENT array of shape (BLOCK_ROWS,) to fill; no earlier one may be used any more."""
        if self._filled + BLOCK_ROWS > len(self._rows):
            self._rows.resize(len(self._rows) + max(len(self._rows) // 8, BLOCK_ROWS), refcheck=False)
        return self._rows[self._filled : self._filled + BLOCK_ROWS]

    def submit(self, rows: Rows) -> None:
        """Keep the first rows of the block that `block` gave."""
        self._digest.update(rows.view(np.uint8).data)
        self._filled += len(rows)

    def finish(self) -> tuple[str, Rows]:
        """Return the content hash and all events, read-only."""
        self._rows.resize(self._filled, refcheck=False)
        self._rows.flags.writeable = False
        return self._digest.hexdigest(), self._rows


class Sink:
    """Takes blocks of events and writes them in a thread, so that reading goes on meanwhile.

    Use as a context; `block` gives an array to fill, `submit` hands it over, `finish` waits for the rest.
    """

    def __init__(self, folder: Path, reader: str, symbol: str) -> None:
        self._npy = NpyFile(folder / "events.npy")
        self._archive = Archive(folder, reader, symbol)
        self._free: queue.SimpleQueue[Rows] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[Rows | None] = queue.SimpleQueue()
        for _ in range(_BLOCKS):
            self._free.put(np.empty(BLOCK_ROWS, EVENT))
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="bt-store-sink", daemon=True)
        self._thread.start()

    def block(self) -> Rows:
        """Return an EVENT array of shape (BLOCK_ROWS,) to fill; waits until one is free."""
        block = self._free.get()
        self._raise()
        return block

    def submit(self, rows: Rows) -> None:
        """Hand over the first rows of the block that `block` gave."""
        self._full.put(rows)

    def finish(self) -> tuple[str, list[tuple[str, int]]]:
        """Return the content hash and, for each archived day, its date and number of rows."""
        self._stop()
        self._raise()
        self._archive.finish()
        return self._npy.finish(), self._archive.parts

    def _work(self) -> None:
        while (rows := self._full.get()) is not None:
            if self._error is None:
                try:
                    self._npy.append(rows)
                    self._archive.append(rows)
                except BaseException as error:
                    self._error = error
            self._free.put(rows if rows.base is None else rows.base)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._full.put(None)
            self._thread.join()

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop()
        self._npy.close()
        try:
            self._archive.finish()
        except OSError as error:
            if exc[0] is None:
                raise StorageError(str(error)) from error
