"""The lines of one symbol's files, turned into rows in order of arrival."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.data.source import FeedReport
from bt_framework.data.streams import decompressed_blocks
from bt_framework.errors import DataError
from bt_framework.records import EVENT
from bt_plugins.data.quotes import Quotes
from bt_plugins.data.quotes._book import BOOK, DROPS, MAX_VENUES, N_REASONS, VENUE, FoldStatus, fold
from bt_plugins.data.quotes._layout import Layout
from bt_plugins.data.quotes._lean import CONDITIONS, QUOTE_TRACK
from bt_plugins.data.quotes._parse import SPEC, STATE, ParseStatus, parse
from bt_plugins.data.quotes._rows import REASON_TEXTS, ROW, Problem, Reason
from bt_plugins.data.quotes._zones import offsets

_ROWS_PER_CHUNK = 1 << 14

_PROBLEM_TEXTS = {
    Problem.TIME: "is no time",
    Problem.NUMBER: "is no number >= 0",
    Problem.EXCHANGE: "has more than 7 letters",
    Problem.CONDITION: "is no hexadecimal number",
}

_Rows = np.ndarray[Any, Any]
Advance = Callable[[int], None]
"""Called with the bytes of a file that were read since the last call."""


def blocks(path: Path, block_bytes: int) -> Generator[tuple[bytes, int], None, None]:
    """Content of a file, the only one of a zip file; and the bytes of the file read since the block before.

    Raises
    ------
    DataError
        If the file cannot be read, or a zip file holds several.
    """
    try:
        is_zip = zipfile.is_zipfile(path)
    except OSError:
        is_zip = False
    if not is_zip:
        before = 0
        for block, file_bytes in decompressed_blocks(path, block_bytes):
            yield block, file_bytes - before
            before = file_bytes
        return
    try:
        with zipfile.ZipFile(path) as archive:
            (member, *others) = archive.infolist() or [None]
            if member is None or others:
                names = ", ".join(archive.namelist()) or "none"
                raise DataError(f"{path} must hold one file, holds {names}. Give files of one member each.")
            share = member.compress_size / max(member.file_size, 1)
            with archive.open(member) as file:
                while block := file.read(block_bytes):
                    yield block, int(len(block) * share)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is truncated or corrupt: {error}. Fetch it again.") from None
    except (OSError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


class Reader:
    """Reads one symbol's files and keeps what goes on from one to the next."""

    def __init__(
        self, config: Quotes, layouts: Sequence[Layout], report: FeedReport, advance: Advance
    ) -> None:
        self._config = config
        self._layouts = layouts
        self._report = report
        self._advance = advance

    def events(self) -> Iterator[_Rows]:
        """Events of all files in order of arrival, in a buffer that is reused.

        Raises
        ------
        DataError
            Names file and line.
        """
        config = self._config
        books, venues = np.zeros(1, BOOK), np.zeros(MAX_VENUES, VENUE)
        drops, out = np.zeros(N_REASONS, DROPS), np.zeros(_ROWS_PER_CHUNK, EVENT)
        book: Any = books.view(np.recarray)[0]
        book.by_venue = any(layout.by_venue for layout in self._layouts)
        book.drop_older = book.by_venue and config.crossed_venues == "drop_older"
        book.skip_suspicious = config.suspicious == "skip"
        book.skip_conditions = sum(CONDITIONS[name] for name in set(config.skip_conditions))
        book.feed_latency_ns, book.default_qty = config.feed_latency_ns, config.default_qty
        tracks = [self._rows(is_quote=True), self._rows(is_quote=False)]
        held = [np.zeros(0, ROW), np.zeros(0, ROW)]
        with closing(tracks[0]), closing(tracks[1]):
            while True:
                status = fold(held[0], held[1], books, venues, drops, out)
                if status == FoldStatus.NEED_QUOTES:
                    held[0], book.q_done = _more(tracks[0], held[0][int(book.q) :])
                    book.q = 0
                elif status == FoldStatus.NEED_TRADES:
                    held[1], book.t_done = _more(tracks[1], held[1][int(book.t) :])
                    book.t = 0
                elif status == FoldStatus.TOO_MANY_VENUES:
                    raise DataError(
                        f"{self._layouts[0].path} must have at most {MAX_VENUES} exchanges. Is the column of"
                        " data.columns.exchange the right one?"
                    )
                else:
                    if book.n_rows:
                        yield out[: int(book.n_rows)]
                        book.n_rows = 0
                    if status == FoldStatus.DONE:
                        break
        self._finish(book, drops)

    def _rows(self, *, is_quote: bool) -> Generator[_Rows, None, None]:
        """Rows of one track, file after file."""
        for number, layout in enumerate(self._layouts):
            if (layout.track == QUOTE_TRACK) == is_quote:
                yield from self._file_rows(number, layout)

    def _file_rows(self, number: int, layout: Layout) -> Iterator[_Rows]:
        spec = np.zeros(1, SPEC)
        spec[0] = (
            ord(self._config.delimiter),
            layout.min_columns,
            layout.max_columns,
            layout.unit_ns,
            layout.base_ns,
            layout.price_scale,
            layout.zero_is_absent,
            number,
        )
        zone = offsets(layout.time_zone)
        states = np.zeros(1, STATE)
        rest = b""
        skip_header = layout.has_header
        with closing(blocks(layout.path, self._config.chunk_bytes)) as content:
            for block, file_bytes in content:
                self._advance(file_bytes)
                whole, _, rest = (rest + block).rpartition(b"\n")
                if len(rest) > self._config.chunk_bytes:
                    raise DataError(
                        f"{layout.path} line {int(states[0]['line']) + 1} is longer than data.chunk_bytes"
                        f" ({self._config.chunk_bytes:,}). Raise it if the line is sound."
                    )
                if whole:
                    yield self._parsed(layout, whole + b"\n", spec, zone, states, skip_header)
                    skip_header = False
        if rest:
            yield self._parsed(layout, rest + b"\n", spec, zone, states, skip_header)
        self._report.rows_read += int(states[0]["line"]) - layout.has_header

    def _parsed(
        self, layout: Layout, lines: bytes, spec: _Rows, zone: _Rows, states: _Rows, skip_header: bool
    ) -> _Rows:
        text = np.frombuffer(lines, np.uint8)
        rows = np.zeros(lines.count(b"\n"), ROW)
        state: Any = states.view(np.recarray)[0]
        state.pos = state.n_rows = 0
        if skip_header:
            state.pos = lines.index(b"\n") + 1
            state.line = 1
        while parse(text, layout.slots, spec, zone, rows, states) == ParseStatus.MALFORMED:
            self._malformed(layout, lines, state)
        return rows[: int(state.n_rows)]

    def _malformed(self, layout: Layout, lines: bytes, state: Any) -> None:
        end = int(state.pos) - 1
        line = lines[lines.rfind(b"\n", 0, end) + 1 : end].decode("utf-8", "replace").rstrip("\r")
        fields = line.split(self._config.delimiter)
        column = int(state.column)
        if state.problem == Problem.COLUMNS:
            why = f"it has {column} columns, must have {_count(layout)}"
        else:
            why = f"column {column} ({fields[column][:40]!r}) {_PROBLEM_TEXTS[Problem(int(state.problem))]}"
        where = f"{layout.path} line {int(state.line)}"
        problem = f"{where} is malformed: {why}."
        self._report.drop("malformed", where)
        self._report.first_problem = self._report.first_problem or problem
        limit = self._config.max_malformed_lines
        if self._report.dropped["malformed"] > limit:
            raise DataError(
                f"{problem} data.max_malformed_lines is {limit}: raise it to skip such lines,"
                " or fetch the file again."
            )

    def _finish(self, book: Any, drops: _Rows) -> None:
        """Put the counts into the report."""
        report = self._report
        for reason in Reason:
            drop = drops[reason]
            if drop["count"]:
                where = f"{self._layouts[drop['file']].path} line {drop['line']}"
                report.drop(REASON_TEXTS[reason], where, int(drop["count"]))
        for name in ("quotes", "trades", "crossed", "locked", "dropped_older", "sideless"):
            if book[name]:
                report.notes[_NOTES[name]] = int(book[name])


_NOTES = {
    "quotes": "quote_rows",
    "trades": "trade_rows",
    "crossed": "crossed_quotes",
    "locked": "locked_quotes",
    "dropped_older": "withdrawn_venue_quotes",
    "sideless": "trades_without_side",
}


def _count(layout: Layout) -> str:
    if layout.min_columns == layout.max_columns:
        return str(layout.min_columns)
    return f"{layout.min_columns} or more"


def _more(track: Iterator[_Rows], rest: _Rows) -> tuple[_Rows, bool]:
    """`rest` and the next rows of `track`, and whether there were none."""
    for rows in track:
        if len(rows):
            return np.concatenate([rest, rows]), False
    return rest, True
