"""Tables of runs: the columns of `bt_framework.results.rows`; a run's own tables are in `row_tables`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from bt_framework.results.rows import METRICS_ROW, RUN_COLUMNS, RowColumn
from bt_framework.results.run import Status
from bt_framework.stores.relational._metadata import METADATA, WORD, name
from bt_framework.stores.sweeps import JOB_COLUMNS, JOB_STATUSES

_STATUSES = ", ".join(f"'{status}'" for status in Status if status is not Status.LOST)
_JOB_STATUSES = ", ".join(f"'{status}'" for status in JOB_STATUSES)
_SORTED_BY = ("pnl", "return_frac", "sharpe", "max_drawdown_frac", "trades", "turnover")


def _cell(column: RowColumn) -> Column[Any]:
    types: dict[type, Any] = {str: WORD, int: BigInteger(), float: Double()}
    return Column(column.name, types[column.type], nullable=column.optional)


def of_run(table: str) -> ForeignKeyConstraint:
    """Return the constraint that the rows of `table` belong to a run that is known."""
    return ForeignKeyConstraint(
        ["run_id"], ["backtest_runs.run_id"], ondelete="CASCADE", name=f"fk_{table}_run_id"
    )


SWEEPS = Table(
    "sweeps",
    METADATA,
    Column("sweep_id", WORD, primary_key=True),
    Column("started_at_ns", BigInteger(), nullable=False),
    Column("finished_at_ns", BigInteger(), nullable=False),
    name("status"),
    Column("overrides", Text(), nullable=False),
    Column("jobs", Integer(), nullable=False),
    Column("note", Text(), nullable=False),
    CheckConstraint(f"status IN ({_STATUSES})", name="status"),
    CheckConstraint("jobs >= 0", name="jobs"),
    Index("ix_sweeps_start", "started_at_ns"),
)
"""Runs that were started together; ``overrides`` is a JSON array, times are ns UTC, 0 until it has ended."""

SWEEP_JOBS = Table(
    "sweep_jobs",
    METADATA,
    *map(_cell, JOB_COLUMNS),
    PrimaryKeyConstraint("sweep_id", "job"),
    ForeignKeyConstraint(
        ["sweep_id"], ["sweeps.sweep_id"], ondelete="CASCADE", name="fk_sweep_jobs_sweep_id"
    ),
    CheckConstraint(f"status IN ({_JOB_STATUSES})", name="status"),
    CheckConstraint("job >= 0", name="job"),
)
"""One row per job of a sweep; it stays when its run is removed."""

RUNS = Table(
    "backtest_runs",
    METADATA,
    *map(_cell, RUN_COLUMNS),
    PrimaryKeyConstraint("run_id"),
    ForeignKeyConstraint(
        ["sweep_id"], ["sweeps.sweep_id"], ondelete="SET NULL", name="fk_backtest_runs_sweep_id"
    ),
    CheckConstraint(f"status IN ({_STATUSES})", name="status"),
    Index("ix_backtest_runs_start", "started_at_ns", "run_id"),
    Index("ix_backtest_runs_strategy", "strategy", "started_at_ns"),
    Index("ix_backtest_runs_status", "status", "started_at_ns"),
    Index("ix_backtest_runs_commit", "git_commit"),
    Index("ix_backtest_runs_sweep", "sweep_id"),
    Index("ix_backtest_runs_config", "config_hash"),
)
"""One row per run."""

METRICS = Table(
    "backtest_metrics",
    METADATA,
    *map(_cell, METRICS_ROW),
    PrimaryKeyConstraint("run_id"),
    of_run("backtest_metrics"),
    *(Index(f"ix_backtest_metrics_{metric}", metric) for metric in _SORTED_BY),
)
"""One row per run that has ended; a metric that is undefined is null."""

RUN_TAGS = Table(
    "backtest_run_tags",
    METADATA,
    name("run_id"),
    name("tag"),
    PrimaryKeyConstraint("run_id", "tag"),
    of_run("backtest_run_tags"),
    Index("ix_backtest_run_tags_tag", "tag"),
    sqlite_with_rowid=False,
)
"""The tags of runs, to look for."""
