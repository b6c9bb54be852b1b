"""Sweepers from the outside: what they run, that they go on after kill -9, and what they refuse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bt_framework.config.compose import compose
from bt_framework.results.folder import RunFolder
from bt_framework.results.identity import config_hash
from bt_framework.sweep.folder import SweepFolder, sweep_folders
from bt_framework.sweep.journal import read_states
from bt_framework.sweep.study import load_study

SHORT = ["+strategy=market_maker", "data.duration_ns=2s", "console=plain"]
LONGER = ["+strategy=market_maker", "data.duration_ns=20s", "console=plain"]
SPREADS = "strategy.half_spread_bps=interval(0,5)"
_DEADLINE_S = 90


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event store that the tests of this file share."""
    return tmp_path_factory.mktemp("store")


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, store: Path) -> Start:
    """Start `bt` in a process of its own, in the test's folder."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bt_framework", *arguments]
        env = os.environ | {"BT_STORE_DIR": str(store)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    return start


@pytest.fixture
def bt(start: Start) -> Callable[..., tuple[int, str]]:
    """Run `bt` to its end: (exit code, stderr)."""

    def bt(*arguments: str) -> tuple[int, str]:
        process = start(*arguments)
        _, err = process.communicate(timeout=_DEADLINE_S)
        return process.returncode, err

    return bt


def newest(tmp_path: Path) -> SweepFolder:
    return sweep_folders(tmp_path / "sweeps")[-1]


def table(folder: SweepFolder) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder.path / "table.parquet").to_pylist()
    return rows


def optuna(*settings: str) -> list[str]:
    return ["hydra/sweeper=optuna", "sweep.workers=1", *(f"hydra.sweeper.{setting}" for setting in settings)]


def assert_jobs_are_those_of_hydra(folder: SweepFolder) -> None:
    plan, states = folder.plan(), read_states(folder.path)
    for job in folder.jobs():
        outcome = states[job.number].outcome
        assert outcome is not None
        assert outcome.identity["config_hash"] == config_hash(compose(plan.overrides(job)).resolved)


@pytest.mark.long
def test_a_sweep_that_learns_gives_the_same_table_after_kill_9(
    bt: Callable[..., tuple[int, str]], start: Start, tmp_path: Path
) -> None:
    words = ["-m", *SHORT, *optuna("n_trials=20", "startup_trials=3"), SPREADS, "latency=colo,retail"]
    code, err = bt(*words)
    assert code == 0, err
    expected = (newest(tmp_path).path / "table.parquet").read_bytes()
    assert_jobs_are_those_of_hydra(newest(tmp_path))
    process = start(*words, "rerun=true")
    deadline = time.monotonic() + _DEADLINE_S
    while len(sweep_folders(tmp_path / "sweeps")) < 2 or len(read_states(newest(tmp_path).path)) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=_DEADLINE_S)
    folder = newest(tmp_path)
    assert 3 <= len(folder.jobs()) < 20
    code, err = bt("sweep", "resume", folder.path.name)
    assert code == 0, err
    assert (folder.path / "table.parquet").read_bytes() == expected
    assert len(folder.jobs()) == 20
    assert len(load_study(folder.plan(), folder).get_trials()) == 20


def test_a_sweep_that_learns_goes_on_to_more_jobs_as_if_they_had_been_asked_for_at_once(
    bt: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    words = ["-m", *SHORT, SPREADS]
    settings = ("startup_trials=2", "sampler=tpe")
    code, err = bt(*words, *optuna("n_trials=3", *settings))
    assert code == 0, err
    folder = newest(tmp_path)
    code, err = bt("sweep", "resume", folder.path.name, "hydra.sweeper.n_trials=2")
    assert code == 2
    assert "hydra.sweeper.n_trials must be at least the 3 that are planned, was 2." in err
    code, err = bt("sweep", "resume", folder.path.name, "hydra.sweeper.n_trials=6")
    assert code == 0, err
    assert [row["status"] for row in table(folder)] == ["completed"] * 6
    code, err = bt(*words, *optuna("n_trials=6", *settings))
    assert code == 0, err
    assert (newest(tmp_path).path / "table.parquet").read_bytes() == (
        folder.path / "table.parquet"
    ).read_bytes()


@pytest.mark.parametrize(
    "launchers", [["threads"], pytest.param(["threads", "processes"], marks=pytest.mark.long)], ids=len
)
def test_jobs_behind_the_others_are_given_up_by_all_launchers_alike(
    bt: Callable[..., tuple[int, str]], tmp_path: Path, launchers: list[str]
) -> None:
    pruning = ("pruner=median", "pruning_steps=4", "storage=sqlite:///study.db")
    settings = optuna("n_trials=8", "startup_trials=3", "seed=2", *pruning)
    tables = []
    for launcher in launchers:
        code, err = bt("-m", *LONGER, *settings, SPREADS, "rerun=true", f"hydra/launcher={launcher}")
        assert code == 0, err
        tables.append((newest(tmp_path).path / "table.parquet").read_bytes())
    assert len(set(tables)) == 1
    assert not (newest(tmp_path).path / "study.jsonl").exists()
    rows = table(newest(tmp_path))
    pruned = [row for row in rows if row["status"] == "pruned"]
    assert (len(rows), 0 < len(pruned) < 8) == (8, True)
    states = read_states(newest(tmp_path).path)
    for row in pruned:
        assert row["error"].startswith("pruned at step ")
        outcome = states[row["job"]].outcome
        assert outcome is not None
        record = RunFolder(Path(outcome.run_dir)).record()
        assert (record.status, record.error) == ("stopped", outcome.error)
