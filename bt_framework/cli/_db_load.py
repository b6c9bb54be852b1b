"""`bt db load`: market data into ClickHouse."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bt_framework.cli._tables import print_table, progress_bar, say
from bt_framework.config.plain import from_overrides
from bt_framework.config.schema import param
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name
from bt_framework.stores.clickhouse.settings import Place

if TYPE_CHECKING:
    from bt_framework.data.store import EventStore, StoredFeed
    from bt_framework.stores.clickhouse.connection import ClickHouse
    from bt_framework.stores.clickhouse.loading import Loaded

_COLUMNS = ("symbol", "feed", "reader", "events", "sent", "touch")
_DERIVED = ("shifted", "jittered", "clickhouse")
"""Readers of what is in the store or the database already."""


@dataclass
class Load(Place):
    """What `bt db load` loads besides files."""

    symbols: list[str] = param([], "symbols of the event store to load, or with bars those of the source")
    reader: str = param("", "with symbols: feeds of this reader only; empty: of any")
    bars: str = param("", "source of bars of the bar store to load; empty: events")


def load(arguments: Sequence[str]) -> int:
    """Load what the arguments of the command say; returns the exit code."""
    from bt_framework.stores.clickhouse.connection import ClickHouse
    from bt_framework.stores.clickhouse.schema import require

    own = [field.name for field in dataclasses.fields(Load)]
    mine = [a for a in arguments if a.partition("=")[0].lstrip("+") in own and "=" in a]
    config = from_overrides(Load, mine)
    others = [a for a in arguments if a not in mine]
    if config.bars:
        return _load_bars(config, others)
    if not others and not config.symbols:
        raise ConfigError(
            "bt db load must be told what to load: files or folders, data=NAME and its keys, symbols=[NAME] of the "
            "event store, or bars=SOURCE of the bar store."
        )
    # Before anything is read, which may take long.
    with ClickHouse(config.address) as db:
        require(db)
    stored, code = _stored(config, others)
    with ClickHouse(config.address) as db:
        print_loaded(load_all(db, stored), config.address.name)
    return code


def _load_bars(config: Load, others: Sequence[str]) -> int:
    from bt_framework.stores.clickhouse.bars_loading import load_bars
    from bt_framework.stores.clickhouse.connection import ClickHouse

    if others:
        raise ConfigError(f"{others[0]}: with bars, only symbols, url and store_dir may be given.")
    with ClickHouse(config.address) as db, progress_bar(f"loading {config.bars}") as progress:
        done = load_bars(db, Path(config.store_dir), config.bars, config.symbols, progress)
    click.echo(done.line)
    click.echo(f"database: {config.address.name}")
    return 0


def _stored(config: Load, others: Sequence[str]) -> tuple[list[StoredFeed], int]:
    """What is to be loaded, from the event store or put there now, and the exit code of that."""
    if not others:
        from bt_framework.data.store import EventStore

        return _of_symbols(config, EventStore(Path(config.store_dir))), 0
    if config.symbols or config.reader:
        raise ConfigError(
            f"{others[0]}: symbols and reader choose what is in the event store, and go with no files."
        )
    from bt_framework.cli.ingest import ingested
    from bt_framework.config._overrides import quoted

    stored, code = ingested([*others, f"store_dir={quoted(config.store_dir)}"])
    if any(feed.held is not None for feed in stored):
        raise ConfigError(
            "data.keep must be true for bt db load, was false: events come from the event store."
        )
    return stored, code


def _of_symbols(config: Load, store: EventStore) -> list[StoredFeed]:
    manifests = [m for m in store.manifests() if m.reader not in _DERIVED]
    known = {m.symbol for m in manifests}
    for symbol in config.symbols:
        if symbol not in known:
            raise ConfigError(f"{unknown_name(f'symbols, in the event store {store.root},', symbol, known)}")
    if config.reader and config.reader not in {m.reader for m in manifests}:
        raise ConfigError(unknown_name("reader", config.reader, {m.reader for m in manifests}))
    chosen = [m for m in manifests if m.symbol in config.symbols and config.reader in ("", m.reader)]
    return [store.feed(m) for m in {m.content_hash: m for m in chosen}.values()]


def load_all(db: ClickHouse, stored: Sequence[StoredFeed]) -> list[Loaded]:
    """Load feeds one after the other."""
    from bt_framework.stores.clickhouse.loading import load_feed

    done, began = [], time.perf_counter()
    for feed in stored:
        with progress_bar(f"loading {feed.symbol}") as progress:
            done.append(load_feed(db, feed, progress))
    sent = sum(loaded.inserted for loaded in done)
    if sent:
        wall_s = time.perf_counter() - began
        say(f"{sent:,} events sent in {wall_s:.2f} s ({sent / wall_s / 1e6:.2f} M events/s)")
    return done


def print_loaded(loaded: Sequence[Loaded], database: str) -> None:
    """Print a row per feed."""
    rows = [
        (
            one.feed.symbol,
            one.feed.short_id,
            one.feed.reader,
            f"{one.feed.events:,}",
            f"{one.inserted:,}",
            f"{one.touches:,}" if one.inserted or one.touches else "",
        )
        for one in loaded
    ]
    print_table(_COLUMNS, rows, right=("events", "sent", "touch"))
    click.echo(f"database: {database}")
