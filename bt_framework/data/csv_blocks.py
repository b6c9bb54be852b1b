"""Reading CSV files of known columns in blocks of rows: what readers of such files share."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.source import FeedReport
from bt_framework.data.streams import decompressed_blocks, prefetched, whole_lines
from bt_framework.errors import DataError

WHOLE = "whole"
SECONDS = "seconds"
DECIMAL = "decimal"
OPTIONAL_DECIMAL = "optional decimal"

_ROWS_PER_BLOCK = 1 << 14
_BYTES_PER_BLOCK = 1 << 18
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
_MAX_INT64 = (1 << 63) - 1


@dataclass(frozen=True)
class Column:
    """A column of a file.

    Attributes
    ----------
    kind : str or tuple of str
        `WHOLE` numbers, `SECONDS` with up to 9 decimals (read as int64 ns), a `DECIMAL` number >= 0, one that may
        be empty (`OPTIONAL_DECIMAL`, NaN), or the words that may stand there (read as the place among them).
        Empty: the column is not read.
    """

    name: str
    kind: str | tuple[str, ...] = ""


class Block:
    """Rows of one file, each column an array of shape (n_rows,); overwritten when the next block is read.

    Attributes
    ----------
    lines : int64 array of shape (n_rows,)
        Line of each row, from 1.
    file_bytes : int
        Bytes of the file that were read so far.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        whole: np.ndarray,
        decimal: np.ndarray,
        lines: np.ndarray,
        file_bytes: int,
    ) -> None:
        self._place = {column.name: i for i, column in enumerate(columns)}
        self._kind = {column.name: column.kind for column in columns}
        self._whole, self._decimal = whole, decimal
        self.lines = lines
        self.file_bytes = file_bytes

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, name: str) -> np.ndarray:
        decimal = self._kind[name] in (DECIMAL, OPTIONAL_DECIMAL)
        return (self._decimal if decimal else self._whole)[self._place[name]]  # type: ignore[no-any-return]


class MalformedLine(Exception):
    """A line is not what its columns say; the text says why."""


def csv_blocks(
    path: Path,
    columns_of: Callable[[Path, list[str]], Sequence[Column]],
    report: FeedReport,
    max_malformed_lines: int = 0,
    text_blocks: Generator[tuple[bytes, int], None, None] | None = None,
) -> Generator[Block, None, None]:
    """Rows of `path` in the order of its lines; memory does not depend on the file's size.

    Parameters
    ----------
    path : Path
        A file with a line of column names; gzip, zstd, xz or plain.
    columns_of : callable
        Called with `path` and the names of the first line; returns the columns, or raises a `DataError`.
    report : FeedReport
        ``rows_read`` and the lines dropped as ``malformed`` are added to it.
    max_malformed_lines : int
        Malformed lines to drop, of all files of the report; one more is an error.
    text_blocks : generator, optional
        The content, where `path` is a container.

    Raises
    ------
    DataError
        Names file and line.
    """
    with closing(prefetched(text_blocks or decompressed_blocks(path, _BYTES_PER_BLOCK))) as blocks:
        parser: _Parser | None = None
        for text, file_bytes in whole_lines(path, blocks):
            if parser is None:
                header, _, text = text.partition(b"\n")
                names = header.decode(errors="replace").removeprefix("\ufeff").strip().split(",")
                parser = _Parser(path, columns_of(path, names), report, max_malformed_lines)
            yield from parser.rows(text, file_bytes)


