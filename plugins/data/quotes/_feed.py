"""From files to rows in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.files import check_symbols_of, input_paths
from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.data.streams import decompressed_blocks
from bt_framework.results.run import Instrument
from bt_plugins.data.quotes import Quotes
from bt_plugins.data.quotes._layout import Layout, layout_of
from bt_plugins.data.quotes._lean import EQUITY, FOREX

READER_VERSION = 1
"""Enters the identity of every feed: raise it with each change that alters events."""

_NOT_IN_IDENTITY = ("name", "files", "symbols", "tick_size", "lot_size", "chunk_bytes")
_Rows = np.ndarray[Any, Any]


class QuotesSource(DataSource):
    """Files of one or more symbols, as one feed per symbol."""

    def __init__(self, config: Quotes) -> None:
        self.config = config

    def feeds(self) -> Sequence[QuotesFeed]:
        """One feed per symbol, in the order in which the symbols first appear.

        Raises
        ------
        ConfigError
            If no file is given, one is given twice, or a tick or lot size is for another symbol.
        DataError
            If a file cannot be read, or is not what the configuration says.
        """
        config = self.config
        paths = input_paths(config.files, "20140501_quote.zip")
        layouts = [layout_of(config, path, _first_line(path) if config.columns else b"") for path in paths]
        by_symbol: dict[str, list[Layout]] = {}
        for i, layout in enumerate(layouts):
            by_symbol.setdefault(config.symbols[i] if config.symbols else layout.symbol, []).append(layout)
        check_symbols_of({"tick_size": config.tick_size, "lot_size": config.lot_size}, by_symbol)
        return [QuotesFeed(config, symbol, files) for symbol, files in by_symbol.items()]


def _first_line(path: Path) -> bytes:
    with closing(decompressed_blocks(path, 1 << 16)) as blocks:
        return next(blocks)[0].partition(b"\n")[0].rstrip(b"\r")


class QuotesFeed(Feed):
    """One symbol's files: those with a day in their names in the order of days, others in the order given."""

    clock_correction = False

    def __init__(self, config: Quotes, symbol: str, layouts: Sequence[Layout]) -> None:
        self.config = config
        self.symbol = symbol
        self.layouts = sorted(layouts, key=lambda layout: layout.date)
        self.files = tuple(layout.path for layout in self.layouts)
        self.tick_size = config.tick_size.get(symbol)
        self.lot_size = config.lot_size.get(symbol)

    def identity(self) -> Mapping[str, Any]:
        """Reader, version, symbol, what the files' names say, and the options that decide the events."""
        options = {k: v for k, v in asdict(self.config).items() if k not in _NOT_IN_IDENTITY}
        files = [layout.identity() for layout in self.layouts]
        return {
            "reader": "quotes",
            "version": READER_VERSION,
            "symbol": self.symbol,
            "files": files,
            **options,
        }

    def known_instrument(self, report: FeedReport) -> Instrument | None:
        """Cents and shares for US equities; for FX a tenth of a pip, and units of the base currency."""
        market = report.notes.get("market")
        if market == EQUITY:
            return Instrument(self.symbol, 0.01, 1.0)
        if market == FOREX:
            return Instrument(self.symbol, 0.001 if self.layouts[0].symbol[3:6] == "JPY" else 0.00001, 1.0)
        return None

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[_Rows]:
        """Yield raw rows; see `Feed.chunks`."""
        # numba is loaded only where files are read, not where their events are already stored.
        from bt_plugins.data.quotes._reader import Reader

        report.symbol = self.symbol
        if self.layouts[0].market:
            report.notes["market"] = self.layouts[0].market
            report.notes["time_zone"] = self.layouts[0].time_zone
        done_bytes = 0
        total_bytes = sum(path.stat().st_size for path in self.files if path.exists())

        def advance(n_bytes: int) -> None:
            nonlocal done_bytes
            done_bytes += n_bytes

        for rows in Reader(self.config, self.layouts, report, advance).events():
            progress(min(done_bytes, total_bytes), total_bytes)
            yield rows
        progress(total_bytes, total_bytes)
