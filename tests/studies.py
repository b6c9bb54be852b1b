"""Sweeps that learn, without their jobs: folders with a study, and outcomes of a known surface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import Ending, Outcome
from bt_framework.sweep.objectives import Objective
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.space import Interval, Space
from bt_framework.sweep.study import StudySettings, make_study, plan_options

PLANE = Space({"x": Interval(-5, 5), "y": Interval(-5, 5)})


def bowl(job: Job) -> Outcome:
    """Return a job whose value is largest at x = 2, y = -1."""
    x, y = (float(job.varied[key]) for key in ("x", "y"))
    return Outcome(job.number, Ending.COMPLETED, metrics={"sharpe": -((x - 2) ** 2) - (y + 1) ** 2})


def new_sweep(
    path: Path,
    space: Space = PLANE,
    *,
    batch: int = 1,
    objectives: tuple[Objective, ...] = (),
    **settings: Any,
) -> SweepFolder:
    chosen = StudySettings(**settings)
    sought = objectives or (Objective("sharpe"),)
    plan = SweepPlan(
        sweep_id=path.name,
        fixed=(),
        keys=tuple(space.dimensions),
        config_dirs=(),
        sweeper="optuna",
        complete=False,
        metric=sought[0].metric,
        minimize=sought[0].minimize,
        created_at_ns=1,
        options=plan_options(chosen, space, sought, batch),
    )
    folder = SweepFolder(path)
    folder.create(plan, [])
    make_study(plan, folder)
    return folder
