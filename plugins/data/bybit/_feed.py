"""From files to feeds, one per symbol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.csv_blocks import Block, Column
from bt_framework.data.files import BytesDone, check_symbols_of, files_by_symbol, input_paths
from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.bybit import Bybit
from bt_plugins.data.bybit._files import Content, Peek, pays_in_base, peek, text_blocks, trade_columns

READER_VERSION = 1
"""Enters the identity of every feed: raise it with each change that alters rows."""

_MAX_DISORDER_NS = 60 * 1_000_000_000

Done = Callable[[int], None]


class BybitSource(DataSource):
    """Files of one or more symbols, as one feed per symbol."""

    def __init__(self, config: Bybit) -> None:
        self.config = config

    def feeds(self) -> Sequence[BybitFeed]:
        """One feed per symbol: in the order of ``symbols`` if given, else of the files.

        Raises
        ------
        ConfigError
            If no file is given, one is given twice, or a tick or lot size is for another symbol.
        DataError
            If a file cannot be read or is none of Bybit, or files and symbols do not fit.
        """
        config = self.config
        paths = input_paths(config.files, "2024-12-01_BTCUSDT_ob500.data.zip")
        by_symbol = files_by_symbol(map(peek, paths), config.symbols)
        check_symbols_of({"tick_size": config.tick_size, "lot_size": config.lot_size}, by_symbol)
        return [BybitFeed(config, symbol, files) for symbol, files in by_symbol.items()]


class BybitFeed(Feed):
    """One symbol's book and trades."""

    def __init__(self, config: Bybit, symbol: str, files: Sequence[Peek]) -> None:
        self.config = config
        self.symbol = symbol
        self.tick_size = config.tick_size.get(symbol)
        self.lot_size = config.lot_size.get(symbol)
        self.clock_correction = config.clock_correction
        self.base_latency_ns = int(config.base_latency_ns)
        self._feed_latency_ns = int(config.feed_latency_ns)
        in_time = sorted(files, key=lambda file: file.first_ts)
        self._books = [file for file in in_time if file.content == Content.BOOK]
        self._trades = [file for file in in_time if file.content != Content.BOOK]
        contents = {file.content for file in self._trades}
        if len(contents) > 1:
            raise DataError(
                f"the files of {symbol} must be of one market, were {' and '.join(sorted(contents))}."
            )
        self.files = tuple(file.path for file in [*self._trades, *self._books])

    def identity(self) -> Mapping[str, Any]:
        """Reader, version, symbol and the options that decide the events."""
        return {
            "reader": "bybit",
            "version": READER_VERSION,
            "symbol": self.symbol,
            "feed_latency_ns": self._feed_latency_ns,
            "clock_correction": self.clock_correction,
            "base_latency_ns": self.base_latency_ns,
            "max_malformed_lines": self.config.max_malformed_lines,
        }

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
        """Yield raw rows; see `Feed.chunks`."""
        # numba is loaded only where files are read, not where their events are already stored.
        from bt_framework.data.merging import merged_by_local_ts

        report.symbol = self.symbol
        if pays_in_base(self.symbol):
            report.notes["contract"] = "inverse"
        done = BytesDone(self.files, progress)
        yield from merged_by_local_ts(self._trade_rows(report, done), self._book_rows(report, done))
        done.finish()

    def _book_rows(self, report: FeedReport, done: Done) -> Iterator[np.ndarray]:
        from bt_plugins.data.bybit._book import BookReader

        reader = BookReader(self.symbol, report, self._feed_latency_ns, self.config.max_malformed_lines)
        for file in self._books:
            before = 0
            for rows, file_bytes in reader.rows(file.path):
                done(file_bytes - before)
                before = file_bytes
                yield rows
        reader.finish()

    def _trade_rows(self, report: FeedReport, done: Done) -> Iterator[np.ndarray]:
        from bt_framework.data.csv_blocks import csv_blocks

        def columns(_: Path, names: list[str]) -> list[Column]:
            return trade_columns(names, self._trades[0].content, self.symbol)

        limit = self.config.max_malformed_lines
        last_ts = 0
        for file in self._trades:
            before = 0
            with closing(csv_blocks(file.path, columns, report, limit, text_blocks(file.path))) as blocks:
                for block in blocks:
                    done(block.file_bytes - before)
                    before = block.file_bytes
                    rows = self._rows_of(block, file.content)
                    latest = np.maximum.accumulate(np.concatenate([[last_ts], rows["exch_ts"]]))
                    back = np.flatnonzero(rows["exch_ts"] < latest[:-1] - _MAX_DISORDER_NS)
                    if len(back):
                        raise DataError(
                            f"{file.path} line {block.lines[back[0]]} goes back in time by more than a minute."
                            " Sort the lines by time: old archives begin with the last trade."
                        )
                    last_ts = int(latest[-1])
                    yield rows

    def _rows_of(self, block: Block, content: Content) -> np.ndarray:
        spot = content == Content.SPOT_TRADES
        rows = np.zeros(len(block), EVENT)
        rows["ev"] = np.where(block["side"] % 2 == 0, EventFlag.BUY, EventFlag.SELL) | EventKind.TRADE
        rows["exch_ts"] = block["timestamp"] * (1_000_000 if spot else 1)
        rows["local_ts"] = rows["exch_ts"] + self._feed_latency_ns
        rows["px"] = block["price"]
        rows["qty"] = block["volume" if spot else "size"]
        return rows
