"""Jobs that share a process are what each would have been by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import bt_framework
from bt_framework.interrupt import StopSignals
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.work import JobRunner, SweepWork

FIXED = ("+strategy=ou_pairs", "data.duration_ns=2min", "console=plain")
VARIED = [
    {"strategy.entry_z": entry_z, "latency": latency, "seed": seed}
    for entry_z in ("1.5", "2")
    for latency in ("colo", "jitter")
    for seed in ("1", "2")
]


def test_jobs_in_threads_have_the_results_of_runs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = tuple(VARIED[0])
    plan = SweepPlan("together", (*FIXED, "runs_dir=together"), keys, (), "grid", True, "pnl", False, 0)
    jobs = [Job(number, varied) for number, varied in enumerate(VARIED)]
    runner, stop = JobRunner(SweepWork(plan, tmp_path / "sweep")), StopSignals()
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda job: runner.run(job, stop), jobs))
    found = [(o.error, o.result_hash, o.identity["config_hash"]) for o in outcomes if o is not None]
    alone = [
        bt_framework.run([*FIXED, "runs_dir=alone", *(f"{k}={v}" for k, v in varied.items())])
        for varied in VARIED
    ]
    assert found == [("", run.result_hash, run.config_hash) for run in alone]
    assert len({result_hash for _, result_hash, _ in found}) >= 6, "jobs that are all alike check little"
