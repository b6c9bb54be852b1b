"""From files to feeds, one per symbol."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.csv_blocks import DECIMAL, WHOLE, Block, Column, csv_blocks
from bt_framework.data.files import check_symbols_of, files_by_symbol, input_paths
from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.data.streams import decompressed_blocks, first_lines
from bt_framework.errors import DataError
from bt_framework.records import EVENT
from bt_plugins.data.bitstamp import Bitstamp
from bt_plugins.data.bitstamp._orders import QTY_SCALE, Action, Order, OrderBook

READER_VERSION = 1
"""Enters the identity of every feed: raise it with each change that alters rows."""

_COLUMNS = {
    "id": WHOLE,
    "timestamp": WHOLE,
    "exchange.timestamp": WHOLE,
    "price": DECIMAL,
    "volume": WHOLE,
    "action": ("created", "changed", "deleted"),
    "direction": ("bid", "ask"),
}
_FIRST_MS, _LAST_MS = 10**12, 9 * 10**12
_SYMBOL_IN_NAME = re.compile(r"(?<![A-Za-z0-9])[A-Z]{5,10}(?![A-Za-z0-9])")
_MS = 1_000_000


def has_columns(names: Sequence[str]) -> bool:
    """Whether these are the columns of a file of orders; others may follow."""
    return tuple(names[: len(_COLUMNS)]) == tuple(_COLUMNS)


@dataclass(frozen=True)
class OrderFile:
    """A file, its symbol and the receive time of its first row, ms."""

    path: Path
    symbol: str
    first_ms: int


def peek(path: Path, symbol: str) -> OrderFile:
    """Start of a file; its symbol is the one given, or is taken from its name.

    Raises
    ------
    DataError
        If the file cannot be read, is of another format or holds no row.
    """
    lines = [line.decode(errors="replace") for line in first_lines(path, 2, decompressed_blocks(path))]
    if not has_columns(lines[0].split(",")):
        raise DataError(
            f"{path} is no file of Bitstamp orders: its first line must begin with {','.join(_COLUMNS)}, was"
            f" {lines[0][:80]!r}."
        )
    fields = lines[1].split(",") if len(lines) > 1 else []
    if len(fields) < 2 or not fields[1].isdigit():
        raise DataError(f"{path} must have a row in line 2, has none. Remove it from data.files.")
    found = _SYMBOL_IN_NAME.search(path.name)
    symbol = symbol or (found[0] if found else path.name.partition(".")[0].upper())
    return OrderFile(path, symbol, int(fields[1]))


class BitstampSource(DataSource):
    """Files of one or more symbols, as one feed per symbol."""

    def __init__(self, config: Bitstamp) -> None:
        self.config = config

    def feeds(self) -> Sequence[BitstampFeed]:
        """One feed per symbol, in the order in which the symbols first appear.

        Raises
        ------
        ConfigError
            If no file is given, one is given twice, or a tick or lot size is for another symbol.
        DataError
            If a file cannot be read or is of another format.
        """
        config = self.config
        paths = input_paths(config.files, "bitstamp_BTCUSD_orders.csv.xz")
        symbols = config.symbols or [""] * len(paths)
        by_symbol = files_by_symbol(map(peek, paths, symbols), ())
        check_symbols_of({"tick_size": config.tick_size, "lot_size": config.lot_size}, by_symbol)
        return [BitstampFeed(config, symbol, files) for symbol, files in by_symbol.items()]


class BitstampFeed(Feed):
    """One symbol's files, in time order."""

    clock_correction = False

    def __init__(self, config: Bitstamp, symbol: str, files: Sequence[OrderFile]) -> None:
        self.config = config
        self.symbol = symbol
        self.files = tuple(file.path for file in sorted(files, key=lambda file: file.first_ms))
        self.tick_size = config.tick_size.get(symbol)
        self.lot_size = config.lot_size.get(symbol)

    def identity(self) -> Mapping[str, Any]:
        """Reader, version, symbol and the options that decide the events."""
        return {
            "reader": "bitstamp",
            "version": READER_VERSION,
            "symbol": self.symbol,
            "book": self.config.book,
            "feed_latency_ns": int(self.config.feed_latency_ns),
            "stale_after_ns": int(self.config.stale_after_ns),
            "max_malformed_lines": self.config.max_malformed_lines,
        }

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
        """Yield raw rows; see `Feed.chunks`."""
        report.symbol = self.symbol
        reader = Reader(self.config, report)
        total_bytes = sum(path.stat().st_size for path in self.files if path.exists())
        done_bytes = 0
        for path in self.files:
            for rows, file_bytes in reader.rows(path):
                progress(done_bytes + file_bytes, total_bytes)
                yield rows
            done_bytes += path.stat().st_size
        reader.finish()
        progress(total_bytes, total_bytes)


