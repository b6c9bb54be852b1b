"""Runs of a desk in PostgreSQL, with the rows of their tables: others have no access to a run's folder."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from bt_framework.errors import BtError, StorageError
from bt_framework.hookspecs import hookimpl
from bt_framework.results.folder import RunFolder
from bt_framework.results.run import TABLES, RunContext, RunSummary, SliceBatch
from bt_framework.stores.base import copy_rows
from bt_framework.stores.relational._messages import DESK
from bt_framework.stores.relational.address import postgres_url
from bt_framework.stores.relational.database import Database, Limits
from bt_framework.stores.relational.runs import RelationalStore

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection, Table

    from bt_framework.stores.sweeps import SweepRow

_ROWS_AT_ONCE = 50_000


class PostgresStore(RelationalStore):
    """Runs in a PostgreSQL database; its tables are created by the first run.

    A run does not stop because the database is gone: its folder has everything. When it ends, what the database missed
    is brought in from there; if that fails too, `on_error` decides.

    Parameters
    ----------
    url : str
        ``postgresql://host/database`` without a password; empty for $BT_POSTGRES_URL.
    row_tables : sequence of str
        The run's tables that are kept as rows.
    limits : Limits
        How long to wait.
    on_error : str
        What happens if a run cannot be stored: it fails, or there is a warning.
    """

    def __init__(
        self,
        url: str = "",
        row_tables: Sequence[str] = TABLES,
        *,
        limits: Limits = Limits(),  # noqa: B008
        on_error: str = "fail",
    ) -> None:
        super().__init__(row_tables)
        self._address = postgres_url(url)
        self._limits = limits
        self._only_warns = on_error == "warn"
        self._missed = False
        self._has_failed = False
        self._made = dict.fromkeys(self.row_tables, 0)

    @cached_property
    def database(self) -> Database:
        """The database, for queries."""
        return Database(self._address, DESK, self._limits)

    def put_sweep(self, sweep: SweepRow) -> None:
        """Insert a sweep, or replace what is known of it; its folder has everything."""
        with self._enduring(warns_only=self._only_warns):
            super().put_sweep(sweep)

    def put_sweep_jobs(self, sweep_id: str, table: pa.Table) -> None:
        """Insert the jobs of a sweep that is known, or replace them."""
        with self._enduring(warns_only=self._only_warns):
            super().put_sweep_jobs(sweep_id, table)

    def put_rows(self, run_id: str, tables: Mapping[str, pa.Table]) -> None:
        """Insert rows of a run that is known, all or none; those whose position is there are replaced."""
        from bt_framework.stores.relational.tables import ROWS

        with self.database.writing() as connection:
            for name, rows in tables.items():
                _replace(connection, ROWS[name], rows)

    @hookimpl
    def before_run(self, run: RunContext) -> None:
        """Insert the run."""
        with self._enduring(warns_only=self._only_warns):
            super().before_run(run)

    @hookimpl
    def on_slice(self, run: RunContext, batch: SliceBatch) -> None:
        """Keep the rows of a slice; after a failure they stay in the folder until the run has ended."""
        for name in self.row_tables:
            self._made[name] += len(batch.tables[name])
        if not self._missed:
            with self._enduring(warns_only=True):
                super().on_slice(run, batch)

    @hookimpl
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Keep how the run ended, and what was missed."""
        self._finish(RunFolder(run.run_dir))

    @hookimpl
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Keep how the run ended, unless this is what failed."""
        if not self._has_failed:
            self._finish(RunFolder(run.run_dir))

    def _finish(self, folder: RunFolder) -> None:
        try:
            record = folder.record()
            self.put(record)
            if self._missed:
                self._catch_up(record.run_id, folder)
        except BtError as error:
            message = (
                f"{error} The run is safe in {folder.path}; bring it in with: bt runs reindex store=postgres "
                f"runs_dir={folder.path.parent}"
            )
            if not self._only_warns:
                self._has_failed = True
                raise StorageError(message) from None
            _warn(message)

    def _catch_up(self, run_id: str, folder: RunFolder) -> None:
        """Bring in the rows that the database missed, out of the run's folder."""
        copied = copy_rows(self, run_id, folder)
        for name, rows in self._made.items():
            if copied[name] != rows:
                raise StorageError(
                    f"the index {self.database.name} must get {rows:,} rows of {name}, of which the run's folder has "
                    f"{copied[name]:,}: keep them there with writer=[parquet]."
                )

    @contextmanager
    def _enduring(self, *, warns_only: bool) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            if not warns_only:
                self._has_failed = True
                raise
            self._missed = True
            _warn(f"{error} The run goes on.")


def _replace(connection: Connection, table: Table, rows: pa.Table) -> None:
    """Insert rows in the place of those at their positions, which follow each other."""
    import pyarrow.compute as pc

    if not rows.num_rows:
        return
    ends = pc.min_max(rows["sequence"]).as_py()
    run_id = rows["run_id"][0].as_py()
    there = table.c.sequence.between(ends["min"], ends["max"])
    connection.execute(table.delete().where(table.c.run_id == run_id, there))
    for at in range(0, rows.num_rows, _ROWS_AT_ONCE):
        _copy(connection, table, rows.slice(at, _ROWS_AT_ONCE))


def _copy(connection: Connection, table: Table, rows: pa.Table) -> None:
    """Send rows by COPY, as CSV: numbers to the bit, what is null or NaN as nothing, text in quotes."""
    from psycopg import Error, sql
    from pyarrow.csv import WriteOptions, write_csv
    from sqlalchemy.exc import OperationalError

    names = sql.SQL(", ").join(map(sql.Identifier, rows.column_names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(table.name), names)
    text = io.BytesIO()
    write_csv(_plain(rows), text, WriteOptions(include_header=False))
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(statement) as copy:
            copy.write(text.getvalue())
    except Error as error:
        raise OperationalError(None, None, error) from None


def _plain(rows: pa.Table) -> pa.Table:
    """Return `rows` with text for words and null for NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for column in rows.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
        elif pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        columns.append(column)
    return pa.Table.from_arrays(columns, names=rows.column_names)


def _warn(text: str) -> None:
    print(f"bt: warning: {text}", file=sys.stderr, flush=True)
