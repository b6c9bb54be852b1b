"""`bt_framework.store.open` gives the same answers whichever database holds the runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid

import pytest

import bt_framework
from bt_framework import store
from bt_framework.errors import ConfigError, StorageError, UnknownRunError
from bt_framework.results.run import TABLES
from bt_framework.stores.base import reindex
from bt_framework.stores.clickhouse import schema
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.relational.postgres import PostgresStore
from bt_framework.stores.relational.sqlite import SqliteStore

PLACES = ("folder", "sqlite", "postgres", "clickhouse")
_STRATEGIES = ("ou_pairs", "market_maker")


@pytest.fixture(scope="module")
def places(tmp_path_factory, clickhouse_front, postgres_server):
    """The same two runs in every kind of place, URL by name; in ``folder`` their tables are files, elsewhere rows."""
    base = tmp_path_factory.mktemp("stored")
    database = f"test_{uuid.uuid4().hex[:12]}"
    with clickhouse_front.client() as client:
        client.command(f"CREATE DATABASE {database}")
    clickhouse = clickhouse_front.url(database)
    with ClickHouse(address_of(clickhouse, base)) as db:
        schema.migrate(db)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BT_POSTGRES_URL", postgres_server.url(postgres_server.new_database()))
        for strategy in _STRATEGIES:
            writers = ["writer=[parquet,clickhouse]", f"writer.clickhouse.url={clickhouse}"]
            labels = [f"tags=[night,{strategy}]", f"runs_dir={base}/runs", "console=plain"]
            bt_framework.run([f"+strategy={strategy}", "data.duration_ns=2min", *writers, *labels])
        for target in (SqliteStore(base / "alone.sqlite", row_tables=TABLES), PostgresStore()):
            _, problems = reindex(target, base / "runs")
            assert not problems
        yield {
            "folder": f"{base}/runs",
            "sqlite": f"sqlite:///{base}/alone.sqlite",
            "postgres": "postgres",
            "clickhouse": clickhouse,
        }


def plain(table) -> str:
    """Values of a table, words as words; NaN equals NaN, and as in SQLite a zero has no sign."""
    columns = table.to_pydict()
    return repr(
        {n: [v + 0.0 if isinstance(v, float) else v for v in values] for n, values in columns.items()}
    )


@pytest.mark.parametrize("place", PLACES[1:])
def test_runs_and_their_tables_are_the_same_everywhere(places, place):
    counts = dict.fromkeys(TABLES, 0)
    with store.open(places["folder"]) as folder, store.open(places[place]) as other:
        assert plain(other.runs()) == plain(folder.runs())
        assert other.runs().schema.equals(folder.runs().schema, check_metadata=True)
        for run_id in folder.runs().column("run_id").to_pylist():
            expected, found = folder.get(run_id), other.get(run_id)
            assert repr(found.record) == repr(expected.record)
            for name in TABLES:
                files, rows = expected.table(name), found.reader.rows(run_id, name)
                assert rows.schema.equals(files.schema, check_metadata=True)
                assert plain(rows) == plain(files) == plain(found.table(name))
                counts[name] += rows.num_rows
    assert all(counts[name] for name in ("signals", "orders", "fills", "equity", "trades")), counts


@pytest.mark.parametrize("place", PLACES)
def test_filters_sorts_and_prefixes_mean_the_same_everywhere(places, place):
    with store.open(places[place]) as opened:
        everything = opened.runs(sort="started_at_ns")
        assert everything.column("strategy").to_pylist() == list(_STRATEGIES)
        pairs = opened.runs(where="strategy==ou_pairs and tag==night and orders>0")
        assert pairs.column("strategy").to_pylist() == ["ou_pairs"]
        assert opened.runs(where="tag==market_maker", limit=5).column("strategy").to_pylist() == [
            "market_maker"
        ]
        assert opened.runs(limit=1).column("strategy").to_pylist() == ["market_maker"]
        ids = everything.column("run_id").to_pylist()
        assert opened.compare(ids[::-1]).column("run_id").to_pylist() == ids[::-1]
        assert opened.get(ids[0][:-1]).metrics["pnl"] == everything.column("pnl")[0].as_py()
        with pytest.raises(UnknownRunError, match="no run has the id"):
            opened.get("nothing")
        with pytest.raises(ConfigError, match="sharp"):
            opened.runs(sort="-sharp")


@pytest.mark.parametrize("place", PLACES)
def test_sql_reads_with_bound_values_and_changes_nothing(places, place):
    named = "{wanted:String}" if place == "clickhouse" else ":wanted"
    count = f"SELECT count(*) AS n FROM backtest_runs WHERE strategy = {named}"
    with store.open(places[place]) as opened:
        assert opened.sql(count, {"wanted": "ou_pairs"}).column("n").to_pylist() == [1]
        assert opened.sql(count, {"wanted": "x' OR '1'='1"}).column("n").to_pylist() == [0]
        for statement in (
            "DELETE FROM backtest_metrics",
            "DROP TABLE backtest_metrics",
            "SELECT 1; DROP TABLE backtest_metrics",
            "COMMIT; DROP TABLE backtest_metrics",
        ):
            with pytest.raises(StorageError):
                opened.sql(statement)
        assert opened.sql("SELECT count(*) AS n FROM backtest_metrics").column("n").to_pylist() == [2]


@pytest.mark.parametrize("place", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    "statement",
    ["SELEC 1", "SELECT nosuch FROM backtest_runs", "SELECT * FROM nosuch", "DELETE FROM backtest_runs"],
)
def test_a_wrong_statement_is_not_taken_for_a_wrong_database(places, place, statement):
    with store.open(places[place]) as opened, pytest.raises(StorageError) as caught:
        opened.sql(statement)
    assert "cannot read the statement (" in str(caught.value)


def test_a_folder_of_chdb_answers_as_the_run_folder_does(tmp_path):
    """In a process of its own: there is one folder of chDB per process."""
    script = """
