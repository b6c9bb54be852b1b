import dataclasses
import math
import os
import re
import sqlite3
import tempfile
import threading
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

from bt_framework.errors import ConfigError, StorageError, UnknownRunError
from bt_framework.results.folder import RunFolder, finish, start
from bt_framework.results.process import ProcessIdentity, this_process
from bt_framework.results.record import RunRecord
from bt_framework.results.run import SliceBatch, Status
from bt_framework.stores.base import reindex
from bt_framework.stores.relational import HEAD
from bt_framework.stores.relational.statements import compiled, statement, statements
from bt_plugins.stores.sqlite import Sqlite, SqliteStore, build
from bt_plugins.writers.parquet import Parquet, ParquetWriter

MS = 1_000_000
GONE = ProcessIdentity(this_process().host, this_process().pid, "0:1")


@pytest.fixture
def store(tmp_path):
    return SqliteStore(tmp_path / "runs" / "index.sqlite")


@pytest.fixture
def record(make_run):
    return RunRecord.started(make_run())


def numbered(record, number, **changes):
    return dataclasses.replace(record, run_id=f"run-{number:03d}", started_at_ns=number, **changes)


def ids(records):
    return [record.run_id for record in records]


def test_a_run_is_found_by_its_id_while_it_runs_and_after_it_ended(store, tmp_path, make_run, make_summary):
    run, summary = make_run(tmp_path), make_summary()
    start(run)
    store.before_run(run)
    assert store.get(run.run_id).status == Status.RUNNING
    finish(run, summary)
    store.after_run(run, summary)
    found = store.get(run.run_id)
    assert (found.status, found.result_hash, found.counts) == (
        Status.COMPLETED,
        summary.result_hash,
        summary.counts,
    )
    assert math.isnan(found.metrics["sharpe"])
    assert found.metrics["pnl"] == summary.metrics["pnl"]
    assert found.run_dir == run.run_dir


def test_a_failed_run_is_kept_with_its_error(store, tmp_path, make_run, make_summary):
    run, summary = make_run(tmp_path), make_summary(status=Status.FAILED, error="code 14")
    start(run)
    store.before_run(run)
    finish(run, summary)
    store.on_run_error(run, summary, RuntimeError("code 14"))
    assert (store.get(run.run_id).status, store.get(run.run_id).error) == (Status.FAILED, "code 14")


def test_columns_hold_what_one_filters_by(store, record, make_summary):
    store.put(record.finished(make_summary()))
    with closing(sqlite3.connect(store.path)) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(
            connection.execute("SELECT * FROM backtest_runs JOIN backtest_metrics USING (run_id)").fetchone()
        )
    assert (row["strategy"], row["symbols"], row["status"]) == (
        "ou_pairs",
        '["BTCUSDT","ETHUSDT"]',
        "completed",
    )
    assert (row["pnl"], row["sharpe"], row["trades"], row["count_orders"]) == (-123.456, None, 72, 191)
    assert (row["data_hash"], row["seed"], row["events"], row["kernel_s"]) == ("d" * 64, 7, 944_088, 0.05)


def test_runs_are_listed_newest_first_and_filtered(store, record, make_summary):
    summary = make_summary()
    for number in range(6):
        strategy = "ou_pairs" if number % 2 else "market_maker"
        run = numbered(record, number, strategy=strategy)
        store.put(run.finished(summary) if number < 4 else run)
    assert ids(store.list()) == [f"run-{n:03d}" for n in (5, 4, 3, 2, 1, 0)]
    assert ids(store.list(limit=2)) == ["run-005", "run-004"]
    assert ids(store.list(strategy="ou_pairs")) == ["run-005", "run-003", "run-001"]
    assert ids(store.list(status=Status.RUNNING)) == ["run-005", "run-004"]
    assert ids(store.list(limit=1, strategy="ou_pairs", status=Status.COMPLETED)) == ["run-003"]


