"""`bt runs`: what has been run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._tables import print_fitting
from bt_framework.registry import unknown_name
from bt_framework.results.run import TABLES, Status

if TYPE_CHECKING:
    from bt_framework.config.compose import Composition
    from bt_framework.results.folder import RunFolder
    from bt_framework.results.record import RunRecord
    from bt_framework.stores.base import RunStore

_STYLES = {
    Status.COMPLETED: "green",
    Status.RUNNING: "cyan",
    Status.STOPPED: "yellow",
    Status.FAILED: "red",
    Status.LOST: "red",
}
_COLUMNS = ("run", "strategy", "symbols", "status", "PnL", "return", "Sharpe", "drawdown", "trades")
_LEFT_ALIGNED = 4
# The values of `CostMethod` and `By`, which are imported where they are used.
_METHODS = ("fifo", "average_cost")
_KEYS = ("symbol", "tag", "signal", "liquidity", "entry_tag", "entry_signal")


class _WithDefault(click.Group):
    """A group whose first command, `ls`, need not be written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in ("-h", "--help", *self.commands):
            if first and not first.startswith("-") and "=" not in first:
                raise click.UsageError(unknown_name("the command", first, self.commands), ctx)
            args = ["ls", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_WithDefault)
def runs() -> None:
    """List runs, show one, its trades, orders, PnL and factors, or rebuild their index.

    OVERRIDES choose which runs are meant, as for a run: runs_dir=FOLDER, store=NAME, store.path=FILE.
    """


@runs.command()
@click.argument("overrides", nargs=-1)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Newest runs to list."
)
@click.option("--strategy", help="Only runs of this strategy.")
@click.option("--status", type=click.Choice([str(s) for s in Status]), help="Only runs with this status.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def ls(overrides: Sequence[str], limit: int, strategy: str | None, status: str | None, as_json: bool) -> None:
    """List runs, newest first."""
    store, composition = _open_store(overrides)
    records = store.list(limit, strategy, Status(status) if status else None)
    if as_json:
        click.echo(_json([_listed(r) for r in records]))
    elif not records:
        what = "such runs" if strategy or status else "runs"
        click.echo(f"no {what} in {composition.settings.runs_dir}. Start one with: bt +strategy=NAME")
    elif sys.stdout.isatty():
        _print_rich(records)
    else:
        _print_plain(records)


@runs.command()
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(run_id: str, overrides: Sequence[str], as_json: bool) -> None:
    """Show the run whose id is, or begins with, RUN_ID."""
    record = _open_store(overrides)[0].get(run_id)
    if as_json:
        import orjson

        tables = {name: [str(file) for file in files] for name, files in _tables(record)}
        facts = {**orjson.loads(record.to_json()), "run_dir": str(record.run_dir), "tables": tables}
        click.echo(_json(facts))
        return
    for label, value in _facts(record):
        click.echo(f"{label:<16}  {value}".rstrip())


_METHOD = click.option(
    "--method",
    type=click.Choice(_METHODS),
    default="fifo",
    show_default=True,
    help="Which purchase a sale belongs to.",
)
_ROWS = click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Rows to list; 0 for all."
)


@runs.command()
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
@_METHOD
@_ROWS
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all columns.")
def trades(run_id: str, overrides: Sequence[str], method: str, limit: int, as_json: bool) -> None:
    """List the round trips of the run RUN_ID."""
    from bt_framework.cli._run_tables import TRADES, show
    from bt_framework.results import forensics
    from bt_framework.results.trades import CostMethod

    show(forensics.trades(_folder(run_id, overrides), CostMethod(method)), TRADES, limit, as_json=as_json)


@runs.command()
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
@_ROWS
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all columns.")
def orders(run_id: str, overrides: Sequence[str], limit: int, as_json: bool) -> None:
    """List the orders of the run RUN_ID, each with the steps of its life, as they end."""
    from bt_framework.cli._run_tables import ORDERS, show
    from bt_framework.results import forensics

    show(forensics.order_lives(_folder(run_id, overrides)), ORDERS, limit, as_json=as_json)


@runs.command()
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
@click.option(
    "--by", type=click.Choice(_KEYS), default="tag", show_default=True, help="What it is attributed to."
)
@_METHOD
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all columns.")
def pnl(run_id: str, overrides: Sequence[str], by: str, method: str, as_json: bool) -> None:
    """Say what has earned and what has cost the PnL of the run RUN_ID."""
    from bt_framework.cli._run_tables import PNL, show
    from bt_framework.results import forensics
    from bt_framework.results.trades import CostMethod

    folder = _folder(run_id, overrides)
    table = forensics.attribution(folder, forensics.By(by), CostMethod(method))
    show([table], PNL, 0, as_json=as_json)


