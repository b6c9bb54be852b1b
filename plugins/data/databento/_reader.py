"""The records of one symbol's files, turned into rows a few thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from bt_framework.data.source import FeedReport
from bt_framework.errors import DataError
from bt_framework.records import EVENT
from bt_plugins.data.databento import Databento
from bt_plugins.data.databento._header import Header
from bt_plugins.data.databento._levels import tell_book
from bt_plugins.data.databento._orders import finish_orders, grow_orders, replay_orders, tell_orders
from bt_plugins.data.databento._protocol import (
    DROP,
    DROP_REASONS,
    LEVEL,
    MAX_PHASES,
    ORDER,
    STATE,
    Evidence,
    Flag,
    Status,
)
from bt_plugins.data.databento._select import Selection
from bt_plugins.data.databento._windows import finish_windows, replay_windows

LEVELS_OF = {"mbp-1": 1, "mbp-10": 10, "trades": 0}
BLOCK_BYTES = 1 << 18
_ROWS_PER_RECORD = 4

_Array = np.ndarray[Any, Any]


class Reader:
    """Reads one symbol's files, one after the other, and keeps what goes on from one to the next."""

    def __init__(
        self, config: Databento, symbol: str, schema: str, report: FeedReport, *, starts_closed: bool = False
    ) -> None:
        self._symbol = symbol
        self._schema = schema
        self._report = report
        self._orders = np.zeros(1 << 12, ORDER)
        self._levels = np.zeros((2, 1 << 10), LEVEL)
        self._touched = np.zeros((1 << 10, 2), np.int64)
        self._rows = np.zeros(1 << 13, EVENT)
        self._phases = np.zeros((MAX_PHASES, 2), np.int64)
        self._drops = np.zeros(len(DROP_REASONS), DROP)
        self._states = np.zeros(1, STATE)
        self._state: Any = self._states.view(np.recarray)[0]
        self._state.orders = schema == "mbo" and config.book == "l3"
        self._state.withhold = config.auction == "withhold"
        self._state.closed = self._state.n_phases = starts_closed

    @property
    def evidence(self) -> Evidence:
        """What the files have shown so far of how they begin."""
        return Evidence(int(self._state.evidence))

    def rows(self, header: Header, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[_Array, int]]:
        """Rows of a file in order of arrival, each time with the bytes of the file read so far.

        Raises
        ------
        DataError
            Names file, record and byte.
        """
        selection = Selection(header, header.intervals(self._symbol))
        with closing(selection.batches(block_bytes)) as batches:
            for records, numbers, file_bytes in batches:
                for rows in self._replay(records, numbers):
                    yield rows, file_bytes
        selection.finish(self._report)
        for reason, dropped in zip(DROP_REASONS, self._drops, strict=True):
            where = f"record {int(dropped['first'])} of {header.path}"
            self._report.drop(reason, where, int(dropped["count"]))
        self._drops[:] = 0

    def last_rows(self) -> Iterator[_Array]:
        """Rows of the packet in which the files end."""
        self._make_room(0, in_snapshot=True)
        if self._schema == "mbo":
            status = finish_orders(
                self._orders, self._levels, self._touched, self._rows, self._phases, self._drops, self._states
            )
        else:
            status = finish_windows(
                self._levels, self._touched, self._rows, self._phases, self._drops, self._states
            )
        yield from self._flush(status)
        self._drops[:] = 0

    def _replay(self, records: _Array, numbers: _Array) -> Iterator[_Array]:
        state = self._state
        state.pos = 0
        if state.closed and state.exch_ts == 0:
            first = records[0]
            self._phases[0] = max(
                first["ts_event"], first["ts_recv"] if first["flags"] & Flag.SNAPSHOT else 0
            )
        in_snapshot = bool(state.in_snapshot) or bool((records["flags"] & Flag.SNAPSHOT).any())
        status = Status.PHASE_ENDED
        while status != Status.DONE:
            self._make_room(len(records) - int(state.pos), in_snapshot=in_snapshot)
            status = self._replay_once(records, numbers)
            yield from self._flush(status)

    def _replay_once(self, records: _Array, numbers: _Array) -> int:
        out = (self._rows, self._phases, self._drops, self._states)
        if self._schema == "mbo":
            return int(replay_orders(records, numbers, self._orders, self._levels, self._touched, *out))
        data = np.ascontiguousarray(records)
        words = data.view(np.int64).reshape(len(data), -1)
        sizes = data.view(np.uint32).reshape(len(data), -1)
        n_levels = LEVELS_OF[self._schema]
        return int(
            replay_windows(records, numbers, words, sizes, n_levels, self._levels, self._touched, *out)
        )

    def _make_room(self, n_records: int, *, in_snapshot: bool) -> None:
        """Grow the arrays to what `n_records` may need at most."""
        state = self._state
        per_side = max(LEVELS_OF.get(self._schema, 1), 1)
        most_orders = int(state.n_orders) + n_records
        while 2 * most_orders > len(self._orders):
            grown = np.zeros(2 * len(self._orders), ORDER)
            grow_orders(self._orders, grown)
            self._orders = grown
        n_levels = max(int(state.n_bids), int(state.n_asks)) + 2 * n_records * per_side
        if n_levels > self._levels.shape[1]:
            levels = np.zeros((2, 2 * n_levels), LEVEL)
            levels[:, : self._levels.shape[1]] = self._levels
            self._levels = levels
        n_touched = int(state.n_touched) + 2 * n_records + (most_orders if in_snapshot else 0)
        self._touched = _longer(self._touched, n_touched)
        n_rows = int(state.n_rows) + n_records * _ROWS_PER_RECORD * per_side + 2 * n_levels + 1
        self._rows = _longer(self._rows, n_rows + (2 * most_orders if in_snapshot else 0))

    def _flush(self, status: int) -> Iterator[_Array]:
        """Rows of whole packets; those of an open one move to the front."""
        state = self._state
        done, n_rows = int(state.packet_row), int(state.n_rows)
        if done:
            yield self._rows[:done]
            self._rows[: n_rows - done] = self._rows[done:n_rows]
            state.n_rows, state.packet_row = n_rows - done, 0
        if status == Status.PHASE_ENDED:
            yield from self._book()

    def _book(self) -> Iterator[_Array]:
        """The whole book, at the state's times; between packets only."""
        state = self._state
        assert state.n_rows == 0
        if state.orders:
            live = np.flatnonzero(self._orders["side"])
            ranked = live[np.argsort(self._orders["rank"][live])]
            self._rows = _longer(self._rows, len(ranked))
            n_rows = tell_orders(self._orders, ranked, self._rows, self._states)
        else:
            self._rows = _longer(self._rows, int(state.n_bids) + int(state.n_asks))
            n_rows = tell_book(self._levels, self._rows, self._states)
        state.n_rows = 0
        state.rows_total += n_rows
        if n_rows:
            yield self._rows[:n_rows]

    def finish(self, headers: Sequence[Header]) -> None:
        """Put the counts into the report.

        Raises
        ------
        DataError
            If no file has a record that makes an event.
        """
        state, report = self._state, self._report
        report.gaps = int(state.gaps)
        n_phases = min(int(state.n_phases), MAX_PHASES)
        report.notes["closed_phases"] = [[int(a), int(b)] for a, b in self._phases[:n_phases]]
        for note, count in (
            ("exch_times_raised", state.raised),
            ("trades_without_side", state.trades_without_side),
        ):
            if count:
                report.notes[note] = int(count)
        if not state.rows_total:
            names = ", ".join(str(header.path) for header in headers)
            dropped = ", ".join(f"{count:,} {reason}" for reason, count in report.dropped.items()) or "none"
            raise DataError(
                f"{names}: no record of {self._symbol} makes an event in {report.rows_read:,} records"
                f" (dropped: {dropped}). Give files that hold its book or trades."
            )


def _longer(array: _Array, n: int) -> _Array:
    """`array`, or one twice as long as needed that begins with it."""
    if n <= len(array):
        return array
    longer = np.zeros((2 * n, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


def starts_closed(
    config: Databento, symbol: str, schema: str, headers: Sequence[Header], block_bytes: int = BLOCK_BYTES
) -> bool:
    """Whether the book is crossed before the first trade: then the files begin in a closed phase."""
    if schema == "trades":
        return False
    probe = Reader(Databento(book=config.book, auction="keep"), symbol, schema, FeedReport())
    for header in headers:
        with closing(probe.rows(header, block_bytes)) as chunks:
            for _ in chunks:
                if probe.evidence != Evidence.NONE:
                    return probe.evidence == Evidence.CROSSED
    return False