def test_a_run_whose_process_is_gone_is_listed_as_lost(store, record):
    for number in range(4):
        store.put(numbered(record, number, process=GONE if number % 2 else record.process))
    assert [str(r.status) for r in store.list()] == ["lost", "running", "lost", "running"]
    assert ids(store.list(limit=1, status=Status.LOST)) == ["run-003"]
    assert ids(store.list(limit=1, status=Status.RUNNING)) == ["run-002"]
    assert store.get("run-001").status == Status.LOST


def test_a_run_killed_between_its_last_two_writes_has_the_status_of_its_folder(
    store, tmp_path, make_run, make_summary
):
    run = make_run(tmp_path)
    started = dataclasses.replace(start(run), process=GONE)
    store.put(started)
    (run.run_dir / "run.json").write_bytes(started.finished(make_summary()).to_json())
    assert store.get(run.run_id).status == Status.COMPLETED
    assert store.list(status=Status.LOST) == []


def test_a_prefix_names_a_run_if_it_is_the_only_one(store, record):
    for run_id in ("20240809-a", "20240809-ab", "20240810-c"):
        store.put(dataclasses.replace(record, run_id=run_id))
    assert store.get("20240810").run_id == "20240810-c"
    assert store.get("20240809-a").run_id == "20240809-a"
    with pytest.raises(UnknownRunError, match=r"'20240809' must name one run, but begins several: .*-ab\."):
        store.get("20240809")
    for unknown in ("2025", "", "%", "20240809-_"):
        with pytest.raises(UnknownRunError, match="no run has the id"):
            store.get(unknown)


def test_a_removed_run_is_forgotten(store, record):
    store.remove("nothing there yet")
    store.put(record)
    store.remove(record.run_id)
    assert store.list() == []


def test_reading_creates_nothing(store):
    assert store.list() == []
    with pytest.raises(UnknownRunError):
        store.get("x")
    assert not store.path.parent.exists()


def test_a_deleted_index_is_rebuilt_from_the_run_folders(store, tmp_path, make_run, make_summary):
    for number in range(3):
        run = make_run(tmp_path / "runs", run_id=f"run-{number}", started_at_ns=number + 1)
        start(run)
        finish(run, make_summary())
        store.put(RunRecord.started(run))
    (tmp_path / "runs" / "run-1" / "run.json").write_text("half of a rec")
    for file in store.path.parent.glob("index.sqlite*"):
        file.unlink()
    records, problems = reindex(store, tmp_path / "runs")
    assert ids(records) == ["run-0", "run-2"]
    assert len(problems) == 1
    assert "run-1" in problems[0]
    assert [(r.run_id, str(r.status)) for r in store.list()] == [
        ("run-2", "completed"),
        ("run-0", "completed"),
    ]


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "killed"])
def test_rows_that_the_store_keeps_are_rebuilt_from_the_run_folders(
    tmp_path, make_run, make_tables, cut, ended
):
    run = make_run(tmp_path / "runs")
    start(run)
    writer = ParquetWriter(Parquet(flush_rows=7))
    writer.before_run(run)
    for part in cut(make_tables(3), [0.2, 0.7]):
        writer.on_slice(run, SliceBatch(part, 1, 1, 0.1, {}))
    if ended:
        writer.after_run(run, None)
    store = SqliteStore(tmp_path / "index.sqlite", row_tables=("fills", "equity"))
    for _ in range(2):  # again changes nothing
        assert [len(found) for found in reindex(store, tmp_path / "runs")] == [1, 0]
    assert store.tables(run.run_id) == ("fills", "equity")
    for name in store.row_tables:
        expected = RunFolder(run.run_dir).table(name)
        assert expected.num_rows > 7
        assert store.rows(run.run_id, name).to_pylist() == expected.to_pylist()


def test_a_table_that_cannot_be_read_is_a_problem_and_the_run_is_known(tmp_path, make_run):
    run = make_run(tmp_path / "runs")
    start(run)
    (run.run_dir / "fills.parquet").write_bytes(b"no parquet")
    store = SqliteStore(tmp_path / "index.sqlite", row_tables=("fills",))
    records, (problem,) = reindex(store, tmp_path / "runs")
    assert ids(records) == ids(store.list()) == [run.run_id]
    assert "fills.parquet cannot be read" in problem


