"""What `bt db status` shows: every database that this installation uses, or one, and what is in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._tables import KEY_DIGITS, megabytes, print_table
from bt_framework.config.schema import param
from bt_framework.errors import BtError
from bt_framework.stores.clickhouse.settings import Place

if TYPE_CHECKING:
    from bt_framework.stores.clickhouse.address import Address
    from bt_framework.stores.clickhouse.report import FeedState
    from bt_framework.stores.clickhouse.spool import Waiting
    from bt_framework.stores.relational.database import Database

_RELATIONAL = ("sqlite:", "postgresql:", "postgresql+", "postgres:")


@dataclass
class StatusConfig(Place):
    """What `bt db status` looks at."""

    runs_dir: str = param("runs", "folder of run folders, whose index of runs is shown too")


@dataclass(frozen=True)
class Contents:
    """A database and what is in it.

    Attributes
    ----------
    database, kind : str
        Its name for people, without a secret; what program it is.
    version, head : str
        Of its tables, empty if there are none; that of this program.
    state : str
        "current", or what is the matter.
    rows : dict of str to int
        Of each table.
    bytes : dict of str to int
        On disk, where the database says so.
    feeds, spool
        Of ClickHouse: the feeds of market_data, and the runs whose rows wait for it.
    error : str
        Why nothing is known of it.
    """

    database: str
    kind: str
    version: str = ""
    head: str = ""
    state: str = ""
    rows: dict[str, int] | None = None
    bytes: dict[str, int] | None = None
    feeds: tuple[FeedState, ...] = ()
    spool: tuple[Waiting, ...] = ()
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return vars(self) | {
            "rows": self.rows or {},
            "bytes": self.bytes or {},
            "feeds": [vars(f) for f in self.feeds],
            "spool": [vars(run) for run in self.spool],
        }


def is_relational(url: str) -> bool:
    """Whether `url` is one of SQLite or PostgreSQL."""
    return url.startswith(_RELATIONAL)


def relational(url: str) -> Database:
    """Return the relational database at a `url` of the command line.

    Raises
    ------
    ConfigError
        If it is no such URL, or holds a password.
    """
    from bt_framework.stores.relational.address import postgres_url
    from bt_framework.stores.relational.database import Database

    return Database(url if url.startswith("sqlite:") else postgres_url(url, "url"))


def databases(config: StatusConfig) -> Iterator[Contents]:
    """Yield the database that is asked for, else all that this installation uses; an error is part of the answer."""
    if is_relational(config.url):
        yield _relational(relational(config.url))
        return
    yield _clickhouse(config.address, config.store_dir)
    if config.url:
        return
    from bt_framework.stores.relational.address import POSTGRES_VARIABLE, postgres_url, sqlite_url
    from bt_framework.stores.relational.database import Database
    from bt_framework.stores.research import ResearchStore

    yield _relational(Database(sqlite_url(Path(config.runs_dir).expanduser() / "index.sqlite")))
    yield _relational(ResearchStore.in_folder(config.store_dir).database)
    if os.environ.get(POSTGRES_VARIABLE):
        yield _relational(Database(postgres_url("")))


def print_contents(contents: Contents) -> None:
    """Print what is in a database, for people."""
    version = f"version {contents.version} of {contents.head}, " if contents.version else ""
    click.echo(f"{contents.database}: {contents.kind}, {version}{contents.error or contents.state}")
    sizes = contents.bytes or {}
    rows = [
        ("  " + name, f"{count:,}", megabytes(sizes[name]) if name in sizes else "-")
        for name, count in (contents.rows or {}).items()
        if count
    ]
    if rows:
        print_table(("  table", "rows", "MB"), rows, right=("rows", "MB"))
    elif contents.rows:  # those of an older version may have other names, and are not counted
        click.echo("  its tables are empty")
    for line in (*_feed_lines(contents.feeds), *_spool_lines(contents.spool)):
        click.echo("  " + line)


def _clickhouse(address: Address, store_dir: str) -> Contents:
    from bt_framework.stores.clickhouse import spool
    from bt_framework.stores.clickhouse.report import report

    kind = "chDB" if address.embedded else "ClickHouse"
    try:
        waiting = tuple(spool.waiting(store_dir, address))
    except BtError as error:
        return Contents(address.name, kind, error=str(error))
    try:
        seen = report(address)
    except BtError as error:
        return Contents(address.name, kind, spool=waiting, error=str(error))
    migrate = f"bt db migrate{address.argument}"
    state = "current"
    if seen.schema.version > seen.schema.head:
        state = "made by a newer version of bt: upgrade bt"
    elif not seen.schema.version:
        state = "nothing there yet" if address.embedded else f"no tables yet: {migrate}"
    elif seen.schema.changed:
        state = f"made by another text of {', '.join(seen.schema.changed)}"
    elif seen.schema.pending:
        state = f"lacks {', '.join(seen.schema.pending)}: {migrate}"
    return Contents(
        address.name,
        f"{kind} {seen.server_version}".rstrip(),
        str(seen.schema.version or ""),
        str(seen.schema.head),
        state,
        {table.name: table.rows for table in seen.tables},
        {table.name: table.bytes for table in seen.tables},
        seen.feeds,
        waiting,
    )


def _relational(database: Database) -> Contents:
    from bt_framework.stores.relational.schema import status

    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    try:
        seen = status(database)
    except BtError as error:
        return Contents(database.name, kind, error=str(error))
    state = "current" if seen.is_current else "nothing there yet"
    if seen.revision and not seen.is_current:
        url = f"sqlite:///{database.name}" if database.is_sqlite else database.name
        state = f"made by an older version of bt: bt db migrate url={url}"
    return Contents(database.name, kind, seen.revision, seen.head, state, dict(seen.rows))


def _feed_lines(feeds: tuple[FeedState, ...]) -> Iterator[str]:
    if feeds:
        complete = sum(feed.complete for feed in feeds)
        yield f"feeds: {complete:,} complete of {len(feeds):,}"
    for feed in feeds:
        if not feed.complete:
            yield (
                f"half-loaded: {feed.symbol} {feed.feed_id[:KEY_DIGITS]}, {feed.loaded:,} of {feed.events:,} events. "
                "Finish it: bt db load with the same files"
            )


def _spool_lines(spool: tuple[Waiting, ...]) -> Iterator[str]:
    if spool:
        rows = sum(run.rows for run in spool)
        yield f"spool: {rows:,} rows of {len(spool):,} runs wait. Deliver them: bt db flush"