class Reader:
    """Reads one symbol's files, one after the other, and keeps the book from one to the next."""

    def __init__(self, config: Bitstamp, report: FeedReport) -> None:
        self._report = report
        self._feed_latency_ns = int(config.feed_latency_ns)
        self._max_malformed_lines = config.max_malformed_lines
        self._emitted: list[tuple[int, int, float, int, int]] = []
        self._ts = 0
        self._book = OrderBook(self._emit, config.book == "l3", int(config.stale_after_ns))
        self._last_exchange_ms = 0
        self._steps_back = {"timestamp": 0, "exchange.timestamp": 0}
        self._ages_ms = (_LAST_MS, -_LAST_MS)

    def _emit(self, ev: int, px: float, volume: int, order_id: int) -> None:
        self._emitted.append((ev, self._ts, px, volume, order_id))

    def rows(self, path: Path) -> Iterator[tuple[np.ndarray, int]]:
        """Rows of a file in order of arrival, each time with the bytes of the file read so far.

        Raises
        ------
        DataError
            Names file and line.
        """

        def columns(_: Path, names: list[str]) -> list[Column]:
            return [Column(name, _COLUMNS.get(name, "")) for name in names]

        with closing(csv_blocks(path, columns, self._report, self._max_malformed_lines)) as blocks:
            for block in blocks:
                self._check(path, block)
                self._measure(block)
                self._apply(path, block)
                yield self._rows(), block.file_bytes

    def _check(self, path: Path, block: Block) -> None:
        for name, good in (
            (
                "timestamp",
                (block["timestamp"] >= _FIRST_MS) & (block["timestamp"] < _LAST_MS),
            ),
            ("price", block["price"] > 0.0),
        ):
            if not good.all():
                i = int(np.argmin(good))
                what = {"timestamp": "milliseconds since 1970", "price": "> 0"}[name]
                raise DataError(
                    f"{path} line {block.lines[i]}: {name} must be {what}, was {block[name][i]}."
                    " Fetch the file again."
                )

    def _measure(self, block: Block) -> None:
        """What the exchange's times say; see `finish`."""
        exchange_ms = np.concatenate([[self._last_exchange_ms], block["exchange.timestamp"]])
        self._steps_back["exchange.timestamp"] += int((np.diff(exchange_ms) < 0).sum())
        self._last_exchange_ms = int(exchange_ms[-1])
        created = block["action"] == Action.CREATED
        if created.any():
            ages = (block["timestamp"] - block["exchange.timestamp"])[created]
            least, greatest = self._ages_ms
            self._ages_ms = min(least, int(ages.min())), max(greatest, int(ages.max()))

    def _apply(self, path: Path, block: Block) -> None:
        names = ("id", "timestamp", "price", "volume", "action", "direction")
        columns = (block[name].tolist() for name in names)
        for line, order_id, ms, px, volume, action, side in zip(block.lines.tolist(), *columns, strict=True):
            ts = ms * _MS
            if ts < self._ts:
                self._steps_back["timestamp"] += 1
                ts = self._ts
            self._ts = ts
            reason = self._book.apply(ts, action, Order(order_id, side, px, volume, ts))
            if reason:
                self._report.drop(reason, f"{path} line {line}")

    def _rows(self) -> np.ndarray:
        rows = np.zeros(len(self._emitted), EVENT)
        if self._emitted:
            ev, ts, px, volume, order_id = zip(*self._emitted, strict=True)
            rows["ev"], rows["px"], rows["order_id"] = ev, px, order_id
            rows["local_ts"] = ts
            rows["exch_ts"] = rows["local_ts"] - self._feed_latency_ns
            rows["qty"] = np.array(volume, np.int64) / QTY_SCALE
            self._emitted.clear()
        return rows

    def finish(self) -> None:
        """Put into the notes what was found of clocks, takers and trades."""
        counts, notes = self._book.counts, self._report.notes
        notes["trades_inferred"] = counts.trades
        notes["traded_qty"] = counts.traded_volume / QTY_SCALE
        notes["taken_qty"] = counts.taken_volume / QTY_SCALE
        notes["orders_that_crossed"] = counts.takers
        notes["stale_orders"] = counts.stale_orders
        notes["exchange_time_steps_back"] = self._steps_back["exchange.timestamp"]
        notes["receive_time_steps_back"] = self._steps_back["timestamp"]
        if self._ages_ms[1] >= self._ages_ms[0]:
            notes["creation_age_ns"] = [age * _MS for age in self._ages_ms]
