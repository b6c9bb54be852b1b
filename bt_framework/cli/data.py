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
    import pyarrow as pa

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
    "fidelity",
    "mapped",
    "archived",
)


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
    doomed = manifests if everything else [m for n in names for m in named(n, manifests, "what to remove")]
    keys = {m.key for m in doomed}
    freed = store.remove(keys)
    click.echo(f"removed {len(keys)} of {len(manifests)}, freed {freed / MB:,.1f} MB in {store.root}")


@data.command()
@click.argument("what", nargs=-1)
@click.option("--rm", "removes", is_flag=True, help="Remove them instead; without WHAT all.")
def features(what: Sequence[str], removes: bool) -> None:
    """List arrays that were computed for strategies and are kept: WHAT to remove are names, or keys as they begin."""
    from bt_framework.cli._features import list_features, remove_features
    from bt_framework.features import FeatureCache

    names = [name for name in what if "=" not in name]
    if names and not removes:
        raise click.UsageError("All features are listed; name some to remove with --rm.")
    cache = FeatureCache(_store([name for name in what if "=" in name]).root)
    if removes:
        remove_features(cache, names)
    else:
        list_features(cache)


@data.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--repair", is_flag=True, help="Repair what rules can repair, show the changes, and examine the result."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def check(files: Sequence[str], repair: bool, as_json: bool) -> int:
    """Examine FILES without storing them; the exit code is 2 if they cannot be used.

    The reader is the first installed one that recognises the files. Overrides among the arguments choose one
    and its options: bt data check data=NAME data.KEY=VALUE FILE.
    """
    from bt_framework.cli._check import print_checked, to_json
    from bt_framework.data.finding import grade

    checked = [_examine(feed, repair) for feed in _feeds(files)]
    if as_json:
        click.echo(json.dumps(to_json(checked), indent=2))
    else:
        print_checked(checked)
    return 2 if any(grade(seen.findings) == "fatal" for seen, _ in checked) else 0


@data.command()
@click.argument("what", nargs=-1, required=True, metavar="SYMBOL|KEY|OVERRIDE...")
@click.option("--start", help="From this local time on, ISO-8601; else from the first event.")
@click.option("--end", help="Before this local time; else to the last event.")
@click.option("--format", "file_format", help="parquet or arrow; else as the file's name ends.")
@click.option("--output", required=True, help="File to write.")
def export(
    what: Sequence[str], start: str | None, end: str | None, file_format: str | None, output: str
) -> None:
    """Write events as a Parquet or Arrow file with the columns of market_data.

    WHAT is a symbol or key of the event store, or overrides that choose data as for a run: data=NAME data.KEY=VALUE.
    """
    from bt_framework.cli import _export

    _export.export(what, start, end, file_format, output)


def _store(overrides: Sequence[str]) -> EventStore:
    from bt_framework.config.compose import compose
    from bt_framework.data.store import EventStore

    return EventStore(Path(compose(overrides).settings.store_dir))


def _row(store: EventStore, m: Manifest) -> list[str]:
    from bt_framework.data import doctor
    from bt_framework.data.fidelity import judge

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
        judge(m.book_level, m.findings).grade,
        f"{megabytes(store.cached_bytes(m))} MB",
        f"{megabytes(store.archived_bytes(m))} MB",
    ]


def _listed(store: EventStore, m: Manifest) -> dict[str, Any]:
    from bt_framework.data import doctor
    from bt_framework.data.fidelity import judge

    fidelity = judge(m.book_level, m.findings)
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
        "book_level": m.book_level,
        "fidelity": fidelity.grade,
        "reasons": list(fidelity.reasons),
        "findings": [vars(f) for f in m.findings],
        "content_hash": m.content_hash,
        "mapped_bytes": store.cached_bytes(m),
        "archived_bytes": store.archived_bytes(m),
        "files": [file.path for file in m.inputs],
        "ingested_at_ns": m.ingested_at_ns,
    }


def named(name: str, manifests: Sequence[Manifest], what: str) -> list[Manifest]:
    """Feeds whose symbol is `name` or whose key begins with it; `what` is asked for, for the message.

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
        raise ConfigError(unknown_name(what, name, options))
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
        source = composition.one(Kind.DATA).build()
        source.use_store(Path(composition.settings.store_dir))
        chosen: Sequence[Feed] = source.feeds()
        return chosen
    refusals = []
    for component in _likely_first(files):
        try:
            feeds: Sequence[Feed] = component.build(component.config_class(files=files)).feeds()
            for feed in feeds:
                next(feed.chunks(FeedReport(), lambda done, total: None), None)
        except BtError as error:
            refusals.append(f"\n  {component.name}: {error}")
        else:
            return feeds
    raise DataError(f"no installed reader recognises {', '.join(files)}:{''.join(refusals)}")


def _likely_first(files: Sequence[str]) -> list[Any]:
    """Readers, first those that claim all of `files`."""
    from bt_framework.data.recognise import recognise
    from bt_framework.data.source import FileConfig

    readers = _readers()
    classes = {c.name: c.config_class for c in readers if issubclass(c.config_class, FileConfig)}
    found = recognise([Path(file) for file in files], classes)
    return sorted(readers, key=lambda c: len(found.by_reader.get(c.name, ())), reverse=True)


def _readers() -> list[Any]:
    """Installed data components that are told their files."""
    from bt_framework.plugin_manager import discover
    from bt_framework.registry import Kind

    components = discover().registry.components()
    return [c for c in components if c.kind == Kind.DATA and "files" in {f.name for f in c.fields}]


def _examine(feed: Feed, repair: bool) -> tuple[Examined, pa.Table | None]:
    """What the doctor finds in `feed`, and what was changed before, if anything."""
    from bt_framework.data._stream import Target, stream
    from bt_framework.data.repair import RepairedFeed

    with TemporaryDirectory(prefix="bt-check-") as folder, progress_bar("checking") as progress:
        if not repair:
            return stream(feed, Path(folder), progress, Target.NOWHERE), None
        import pyarrow.parquet as pq

        repaired = RepairedFeed(feed)
        repaired.audit_path = Path(folder) / "repairs.parquet"
        seen = stream(repaired, Path(folder), progress, Target.NOWHERE)
        return seen, pq.read_table(repaired.audit_path) if repaired.audit_path.exists() else None
