"""Bars from files of rows and columns: what readers of such files share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bt_framework.bars._manifest import time_text
from bt_framework.bars._tables import by_symbol, in_order
from bt_framework.bars._tables import times_us as table_times_us
from bt_framework.bars.building import VALUES, raw_bars, slices
from bt_framework.bars.columns import found_columns, need
from bt_framework.bars.config import BarRowsConfig, Layout
from bt_framework.bars.files import bar_files, symbol_in_name
from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.bars.source import BarSource, Progress
from bt_framework.bars.times import BadTime, dates, times_us
from bt_framework.errors import ConfigError, DataError

WITHOUT_CLOSE = "rows without a close"
_NO_EVENT = {"dividend": 0.0, "split": 1.0}


@dataclass(frozen=True)
class _File:
    """A file and what its columns are.

    Attributes
    ----------
    symbol : str
        Of all its rows; empty where a column says it, or columns are symbols.
    columns : mapping
        Field to name of column. Of a wide file the time only.
    closes : mapping
        Of a wide file: symbol to name of column.
    """

    path: Path
    symbol: str
    columns: Mapping[str, str]
    closes: Mapping[str, str]

    @property
    def has_bars(self) -> bool:
        """Whether it is more than a list of corporate actions."""
        return bool(self.closes) or "close" in self.columns


@dataclass
class _Content:
    """What a file holds: per symbol the first and the last time, us; and whether its bars may be streamed."""

    spans: dict[str, tuple[int, int]]
    rows: int = 0
    in_order: bool = True

    def add(self, table: pa.Table) -> None:
        """Add the bars of one table."""
        self.rows += table.num_rows
        all_times = table_times_us(table)
        for symbol, places in by_symbol(table):
            times = all_times[places]
            first, last = self.spans.get(symbol, (int(times[0]), np.iinfo(np.int64).min))
            self.in_order &= bool(times[0] > last and np.all(times[1:] > times[:-1]))
            self.spans[symbol] = (min(first, int(times.min())), max(last, int(times.max())))


class RowSource(BarSource):
    """Bars from files of rows; a subclass knows the form of the files.

    Files are read twice: first to see in which order their bars come and that none is without a time, then bar by bar.
    A file whose bars are not in order of time is sorted in memory.
    """

    config: BarRowsConfig
    endings: ClassVar[Sequence[str]]
    first_row: ClassVar[int] = 1
    row_word: ClassVar[str] = "row"

    @abstractmethod
    def names(self, path: Path) -> list[str]:
        """Names of the columns of a file, or a DataError that names the file."""

    @abstractmethod
    def blocks(self, path: Path, numbers: Sequence[str], others: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of a file in bounded pieces: columns `numbers` as float64, then `others` as they are.

        Raises
        ------
        DataError
            Names file and row.
        """

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        """Yield tables of one or more symbols, file by file in order of time."""
        self.findings.clear()
        files = [file for file in self._files() if file.has_bars]
        if not files:
            raise DataError(
                "bars.files has no file with a column of closes. Name it with bars.columns.close=NAME."
            )
        contents = [(self._content(file), file) for file in files]
        contents.sort(key=lambda c: min(first for first, _ in c[0].spans.values()))
        _check_apart(contents)
        total, done = sum(content.rows for content, _ in contents), 0
        for content, file in contents:
            for table in self._bars(file) if content.in_order else self._sorted(file):
                done += table.num_rows
                progress(done, total)
                yield table
            progress(done, total)

    def actions(self) -> pa.Table:
        """Return the dividends and splits of all files that have such columns."""
        found = [ACTION_SCHEMA.empty_table()]
        for file in self._files():
            for kind in _NO_EVENT:
                if kind in file.columns:
                    found += self._actions(file, kind)
        return pa.concat_tables(found).sort_by([("symbol", "ascending"), ("ex_date", "ascending")])

    def _files(self) -> list[_File]:
        config = self.config
        paths = bar_files(config.files, self.endings)
        if config.layout is Layout.long and len(config.symbols) not in (0, 1, len(paths)):
            raise ConfigError(
                f"symbols must name the symbol of each file, or of all, was {len(config.symbols)} symbols for"
                f" {len(paths)} files."
            )
        return [self._file(path, place) for place, path in enumerate(paths)]

    def _file(self, path: Path, place: int) -> _File:
        names, config = self.names(path), self.config
        if config.layout is Layout.wide:
            given = {"time": config.columns["time"]} if "time" in config.columns else {}
            columns = found_columns(names, given, str(path))
            time = columns.get("time", names[0])
            return _File(path, "", {"time": time}, self._closes(path, [n for n in names if n != time]))
        columns = found_columns(names, config.columns, str(path))
        need(columns, ["time"], names, str(path))
        if "close" not in columns and not _NO_EVENT.keys() & columns.keys():
            need(columns, ["close"], names, str(path))
        if "symbol" in columns:
            if config.symbols:
                raise ConfigError(
                    f"symbols must be empty, was {config.symbols}: {path} says them in its column"
                    f" {columns['symbol']!r}. To leave that out, give bars.columns.symbol=''."
                )
            return _File(path, "", columns, {})
        symbols = config.symbols
        symbol = symbols[place % len(symbols)] if symbols else symbol_in_name(path, config.file_name)
        return _File(path, symbol, columns, {})

    def _closes(self, path: Path, names: list[str]) -> dict[str, str]:
        """Column of each symbol of a wide file."""
        config = self.config
        symbols = config.symbols or names
        where = "bars.symbols"
        if config.symbols_file:
            symbols, where = (
                _symbols_in(Path(config.symbols_file).expanduser(), len(names)),
                config.symbols_file,
            )
        if len(symbols) != len(names) or len(set(symbols)) < len(symbols):
            raise DataError(
                f"{path} has {len(names)} columns beside the time, {where} names {len(set(symbols))} different"
                " symbols. Name each once, in the order of the columns."
            )
        return dict(zip(symbols, names, strict=True))

    def _content(self, file: _File) -> _Content:
        content = _Content({})
        for table in self._bars(file, scan=True):
            content.add(table)
        if not content.rows:
            raise DataError(f"{file.path} holds no bar. Fetch it again, or leave it out of bars.files.")
        return content

    def _bars(self, file: _File, *, scan: bool = False) -> Iterator[pa.Table]:
        """Tables of `BAR_SCHEMA` in the order of the file; to `scan` it, without all prices and without counting."""
        columns, fields = file.columns, ("close",) if scan else VALUES
        values = {field: columns[field] for field in fields if field in columns} or dict(file.closes)
        others = [columns[field] for field in ("time", "symbol") if field in columns]
        row = self.first_row
        for block in self.blocks(file.path, list(values.values()), others):
            times = self._times(file, block, row)
            self._check_values(file, block, values, row)
            row += block.num_rows
            if file.closes:
                pairs = [(symbol, {"close": block[name]}) for symbol, name in file.closes.items()]
            else:
                symbol = file.symbol or block[columns["symbol"]]
                pairs = [(symbol, {field: block[name] for field, name in values.items()})]
            for symbol, some in pairs:
                table = _with_close(raw_bars(symbol, times, some))
                if not scan and table.num_rows < block.num_rows:
                    self.findings[WITHOUT_CLOSE] += block.num_rows - table.num_rows
                if table.num_rows:
                    yield table

    def _sorted(self, file: _File) -> Iterator[pa.Table]:
        """Tables of a file whose bars are in another order: newest first, or by chance."""
        table = in_order(pa.concat_tables(self._bars(file)).combine_chunks())
        all_times = table_times_us(table)
        for symbol, places in by_symbol(table):
            times = all_times[places]
            twice = np.flatnonzero(times[1:] == times[:-1])
            if len(twice):
                raise DataError(
                    f"{file.path}: {symbol} has two bars at {time_text(int(times[twice[0]]))}. Remove one of them."
                )
        yield from slices(table)

    def _times(self, file: _File, block: pa.Table, row: int) -> np.ndarray[Any, Any]:
        try:
            return times_us(block[file.columns["time"]], self.config.time_format, self.config.time_zone)
        except BadTime as error:
            raise DataError(f"{self._place(file, row + error.row)}: {error}.") from None

    def _check_values(self, file: _File, block: pa.Table, values: Mapping[str, str], row: int) -> None:
        """Refuse infinite numbers, and rows without a symbol."""
        for name in values.values():
            at = pc.index(pc.is_inf(block[name]), True).as_py()
            if at >= 0:
                raise DataError(
                    f"{self._place(file, row + at)}: {name} must be finite, was {block[name][at]}."
                )
        if "symbol" in file.columns:
            symbols = block[file.columns["symbol"]]
            at = pc.index(pc.fill_null(pc.equal(symbols.cast(pa.string()), ""), True), True).as_py()
            if at >= 0:
                raise DataError(f"{self._place(file, row + at)}: the symbol is missing.")

    def _actions(self, file: _File, kind: str) -> Iterator[pa.Table]:
        """Rows of `ACTION_SCHEMA`: the dividends or splits of a file."""
        name, row = file.columns[kind], self.first_row
        others = [file.columns[field] for field in ("time", "symbol") if field in file.columns]
        for block in self.blocks(file.path, [name], others):
            values = pc.fill_null(block[name], _NO_EVENT[kind])
            # A split of 0 is how some vendors write that there was none.
            some = pc.and_(pc.not_equal(values, _NO_EVENT[kind]), pc.not_equal(values, 0.0))
            wrong = pc.index(
                pc.and_(some, pc.invert(pc.and_(pc.greater(values, 0.0), pc.is_finite(values)))), True
            )
            if wrong.as_py() >= 0:
                where = self._place(file, row + wrong.as_py())
                raise DataError(f"{where}: the {kind} must be > 0 and finite, was {values[wrong.as_py()]}.")
            self._times(file, block, row)
            chosen = block.append_column("value", values).filter(some)
            days = dates(chosen[others[0]], self.config.time_format, self.config.time_zone)
            n = chosen.num_rows
            symbol = pa.repeat(file.symbol, n) if file.symbol else chosen[others[1]].cast(pa.string())
            yield pa.table([symbol, days, pa.repeat(kind, n), chosen["value"]], schema=ACTION_SCHEMA)
            row += block.num_rows

    def _place(self, file: _File, row: int) -> str:
        return f"{file.path}, {self.row_word} {row}"


def _with_close(table: pa.Table) -> pa.Table:
    closes = table["close"]
    return table.filter(pc.is_valid(closes)) if closes.null_count else table


def _check_apart(contents: Iterable[tuple[_Content, _File]]) -> None:
    """Refuse files that hold bars of one symbol for the same time."""
    ends: dict[str, tuple[int, Path]] = {}
    for content, file in contents:
        for symbol, (first, last) in content.spans.items():
            before = ends.get(symbol)
            if before is not None and first <= before[0]:
                raise DataError(
                    f"{file.path} begins with {symbol} at {time_text(first)}, but {before[1]} goes on until"
                    f" {time_text(before[0])}. Remove the bars that are in both, or one of the files."
                )
            ends[symbol] = (last, file.path)


def _symbols_in(path: Path, count: int) -> list[str]:
    """`count` names from a file that has them in one row or one column; a first line of other words is left out."""
    import csv

    try:
        with path.open(newline="", encoding="utf-8-sig") as text:
            lines = [line for line in csv.reader(text) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"bars.symbols_file {path} cannot be read: {error}.") from error
    names = [name.strip() for line in lines for name in line]
    without_header = [name.strip() for line in lines[1:] for name in line]
    return without_header if len(names) != count and len(without_header) == count else names
