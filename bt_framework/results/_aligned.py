"""Tables of a run folder, read together along time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bt_framework.errors import StorageError
from bt_framework.results.folder import RunFolder
from bt_framework.results.schemas import RECORDS, Names, to_records


def aligned(folder: RunFolder, tables: Sequence[str], names: Names) -> Iterator[Mapping[str, np.ndarray]]:
    """Yield what each table has of the same stretch of time, from the start to the end.

    Rows of one instant come together. A few row groups of each table are in memory at a time.

    Raises
    ------
    StorageError
        If a file cannot be read.
    """
    readers = [_Reader(name, folder.files(name), names) for name in tables]
    while True:
        for reader in readers:
            reader.load()
        ends = [reader.last_ts for reader in readers if not reader.finished]
        until = min(ends) if ends else None
        yield {reader.name: reader.take(until) for reader in readers}
        if until is None:
            return
        for reader in readers:
            reader.more = not reader.finished and reader.last_ts <= until


class _Reader:
    """One table: `rows` have been read and not been taken."""

    def __init__(self, name: str, files: Sequence[Path], names: Names) -> None:
        self.name = name
        self.rows: np.ndarray = np.empty(0, RECORDS[name])
        self.last_ts = 0
        self.finished = False
        self.more = True
        self._groups = row_groups(name, files, names)

    def load(self) -> None:
        """Read a row group if more is needed."""
        if not self.more:
            return
        self.more = False
        group = next(self._groups, None)
        if group is None:
            self.finished = True
        elif len(group):
            self.rows = np.concatenate((self.rows, group))
            self.last_ts = int(group["local_ts"][-1])

    def take(self, until: int | None) -> np.ndarray:
        """Return the rows before `until`, or all; the rest is kept."""
        end = len(self.rows)
        if until is not None:
            end = int(np.searchsorted(self.rows["local_ts"], until, side="left"))
        taken, self.rows = self.rows[:end], self.rows[end:]
        return taken


def row_groups(name: str, files: Sequence[Path], names: Names) -> Iterator[np.ndarray]:
    """Yield the rows of a table's files, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files:
        try:
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                yield to_records(file.read_row_group(group), names)
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"{path} cannot be read: {error}.") from error
