"""A sweep as a table: one row per job, in the order of the plan.

``table.parquet`` says what the jobs are and what came of them, and nothing of when, where and by whom they were run: an
uninterrupted sweep, and one that was killed and resumed, leave the same bytes. The rest is in ``runs.parquet``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.results.folder import replacing
from bt_framework.results.rows import RowColumn
from bt_framework.results.run import Status
from bt_framework.stores.sweeps import (
    JOB,
    KNOWN_COLUMNS,
    RESULT_COLUMNS,
    RUN_ID,
    arrow_field,
    arrow_table,
    column_of,
)
from bt_framework.sweep.folder import TABLE_FILE
from bt_framework.sweep.journal import Ending, JobState, Outcome
from bt_framework.sweep.plan import Job, SweepPlan

if TYPE_CHECKING:
    import pyarrow as pa

RUNS_FILE = "runs.parquet"

WAITING = "waiting"
RUNNING = "running"

RUNS_COLUMNS = (
    JOB,
    RUN_ID,
    RowColumn("run_dir", str, "the run's folder", optional=True),
    RowColumn("reused", bool, "whether the run was there before", optional=True),
    RowColumn("attempts", int, "how often the job was tried to its end"),
    RowColumn("crashes", int, "how often its process ended before it did"),
    RowColumn("worker", str, "host, process and thread of the last attempt", optional=True),
    RowColumn("started_at_ns", int, "start of the last attempt, wall clock, ns UTC", optional=True),
    RowColumn("ended_at_ns", int, "its end, wall clock, ns UTC", optional=True),
)
"""Columns of ``runs.parquet`` before the timings, seconds, which are called as in the record of a run."""

_INT = re.compile(r"[+-]?\d+(_\d+)*", re.A)
_FLOAT = re.compile(r"[+-]?((\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(e[+-]?\d+)?|inf|nan)", re.I | re.A)


def column_names(plan: SweepPlan) -> dict[str, str]:
    """Name of the column of each varied key; one that another column has is written ``config.NAME``.

    >>> plan = SweepPlan("s", (), ("+strategy.entry_z", "fees"), (), "grid", True, "sharpe", False, 0)
    >>> column_names(plan)
    {'+strategy.entry_z': 'strategy.entry_z', 'fees': 'config.fees'}
    """
    return {
        key: f"config.{name}" if name in KNOWN_COLUMNS else name
        for key, name in zip(plan.keys, plan.columns, strict=True)
    }


def varied_columns(plan: SweepPlan, jobs: Sequence[Job]) -> tuple[RowColumn, ...]:
    """Return the columns of what varies: of whole numbers, of numbers, or of text, as all values of a key allow."""
    columns = []
    for key, name in column_names(plan).items():
        columns.append(column_of(name, [_plain(job.varied.get(key)) for job in jobs]))
    return tuple(columns)


def sweep_tables(
    plan: SweepPlan, jobs: Sequence[Job], states: Mapping[int, JobState]
) -> tuple[pa.Table, pa.Table]:
    """Return the table of a sweep, as far as it has come, and who ran the jobs, when, and how long it took.

    Parameters
    ----------
    jobs : sequence of Job
        In the order of their numbers.
    states : mapping of int to JobState
        See `bt_framework.sweep.journal.read_states`.

    Returns
    -------
    table : pyarrow.Table
        ``job``, what varies (`varied_columns`), and `RESULT_COLUMNS`; null where there is no value.
    runs : pyarrow.Table
        `RUNS_COLUMNS` and the timings.
    """
    varied = varied_columns(plan, jobs)
    results, runs, timings = [], [], []
    for job in jobs:
        state = states.get(job.number, JobState())
        outcome = state.outcome
        results.append(_results(state, outcome))
        runs.append(_run(job, state, outcome))
        timings.append({} if outcome is None else outcome.timings)
    typed = [
        [_typed(job.varied.get(key), column.type) for job in jobs]
        for key, column in zip(plan.keys, varied, strict=True)
    ]
    phases = [RowColumn(n, float, "seconds", optional=True) for n in sorted({n for t in timings for n in t})]
    measured = [[times.get(phase.name) for times in timings] for phase in phases]
    columns = (JOB, *varied, *RESULT_COLUMNS)
    table = arrow_table(columns, [[j.number for j in jobs], *typed, *_turned(results, RESULT_COLUMNS)])
    return table, arrow_table((*RUNS_COLUMNS, *phases), [*_turned(runs, RUNS_COLUMNS), *measured])


def with_runs(table: pa.Table, runs: pa.Table) -> pa.Table:
    """Return a sweep's table with the column ``run_id`` of `runs` after it: what a store keeps."""
    return table.append_column(arrow_field(RUN_ID), runs["run_id"])


