"""Run stores with real processes: eight that write at once, a kill, a full disk, a start without SQLAlchemy."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from at_once import PROCESSES, at_once

from bt_framework.errors import StorageError
from bt_framework.results import folder
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import table_rows
from bt_framework.results.run import TABLES, RunSummary, Status
from bt_framework.results.schemas import to_arrow, to_records
from bt_framework.stores.relational.postgres import PostgresStore
from bt_framework.stores.relational.runs import RelationalStore
from bt_framework.stores.relational.sqlite import SqliteStore
from bt_framework.testing.store_contracts import sample_run, sample_tables

RUNS_EACH = 2


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path, monkeypatch) -> tuple[str, Path]:
    """Which store, and the file of the one that has one."""
    if request.param == "postgres":
        monkeypatch.setenv("BT_POSTGRES_URL", request.getfixturevalue("postgres_url"))
    return request.param, tmp_path / "runs" / "index.sqlite"


def opened(place: tuple[str, Path]) -> RelationalStore:
    return PostgresStore() if place[0] == "postgres" else SqliteStore(place[1], row_tables=TABLES)


def _write_runs(place, url: str, worker: int, barrier) -> None:
    os.environ["BT_POSTGRES_URL"] = url
    store = opened(place)
    barrier.wait(60)  # all create the tables at once
    for number in range(RUNS_EACH):
        run = sample_run(place[1].parent, f"run-{worker}-{number}", tags=("night", f"worker-{worker}"))
        store.put(RunRecord.started(run))
        for first in (0, 10):
            parts = {n: r[first : first + 10] for n, r in sample_tables(20, seed=worker).items()}
            rows = {n: table_rows(to_arrow(n, r, run), run.run_id, first) for n, r in parts.items()}
            store.put_rows(run.run_id, rows)
        summary = RunSummary(Status.COMPLETED, 1, "f" * 64, dict.fromkeys(TABLES, 20), {"pnl": float(worker)})
        store.put(RunRecord.started(run).finished(summary))
        store.edit(run.run_id, note=f"by {worker}")


def test_eight_processes_that_write_at_once_lose_no_run_and_no_row(place):
    url = os.environ.get("BT_POSTGRES_URL", "")
    assert at_once(_write_runs, place, url) == [0] * PROCESSES
    store = opened(place)
    found = {record.run_id: record for record in store.list()}
    assert sorted(found) == sorted(f"run-{w}-{n}" for w in range(PROCESSES) for n in range(RUNS_EACH))
    for record in found.values():
        worker = int(record.run_id.split("-")[1])
        known = (record.status, record.note, record.metrics["pnl"], record.tags[1])
        assert known == (Status.COMPLETED, f"by {worker}", worker, f"worker-{worker}")
    with store.database.reading() as connection:
        for name in TABLES:
            query = f"SELECT run_id, count(*), max(sequence) FROM backtest_{name} GROUP BY run_id"
            assert {tuple(row[1:]) for row in connection.exec_driver_sql(query)} == {(20, 19)}, name
            query = f"SELECT count(DISTINCT run_id) FROM backtest_{name}"
            assert connection.exec_driver_sql(query).scalar() == PROCESSES * RUNS_EACH


LONG = [
    "+strategy=market_maker",
    "strategy.requote_ns=20ms",
    "equity_interval_ns=100ms",
    "data.duration_ns=1min",
    "slice_wakes=200",
    "console=plain",
    "writer=[]",
]


def bt(work: Path, events: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `bt` in a folder, with events in another."""
    return subprocess.Popen(
        [sys.executable, "-m", "bt_framework", *arguments],
        cwd=work,
        env=os.environ | {"BT_STORE_DIR": str(events)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> SqliteStore:
    """Store with the whole of the run that is going to be killed; its events are in the folder ``events``."""
    work = tmp_path_factory.mktemp("complete")
    process = bt(work, work / "events", *LONG, f"store.tables=[{','.join(TABLES)}]")
    assert process.wait(120) == 0, process.communicate()
    process.communicate()
    return SqliteStore(work / "runs" / "index.sqlite")


def test_a_killed_run_is_lost_in_the_list_and_its_rows_are_whole_slices(place, tmp_path, complete):
    keys = ["store=postgres"] if place[0] == "postgres" else [f"store.tables=[{','.join(TABLES)}]"]
    events = complete.path.parents[1] / "events"
    killed = bt(tmp_path, events, *LONG, *keys)
    store = opened(place)
    deadline = time.monotonic() + 90
    while not (found := [r.run_id for r in store.list() if store.tables(r.run_id)]):
        with suppress(subprocess.TimeoutExpired):
            killed.wait(0.05)
        assert killed.returncode is None, killed.communicate()
        assert time.monotonic() < deadline
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert store.get(found[0]).status == Status.LOST
    listed = bt(tmp_path, events, "runs", "--json", *keys[: place[0] == "postgres"])
    assert [run["status"] for run in json.loads(listed.communicate(timeout=60)[0])] == ["lost"]
    assert_whole_slices(store, found[0], complete)


def assert_whole_slices(store: RelationalStore, run_id: str, complete: RelationalStore) -> None:
    """Look that the rows are the first of the complete run's, and that each table is as far as the others."""
    (whole_run,) = complete.list()
    names = whole_run.names()
    tables = [name for name in TABLES if name != "trades"]  # a trade is a row when it is closed
    parts = {name: to_records(store.rows(run_id, name), names) for name in tables}
    wholes = {name: to_records(complete.rows(whole_run.run_id, name), names) for name in tables}
    until_ts = max(int(part["local_ts"].max()) for part in parts.values() if len(part))
    for name, part in parts.items():
        whole = wholes[name]
        # SQLite knows no negative zero.
        assert all(
            np.array_equal(part[f], whole[f][: len(part)], equal_nan=True) for f in part.dtype.names
        ), name
        assert len(part) >= np.searchsorted(whole["local_ts"], until_ts), name
    assert 0 < len(parts["equity"]) < len(wholes["equity"])


def test_a_full_disk_is_an_error_that_says_so_and_what_was_kept_stays(tmp_path):
    store = SqliteStore(tmp_path / "index.sqlite", row_tables=("equity",))
    run = sample_run(tmp_path)
    store.put(RunRecord.started(run))
    records = sample_tables(30_000)["equity"]
    parts = [
        table_rows(to_arrow("equity", part, run), run.run_id, at)
        for at, part in ((0, records[:100]), (100, records))
    ]
    store.put_rows(run.run_id, {"equity": parts[0]})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))  # what a full disk looks like to a writer
    try:
        with pytest.raises(
            StorageError, match=rf"the index {store.path} cannot be written .* Free space there"
        ):
            store.put_rows(run.run_id, {"equity": parts[1]})
        assert store.rows(run.run_id, "equity").num_rows == 100
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    store.put_rows(run.run_id, {"equity": parts[1]})
    assert store.rows(run.run_id, "equity").num_rows == 30_100
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


