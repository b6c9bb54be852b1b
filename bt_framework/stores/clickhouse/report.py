"""What is in a ClickHouse database, for `bt db status`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bt_framework.stores.clickhouse import schema
from bt_framework.stores.clickhouse.address import Address
from bt_framework.stores.clickhouse.connection import ClickHouse

_CHDB_FILES = ("status", "metadata")
"""Of which a folder of chDB has at least one: the first while it is open, the other once it has a database."""


_REPLACED = ("backtest_runs", "backtest_metrics", "bars_sources", "market_data_feeds")
"""Tables of which a row is written more than once: at the start, and at the end."""


@dataclass(frozen=True)
class TableSize:
    """Rows of a table and their bytes on disk.

    Where a row replaces earlier ones as a matter of course (runs, metrics, feeds, ...) each key is counted once; of the
    tables of events and of rows of runs, what is stored: a repeated row counts until the engine has merged it away.
    """

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class FeedState:
    """A feed of market_data: how many of its events are there.

    It is complete once its load has ended: its best prices come after the last event.
    """

    feed_id: str
    symbol: str
    events: int
    loaded: int
    complete: bool


@dataclass(frozen=True)
class Report:
    """A database as it is.

    Attributes
    ----------
    server_version : str
        Of ClickHouse; empty if nothing is there yet.
    """

    server_version: str
    schema: schema.SchemaStatus
    tables: tuple[TableSize, ...] = ()
    feeds: tuple[FeedState, ...] = ()


def is_chdb(folder: Path) -> bool:
    """Whether chDB has something in a folder."""
    return any((folder / name).exists() for name in _CHDB_FILES)


def report(address: Address) -> Report:
    """Look at a database without changing it; chDB's folder is not made if it is not there.

    Raises
    ------
    StorageError
        If it cannot be reached, opened or read.
    """
    if address.folder is not None and not is_chdb(address.folder):
        names = tuple(m.name for m in schema.migrations())
        return Report("", schema.SchemaStatus(0, schema.HEAD, names))
    with ClickHouse(address) as db:
        state = schema.status(db)
        there = state.version > 0
        return Report(
            str(db.client.server_version),
            state,
            _tables(db) if there else (),
            _feeds(db) if there else (),
        )


def _tables(db: ClickHouse) -> tuple[TableSize, ...]:
    rows = db.query(
        "SELECT name, toInt64(ifNull(total_rows, 0)) AS rows, toInt64(ifNull(total_bytes, 0)) AS bytes "
        "FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
        "AND name != 'schema_migrations' ORDER BY name"
    )
    sizes = {row["name"]: row for row in rows.to_pylist()}
    for name in sizes.keys() & set(_REPLACED):
        (counted,) = db.query(f"SELECT toInt64(count()) AS rows FROM {name} FINAL").to_pylist()
        sizes[name] |= counted
    return tuple(TableSize(**row) for row in sizes.values())


def _feeds(db: ClickHouse) -> tuple[FeedState, ...]:
    """Feeds by symbol; the events of those that are not complete are counted."""
    feeds: list[dict[str, Any]] = db.query(
        "SELECT feed_id, symbol, toInt64(events) AS events, status FROM market_data_feeds FINAL "
        "ORDER BY symbol, first_local_ts, feed_id"
    ).to_pylist()
    counts = db.query(
        "SELECT symbol, feed_id, toInt64(uniqExact(sequence)) AS loaded FROM market_data WHERE (symbol, feed_id) IN "
        "(SELECT symbol, feed_id FROM market_data_feeds FINAL WHERE status != 'complete') GROUP BY symbol, feed_id"
    ).to_pylist()
    loaded = {(row["symbol"], row["feed_id"]): row["loaded"] for row in counts}
    return tuple(
        FeedState(
            f["feed_id"],
            f["symbol"],
            f["events"],
            f["events"] if f["status"] == "complete" else loaded.get((f["symbol"], f["feed_id"]), 0),
            f["status"] == "complete",
        )
        for f in feeds
    )
