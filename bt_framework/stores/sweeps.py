"""Sweeps as stores keep them: a row per sweep, and a row per job with what varied and what came of it.

The rows of the jobs outlive the runs that they name: what a sweep has found stays when runs are removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bt_framework.results.rows import METRIC_COLUMNS, RowColumn
from bt_framework.results.run import Status

if TYPE_CHECKING:
    import pyarrow as pa

JOB_STATUSES = ("waiting", "running", "completed", "failed", "pruned")

SWEEP_COLUMNS = (
    RowColumn("sweep_id", str, "id of the sweep"),
    RowColumn("started_at_ns", int, "wall clock, ns UTC"),
    RowColumn("finished_at_ns", int, "wall clock, ns UTC; 0 until the sweep has ended"),
    RowColumn("status", str, "running, completed, failed (a job has) or stopped"),
    RowColumn("overrides", str, "as on the command line, a JSON array"),
    RowColumn("jobs", int, "jobs planned"),
    RowColumn("note", str, "a line for the reader"),
)
"""Columns of ``sweeps``."""

JOB = RowColumn("job", int, "position in the plan, from 0")
IDENTITY_COLUMNS = (
    RowColumn("config_hash", str, "SHA-256 of the configuration", optional=True),
    RowColumn("data_hash", str, "SHA-256 of the data", optional=True),
    RowColumn("code_hash", str, "SHA-256 of the code", optional=True),
    RowColumn("seed", int, "seed of everything random", optional=True),
)
RESULT_COLUMNS = (
    RowColumn("status", str, f"one of {', '.join(JOB_STATUSES)}"),
    RowColumn("error", str, "first line of why it failed; empty if it did not"),
    *METRIC_COLUMNS,
    *IDENTITY_COLUMNS,
    RowColumn("result_hash", str, "SHA-256 of the results", optional=True),
)
"""Columns of a sweep's table after the job's number and what varies."""

RUN_ID = RowColumn("run_id", str, "run of the job; it may have been removed since", optional=True)
JOB_COLUMNS = (
    SWEEP_COLUMNS[0],
    JOB,
    RowColumn("varied", str, "what varies: key and value, a JSON object"),
    *RESULT_COLUMNS,
    RUN_ID,
)
"""Columns of ``sweep_jobs``."""

KNOWN_COLUMNS = frozenset(column.name for column in (JOB, *RESULT_COLUMNS, RUN_ID))
"""Names that no column of what varies has."""


@dataclass(frozen=True)
class SweepRow:
    """What a store knows of a sweep, see `SWEEP_COLUMNS`; `overrides` are as on the command line."""

    sweep_id: str
    started_at_ns: int
    finished_at_ns: int
    status: Status
    overrides: tuple[str, ...]
    jobs: int
    note: str = ""

    def row(self) -> dict[str, Any]:
        """Return a value for each of `SWEEP_COLUMNS`."""
        import orjson

        overrides = orjson.dumps(self.overrides).decode()
        return {**vars(self), "status": str(self.status), "overrides": overrides}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> SweepRow:
        """Read what `row` made."""
        import orjson

        values = {column.name: row[column.name] for column in SWEEP_COLUMNS}
        overrides = tuple(orjson.loads(values["overrides"]))
        return cls(**values | {"status": Status(values["status"]), "overrides": overrides})


class SweepKeeper(Protocol):
    """What is told of sweeps: a run store, and what a writer's ``sweep_keeper(store_dir)`` returns, if it has that."""

    def put_sweep(self, sweep: SweepRow) -> None:
        """Insert a sweep, or replace what is known of it."""

    def put_sweep_jobs(self, sweep_id: str, table: pa.Table) -> None:
        """Insert the jobs of a sweep that is known, or replace them."""


def job_rows(sweep_id: str, table: pa.Table) -> list[dict[str, Any]]:
    """Return a value for each of `JOB_COLUMNS`, a row per job of a sweep's table.

    Parameters
    ----------
    table : pyarrow.Table
        ``job``, what varies, `RESULT_COLUMNS`, and ``run_id`` if it is known.
    """
    import orjson

    varied = [name for name in table.column_names if name not in KNOWN_COLUMNS]
    rows = []
    for values in table.to_pylist():
        own = {name: _as_json(values.pop(name)) for name in varied}
        rows.append({"sweep_id": sweep_id, "varied": orjson.dumps(own).decode(), "run_id": None} | values)
    return rows


def jobs_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return the rows of a sweep's jobs, in order, as the table that they were made from, with ``run_id``."""
    import orjson

    varied = [orjson.loads(row["varied"]) for row in rows]
    names = dict.fromkeys(name for values in varied for name in values)
    columns = [column_of(name, [values.get(name) for values in varied]) for name in names]
    values = [[row["job"] for row in rows], *([v.get(name) for v in varied] for name in names)]
    values += [[row[column.name] for row in rows] for column in (*RESULT_COLUMNS, RUN_ID)]
    return arrow_table((JOB, *columns, *RESULT_COLUMNS, RUN_ID), values)


def column_of(name: str, values: Sequence[int | float | str | None]) -> RowColumn:
    """Return the column of what varies: of whole numbers, of numbers, or of text, as all `values` allow."""
    types = {type(value) for value in values if value is not None}
    common = str if str in types or not types else float if float in types else int
    return RowColumn(name, common, "what varies", optional=True)


def arrow_field(column: RowColumn) -> pa.Field:
    """Return a column of an Arrow table, which says in its metadata what it is."""
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    about = {"description": column.doc}
    return pa.field(column.name, types[column.type], nullable=column.optional, metadata=about)


def arrow_table(columns: Sequence[RowColumn], values: Sequence[Sequence[Any]]) -> pa.Table:
    """Return a table of `columns`, see `arrow_field`."""
    import pyarrow as pa

    from bt_framework.results.arrays import array_of

    arrays = [array_of(v, column.type) for v, column in zip(values, columns, strict=True)]
    fields = [arrow_field(column) for column in columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def unknown_sweep(sweep_id: str, started_at_ns: int) -> SweepRow:
    """Return what is known of a sweep of which there is a run only."""
    return SweepRow(sweep_id, started_at_ns, 0, Status.RUNNING, (), 0)


def _as_json(value: Any) -> Any:
    """JSON has no number that is not finite: such a one is its word."""
    return repr(value) if isinstance(value, float) and value - value != 0 else value