def test_a_process_that_creates_the_index_waits_for_another_that_does(store, record):
    store.path.parent.mkdir()
    with closing(sqlite3.connect(store.path, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.05, other.rollback)
        release.start()
        store.put(record)
        release.join()
    assert ids(store.list()) == [record.run_id]


def test_a_locked_index_is_an_error_that_names_the_file(store, record):
    store.put(record)
    with closing(sqlite3.connect(store.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=rf"the index {store.path} is locked by another process"):
            SqliteStore(store.path, busy_timeout_ns=20 * MS).put(record)
        assert ids(SqliteStore(store.path, busy_timeout_ns=20 * MS).list()) == [record.run_id]


@pytest.mark.parametrize("content", [b"this is no database at all, whatever its name says" * 40])
def test_a_damaged_index_is_an_error_that_says_how_to_rebuild_it(store, record, content):
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    for use in (store.list, lambda: store.put(record)):
        with pytest.raises(
            StorageError, match=rf"the index {store.path} is damaged .* rebuild it with: bt runs"
        ):
            use()


def test_an_index_that_cannot_be_opened_is_an_error_that_names_the_file(tmp_path, record):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "index.sqlite", tmp_path / "folder"):
        with pytest.raises(StorageError, match=rf"the index {path} cannot be opened"):
            SqliteStore(path).put(record)


@contextmanager
def as_nobody():
    """Give up root's right to write everywhere, if we have it."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_index_that_is_read_only_is_an_error_that_names_the_file(record):
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "index.sqlite")
        store.put(record)
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        os.chmod(store.path, 0o444)
        os.chmod(folder, 0o555)
        message = rf"the index {store.path} cannot be opened for writing \(.*readonly.*\)\. Check the perm"
        with as_nobody(), pytest.raises(StorageError, match=message):
            store.put(record)
        with as_nobody():
            assert ids(store.list()) == [record.run_id]
        os.chmod(folder, 0o755)


def test_an_index_of_a_newer_version_is_left_alone(store, record):
    store.put(record)
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    message = rf"the index {store.path} must have schema version {HEAD}, was 9999: a newer version .* store\.path=FILE"
    for use in (store.list, lambda: store.put(record)):
        with pytest.raises(StorageError, match=message):
            use()


def test_the_plugin_builds_the_store_of_its_configuration(tmp_path):
    store = build(Sqlite(path=str(tmp_path / "x.sqlite"), busy_timeout_ns="1s"))
    assert store.path == tmp_path / "x.sqlite"
    with pytest.raises(ConfigError, match="busy_timeout_ns must be >= 0, was -1"):
        Sqlite(busy_timeout_ns=-1)


SQL_FILES = sorted(p.name.removesuffix(".sql") for p in (files("bt_sql") / "relational/sqlite").iterdir())


def test_the_sql_for_sqlite_is_what_sqlalchemy_compiles_from_the_tables():
    assert sorted(compiled()) == SQL_FILES
    for name, text in compiled().items():
        assert statement(name) == text, f"{name}.sql is out of date: python docs/update.py"


@pytest.mark.parametrize("name", SQL_FILES)
def test_every_sql_file_says_what_it_is_and_can_be_executed(name):
    text = statement(name)
    header = [line.removeprefix("-- ").partition(":")[0] for line in text.splitlines()[:3]]
    assert header == ["purpose", "grain", "parameters"]
    body = re.sub(r"--.*", "", text)
    with closing(sqlite3.connect(":memory:")) as connection:
        for part in statements("create"):
            connection.execute(part)
        if name != "create":
            named = dict.fromkeys(re.findall(r":(\w+)", body))
            values = named or [None] * body.count("?")
            connection.execute(f"EXPLAIN {text}", values).fetchall()
