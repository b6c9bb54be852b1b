"""`bt metrics`: compute the metrics of stored runs again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from bt_framework.cli._run_selection import Arguments
from bt_framework.errors import DataError, StorageError

if TYPE_CHECKING:
    from bt_framework.results.record import RunRecord
    from bt_framework.stores.base import RunStore


@click.command()
@click.argument("which", nargs=-1)
def metrics(which: Sequence[str]) -> int:
    """Compute the metrics of the runs WHICH again, from the tables that they left.

    WHICH are their ids, or a filter such as 'strategy==ou_pairs'. What is stored is replaced, in run.json and in the
    store, and what has changed is printed. A run whose tables are not whole keeps its metrics; the exit code is then 1.
    """
    arguments = Arguments.of(which)
    changed, problems = 0, 0
    records = arguments.records()
    for record in records:
        try:
            changes = _recompute(record, arguments.store)
        except (DataError, StorageError) as error:
            click.echo(f"bt: problem: {error}", err=True)
            problems += 1
            continue
        changed += bool(changes)
        click.echo(f"{record.run_id}  {', '.join(changes) or 'as stored'}")
    click.echo(f"{len(records) - problems} runs computed, {changed} changed")
    return 1 if problems else 0


def _recompute(record: RunRecord, store: RunStore) -> list[str]:
    """Replace the metrics of a run; say what has changed.

    They are those of the files in its folder or, without any, of the store's rows. What the folder says of the run is
    taken for true, and the store's rows of the run are written anew in any case: they may say other than its record.
    """
    from bt_framework.results.folder import amend
    from bt_framework.results.recompute import TABLES, metrics_of, recompute
    from bt_framework.results.schemas import to_records
    from bt_framework.stores.upkeep import own_folder

    folder = own_folder(record)
    known = [record.metrics]
    if folder is not None:
        record = folder.record()
        known.append(record.metrics)
    if folder is not None and any(folder.files(table) for table in TABLES):
        now = recompute(record, folder)
    else:
        names = record.names()
        now = metrics_of(record, lambda table: [to_records(store.rows(record.run_id, table), names)])
    changes = next(filter(None, (_changes(before, now) for before in known)), [])
    if changes and folder is not None:
        amend(folder.path, metrics=now)
    store.put(dataclasses.replace(record, metrics=now))
    return changes


def _changes(before: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """What has changed, to the last bit."""
    names = [n for n in dict.fromkeys((*now, *before)) if _text(before.get(n)) != _text(now.get(n))]
    return [f"{name} {_text(before.get(name))} -> {_text(now.get(name))}" for name in names]


def _text(value: float | None) -> str:
    """The shortest text that stands for no other number."""
    return "none" if value is None else repr(value)
