"""What `bt runs` prints: a table, CSV or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._tables import plain, print_fitting, print_table
from bt_framework.results.run import Status

if TYPE_CHECKING:
    from bt_framework.results.record import RunRecord

FORMATS = ("table", "csv", "json")

_STYLES = {
    Status.COMPLETED: "green",
    Status.RUNNING: "cyan",
    Status.STOPPED: "yellow",
    Status.FAILED: "red",
    Status.LOST: "red",
}
_HEADINGS = ("run", "strategy", "symbols", "status", "PnL", "return", "Sharpe", "drawdown", "trades")
_TEXTS = 4
"""The first columns are text, which is aligned to the left; the others are metrics."""

_METRICS = (
    ("pnl", "amount"),
    ("return_frac", "percent"),
    ("sharpe", "ratio"),
    ("max_drawdown", "amount"),
    ("trades", "count"),
)
_CSV = (
    *("run_id", "strategy", "symbols", "status", "started_at_ns", "finished_at_ns"),
    *("seed", "git_commit", "tags", "note"),
)
_SETS = ("symbols", "tags", "feeds")


def print_runs(records: Sequence[RunRecord], names: Sequence[str], form: str) -> None:
    """Print `records` in one of `FORMATS`, with the columns `names` or, without any, those of the format."""
    if form == "json":
        click.echo(to_json([_chosen(r, names) if names else _listed(r) for r in records]))
    elif form == "csv":
        _print_csv(records, names or _csv_columns())
    elif names:
        right = [name for name in names if not _is_text(name)]
        print_table(names, [[_cell(record, name) for name in names] for record in records], right)
    elif sys.stdout.isatty():
        _print_rich(records)
    else:
        print_table(_HEADINGS, list(map(_cells, records)), _HEADINGS[_TEXTS:])


def to_json(value: Any) -> str:
    """JSON for people, too."""
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()


def checked_columns(columns: Sequence[str]) -> list[str]:
    """Return the fields that are called `columns`.

    Raises
    ------
    ConfigError
        If there is no such field.
    """
    from bt_framework.errors import ConfigError
    from bt_framework.registry import unknown_name
    from bt_framework.stores.filters import ALIASES, FIELDS, SET_FIELDS

    known = [*(f for f in FIELDS if f not in SET_FIELDS), *_SETS]
    names = [ALIASES.get(name, name) for name in columns]
    for name in names:
        if name not in known:
            raise ConfigError(unknown_name("the column", name, [*known, *ALIASES]))
    return names


def _csv_columns() -> list[str]:
    from bt_framework.results.rows import METRIC_COLUMNS

    return [*_CSV, *(column.name for column in METRIC_COLUMNS)]


def _is_text(name: str) -> bool:
    from bt_framework.stores.filters import FIELDS

    return name in _SETS or FIELDS[name].type is str


def _value(record: RunRecord, name: str) -> Any:
    """Value of a column; None where it is undefined."""
    from bt_framework.stores.filters import field_value

    return list(getattr(record, name)) if name in _SETS else field_value(record, name)


def _chosen(record: RunRecord, names: Sequence[str]) -> dict[str, Any]:
    return {name: _value(record, name) for name in names}


def _listed(record: RunRecord) -> dict[str, Any]:
    return {
        **record.outcome(),
        "strategy": record.strategy,
        "symbols": list(record.symbols),
        "started_at_ns": record.started_at_ns,
        "finished_at_ns": record.finished_at_ns,
        "git_commit": record.git_commit,
        "tags": list(record.tags),
        "note": record.note,
    }


def _print_csv(records: Sequence[RunRecord], names: Sequence[str]) -> None:
    """Print a line per run; numbers in full, what is undefined is empty, several words are joined by spaces."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        values = (_value(record, name) for name in names)
        writer.writerow([" ".join(v) if isinstance(v, list) else v for v in values])


def _cell(record: RunRecord, name: str) -> str:
    """Text of a column that was asked for."""
    from bt_framework.results.summary import format_metric, format_ts
    from bt_framework.stores.filters import TIME_FIELDS

    value = _value(record, name)
    if value is None or value == "":
        return "-"
    if name in TIME_FIELDS:
        return format_ts(value) if value else "-"
    if isinstance(value, list):
        return plain(" ".join(value))
    if isinstance(value, float):
        return format_metric({name: value}, name, "percent" if name.endswith("_frac") else "amount")
    return plain(str(value)) if isinstance(value, str) or name == "seed" else f"{value:,}"


def _cells(record: RunRecord) -> list[str]:
    """Texts of the columns that are shown unless others are asked for."""
    from bt_framework.results.summary import format_metric

    texts = [record.run_id, record.strategy, " ".join(record.symbols), str(record.status)]
    return [*map(plain, texts), *(format_metric(record.metrics, name, style) for name, style in _METRICS)]


def _print_rich(records: Sequence[RunRecord]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(_HEADINGS):
        table.add_column(column, justify="left" if i < _TEXTS else "right", no_wrap=True)
    rows = [list(map(Text, _cells(record))) for record in records]
    for record, cells in zip(records, rows, strict=True):
        cells[_TEXTS - 1].stylize(_STYLES[record.status])
        table.add_row(*cells)
    print_fitting(Console(highlight=False), table, _HEADINGS, rows)
