"""``profile=true``: of a sweep, and that it does not change what a run is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from bt_framework.profiling import PHASES, PROFILE_FILE, SAMPLES_FILE, WHOLE
from bt_framework.sweep import profile
from bt_framework.sweep.folder import sweep_folders

SWEEP = ["-m", "+strategy=market_maker", "data.duration_ns=2s", "console=plain"]
VARIED = "strategy.half_spread_bps=1,2,3"


class Swept(NamedTuple):
    """A sweep that has ended: its folder, and what it said on stderr."""

    folder: Path
    said: str

    def profile(self) -> list[dict[str, Any]]:
        return pq.read_table(self.folder / profile.PROFILE_FILE).to_pylist()  # type: ignore[no-any-return]

    def runs(self, column: str) -> list[Any]:
        return pq.read_table(self.folder / "runs.parquet")[column].to_pylist()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Swept]:
    """Three sweeps of the same plan, one after the other in the same folders."""
    work = tmp_path_factory.mktemp("work")

    def sweep(*conduct: str) -> Swept:
        command = [sys.executable, "-m", "bt_framework", *SWEEP, VARIED, *conduct]
        env = os.environ | {"BT_STORE_DIR": str(work / "store")}
        done = subprocess.run(
            command, cwd=work, env=env, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return Swept(sweep_folders(work / "sweeps")[-1].path, done.stderr)

    return {
        "sampled": sweep("profile=sampled", "sweep.workers=2"),
        "reused": sweep("profile=true"),
        "off": sweep("rerun=true"),
    }


def test_a_sweep_says_where_the_time_of_every_job_went(sweeps: dict[str, Swept]) -> None:
    rows = sweeps["sampled"].profile()
    for job in range(3):
        seconds = {row["phase"]: row["seconds"] for row in rows if row["job"] == job}
        assert {*PHASES, WHOLE} == seconds.keys()
        assert sum(seconds.values()) == pytest.approx(2 * seconds[WHOLE])
        assert seconds["simulate"] > 0
    assert max(row["peak_bytes"] for row in rows) > 10_000_000
    lines = sweeps["sampled"].said.splitlines()
    assert lines[-1].startswith("3 jobs by 2 workers in ")
    assert lines[-2].startswith("idle ")


def test_jobs_that_are_reused_have_simulated_nothing(sweeps: dict[str, Swept]) -> None:
    assert sweeps["reused"].runs("reused") == [True, True, True]
    phases = {row["phase"] for row in sweeps["reused"].profile()}
    assert "wait" in phases
    assert "simulate" not in phases


def test_a_profile_is_no_part_of_what_a_run_is(sweeps: dict[str, Swept]) -> None:
    tables = {(swept.folder / "table.parquet").read_bytes() for swept in sweeps.values()}
    assert len(tables) == 1
    assert not (sweeps["off"].folder / profile.PROFILE_FILE).exists()
    assert not (Path(sweeps["off"].runs("run_dir")[0]) / PROFILE_FILE).exists()


def test_samples_of_jobs_in_threads_lie_in_their_run_folders(sweeps: dict[str, Swept]) -> None:
    for folder in map(Path, sweeps["sampled"].runs("run_dir")):
        samples = json.loads((folder / SAMPLES_FILE).read_bytes())
        frames = {frame["name"] for frame in samples["shared"]["frames"]}
        assert any("_drive" in name for name in frames)
        assert json.loads((folder / PROFILE_FILE).read_bytes())[WHOLE]["seconds"] > 0
