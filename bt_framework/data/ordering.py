"""From rows in order of arrival to the engine's order, in bounded memory.

An exchange and a receiver each have a clock, and rows may be out of order on either. The engine wants one
sequence in which the rows flagged EXCH are ordered by exchange time and those flagged LOCAL by local time; a
row whose two places differ is written twice. The result is that of hftbacktest's ``correct_local_timestamp``
and ``correct_event_order`` on the whole file, whatever the size of a chunk.

Two passes: the first measures how far rows are out of order and how negative the feed latency gets, the
second uses that to know which rows are final before the end of the input has been seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.errors import StorageError
from bt_framework.records import EVENT

DEFAULT_CHUNK_ROWS = 1 << 16

_Rows = np.ndarray[Any, Any]
_INT64_MAX = np.iinfo(np.int64).max
_INT64_MIN = np.iinfo(np.int64).min


def ordered_chunks(
    feed: Feed,
    report: FeedReport,
    progress: Progress,
    spool_dir: Path,
    chunk_rows: int = DEFAULT_CHUNK_ROWS,
) -> Iterator[_Rows]:
    """Events of `feed` in the engine's order, with EXCH and LOCAL flags.

    Memory is bounded by `chunk_rows` and the rows inside the largest disorder of a clock, not by the input.

    Parameters
    ----------
    feed : Feed
        Its chunks are passed through if it is ``ordered``; otherwise they are raw rows in order of arrival.
    report : FeedReport
        Filled in by the feed; for raw feeds ``notes`` gets ``min_feed_latency_ns`` (before the correction),
        ``clock_shift_ns``, ``exch_disorder_ns`` and ``local_disorder_ns`` (the furthest that a row lies
        behind an earlier one).
    progress : callable
        Passed on to the feed.
    spool_dir : Path
        Folder for one temporary file without a name, 64 bytes per row; unused where one chunk holds all.
    chunk_rows : int
        Rows that are ordered at a time.

    Yields
    ------
    events : EVENT array of shape (n_rows,)
        Overwritten once the next is asked for.

    Raises
    ------
    DataError
        If the feed's input cannot be used.
    StorageError
        If the temporary file cannot be written; the message names the folder.
    """
    if feed.ordered:
        yield from feed.chunks(report, progress)
        return
    with _Spool(spool_dir, chunk_rows) as spool:
        clocks = _Clocks()
        for chunk in feed.chunks(report, progress):
            clocks.measure(chunk)
            spool.append(chunk)
        shift_ns = clocks.shift_ns(feed)
        clocks.note(report, shift_ns)
        yield from _Merger(clocks, shift_ns, chunk_rows).events(spool)


class _Clocks:
    """What pass 1 measures, see `_ordering.measure_clocks`."""

    def __init__(self) -> None:
        self.stats = np.array([_INT64_MAX, _INT64_MIN, _INT64_MIN, 0, 0], np.int64)

    def measure(self, rows: _Rows) -> None:
        from bt_framework.data._ordering import measure_clocks

        measure_clocks(rows, self.stats)

    @property
    def min_feed_latency_ns(self) -> int:
        return int(self.stats[0])

    @property
    def exch_disorder_ns(self) -> int:
        return int(self.stats[3])

    @property
    def local_disorder_ns(self) -> int:
        return int(self.stats[4])

    def shift_ns(self, feed: Feed) -> int:
        """What is added to ``local_ts``: it makes the least feed latency `feed.base_latency_ns`."""
        if not feed.clock_correction or self.min_feed_latency_ns >= 0:
            return 0
        return feed.base_latency_ns - self.min_feed_latency_ns

    def note(self, report: FeedReport, shift_ns: int) -> None:
        seen_any = self.stats[1] != _INT64_MIN
        report.notes["min_feed_latency_ns"] = self.min_feed_latency_ns if seen_any else 0
        report.notes["clock_shift_ns"] = shift_ns
        report.notes["exch_disorder_ns"] = self.exch_disorder_ns
        report.notes["local_disorder_ns"] = self.local_disorder_ns


class _Spool:
    """Rows of pass 1, kept for pass 2: in memory up to `chunk_rows`, in a temporary file beyond."""

    def __init__(self, folder: Path, chunk_rows: int) -> None:
        self._folder = folder
        self._buffer = np.empty(chunk_rows, EVENT)
        self._buffered = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, rows: _Rows) -> None:
        if self._file is None:
            if self._buffered + len(rows) <= len(self._buffer):
                self._buffer[self._buffered : self._buffered + len(rows)] = rows
                self._buffered += len(rows)
                return
            self._write(self._buffer[: self._buffered])
        self._write(rows)

    def _write(self, rows: _Rows) -> None:
        # No mapping and no name: page cache is not counted as ours, and nothing is left behind by a kill.
        try:
            if self._file is None:
                self._file = TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            view = np.ascontiguousarray(rows).data.cast("B")
            while len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(
                f"{self._folder}: cannot write the temporary file that rows are ordered in: {reason}."
                " Free space there, or choose another folder with store_dir."
            ) from error

    def chunks(self) -> Iterator[_Rows]:
        """All rows again, in a buffer that is reused."""
        if self._file is None:
            yield self._buffer[: self._buffered]
            return
        self._file.seek(0)
        view = self._buffer.view(np.uint8).data
        while True:
            n_bytes = self._read_full(view)
            yield self._buffer[: n_bytes // EVENT.itemsize]
            if n_bytes < len(view):
                return

    def _read_full(self, view: memoryview[int]) -> int:
        assert self._file is not None
        done = 0
        while done < len(view):
            n = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not n:
                break
            done += n
        return done


class _Merger:
    """Pass 2: rows that are still to be written on either side, and the merge of what is final."""

    def __init__(self, clocks: _Clocks, shift_ns: int, chunk_rows: int) -> None:
        self._clocks = clocks
        self._shift_ns = shift_ns
        self._pool = np.empty(2 * chunk_rows, EVENT)
        self._todo = np.empty(2 * chunk_rows, np.uint8)
        self._out = np.empty(4 * chunk_rows, EVENT)
        self._pending = 0
        self._max_ts = np.array([_INT64_MIN, _INT64_MIN], np.int64)

    def events(self, spool: _Spool) -> Iterator[_Rows]:
        for rows in spool.chunks():
            self._take(rows)
            exch_limit, local_limit = self._watermarks()
            n_out = self._merge(exch_limit, local_limit)
            if n_out:
                yield self._out[:n_out]
        n_out = self._merge(_INT64_MAX, _INT64_MAX)
        if n_out:
            yield self._out[:n_out]

    def _take(self, rows: _Rows) -> None:
        from bt_framework.data._ordering import take_rows

        needed = self._pending + len(rows)
        if needed > len(self._pool):
            grown = max(needed, 2 * len(self._pool))
            pool, todo = np.empty(grown, EVENT), np.empty(grown, np.uint8)
            pool[: self._pending], todo[: self._pending] = (
                self._pool[: self._pending],
                self._todo[: self._pending],
            )
            self._pool, self._todo, self._out = pool, todo, np.empty(2 * grown, EVENT)
        self._pending = take_rows(rows, self._shift_ns, self._pool, self._todo, self._pending, self._max_ts)

    def _watermarks(self) -> tuple[int, int]:
        """Times at or below which no row is still to come (one that is equal comes later in the input)."""
        return (
            int(self._max_ts[0]) - self._clocks.exch_disorder_ns,
            int(self._max_ts[1]) - self._clocks.local_disorder_ns,
        )

    def _merge(self, exch_limit: int, local_limit: int) -> int:
        from bt_framework.data._ordering import compact, merge_sides

        pool, todo = self._pool[: self._pending], self._todo[: self._pending]
        exch_order = _order(pool["exch_ts"], todo & 1, exch_limit)
        local_order = _order(pool["local_ts"], todo & 2, local_limit)
        at_end = exch_limit == _INT64_MAX
        n_out = int(merge_sides(pool, todo, exch_order, local_order, at_end, self._out))
        self._pending = int(compact(pool, todo))
        return n_out


def _order(ts: _Rows, todo: _Rows, limit: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows that are `todo` and not later than `limit`, in time order, equal times in order of arrival."""
    index = np.flatnonzero((todo != 0) & (ts <= limit))
    times = ts[index]
    if np.all(times[1:] >= times[:-1]):
        return index
    return index[np.argsort(times, kind="stable")]
