"""`bt db`: the databases of market data and runs, what is in them, and their tables' version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bt_framework.cli._tables import KEY_DIGITS, megabytes, print_table

if TYPE_CHECKING:
    from bt_framework.stores.clickhouse.report import FeedState, Report
    from bt_framework.stores.clickhouse.settings import Place


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


def _migration() -> type[Place]:
    from bt_framework.stores.clickhouse.settings import Migration

    return Migration


@click.group()
def db() -> None:
    """Look after databases: ClickHouse's, and those of runs and research.

    Which one is a key: url=http://host:8123/bt, url=chdb:///folder.
    """


@db.command(cls=WithKeys, keys=_place)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(overrides: Sequence[str], as_json: bool) -> None:
    """Show what is in a database, and whether its tables are those of this version."""
    from bt_framework.config.plain import from_overrides
    from bt_framework.stores.clickhouse import spool
    from bt_framework.stores.clickhouse.report import report

    config = from_overrides(_place(), overrides)
    address = config.address
    seen = report(address)
    waiting = spool.waiting(config.store_dir, address)
    if as_json:
        spooled = {"spool": [vars(run) for run in waiting]}
        click.echo(json.dumps(_as_json(address.name, seen) | spooled, indent=2))
        return
    print_table(("table", "rows", "MB"), [_size_row(t) for t in seen.tables], right=("rows", "MB"))
    for feed in seen.feeds:
        if not feed.complete:
            click.echo(_half_loaded(feed))
    if waiting:
        rows = sum(run.rows for run in waiting)
        click.echo(
            f"spool: {rows:,} rows of {len(waiting):,} runs wait. Deliver them: bt db flush{address.argument}"
        )
    click.echo(f"feeds: {sum(f.complete for f in seen.feeds):,} complete of {len(seen.feeds):,}")
    click.echo(f"database: {address.name}")


@db.command(cls=WithKeys, keys=_migration)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def migrate(overrides: Sequence[str]) -> None:
    """Make a database's tables, or upgrade those of an older version; nothing is lost, and it may be repeated."""
    from bt_framework.config.plain import from_overrides
    from bt_framework.stores.clickhouse import schema
    from bt_framework.stores.clickhouse.connection import ClickHouse
    from bt_framework.stores.clickhouse.settings import Migration

    config = from_overrides(Migration, overrides)
    with ClickHouse(config.address) as database:
        done = schema.migrate(database)
        if config.market_data_ttl_days is not None:
            schema.set_market_data_ttl(database, config.market_data_ttl_days)
    for name in done:
        click.echo(f"applied {name}")
    click.echo(f"version {schema.HEAD}: {config.address.name}")


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


def _size_row(table: Any) -> tuple[str, str, str]:
    return table.name, f"{table.rows:,}", megabytes(table.bytes)


def _half_loaded(feed: FeedState) -> str:
    return (
        f"half-loaded: {feed.symbol} {feed.feed_id[:KEY_DIGITS]}, {feed.loaded:,} of {feed.events:,} events. Finish "
        "it: bt db load with the same files"
    )


def _as_json(name: str, seen: Report) -> dict[str, Any]:
    return {
        "database": name,
        "server_version": seen.server_version,
        "version": seen.schema.version,
        "head": seen.schema.head,
        "pending": list(seen.schema.pending),
        "tables": [vars(t) for t in seen.tables],
        "feeds": [vars(f) | {"complete": f.complete} for f in seen.feeds],
    }


def _shown(default: Any) -> str:
    return "null" if default is None else str(default)
