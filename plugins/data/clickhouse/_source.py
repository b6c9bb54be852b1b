"""Events of market_data as feeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.data.source import DataSource, Feed, FeedReport, Progress
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.stores.clickhouse.address import Address, address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.feeds import DatabaseFeed, list_feeds
from bt_framework.stores.clickhouse.market_data import Slice, find_slice, last_exch_ts, read_events
from bt_framework.stores.clickhouse.retrying import patiently
from bt_framework.stores.clickhouse.schema import require
from bt_framework.stores.clickhouse.where import parse_where
from bt_plugins.data.clickhouse import Clickhouse
from bt_plugins.data.clickhouse._choice import choose
from bt_plugins.data.clickhouse._joining import joined_report, joined_sizes

if TYPE_CHECKING:
    from bt_framework.results.run import Instrument

READER_VERSION = 1

_FLAGS = np.uint64(EventFlag.EXCH | EventFlag.LOCAL)
_BEGINNINGS = (EventKind.DEPTH_SNAPSHOT, EventKind.DEPTH_CLEAR, EventKind.ADD_ORDER)


class EventsOfDatabase(DataSource):
    """Symbols of market_data, one feed each."""

    def __init__(self, config: Clickhouse) -> None:
        self.config = config
        self._where = parse_where(config.where) if config.where.strip() else None
        self._store_dir = Path()

    def use_store(self, store_dir: Path) -> None:
        """Without a URL, the database is in there."""
        self._store_dir = store_dir

    def feeds(self) -> Sequence[EventFeed]:
        """One feed per symbol, in the order asked for.

        Raises
        ------
        ConfigError
            If no symbol is named, or the URL is none.
        DataError
            If the database does not have the events, or several feeds of one time.
        StorageError
            If it cannot be reached, or has other tables.
        """
        address = address_of(self.config.url, self._store_dir)
        return patiently(lambda: self._found(address))

    def _found(self, address: Address) -> list[EventFeed]:
        with ClickHouse(address) as db:
            require(db)
            listed = list_feeds(db)
            if not self.config.symbols:
                known = (
                    ", ".join(dict.fromkeys(feed.symbol for feed in listed))
                    or "none; bt db load FILES loads some"
                )
                raise ConfigError(f"data.symbols must name at least one symbol, was []. There are: {known}.")
            chosen = {s: choose(self.config, s, listed, address.name) for s in self.config.symbols}
            return [self._feed(db, symbol, feeds) for symbol, feeds in chosen.items()]

    def _feed(self, db: ClickHouse, symbol: str, feeds: Sequence[DatabaseFeed]) -> EventFeed:
        start_ts, end_ts = self.config.range_ns()
        found = (find_slice(db, feed, start_ts, end_ts, self._where) for feed in feeds)
        parts = [part for part in found if part is not None]
        if not parts:
            raise DataError(
                f"{symbol}: no events at {db.address.name} from {self.config.start or 'the first'} to "
                f"{self.config.end or 'the last'}. Choose another time."
            )
        overlap = any(
            last_exch_ts(db, before) > after.feed.first_exch_ts for before, after in pairwise(parts)
        )
        return EventFeed(db.address, parts, self.config, ordered=not overlap)


class EventFeed(Feed):
    """Events of one symbol: parts of feeds, one after the other.

    Where the times of the exchange overlap from one part to the next, the rows are put into the engine's order anew.
    """

    clock_correction = False

    def __init__(
        self, address: Address, parts: Sequence[Slice], config: Clickhouse, *, ordered: bool
    ) -> None:
        self._address, self._parts, self._chunk_rows = address, parts, config.chunk_rows
        self.symbol = parts[0].feed.symbol
        self.ordered = ordered
        self.keep = config.keep
        self._whole = all(part.whole for part in parts)
        if len(parts) == 1 and self._whole:
            self.content_hash = parts[0].feed.feed_id
        sizes = joined_sizes([part.feed for part in parts], whole=self._whole)
        self.tick_size, self.lot_size, self._listed = sizes

    def identity(self) -> Mapping[str, Any]:
        """The parts: feeds are their content; where the database is does not matter."""
        parts = [
            [part.feed.feed_id, part.first, part.stop, part.start_ts, part.end_ts] for part in self._parts
        ]
        where = self._parts[0].where
        return {
            "reader": "clickhouse",
            "version": READER_VERSION,
            "parts": parts,
            "where": asdict(where) if where else None,
        }

    def known_instrument(self, report: FeedReport) -> Instrument | None:
        """Sizes that came from a catalogue when the files were read."""
        return self._listed

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the events; the report is that of the files they came from."""
        joined = joined_report(self._parts)
        for name, value in vars(joined).items():
            setattr(report, name, value)
        total, done, unpaired = sum(part.stop - part.first for part in self._parts), 0, 0
        for part in self._parts:
            for rows in self._begun(part, read_events(self._address, part, self._chunk_rows)):
                done += len(rows)
                progress(min(done, total), total)
                if self.ordered:
                    yield rows
                    continue
                flags = rows["ev"] & _FLAGS
                unpaired += int((flags == int(EventFlag.EXCH)).sum()) - int(
                    (flags == int(EventFlag.LOCAL)).sum()
                )
                yield _as_they_came(rows, flags)
        if unpaired:
            raise DataError(
                f"{self.symbol}: the feeds cannot be joined, {abs(unpaired):,} rows are of one clock only. Read them "
                "one by one with data.feed_ids."
            )

    def _begun(self, part: Slice, chunks: Iterator[np.ndarray[Any, Any]]) -> Iterator[np.ndarray[Any, Any]]:
        """`chunks`; before those of a later part that begins with a book of its own, a row that clears the old one."""
        first = next(chunks, None)
        if first is None:
            return
        if part is not self._parts[0] and _begins_a_book(first):
            yield _clearing(part)
        yield first
        yield from chunks


def _begins_a_book(rows: np.ndarray[Any, Any]) -> bool:
    """Whether the first row that is no trade is of a snapshot, of an order, or clears the book."""
    kinds = rows["ev"] & np.uint64(0xFF)
    kinds = kinds[kinds != EventKind.TRADE]
    return bool(len(kinds) and kinds[0] in _BEGINNINGS)


def _clearing(part: Slice) -> np.ndarray[Any, Any]:
    """A row that clears both sides when the part begins, by either clock."""
    row = np.zeros(1, EVENT)
    row["ev"] = int(_FLAGS) | EventKind.DEPTH_CLEAR
    row["exch_ts"], row["local_ts"] = part.feed.first_exch_ts, part.feed.first_local_ts
    return row


def _as_they_came(rows: np.ndarray[Any, Any], flags: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows in order of arrival without flags, each once."""
    raw = rows[flags != int(EventFlag.EXCH)]
    raw["ev"] &= ~_FLAGS
    return raw
