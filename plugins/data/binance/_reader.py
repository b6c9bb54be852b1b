"""The lines of one symbol's files, turned into rows a block of text at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.source import FeedReport
from bt_framework.data.streams import decompressed_blocks, prefetched
from bt_framework.errors import DataError
from bt_framework.records import EVENT
from bt_plugins.data.binance import Binance
from bt_plugins.data.binance._catalogue import COINM, SPOT, futures_market
from bt_plugins.data.binance._kernels import STATE, ScanStatus, scan
from bt_plugins.data.binance._messages import Dropped, MalformedLine, WrongSymbol, rows_of
from bt_plugins.data.binance._protocol import Kind, Market

_ROWS_PER_CHUNK = 1 << 14
_BLOCK_BYTES = 1 << 18
_LOOK_AHEAD_BYTES = 8

_Rows = np.ndarray[Any, Any]


class Reader:
    """Reads one symbol's files, one after the other, and keeps what goes on from one to the next."""

    def __init__(self, config: Binance, symbol: str, report: FeedReport) -> None:
        self._config = config
        self._symbol = symbol
        self._symbol_bytes = np.frombuffer(symbol.encode(), np.uint8).copy()
        self._report = report
        self._block_bytes = min(_BLOCK_BYTES, config.chunk_bytes)
        self._text = np.zeros(config.chunk_bytes + self._block_bytes + 1 + _LOOK_AHEAD_BYTES, np.uint8)
        self._buffer = np.zeros(_ROWS_PER_CHUNK, EVENT)
        self._states = np.zeros(1, STATE)
        self._state: Any = self._states.view(np.recarray)[0]
        self._state.last_u = -1
        self._state.bbo = config.book_ticker == "bbo"
        self._state.trade_stream = {"auto": 0, "trade": Kind.TRADE, "aggTrade": Kind.AGG_TRADE}[
            config.trade_stream
        ]

    def rows(self, path: Path) -> Iterator[tuple[_Rows, int]]:
        """Rows of `path` in order of arrival, each time with the bytes of the file read so far.

        Raises
        ------
        DataError
            Names file and line.
        """
        self._state.line = 0
        used = file_bytes = 0
        with closing(prefetched(decompressed_blocks(path, self._block_bytes))) as blocks:
            for block, file_bytes in blocks:
                whole = block.rfind(b"\n") + 1
                if whole:
                    self._put(used, block[:whole])
                    for rows in self._scan(path, used + whole):
                        yield rows, file_bytes
                    used = 0
                self._put(used, block[whole:])
                used += len(block) - whole
                if used > self._config.chunk_bytes:
                    raise DataError(
                        f"{path} line {int(self._state.line) + 1} is longer than data.chunk_bytes"
                        f" ({self._config.chunk_bytes:,}). Raise it if the line is sound."
                    )
        if used:
            self._put(used, b"\n")
            for rows in self._scan(path, used + 1, ends_in_line=True):
                yield rows, file_bytes
        if self._state.n_rows:
            yield self._flush(), file_bytes
        self._report.rows_read += int(self._state.line)

    def _put(self, start: int, data: bytes) -> None:
        self._text[start : start + len(data)] = np.frombuffer(data, np.uint8)

    def _note_market(self) -> None:
        if self._state.market == Market.FUTURES:
            market = futures_market(self._symbol)
            self._report.notes["market"] = market
            if market == COINM:
                self._report.notes["contract"] = "inverse"
        elif self._state.market == Market.SPOT:
            self._report.notes["market"] = SPOT

    def _flush(self) -> _Rows:
        self._note_market()
        rows = self._buffer[: int(self._state.n_rows)]
        self._state.n_rows = 0
        return rows

    def _scan(self, path: Path, end: int, *, ends_in_line: bool = False) -> Iterator[_Rows]:
        """Rows of the lines in the text up to `end`; what does not fill the buffer stays in it."""
        state = self._state
        state.pos = 0
        while True:
            status = scan(self._text, end, self._symbol_bytes, self._buffer, self._states)
            if status == ScanStatus.DONE:
                return
            if status == ScanStatus.ROWS_FULL and state.n_rows:
                yield self._flush()
                continue
            rows = self._slow_line(path, ends_in_line)
            if int(state.n_rows) + len(rows) > len(self._buffer):
                if state.n_rows:
                    yield self._flush()
                if len(rows) > len(self._buffer):
                    self._note_market()
                    yield rows
                    continue
            self._buffer[int(state.n_rows) : int(state.n_rows) + len(rows)] = rows
            state.n_rows += len(rows)

    def _slow_line(self, path: Path, ends_in_line: bool) -> _Rows:
        """Rows of the line that the scan did not understand, none if it is dropped; the scan goes on."""
        state = self._state
        line = self._text[int(state.pos) : int(state.line_end)].tobytes().rstrip(b"\r\n")
        state.pos = state.line_end
        state.line += 1
        rows = np.zeros(0, EVENT)
        if not line.strip():
            return rows
        try:
            rows = rows_of(line, self._symbol, state)
        except Dropped as error:
            self._drop(str(error))
        except WrongSymbol as error:
            raise DataError(
                f"wrong symbol: {path} line {int(state.line)} is of {error}, the lines before are of"
                f" {self._symbol}. Give files of one symbol each."
            ) from None
        except MalformedLine as error:
            self._malformed(path, f"{error}{'; the file ends in it' if ends_in_line else ''}")
        state.rows_total += len(rows)
        return rows

    def _drop(self, reason: str, count: int = 1) -> None:
        self._report.dropped[reason] = self._report.dropped.get(reason, 0) + count

    def _malformed(self, path: Path, why: str) -> None:
        problem = f"{path} line {int(self._state.line)} is malformed: {why}."
        self._drop("malformed")
        self._report.first_problem = self._report.first_problem or problem
        limit = self._config.max_malformed_lines
        if self._report.dropped["malformed"] > limit:
            raise DataError(
                f"{problem} data.max_malformed_lines is {limit}: raise it to skip such lines,"
                " or fetch the file again."
            )

    def finish(self, paths: Sequence[Path]) -> None:
        """Put the counts into the report.

        Raises
        ------
        DataError
            If no file has a depth or trade row.
        """
        state, report = self._state, self._report
        used = Kind.AGG_TRADE if state.trade_stream == Kind.AGG_TRADE else Kind.TRADE
        other = "trade" if used == Kind.AGG_TRADE else "aggTrade"
        for reason, count in (
            ("not MARKET trade", state.not_market),
            (other, state.other_trades),
            ("bookTicker", state.book_tickers),
            ("depth", state.depth_messages),
        ):
            if count:
                self._drop(reason, int(count))
        report.gaps = int(state.gaps)
        report.duplicates = int(state.duplicates)
        report.missing_updates = int(state.missing_updates)
        if not state.rows_total:
            names = ", ".join(str(path) for path in paths)
            dropped = ", ".join(f"{count:,} {reason}" for reason, count in report.dropped.items()) or "none"
            raise DataError(
                f"{names}: no depth or trade rows of {self._symbol} in {report.rows_read:,} lines"
                f" (dropped: {dropped}). Give files that hold its depth diffs or trades."
            )
