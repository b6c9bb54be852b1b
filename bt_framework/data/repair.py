"""A feed with its defects repaired, by rules that look back only, and a table of every change.

No rule makes a price better or a quantity larger than the data said, and none uses what comes later:

=========================  ==========================================================================================
defect                     what is done
=========================  ==========================================================================================
missing flags              the row gets both
local time order           a time that goes back becomes the latest before it
exchange time order        likewise
negative feed latency      received when it happened; dropped if that is more than 10 s later
implausible feed latency   above 10 s: as long as the one before it
invalid values             dropped; a level of an impossible quantity is emptied
negative, zero sizes       trades and orders dropped; levels emptied; changed orders cancelled
prices off tick            levels dropped; orders moved away from the touch, trades to the nearest tick
trade price spikes         a trade that jumps is dropped; if the next one confirms it, the market has moved
crossed book               levels that overlap are withheld on both sides until they overlap no longer
unknown order ids          dropped
duplicate order ids        dropped
=========================  ==========================================================================================

Times are repaired where the store would not order the rows by itself. Crossed orders, spikes of the mid, gaps, and
quantities off lot are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, record
from bt_framework.results.run import Instrument

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

RULES = 1
"""Part of every key: raise it when a rule changes."""

_FLAGS = np.uint64(EventFlag.EXCH | EventFlag.LOCAL)
_Rows = np.ndarray[Any, Any]


class RepairedFeed(Feed):
    """The events of `feed`, repaired.

    Attributes
    ----------
    audit_path : Path or None
        Where the table of changes is written, as Parquet with the columns ``row`` (of the source), ``check``,
        ``field``, ``before``, ``after`` and ``action``; None for nowhere. There is no file if nothing was changed.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.audit_path: Path | None = None
        self.symbol, self.files = feed.symbol, feed.files
        self.tick_size, self.lot_size = feed.tick_size, feed.lot_size
        self.clock_correction = feed.clock_correction and not feed.ordered
        self.base_latency_ns, self.keep = feed.base_latency_ns, feed.keep

    def identity(self) -> Mapping[str, Any]:
        """The rules, and what they are applied to."""
        feed = self._feed
        return {
            "reader": "repaired",
            "rules": RULES,
            "of": dict(feed.identity()),
            "of_ordered": feed.ordered,
        }

    def known_instrument(self, report: FeedReport) -> Instrument | None:
        """Sizes from the catalogue of the source."""
        return self._feed.known_instrument(report)

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[_Rows]:
        """Yield the rows in order of arrival; ``notes["repairs"]`` of the report counts the changes by check.

        Raises
        ------
        DataError
            If the input cannot be used, or has rows for the exchange whose twins for the receiver are missing.
        """
        from bt_framework.data._repair import CHECKS

        counts = np.zeros(len(CHECKS), np.int64)
        with _Audit(self.audit_path) as audit:
            mender: _Mender | None = None
            for chunk in self._feed.chunks(report, progress):
                mender = mender or _Mender(self._feed, self._tick_size(report), audit, counts)
                yield from mender.mend(chunk)
            if mender is not None:
                yield from mender.finish()
        report.notes["repairs"] = {check: int(n) for check, n in zip(CHECKS, counts, strict=True) if n}

    def _tick_size(self, report: FeedReport) -> float:
        """Tick size that is configured or listed, else the one that the data suggest, in a pass of its own."""
        from bt_framework.data._stream import Target, stream

        if self.tick_size is not None:
            return self.tick_size
        listed = self._feed.known_instrument(report)
        if listed is not None:
            return listed.tick_size
        with TemporaryDirectory(prefix="bt-repair-") as folder:
            seen = stream(self._feed, Path(folder), lambda done, total: None, Target.NOWHERE)
        return seen.spec.instrument.tick_size if seen.spec else 0.0


def with_repair(feeds: Sequence[Feed], repair: bool) -> list[Feed]:
    """Return `feeds`, repaired if `repair`."""
    return [RepairedFeed(feed) for feed in feeds] if repair else list(feeds)


