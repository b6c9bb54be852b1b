"""Events out of market_data: in order, each once, with bounded memory and whatever the connection does."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.errors import DataError
from bt_framework.records import EVENT, Rows
from bt_framework.stores.clickhouse.connection import ClickHouse, UnreachableError
from bt_framework.stores.clickhouse.retrying import patiently

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.stores.clickhouse.address import Address
    from bt_framework.stores.clickhouse.feeds import DatabaseFeed
    from bt_framework.stores.clickhouse.where import RowFilter

BLOCK_ROWS = 65_536
"""Of chDB's batches; a server's are smaller."""

CHUNK_ROWS = 4_000_000
"""Of one query, see `Slice`."""

_EMBEDDED_SETTINGS: Mapping[str, Any] = {"max_block_size": BLOCK_ROWS, "preferred_block_size_bytes": 0}
"""Larger batches than the engine's. A server sends its own sooner, and a user may not be allowed to choose."""

_FIELDS = tuple(EVENT.names or ())
_FROM = "FROM market_data WHERE symbol = {symbol:String} AND feed_id = {feed:String}"


@dataclass(frozen=True)
class Slice:
    """Part of a feed: events from ``first`` to before ``stop`` by sequence, of them those of a span of local time.

    Attributes
    ----------
    start_ts, end_ts : int or None
        Local time, ns UTC, the end not included; None for no bound.
    where : RowFilter or None
        What else they must satisfy.
    """

    feed: DatabaseFeed
    first: int
    stop: int
    start_ts: int | None = None
    end_ts: int | None = None
    where: RowFilter | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of the feed."""
        return self.start_ts is None and self.end_ts is None and self.where is None

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the queries about it."""
        return {"symbol": self.feed.symbol, "feed": self.feed.feed_id} | (
            self.where.parameters if self.where else {}
        )

    @property
    def condition(self) -> str:
        """What follows the feed's own condition."""
        return f" AND {self.where.sql}" if self.where else ""


def find_slice(
    db: ClickHouse, feed: DatabaseFeed, start_ts: int | None, end_ts: int | None, where: RowFilter | None
) -> Slice | None:
    """Return the part of a feed in a span of local time; None if it has no event there.

    Rows for the exchange only lie a little out of local order: some rows between the first and the last of the span
    may be outside of it.
    """
    starts_before = start_ts is None or start_ts <= feed.first_local_ts
    ends_after = end_ts is None or end_ts > feed.last_local_ts
    if starts_before and ends_after:
        return Slice(feed, 0, feed.events, where=where)
    lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    bounds = {
        "start": lowest if start_ts is None else max(start_ts, lowest),
        "end": highest if end_ts is None else min(end_ts, highest),
    }
    row = db.query(
        "SELECT toInt64(count()) AS n, toInt64(min(sequence)) AS first, toInt64(max(sequence)) AS last "
        f"{_FROM} AND local_ts >= {{start:Int64}} AND local_ts < {{end:Int64}}",
        {"symbol": feed.symbol, "feed": feed.feed_id, **bounds},
    ).to_pylist()[0]
    if not row["n"]:
        return None
    cut_start, cut_end = None if starts_before else start_ts, None if ends_after else end_ts
    return Slice(feed, row["first"], row["last"] + 1, cut_start, cut_end, where)


def last_exch_ts(db: ClickHouse, part: Slice) -> int:
    """Latest time at the exchange among the events of a slice, before any filter, ns UTC."""
    bounds = {"symbol": part.feed.symbol, "feed": part.feed.feed_id, "first": part.first, "stop": part.stop}
    span = "sequence >= {first:UInt64} AND sequence < {stop:UInt64}"
    return int(db.query(f"SELECT max(exch_ts) AS ts {_FROM} AND {span}", bounds)["ts"][0].as_py())


def read_events(address: Address, part: Slice, chunk_rows: int = CHUNK_ROWS) -> Iterator[Rows]:
    """Yield the events of a slice; a connection that drops is made again, and reading goes on after the last event.

    Parameters
    ----------
    chunk_rows : int
        Events that one query asks for.

    Yields
    ------
    EVENT array of shape (n_rows,)
        Overwritten once the next is asked for.

    Raises
    ------
    DataError
        If events are missing.
    UnreachableError
        If the database cannot be reached for long.
    """
    block = np.empty(BLOCK_ROWS, EVENT)
    with closing(_Cursor(address, part, chunk_rows).batches()) as batches:
        for batch in batches:
            if batch.num_rows > len(block):
                block = np.empty(batch.num_rows, EVENT)
            rows = block[: batch.num_rows]
            for name in _FIELDS:
                rows[name] = batch.column(name).to_numpy()
            yield _within(rows, part)


def _within(rows: Rows, part: Slice) -> Rows:
    """The rows in the slice's span of local time."""
    if part.start_ts is None and part.end_ts is None:
        return rows
    keep = np.ones(len(rows), bool)
    if part.start_ts is not None:
        keep &= rows["local_ts"] >= part.start_ts
    if part.end_ts is not None:
        keep &= rows["local_ts"] < part.end_ts
    return rows if keep.all() else rows[keep]