import sys, bt_framework
from bt_framework import store
from bt_framework.results.run import TABLES
base = sys.argv[1]
run = bt_framework.run(["+strategy=ou_pairs", "console=plain", "data.duration_ns=2min", f"runs_dir={base}/runs",
                        "writer=[parquet,clickhouse]", f"store_dir={base}/store"])
with store.open(f"chdb://{base}/store/clickhouse") as opened, store.open(f"{base}/runs") as folder:
    assert repr(opened.runs().to_pydict()) == repr(folder.runs().to_pydict())
    assert opened.get(run.run_id).fills.num_rows > 0
    for name in TABLES:
        rows = opened.get(run.run_id).reader.rows(run.run_id, name)
        assert repr(rows.to_pydict()) == repr(folder.get(run.run_id).table(name).to_pydict()), name
print("same")
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("same\n"), done.stdout + done.stderr


def test_a_folder_without_chdb_is_refused_and_not_made(tmp_path):
    with pytest.raises(StorageError, match="there is no chDB in"):
        store.open(f"chdb://{tmp_path}/mistyped")
    assert not (tmp_path / "mistyped").exists()


def test_a_table_that_is_nowhere_is_named(places, tmp_path):
    shutil.copytree(places["folder"], tmp_path / "runs", ignore=shutil.ignore_patterns("index.*"))
    reindex(SqliteStore(tmp_path / "runs" / "index.sqlite"), tmp_path / "runs")
    with store.open(tmp_path / "runs") as opened:
        run = opened.get(opened.runs(where="strategy==ou_pairs").column("run_id")[0].as_py())
        (run.run_dir / "fills.parquet").unlink()
        with pytest.raises(StorageError, match=r"fills of .*, was neither"):
            run.table("fills")
        assert "fills" not in run.tables()
        assert "orders" in run.tables()
        (run.run_dir / "risk_events.parquet").unlink()
        assert run.table("risk_events").num_rows == 0
        with pytest.raises(ConfigError, match="fill"):
            run.table("fill")


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("mysql://host/db", ConfigError, "of the kind mysql"),
        ("/no/such/folder", StorageError, "bt runs reindex"),
        ("sqlite:////no/such/file.sqlite", StorageError, "there is no /no/such/file.sqlite"),
        ("postgresql://me:hunter2-secret@127.0.0.1:1/db", ConfigError, "must hold no password"),
        ("http://me:hunter2-secret@127.0.0.1:1/db", ConfigError, "must not hold a password"),
        ("http://127.0.0.1:1/db", StorageError, "127.0.0.1:1"),
    ],
)
def test_a_wrong_place_is_refused_in_words_and_without_its_password(url, error, text):
    with pytest.raises(error, match=text) as caught:
        store.open(url)
    assert "hunter2" not in str(caught.value)