class _Mender:
    """What goes on from one chunk to the next."""

    def __init__(self, feed: Feed, tick_size: float, audit: _Audit, counts: _Rows) -> None:
        from bt_framework.data import _book, _repair, _watch

        self._ordered = feed.ordered
        timed = feed.ordered or not feed.clock_correction
        self._state: Any = record(_repair.STATE, tick_size=tick_size, timed=timed, ordered=feed.ordered)
        for name in ("last_exch_ts", "last_local_ts", "latency_ns", "low_bid", "high_ask"):
            self._state[name] = _book.NONE
        self._orders = np.zeros(1 << 12, _book.ORDER)
        _, _, _, series, windows, _, _ = _watch.new_watch()
        self._series, self._window = series.view(np.recarray)[0], windows[0]
        self._given, self._shown = _new_levels(), _new_levels()
        self._audit, self._counts = audit, counts
        self._done_rows = 0
        self._unpaired = 0
        self._rest: _Rows = np.empty(0, EVENT)
        self._rest_sources: _Rows = np.empty(0, np.int64)

    def mend(self, chunk: _Rows) -> Iterator[_Rows]:
        """Rows of all batches that are complete."""
        from bt_framework.data import _book, _repair

        if self._ordered:
            flags = chunk["ev"] & _FLAGS
            self._unpaired += int((flags == int(EventFlag.EXCH)).sum()) - int(
                (flags == int(EventFlag.LOCAL)).sum()
            )
        self._orders = _book.with_room(self._orders, int(self._state.live) + len(chunk))
        out, sources = np.empty(len(chunk), EVENT), np.empty(len(chunk), np.int64)
        changes = np.zeros(6 * len(chunk), _repair.CHANGE)
        arguments = self._orders, self._series, self._window, out, sources, changes
        kept = int(_repair.mend_rows(chunk, self._done_rows, self._state, *arguments))
        self._done_rows += len(chunk)
        self._note(changes)
        rows = np.concatenate([self._rest, out[:kept]])
        row_sources = np.concatenate([self._rest_sources, sources[:kept]])
        whole = int(np.searchsorted(-_is_last(rows), 0))
        self._rest, self._rest_sources = rows[whole:], row_sources[whole:]
        yield from self._uncross(rows[:whole], row_sources[:whole])

    def finish(self) -> Iterator[_Rows]:
        """Rows of the last batch."""
        yield from self._uncross(self._rest, self._rest_sources)
        if self._ordered and self._unpaired > 0:
            raise DataError(
                f"{self._unpaired:,} rows for the exchange only have no twin for the receiver: such events cannot be"
                " repaired. Leave repair out."
            )

    def _uncross(self, rows: _Rows, sources: _Rows) -> Iterator[_Rows]:
        from bt_framework.data import _repair

        if self._state.order_rows or self._state.tick_size <= 0.0:
            yield rows
            return
        done = np.zeros(1, np.int64)
        size = 2 * len(rows) + 1_024
        while done[0] < len(rows):
            before = int(done[0])
            out, changes = np.empty(size, EVENT), np.zeros(size + len(rows), _repair.CHANGE)
            books = self._given, self._shown
            n_out = int(_repair.withhold_crossed(rows, sources, self._state, *books, out, changes, done))
            self._note(changes)
            if done[0] == before:
                size *= 2
            else:
                yield out[:n_out]

    def _note(self, changes: _Rows) -> None:
        changes = changes[: int(self._state.changes)]
        self._state.changes = 0
        self._counts += np.bincount(changes["check"], minlength=len(self._counts))
        self._audit.write(changes)


def _is_last(rows: _Rows) -> _Rows:
    """Whether each row has the local time of the last one and all after it have, too: int64 array."""
    same = rows["local_ts"] == rows["local_ts"][-1] if len(rows) else np.empty(0, bool)
    return np.flip(np.cumprod(np.flip(same), dtype=np.int64))


def _new_levels() -> tuple[_Rows, ...]:
    from bt_framework.data import _book
    from bt_framework.data.doctor import new_book

    best, tags, groups, _ = new_book()
    return best, tags, groups, np.zeros((2, _book.SLOTS)), np.zeros((2, _book.SLOTS))


class _Audit:
    """The table of changes, written as they come."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def write(self, changes: _Rows) -> None:
        """Add a `bt_framework.data._repair.CHANGE` array."""
        if self._path is None or not len(changes):
            return
        import pyarrow.parquet as pq

        table = _table(changes)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def __enter__(self) -> _Audit:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._writer is not None:
            self._writer.close()


def _table(changes: _Rows) -> pa.Table:
    """Changes as people read them; `before` and `after` are exact."""
    import pyarrow as pa

    from bt_framework.data import _repair

    whole = ~np.isin(changes["field"], (_repair.PX, _repair.QTY))
    gone = changes["action"] == _repair.DROPPED

    def told(side: str, missing: _Rows) -> list[str]:
        numbers, wholes = changes[side].tolist(), changes[f"{side}_whole"].tolist()
        chosen = zip(whole.tolist(), wholes, numbers, missing.tolist(), strict=True)
        return ["" if no else str(i) if is_whole else repr(x) for is_whole, i, x, no in chosen]

    def named(column: str, names: tuple[str, ...]) -> pa.Array:
        return pa.array(np.array(names)[changes[column]].tolist(), pa.string())

    return pa.table(
        {
            "row": pa.array(changes["row"].tolist(), pa.int64()),
            "check": named("check", _repair.CHECKS),
            "field": named("field", _repair.FIELDS),
            "before": pa.array(told("before", np.zeros(len(changes), bool)), pa.string()),
            "after": pa.array(told("after", gone), pa.string()),
            "action": named("action", _repair.ACTIONS),
        }
    )
