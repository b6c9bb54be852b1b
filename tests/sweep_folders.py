"""Folders of sweeps whose jobs never ran: their plan, and a journal that says what became of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bt_framework.results.rows import METRIC_COLUMNS
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import Ending, Journal, Outcome, read_states
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.table import write_table

SWEEP_ID = "20240809-120000-abc123"
FIRST_NS = 1_723_204_800_000_000_000

Result = float | str | None
"""Of a job: a value of its metric, why it failed, or None if the metric is undefined."""


def planned(values: Mapping[str, Sequence[str]], **changes: Any) -> tuple[SweepPlan, list[Job]]:
    """Return the plan of all combinations of `values`, and the jobs."""
    combinations = itertools.product(*values.values())
    jobs = [Job(n, dict(zip(values, chosen, strict=True))) for n, chosen in enumerate(combinations)]
    command = ("+strategy=ou_pairs", *(f"{key}={','.join(texts)}" for key, texts in values.items()))
    plan: dict[str, Any] = {
        "sweep_id": SWEEP_ID,
        "fixed": ("+strategy=ou_pairs", "note='two words'"),
        "keys": tuple(values),
        "config_dirs": (),
        "sweeper": "grid",
        "complete": True,
        "metric": "sharpe",
        "minimize": False,
        "created_at_ns": FIRST_NS,
        "command": command,
        "cwd": str(Path.cwd()),
    }
    return SweepPlan(**(plan | changes)), jobs


def outcome_of(job: Job, result: Result, metric: str = "sharpe") -> Outcome:
    """Return how a job ended."""
    if isinstance(result, str):
        return Outcome(job.number, Ending.FAILED, error=result, traceback="Traceback ...")
    metrics = {c.name: c.type(job.number % 7) for c in METRIC_COLUMNS}
    return Outcome(
        job.number,
        Ending.COMPLETED,
        run_id=f"run-{job.number:06d}",
        run_dir=f"/runs/run-{job.number:06d}",
        result_hash=f"{job.number:064x}",
        identity={"config_hash": "c" * 64, "data_hash": "d" * 64, "code_hash": "e" * 64, "seed": 1},
        metrics=metrics | {metric: result if result is None or math.isfinite(result) else None},
        timings={"wall_s": 0.1, "kernel_s": 0.05},
    )


def made_sweep(
    folder: Path,
    values: Mapping[str, Sequence[str]],
    result_of: Callable[[Job], Result] = lambda job: float(job.number),
    *,
    done: int | None = None,
    **changes: Any,
) -> SweepFolder:
    """Make the folder of a sweep in `folder`, of which the first `done` jobs have ended, and its table."""
    plan, jobs = planned(values, **changes)
    made = SweepFolder(folder / plan.sweep_id)
    made.create(plan, jobs)
    journal = Journal(made.path)
    for job in jobs[:done]:
        journal.started(job.number)
        journal.ended(outcome_of(job, result_of(job)))
    journal.close()
    write_table(made.path, plan, jobs, read_states(made.path))
    return made
