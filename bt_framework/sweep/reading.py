"""What a sweep has found so far: its table, the best jobs of it, and the command lines that repeat them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import ConfigError, StorageError
from bt_framework.registry import unknown_name
from bt_framework.results.rows import RowColumn
from bt_framework.stores.filters import Fields, holds, parse_filter
from bt_framework.stores.sweeps import JOB, JOB_STATUSES, KNOWN_COLUMNS, RESULT_COLUMNS, RUN_ID
from bt_framework.sweep.folder import JOBS_FILE, TABLE_FILE, SweepFolder
from bt_framework.sweep.journal import Ending, Outcome, read_states
from bt_framework.sweep.objectives import Objective, objectives_of, pareto_front, refuse_unknown_metric
from bt_framework.sweep.plan import Job, SweepPlan, is_conduct
from bt_framework.sweep.table import RUNS_FILE, status_of, sweep_tables, varied_columns, with_runs

if TYPE_CHECKING:
    import pyarrow as pa


class Sweep:
    """A sweep, ended or under way, as its folder has it.

    Parameters
    ----------
    folder : SweepFolder
        With a plan.

    Raises
    ------
    StorageError
        Here or later, if the folder cannot be read.
    """

    def __init__(self, folder: SweepFolder) -> None:
        self.folder = folder
        self.plan: SweepPlan = folder.plan()

    @property
    def sweep_id(self) -> str:
        """Id of the sweep."""
        return self.plan.sweep_id

    @cached_property
    def jobs(self) -> list[Job]:
        """The jobs, in order."""
        return self.folder.jobs()

    @cached_property
    def table(self) -> pa.Table:
        """The sweep's table with ``run_id``: as it was written or, if more has happened since, as the journals say."""
        path = self.folder.path
        if not _is_current(path):
            return with_runs(*sweep_tables(self.plan, self.jobs, read_states(path)))
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return with_runs(
                pq.ParquetFile(path / TABLE_FILE).read(), pq.ParquetFile(path / RUNS_FILE).read()
            )
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"the table of {path} cannot be read: {error}.") from error

    @property
    def varied(self) -> tuple[str, ...]:
        """Columns of what varies."""
        return tuple(name for name in self.table.column_names if name not in KNOWN_COLUMNS)

    @cached_property
    def status(self) -> str:
        """``running``, ``completed``, ``failed`` (a job has) or ``stopped`` (jobs are left)."""
        return str(status_of(self.table))

    @cached_property
    def fields(self) -> Fields:
        """What filters of the jobs may name: the columns of the table."""
        columns = (JOB, *varied_columns(self.plan, self.jobs), *RESULT_COLUMNS, RUN_ID)
        return Fields({column.name: column for column in columns}, words={"status": JOB_STATUSES})

    def column(self, name: str, key: str) -> RowColumn:
        """Return the column `name`; `key` is what names it.

        Raises
        ------
        ConfigError
            If there is none.
        """
        if name not in self.fields.columns:
            raise ConfigError(unknown_name(key, name, self.fields.columns))
        return self.fields.columns[name]

    def select(self, where: str = "", sort: str = "", limit: int | None = None) -> pa.Table:
        """Return rows of the table.

        Parameters
        ----------
        where : str
            As in ``bt runs FILTER``, of this table's columns; empty for all jobs.
        sort : str
            Column, with ``-`` before it for the largest first; empty for the best job first. Jobs without a value come
            last, of equal ones the first.
        limit : int, optional
            How many at most.

        Raises
        ------
        ConfigError
            If the filter or the column is none.
        """
        import pyarrow as pa

        rows = self._matching(where)
        first = objectives_of(self.plan)[0]
        name = sort.removeprefix("-") or first.metric
        descending = sort.startswith("-") if sort else not first.minimize
        self.column(name, "the column to sort by")
        values = defined_values(self.table, name)
        defined = [row for row in rows if values[row] is not None]
        # Reversed, equals keep their order all the same.
        defined.sort(key=values.__getitem__, reverse=descending)
        rows = [*defined, *(row for row in rows if values[row] is None)]
        return self.table.take(pa.array(rows[:limit], pa.int64()))

    def best(self, objectives: Sequence[Objective] = ()) -> list[Job]:
        """Return the best job, the first one of equals; of several `objectives` those that no other job beats.

        Parameters
        ----------
        objectives : sequence of Objective
            What is best; if none are given, what the sweep looked for.

        Raises
        ------
        ConfigError
            If there is no such metric, or no job has a value of it.
        """
        objectives = tuple(objectives) or objectives_of(self.plan)
        for objective in objectives:
            refuse_unknown_metric(objective.metric, "the metric")
        names = [objective.metric for objective in objectives]
        rows = self.table.select(["job", "status", *names]).to_pylist()
        completed = [row for row in rows if row["status"] == Ending.COMPLETED]
        found = _front(completed, objectives) if len(objectives) > 1 else _first(completed, objectives[0])
        if not found:
            raise ConfigError(
                f"the metric must be one that a job of sweep {self.sweep_id} has produced, was {', '.join(names)}: "
                f"{len(completed)} of {len(rows)} jobs have completed, none with a value."
            )
        jobs = {job.number: job for job in self.jobs}
        return [jobs[number] for number in found]

    def command(self, job: Job) -> str:
        """Return the command line that repeats `job`, quoted for the shell.

        Where it depends on the folder in which the sweep was started, it goes there first.
        """
        overrides = [text for text in self.plan.overrides(job) if not is_conduct(text)]
        folders = [word for folder in self.plan.config_dirs for word in ("--config-dir", folder)]
        # With keys of Hydra's own, such as hydra.searchpath, only a sweep runs anything.
        flags = ["-m"] if any(text.lstrip("+~").startswith("hydra") for text in overrides) else []
        line = shlex.join(["bt", *flags, *folders, *overrides])
        is_elsewhere = self.plan.cwd and Path(self.plan.cwd) != Path.cwd()
        return f"cd {shlex.quote(self.plan.cwd)} && {line}" if is_elsewhere else line

    def _matching(self, where: str) -> list[int]:
        """Return the numbers of the rows that a filter means."""
        if not where:
            return list(range(self.table.num_rows))
        condition = parse_filter(where, self.fields)
        columns: dict[str, list[Any]] = {}

        def value(name: str, row: int) -> Any:
            if name not in columns:
                columns[name] = defined_values(self.table, name)
            return columns[name][row]

        return [row for row in range(self.table.num_rows) if holds(condition, partial(value, row=row))]


