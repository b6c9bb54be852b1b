"""What `bt sweep` prints: a table, CSV or JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._run_listing import to_json
from bt_framework.cli._tables import plain, print_table, say, utc
from bt_framework.errors import BtError, ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.sweep.folder import SweepFolder
    from bt_framework.sweep.reading import Sweep

_SWEEP = ("sweep", "started", "status", "jobs", "done", "failed", "best", "value")
_NUMBERS = ("jobs", "done", "failed", "value")
_AMOUNTS = ("pnl", "gross_pnl", "fees", "max_drawdown", "turnover_notional")
_SHOWN_METRICS = ("pnl", "sharpe", "max_drawdown", "trades")


@dataclass(frozen=True)
class Listing:
    """How jobs are printed: with which columns, and in which of `_run_listing.FORMATS`."""

    columns: Sequence[str]
    form: str


def print_sweeps(folders: Sequence[SweepFolder], form: str) -> None:
    """Print a row per sweep; one that cannot be read is told of and left out."""
    from bt_framework.sweep.reading import Sweep

    rows = []
    for folder in folders:
        try:
            rows.append(_summary(Sweep(folder)))
        except BtError as error:
            say(f"bt: problem: {error}")
    if form == "json":
        click.echo(to_json(rows))
    elif form == "csv":
        _print_csv(_SWEEP, rows)
    else:
        print_table(_SWEEP, [[_text(name, row[name]) for name in _SWEEP] for row in rows], _NUMBERS)


def print_jobs(found: Sweep, table: pa.Table, listing: Listing) -> None:
    """Print rows of a sweep's table."""
    names = list(listing.columns) or (_usual(found, table) if listing.form == "table" else table.column_names)
    columns = [found.column(name, "the column") for name in names]
    rows = table.select(names).to_pylist()
    if listing.form == "json":
        click.echo(to_json(rows))
    elif listing.form == "csv":
        _print_csv(names, rows)
    else:
        right = [column.name for column in columns if column.type is not str]
        varied = set(found.varied)
        print_table(names, [[_cell(n, row[n], is_varied=n in varied) for n in names] for row in rows], right)


def _summary(found: Sweep) -> dict[str, Any]:
    from bt_framework.sweep.journal import Ending
    from bt_framework.sweep.objectives import objectives_of

    statuses = found.table["status"].to_pylist()
    row: dict[str, Any] = {
        "sweep": found.sweep_id,
        "started": utc(found.plan.created_at_ns),
        "status": found.status,
        "jobs": len(statuses),
        "done": sum(status in (Ending.COMPLETED, Ending.PRUNED) for status in statuses),
        "failed": statuses.count(str(Ending.FAILED)),
        "best": None,
        "value": None,
    }
    objectives = objectives_of(found.plan)
    try:
        jobs = found.best(objectives)
    except ConfigError:
        return row
    if len(objectives) > 1:
        return row | {"best": f"{len(jobs)} jobs, {' and '.join(o.metric for o in objectives)}"}
    metric = objectives[0].metric
    return row | {
        "best": f"job {jobs[0].number}, {metric}",
        "value": found.table[metric][jobs[0].number].as_py(),
    }


def _usual(found: Sweep, table: pa.Table) -> list[str]:
    """Columns that are printed unless others are asked for."""
    from bt_framework.sweep.objectives import objectives_of

    sought = [objective.metric for objective in objectives_of(found.plan)]
    metrics = [*sought, *(name for name in _SHOWN_METRICS if name not in sought)]
    errors = ["error"] if any(table["error"].to_pylist()) else []
    return ["job", *found.varied, "status", *metrics, *errors]


def _cell(name: str, value: Any, *, is_varied: bool) -> str:
    """Text of a value in a table for people."""
    from bt_framework.results.summary import format_metric

    if value is None or value == "":
        return "-"
    if isinstance(value, str):
        return plain(value)
    if is_varied or name in ("job", "seed"):
        return f"{value:.10g}" if isinstance(value, float) else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    style = "percent" if name.endswith("_frac") else "amount" if name in _AMOUNTS else "ratio"
    return format_metric({name: value}, name, style)


def _text(name: str, value: Any) -> str:
    return _cell(name, value, is_varied=False)


def _print_csv(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a line per row; numbers in full, what is undefined is empty."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([row[name] for name in names])
