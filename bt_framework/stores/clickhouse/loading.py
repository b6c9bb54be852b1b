"""From the event store into market_data: every event once, whatever happens in between."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.data.streams import prefetched
from bt_framework.errors import StorageError
from bt_framework.records import EVENT, Rows
from bt_framework.stores.clickhouse.feeds import (
    DatabaseFeed,
    count_events,
    count_rows,
    find_feed,
    manifest_text,
    write_feed,
)
from bt_framework.stores.clickhouse.retrying import patiently
from bt_framework.stores.clickhouse.touch import TOUCH, Clock, TouchReplay
from bt_framework.units import NS_PER_S

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.data.source import Progress
    from bt_framework.data.store import StoredFeed
    from bt_framework.stores.clickhouse.connection import ClickHouse

ROWS_AT_ONCE = 1_000_000
"""Of one insert: the engine stores as many of one partition all or not at all."""

DAYS_AT_ONCE = 50
"""Partitions of one insert; the engine refuses more than 100."""

_LEAST_ROWS = 100_000
"""An insert ends where a day does if it has as many."""

_PASSES = 3
_REPLAY_ROWS = 1 << 18
_NS_PER_DAY = 86_400 * NS_PER_S

Span = tuple[int, int]


@dataclass(frozen=True)
class Loaded:
    """What a load has done for one feed.

    Attributes
    ----------
    inserted : int
        Events that were sent; 0 if all were there.
    touches : int
        Changes of the touch, by both clocks; 0 if nothing was to do.
    """

    feed: DatabaseFeed
    inserted: int
    touches: int


def load_feed(db: ClickHouse, stored: StoredFeed, progress: Progress) -> Loaded:
    """Move a stored feed's events and its touch into the database, and count them there.

    A feed that is there already is left alone, a load that was stopped goes on; several may run at once. The feed is
    marked complete only when every event has been found in the database.

    Raises
    ------
    StorageError
        If the database refuses, or does not have the events at the end.
    """
    began_ns = time.time_ns()
    feed = described(stored)
    known = find_feed(db, feed.symbol, feed.feed_id)
    if known is not None and known.complete and count_rows(db, known) >= known.events:
        return Loaded(known, 0, 0)
    if known is None or known.complete:
        patiently(partial(write_feed, db, feed, "loading", began_ns if known is None else None))
    inserted = load_events(db, feed, stored.open(), progress)
    touches = sum(_load_touch(db, feed, stored, clock) for clock in Clock)
    patiently(partial(write_feed, db, feed, "complete"))
    return Loaded(replace(feed, status="complete"), inserted, touches)


def described(stored: StoredFeed) -> DatabaseFeed:
    """What the database will know of a feed."""
    manifest = stored.store.manifest(stored.key)
    if manifest is None:
        raise StorageError(
            f"the event store {stored.store.root} no longer has {stored.symbol}. Ingest it again."
        )
    return DatabaseFeed(
        feed_id=manifest.content_hash,
        symbol=manifest.symbol,
        reader=manifest.reader,
        events=manifest.events,
        first_local_ts=manifest.first_local_ts,
        last_local_ts=manifest.last_local_ts,
        first_exch_ts=manifest.first_exch_ts,
        status="loading",
        manifest=manifest_text(manifest),
    )


def load_events(db: ClickHouse, feed: DatabaseFeed, events: Rows, progress: Progress) -> int:
    """Insert what the database does not have, and look again until it has all; returns the events inserted.

    The first pass names each insert, so that two loads at once store it once. An insert that the database remembers
    though its rows have been removed since is made good by the next pass, which names nothing.
    """
    is_new = count_rows(db, feed) == 0
    inserted = 0
    for turn in range(_PASSES):
        missing = _missing(db, feed, events, everything=is_new and turn == 0)
        if not missing:
            return inserted
        for span, rows in prefetched(_tables(feed, events, missing), depth=1):
            named = turn == 0 and rows.num_rows == span[1] - span[0]
            token = _token(feed, "events", *span) if named else ""
            patiently(partial(db.insert, "market_data", rows, token=token))
            inserted += rows.num_rows
            progress(span[1], len(events))
    if _missing(db, feed, events, everything=False):
        raise StorageError(
            f"{feed.symbol} {feed.short_id} must have {feed.events:,} events at {db.address.name} after loading, has "
            f"{count_rows(db, feed):,}: something removes them, such as a TTL that is shorter than their age (bt db "
            "migrate market_data_ttl_days=0). Load again after that."
        )
    return inserted


def _token(feed: DatabaseFeed, what: str, start: int, stop: int) -> str:
    """Name of an insert; the same events of another symbol are another feed."""
    return hashlib.sha256(f"{feed.feed_id}:{what}:{start}:{stop}:{feed.symbol}".encode()).hexdigest()


def _missing(
    db: ClickHouse, feed: DatabaseFeed, events: Rows, *, everything: bool
) -> list[tuple[Span, Rows | None]]:
    """Spans of events to insert, each with the rows that the database has of it, None if it has none."""
    found: list[tuple[Span, Rows | None]] = []
    for start, stop in spans(lambda a, b: events["local_ts"][a:b], len(events)):
        there = 0 if everything else count_events(db, feed, start, stop)
        if there == 0:
            found.append(((start, stop), None))
        elif there < stop - start:
            found.append(((start, stop), _present(db, feed, start, stop)))
    return found


def _present(db: ClickHouse, feed: DatabaseFeed, start: int, stop: int) -> Rows:
    """Whether the database has each event: a bool array of shape (stop - start,)."""
    rows = db.query(
        "SELECT DISTINCT sequence FROM market_data WHERE symbol = {symbol:String} AND feed_id = {feed:String} AND "
        "sequence >= {start:UInt64} AND sequence < {stop:UInt64}",
        {"symbol": feed.symbol, "feed": feed.feed_id, "start": start, "stop": stop},
    )
    there = np.zeros(stop - start, bool)
    there[rows["sequence"].to_numpy().astype(np.int64) - start] = True
    return there


def spans(times: Callable[[int, int], Rows], count: int) -> Iterator[Span]:
    """Cut `count` rows into inserts: of bounded size and few days, and at the end of a day where that is no loss.

    Parameters
    ----------
    times : callable
        Times of the rows from one place to before another, ns UTC: an int64 array.

    Yields
    ------
    (int, int)
        First row, and the one after the last. The same rows are always cut in the same way.
    """
    start = 0
    while start < count:
        stop = min(start + ROWS_AT_ONCE, count)
        days = times(start, stop) // _NS_PER_DAY
        changes = np.flatnonzero(np.diff(days)) + 1
        late = changes[changes >= _LEAST_ROWS]
        ends = [stop - start, *late[:1].tolist(), *changes[DAYS_AT_ONCE - 1 :][:1].tolist()]
        yield start, start + min(ends)
        start += min(ends)


def _tables(
    feed: DatabaseFeed, events: Rows, missing: Sequence[tuple[Span, Rows | None]]
) -> Iterator[tuple[Span, pa.Table]]:
    """Rows of market_data for each span that is missing."""
    for (start, stop), there in missing:
        rows: Rows = events[start:stop]
        sequence: Rows = np.arange(start, stop, dtype=np.uint64)
        if there is not None:
            rows, sequence = rows[~there], sequence[~there]
        yield (start, stop), event_table(feed.feed_id, feed.symbol, sequence, rows)


def event_table(feed_id: str, symbol: str, sequence: Rows, rows: Rows) -> pa.Table:
    """Return events as rows of market_data.

    Parameters
    ----------
    sequence : uint64 array of shape (n_rows,)
        Their positions in the feed.
    rows : EVENT array of shape (n_rows,)
    """
    import pyarrow as pa

    columns = {
        "feed_id": _word(feed_id, len(rows)),
        "symbol": _word(symbol, len(rows)),
        "sequence": _column(sequence),
    }
    return pa.table(columns | {name: _column(rows[name]) for name in EVENT.names or ()})


def _word(word: str, count: int) -> pa.Array:
    """A column of one word."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(_column(np.zeros(count, np.int32)), pa.array([word], pa.string()))


