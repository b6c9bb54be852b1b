"""Which sweep a command goes on with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bt_framework.errors import StorageError
from bt_framework.stores.base import named_sweep
from bt_framework.sweep.folder import SweepFolder, sweep_folders
from bt_framework.sweep.plan import Job, SweepPlan


def newest_of_plan(sweeps: Path, plan: SweepPlan, jobs: Sequence[Job]) -> SweepFolder | None:
    """Return the newest sweep in the folder `sweeps` of which the plan is equal, or None."""
    digest = plan.digest(jobs)
    for folder in reversed(sweep_folders(sweeps)):
        try:
            other = folder.plan()
            # Reading the jobs takes time: first what is quick.
            if other.digest([]) == plan.digest([]) and other.digest(folder.jobs()) == digest:
                return folder
        except StorageError:
            continue  # of another version, or damaged
    return None


def sweep_of(sweeps: Path, prefix: str) -> SweepFolder:
    """Return the sweep in the folder `sweeps` with the id `prefix`, or the only one whose id begins with it.

    Raises
    ------
    UnknownSweepError
        If there is none, or several.
    """
    return SweepFolder(sweeps / named_sweep(prefix, [folder.path.name for folder in sweep_folders(sweeps)]))
