"""The pairs of one symbol, turned into rows a block of text at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from bt_framework.data.source import FeedReport
from bt_framework.data.streams import prefetched
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT
from bt_plugins.data.lobster import Lobster
from bt_plugins.data.lobster._kernels import (
    LEVEL,
    STATE,
    UNITS_PER_PX,
    Drop,
    Status,
    scan_levels,
    take_levels_away,
)
from bt_plugins.data.lobster._orders import grow_orders, new_orders, scan_orders, take_orders_away
from bt_plugins.data.lobster._pairs import Member, Pair, blocks

MAX_PHASES = 1_000
"""Closed phases that the notes keep."""

_ZONE = "America/New_York"
_BLOCK_BYTES = 1 << 20
_BLOCKS_AHEAD = 4
_ROWS_PER_CHUNK = 1 << 14
_FIRST_CAPACITY = 1 << 10  # of levels a side, and of orders; a power of two
_NS_PER_S = 1_000_000_000

_REASONS = {
    Drop.NO_CHANGE: "changes no level of the book",
    Drop.HALT: "trading halt message",
    Drop.CLOSED: "in a trading halt",
    Drop.EMPTY_CROSS: "cross without shares",
    Drop.UNKNOWN_ORDER: "unknown order",
    Drop.KNOWN_ORDER: "order submitted twice",
    Drop.NOT_IN_BOOK: "order that the book does not show",
}
_PROBLEMS = {
    Status.BAD_MESSAGE: "it must have 6 columns: time, type, order, size, price, direction",
    Status.BAD_VALUES: "its type, size, price or direction cannot be",
    Status.BAD_TIME: "its time must be seconds after midnight with at most nine decimals",
    Status.TIME_BACK: "its time is before that of the line above",
    Status.BAD_LEVELS: "its prices must get worse from level to level, with sizes above 0",
}

_Rows = np.ndarray[Any, Any]


class Reader:
    """Reads one symbol's pairs, one after the other, and keeps what goes on from one to the next."""

    def __init__(self, config: Lobster, symbol: str, report: FeedReport) -> None:
        self._config = config
        self._report = report
        self._buffer = np.zeros(_ROWS_PER_CHUNK, EVENT)
        self._drops = np.zeros((len(Drop), 2), np.int64)
        self._levels = np.zeros((2, _FIRST_CAPACITY), LEVEL)
        self._held = np.zeros(2, np.int64)
        self._orders, self._slots = new_orders(_FIRST_CAPACITY)
        self._states = np.zeros(1, STATE)
        state: Any = self._states.view(np.recarray)[0]
        self._state = state
        state.remove_beyond = config.beyond == "remove"
        state.withhold = config.auction == "withhold"
        state.feed_latency_ns = int(config.feed_latency_ns)
        state.fresh = 1
        state.unused_order = 1
        if symbol in config.tick_size:
            state.tick_units = round(config.tick_size[symbol] * UNITS_PER_PX)
        self._l3 = config.book == "l3"
        self._malformed = 0
        self._phases: list[list[int]] = []
        self._closed_since = 0
        self._gap_since = 0

    def rows(self, pair: Pair, *, more: bool) -> Iterator[tuple[_Rows, int]]:
        """Rows of `pair`, each time with how far the book's text was read; `more` if another pair follows.

        Raises
        ------
        DataError
            Names file and line.
        """
        state = self._state
        state.n_levels = pair.levels
        state.midnight_ts = _midnight_ts(pair.date)
        state.line = state.closed = state.first_ts = 0
        self._drops[:] = 0
        with ExitStack() as stack:
            texts = [_Text(member, self._config.chunk_bytes, stack) for member in (pair.message, pair.book)]
            while self._refill(texts):
                for _ in self._scan(texts, pair):
                    yield self._flush(), texts[1].done_bytes
        if not state.line:
            raise DataError(f"{pair.message} and {pair.book} hold no row. Remove them from data.files.")
        self._end_pair(pair)
        yield self._flush(), texts[1].done_bytes
        if more:
            self._close_book()
            yield self._flush(), texts[1].done_bytes

    def _refill(self, texts: Sequence[_Text]) -> bool:
        """Read on where a text has no line left; whether both have lines then."""
        for text in texts:
            text.refill(int(self._state.line))
        messages, book = texts
        if messages.has_line != book.has_line:
            longer, shorter = (messages, book) if messages.has_line else (book, messages)
            raise DataError(
                f"{shorter.member} must have as many rows as {longer.member}, ends after row"
                f" {int(self._state.line):,}. Fetch both again."
            )
        return messages.has_line

    def _scan(self, texts: Sequence[_Text], pair: Pair) -> Iterator[None]:
        """Fill the buffer from the lines there are; yields where it must be emptied."""
        state = self._state
        while True:
            state.message_pos, state.message_end = texts[0].pos, texts[0].end
            state.book_pos, state.book_end = texts[1].pos, texts[1].end
            status = self._scan_on((texts[0].buffer, texts[1].buffer))
            texts[0].pos, texts[1].pos = int(state.message_pos), int(state.book_pos)
            if status == Status.DONE:
                return
            if status == Status.PHASE:
                self._note_phase()
            elif status == Status.BOOK_FULL:
                self._grow_book()
            elif status != Status.ROWS_FULL:
                self._skip_malformed(status, texts, pair)
            elif state.n_rows:
                yield
            else:
                self._buffer = np.zeros(2 * len(self._buffer), EVENT)

    def _scan_on(self, texts: tuple[_Rows, _Rows]) -> int:
        if self._l3:
            book = (self._levels, self._held, self._orders, self._slots)
            return int(scan_orders(texts, book, self._buffer, self._drops, self._states))
        return int(scan_levels(texts, (self._levels, self._held), self._buffer, self._drops, self._states))

    def _grow_book(self) -> None:
        levels = np.zeros((2, 2 * self._levels.shape[1]), LEVEL)
        levels[:, : self._levels.shape[1]] = self._levels
        self._levels = levels
        if self._l3:
            self._orders, self._slots = grow_orders(self._orders)

    def _flush(self) -> _Rows:
        state = self._state
        if state.tick_units:
            self._report.notes["tick_size"] = int(state.tick_units) / UNITS_PER_PX
        rows = self._buffer[: int(state.n_rows)]
        state.rows_total += state.n_rows
        state.n_rows = 0
        return rows

    def _skip_malformed(self, status: int, texts: Sequence[_Text], pair: Pair) -> None:
        """Count the next line of both files as malformed, and pass over it.

        Raises
        ------
        DataError
            If there are more of them than allowed.
        """
        state = self._state
        state.line += 1
        in_book = status in (Status.BAD_BOOK, Status.BAD_LEVELS)
        text = texts[1] if in_book else texts[0]
        why = _PROBLEMS.get(Status(status)) or (
            f"it must have {4 * pair.levels} columns of whole numbers ({pair.levels} levels), has"
            f" {text.line().count(b',') + 1}"
        )
        if text.ends_in_line:
            why += "; the file ends in it"
        problem = f"{text.member} line {int(state.line)} is malformed: {why}."
        self._malformed += 1
        self._report.drop("malformed", f"line {int(state.line)} of {text.member}")
        self._report.first_problem = self._report.first_problem or problem
        limit = self._config.max_malformed_lines
        if self._malformed > limit:
            raise DataError(
                f"{problem} data.max_malformed_lines is {limit}: raise it to skip such rows, or fetch both"
                " files again."
            )
        for each in texts:
            each.skip_line()

    def _note_phase(self) -> None:
        state = self._state
        if state.closed:
            self._closed_since = int(state.last_ts)
        else:
            self._phases.append([self._closed_since, int(state.last_ts)])
            self._closed_since = 0

    def _end_pair(self, pair: Pair) -> None:
        """Add what was counted to the report."""
        state, report = self._state, self._report
        report.rows_read += int(state.line)
        for reason, words in _REASONS.items():
            count, line = self._drops[reason]
            report.drop(words, f"line {line} of {pair.message}", int(count))
        if self._gap_since:
            self._phases.append([self._gap_since, int(state.first_ts)])
            self._gap_since = 0

    def _close_book(self) -> None:
        """Take the book away until the next pair: nobody trades in between."""
        state = self._state
        self._gap_since = self._closed_since or int(state.last_ts)
        self._closed_since = 0
        if self._l3:
            book = (self._levels, self._held, self._orders, self._slots)
            take_orders_away(book, self._buffer, self._states)
            return
        if len(self._buffer) < self._held.sum():
            self._buffer = np.zeros(int(self._held.sum()), EVENT)
        take_levels_away((self._levels, self._held), self._buffer, self._states)

    def finish(self, pairs: Sequence[Pair]) -> None:
        """Put the notes into the report.

        Raises
        ------
        DataError
            If no message became an event.
        """
        state, notes = self._state, self._report.notes
        if self._closed_since:
            self._phases.append([self._closed_since, int(state.last_ts)])
        notes["closed_phases"] = sorted(self._phases)[:MAX_PHASES]
        notes["off_tick_prints"] = int(state.off_tick_prints)
        if self._l3:
            for name in ("synthetic_at_start", "matched_by_price", "cut_orders", "repairs_in_book"):
                notes[name] = int(state[name])
            notes["synthetic_later"] = int(state.synthetic - state.synthetic_at_start)
        if not state.rows_total:
            names = ", ".join(str(pair.message) for pair in pairs)
            raise DataError(
                f"{names}: no events in {self._report.rows_read:,} messages. Give files that hold a book."
            )


