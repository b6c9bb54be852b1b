"""`bt data`: what is in the event store, and what is wrong with files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._tables import KEY_DIGITS, MB, megabytes, number, print_table, progress_bar, utc
from bt_framework.errors import BtError, ConfigError, DataError

if TYPE_CHECKING:
    from bt_framework.data._stream import Examined
    from bt_framework.data.manifest import Manifest
    from bt_framework.data.source import Feed
    from bt_framework.data.store import EventStore

_LS_COLUMNS = (
    "key",
    "symbol",
    "reader",
    "events",
    "from (UTC)",
    "to (UTC)",
    "tick",
    "lot",
    "grade",
    "mapped",
    "archived",
)
_CHECK_COLUMNS = ("symbol", "severity", "check", "count", "first row", "what it is")


@click.group()
def data() -> None:
    """List or remove what is in the event store, or check files.

    OVERRIDES choose the store as for a run: store_dir=FOLDER.
    """


@data.command()
@click.argument("overrides", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def ls(overrides: Sequence[str], as_json: bool) -> None:
    """List what is in the event store."""
    store = _store(overrides)
    manifests = store.manifests()
    if as_json:
        click.echo(json.dumps([_listed(store, m) for m in manifests], indent=2))
        return
    if not manifests:
        click.echo(f"nothing in {store.root}. Fill it with: bt ingest data=NAME data.files=[FILE]")
        return
    right = ("events", "tick", "lot", "mapped", "archived")
    print_table(_LS_COLUMNS, [_row(store, m) for m in manifests], right)
    click.echo(f"store: {store.root}")


@data.command()
@click.argument("what", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Remove all that is in the store.")
def rm(what: Sequence[str], everything: bool) -> None:
    """Remove feeds from the event store: each WHAT is a key or its beginning, or a symbol."""
    names = [name for name in what if "=" not in name]
    store = _store([name for name in what if "=" in name])
    if everything == bool(names):
        raise click.UsageError("Name keys or symbols to remove, or give --all.")
    manifests = store.manifests()
    doomed = manifests if everything else [m for n in names for m in _named(n, manifests)]
    keys = {m.key for m in doomed}
    freed = store.remove(keys)
    click.echo(f"removed {len(keys)} of {len(manifests)}, freed {freed / MB:,.1f} MB in {store.root}")


@data.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def check(files: Sequence[str], as_json: bool) -> int:
    """Examine FILES without storing them; the exit code is 2 if they cannot be used.

    The reader is the first installed one that recognises the files. Overrides among the arguments choose one
    and its options: bt data check data=NAME data.KEY=VALUE FILE.
    """
    from bt_framework.data import doctor

    checked = [_examine(feed) for feed in _feeds(files)]
    if as_json:
        click.echo(json.dumps([_checked(seen) for seen in checked], indent=2))
    else:
        rows = [
            [seen.symbol, f.severity, f.check, f"{f.count:,}", _place(f.first_index), f.detail]
            for seen in checked
            for f in seen.findings
        ]
        if rows:
            print_table(_CHECK_COLUMNS, rows, right=("count", "first row"))
        for seen in checked:
            click.echo(_summary(seen))
    return 2 if any(doctor.grade(seen.findings) == "fatal" for seen in checked) else 0


def _store(overrides: Sequence[str]) -> EventStore:
    from bt_framework.config.compose import compose
    from bt_framework.data.store import EventStore

    return EventStore(Path(compose(overrides).settings.store_dir))


def _row(store: EventStore, m: Manifest) -> list[str]:
    from bt_framework.data import doctor

    return [
        m.key[:KEY_DIGITS],
        m.symbol,
        m.reader,
        f"{m.events:,}",
        utc(m.first_local_ts),
        utc(m.last_local_ts),
        number(m.spec.tick_size),
        number(m.spec.lot_size),
        doctor.grade(m.findings),
        f"{megabytes(store.cached_bytes(m))} MB",
        f"{megabytes(store.archived_bytes(m))} MB",
    ]


def _listed(store: EventStore, m: Manifest) -> dict[str, Any]:
    from bt_framework.data import doctor

    return {
        "key": m.key,
        "symbol": m.symbol,
        "reader": m.reader,
        "events": m.events,
        "first_local_ts": m.first_local_ts,
        "last_local_ts": m.last_local_ts,
        "tick_size": m.spec.tick_size,
        "lot_size": m.spec.lot_size,
        "grade": doctor.grade(m.findings),
        "findings": [vars(f) for f in m.findings],
        "content_hash": m.content_hash,
        "mapped_bytes": store.cached_bytes(m),
        "archived_bytes": store.archived_bytes(m),
        "files": [file.path for file in m.inputs],
        "ingested_at_ns": m.ingested_at_ns,
    }


def _named(name: str, manifests: Sequence[Manifest]) -> list[Manifest]:
    """Feeds whose symbol is `name` or whose key begins with it.

    Raises
    ------
    ConfigError
        If there is none.
    """
    from bt_framework.registry import unknown_name

    found = [m for m in manifests if m.symbol == name]
    found = found or [m for m in manifests if len(name) >= 4 and m.key.startswith(name)]
    if not found:
        options = {m.symbol for m in manifests} | {m.key[:KEY_DIGITS] for m in manifests}
        raise ConfigError(unknown_name("what to remove", name, options))
    return found


def _feeds(arguments: Sequence[str]) -> Sequence[Feed]:
    """Feeds of the files, by the reader that was chosen or the first one that recognises them.

    Raises
    ------
    DataError
        If a file is missing, or no reader recognises them: what each said.
    """
    from bt_framework.config._overrides import quoted
    from bt_framework.config.compose import compose
    from bt_framework.data.source import FeedReport
    from bt_framework.registry import Kind

    overrides = [a for a in arguments if "=" in a and not Path(a).exists()]
    files = [a for a in arguments if a not in overrides]
    for file in files:
        if not Path(file).exists():
            raise DataError(f"{file} does not exist.")
    if overrides:
        quoted_files = ",".join(map(quoted, files))
        composition = compose([*overrides, *([f"data.files=[{quoted_files}]"] if files else [])])
        chosen: Sequence[Feed] = composition.one(Kind.DATA).build().feeds()
        return chosen
    refusals = []
    for component in _readers():
        try:
            feeds: Sequence[Feed] = component.build(component.config_class(files=files)).feeds()
            for feed in feeds:
                next(feed.chunks(FeedReport(), lambda done, total: None), None)
        except BtError as error:
            refusals.append(f"\n  {component.name}: {error}")
        else:
            return feeds
    raise DataError(f"no installed reader recognises {', '.join(files)}:{''.join(refusals)}")


def _readers() -> list[Any]:
    """Installed data components that are told their files."""
    from bt_framework.plugin_manager import discover
    from bt_framework.registry import Kind

    components = discover().registry.components()
    return [c for c in components if c.kind == Kind.DATA and "files" in {f.name for f in c.fields}]


def _examine(feed: Feed) -> Examined:
    from bt_framework.data._stream import stream

    with TemporaryDirectory(prefix="bt-check-") as folder, progress_bar("checking") as progress:
        return stream(feed, Path(folder), progress, write=False)


def _checked(seen: Examined) -> dict[str, Any]:
    from bt_framework.data import doctor

    return {
        "symbol": seen.symbol,
        "events": int(seen.doctor.stats.rows),
        "grade": doctor.grade(seen.findings),
        "findings": [vars(f) for f in seen.findings],
    }


def _summary(seen: Examined) -> str:
    from bt_framework.data import doctor

    stats = seen.doctor.stats
    text = doctor.line(seen.symbol, seen.findings)
    if not stats.local_rows or seen.spec is None:
        return text
    sizes = f"tick {number(seen.spec.instrument.tick_size)}, lot {number(seen.spec.instrument.lot_size)}"
    span = f"{utc(int(stats.first_local_ts))} to {utc(int(stats.last_local_ts))} UTC"
    return f"{text}; {int(stats.rows):,} events, {span}, {sizes}"


def _place(first_index: int) -> str:
    return f"{first_index:,}" if first_index >= 0 else ""
