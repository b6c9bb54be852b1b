"""From files to events in the engine's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bt_framework.data.files import check_symbols_of
from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.errors import DataError
from bt_framework.results.run import Instrument
from bt_plugins.data.lobster import Lobster
from bt_plugins.data.lobster._pairs import Pair, pairs_of, size_bytes

READER_VERSION = 1
"""Enters the identity of every feed: raise it with each change that alters rows."""

_Rows = np.ndarray[Any, Any]


class LobsterSource(DataSource):
    """Files of one or more symbols, as one feed per symbol."""

    def __init__(self, config: Lobster) -> None:
        self.config = config

    def feeds(self) -> Sequence[LobsterFeed]:
        """One feed per symbol: in the order of ``symbols`` if given, else of the files.

        Raises
        ------
        ConfigError
            If no file is given, one is given twice, or a tick or lot size is for another symbol.
        DataError
            If a file cannot be read or lacks its other half, or its symbol is not in ``symbols``.
        """
        config = self.config
        by_symbol: dict[str, list[Pair]] = {symbol: [] for symbol in config.symbols}
        for pair in pairs_of(config.files):
            if config.symbols and pair.symbol not in by_symbol:
                raise DataError(
                    f"wrong symbol: {pair.message} is of {pair.symbol}, data.symbols is"
                    f" {', '.join(config.symbols)}. Remove the file or add its symbol."
                )
            by_symbol.setdefault(pair.symbol, []).append(pair)
        for symbol, pairs in by_symbol.items():
            if not pairs:
                raise DataError(
                    f"wrong symbol: data.symbols asks for {symbol}, but no file is of it"
                    f" ({', '.join(config.files)}). Add its file or remove the symbol."
                )
        check_symbols_of({"tick_size": config.tick_size, "lot_size": config.lot_size}, by_symbol)
        return [LobsterFeed(config, symbol, pairs) for symbol, pairs in by_symbol.items()]


class LobsterFeed(Feed):
    """One symbol's days, in time order.

    There is one clock and it never goes back, so the rows are in the engine's order as they come.
    """

    ordered = True

    def __init__(self, config: Lobster, symbol: str, pairs: Sequence[Pair]) -> None:
        self.config = config
        self.symbol = symbol
        self.pairs = tuple(pairs)
        self.files = tuple(dict.fromkeys(m.path for pair in pairs for m in (pair.message, pair.book)))
        self.tick_size = config.tick_size.get(symbol)
        self.lot_size = config.lot_size.get(symbol)

    def identity(self) -> Mapping[str, Any]:
        """Reader, version, symbol, what the names of the files say, and the options that decide the events."""
        return {
            "reader": "lobster",
            "version": READER_VERSION,
            "symbol": self.symbol,
            "days": [[pair.date, pair.start_ms, pair.levels] for pair in self.pairs],
            "book": self.config.book,
            "beyond": self.config.beyond,
            "auction": self.config.auction,
            "feed_latency_ns": int(self.config.feed_latency_ns),
            "tick_size": self.tick_size,
            "max_malformed_lines": self.config.max_malformed_lines,
        }

    def known_instrument(self, report: FeedReport) -> Instrument | None:
        """The tick that US exchanges prescribe at the first price, one share, one share."""
        tick_size = report.notes.get("tick_size")
        return Instrument(self.symbol, float(tick_size), 1.0) if tick_size else None

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[_Rows]:
        """Yield events; see `Feed.chunks`."""
        # numba is loaded only where files are read, not where their events are already stored.
        from bt_plugins.data.lobster._reader import Reader

        report.symbol = self.symbol
        reader = Reader(self.config, self.symbol, report)
        sizes = [size_bytes(pair.book) for pair in self.pairs]
        for i, pair in enumerate(self.pairs):
            for rows, done_bytes in reader.rows(pair, more=i + 1 < len(self.pairs)):
                progress(sum(sizes[:i]) + done_bytes, sum(sizes))
                yield rows
        reader.finish(self.pairs)
        progress(sum(sizes), sum(sizes))