def _first(rows: Sequence[Mapping[str, Any]], objective: Objective) -> list[int]:
    """Return the number of the best of completed jobs, the first one of equals; none if none has a value."""
    sign = 1 if objective.minimize else -1
    values = ((row[objective.metric], row["job"]) for row in rows)
    valued = [
        (sign * value, number) for value, number in values if value is not None and math.isfinite(value)
    ]
    return [min(valued)[1]] if valued else []


def _front(rows: Sequence[Mapping[str, Any]], objectives: Sequence[Objective]) -> list[int]:
    """Return the numbers of the completed jobs that no other one beats."""
    outcomes = (Outcome(row["job"], Ending.COMPLETED, metrics=row) for row in rows)
    return [outcome.job for outcome in pareto_front(outcomes, objectives)]


def defined_values(table: pa.Table, name: str) -> list[Any]:
    """Return the values of a column; None where they are undefined."""
    values = table[name].to_pylist()
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]


def _is_current(path: Path) -> bool:
    """Whether nothing in a sweep's folder is newer than its table."""
    try:
        written_ns = min((path / name).stat().st_mtime_ns for name in (TABLE_FILE, RUNS_FILE))
        others = [path / JOBS_FILE, *(path / "journal").glob("*.jsonl")]
        return all(other.stat().st_mtime_ns <= written_ns for other in others)
    except OSError:
        return False