def _column(values: Rows) -> pa.Array:
    """Copy a column, every bit; `pyarrow.array` would do too, but imports pandas."""
    import pyarrow as pa

    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, buffer])


def _load_touch(db: ClickHouse, feed: DatabaseFeed, stored: StoredFeed, clock: Clock) -> int:
    """Insert the touch by one clock, and see that the database has all of it; returns its rows.

    Rows that are there already are replaced by themselves.
    """
    expected = 0
    for turn in range(_PASSES):
        expected = 0
        for rows in _touches(stored, clock):
            token = _token(feed, clock, expected, expected + len(rows)) if turn == 0 else ""
            table = _touch_table(feed, clock, rows)
            patiently(partial(db.insert, "market_touch", table, token=token))
            expected += len(rows)
        if _count_touches(db, feed, clock) == expected:
            return expected
    raise StorageError(
        f"{feed.symbol} {feed.short_id} must have {expected:,} rows in market_touch at {db.address.name} after "
        "loading, has others. Remove them, then load again."
    )


def _touches(stored: StoredFeed, clock: Clock) -> Iterator[Rows]:
    """The touch by one clock, cut into inserts."""
    replay, events = TouchReplay(clock, stored.spec.tick_size), stored.open()
    waiting: list[Rows] = []
    for start in range(0, len(events), _REPLAY_ROWS):
        waiting.append(replay.update(events[start : start + _REPLAY_ROWS]))
        if sum(map(len, waiting)) >= ROWS_AT_ONCE:
            rows = np.concatenate(waiting)
            whole = len(rows) // ROWS_AT_ONCE * ROWS_AT_ONCE
            yield from _cut(rows[:whole])
            waiting = [rows[whole:]]
    yield from _cut(np.concatenate([*waiting, replay.finish()]))


def _cut(rows: Rows) -> Iterator[Rows]:
    for start, stop in spans(lambda a, b: rows["ts"][a:b], len(rows)):
        yield rows[start:stop]


def _touch_table(feed: DatabaseFeed, clock: Clock, rows: Rows) -> pa.Table:
    import pyarrow as pa

    words = {"feed_id": feed.feed_id, "symbol": feed.symbol, "clock": str(clock)}
    columns = {name: _word(word, len(rows)) for name, word in words.items()}
    values = {name: _column(rows[name]) for name in TOUCH.names or ()}
    return pa.table(columns | values | {"sequence": _column(rows["sequence"].astype(np.uint64))})


def _count_touches(db: ClickHouse, feed: DatabaseFeed, clock: Clock) -> int:
    rows = db.query(
        "SELECT toInt64(uniqExact(sequence)) AS n FROM market_touch WHERE symbol = {symbol:String} AND "
        "feed_id = {feed:String} AND clock = {clock:String}",
        {"symbol": feed.symbol, "feed": feed.feed_id, "clock": str(clock)},
    )
    return int(rows["n"][0].as_py())
