"""The feeds of market_data: which there are, and what is known of each besides its events."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.data.source import FeedReport
from bt_framework.errors import StorageError
from bt_framework.results.run import Instrument

if TYPE_CHECKING:
    from bt_framework.data.manifest import Manifest
    from bt_framework.stores.clickhouse.connection import ClickHouse

ID_DIGITS = 12
"""Of a feed's id, as messages show it; enough to name it."""

_TABLE = "market_data_feeds"
_COLUMNS = (
    "feed_id, symbol, reader, toInt64(events) AS events, first_local_ts, last_local_ts, first_exch_ts, status, "
    "manifest"
)


@dataclass(frozen=True)
class DatabaseFeed:
    """A row of market_data_feeds.

    Attributes
    ----------
    feed_id : str
        SHA-256 of the bytes of all its events.
    events : int
        Rows of market_data that it has when it is complete; their ``sequence`` is 0 ... events - 1.
    status : str
        ``"loading"`` until all of them are there and have been counted, then ``"complete"``.
    manifest : str
        What the event store knew of it, as JSON.
    """

    feed_id: str
    symbol: str
    reader: str
    events: int
    first_local_ts: int
    last_local_ts: int
    first_exch_ts: int
    status: str
    manifest: str

    @property
    def complete(self) -> bool:
        """Whether all of its events are there."""
        return self.status == "complete"

    @property
    def short_id(self) -> str:
        """Beginning of the id."""
        return self.feed_id[:ID_DIGITS]

    @cached_property
    def _known(self) -> dict[str, Any]:
        try:
            known = json.loads(self.manifest)
            Instrument(**known["spec"]), FeedReport(**known["report"])
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"what is known of the feed {self.short_id} of {self.symbol} cannot be read ({error!r}): another "
                "version of bt has loaded it. Load it again with this one: bt db load"
            ) from None
        return known  # type: ignore[no-any-return]

    @property
    def spec(self) -> Instrument:
        """Sizes of the instrument."""
        return Instrument(**self._known["spec"])

    @property
    def sources(self) -> tuple[str, str]:
        """Where tick and lot size came from: ``"config"``, ``"catalogue"`` or ``"inferred"``."""
        return self._known["tick_source"], self._known["lot_source"]

    @property
    def report(self) -> FeedReport:
        """What the reader found."""
        return FeedReport(**self._known["report"])


def manifest_text(manifest: Manifest) -> str:
    """What a database keeps of a manifest: all but where things were on the machine that read it."""
    fields = dataclasses.asdict(manifest)
    del fields["parts"]
    fields["inputs"] = [{**file, "path": Path(file["path"]).name} for file in fields["inputs"]]
    return json.dumps(fields)


def list_feeds(db: ClickHouse, symbols: Sequence[str] = ()) -> list[DatabaseFeed]:
    """Feeds of `symbols`, or all, by symbol and time."""
    where = " WHERE symbol IN {symbols:Array(String)}" if symbols else ""
    rows = db.query(
        f"SELECT {_COLUMNS} FROM {_TABLE} FINAL{where} ORDER BY symbol, first_local_ts, feed_id",
        {"symbols": list(symbols)} if symbols else {},
    )
    return [DatabaseFeed(**row) for row in rows.to_pylist()]


def find_feed(db: ClickHouse, symbol: str, feed_id: str) -> DatabaseFeed | None:
    """The feed of that id, if it is there."""
    rows = db.query(
        f"SELECT {_COLUMNS} FROM {_TABLE} FINAL WHERE symbol = {{symbol:String}} AND feed_id = {{feed:String}}",
        {"symbol": symbol, "feed": feed_id},
    ).to_pylist()
    return DatabaseFeed(**rows[0]) if rows else None


def write_feed(db: ClickHouse, feed: DatabaseFeed, status: str, at_ns: int | None = None) -> None:
    """Write a feed's row with a status, as of `at_ns` (wall clock; now if not given)."""
    import pyarrow as pa

    row = {**dataclasses.asdict(feed), "status": status, "updated_at_ns": at_ns or time.time_ns()}
    schema = pa.schema([(name, pa.string() if isinstance(row[name], str) else pa.int64()) for name in row])
    table = pa.Table.from_pylist([row], schema=schema)
    place = schema.get_field_index("events")
    db.insert(_TABLE, table.set_column(place, "events", table["events"].cast(pa.uint64())))


def count_rows(db: ClickHouse, feed: DatabaseFeed) -> int:
    """Rows that market_data has of the feed, those included that are there twice."""
    rows = db.query(
        "SELECT toInt64(count()) AS n FROM market_data WHERE symbol = {symbol:String} AND feed_id = {feed:String}",
        {"symbol": feed.symbol, "feed": feed.feed_id},
    )
    return int(rows["n"][0].as_py())


def count_events(db: ClickHouse, feed: DatabaseFeed, start: int, stop: int) -> int:
    """Different events that market_data has of those from `start` to before `stop`; memory follows their number."""
    rows = db.query(
        "SELECT toInt64(uniqExact(sequence)) AS n FROM market_data WHERE symbol = {symbol:String} AND "
        "feed_id = {feed:String} AND sequence >= {start:UInt64} AND sequence < {stop:UInt64}",
        {"symbol": feed.symbol, "feed": feed.feed_id, "start": start, "stop": stop},
    )
    return int(rows["n"][0].as_py())
