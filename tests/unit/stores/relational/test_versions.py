"""Versions of the relational schema: fresh and upgraded ones are equal, nothing is lost, newer ones are refused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest
from at_once import PROCESSES, at_once

from bt_framework.errors import StorageError
from bt_framework.results.run import Status
from bt_framework.stores.relational import HEAD, REVISIONS
from bt_framework.stores.relational.address import sqlite_url
from bt_framework.stores.relational.database import Database
from bt_framework.stores.relational.schema import status, upgrade
from bt_framework.stores.relational.sqlite import SqliteStore
from bt_framework.stores.research import ResearchStore
from bt_framework.stores.sweeps import SweepRow
from bt_framework.testing.store_contracts import sample_records

HERE = Path(__file__).parent


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    """Address of an empty database."""
    return (
        request.getfixturevalue("postgres_url")
        if request.param == "postgresql"
        else sqlite_url(tmp_path / "a b%20c" / "x.sqlite")
    )


def old_research(url: str) -> Database:
    """Make the research store as it was, with a pair, a screening and what was found."""
    database = Database(url)
    if database.is_sqlite:
        Path(database.name).parent.mkdir(parents=True)
    script = (HERE / f"old_research_{'sqlite' if database.is_sqlite else 'postgresql'}.sql").read_text()
    with database.connected(writes=True) as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        for statement in (
            "INSERT INTO symbols VALUES ('etf', 'A', '2024-01-02 03:04:05.000006'), ('etf', 'B', '2024-01-02')",
            "INSERT INTO corporate_actions VALUES ('etf', 'A', '2020-01-02', 'split', 0.1)",
            "INSERT INTO pair_universe VALUES ('etf', 'A_B', 'A', 'B', '2024-01-02 03:04:05.000006')",
            "INSERT INTO screens VALUES ('s1', 'etf', '2024-01-02 03:04:05', '{\"lags\": 1}', '{}')",
            "INSERT INTO cointegration_results (screen_id, source, pair_id, window_start, window_end, as_of,"
            " interval_ns, observations, status, p_value, found_bh, found_storey) VALUES"
            " ('s1', 'etf', 'A_B', '2023-01-01', '2023-06-01', '2023-06-02', 1, 9, 'ok', 0.1, TRUE, FALSE)",
        ):
            connection.exec_driver_sql(statement)
    return database


def differences(database: Database) -> list:
    """What Alembic would change to make the database what the tables say."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from bt_framework.stores.relational.tables import METADATA

    with database.connected() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)


def shape(database: Database) -> dict:
    """Columns, keys, indexes and checks of each table, as the database tells them."""
    from sqlalchemy import inspect

    with database.connected() as connection:
        seen = inspect(connection)
        return {
            table: {
                "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(table)],
                "key": seen.get_pk_constraint(table),
                "foreign": sorted(map(str, seen.get_foreign_keys(table))),
                "indexes": sorted(map(str, seen.get_indexes(table))),
                "checks": sorted((c["name"], c["sqltext"]) for c in seen.get_check_constraints(table)),
            }
            for table in seen.get_table_names()
        }


def test_the_head_is_the_newest_of_the_scripts():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(files("bt_sql").joinpath("relational")))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [HEAD]
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(REVISIONS)


def test_a_fresh_database_and_an_upgraded_one_are_what_the_tables_say(url, tmp_path, request):
    upgraded = old_research(url)
    assert status(upgraded).revision == "0001"
    assert upgrade(upgraded) == ["0002", "0003"]
    fresh = Database(request.getfixturevalue("another_url"))
    assert status(fresh).revision == ""
    assert upgrade(fresh) == list(REVISIONS)
    for database in (upgraded, fresh):
        assert upgrade(database) == []
        assert status(database).is_current
        assert differences(database) == []
    assert shape(upgraded) == shape(fresh)


@pytest.fixture
def another_url(url, tmp_path, request) -> str:
    """Address of a second empty database of the same kind."""
    if url.startswith("sqlite"):
        return sqlite_url(tmp_path / "y.sqlite")
    server = request.getfixturevalue("postgres_server")
    return server.url(server.new_database())


def test_a_difference_between_tables_and_scripts_would_be_seen(tmp_path):
    database = Database(sqlite_url(tmp_path / "x.sqlite"))
    upgrade(database)
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE backtest_runs ADD COLUMN odd TEXT")
    assert [kind for kind, *_ in differences(database)] == ["remove_column"]


def test_research_of_an_older_version_is_upgraded_without_loss(url):
    database = old_research(url)
    if not database.is_sqlite:
        store = ResearchStore(url)
        for use in (store.symbols, lambda: store.register_symbols(["C"], "etf")):
            with pytest.raises(
                StorageError, match=r"must have schema version 0003, was 0001. .*bt db migrate"
            ):
                use()
        upgrade(database)
    store = ResearchStore(url)
    assert store.symbols("etf") == ["A", "B"]
    assert store.universe() == [("A_B", "A", "B")]
    assert store.actions(source="etf").to_pylist()[0]["value"] == 0.1
    assert store.screens()[0].finished_at == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    (found,) = store.results("s1")
    assert (found["p_value"], found["found_bh"], found["found_storey"]) == (0.1, True, False)


