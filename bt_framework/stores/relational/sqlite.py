"""The index of runs in one SQLite file; what a run writes goes past SQLAlchemy, which takes a while to import."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.hookspecs import hookimpl
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import metrics_row, run_row
from bt_framework.stores.relational._messages import INDEX
from bt_framework.stores.relational.address import sqlite_url
from bt_framework.stores.relational.database import Database, Limits
from bt_framework.stores.relational.runs import RelationalStore, cells, sweep_of, tag_rows
from bt_framework.stores.relational.sqlite_file import OutdatedError, SqliteFile
from bt_framework.stores.relational.statements import statement
from bt_framework.stores.sweeps import SweepRow, job_rows
from bt_framework.units import NS_PER_S

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.results.run import Identity, RunContext, RunSummary

_ROWS_AT_ONCE = 10_000


class SqliteStore(RelationalStore):
    """Runs in a SQLite file in WAL mode; it is created by the first run, and upgraded when it is first used.

    Parameters
    ----------
    path : Path
        The file.
    busy_timeout_ns : int
        How long to wait for other processes.
    row_tables : sequence of str
        The run's tables that are kept as rows.
    """

    def __init__(
        self, path: Path, busy_timeout_ns: int = 30 * NS_PER_S, row_tables: Sequence[str] = ()
    ) -> None:
        self.path = path.expanduser().absolute()
        # A power cut may damage the file; then it is rebuilt from the run folders.
        self._file = SqliteFile(self.path, INDEX, busy_timeout_s=busy_timeout_ns / NS_PER_S, durable=False)
        super().__init__(row_tables)
        self._staying = ExitStack()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    @cached_property
    def database(self) -> Database:
        """The file, for queries."""
        return Database(
            sqlite_url(self.path), INDEX, Limits(busy_s=self._file.busy_timeout_s, durable=self._file.durable)
        )

    def put(self, record: RunRecord) -> None:
        """Insert a run, or replace what is known of it."""
        with self._writing() as connection:
            if record.sweep_id:
                connection.execute(statement("know_sweep"), sweep_of(record))
            connection.execute(statement("put_run"), run_row(record))
            connection.execute(statement("remove_tags"), {"run_id": record.run_id})
            connection.executemany(statement("put_tag"), tag_rows(record))
            if record.finished_at_ns:
                connection.execute(statement("put_metrics"), metrics_row(record))

    def put_sweep(self, sweep: SweepRow) -> None:
        """Insert a sweep, or replace what is known of it."""
        with self._writing() as connection:
            connection.execute(statement("put_sweep"), sweep.row())

    def put_sweep_jobs(self, sweep_id: str, table: pa.Table) -> None:
        """Insert the jobs of a sweep that is known, or replace them."""
        with self._writing() as connection:
            connection.executemany(statement("put_sweep_job"), job_rows(sweep_id, table))

    def put_rows(self, run_id: str, tables: Mapping[str, pa.Table]) -> None:
        """Insert rows of a run that is known, all or none; those whose position is there are replaced."""
        with self._writing() as connection:
            for name, table in tables.items():
                for at in range(0, table.num_rows, _ROWS_AT_ONCE):
                    part = table.slice(at, _ROWS_AT_ONCE)
                    connection.executemany(statement(f"put_{name}"), zip(*cells(part), strict=True))

    def identical(self, identity: Identity) -> RunRecord | None:
        """Return the newest completed run of an identity, or None."""
        if not self.path.exists():
            return None
        with self._opened(self._file.reading) as connection:
            row = connection.execute(statement("find_identical"), dataclasses.asdict(identity)).fetchone()
        if row is None:
            return None
        run_id, run_dir, record = row
        return RunRecord.from_json(record, Path(run_dir), f"row {run_id} of {self.path}")

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Leave the write-ahead log: whoever is the last to close the file clears that away, and the next makes it."""
        stack = ExitStack()
        stack.enter_context(self._opened(self._file.reading))
        try:
            yield
        finally:
            stack.close()  # what the block raises does not concern the file

    @hookimpl
    def before_run(self, run: RunContext) -> None:
        """Insert the run.

        The file is open until the run has ended: opening it takes longer than what a run writes.
        """
        self._staying = ExitStack()
        self._connection = self._staying.enter_context(self._opened(self._file.reading))
        self._inode = self._inode_now()
        self._staying.callback(setattr, self, "_connection", None)
        super().before_run(run)

    @hookimpl
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Keep how the run ended."""
        with self._staying:
            super().after_run(run, summary)

    @hookimpl
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Keep how the run ended."""
        with self._staying:
            super().on_run_error(run, summary, error)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction, in the run's connection if there is one and the file is still that one."""
        if self._connection is None or self._inode != self._inode_now():
            with self._opened(self._file.writing) as connection:
                yield connection
        else:
            with self._file.transaction(self._connection):
                yield self._connection

    def _inode_now(self) -> int:
        with suppress(OSError):
            return self.path.stat().st_ino
        return 0

    @contextmanager
    def _opened(
        self, way: Callable[[], AbstractContextManager[sqlite3.Connection]]
    ) -> Iterator[sqlite3.Connection]:
        """Open the file; one of an older version is upgraded first."""
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(way())
            except OutdatedError:
                from bt_framework.stores.relational.schema import upgrade

                upgrade(self.database)
                connection = stack.enter_context(way())
            yield connection
