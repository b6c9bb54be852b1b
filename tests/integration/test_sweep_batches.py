"""A sweep over pairs and days: each job is the run that names its symbols and its day."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from bt_framework.results.folder import RunFolder
from bt_framework.sweep.folder import sweep_folders
from bt_framework.sweep.journal import read_states

DAYS = ("2024-01-02", "2024-01-03")
PAIRS = ("SYNA-SYNB", "SYNC-SYND")


def bt(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bt_framework", *arguments],
        cwd=folder,
        env=os.environ | {"BT_STORE_DIR": str(folder / "store")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_sweep_over_pairs_and_days_has_a_job_for_each_of_both(tmp_path: Path) -> None:
    base = ["+strategy=market_maker", "data.duration_ns=2s", "console=plain"]
    bt(tmp_path, "-m", *base, f"data.pair={','.join(PAIRS)}", f"data.date={','.join(DAYS)}")
    (folder,) = sweep_folders(tmp_path / "sweeps")
    rows = pq.read_table(folder.path / "table.parquet").to_pylist()
    assert [(row["data.pair"], row["data.date"]) for row in rows] == [(p, d) for p in PAIRS for d in DAYS]
    assert {row["status"] for row in rows} == {"completed"}
    for row in rows:
        outcome = read_states(folder.path)[row["job"]].outcome
        assert outcome is not None
        config = RunFolder(Path(outcome.run_dir)).config()["data"]
        assert config["symbols"] == row["data.pair"].split("-")
        assert config["start_ts"] == {"2": 1_704_153_600, "3": 1_704_240_000}[row["data.date"][-1]] * 10**9
        assert (config["pair"], config["date"]) == ("", "")
    named = ["data.symbols=[SYNA,SYNB],[SYNC,SYND]", f"data.start_ts={1_704_153_600 * 10**9}"]
    bt(tmp_path, "-m", *base, *named)
    outcomes = [state.outcome for state in read_states(sweep_folders(tmp_path / "sweeps")[-1].path).values()]
    assert [outcome is not None and outcome.reused for outcome in outcomes] == [True, True]