START = """
import sys
from bt_framework.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as done:
    assert not done.code, done.code
print([m for m in ("sqlalchemy", "alembic", "psycopg", "lark", "clickhouse_connect") if m in sys.modules])
"""


def test_a_run_that_makes_its_sqlite_file_and_keeps_rows_there_imports_no_sqlalchemy(tmp_path, complete):
    keys = [*LONG, "slice_wakes=200000", "store.tables=[fills, equity]"]
    done = subprocess.run(
        [sys.executable, "-c", START, *keys],
        cwd=tmp_path,
        env=os.environ | {"BT_STORE_DIR": str(complete.path.parents[1] / "events")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    store = SqliteStore(tmp_path / "runs" / "index.sqlite")
    assert [store.tables(r.run_id) for r in store.list()] == [("fills", "equity")]


def test_keeping_a_run_in_sqlite_takes_less_than_five_milliseconds(tmp_path):
    store = SqliteStore(tmp_path / "index.sqlite")
    run = sample_run(tmp_path, tags=("night", "colo"))
    ended = RunRecord.started(run).finished(RunSummary(Status.COMPLETED, 1, "f" * 64, {}, {"pnl": 1.0}))
    store.put(ended)
    began = time.process_time()
    for _ in range(100):
        store.put(ended)
    assert (time.process_time() - began) / 100 < 0.005


def test_an_index_that_is_removed_during_a_run_has_the_run_afterwards(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs" / "index.sqlite")
    run = sample_run(tmp_path / "runs", "run-1")
    folder.start(run)
    store.before_run(run)
    for path in store.path.parent.glob("index.sqlite*"):
        path.unlink()
    summary = RunSummary(Status.COMPLETED, 1, "f" * 64, dict.fromkeys(TABLES, 0), {"pnl": 1.0})
    folder.finish(run, summary)
    store.after_run(run, summary)
    assert [record.status for record in SqliteStore(store.path).find("run", 9)] == [Status.COMPLETED]
