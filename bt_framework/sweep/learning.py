"""Runs a plan to its end, be all its jobs known beforehand or proposed as the others end."""

from __future__ import annotations

from collections.abc import Sequence

from bt_framework.sweep.driver import Driver
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import Outcome


def run_plan(folder: SweepFolder, driver: Driver) -> Sequence[Outcome]:
    """Run what is left of the sweep in `folder`, new or resumed, and return the outcomes of its jobs in order.

    Of a sweep that learns, jobs that are in the folder come first; then batches are proposed, run and learned from
    until there are as many jobs as planned, or the driver leaves one without an outcome.

    Raises
    ------
    StorageError
        If the study of a sweep that learns cannot be used.
    RunStopped
        See `Driver.run`.
    """
    if folder.plan().complete:
        return driver.run(folder.jobs())
    from bt_framework.sweep.learner import Learner

    learner = Learner(folder.plan(), folder)
    jobs = folder.jobs()
    found: dict[int, Outcome] = {}
    try:
        while jobs := jobs or learner.ask():
            outcomes = driver.run(jobs)
            learner.tell(outcomes)
            found |= {outcome.job: outcome for outcome in outcomes}
            if len(outcomes) < len(jobs) or driver.is_to_stop(jobs):
                break
            jobs = []
    finally:
        driver.finish()
    return [found[number] for number in sorted(found)]
