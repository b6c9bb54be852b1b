"""`bt data export`: a slice of events as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bt_framework.cli._tables import MB, progress_bar, say
from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_framework.data.store import StoredFeed


def export(
    arguments: Sequence[str], start: str | None, end: str | None, file_format: str | None, output: str
) -> None:
    """Write what the arguments of the command choose."""
    from bt_framework.stores.clickhouse.export import FileFormat, export_events

    path = Path(output).expanduser()
    formats = [str(known) for known in FileFormat]
    chosen = file_format or path.suffix.lstrip(".")
    if chosen not in formats:
        raise ConfigError(
            f"--output must end in {' or '.join(f'.{f}' for f in formats)}, or --format be given, was {output}."
        )
    if path.exists():
        raise ConfigError(f"--output must not exist, was {path}. Remove it or choose another name.")
    if not path.parent.is_dir():
        raise ConfigError(f"--output must be in a folder that exists, was {path}.")
    span = tuple(
        None if text is None else parse_time_ns(text, name)
        for text, name in ((start, "--start"), (end, "--end"))
    )
    feeds = _feeds(arguments)
    with progress_bar(f"writing {path.name}") as progress:
        events = export_events(feeds, (span[0], span[1]), path, FileFormat(chosen), progress)
    click.echo(f"{events:,} events, {path.stat().st_size / MB:,.1f} MB: {path}")


def _feeds(arguments: Sequence[str]) -> list[StoredFeed]:
    """Feeds of the store by symbol or key, or those of a composition."""
    from bt_framework.cli.data import named
    from bt_framework.config.compose import compose
    from bt_framework.data.repair import with_repair
    from bt_framework.data.store import EventStore
    from bt_framework.registry import Kind

    names = [argument for argument in arguments if "=" not in argument]
    composition = compose([argument for argument in arguments if "=" in argument])
    store = EventStore(Path(composition.settings.store_dir))
    if names:
        found = [manifest for name in names for manifest in named(name, store.manifests(), "what to export")]
        return [store.feed(manifest) for manifest in {m.content_hash: m for m in found}.values()]
    source = composition.one(Kind.DATA).build()
    source.use_store(store.root)
    with progress_bar("reading") as progress:
        return store.load_all(with_repair(source.feeds(), composition.settings.repair), progress, say)