@dataclass
class _Cursor:
    """Reads a slice once; ``next`` is the first event that has not come yet."""

    address: Address
    part: Slice
    chunk_rows: int
    next: int = field(init=False)
    open: ExitStack = field(default_factory=ExitStack, init=False)
    incoming: Iterator[pa.RecordBatch] | None = field(default=None, init=False)
    db: ClickHouse | None = field(default=None, init=False)
    chunk_stop: int = field(init=False)
    filtered_left: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.next = self.chunk_stop = self.part.first

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Yield what the database sends, less what came before, and check that nothing is missing."""
        try:
            while (batch := self._next_batch()) is not None:
                fresh = self._checked(batch)
                if fresh.num_rows:
                    yield fresh
        finally:
            self._close()

    def _next_batch(self) -> pa.RecordBatch | None:
        """The next batch, and with patience if the connection drops; None at the end."""
        try:
            return self._batch()
        except UnreachableError:
            return patiently(self._batch)

    def _batch(self) -> pa.RecordBatch | None:
        """The next batch; None at the end. After a failure, ask again from where we are."""
        try:
            while True:
                if self.incoming is None:
                    if self.next >= self.part.stop:
                        return None
                    self._ask()
                assert self.incoming is not None
                batch = next(self.incoming, None)
                if batch is not None:
                    return batch
                self._end_chunk()
        except UnreachableError:
            self._close()
            raise

    def _ask(self) -> None:
        """Open the stream of the next chunk."""
        if self.db is None:
            self.db = self.open.enter_context(ClickHouse(self.address))
        if self.next >= self.chunk_stop:
            self.chunk_stop = min(self.next + self.chunk_rows, self.part.stop)
        bounds = {"next": self.next, "stop": self.chunk_stop}
        span = " AND sequence >= {next:UInt64} AND sequence < {stop:UInt64}"
        if self.part.where is not None:
            self.filtered_left = self._count(span, bounds)
        sql = (
            f"SELECT sequence, {', '.join(_FIELDS)} {_FROM}{span}{self.part.condition} "
            "ORDER BY symbol, feed_id, sequence"
        )
        settings = _EMBEDDED_SETTINGS if self.address.embedded else {}
        stream = self.db.stream(sql, {**self.part.parameters, **bounds}, settings)
        self.incoming = self.open.enter_context(stream)

    def _count(self, span: str, bounds: Mapping[str, int]) -> int:
        assert self.db is not None
        sql = f"SELECT toInt64(uniqExact(sequence)) AS n {_FROM}{span}{self.part.condition}"
        return int(self.db.query(sql, {**self.part.parameters, **bounds})["n"][0].as_py())

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`batch` without events that have come already."""
        import pyarrow as pa

        sequence = batch.column("sequence").to_numpy().view(np.int64)
        if len(sequence) and sequence[0] == self.next and (np.diff(sequence) == 1).all():
            self.filtered_left -= len(sequence)
            self.next += len(sequence)
            return batch
        before = np.concatenate([[self.next - 1], np.maximum.accumulate(sequence)[:-1]])
        is_new = sequence > before
        if not is_new.all():
            batch = batch.filter(pa.array(is_new))
            sequence = sequence[is_new]
        if not len(sequence):
            return batch
        if self.part.where is None:
            steps = np.diff(sequence, prepend=self.next - 1)
            if (steps != 1).any():
                place = int(np.flatnonzero(steps != 1)[0])
                self._refuse_gap(int(sequence[place] - steps[place]) + 1, int(sequence[place]))
        self.filtered_left -= len(sequence)
        self.next = int(sequence[-1]) + 1
        return batch

    def _end_chunk(self) -> None:
        """The stream of a chunk has ended: it may have been cut off without a word."""
        self.incoming = None
        if self.part.where is not None:
            if self.filtered_left > 0:
                raise UnreachableError(
                    f"ClickHouse at {self.address.name} ended its answer early. Try again later."
                )
            self.next = self.chunk_stop
        elif self.next < self.chunk_stop:
            bounds = {"next": self.next, "stop": self.chunk_stop}
            if self._count(" AND sequence >= {next:UInt64} AND sequence < {stop:UInt64}", bounds) == 0:
                self._refuse_gap(self.next, self.chunk_stop)
            raise UnreachableError(
                f"ClickHouse at {self.address.name} ended its answer early. Try again later."
            )

    def _refuse_gap(self, first: int, stop: int) -> None:
        feed = self.part.feed
        raise DataError(
            f"{feed.symbol}: events {first:,} to {stop - 1:,} of {feed.events:,} are missing from the feed "
            f"{feed.short_id} at {self.address.name}. Load it again: bt db load with the same files."
        )

    def _close(self) -> None:
        """Let go of stream and connection; the next batch makes both anew."""
        self.incoming, self.db = None, None
        self.open.close()
        self.open = ExitStack()