def status_of(table: pa.Table) -> Status:
    """Return how a sweep with this table is: stopped if jobs are left and none runs, failed if one has."""
    found = set(table["status"].to_pylist())
    if RUNNING in found:
        return Status.RUNNING
    if not found or not found <= set(map(str, Ending)):
        return Status.STOPPED
    return Status.FAILED if Ending.FAILED in found else Status.COMPLETED


def write_table(folder: Path, plan: SweepPlan, jobs: Sequence[Job], states: Mapping[int, JobState]) -> None:
    """Write ``table.parquet`` and ``runs.parquet`` into a sweep's folder.

    Raises
    ------
    StorageError
        If they cannot be written.
    """
    import pyarrow.parquet as pq

    table, runs = sweep_tables(plan, jobs, states)
    for name, content in ((RUNS_FILE, runs), (TABLE_FILE, table)):
        with replacing(folder / name, "sweep.dir") as file:
            pq.write_table(content, file, compression="zstd")


def _results(state: JobState, outcome: Outcome | None) -> tuple[Any, ...]:
    """Values of `RESULT_COLUMNS`."""
    if outcome is None or state.running:
        status, error, values = RUNNING if state.running else WAITING, "", {}
    else:
        status, error = str(outcome.ending), outcome.error.partition("\n")[0]
        values = {**outcome.metrics, **outcome.identity, "result_hash": outcome.result_hash or None}
    rest = ((column.type, values.get(column.name)) for column in RESULT_COLUMNS[2:])
    return (status, error, *(value if value is None else of(value) for of, value in rest))


def _run(job: Job, state: JobState, outcome: Outcome | None) -> tuple[Any, ...]:
    """Values of `RUNS_COLUMNS`."""
    run_id, run_dir, reused = (outcome.run_id, outcome.run_dir, outcome.reused) if outcome else ("", "", None)
    tried = (state.attempts, state.crashes, state.worker or None)
    return (
        job.number,
        run_id or None,
        run_dir or None,
        reused,
        *tried,
        state.started_at_ns or None,
        state.ended_at_ns or None,
    )


def _turned(rows: Sequence[Sequence[Any]], columns: Sequence[RowColumn]) -> list[Sequence[Any]]:
    """Return the columns of `rows`, which may be none."""
    return list(zip(*rows, strict=True)) if rows else [() for _ in columns]


def _plain(text: str | None) -> int | float | str | None:
    """What an override's value says: a number, null, or text without its quotes.

    >>> [_plain(text) for text in ("1", "1e3", "colo", "'a b'", "'1'", "null", "true")]
    [1, 1000.0, 'colo', 'a b', '1', None, 'true']
    """
    if text is None or text.lower() == "null":
        return None
    if _INT.fullmatch(text):
        whole = int(text)
        return whole if -(2**63) <= whole < 2**63 else float(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    return text


def _typed(text: str | None, common: Callable[[Any], Any]) -> Any:
    """`_plain` as the type of its column; numbers among words stay as they were written."""
    value = _plain(text)
    if value is None:
        return None
    return text if common is str and not isinstance(value, str) else common(value)
