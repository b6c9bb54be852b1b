"""`bt runs`: what has been run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli import _run_upkeep
from bt_framework.cli._run_listing import FORMATS, to_json
from bt_framework.cli._run_selection import Arguments, is_filter, open_store
from bt_framework.cli._tables import say
from bt_framework.registry import unknown_name
from bt_framework.results.run import Status

if TYPE_CHECKING:
    from bt_framework.results.folder import RunFolder

# The values of `CostMethod` and `By`, which are imported where they are used.
_METHODS = ("fifo", "average_cost")
_KEYS = ("symbol", "tag", "signal", "liquidity", "entry_tag", "entry_signal")


class _WithDefault(click.Group):
    """A group whose first command, `ls`, need not be written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in ("-h", "--help", *self.commands):
            if first and not first.startswith("-") and "=" not in first and not is_filter(first):
                raise click.UsageError(unknown_name("the command", first, self.commands), ctx)
            args = ["ls", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_WithDefault)
def runs() -> None:
    """List runs: bt runs 'sharpe>1 and strategy==ou_pairs'. Show one, its trades, orders, PnL and factors.

    OVERRIDES say where the runs are, as for a run: runs_dir=FOLDER, store=NAME, store.path=FILE.
    """


for _command in _run_upkeep.COMMANDS:
    runs.add_command(_command)


@runs.command()
@click.argument("which", nargs=-1)
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Runs; 0 for all.")
@click.option("--strategy", help="Only runs of this strategy.")
@click.option("--status", type=click.Choice([str(s) for s in Status]), help="Only runs with this status.")
@click.option(
    "--sort",
    default="-started",
    show_default=True,
    metavar="FIELD",
    help="Smallest first; with a minus largest first.",
)
@click.option("--columns", default="", metavar="A,B,...", help="Fields to print.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="How to print.  [default: table]")
@click.option("--json", "as_json", is_flag=True, help="As --format json.")
def ls(
    which: Sequence[str], limit: int, sort: str, columns: str, form: str | None, as_json: bool, **equal: str
) -> None:
    """List the runs WHICH, a filter, or all, the newest first.

    A filter compares fields: 'sharpe>1 and (tag==night or started>=2024-08-01)'.
    """
    from bt_framework.cli._run_listing import checked_columns, print_runs
    from bt_framework.stores.base import RunQuery
    from bt_framework.stores.filters import ALIASES

    arguments = Arguments.of(which)
    if arguments.words:
        raise click.UsageError(f"{arguments.words[0]!r} is neither a filter nor KEY=VALUE.")
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json is --format json, but --format is {form}.")
    names = checked_columns([name.strip() for name in columns.split(",")] if columns else [])
    where = arguments.condition(**equal)
    by = sort.removeprefix("-")
    most = limit + 1 if limit else None
    query = RunQuery(where, ALIASES.get(by, by), descending=sort.startswith("-"), limit=most)
    records = arguments.store.select(query)
    shown = records[:limit] if limit else records
    form = "json" if as_json else form or "table"
    if not records and form == "table":
        what = "such runs" if where is not None else "runs"
        click.echo(f"no {what} in {arguments.place.settings.runs_dir}. Start one with: bt +strategy=NAME")
    else:
        print_runs(shown, names, form)
    if len(records) > len(shown):
        say(f"the first {limit}; --limit 0 lists all")


@runs.command()
@click.argument("run_id")
@click.argument("overrides", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(run_id: str, overrides: Sequence[str], as_json: bool) -> None:
    """Show the run whose id is, or begins with, RUN_ID."""
    from bt_framework.cli._run_facts import facts, facts_as_dict

    store = open_store(overrides)
    record = store.get(run_id)
    if as_json:
        click.echo(to_json(facts_as_dict(record)))
        return
    for name, value in facts(record, store):
        click.echo(f"{name:<16}  {value}".rstrip())


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

    arguments = Arguments((), (), tuple(overrides))
    folder = RunFolder(arguments.store.get(run_id).run_dir)
    bars = BarStore(Path(arguments.place.settings.store_dir) / "bars")
    found = attribute(folder, bars, benchmarks, AttributionOptions(**options))
    if as_json:
        click.echo(to_json(as_dict(found)))
    else:
        print_factors(found)


def _folder(run_id: str, overrides: Sequence[str]) -> RunFolder:
    from bt_framework.results.folder import RunFolder

    return RunFolder(open_store(overrides).get(run_id).run_dir)
