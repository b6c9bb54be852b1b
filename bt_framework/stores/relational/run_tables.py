"""Tables of runs: the columns of `bt_framework.results.rows`, and the run's own tables row by row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
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

from bt_framework.results.rows import METRICS_ROW, ROW_TABLES, RUN_COLUMNS, RowColumn
from bt_framework.results.run import Status
from bt_framework.results.schemas import COLUMNS, RECORDS
from bt_framework.results.schemas import Column as TableColumn
from bt_framework.stores.relational._metadata import METADATA, WORD, name

_STATUSES = ", ".join(f"'{status}'" for status in Status if status is not Status.LOST)
_SORTED_BY = ("pnl", "return_frac", "sharpe", "max_drawdown_frac", "trades", "turnover")


def _cell(column: RowColumn) -> Column[Any]:
    types: dict[type, Any] = {str: WORD, int: BigInteger(), float: Double()}
    return Column(column.name, types[column.type], nullable=column.optional)


def _cell_of_table(table: str, column: TableColumn) -> Column[Any]:
    """Numbers may be null, which is NaN; words where they may be missing."""
    if column.boolean:
        return Column(column.name, Boolean(), nullable=column.optional)
    if column.words is not None:
        return Column(column.name, WORD, nullable=column.optional)
    if RECORDS[table][column.field].kind == "f":
        return Column(column.name, Double())
    return Column(column.name, BigInteger(), nullable=column.optional)


def _of_run(table: str) -> ForeignKeyConstraint:
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
)
"""One row per run."""

METRICS = Table(
    "backtest_metrics",
    METADATA,
    *map(_cell, METRICS_ROW),
    PrimaryKeyConstraint("run_id"),
    _of_run("backtest_metrics"),
    *(Index(f"ix_backtest_metrics_{metric}", metric) for metric in _SORTED_BY),
)
"""One row per run that has ended; a metric that is undefined is null."""

RUN_TAGS = Table(
    "backtest_run_tags",
    METADATA,
    name("run_id"),
    name("tag"),
    PrimaryKeyConstraint("run_id", "tag"),
    _of_run("backtest_run_tags"),
    Index("ix_backtest_run_tags_tag", "tag"),
    sqlite_with_rowid=False,
)
"""The tags of runs, to look for."""


def _rows(table: str, of: str) -> Table:
    return Table(
        table,
        METADATA,
        name("run_id"),
        Column("sequence", BigInteger(), nullable=False),
        *(_cell_of_table(of, column) for column in COLUMNS[of]),
        PrimaryKeyConstraint("run_id", "sequence"),
        _of_run(table),
        CheckConstraint("sequence >= 0", name="sequence"),
        sqlite_with_rowid=False,
    )


ROWS = {of: _rows(table, of) for table, of in ROW_TABLES.items()}
"""By the run's table, that of its rows."""