class _Parser:
    """The lines of one file."""

    def __init__(
        self, path: Path, columns: Sequence[Column], report: FeedReport, max_malformed_lines: int
    ) -> None:
        from bt_framework.data._csv import CURSOR

        self._path, self._columns, self._report = path, columns, report
        self._max_malformed_lines = max_malformed_lines
        self._table, self._words = _tables(columns)
        shape = (len(columns), _ROWS_PER_BLOCK)
        self._whole, self._decimal = np.zeros(shape, np.int64), np.zeros(shape)
        self._lines = np.zeros(_ROWS_PER_BLOCK, np.int64)
        self._cursor = np.zeros(1, CURSOR)
        self._cursor["line"] = 1

    def rows(self, text: bytes, file_bytes: int) -> Generator[Block, None, None]:
        """Rows of whole lines."""
        from bt_framework.data._csv import ParseStatus, parse_lines

        content = np.frombuffer(text, np.uint8)
        cursor: Any = self._cursor[0]
        cursor["pos"] = 0
        arrays = (self._table, self._words, self._whole, self._decimal, self._lines, self._cursor)
        while True:
            status = parse_lines(content, *arrays)
            if status == ParseStatus.NOT_UNDERSTOOD:
                self._slow_line(text[cursor["pos"] : cursor["line_end"]])
                cursor["pos"] = cursor["line_end"]
                continue
            n_rows = int(cursor["n_rows"])
            if n_rows:
                self._report.rows_read += n_rows
                yield Block(
                    self._columns,
                    self._whole[:, :n_rows],
                    self._decimal[:, :n_rows],
                    self._lines[:n_rows],
                    file_bytes,
                )
            cursor["n_rows"] = 0
            if status == ParseStatus.DONE:
                return

    def _slow_line(self, line: bytes) -> None:
        """The line that the kernel did not understand: a row, or a reason to drop it."""
        cursor: Any = self._cursor[0]
        cursor["line"] += 1
        if not line.strip():
            return
        row = int(cursor["n_rows"])
        try:
            fields = line.decode().rstrip("\r\n").split(",")
            if len(fields) != len(self._columns):
                raise MalformedLine(f"it must have {len(self._columns)} fields, has {len(fields)}")
            for i, (column, field) in enumerate(zip(self._columns, fields, strict=True)):
                self._whole[i, row], self._decimal[i, row] = _value(column, field)
        except UnicodeDecodeError:
            self._malformed("it is no UTF-8")
        except MalformedLine as error:
            self._malformed(str(error))
        else:
            self._lines[row] = cursor["line"]
            cursor["n_rows"] += 1

    def _malformed(self, why: str) -> None:
        where = f"{self._path} line {int(self._cursor['line'][0])}"
        problem = f"{where} is malformed: {why}."
        self._report.rows_read += 1
        self._report.drop("malformed", where)
        self._report.first_problem = self._report.first_problem or problem
        if self._report.dropped["malformed"] > self._max_malformed_lines:
            raise DataError(
                f"{problem} data.max_malformed_lines is {self._max_malformed_lines}: raise it to skip such lines,"
                " or fetch the file again."
            )


def _tables(columns: Sequence[Column]) -> tuple[np.ndarray, np.ndarray]:
    """The columns and all their words, as the kernel wants them."""
    from bt_framework.data._csv import COLUMN, Kind

    kinds = {
        "": Kind.SKIP,
        WHOLE: Kind.WHOLE,
        SECONDS: Kind.SECONDS,
        DECIMAL: Kind.DECIMAL,
        OPTIONAL_DECIMAL: Kind.OPTIONAL_DECIMAL,
    }
    table = np.zeros(len(columns), COLUMN)
    words: list[bytes] = []
    for i, column in enumerate(columns):
        if isinstance(column.kind, str):
            table[i] = (kinds[column.kind], 0, 0)
        else:
            table[i] = (Kind.WORD, len(words), len(words) + len(column.kind))
            words += [word.encode() for word in column.kind]
    longest = max(map(len, words), default=0)
    packed = np.zeros((max(len(words), 1), longest + 1), np.uint8)
    for k, word in enumerate(words):
        packed[k, : len(word)] = np.frombuffer(word, np.uint8)
    return table, packed


def _value(column: Column, field: str) -> tuple[int, float]:
    """Whole and decimal value of a field."""
    kind = column.kind
    if not isinstance(kind, str):
        if field not in kind:
            raise MalformedLine(f"{column.name} must be {' or '.join(kind)}, was {field!r}")
        return kind.index(field), np.nan
    if kind == "" or (kind == OPTIONAL_DECIMAL and not field):
        return 0, np.nan
    if kind == WHOLE and field.isascii() and field.isdigit() and int(field) <= _MAX_INT64:
        return int(field), np.nan
    if kind == SECONDS and _NUMBER.fullmatch(field):
        ns = int(Decimal(field) * 1_000_000_000)
        if ns <= _MAX_INT64:
            return ns, np.nan
    if kind in (DECIMAL, OPTIONAL_DECIMAL) and _NUMBER.fullmatch(field):
        return 0, float(field)
    what = {WHOLE: "a whole number", SECONDS: "seconds since 1970"}.get(kind, "a number >= 0")
    raise MalformedLine(f"{column.name} must be {what}, was {field!r}")
