"""What real sweeps leave: in their folder, in each kind of store, and as command lines that repeat a job."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from bt_framework import store
from bt_framework.cli.main import main
from bt_framework.errors import UnknownSweepError
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.schema import migrate

SHORT = [
    "+strategy=ou_pairs",
    "data.duration_ns=2min",
    "console=plain",
    "tags=[night]",
    "note='it is $short'",
]
VARIED = ["strategy.entry_z=1.5,2", "fees=zero,binance_usdm_vip0"]
DESK = ["store=postgres", "writer=[parquet,clickhouse]"]


def bt(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bt_framework", *words],
        cwd=folder,
        env=os.environ | {"BT_STORE_DIR": str(folder / "store")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory, postgres_server, clickhouse_front) -> Any:
    """The same sweep twice: into a folder's index, and into PostgreSQL and ClickHouse."""
    folder = tmp_path_factory.mktemp("swept")
    clickhouse = clickhouse_front.url("test_sweep_results")
    with ClickHouse(address_of(clickhouse, "")) as db:
        migrate(db)
    postgres = postgres_server.url(postgres_server.new_database())
    done = bt(folder, "-m", *SHORT, *VARIED)
    assert done.returncode == 0, done.stderr
    desk = [*DESK, f"writer.clickhouse.url={clickhouse}", "sweep.dir=desk", "runs_dir=desk_runs"]
    done = bt(folder, "-m", *SHORT, *VARIED, *desk, BT_POSTGRES_URL=postgres)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BT_POSTGRES_URL", postgres)
        yield SimpleNamespace(
            folder=folder,
            own=next((folder / "sweeps").iterdir()),
            desk=next((folder / "desk").iterdir()),
            places={"sqlite": folder / "runs", "postgres": "postgres", "clickhouse": clickhouse},
        )
    with clickhouse_front.client() as client:
        client.command("DROP DATABASE test_sweep_results SYNC")


def test_the_table_is_the_same_bytes_wherever_runs_are_kept(swept):
    assert (swept.own / "table.parquet").read_bytes() == (swept.desk / "table.parquet").read_bytes()
    table = pq.read_table(swept.own / "table.parquet")
    assert table["config.fees"].to_pylist() == ["zero", "binance_usdm_vip0"] * 2
    assert len(set(table["result_hash"].to_pylist())) == 4
    assert set(table["status"].to_pylist()) == {"completed"}


@pytest.mark.parametrize("place", ["sqlite", "postgres", "clickhouse"])
def test_each_store_has_the_table_and_the_runs(swept, place):
    folder = swept.own if place == "sqlite" else swept.desk
    written, runs = (pq.read_table(folder / f"{name}.parquet") for name in ("table", "runs"))
    with store.open(swept.places[place]) as opened:
        (row,) = opened.sweeps().to_pylist()
        assert (row["sweep_id"], row["status"], row["jobs"]) == (folder.name, "completed", 4)
        assert json.loads(row["overrides"])[: len(SHORT)] == SHORT
        assert row["note"] == "it is $short"
        assert row["finished_at_ns"] > row["started_at_ns"]
        sweep = opened.sweep(folder.name[:-2])
        assert sweep.table.drop_columns("run_id").equals(written, check_metadata=True)
        assert sweep.table["run_id"].equals(runs["run_id"])
        assert sweep.runs["run_id"].to_pylist() == runs["run_id"].to_pylist()
        assert sweep.runs["sharpe"].to_pylist() == written["sharpe"].to_pylist()
        assert opened.runs(f"sweep=={folder.name[:-1]} and sharpe>-1e9").num_rows == 4
        assert opened.runs("sweep==2000").num_rows == 0
        with pytest.raises(UnknownSweepError, match="no sweep has the id 'none'"):
            opened.sweep("none")


@pytest.mark.parametrize("metric", ["sharpe", "fees"])
def test_the_line_of_the_best_job_repeats_it(swept, metric, monkeypatch, capsys):
    monkeypatch.chdir(swept.folder)
    monkeypatch.setenv("BT_STORE_DIR", str(swept.folder / "store"))
    assert main(["sweep", "best", swept.own.name[:13], "--metric", metric]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[0] == "bt"
    assert main([*words[1:], "console=json", "runs_dir=again"]) == 0
    table = pq.read_table(swept.own / "table.parquet").to_pylist()
    best = max(table, key=lambda row: row[metric])
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["result_hash"] == best["result_hash"]
    assert outcome["config_hash"] == best["config_hash"]


def test_what_a_sweep_has_found_stays_when_its_runs_go(swept, tmp_path, capsys):
    runs_dir = tmp_path / "runs"
    shutil.copytree(swept.folder / "runs", runs_dir)
    assert main(["runs", "reindex", f"runs_dir={runs_dir}"]) == 0
    with store.open(runs_dir) as opened:
        before = opened.sweep(swept.own.name)
        first, second, *_ = before.table["run_id"].to_pylist()
        assert before.runs.num_rows == 4
        shutil.rmtree(runs_dir / first)
        assert main(["runs", "gc", "--older-than", "0s", "--yes", f"runs_dir={runs_dir}"]) == 0
        assert main(["runs", "rm", second, "--yes", f"runs_dir={runs_dir}"]) == 0
        after = opened.sweep(swept.own.name)
        assert after.table.equals(before.table, check_metadata=True)
        assert after.runs.num_rows == 2
    capsys.readouterr()


def test_runs_that_a_sweep_reuses_are_its_runs_and_the_table_is_the_same(swept):
    done = bt(swept.folder, "-m", *SHORT, *VARIED, "sweep.dir=second")
    assert done.returncode == 0, done.stderr
    (second,) = (swept.folder / "second").iterdir()
    assert (second / "table.parquet").read_bytes() == (swept.own / "table.parquet").read_bytes()
    assert pq.read_table(second / "runs.parquet")["reused"].to_pylist() == [True] * 4
    with store.open(swept.folder / "runs") as opened:
        runs = opened.sweep(second.name).runs["run_id"].to_pylist()
        assert runs == opened.sweep(swept.own.name).runs["run_id"].to_pylist()
        assert opened.runs(f"sweep=={second.name}").num_rows == 0


def test_a_store_that_cannot_be_written_stops_the_sweep_before_its_first_job(swept):
    done = bt(
        swept.folder,
        "-m",
        *SHORT,
        *VARIED,
        "store.path=/proc/none/index.sqlite",
        "sweep.dir=third",
        "runs_dir=none",
    )
    assert done.returncode == 2
    assert "/proc/none" in done.stderr
    assert not (swept.folder / "third").exists()
    assert not list((swept.folder / "none").glob("*"))
