"""One archive: what its name says, and its rows."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from bt_framework.bars.building import VALUES
from bt_framework.errors import DataError
from bt_framework.units import NS_PER_S

COLUMNS = (
    "open_time",
    *VALUES,
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
_SECONDS = {"1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1_800} | {
    f"{hours}h": 3_600 * hours for hours in (1, 2, 4, 6, 8, 12)
}
_DAYS = {"1d": 1, "3d": 3, "1w": 7}
INTERVALS_NS = {name: seconds * NS_PER_S for name, seconds in _SECONDS.items()} | {
    name: days * 86_400 * NS_PER_S for name, days in _DAYS.items()
}
"""From one bar to the next. Months (1mo) are not of one length."""
_NAME = re.compile(r"(.+)-(\d+[a-z]+)-(\d{4}-\d{2}(?:-\d{2})?)\.(?:zip|csv)")
_FIRST_IN_US = 10**14
"""Times from here on are microseconds: as milliseconds they would be after the year 5100, as us they are in 1973."""
_FIRST_IN_MS, _END_IN_US = 10**11, 10**16
"""Seconds would be less, nanoseconds more."""
_BLOCK_BYTES = 1 << 22
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    pa.ArrowInvalid,
)


@dataclass(frozen=True)
class Archive:
    """A file of klines of one symbol and interval; ``period`` is its month or day."""

    path: Path
    symbol: str
    interval: str
    period: str

    @property
    def interval_ns(self) -> int:
        """From one bar to the next."""
        return INTERVALS_NS[self.interval]

    def blocks(self, columns: tuple[str, ...]) -> Iterator[tuple[np.ndarray[Any, Any], pa.Table]]:
        """Yield the rows in bounded pieces: when each opens, us UTC, and `columns` as float64.

        Raises
        ------
        DataError
            If the file cannot be read; names file and line.
        """
        types = {"open_time": pa.int64()} | dict.fromkeys(columns, pa.float64())
        line = 1
        try:
            with self._opened() as (content, has_header):
                reader = arrow_csv.open_csv(
                    pa.PythonFile(content),
                    # Threads would lose the number of the line that is wrong.
                    read_options=arrow_csv.ReadOptions(
                        use_threads=False,
                        block_size=_BLOCK_BYTES,
                        column_names=COLUMNS,
                        skip_rows=int(has_header),
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=types, include_columns=list(types), null_values=[]
                    ),
                )
                line += int(has_header)
                for batch in reader:
                    block = pa.Table.from_batches([batch])
                    yield self._times(block, line), block
                    line += block.num_rows
        except _BROKEN as error:
            raise DataError(self._in_our_words(str(error))) from error

    def check_sum(self) -> None:
        """Compare the file with the CHECKSUM file beside it, if there is one.

        Raises
        ------
        DataError
            If they differ.
        """
        beside = self.path.with_name(self.path.name + ".CHECKSUM")
        if not beside.is_file():
            return
        wanted = (beside.read_text(encoding="utf-8", errors="replace").split() or [""])[0].lower()
        with self.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != wanted:
            raise DataError(
                f"{self.path} is not what {beside.name} says: its SHA-256 is {found[:16]}…, not {wanted[:16]}…. Fetch"
                " it again."
            )

    def _times(self, block: pa.Table, line: int) -> np.ndarray[Any, Any]:
        times: np.ndarray[Any, Any] = block["open_time"].to_numpy()
        wrong = np.flatnonzero((times < _FIRST_IN_MS) | (times >= _END_IN_US))
        if len(wrong):
            raise DataError(
                f"{self.path}, line {line + wrong[0]}: open_time must be ms or us since 1970, was {times[wrong[0]]}."
            )
        return np.where(times < _FIRST_IN_US, times * 1_000, times)

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], bool]]:
        """The content, and whether it begins with the names of the columns."""
        if self.path.suffix == ".csv":
            with self.path.open("rb") as content:
                first = content.read(1)
                content.seek(0)
                yield content, first.isalpha()
            return
        with zipfile.ZipFile(self.path) as container:
            names = [name for name in container.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                raise DataError(f"{self.path} must hold one CSV file, held {len(names)}.")
            with container.open(names[0]) as head:
                first = head.read(1)
            with container.open(names[0]) as content:
                yield content, first.isalpha()

    def _in_our_words(self, text: str) -> str:
        value = re.search(r"column #(\d+): Row #(\d+): .* invalid value '(.*)'", text)
        if value:
            return (
                f"{self.path}, line {value[2]}: {COLUMNS[int(value[1])]} must be a number, was {value[3]!r}."
            )
        fields = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", text)
        if fields:
            return f"{self.path}, line {fields[1]} must have {fields[2]} fields, has {fields[3]}."
        return f"{self.path} cannot be read as klines: {text.rstrip('.')}. Fetch it again."


def archive_of(path: Path) -> Archive:
    """What the name of a file says of it.

    Raises
    ------
    DataError
        If it is no name of an archive, or the interval is not of one length.
    """
    found = _NAME.fullmatch(path.name)
    if found is None or found[2] not in (*INTERVALS_NS, "1mo"):
        raise DataError(f"{path}: the name must be like BTCUSDT-1m-2024-08.zip, it says symbol and interval.")
    if found[2] == "1mo":
        raise DataError(f"{path}: months are not of one length. Take 1d archives.")
    return Archive(path, found[1], found[2], found[3])
