"""The tables of ClickHouse: made once, upgraded without loss, and the same columns as everywhere else."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bt_framework.errors import StorageError
from bt_framework.records import EVENT
from bt_framework.results.rows import METRICS_ROW, ROW_TABLES, RUN_COLUMNS, RowColumn, table_rows
from bt_framework.results.schemas import schema as run_schema
from bt_framework.stores.clickhouse import schema
from bt_framework.stores.clickhouse._statements import statements
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.schema import (
    Migration,
    SchemaStatus,
    migrate,
    migrations,
    require,
    status,
)

IDEMPOTENT = re.compile(
    r"(--[^\n]*\n|\s)*(CREATE (TABLE|VIEW) IF NOT EXISTS|CREATE OR REPLACE VIEW|"
    r"ALTER TABLE \w+ (ADD|DROP|MODIFY|COMMENT) COLUMN IF (NOT )?EXISTS)\b"
)
LATER = Migration(
    9_000, "later", "ALTER TABLE market_data ADD COLUMN IF NOT EXISTS venue String DEFAULT 'x';"
)
NAMES = [migration.name for migration in migrations()]


@pytest.fixture
def db(clickhouse_url: str) -> Iterator[ClickHouse]:
    """A connection to an empty database of a server."""
    with ClickHouse(address_of(clickhouse_url, "")) as connection:
        yield connection


@pytest.fixture(scope="module")
def made(clickhouse_front: Any) -> Iterator[ClickHouse]:
    """A connection to a database with all tables, for tests that leave them as they are."""
    with ClickHouse(address_of(clickhouse_front.url("made"), "")) as connection:
        migrate(connection)
        yield connection
        connection.command("DROP DATABASE made SYNC", in_database=False)


def columns(db: ClickHouse, table: str) -> list[tuple[str, str]]:
    """Names and types of a table's columns in order."""
    rows = db.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {t:String} "
        "ORDER BY position",
        {"t": table},
    )
    return [(row["name"], row["type"]) for row in rows.to_pylist()]


def layout(db: ClickHouse) -> list[dict[str, Any]]:
    """All that the database says of its tables and views, their rows apart."""
    return db.query(
        "SELECT name, replaceAll(create_table_query, currentDatabase(), '') AS made FROM system.tables "
        "WHERE database = currentDatabase() ORDER BY name"
    ).to_pylist()


def row(db: ClickHouse, table: str) -> pa.Table:
    """A row with some value in every column."""
    words = {"status": "complete", "clock": "local", "kind": "split"}
    values: dict[str, Any] = {}
    for name, kind in columns(db, table):
        number = 1.5 if "Float" in kind else 1
        values[name] = words.get(name, "w") if "String" in kind else number
        if kind == "Bool":
            values[name] = True
    return pa.Table.from_pylist([values])


# The files


def test_the_files_are_numbered_without_gaps_up_to_the_version_of_this_program() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, schema.HEAD + 1))


@pytest.mark.parametrize("migration", migrations(), ids=NAMES)
def test_every_statement_may_run_twice(migration: Migration) -> None:
    found = statements(migration.text)
    assert found
    for statement in found:
        assert IDEMPOTENT.match(statement), statement[:200]


