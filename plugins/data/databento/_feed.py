"""From files to rows in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.files import check_symbols_of, input_paths
from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.errors import ConfigError, DataError
from bt_framework.results.run import Instrument
from bt_plugins.data.databento import Databento
from bt_plugins.data.databento._header import DEFINITION, Header, definitions, read_header

READER_VERSION = 1
"""Enters the identity of every feed: raise it with each change that alters rows."""

_UNITS = 1e9
_UNDEFINED = 2**63 - 1
_LOT_SIZE = 1.0

_Rows = np.ndarray[Any, Any]


class DatabentoSource(DataSource):
    """Files of one or more symbols, as one feed per symbol."""

    def __init__(self, config: Databento) -> None:
        self.config = config

    def feeds(self) -> Sequence[DatabentoFeed]:
        """One feed per symbol: in the order of ``symbols`` if given, else of the files.

        Raises
        ------
        ConfigError
            If no file is given, one is given twice, or a size is for another symbol.
        DataError
            If a file cannot be read, is not DBN or has none of ``symbols``, or a symbol has several schemas.
        """
        headers = [read_header(path) for path in input_paths(self.config.files, "es.mbo.dbn.zst")]
        definition_files = tuple(header.path for header in headers if header.schema == DEFINITION)
        by_symbol: dict[str, list[Header]] = {symbol: [] for symbol in self.config.symbols}
        for header in headers:
            if header.schema != DEFINITION:
                for symbol in self._symbols_of(header):
                    by_symbol.setdefault(symbol, []).append(header)
        if not by_symbol:
            raise DataError(
                f"{', '.join(self.config.files)}: definitions hold no events. Add files of another schema."
            )
        self._check(by_symbol)
        return [
            DatabentoFeed(
                self.config, symbol, sorted(files, key=lambda file: file.start_ts), definition_files
            )
            for symbol, files in by_symbol.items()
        ]

    def _symbols_of(self, header: Header) -> list[str]:
        if not self.config.symbols:
            if not header.symbols:
                raise DataError(
                    f"{header.path} names no symbols in its metadata. Give instrument ids in data.symbols."
                )
            return list(header.symbols)
        found = [symbol for symbol in self.config.symbols if header.intervals(symbol)]
        if not found:
            raise DataError(
                f"wrong symbol: {header.path} holds {', '.join(header.symbols)}, data.symbols is"
                f" {', '.join(self.config.symbols)}. Remove the file or add its symbol."
            )
        return found

    def _check(self, by_symbol: Mapping[str, Sequence[Header]]) -> None:
        config = self.config
        for symbol, files in by_symbol.items():
            if not files:
                raise DataError(
                    f"wrong symbol: data.symbols asks for {symbol}, but no file holds it"
                    f" ({', '.join(config.files)}). Add its file or remove the symbol."
                )
            if len({file.schema for file in files}) > 1:
                listed = ", ".join(f"{file.schema} ({file.path})" for file in files)
                raise DataError(f"files of {symbol} must be of one schema, were {listed}. Remove the others.")
        sizes = {key: getattr(config, key) for key in ("tick_size", "lot_size", "contract_size")}
        check_symbols_of(sizes, by_symbol)


class DatabentoFeed(Feed):
    """One symbol's files, in time order."""

    def __init__(
        self, config: Databento, symbol: str, headers: Sequence[Header], definition_files: Sequence[Path]
    ) -> None:
        self.config = config
        self.symbol = symbol
        self.headers = tuple(headers)
        self.definition_files = tuple(definition_files)
        self.schema = headers[0].schema
        self.files = tuple(header.path for header in headers)
        self.tick_size = config.tick_size.get(symbol)
        self.lot_size = config.lot_size.get(symbol)
        self.clock_correction = config.clock_correction
        self.base_latency_ns = int(config.base_latency_ns)

    def identity(self) -> Mapping[str, Any]:
        """Reader, version, symbol and the options that decide the events."""
        return {
            "reader": "databento",
            "version": READER_VERSION,
            "symbol": self.symbol,
            "schema": self.schema,
            "clock_correction": self.clock_correction,
            "base_latency_ns": self.base_latency_ns,
            "book": self.config.book if self.schema == "mbo" else "l2",
            "auction": self.config.auction,
        }

    @cached_property
    def definition(self) -> Any | None:
        """The last definition record of the symbol in the definition files, or None."""
        ids = {i.instrument_id for header in self.headers for i in header.intervals(self.symbol)}
        found = None
        for path in self.definition_files:
            for record in definitions(path):
                if record.raw_symbol == self.symbol or (
                    record.instrument_id in ids and (found is None or found.raw_symbol != self.symbol)
                ):
                    found = record
        return found

    def known_instrument(self, report: FeedReport) -> Instrument | None:
        """Sizes from the definition, if there is one; quantities are whole numbers, so the lot is 1.

        Raises
        ------
        ConfigError
            If a contract size is given, but nothing says what the tick size is.
        """
        definition = self.definition
        tick_size = self.tick_size
        contract_size = self.config.contract_size.get(self.symbol)
        if definition is not None:
            tick_size = tick_size or _size(definition.min_price_increment)
            contract_size = contract_size or _size(definition.unit_of_measure_qty)
        if tick_size is None:
            if contract_size is not None:
                raise ConfigError(
                    f"data.contract_size.{self.symbol} needs a tick size, was without. Give"
                    f" data.tick_size.{self.symbol} too, or a definition file in data.files."
                )
            return None
        return Instrument(self.symbol, tick_size, self.lot_size or _LOT_SIZE, contract_size or 1.0)

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[_Rows]:
        """Yield raw rows; see `Feed.chunks`."""
        # numba is loaded only where files are read, not where their events are already stored.
        from bt_plugins.data.databento._reader import Reader, starts_closed

        report.symbol = self.symbol
        self._note_definition(report)
        closed = starts_closed(self.config, self.symbol, self.schema, self.headers)
        reader = Reader(self.config, self.symbol, self.schema, report, starts_closed=closed)
        total_bytes = sum(path.stat().st_size for path in self.files)
        done_bytes = 0
        for header in self.headers:
            for rows, file_bytes in reader.rows(header):
                progress(done_bytes + file_bytes, total_bytes)
                yield rows
            done_bytes += header.path.stat().st_size
        yield from reader.last_rows()
        reader.finish(self.headers)
        progress(total_bytes, total_bytes)

    def _note_definition(self, report: FeedReport) -> None:
        definition = self.definition
        if definition is not None:
            report.notes["currency"] = str(definition.currency)
            report.notes["unit_of_measure"] = str(definition.unit_of_measure)


def _size(units: int) -> float | None:
    """Size of whole 1e-9; None if undefined or zero."""
    return units / _UNITS if 0 < units < _UNDEFINED else None
