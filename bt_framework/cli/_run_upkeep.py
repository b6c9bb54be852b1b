"""`bt runs tag`, `note`, `rm`, `gc` and `reindex`: what changes runs and their index."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from bt_framework.cli._run_selection import Arguments
from bt_framework.cli._tables import megabytes, plain, print_table

if TYPE_CHECKING:
    from bt_framework.results.record import RunRecord
    from bt_framework.stores.upkeep import Removal

_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_NAMED = 10
"""Runs that a question names."""


@click.command()
@click.argument("which", nargs=-1)
@click.option("--add", multiple=True, metavar="TAG", help="Give them this tag; repeat.")
@click.option("--remove", multiple=True, metavar="TAG", help="Take this tag from them; repeat.")
def tag(which: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> None:
    """Change the tags of the runs WHICH: their ids, or a filter."""
    from bt_framework.config.settings import check_labels
    from bt_framework.stores.upkeep import label

    if not add and not remove:
        raise click.UsageError("Say which tags: --add TAG, --remove TAG.")
    arguments = Arguments.of(which)
    records = arguments.records()
    labelled = {r.run_id: [t for t in dict.fromkeys((*r.tags, *add)) if t not in remove] for r in records}
    for tags in labelled.values():
        check_labels(tags, "")
    for record in records:
        label(arguments.store, record, tags=labelled[record.run_id])
        click.echo(f"{record.run_id}  {' '.join(labelled[record.run_id]) or 'no tags'}")


@click.command()
@click.argument("run_id")
@click.argument("text")
@click.argument("overrides", nargs=-1)
def note(run_id: str, text: str, overrides: Sequence[str]) -> None:
    """Replace the note of the run RUN_ID by TEXT; an empty one removes it."""
    from bt_framework.config._secrets import without_passwords
    from bt_framework.config.settings import check_labels
    from bt_framework.stores.upkeep import label

    text = without_passwords(text)
    check_labels((), text)
    arguments = Arguments((), (), tuple(overrides))
    record = arguments.store.get(run_id)
    label(arguments.store, record, note=text)
    click.echo(f"{record.run_id}  {text or 'no note'}")


@click.command()
@click.argument("which", nargs=-1)
@_YES
@click.option("--force", is_flag=True, help="Remove runs that are under way, too.")
def rm(which: Sequence[str], yes: bool, force: bool) -> None:
    """Remove the runs WHICH, their ids or a filter: folders and rows."""
    from bt_framework.stores.upkeep import removal

    arguments = Arguments.of(which)
    records = arguments.records()
    if not records:
        click.echo("no such runs")
        return
    doomed = [removal(record, arguments.runs_dir, force=force) for record in records]
    _remove(arguments, doomed, f"remove {_naming(records)}", yes)


@click.command()
@click.argument("overrides", nargs=-1)
@click.option("--older-than", default="7d", show_default=True, metavar="TIME", help="Since they ended.")
@click.option("--dry-run", is_flag=True, help="Only list what would go.")
@_YES
def gc(overrides: Sequence[str], older_than: str, dry_run: bool, yes: bool) -> None:
    """Remove runs that failed or are lost, rows without a folder, and folders without a run."""
    from bt_framework.stores.upkeep import garbage
    from bt_framework.units import parse_duration_ns

    arguments = Arguments((), (), tuple(overrides))
    doomed = garbage(arguments.store, arguments.runs_dir, parse_duration_ns(older_than, "--older-than"))
    if not doomed:
        click.echo(f"nothing to remove in {arguments.place.settings.runs_dir}")
        return
    rows = [[d.run_id or (d.folder.name if d.folder else ""), d.why, f"{d.size_bytes:,}"] for d in doomed]
    print_table(("run", "why", "bytes"), [list(map(plain, row)) for row in rows], ("bytes",))
    if dry_run:
        click.echo(f"would remove {len(doomed)}, {_size(doomed)}")
    else:
        _remove(arguments, doomed, f"remove these {len(doomed)}", yes)


@click.command()
@click.argument("overrides", nargs=-1)
def reindex(overrides: Sequence[str]) -> int:
    """Rebuild the index from the run folders."""
    from bt_framework.stores.base import reindex as rebuild

    arguments = Arguments((), (), tuple(overrides))
    records, problems = rebuild(arguments.store, arguments.runs_dir)
    click.echo(f"{len(records)} runs of {arguments.place.settings.runs_dir} are in the index")
    for problem in problems:
        click.echo(f"bt: problem: {problem}", err=True)
    return 1 if problems else 0


COMMANDS = (tag, note, rm, gc, reindex)


def _remove(arguments: Arguments, doomed: Sequence[Removal], question: str, yes: bool) -> None:
    """Ask, and remove."""
    from bt_framework.stores.upkeep import remove

    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("There is nobody to ask. Give --yes.")
        click.confirm(f"{question}, {_size(doomed)}?", abort=True)
    for each in doomed:
        remove(arguments.store, each)
    click.echo(f"removed {len(doomed)}, freed {_size(doomed)} in {arguments.place.settings.runs_dir}")


def _naming(records: Sequence[RunRecord]) -> str:
    ids = ", ".join(record.run_id for record in records[:_NAMED])
    more = f" and {len(records) - _NAMED:,} more" if len(records) > _NAMED else ""
    return f"{len(records):,} runs ({ids}{more})"


def _size(doomed: Sequence[Removal]) -> str:
    return f"{megabytes(sum(each.size_bytes for each in doomed))} MB"