def old_index(path: Path, records: list) -> None:
    """Make an index of runs as it was."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((HERE / "old_index.sql").read_text())
        for record in records:
            row = {
                "run_id": record.run_id,
                "strategy": record.strategy,
                "symbols": json.dumps(record.symbols),
                "status": str(record.status),
                "error": record.error,
                "started_at_ns": record.started_at_ns,
                "finished_at_ns": record.finished_at_ns,
                "config_hash": "c",
                "data_hash": "d",
                "code_hash": "e",
                "result_hash": record.result_hash,
                "seed": 7,
                "run_dir": str(record.run_dir),
                "events": record.events,
                "capital": record.capital,
                "kernel_s": record.kernel_s if record.finished_at_ns else None,
                "pnl": None
                if record.metrics.get("pnl") != record.metrics.get("pnl")
                else record.metrics.get("pnl"),
                "record": record.to_json().decode(),
            }
            names = ", ".join(row)
            marks = ", ".join(f":{name}" for name in row)
            connection.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", row)
        connection.commit()


@pytest.mark.parametrize("first_use", ["read", "write"])
def test_an_index_of_an_older_version_is_upgraded_without_loss(tmp_path, first_use):
    records = sample_records(30, tmp_path)
    old_index(tmp_path / "index.sqlite", records[:-1])
    store = SqliteStore(tmp_path / "index.sqlite")
    assert status(store.database).revision == "0000"
    if first_use == "write":
        store.put(records[-1])
    else:
        assert len(store.list()) == 29
        store.put(records[-1])
    assert differences(store.database) == []
    found = {r.run_id: r for r in store.list()}
    assert {r.run_id: r.as_of_now().to_json() for r in records} == {i: r.to_json() for i, r in found.items()}
    fresh = SqliteStore(tmp_path / "fresh.sqlite")
    for record in records:
        fresh.put(record)
    for table in ("backtest_runs", "backtest_metrics", "backtest_run_tags"):
        moved, made = rows_of(store.path, table), rows_of(fresh.path, table)
        assert moved == made
        assert made
    assert shape(store.database) == shape(fresh.database)
    with closing(sqlite3.connect(store.path)) as connection:
        assert "runs" not in {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def rows_of(path: Path, table: str) -> list[dict]:
    """Rows of a table but for what depends on the time of writing, and on spaces in JSON."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]
    for row in rows:
        row.pop("updated_at_ns", None)
        row |= {name: json.loads(row[name]) for name in ("symbols", "tags", "feeds") if name in row}
        row |= {name: "" for name in ("config_hash", "data_hash", "code_hash") if name in row}
    return rows


def test_a_run_whose_record_cannot_be_read_keeps_what_its_columns_say(tmp_path):
    (record,) = sample_records(1, tmp_path)
    old_index(tmp_path / "index.sqlite", [record])
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as connection:
        connection.execute("UPDATE runs SET record = 'half of a rec'")
        connection.commit()
    database = SqliteStore(tmp_path / "index.sqlite").database
    upgrade(database)
    (row,) = rows_of(tmp_path / "index.sqlite", "backtest_runs")
    assert (row["run_id"], row["strategy"], row["record"]) == (
        record.run_id,
        record.strategy,
        "half of a rec",
    )


def test_an_upgrade_that_fails_leaves_everything_as_it_was(tmp_path):
    records = sample_records(3, tmp_path)
    path = tmp_path / "index.sqlite"
    old_index(path, records)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE backtest_trades (mine TEXT)")
        connection.commit()
    before = rows_of_runs(path)
    for _ in range(2):
        with pytest.raises(StorageError, match="holds tables of the same name that something else has made"):
            SqliteStore(path).list()
    assert rows_of_runs(path) == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE backtest_trades")
    assert len(SqliteStore(path).list()) == 3


def rows_of_runs(path: Path) -> list[tuple]:
    """Everything in the old table, and the names of all tables."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
        return [*connection.execute("SELECT * FROM runs ORDER BY run_id").fetchall(), *tables]


def test_a_newer_version_is_refused_by_everything(url):
    database = Database(url)
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    message = r"must have schema version 0003, was 9999: a newer version of this program made it"
    for use in (status, upgrade, lambda d: enter(d.reading()), lambda d: enter(d.writing())):
        with pytest.raises(StorageError, match=message):
            use(Database(url))


def enter(context) -> None:
    with context:
        pass


def test_tables_of_somebody_else_are_left_alone(url):
    database = Database(url)
    if database.is_sqlite:
        Path(database.name).parent.mkdir(parents=True)
    with database.connected(writes=True) as connection:
        connection.exec_driver_sql("CREATE TABLE symbols (mine TEXT)")
    with pytest.raises(StorageError, match="holds tables of the same name that something else has made"):
        enter(database.writing())
    with database.connected() as connection:
        assert connection.exec_driver_sql("SELECT count(mine) FROM symbols").scalar() == 0
    assert status(database).revision == ""


def _first_use(url: str, must_upgrade: bool, number: int, barrier) -> None:
    store = ResearchStore(url)
    barrier.wait(60)
    if must_upgrade or number % 2:
        upgrade(store.database)
    store.register_symbols([f"S{number}"], "etf")


@pytest.mark.parametrize("begins", ["empty", "older"])
def test_eight_processes_that_come_first_at_once_make_one_schema(url, begins):
    is_old = begins == "older"
    database = old_research(url) if is_old else Database(url)
    assert at_once(_first_use, url, is_old and not database.is_sqlite) == [0] * PROCESSES
    assert status(database).is_current
    assert len(ResearchStore(url).symbols("etf")) == PROCESSES + 2 * is_old


def test_a_file_that_is_kept_open_keeps_its_log_and_leaves_the_errors_of_others_alone(tmp_path: Path) -> None:
    store, log = SqliteStore(tmp_path / "index.sqlite"), tmp_path / "index.sqlite-wal"
    sweep = SweepRow("s", 1, 0, Status.RUNNING, (), 1)
    store.put_sweep(sweep)
    assert not log.exists()
    with store.kept_open():
        store.put_sweep(sweep)
        assert log.exists()
    assert not log.exists()
    with pytest.raises(BrokenPipeError), store.kept_open():
        raise BrokenPipeError(32, "Broken pipe")
    assert not log.exists()
