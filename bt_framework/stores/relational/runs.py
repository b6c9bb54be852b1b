"""Run stores in a relational database: what SQLite and PostgreSQL have in common."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import ConfigError, UnknownRunError
from bt_framework.registry import unknown_name
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import metrics_row, run_row
from bt_framework.results.run import TABLES
from bt_framework.stores.base import RunQuery, RunStore, latest
from bt_framework.stores.filters import order_key
from bt_framework.stores.relational.database import Database
from bt_framework.stores.sweeps import SweepRow, job_rows, jobs_table, unknown_sweep

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection

_ROWS_AT_ONCE = 10_000


class RelationalStore(RunStore):
    """Runs in the tables ``backtest_...`` of a database; how rows are inserted is left to each kind of database.

    Parameters
    ----------
    row_tables : sequence of str
        The run's tables that are kept as rows.
    """

    def __init__(self, row_tables: Sequence[str]) -> None:
        self.row_tables = known_tables(row_tables)

    @property
    @abstractmethod
    def database(self) -> Database:
        """Where the runs are, for queries of one's own."""

    def put(self, record: RunRecord) -> None:
        """Insert a run, or replace what is known of it."""
        with self.database.writing() as connection:
            put_record(connection, record)

    def find(self, prefix: str, limit: int) -> list[RunRecord]:
        """Runs whose id begins with `prefix`."""
        with self.database.reading() as connection:
            if connection is None:
                return []
            from bt_framework.stores.relational.queries import runs_by_prefix

            found = connection.execute(runs_by_prefix(prefix, limit)).all()
        return [latest(self._record(row)) for row in found]

    def select(self, query: RunQuery) -> list[RunRecord]:
        """Return the runs that `query` means."""
        with self.database.reading() as connection:
            if connection is None:
                return []
            from bt_framework.stores.relational import queries

            dialect = connection.dialect.name
            if queries.is_lasting(query):
                found = connection.execute(queries.runs(query, dialect)).all()
                return [latest(self._record(row)) for row in found]
            ended = connection.execute(queries.ended_runs(query, dialect)).all()
            running = connection.execute(queries.running_runs()).all()
        records = [self._record(row) for row in ended]
        # Only the process table and their folders tell what has become of these.
        others = query.of(latest(self._record(row)) for row in running)
        key = order_key(query.order_by, descending=query.descending)
        return sorted((*records, *others), key=key)[: query.limit] if others else records

    def edit(self, run_id: str, *, tags: Sequence[str] | None = None, note: str | None = None) -> RunRecord:
        """Replace the tags or the note of a run; nothing that others write at the same time is lost."""
        from bt_framework.stores.relational.run_tables import RUNS

        with self.database.writing() as connection:
            query = RUNS.select().where(RUNS.c.run_id == run_id).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None:
                raise UnknownRunError(f"no run has the id {run_id!r}. List them with: bt runs")
            changes: dict[str, Any] = {} if tags is None else {"tags": tuple(dict.fromkeys(tags))}
            changes |= {} if note is None else {"note": note}
            record = dataclasses.replace(self._record(row), **changes)
            put_record(connection, record)
        return latest(record)

    def remove(self, run_id: str) -> None:
        """Forget a run with its metrics, tags and rows; its folder stays."""
        with self.database.reading() as connection:
            if connection is None:
                return
        from bt_framework.stores.relational.run_tables import RUNS

        with self.database.writing() as connection:
            connection.execute(RUNS.delete().where(RUNS.c.run_id == run_id))

    def put_sweep(self, sweep: SweepRow) -> None:
        """Insert a sweep, or replace what is known of it."""
        from bt_framework.stores.relational.run_tables import SWEEPS
        from bt_framework.stores.relational.statements import upsert

        with self.database.writing() as connection:
            connection.execute(upsert(SWEEPS, connection.dialect.name), sweep.row())

    def put_sweep_jobs(self, sweep_id: str, table: pa.Table) -> None:
        """Insert the jobs of a sweep that is known, or replace them."""
        from bt_framework.stores.relational.run_tables import SWEEP_JOBS

        with self.database.writing() as connection:
            connection.execute(SWEEP_JOBS.delete().where(SWEEP_JOBS.c.sweep_id == sweep_id))
            if table.num_rows:
                connection.execute(SWEEP_JOBS.insert(), job_rows(sweep_id, table))

    def sweeps(self) -> list[SweepRow]:
        """Return the sweeps, the newest first."""
        with self.database.reading() as connection:
            if connection is None:
                return []
            from bt_framework.stores.relational.run_tables import SWEEPS

            query = SWEEPS.select().order_by(SWEEPS.c.started_at_ns.desc(), SWEEPS.c.sweep_id)
            return [SweepRow.of(row._asdict()) for row in connection.execute(query)]

    def sweep_jobs(self, sweep_id: str) -> pa.Table:
        """Return the jobs of a sweep."""
        with self.database.reading() as connection:
            if connection is None:
                return jobs_table([])
            from bt_framework.stores.relational.run_tables import SWEEP_JOBS

            query = SWEEP_JOBS.select().where(SWEEP_JOBS.c.sweep_id == sweep_id).order_by(SWEEP_JOBS.c.job)
            return jobs_table([row._asdict() for row in connection.execute(query)])

    def tables(self, run_id: str) -> tuple[str, ...]:
        """Names of the run's tables of which there are rows."""
        with self.database.reading() as connection:
            if connection is None:
                return ()
            from sqlalchemy import exists, select

            from bt_framework.stores.relational.tables import ROWS

            asked = [exists().where(table.c.run_id == run_id).label(name) for name, table in ROWS.items()]
            found = connection.execute(select(*asked)).one()
        return tuple(name for name, there in zip(ROWS, found, strict=True) if there)

    def rows(self, run_id: str, table: str) -> pa.Table:
        """Return the rows of a run's table, in order."""
        import pyarrow as pa

        from bt_framework.results.schemas import schema

        parts = [schema(table).empty_table(), *self._parts(run_id, table)]
        return pa.concat_tables(parts).unify_dictionaries().combine_chunks()

    def _parts(self, run_id: str, name: str) -> Iterator[pa.Table]:
        from bt_framework.stores.relational.tables import ROWS

        table = ROWS[name]
        columns = [c for c in table.c if c.name not in ("run_id", "sequence")]
        query = table.select().with_only_columns(*columns)
        query = query.where(table.c.run_id == run_id).order_by(table.c.sequence)
        with self.database.reading() as connection:
            if connection is not None:
                found = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
                for rows in found.partitions():
                    yield _to_arrow(name, rows)

    def _record(self, row: Any) -> RunRecord:
        where = f"row {row.run_id} of {self.database.name}"
        return RunRecord.from_json(row.record, Path(row.run_dir), where)


