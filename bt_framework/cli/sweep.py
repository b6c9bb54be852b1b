"""`bt sweep`: what sweeps have found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bt_framework.cli._run_listing import FORMATS
from bt_framework.cli._sweep_resume import DIR, resume
from bt_framework.cli._tables import say

if TYPE_CHECKING:
    from bt_framework.sweep.reading import Sweep

CHARTS = ("heatmap", "parallel")


@click.group()
def sweep() -> None:
    """List sweeps, show their tables and charts, and the command lines of their best jobs."""


sweep.add_command(resume)


@sweep.command(name="list")
@DIR
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
)
def list_(folder: str, form: str) -> None:
    """List the sweeps, the newest first: how many jobs are done or have failed, and the best one's metric."""
    from bt_framework.cli._sweep_listing import print_sweeps
    from bt_framework.sweep.folder import sweep_folders

    folders = sweep_folders(Path(folder))
    if not folders and form == "table":
        click.echo(f"no sweeps in {folder}. Start one with: bt -m +strategy=NAME KEY=A,B")
        return
    print_sweeps(list(reversed(folders)), form)


@sweep.command()
@click.argument("sweep_id", metavar="ID")
@click.argument("where", metavar="[FILTER]", default="")
@DIR
@click.option(
    "--sort",
    default="",
    metavar="COLUMN",
    help="Smallest first; with a minus largest first.  [default: the best job first]",
)
@click.option("--columns", default="", metavar="A,B,...", help="Columns to print.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Jobs; 0 for all.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
)
@click.option("--chart", type=click.Choice(CHARTS), help="Draw instead of print.")
@click.option("--out", metavar="FILE", help="Where to draw: a file .svg, .png or .html.")
@click.option("--metric", default="", help="What to draw.  [default: what the sweep looked for]")
@click.option("--axes", default="", metavar="A,B", help="Of a heatmap: the parameters across and up.")
def show(sweep_id: str, where: str, folder: str, **options: str | int | None) -> None:
    """Show the jobs of the sweep whose id is, or begins with, ID; of a sweep under way too.

    FILTER compares columns: 'sharpe>1 and strategy.entry_z<2 and latency==colo'.
    """
    from bt_framework.cli._sweep_listing import Listing, print_jobs

    found = _sweep(folder, sweep_id)
    if options["chart"]:
        _draw(found, where, options)
        return
    for name in ("out", "metric", "axes"):
        if options[name]:
            raise click.UsageError(f"--{name} goes with --chart.")
    names = [name.strip() for name in str(options["columns"]).split(",") if name.strip()]
    limit = int(options["limit"] or 0)
    table = found.select(where, str(options["sort"]), limit + 1 if limit else None)
    shown = table.slice(0, limit) if limit else table
    print_jobs(found, shown, Listing(names, str(options["form"])))
    if table.num_rows > shown.num_rows:
        say(f"the first {limit}; --limit 0 lists all")


@sweep.command()
@click.argument("sweep_id", metavar="ID")
@DIR
@click.option("--metric", default="", help="What is best.  [default: what the sweep looked for]")
@click.option("--minimize", is_flag=True, help="The smallest value is the best.")
def best(sweep_id: str, folder: str, metric: str, minimize: bool) -> None:
    """Print the command line that repeats the best job of the sweep whose id is, or begins with, ID.

    Of a sweep that weighs several metrics, those of all jobs that no other job beats.
    """
    from bt_framework.sweep.objectives import Objective, objectives_of

    found = _sweep(folder, sweep_id)
    if minimize and not metric:
        raise click.UsageError("--minimize goes with --metric.")
    planned = objectives_of(found.plan)
    known = {objective.metric: objective.minimize for objective in planned}
    objectives = (Objective(metric, minimize or known.get(metric, False)),) if metric else planned
    jobs = found.best(objectives)
    values = {row["job"]: row for row in found.table.to_pylist()} if len(jobs) > 1 else {}
    for job in jobs:
        row = values.get(job.number) or found.table.slice(job.number, 1).to_pylist()[0]
        say(f"job {job.number}: {', '.join(f'{o.metric} {row[o.metric]:,.6g}' for o in objectives)}")
        click.echo(found.command(job))


@sweep.command(context_settings={"ignore_unknown_options": True})
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
@click.option("-cd", "--config-dir", "config_dirs", multiple=True, metavar="DIR", help="As bt takes it.")
@click.option("-m", "--multirun", is_flag=True, expose_value=False, help="May be given, as bt takes it.")
def estimate(overrides: tuple[str, ...], config_dirs: tuple[str, ...]) -> int:
    """Say how long the sweep of bt -m OVERRIDES takes, and how much disk, by number of workers.

    Its first job is run for it, in a folder that is removed again; jobs that are stored already count as done.
    """
    from bt_framework.cli._sweep_estimate import print_estimate

    return print_estimate(overrides, config_dirs)


def _sweep(folder: str, prefix: str) -> Sweep:
    from bt_framework.sweep.reading import Sweep
    from bt_framework.sweep.resuming import sweep_of

    return Sweep(sweep_of(Path(folder), prefix))


def _draw(found: Sweep, where: str, options: dict[str, str | int | None]) -> None:
    from bt_framework.sweep.charts import heatmap, parallel_coordinates, save

    if not options["out"]:
        raise click.UsageError("--chart needs --out FILE.")
    axes = [name.strip() for name in str(options["axes"]).split(",") if name.strip()]
    if axes and options["chart"] != "heatmap":
        raise click.UsageError("--axes goes with --chart heatmap.")
    metric = str(options["metric"])
    if options["chart"] == "heatmap":
        figure = heatmap(found, metric, axes, where)
    else:
        figure = parallel_coordinates(found, metric, where)
    path = save(figure, Path(str(options["out"])))
    click.echo(f"chart: {path}")
