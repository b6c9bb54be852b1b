"""The files of one kind and symbol, one after the other, as rows in order of arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from bt_framework.data.csv_blocks import Block, Column, csv_blocks
from bt_framework.data.level_book import LevelBook
from bt_framework.data.source import FeedReport
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.tardis._formats import TRADE_SIDES, Content, columns_of, format_of, value_names

_ROWS_PER_CHUNK = 1 << 14
_FIRST_US, _LAST_US = 10**15, 9 * 10**15
_UNKNOWN = TRADE_SIDES.index("unknown")

Done = Callable[[int], None]
"""Called with the bytes of a file read since the last call."""


class Reader:
    """Reads the files of one content and keeps the book from one to the next."""

    def __init__(self, symbol: str, content: Content, report: FeedReport, max_malformed_lines: int) -> None:
        self._symbol = symbol
        self._content = content
        self._report = report
        self._max_malformed_lines = max_malformed_lines
        self._book = LevelBook()
        self._snapshot: list[np.ndarray] = []
        self._held = np.zeros((2, 0, 2))
        self._buffer = np.zeros(_ROWS_PER_CHUNK, EVENT)
        self._value_names: list[str] = []

    def rows(self, paths: Sequence[Path], done: Done) -> Iterator[np.ndarray]:
        """Rows of the files; each array may be overwritten once the next is asked for.

        Raises
        ------
        DataError
            Names file and line.
        """
        for path in paths:
            file_bytes = 0
            with closing(csv_blocks(path, self._columns, self._report, self._max_malformed_lines)) as blocks:
                for block in blocks:
                    done(block.file_bytes - file_bytes)
                    file_bytes = block.file_bytes
                    self._check_times(path, block)
                    yield from self._block_rows(path, block)
            yield from self._end_of_snapshot()

    def _columns(self, path: Path, names: list[str]) -> list[Column]:
        found = format_of(names)
        if found is None or found.content != self._content:
            raise DataError(f"{path} must hold {self._content}, has the columns {', '.join(names)[:200]}.")
        self._value_names = value_names(found)
        held = np.full((2, max(found.depth, self._held.shape[1]), 2), np.nan)
        held[:, : self._held.shape[1]] = self._held
        self._held = held
        return columns_of(names, self._symbol)

    def _check_times(self, path: Path, block: Block) -> None:
        for name in ("timestamp", "local_timestamp"):
            wrong = np.flatnonzero((block[name] < _FIRST_US) | (block[name] >= _LAST_US))
            if len(wrong):
                raise DataError(
                    f"{path} line {block.lines[wrong[0]]}: {name} must be microseconds since 1970, was"
                    f" {block[name][wrong[0]]}. Give files as Tardis.dev has them."
                )

    def _block_rows(self, path: Path, block: Block) -> Iterator[np.ndarray]:
        if self._content == Content.TRADES:
            yield self._trades(path, block)
        elif self._content == Content.INCREMENTAL:
            yield from self._updates(path, block)
        else:
            yield from self._changes(block)

    def _trades(self, path: Path, block: Block) -> np.ndarray:
        side = block["side"]
        unknown = side == _UNKNOWN
        self._drop("trade of unknown side", path, block, unknown)
        rows = _events(block)
        rows["ev"] = np.where(side == 0, EventFlag.BUY, EventFlag.SELL) | EventKind.TRADE
        return rows[~unknown]

    def _updates(self, path: Path, block: Block) -> Iterator[np.ndarray]:
        """Depth rows; a run of snapshot rows replaces the book once it has ended."""
        rows = _events(block)
        is_snapshot = block["is_snapshot"] == 1
        rows["ev"] = np.where(block["side"] % 2 == 0, EventFlag.BUY, EventFlag.SELL) | np.where(
            is_snapshot, EventKind.DEPTH_SNAPSHOT, EventKind.DEPTH
        )
        priced = rows["px"] > 0.0
        self._drop("price of zero", path, block, ~priced)
        rows, is_snapshot = rows[priced], is_snapshot[priced]
        ends = np.flatnonzero(is_snapshot[1:] != is_snapshot[:-1]) + 1
        for run, begins in zip(np.split(rows, ends), np.split(is_snapshot, ends), strict=True):
            if not len(run):
                continue
            if begins[0]:
                self._snapshot.append(run)
            else:
                yield from self._end_of_snapshot()
                self._book.apply(run)
                yield run

    def _end_of_snapshot(self) -> Iterator[np.ndarray]:
        if self._snapshot:
            snapshot = np.concatenate(self._snapshot)
            self._snapshot.clear()
            self._report.notes["snapshots"] = self._report.notes.get("snapshots", 0) + 1
            yield self._book.replace(snapshot)

    def _changes(self, block: Block) -> Iterator[np.ndarray]:
        """Depth rows that lead from each row's best levels to the next one's."""
        from bt_plugins.data.tardis._kernels import changes

        n_levels = self._held.shape[1]
        values = np.full((len(block), n_levels, 2, 2), np.nan)
        for k, name in enumerate(self._value_names):
            values[:, k // 4, k % 4 // 2, k % 2] = block[name]
        exch_ts, local_ts = block["timestamp"] * 1_000, block["local_timestamp"] * 1_000
        at = 0
        while at < len(block):
            at, n_rows = changes(values, exch_ts, local_ts, self._held, at, self._buffer)
            yield self._buffer[:n_rows]

    def _drop(self, reason: str, path: Path, block: Block, mask: np.ndarray) -> None:
        if mask.any():
            first = block.lines[np.argmax(mask)]
            self._report.drop(reason, f"{path} line {first}", int(mask.sum()))


def _events(block: Block) -> np.ndarray:
    rows = np.zeros(len(block), EVENT)
    rows["exch_ts"] = block["timestamp"] * 1_000
    rows["local_ts"] = block["local_timestamp"] * 1_000
    rows["px"] = block["price"]
    rows["qty"] = block["amount"]
    return rows
