"""The tables' version: numbered files of SQL, applied one by one and noted in ``schema_migrations``."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bt_framework.errors import StorageError
from bt_framework.stores.clickhouse._disk import require_room
from bt_framework.stores.clickhouse._statements import statements

if TYPE_CHECKING:
    from bt_framework.stores.clickhouse.connection import ClickHouse

HEAD = 4
"""Version of the tables that this program knows: the number of its last migration."""

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_FOLDER = "clickhouse"
_JOURNAL = "schema_migrations"


@dataclass(frozen=True)
class Migration:
    """A numbered file. Each of its statements may run twice: a migration that was cut off begins again."""

    version: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class SchemaStatus:
    """How a database stands to this program.

    Attributes
    ----------
    version : int
        Of the last migration that it has; 0 if it has no tables.
    head : int
        Of the last one that this program knows.
    pending : tuple of str
        Names of the migrations that it lacks.
    changed : tuple of str
        Names of those whose file is not what was applied.
    """

    version: int
    head: int
    pending: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def migrations() -> tuple[Migration, ...]:
    """Return this program's migrations in order."""
    from importlib.resources import files

    found = []
    for file in (files("bt_sql") / _FOLDER).iterdir():
        match = _NAME.fullmatch(file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.version))


def migrate(db: ClickHouse, known: Sequence[Migration] | None = None) -> list[str]:
    """Make the database and apply what it lacks; several processes may do so at once.

    Parameters
    ----------
    known : sequence of Migration, optional
        Those of this program where not given.

    Returns
    -------
    list of str
        Names of the migrations that were applied.

    Raises
    ------
    StorageError
        If a newer program made the tables, an applied file has changed since, or chDB's disk is full.
    """
    known = migrations() if known is None else known
    require_room(db.address)
    db.command(f"CREATE DATABASE IF NOT EXISTS `{db.address.database}`", in_database=False)
    for statement in statements(_sql(_JOURNAL)):
        db.command(statement)
    state = status(db, known)
    _refuse_newer(db, state)
    _refuse_changed(db, state)
    done = []
    for migration in known:
        if migration.name in state.pending:
            for statement in statements(migration.text):
                db.command(statement)
            _note(db, migration)
            done.append(migration.name)
    return done


def status(db: ClickHouse, known: Sequence[Migration] | None = None) -> SchemaStatus:
    """Return how the database stands to this program, or to the migrations `known`."""
    known = migrations() if known is None else known
    applied = _applied(db)
    return SchemaStatus(
        version=max(applied, default=0),
        head=max(migration.version for migration in known),
        pending=tuple(m.name for m in known if m.version not in applied),
        changed=tuple(m.name for m in known if applied.get(m.version, m.sha256) != m.sha256),
    )


def require(db: ClickHouse) -> None:
    """See that the tables are this program's; an embedded database gets them at once.

    Raises
    ------
    StorageError
        If there are none, or they are older or newer; the message says what to do.
    """
    state = status(db)
    _refuse_newer(db, state)
    if not state.pending:
        return
    if db.address.embedded:
        migrate(db)
        return
    fix = f"bt db migrate{db.address.argument}"
    if not state.version:
        raise StorageError(f"{db.address.title} has no tables of bt. Make them: {fix}")
    raise StorageError(
        f"the tables of {db.address.title} must have version {state.head}, were {state.version}: an older "
        f"version of bt made them. Upgrade them, nothing is lost: {fix}"
    )


def set_market_data_ttl(db: ClickHouse, days: int) -> list[str]:
    """Let market data go that many days after its time at our side; 0 keeps it for ever.

    What is too old already goes at once, by whole days of the calendar.

    Returns
    -------
    list of str
        What was done, for people.
    """
    require_room(db.address)
    for table, column in (("market_data", "local_ts"), ("market_touch", "ts")):
        expires = f"toDateTime(intDiv({column}, 1000000000), 'UTC') + INTERVAL {days:d} DAY"
        if days:
            db.command(f"ALTER TABLE {table} MODIFY TTL {expires}")
        elif _has_ttl(db, table):
            db.command(f"ALTER TABLE {table} REMOVE TTL")
    return [f"market_data_ttl_days={days}"]


def _has_ttl(db: ClickHouse, table: str) -> bool:
    query = (
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"
    )
    return any(" TTL " in text for text in db.query(query, {"table": table})["engine_full"].to_pylist())


def _applied(db: ClickHouse) -> dict[int, str]:
    """SHA-256 of each version's file as it was applied; empty if there are no tables, or no database."""
    there = "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {name:String}"
    names = {"database": db.address.database, "name": _JOURNAL}
    # Asked from outside of the database, which may not be there yet.
    if not int(db.command(there, names, in_database=False)):
        return {}
    rows = db.query(
        f"SELECT version, argMin(sha256, applied_at_ns) AS sha256 FROM {_JOURNAL} GROUP BY version"
    )
    return dict(zip(rows["version"].to_pylist(), rows["sha256"].to_pylist(), strict=True))


def _note(db: ClickHouse, migration: Migration) -> None:
    import pyarrow as pa

    row = {
        "version": migration.version,
        "name": migration.name,
        "applied_at_ns": time.time_ns(),
        "sha256": migration.sha256,
    }
    db.insert(_JOURNAL, pa.Table.from_pylist([row]))


def _refuse_newer(db: ClickHouse, state: SchemaStatus) -> None:
    if state.version > state.head:
        raise StorageError(
            f"the tables of {db.address.title} must have version {state.head}, were {state.version}: a newer version "
            "of bt made them. Upgrade bt, or use another database."
        )


def _refuse_changed(db: ClickHouse, state: SchemaStatus) -> None:
    if state.changed:
        raise StorageError(
            f"the tables of {db.address.title} were made by another text of {', '.join(state.changed)} than this "
            "version of bt has. Install the version that made them, or use another database."
        )


def _sql(name: str) -> str:
    from importlib.resources import files

    return (files("bt_sql") / _FOLDER / f"{name}.sql").read_text(encoding="utf-8")
