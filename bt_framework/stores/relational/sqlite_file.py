"""A SQLite file with the schema, by Python's own module: what a run writes needs no more."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bt_framework.errors import StorageError
from bt_framework.stores.relational import HEAD, REVISIONS
from bt_framework.stores.relational._messages import Subject, explain, newer
from bt_framework.stores.relational.statements import statements

BEFORE = "0000"
"""What an index of runs has that was made before there were versions: a table ``runs``."""


class OutdatedError(Exception):
    """The file has an older schema: it must be upgraded first, see `bt_framework.stores.relational.schema`."""


@dataclass(frozen=True)
class SqliteFile:
    """A file for many processes on one machine: write-ahead log, foreign keys, and waiting for each other.

    Attributes
    ----------
    durable : bool
        Whether what is written survives a power cut; else it is much faster, and a kill does no harm.
    """

    path: Path
    subject: Subject
    busy_timeout_s: float
    durable: bool

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction; the handle does not outlive it.

        Raises
        ------
        OutdatedError
            If it is of an older version; nothing was written.
        StorageError
            If it cannot be used.
        """
        with self._prepared() as connection, self.transaction(connection):
            yield connection

    @contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Hold the file for one transaction of an open connection; what fails leaves nothing.

        Raises
        ------
        StorageError
            If the file cannot be used.
        """
        with self._explained():
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the file for queries, each of which sees one state of it; raises as `writing` does."""
        return self._prepared()

    def prepare(self) -> None:
        """Create the file and its tables, if they are not there; raises as `writing` does."""
        with self._prepared():
            pass

    @contextmanager
    def _prepared(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=self.busy_timeout_s)) as connection:
                self.settle(connection)
                self._prepare(connection)
                yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what an error of the file means."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"the {self.subject.what} {self.path} cannot be opened: {error.strerror}."
            ) from None
        except (sqlite3.Error, UnicodeEncodeError, OverflowError) as error:
            raise StorageError(explain(self.subject, str(self.path), str(error))) from None

    def settle(self, connection: sqlite3.Connection) -> None:
        """Make a new connection to the file behave: it begins no transactions by itself, and waits for others."""
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {self.busy_timeout_s * 1_000:.0f}")
        connection.execute("PRAGMA foreign_keys = ON")
        # Waiting for the disk would cost each run 40 ms. A killed process cannot damage the file, only a power cut
        # can.
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if self.durable else 'OFF'}")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create the schema in an empty file; processes that come at once wait for each other."""
        found = revision(connection)
        if not found:
            self._enter_wal_mode(connection)
            connection.execute("BEGIN IMMEDIATE")
            found = revision(connection)
            if not found:
                for statement in statements("create"):
                    connection.execute(statement)
                found = HEAD
            connection.execute("COMMIT")
        if found not in (BEFORE, *REVISIONS):
            raise StorageError(newer(self.subject, str(self.path), found, HEAD))
        if found != HEAD:
            raise OutdatedError

    def _enter_wal_mode(self, connection: sqlite3.Connection) -> None:
        """SQLite does not wait for others here, whatever the timeout."""
        deadline = time.monotonic() + self.busy_timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def revision(connection: sqlite3.Connection) -> str:
    """Version of the schema in a file, empty if there is none."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "alembic_version" in names:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else BEFORE
    if "research_schema" in names:
        row = connection.execute("SELECT version FROM research_schema").fetchone()
        return REVISIONS[0] if not row or row[0] == 1 else f"{row[0]} of research"
    return BEFORE if "runs" in names else ""
