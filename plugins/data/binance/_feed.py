"""From files to rows in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.files import check_symbols_of, input_paths
from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.errors import DataError
from bt_framework.results.run import Instrument
from bt_plugins.data.binance import Binance
from bt_plugins.data.binance._catalogue import instrument
from bt_plugins.data.binance._peek import Peek, peek

READER_VERSION = 1
"""Enters the identity of every feed: raise it with each change that alters rows."""

_Rows = np.ndarray[Any, Any]


class BinanceSource(DataSource):
    """Files of one or more symbols, as one feed per symbol."""

    def __init__(self, config: Binance) -> None:
        self.config = config

    def feeds(self) -> Sequence[BinanceFeed]:
        """One feed per symbol: in the order of ``symbols`` if given, else of the files.

        Raises
        ------
        ConfigError
            If no file is given, one is given twice, or a tick or lot size is for another symbol.
        DataError
            If a file cannot be read or is not a stream, or its symbol is not in ``symbols``.
        """
        config = self.config
        paths = input_paths(config.files, "btcusdt.gz")
        by_symbol: dict[str, list[tuple[Peek, Path]]] = {symbol: [] for symbol in config.symbols}
        for path in paths:
            found = peek(path)
            if config.symbols and found.symbol not in by_symbol:
                raise DataError(
                    f"wrong symbol: {path} holds {found.symbol}, data.symbols is {', '.join(config.symbols)}."
                    " Remove the file or add its symbol."
                )
            by_symbol.setdefault(found.symbol, []).append((found, path))
        self._check_symbols(by_symbol)
        return [BinanceFeed(config, symbol, files) for symbol, files in by_symbol.items()]

    def _check_symbols(self, by_symbol: Mapping[str, Sequence[Any]]) -> None:
        for symbol, files in by_symbol.items():
            if not files:
                raise DataError(
                    f"wrong symbol: data.symbols asks for {symbol}, but no file holds it"
                    f" ({', '.join(self.config.files)}). Add its file or remove the symbol."
                )
        sizes = {"tick_size": self.config.tick_size, "lot_size": self.config.lot_size}
        check_symbols_of(sizes, by_symbol)


class BinanceFeed(Feed):
    """One symbol's files, in time order."""

    def __init__(self, config: Binance, symbol: str, files: Sequence[tuple[Peek, Path]]) -> None:
        self.config = config
        self.symbol = symbol
        self.files = tuple(path for _, path in sorted(files, key=lambda file: file[0].first_local_ts))
        self.tick_size = config.tick_size.get(symbol)
        self.lot_size = config.lot_size.get(symbol)
        self.clock_correction = config.clock_correction
        self.base_latency_ns = int(config.base_latency_ns)

    def identity(self) -> Mapping[str, Any]:
        """Reader, version, symbol and the options that decide the events."""
        return {
            "reader": "binance",
            "version": READER_VERSION,
            "symbol": self.symbol,
            "clock_correction": self.clock_correction,
            "base_latency_ns": self.base_latency_ns,
            "max_malformed_lines": self.config.max_malformed_lines,
            "book_ticker": self.config.book_ticker,
            "trade_stream": self.config.trade_stream,
        }

    def known_instrument(self, report: FeedReport) -> Instrument | None:
        """Sizes of the best-known symbols."""
        return instrument(str(report.notes.get("market", "")), self.symbol)

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[_Rows]:
        """Yield raw rows; see `Feed.chunks`."""
        # numba is loaded only where files are read, not where their events are already stored.
        from bt_plugins.data.binance._reader import Reader

        report.symbol = self.symbol
        reader = Reader(self.config, self.symbol, report)
        total_bytes = sum(path.stat().st_size for path in self.files if path.exists())
        done_bytes = 0
        for path in self.files:
            for rows, file_bytes in reader.rows(path):
                progress(done_bytes + file_bytes, total_bytes)
                yield rows
            done_bytes += path.stat().st_size
        reader.finish(self.files)
        progress(total_bytes, total_bytes)