def test_every_table_and_column_says_what_it_is(made: ClickHouse) -> None:
    tables = made.query(
        "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    ).to_pylist()
    assert len(tables) >= 14
    assert [t["name"] for t in tables if not t["comment"]] == []
    found = made.query(
        "SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase() AND table IN "
        "(SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')"
    ).to_pylist()
    assert [c for c in found if not c["comment"]] == []
    times = [c for c in found if c["name"].endswith(("_ts", "_ns")) or c["name"] == "ts"]
    assert [c for c in times if not re.search(r"\bns\b", c["comment"])] == []
    prices = [c for c in found if c["name"].endswith("px") and c["type"] == "Float64"]
    assert len(prices) >= 8
    assert [c for c in prices if "quote currency" not in c["comment"]] == []


def test_the_page_names_every_table(made: ClickHouse) -> None:
    page = (Path(__file__).parents[2] / "docs" / "clickhouse.md").read_text(encoding="utf-8")
    section = page.partition("## Tables")[2].partition("\n## ")[0]
    named = {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+_?\w+)`", line)
    }
    assert {t["name"] for t in layout(made) if "ENGINE" in t["made"]} <= named


# The columns


def test_market_data_has_the_fields_of_an_event(made: ClickHouse) -> None:
    types = {"u8": "UInt64", "i8": "Int64", "f8": "Float64"}
    events = [(name, types[EVENT[name].str[1:]]) for name in EVENT.names]
    key = [
        ("feed_id", "LowCardinality(String)"),
        ("symbol", "LowCardinality(String)"),
        ("sequence", "UInt64"),
    ]
    assert columns(made, "market_data") == key + events


@pytest.mark.parametrize("name", ROW_TABLES)
def test_tables_of_rows_have_the_columns_of_a_runs_table(made: ClickHouse, name: str) -> None:
    def word(field: pa.Field) -> str:
        if not pa.types.is_dictionary(field.type):
            return {"int64": "Int64", "double": "Float64", "uint64": "UInt64", "bool": "Bool"}[
                str(field.type)
            ]
        return "LowCardinality(Nullable(String))" if field.nullable else "LowCardinality(String)"

    empty = table_rows(run_schema(ROW_TABLES[name]).empty_table(), "run", 0)
    table = {"backtest_equity": "backtest_timeseries"}.get(name, name)
    assert columns(made, table) == [(field.name, word(field)) for field in empty.schema]


@pytest.mark.parametrize(
    ("table", "wanted"), [("backtest_runs", RUN_COLUMNS), ("backtest_metrics", METRICS_ROW)]
)
def test_tables_of_runs_have_the_columns_of_a_run(
    made: ClickHouse, table: str, wanted: tuple[RowColumn, ...]
) -> None:
    types = {str: "String", int: "Int64", float: "Float64"}
    expected = [(c.name, f"Nullable({types[c.type]})" if c.optional else types[c.type]) for c in wanted]
    found = [(name, re.sub(r"^LowCardinality\((.*)\)$", r"\1", kind)) for name, kind in columns(made, table)]
    assert found == expected


# Migrating


@pytest.mark.parametrize("where", ["server", "chdb"])
def test_tables_are_made_once(request: pytest.FixtureRequest, tmp_path: Path, where: str) -> None:
    url = f"chdb://{tmp_path}/ch" if where == "chdb" else request.getfixturevalue("clickhouse_url")
    with ClickHouse(address_of(url, "")) as db:
        assert status(db) == SchemaStatus(0, schema.HEAD, tuple(NAMES))
        assert migrate(db) == NAMES
        first = layout(db)
        assert migrate(db) == []
        assert status(db) == SchemaStatus(schema.HEAD, schema.HEAD)
        require(db)
        for migration in migrations():
            for statement in statements(migration.text):
                db.command(statement)
        assert layout(db) == first


def test_a_repeated_row_is_stored_once(made: ClickHouse) -> None:
    """Whatever remembers the inserts has forgotten them: each comes with another token."""
    tables = [t["name"] for t in layout(made) if "ReplacingMergeTree" in t["made"]]
    assert len(tables) >= 14
    for table in tables:
        for token in ("a", "b", "a"):
            made.insert(table, row(made, table), token=token)
        assert made.command(f"SELECT count() FROM {table} FINAL") == 1, table
        made.command(f"TRUNCATE TABLE {table}")


def test_a_word_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with ClickHouse(address_of("", tmp_path)) as db:
        migrate(db, migrations()[:1])
        for table, column in (("market_data_feeds", "status"), ("market_touch", "clock")):
            right = row(db, table).to_pylist()[0]
            with pytest.raises(
                StorageError, match=r"code 469: Constraint `(status|clock)_is_known` .*= 'other'"
            ):
                db.insert(table, pa.Table.from_pylist([right | {column: "other"}]))


def test_an_older_schema_is_upgraded_without_loss(db: ClickHouse) -> None:
    first = migrations()[:1]
    assert migrate(db, first) == NAMES[:1]
    kept = {}
    for table in [t["name"] for t in layout(db) if "ReplacingMergeTree" in t["made"]]:
        db.insert(table, row(db, table))
        kept[table] = db.query(f"SELECT * FROM {table}").to_pylist()
    assert len(kept) >= 12
    with pytest.raises(
        StorageError, match=r"must have version \d+, were 1: an older version of bt made them. Upg"
    ) as e:
        require(db)
    assert str(e.value).endswith(f"nothing is lost: bt db migrate url={db.address.url}")
    assert migrate(db, [*migrations(), LATER]) == [*NAMES[1:], "later"]
    for table, rows in kept.items():
        now = db.query(f"SELECT * FROM {table}").to_pylist()
        added = {"venue": "x"} if table == "market_data" else {}
        assert now == [old | added for old in rows]


def test_a_migration_that_was_left_out_is_made_up_for(db: ClickHouse) -> None:
    table = "CREATE TABLE IF NOT EXISTS {} (x Int64) ENGINE = MergeTree ORDER BY x"
    one, two, three = (Migration(i, f"m{i}", table.format(f"t{i}")) for i in (1, 2, 3))
    migrate(db, [one, three])
    assert status(db, [one, two, three]) == SchemaStatus(3, 3, ("m2",))
    assert migrate(db, [one, two, three]) == ["m2"]


def test_an_embedded_older_schema_is_upgraded_when_it_is_used(tmp_path: Path) -> None:
    with ClickHouse(address_of("", tmp_path)) as db:
        migrate(db, migrations()[:1])
        db.insert("market_data", row(db, "market_data"))
    with ClickHouse(address_of("", tmp_path)) as db:
        require(db)
        assert status(db) == SchemaStatus(schema.HEAD, schema.HEAD)
        assert db.command("SELECT count() FROM market_data") == 1


def test_a_server_without_tables_is_told_how_to_get_them(db: ClickHouse) -> None:
    with pytest.raises(StorageError, match=r"has no tables of bt\. Make them: bt db migrate url=http://127"):
        require(db)
    assert layout(db) == []


@pytest.mark.parametrize("where", ["server", "chdb"])
def test_a_newer_schema_is_refused_and_left_alone(
    request: pytest.FixtureRequest, tmp_path: Path, where: str
) -> None:
    url = f"chdb://{tmp_path}/ch" if where == "chdb" else request.getfixturevalue("clickhouse_url")
    with ClickHouse(address_of(url, "")) as db:
        migrate(
            db,
            [
                Migration(
                    9_001, "newest", "CREATE TABLE IF NOT EXISTS t (x Int64) ENGINE = MergeTree ORDER BY x"
                )
            ],
        )
        before = layout(db)
        for work in (migrate, require):
            with pytest.raises(
                StorageError, match=f"must have version {schema.HEAD}, were 9001: a newer version of bt"
            ):
                work(db)
        assert layout(db) == before


def test_a_migration_whose_file_has_changed_is_noticed(db: ClickHouse) -> None:
    old = [Migration(1, "tables", "CREATE TABLE IF NOT EXISTS t (x Int64) ENGINE = MergeTree ORDER BY x")]
    migrate(db, old)
    assert status(db).changed == ("tables",)
    with pytest.raises(StorageError, match="were made by another text of tables than this version of bt has"):
        migrate(db)
    assert migrate(db, old) == []


def test_two_that_migrate_at_once_both_succeed(clickhouse_url: str) -> None:
    def work(_: int) -> list[str]:
        with ClickHouse(address_of(clickhouse_url, "")) as db:
            return migrate(db, migrations()[:2])

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(work, range(2)))
    assert {name for names in done for name in names} == set(NAMES[:2])
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        assert status(db, migrations()[:2]) == SchemaStatus(2, 2)
        assert migrate(db, migrations()[:2]) == []


KILLED = """
import os, signal, sys
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.schema import migrate, migrations

class Doomed(ClickHouse):
    left = int(sys.argv[2])

    def command(self, *args, **options):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().command(*args, **options)

with Doomed(address_of(sys.argv[1], "")) as db:
    migrate(db, migrations()[:1])
"""


@pytest.mark.parametrize("after", [1, 9])
def test_a_migration_that_was_killed_between_two_statements_goes_on(
    clickhouse_url: str, made: ClickHouse, after: int
) -> None:
    first = migrations()[:1]
    done = subprocess.run([sys.executable, "-c", KILLED, clickhouse_url, str(after)], check=False)
    assert done.returncode == -signal.SIGKILL
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        assert status(db, first).pending == ("tables",)
        assert migrate(db, first) == ["tables"]
        assert status(db, first) == SchemaStatus(1, 1)
        tables = layout(db)
        assert len(tables) >= 13
        assert all(table in layout(made) for table in tables)


def test_market_data_may_be_let_go_after_some_days(db: ClickHouse) -> None:
    migrate(db, migrations()[:1])
    event = row(db, "market_data")
    now = np.datetime64("now", "ns").astype(np.int64)

    def ttl() -> int:
        return sum("TTL" in t["made"].partition("SETTINGS")[0] for t in layout(db))

    db.insert("market_data", event)
    db.insert(
        "market_data", event.set_column(event.schema.get_field_index("local_ts"), "local_ts", pa.array([now]))
    )
    assert schema.set_market_data_ttl(db, 30) == ["market_data_ttl_days=30"]
    assert ttl() == 2
    db.command("OPTIMIZE TABLE market_data FINAL")
    assert db.query("SELECT local_ts FROM market_data")["local_ts"].to_pylist() == [now]
    for _ in range(2):
        schema.set_market_data_ttl(db, 0)
        assert ttl() == 0