@runs.command()
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    required=True,
    metavar="SOURCE:SYMBOL",
    help="Stored bars; repeat.",
)
@click.option(
    "--max-beta",
    "largest_beta",
    type=float,
    default=0.1,
    show_default=True,
    help="Up to which a beta counts as none.",
)
@click.option("--lags", type=click.IntRange(min=0), help="Of the HAC errors.  [default: 4 (n / 100)^(2/9)]")
@click.option("--window", type=int, help="Returns of the rolling betas.  [default: a quarter, at least 20]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def factors(
    run_id: str,
    overrides: Sequence[str],
    benchmarks: Sequence[str],
    as_json: bool,
    **options: Any,
) -> None:
    """Say how much of the run RUN_ID its benchmarks explain: alpha, betas and whether it is market neutral."""
    from bt_framework.bars.store import BarStore
    from bt_framework.cli._factor_tables import as_dict, print_factors
    from bt_framework.research.attribution import AttributionOptions, attribute
    from bt_framework.results.folder import RunFolder

    store, composition = _open_store(overrides)
    folder = RunFolder(store.get(run_id).run_dir)
    bars = BarStore(Path(composition.settings.store_dir) / "bars")
    found = attribute(folder, bars, benchmarks, AttributionOptions(**options))
    if as_json:
        click.echo(_json(as_dict(found)))
    else:
        print_factors(found)


@runs.command()
@click.argument("overrides", nargs=-1)
def reindex(overrides: Sequence[str]) -> int:
    """Rebuild the index from the run folders."""
    from bt_framework.stores.base import reindex as rebuild

    store, composition = _open_store(overrides)
    records, problems = rebuild(store, Path(composition.settings.runs_dir).absolute())
    click.echo(f"{len(records)} runs of {composition.settings.runs_dir} are in the index")
    for problem in problems:
        click.echo(f"bt: problem: {problem}", err=True)
    return 1 if problems else 0


def _open_store(overrides: Sequence[str]) -> tuple[RunStore, Composition]:
    from bt_framework.config.compose import compose
    from bt_framework.registry import Kind

    composition = compose(overrides)
    store: RunStore = composition.one(Kind.STORE).build()
    return store, composition


def _folder(run_id: str, overrides: Sequence[str]) -> RunFolder:
    from bt_framework.results.folder import RunFolder

    return RunFolder(_open_store(overrides)[0].get(run_id).run_dir)


def _json(value: Any) -> str:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()


def _listed(record: RunRecord) -> dict[str, Any]:
    return {
        **record.outcome(),
        "strategy": record.strategy,
        "symbols": list(record.symbols),
        "started_at_ns": record.started_at_ns,
        "finished_at_ns": record.finished_at_ns,
    }


def _cells(record: RunRecord) -> list[str]:
    from bt_framework.results.summary import format_metric

    shown = (("pnl", "amount"), ("return_frac", "percent"), ("sharpe", "ratio"), ("max_drawdown", "amount"))
    metrics = [format_metric(record.metrics, key, style) for key, style in (*shown, ("trades", "count"))]
    return [record.run_id, record.strategy, " ".join(record.symbols), str(record.status), *metrics]


def _print_plain(records: Sequence[RunRecord]) -> None:
    rows = [list(_COLUMNS), *map(_cells, records)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        cells = [
            f"{cell:<{width}}" if i < _LEFT_ALIGNED else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def _print_rich(records: Sequence[RunRecord]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(_COLUMNS):
        table.add_column(column, justify="left" if i < _LEFT_ALIGNED else "right", no_wrap=True)
    rows = [list(map(Text, _cells(record))) for record in records]
    for record, cells in zip(records, rows, strict=True):
        cells[3].stylize(_STYLES[record.status])
        table.add_row(*cells)
    print_fitting(Console(highlight=False), table, _COLUMNS, rows)


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    """(what, value) of everything worth a line."""
    from bt_framework.results.summary import format_ts, speed_line, summary_rows

    finished = format_ts(record.finished_at_ns) if record.finished_at_ns else "-"
    grade = record.data_grade
    facts = [
        ("run", record.run_id),
        ("status", str(record.status)),
        ("error", record.error),
        ("strategy", record.strategy),
        ("symbols", " ".join(record.symbols)),
        ("risk rules", " ".join(record.rules)),
        ("simulated", f"{format_ts(record.start_ts)} to {format_ts(record.end_ts)} UTC"),
        ("data", str(grade.get("line") or grade.get("grade") or "")),
        ("started", f"{format_ts(record.started_at_ns)} UTC"),
        ("finished", finished),
        ("process", f"{record.process.pid} on {record.process.host}"),
        *summary_rows(record),
        *((f"count of {name}", f"{count:,}") for name, count in record.counts.items()),
        ("speed", speed_line(record) if record.finished_at_ns else ""),
        *((name.replace("_s", " s"), f"{seconds:.3f}") for name, seconds in record.timings.items()),
        ("config hash", record.identity.config_hash),
        ("data hash", record.identity.data_hash),
        ("code hash", record.identity.code_hash),
        ("seed", str(record.identity.seed)),
        ("result hash", record.result_hash),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
        ("folder", str(record.run_dir)),
        *(
            (name, " ".join(file.name for file in files) or "nothing written")
            for name, files in _tables(record)
        ),
    ]
    return [(label, value) for label, value in facts if value]


def _tables(record: RunRecord) -> list[tuple[str, list[Path]]]:
    from bt_framework.results.folder import RunFolder

    folder = RunFolder(record.run_dir)
    return [(name, folder.files(name)) for name in TABLES]
