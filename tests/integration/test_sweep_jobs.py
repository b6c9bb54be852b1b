"""Jobs that share a process are what each would have been by itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

import bt_framework
from bt_framework.interrupt import StopSignals
from bt_framework.results.result import RunResult
from bt_framework.runner import Run
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


def test_jobs_in_threads_that_do_not_fit_into_the_memory_together_run_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spans: list[tuple[float, float]] = []
    go = Run.go

    def timed(run: Run) -> RunResult:
        began = time.monotonic()
        result = go(run)
        spans.append((began, time.monotonic()))
        return result

    monkeypatch.setattr(Run, "go", timed)
    monkeypatch.setattr("bt_framework.sweep.memory.available_bytes", lambda: 0)
    plan = SweepPlan("tight", (*FIXED, "runs_dir=tight"), ("seed",), (), "grid", True, "pnl", False, 0)
    runner = JobRunner(SweepWork(plan, tmp_path / "sweep"))
    with ThreadPoolExecutor(3) as pool:
        jobs = [Job(number, {"seed": str(number)}) for number in range(6)]
        outcomes = list(pool.map(lambda job: runner.run(job, StopSignals()), jobs))
    assert [outcome and outcome.error for outcome in outcomes] == [""] * 6
    assert len(spans) == 6
    spans.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
