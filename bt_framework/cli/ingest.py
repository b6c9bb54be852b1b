"""`bt ingest`: market data into the event store, ahead of time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bt_framework.cli._tables import KEY_DIGITS, MB, number, print_table, progress_bar, say, utc

if TYPE_CHECKING:
    from bt_framework.data.store import EventStore, StoredFeed

_COLUMNS = ("symbol", "events", "from (UTC)", "to (UTC)", "tick", "lot", "grade", "stored", "key")


@click.command()
@click.argument("arguments", nargs=-1, metavar="[FOLDER|FILE]... [OVERRIDE]...")
def ingest(arguments: Sequence[str]) -> int:
    """Read market data into the event store.

    Overrides choose the data as for a run: data=NAME data.files=[a.gz,b.gz] store_dir=FOLDER. Or give folders and
    files: the readers are asked which are theirs, and what nobody knows is named. data=NAME asks that reader only;
    keys data.KEY=VALUE need all files to be of one reader.

    What is stored already is not read again, so a stopped ingest goes on where it was.
    """
    return ingested(arguments)[1]


def ingested(arguments: Sequence[str]) -> tuple[list[StoredFeed], int]:
    """Ingest what arguments of `bt ingest` say; returns what is in the store now, and the exit code."""
    paths = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    if paths:
        from bt_framework.cli._ingest_folders import ingest_folders

        return ingest_folders([Path(path).expanduser() for path in paths], overrides)
    from bt_framework.config.compose import compose
    from bt_framework.data.repair import with_repair
    from bt_framework.data.store import EventStore
    from bt_framework.registry import Kind

    composition = compose(overrides)
    store = EventStore(Path(composition.settings.store_dir))
    source = composition.one(Kind.DATA).build()
    source.use_store(store.root)
    feeds = with_repair(source.feeds(), composition.settings.repair)
    began_ns, began = time.time_ns(), time.perf_counter()
    with progress_bar("ingesting") as progress:
        stored = store.load_all(feeds, progress, say)
    print_stored(stored, store, began_ns, time.perf_counter() - began)
    return stored, 0


def print_stored(stored: Sequence[StoredFeed], store: EventStore, began_ns: int, wall_s: float) -> None:
    """Print what the store has now: `stored` of this ingest, which began at `began_ns` and took `wall_s`."""
    from bt_framework.data import doctor

    new = [feed for feed in stored if feed.ingested_at_ns >= began_ns]
    rows = [_row(feed, "now" if feed in new else "before") for feed in stored]
    print_table(_COLUMNS, rows, right=("events", "tick", "lot"))
    for feed in stored:
        if doctor.grade(feed.findings) != "ok":
            click.echo(doctor.line(feed.symbol, feed.findings))
    events = sum(feed.events for feed in new)
    if events:
        size = sum(store.cached_bytes(m) for m in store.manifests() if m.key in {f.key for f in new})
        rate = events / wall_s / 1e6
        click.echo(f"{events:,} events, {size / MB:,.1f} MB, in {wall_s:.2f} s ({rate:.2f} M events/s)")
    click.echo(f"store: {store.root}")


def _row(feed: StoredFeed, when: str) -> list[str]:
    from bt_framework.data import doctor

    return [
        feed.symbol,
        f"{feed.events:,}",
        utc(feed.first_local_ts),
        utc(feed.last_local_ts),
        number(feed.spec.tick_size),
        number(feed.spec.lot_size),
        doctor.grade(feed.findings),
        when,
        feed.key[:KEY_DIGITS],
    ]
