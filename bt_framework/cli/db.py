"""`bt db`: the databases of market data and runs, what is in them, and their tables' version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_framework.cli._databases import StatusConfig
    from bt_framework.stores.clickhouse.settings import Migration, Place


class WithKeys(click.Command):
    """A command whose help lists the keys of the dataclass that `keys` returns."""

    def __init__(self, *args: Any, keys: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._keys = keys

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the keys after the options."""
        from bt_framework.config.schema import field_infos

        with formatter.section("Keys"):
            formatter.write_dl([(f"{i.name}={_shown(i.default)}", i.doc) for i in field_infos(self._keys())])


def _place() -> type[Place]:
    from bt_framework.stores.clickhouse.settings import Place

    return Place


def _status() -> type[StatusConfig]:
    from bt_framework.cli._databases import StatusConfig

    return StatusConfig


def _migration() -> type[Migration]:
    from bt_framework.stores.clickhouse.settings import Migration

    return Migration


def _load() -> type[Place]:
    from bt_framework.cli._db_load import Load

    return Load


@click.group()
def db() -> None:
    """Look after databases: ClickHouse's, and those of runs and research.

    Which one is a key: url=http://host:8123/bt, url=chdb:///folder, for status and migrate also url=sqlite:///FILE and
    url=postgresql://host/database.
    """


@db.command(cls=WithKeys, keys=_status)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def status(overrides: Sequence[str], as_json: bool) -> int:
    """Show what is in the databases, and whether their tables are those of this version.

    url=... shows one. The exit code is 2 if one cannot be read.
    """
    from bt_framework.cli._databases import databases, print_contents
    from bt_framework.config.plain import from_overrides

    failed = False
    seen = []
    for contents in databases(from_overrides(_status(), overrides)):
        seen.append(contents.as_json())
        failed = failed or bool(contents.error)
        if not as_json:
            print_contents(contents)
    if as_json:
        click.echo(json.dumps(seen, indent=2))
    return 2 if failed else 0


@db.command(cls=WithKeys, keys=_migration)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def migrate(overrides: Sequence[str]) -> None:
    """Make a database's tables, or upgrade those of an older version; nothing is lost, and it may be repeated.

    Relational ones too: url=sqlite:////folder/index.sqlite, url=postgresql://host/database.
    """
    from bt_framework.cli._databases import is_relational
    from bt_framework.config.plain import from_overrides

    config = from_overrides(_migration(), overrides)
    name, done = (_upgraded if is_relational(config.url) else _migrated)(config)
    for migration in done:
        click.echo(f"applied {migration}")
    click.echo(f"{'up to date' if done else 'nothing to do'}: {name}")


@db.command(cls=WithKeys, keys=_place)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def flush(overrides: Sequence[str], as_json: bool) -> None:
    """Deliver the rows of runs that a database could not take when they were made, each exactly once."""
    from bt_framework.config.plain import from_overrides
    from bt_framework.stores.clickhouse import spool

    config = from_overrides(_place(), overrides)
    done = spool.flush(config.store_dir, config.address)
    others = spool.elsewhere(config.store_dir, config.address)
    if as_json:
        click.echo(
            json.dumps({"database": config.address.name, **vars(done), "waiting_elsewhere": others}, indent=2)
        )
        return
    for run_id in done.busy:
        click.echo(f"left alone: {run_id} is still being written")
    for url in others:
        click.echo(f"rows wait for another database: bt db flush url={url}")
    runs = f"{len(done.runs):,} runs" if len(done.runs) != 1 else f"run {done.runs[0]}"
    what = (
        f"delivered {done.files:,} files with {done.rows:,} rows of {runs}" if done.files else "nothing waits"
    )
    click.echo(f"{what}: {config.address.name}")


@db.command(cls=WithKeys, keys=_load)
@click.argument("arguments", nargs=-1, metavar="[FOLDER|FILE]... [KEY=VALUE]...")
def load(arguments: Sequence[str]) -> int:
    """Load market data: files and folders as bt ingest takes them, or what is in the store.

    Events pass through the event store, where they are checked. What the database has is not sent again, so a stopped
    load goes on where it was: repeat the command.
    """
    from bt_framework.cli._db_load import load

    return load(arguments)


def _migrated(config: Migration) -> tuple[str, list[str]]:
    """Name of ClickHouse's database, and what it lacked."""
    from bt_framework.stores.clickhouse import schema
    from bt_framework.stores.clickhouse.connection import ClickHouse

    with ClickHouse(config.address) as database:
        done = schema.migrate(database)
        if config.market_data_ttl_days is not None:
            done += schema.set_market_data_ttl(database, config.market_data_ttl_days)
    return config.address.name, done


def _upgraded(config: Migration) -> tuple[str, list[str]]:
    """Name of the relational database, and what it lacked."""
    from bt_framework.cli._databases import relational
    from bt_framework.stores.relational.schema import upgrade

    if config.market_data_ttl_days is not None:
        raise ConfigError("market_data_ttl_days must be left out: only ClickHouse has market_data.")
    database = relational(config.url)
    return database.name, upgrade(database)


def _shown(default: Any) -> str:
    return "null" if default is None else str(default)