def known_tables(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a run's tables, each once.

    Raises
    ------
    ConfigError
        If one is no table of a run.
    """
    for name in names:
        if name not in TABLES:
            raise ConfigError(unknown_name("tables", name, TABLES))
    return tuple(dict.fromkeys(names))


def put_record(connection: Connection, record: RunRecord) -> None:
    """Insert a run with its tags and, once it has ended, its metrics; or replace what is known of it."""
    from bt_framework.stores.relational.run_tables import METRICS, RUN_TAGS, RUNS, SWEEPS
    from bt_framework.stores.relational.statements import insert_if_absent, upsert

    dialect = connection.dialect.name
    if record.sweep_id:
        connection.execute(insert_if_absent(SWEEPS, dialect), sweep_of(record))
    connection.execute(upsert(RUNS, dialect), run_row(record))
    connection.execute(RUN_TAGS.delete().where(RUN_TAGS.c.run_id == record.run_id))
    if record.tags:
        connection.execute(upsert(RUN_TAGS, dialect), tag_rows(record))
    if record.finished_at_ns:
        connection.execute(upsert(METRICS, dialect), metrics_row(record))


def sweep_of(record: RunRecord) -> dict[str, Any]:
    """Return the row of ``sweeps`` for a run's sweep of which the store has not been told."""
    return unknown_sweep(record.sweep_id, record.started_at_ns).row()


def tag_rows(record: RunRecord) -> list[dict[str, str]]:
    """Return the rows of ``backtest_run_tags``."""
    return [{"run_id": record.run_id, "tag": tag} for tag in dict.fromkeys(record.tags)]


def cells(table: pa.Table) -> list[list[Any]]:
    """Return the columns of a table as lists: words as text, missing ones as None; NaN stays."""
    return [_cells(column) for column in table.columns]


def _cells(column: pa.ChunkedArray) -> list[Any]:
    import pyarrow as pa

    array = column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        values: list[Any] = array.to_numpy(zero_copy_only=False).tolist()
        return values
    words = [*array.dictionary.to_pylist(), None]
    indices = array.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    return [words[i] for i in indices.tolist()]


def _to_arrow(name: str, rows: Sequence[Any]) -> pa.Table:
    """Return rows of a database as a part of the run's table: a number that is null is NaN."""
    import pyarrow as pa

    from bt_framework.results.schemas import schema

    arrays = []
    for field, values in zip(schema(name), zip(*rows, strict=True), strict=True):
        if pa.types.is_floating(field.type):
            values = tuple(float("nan") if value is None else value for value in values)
        if pa.types.is_dictionary(field.type):
            arrays.append(pa.array(values, pa.string()).dictionary_encode())
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema(name))
