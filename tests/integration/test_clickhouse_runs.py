"""`bt` with writer=clickhouse as processes: killed, without its database, with chDB that another process has."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from clickhouse_front import ClickhouseFront

from bt_framework.results.folder import RunFolder
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.schema import migrate

LOGS = {"signals": "signals", "orders": "orders", "fills": "fills", "equity": "timeseries"}
SHORT = ["+strategy=ou_pairs", "data.duration_ns=1min", "writer=[parquet,clickhouse]", "console=plain"]
LONG = [
    "+strategy=market_maker",
    "strategy.requote_ns=10ms",
    "equity_interval_ns=10ms",
    "data.duration_ns=10min",
    "slice_wakes=500",
    "console=plain",
]
STORED = ["writer=[parquet,clickhouse]", "writer.clickhouse.flush_interval_ns=50ms"]


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts `bt` in a folder of the test."""

    def go(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "bt_framework", *arguments],
            cwd=tmp_path,
            env=os.environ | {"BT_STORE_DIR": str(tmp_path / "store")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return go


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def only_run(folder: Path) -> RunFolder:
    (run,) = (folder / "runs").glob("*/")
    return RunFolder(run)


def test_a_run_that_is_killed_leaves_whole_slices_and_says_running(
    clickhouse_url: str, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with ClickHouse(address_of(clickhouse_url, ".")) as db:
        migrate(db)
        process = start(*LONG, *STORED, f"writer.clickhouse.url={clickhouse_url}")
        deadline = time.monotonic() + 60
        while db.command("SELECT count() FROM backtest_progress") < 4:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
        process.kill()
        process.communicate()
        assert db.query("SELECT status FROM backtest_runs FINAL")["status"].to_pylist() == ["running"]
        (mark,) = db.query("SELECT * FROM backtest_progress FINAL ORDER BY batch DESC LIMIT 1").to_pylist()
        assert mark["equity"] > 0
        # The run to its end, which knows what a slice has.
        code, _, err = ended(start(*LONG))
        assert code == 0, err
        whole = max((tmp_path / "runs").glob("*/"))
        for name, table in LOGS.items():
            expected = pq.read_table(whole / f"{name}.parquet")
            expected = expected.slice(0, mark[name])
            found = db.query(f"SELECT * FROM whole_{table} ORDER BY sequence")
            assert found["sequence"].to_pylist() == list(range(mark[name]))
            assert found["local_ts"].to_pylist() == expected["local_ts"].to_pylist()
        times = pq.read_table(whole / "equity.parquet")["local_ts"].to_numpy()
        assert (times <= mark["local_ts"]).sum() == mark["equity"]


def test_a_run_whose_database_is_gone_goes_on_and_is_delivered_later(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with ClickhouseFront(tmp_path / "front") as front:
        url = front.url("later")
        front.stop()
        code, _, err = ended(start(*SHORT, f"writer.clickhouse.url={url}"))
        assert code == 0
        warnings = [line for line in err.splitlines() if line.startswith("bt: warning: ")]
        assert len(warnings) == 1
        assert "the connection was refused" in warnings[0]
        assert f"bt db flush url={url}" in warnings[0]
        code, _, err = ended(start("db", "flush", f"url={url}"))
        assert code == 2
        assert "\n0 files were delivered, the others stay in" in err  # no part of the advice before it
        front.start()
        assert ended(start("db", "migrate", f"url={url}"))[0] == 0
        code, out, err = ended(start("db", "flush", f"url={url}"))
        assert code == 0, err
        run = only_run(tmp_path)
        assert f"rows of run {run.path.name}: {url}" in out
        with ClickHouse(address_of(url, ".")) as db:
            for name, table in LOGS.items():
                assert db.command(f"SELECT count() FROM backtest_{table}") == run.table(name).num_rows
            (row,) = db.query("SELECT status, result_hash FROM backtest_runs FINAL").to_pylist()
            assert (row["status"], row["result_hash"]) == ("completed", run.record().result_hash)
        code, out, _ = ended(start("db", "flush", f"url={url}"))
        assert (code, out) == (0, f"nothing waits: {url}\n")


HOLDS = """
import sys
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
with ClickHouse(address_of("", sys.argv[1])) as db:
    print("open", flush=True)
    sys.stdin.readline()
"""


def test_chdb_that_another_process_has_is_said_and_gets_its_rows_later(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    command = [sys.executable, "-c", HOLDS, store]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    code, _, err = ended(start(*SHORT))
    assert code == 0, err
    assert f"bt: warning: chDB in {store}/clickhouse" in err
    assert str(holder.pid) in err
    holder.communicate("\n")
    code, out, err = ended(start("db", "flush"))
    assert code == 0, err
    assert f"rows of run {only_run(tmp_path).path.name}: {store}/clickhouse" in out
    assert not list((tmp_path / "store/spool").glob("*/*/"))