def _midnight_ts(date: str) -> int:
    """Midnight in New York, int64 ns UTC; times are counted from it as if no clock were changed on the day."""
    try:
        noon = datetime.fromisoformat(f"{date}T12:00:00").replace(tzinfo=ZoneInfo(_ZONE))
    except ValueError as error:
        raise DataError(f"the date in a file's name must be a day, was {date}: {error}.") from None
    except ZoneInfoNotFoundError:
        raise ConfigError(f"the time zone {_ZONE} is not on this system: pip install tzdata") from None
    return (int(noon.timestamp()) - 12 * 3600) * _NS_PER_S


class _Text:
    """Text of a file, of which a block and the rest of the one before are in memory.

    ``buffer[pos:end]`` are whole lines that were not taken yet. ``done_bytes`` says how far the file was read.
    """

    def __init__(self, member: Member, chunk_bytes: int, stack: ExitStack) -> None:
        self.member = member
        self._chunk_bytes = chunk_bytes
        block_bytes = min(_BLOCK_BYTES, chunk_bytes)
        self._blocks: Iterator[tuple[bytes, int]] = stack.enter_context(
            closing(prefetched(blocks(member, block_bytes), _BLOCKS_AHEAD))
        )
        self.buffer = np.zeros(chunk_bytes + block_bytes + 1, np.uint8)
        self.pos = self.end = self._used = self.done_bytes = 0
        self._cut = False

    @property
    def has_line(self) -> bool:
        return self.pos < self.end

    @property
    def ends_in_line(self) -> bool:
        """Whether the next line is the file's last and has no end."""
        return self._cut and self.pos + len(self.line()) + 1 == self.end

    def line(self) -> bytes:
        """The next line, without its end."""
        return self.buffer[self.pos : self.end].tobytes().partition(b"\n")[0]

    def skip_line(self) -> None:
        self.pos += len(self.line()) + 1

    def refill(self, lines_done: int) -> None:
        """Read on until there is a line; there is none after that if the file is at its end.

        Raises
        ------
        DataError
            If a line is longer than `chunk_bytes`.
        """
        while not self.has_line:
            rest = self._used - self.end
            if rest > self._chunk_bytes:
                raise DataError(
                    f"{self.member} line {lines_done + 1} is longer than data.chunk_bytes"
                    f" ({self._chunk_bytes:,}). Raise it if the line is sound."
                )
            self.buffer[:rest] = self.buffer[self.end : self._used]
            self.pos = self.end = 0
            self._used = rest
            block, self.done_bytes = next(self._blocks, (b"", self.done_bytes))
            if not block:
                if self.buffer[:rest].tobytes().strip():
                    self._put(b"\n")
                    self._cut = True
                    self.end = self._used
                return
            self._put(block)
            self.end = rest + block.rfind(b"\n") + 1 if b"\n" in block else 0

    def _put(self, data: bytes) -> None:
        self.buffer[self._used : self._used + len(data)] = np.frombuffer(data, np.uint8)
        self._used += len(data)
