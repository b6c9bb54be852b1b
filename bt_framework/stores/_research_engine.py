"""Connections of the research store: transactions, the tables' version, and the database's errors in our words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

BUSY_TIMEOUT_S = 30.0
_LOCK_KEY = 0x62745F7265
"""Of PostgreSQL's advisory lock, held while tables are created."""


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    from sqlalchemy import URL

    return str(URL.create("sqlite", database=str(path.expanduser().absolute())))


def upsert(table: Table, dialect: str) -> Any:
    """Return the statement that inserts a row, or replaces the one with its key."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    statement = insert(table)
    key = {column.name for column in table.primary_key.columns}
    values = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in key}
    if not values:
        return statement.on_conflict_do_nothing()
    return statement.on_conflict_do_update(index_elements=sorted(key), set_=values)


class Database:
    """A database by URL: no connection outlives its transaction, so threads and forks share nothing."""

    def __init__(self, url: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            self._url = make_url(url)
        except ArgumentError:
            raise ConfigError(
                "the address of the research store must be a URL such as sqlite:////folder/research.sqlite or "
                "postgresql+psycopg://user@host/database."
            ) from None
        if self._url.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigError(
                f"the research store must be sqlite or postgresql, was {self._url.get_backend_name()!r}."
            )
        self._busy_timeout_s = busy_timeout_s
        self._is_sqlite = self._url.get_backend_name() == "sqlite"

    @property
    def name(self) -> str:
        """For people: the file, or the URL without the password."""
        return str(self._url.database) if self._is_sqlite else self._url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """Yield a connection to read from, which sees one state of the database; None if there are no tables yet."""
        if self._is_sqlite and not Path(self.name).exists():
            yield None
            return
        with self._in_our_words(), self._engine.begin() as connection:
            yield connection if self._version(connection) else None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection within a transaction, which is kept if the block ends well. Tables are created."""
        with self._in_our_words():
            if self._is_sqlite:
                Path(self.name).parent.mkdir(parents=True, exist_ok=True)
            with self._engine.execution_options(bt_writes=True).begin() as connection:
                if not self._version(connection):
                    self._create(connection)
                yield connection

    @cached_property
    def _engine(self) -> Engine:
        from sqlalchemy import create_engine, event
        from sqlalchemy.exc import NoSuchModuleError
        from sqlalchemy.pool import NullPool

        try:
            engine = create_engine(self._url, poolclass=NullPool, hide_parameters=True)
        except (ImportError, NoSuchModuleError) as error:
            raise ConfigError(
                f"the research store {self.name} needs a driver that is not installed: {error}. "
                "Install one, for example: pip install 'psycopg[binary]', with postgresql+psycopg:// in the URL."
            ) from error
        if self._is_sqlite:
            event.listen(engine, "connect", self._on_connect)
            event.listen(engine, "begin", _on_begin)
        return engine

    def _on_connect(self, connection: Any, _: Any) -> None:
        """Leave transactions to `_on_begin`: Python's own begin too late to read and write in one."""
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {self._busy_timeout_s * 1_000:.0f}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        deadline = time.monotonic() + self._busy_timeout_s
        # SQLite does not wait for others when it changes to this mode, whatever the timeout.
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except Exception as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _version(self, connection: Connection) -> int:
        """Version of the tables, 0 if there are none; a newer one is refused."""
        from sqlalchemy import inspect

        from bt_framework.stores._research_tables import SCHEMA, SCHEMA_VERSION

        if not inspect(connection).has_table(SCHEMA.name):
            return 0
        version = int(connection.execute(SCHEMA.select()).scalar() or 0)
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"the research store {self.name} must have schema version {SCHEMA_VERSION}, was {version}: a newer "
                "version of this program made it. Upgrade, or choose another folder: store_dir=FOLDER."
            )
        return version

    def _create(self, connection: Connection) -> None:
        """Create the tables; processes that come at once take turns."""
        from sqlalchemy import func, select

        from bt_framework.stores._research_tables import METADATA, SCHEMA, SCHEMA_VERSION

        if not self._is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
        METADATA.create_all(connection)
        if not self._version(connection):
            connection.execute(SCHEMA.insert().values(version=SCHEMA_VERSION))

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except OSError as error:
            raise StorageError(
                f"the research store {self.name} cannot be opened: {error.strerror}."
            ) from error
        except SQLAlchemyError as error:
            raise StorageError(_explain(self.name, error)) from error


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("bt_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _explain(name: str, error: Exception) -> str:
    """Say what is wrong with the database, without the statement or its values."""
    text = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    if "locked" in text:
        problem, fix = "is locked by another process", "Try again when it has finished."
    elif "readonly" in text or "unable to open" in text:
        problem, fix = (
            "cannot be opened for writing",
            "Check the permissions, or choose another: store_dir=FOLDER.",
        )
    elif "full" in text or "I/O error" in text:
        problem, fix = "cannot be written", "Free space there, or choose another folder: store_dir=FOLDER."
    elif "not a database" in text or "malformed" in text:
        problem, fix = "is damaged", "Move it away; bt validate and bt screen make it anew."
    elif "FOREIGN KEY" in text or "foreign key" in text:
        problem, fix = (
            "does not know the pair or symbol",
            "Register it first: put_universe, register_symbols.",
        )
    else:
        problem, fix = "cannot be used", "Check the address, and that the database is running."
    return f"the research store {name} {problem} ({text}). {fix}"
