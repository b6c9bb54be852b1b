"""From files to feeds, one per symbol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.files import BytesDone, check_symbols_of, files_by_symbol, input_paths
from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.data.streams import decompressed_blocks, first_lines
from bt_framework.errors import DataError
from bt_plugins.data.tardis import Tardis
from bt_plugins.data.tardis._formats import Content, Format, format_of, pays_in_base

READER_VERSION = 1
"""Enters the identity of every feed: raise it with each change that alters rows."""


@dataclass(frozen=True)
class Peek:
    """What the first two lines of a file say; ``first_local_us`` is int64 us UTC."""

    path: Path
    format: Format
    exchange: str
    symbol: str
    first_local_us: int


def peek(path: Path) -> Peek:
    """Kind, symbol and start of a file.

    Raises
    ------
    DataError
        If the file cannot be read, is of another format or holds no row.
    """
    lines = [line.decode(errors="replace") for line in first_lines(path, 2, decompressed_blocks(path))]
    found = format_of(lines[0].split(","))
    if found is None:
        raise DataError(
            f"{path} is no file of Tardis.dev: its first line is {lines[0][:80]!r}. Give files of incremental_book_L2,"
            " book_snapshot_N, quotes or trades."
        )
    fields = lines[1].split(",") if len(lines) > 1 else []
    if len(fields) < 4 or not fields[3].isdigit():
        raise DataError(f"{path} must have a row in line 2, has none. Remove it from data.files.")
    return Peek(path, found, fields[0], fields[1], int(fields[3]))


class TardisSource(DataSource):
    """Files of one or more symbols, as one feed per symbol."""

    def __init__(self, config: Tardis) -> None:
        self.config = config

    def feeds(self) -> Sequence[TardisFeed]:
        """One feed per symbol: in the order of ``symbols`` if given, else of the files.

        Raises
        ------
        ConfigError
            If no file is given, one is given twice, or a tick or lot size is for another symbol.
        DataError
            If a file cannot be read or is none of Tardis.dev, or files and symbols do not fit.
        """
        config = self.config
        paths = input_paths(config.files, "trades.csv.gz")
        by_symbol = files_by_symbol(map(peek, paths), config.symbols)
        check_symbols_of({"tick_size": config.tick_size, "lot_size": config.lot_size}, by_symbol)
        return [TardisFeed(config, symbol, files) for symbol, files in by_symbol.items()]


class TardisFeed(Feed):
    """One symbol's trades and book."""

    def __init__(self, config: Tardis, symbol: str, files: Sequence[Peek]) -> None:
        self.config = config
        self.symbol = symbol
        self.tick_size = config.tick_size.get(symbol)
        self.lot_size = config.lot_size.get(symbol)
        self.clock_correction = config.clock_correction
        self.base_latency_ns = int(config.base_latency_ns)
        exchanges = sorted({file.exchange for file in files})
        if len(exchanges) > 1:
            raise DataError(f"the files of {symbol} must be of one exchange, were of {', '.join(exchanges)}.")
        self._exchange = exchanges[0]
        in_time = sorted(files, key=lambda file: file.first_local_us)
        self._trades = [file.path for file in in_time if file.format.content == Content.TRADES]
        book = _chosen(config.book, symbol, in_time)
        self._content = book[0].format.content if book else None
        self._book = [file.path for file in book]
        self.files = tuple(self._trades + self._book)
        self._unused = sorted(file.path.name for file in files if file.path not in self.files)

    def identity(self) -> Mapping[str, Any]:
        """Reader, version, symbol and the options that decide the events."""
        return {
            "reader": "tardis",
            "version": READER_VERSION,
            "symbol": self.symbol,
            "clock_correction": self.clock_correction,
            "base_latency_ns": self.base_latency_ns,
            "max_malformed_lines": self.config.max_malformed_lines,
        }

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
        """Yield raw rows; see `Feed.chunks`."""
        # numba is loaded only where files are read, not where their events are already stored.
        from bt_framework.data.merging import merged_by_local_ts
        from bt_plugins.data.tardis._reader import Reader

        report.symbol = self.symbol
        report.notes["exchange"] = self._exchange
        if self._unused:
            report.notes["unused_files"] = self._unused
        if pays_in_base(self._exchange, self.symbol):
            report.notes["contract"] = "inverse"
        done = BytesDone(self.files, progress)
        limit = self.config.max_malformed_lines
        trades = Reader(self.symbol, Content.TRADES, report, limit).rows(self._trades, done)
        book = Reader(self.symbol, self._content or Content.INCREMENTAL, report, limit).rows(self._book, done)
        yield from merged_by_local_ts(trades, book)
        done.finish()


def _chosen(book: str, symbol: str, files: Sequence[Peek]) -> list[Peek]:
    """The files that make the book: of one content, and of one depth."""
    for content in (Content.INCREMENTAL, Content.SNAPSHOT, Content.QUOTES):
        chosen = [file for file in files if file.format.content == content]
        if chosen and book in ("auto", content):
            depth = max(file.format.depth for file in chosen)
            return [file for file in chosen if file.format.depth == depth]
    if book != "auto":
        raise DataError(
            f"data.book is {book}, but no file of {symbol} is of that kind. Add such a file, or leave data.book=auto."
        )
    return []
