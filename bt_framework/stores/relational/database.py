"""Connections of a relational database: transactions, the version of its tables, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import ConfigError, StorageError
from bt_framework.stores.relational import HEAD, REVISIONS, _messages, address
from bt_framework.stores.relational._messages import Subject
from bt_framework.stores.relational.sqlite_file import BEFORE, OutdatedError, SqliteFile, revision

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_LOCK_KEY = 0x62745F7265
"""Of PostgreSQL's advisory lock, held while tables are created or changed."""


@dataclass(frozen=True)
class Limits:
    """How long to wait.

    Attributes
    ----------
    busy_s : float
        For other processes that hold a lock.
    connect_s : float
        For a server's answer.
    statement_s : float
        For a statement of a server to end; 0 is for ever.
    durable : bool
        Whether a SQLite file survives a power cut, see `SqliteFile`.
    """

    busy_s: float = 30.0
    connect_s: float = 10.0
    statement_s: float = 0.0
    durable: bool = True


class Database:
    """A database by URL: no connection outlives its transaction, so threads and forks share nothing.

    A SQLite file gets its tables, and those of a newer version, when it is first used. A server's database gets its
    tables by the first write; it is upgraded by `bt_framework.stores.relational.schema.upgrade` only, since others
    use it too.
    """

    def __init__(self, url: str, subject: Subject = Subject(), limits: Limits = Limits()) -> None:  # noqa: B008
        self._url = address.parse(url, f"the address of the {subject.what}")
        self._subject = subject
        self._limits = limits
        self._is_known_to_be_current = False  # a file may be replaced, so only a server's is
        self.is_sqlite = self._url.get_backend_name() == "sqlite"

    @property
    def name(self) -> str:
        """For people: the file, or the URL without the password."""
        return address.shown(self._url)

    @property
    def file(self) -> SqliteFile:
        """The SQLite file."""
        return SqliteFile(
            Path(self.name), self._subject, busy_timeout_s=self._limits.busy_s, durable=self._limits.durable
        )

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """Yield a connection to read from, which sees one state of the database; None if there are no tables yet."""
        with self.connected() as connection:
            found = HEAD if self._is_known_to_be_current else self.checked_revision(connection)
            if found in ("", HEAD):
                self._is_known_to_be_current = found == HEAD and not self.is_sqlite
                yield connection if found else None
                return
        self._bring_up_to_date(found)
        with self.connected() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection within a transaction, which is kept if the block ends well. Tables are created."""
        if self.is_sqlite:
            try:
                self.file.prepare()
            except OutdatedError:
                self._bring_up_to_date(BEFORE)
        elif not self._is_known_to_be_current:
            with self.connected(writes=True) as connection:
                assert connection is not None
                self.take_turn(connection)
                found = self.checked_revision(connection)
                if not found:
                    create(connection)
            if found not in ("", HEAD):
                self._bring_up_to_date(found)
            self._is_known_to_be_current = True
        with self.connected(writes=True) as connection:
            assert connection is not None
            yield connection

    @contextmanager
    def connected(self, *, writes: bool = False) -> Iterator[Connection | None]:
        """Yield a connection within a transaction, whatever the tables are; None if there is no file to read."""
        with self._in_our_words():
            is_missing = self.is_sqlite and not writes and not Path(self.name).exists()
        if is_missing:
            yield None
            return
        with self._in_our_words(), self._engine.execution_options(bt_writes=writes).begin() as connection:
            yield connection

    def checked_revision(self, connection: Connection | None) -> str:
        """Version of the schema, empty if there is none.

        Raises
        ------
        StorageError
            If it is newer than this program.
        """
        if connection is None:
            return ""
        found = self._revision(connection)
        if found and found not in (BEFORE, *REVISIONS):
            raise StorageError(_messages.newer(self._subject, self.name, found, HEAD))
        return found

    def take_turn(self, connection: Connection) -> None:
        """Wait until nobody else creates or changes tables; others wait for the end of this transaction."""
        from sqlalchemy import func, select

        if not self.is_sqlite:  # a SQLite file has one writer at a time
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))

    @cached_property
    def _engine(self) -> Engine:
        from sqlalchemy import create_engine, event
        from sqlalchemy.exc import NoSuchModuleError
        from sqlalchemy.pool import NullPool

        options = {} if self.is_sqlite else {"connect_timeout": max(2, round(self._limits.connect_s))}
        try:
            engine = create_engine(self._url, poolclass=NullPool, hide_parameters=True, connect_args=options)
        except (ImportError, NoSuchModuleError):
            raise ConfigError(
                f"the {self._subject.what} {self.name} needs a driver that is not installed. "
                "Install it: pip install 'bt-framework[postgres]'"
            ) from None
        event.listen(engine, "connect", self._on_connect)
        if self.is_sqlite:
            event.listen(engine, "begin", _on_begin)
        return engine

    def _on_connect(self, connection: Any, _: Any) -> None:
        """Leave a file's transactions to `_on_begin`: Python's own begin too late to read and write in one."""
        if self.is_sqlite:
            self.file.settle(connection)
            return
        limits = {"lock_timeout": self._limits.busy_s, "statement_timeout": self._limits.statement_s}
        settings = "; ".join(f"SET {key} = {round(1_000 * seconds):d}" for key, seconds in limits.items())
        connection.autocommit = True
        connection.execute(f"SET application_name = 'bt'; {settings}")
        connection.autocommit = False

    def _revision(self, connection: Connection) -> str:
        if self.is_sqlite:
            return revision(connection.connection.driver_connection)  # type: ignore[arg-type]
        from sqlalchemy import inspect, text

        from bt_framework.stores.relational._metadata import VERSION

        names = inspect(connection)
        if names.has_table(VERSION.name):
            return str(connection.execute(VERSION.select()).scalar() or BEFORE)
        if not names.has_table("research_schema"):
            return ""
        version = connection.execute(text("SELECT version FROM research_schema")).scalar()
        return REVISIONS[0] if version in (1, None) else f"{version} of research"

    def _bring_up_to_date(self, found: str) -> None:
        if not self.is_sqlite:
            raise StorageError(_messages.older(self._subject, self.name, found, HEAD))
        from bt_framework.stores.relational.schema import upgrade

        upgrade(self)

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except OSError as error:
            raise StorageError(
                f"the {self._subject.what} {self.name} cannot be opened: {error.strerror}."
            ) from None
        except (SQLAlchemyError, UnicodeError) as error:
            text = str(getattr(error, "orig", None) or error)
            raise StorageError(_messages.explain(self._subject, self.name, text)) from None


def create(connection: Connection) -> None:
    """Create all tables, as they are now."""
    from bt_framework.stores.relational.tables import METADATA, VERSION

    METADATA.create_all(connection, checkfirst=False)
    VERSION.create(connection)
    connection.execute(VERSION.insert().values(version_num=HEAD))


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("bt_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
