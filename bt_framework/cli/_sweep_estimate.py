"""`bt sweep estimate`: how long a sweep is going to take, and how much disk, from one job that is run for it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bt_framework.cli._hydra_app import run_sweep
from bt_framework.cli._sweep_planning import Draft
from bt_framework.cli._sweep_task import Calling, SweepTask
from bt_framework.config.compose import Choice, Composition
from bt_framework.interrupt import StopSignals
from bt_framework.registry import Kind
from bt_framework.results.console import Console
from bt_framework.results.folder import folder_bytes
from bt_framework.runner import Run, Surroundings
from bt_framework.sweep.cost import JobCost, SweepCost, stored_frac
from bt_framework.sweep.examples import example
from bt_framework.sweep.plan import Job
from bt_framework.sweep.tally import planned_jobs
from bt_framework.sweep.words import bytes_text, seconds_text, varied_text

if TYPE_CHECKING:
    from bt_framework.results.record import RunRecord
    from bt_framework.sweep.journal import Outcome

_SHORT_S = 2.0
"""A job that takes less is run once more: the first time there is much that others need not do again."""


def print_estimate(overrides: Sequence[str], config_dirs: Sequence[str]) -> int:
    """Print what the sweep of these overrides is going to cost; return the exit code.

    Raises
    ------
    BtError
        If the sweep is wrong, or its first job fails.
    """
    return run_sweep(overrides, config_dirs, ["--multirun"], Calling(), EstimateTask)


@dataclass(frozen=True)
class _Timed:
    """What the first job took.

    Attributes
    ----------
    start_s : float
        What only the first job of a process takes, and the process before it.
    cost : JobCost
        Of each further one.
    left_out : tuple of str
        Writers that were not used, because they do not write into the run's folder.
    """

    start_s: float
    cost: JobCost
    left_out: tuple[str, ...]


class EstimateTask(SweepTask):
    """A sweep of which one job is run, where it leaves no trace."""

    def run(self, draft: Draft) -> Sequence[Outcome]:
        """Run the first job and print what all of them are going to cost."""
        job, _ = example(self._composer, draft.plan, draft.jobs)
        timed = self._timed(draft, job)
        jobs = planned_jobs(draft.plan, len(draft.jobs))
        stored = round(jobs * stored_frac(self._composer, draft.plan, draft.jobs))
        workers = max(1, self._launcher().workers)
        click.echo(f"jobs: {jobs:,}" + f", about {stored:,} of them stored already" * bool(stored))
        click.echo(
            f"one job: {seconds_text(timed.cost.seconds)} and {bytes_text(timed.cost.size_bytes)}, as job "
            f"{job.number} took ({varied_text(job)}); its folder is removed again"
        )
        for name in timed.left_out:
            click.echo(f"left out: what writer={name} writes elsewhere")
        click.echo(
            f"start: {seconds_text(timed.start_s)}, with data and compiled code that one job leaves to the others"
        )
        for number in _numbers_of_workers(workers):
            cost = timed.cost.of_sweep(jobs - stored, number)
            asked = "  (as asked for)" if number == workers else ""
            click.echo(
                f"{number:,} worker{'s' * (number > 1)}: {seconds_text(timed.start_s + cost.seconds)}{asked}"
            )
        cost = timed.cost.of_sweep(jobs - stored, workers)
        click.echo(f"disk: {bytes_text(cost.size_bytes)}")
        self._tell_limits(cost, draft)
        return []

    def _tell_limits(self, cost: SweepCost, draft: Draft) -> None:
        raised = cost.raised(draft.conduct.sweep)
        if raised:
            keys = " ".join(f"{key}={value}" for key, value in raised.items())
            click.echo(f"bt -m asks after the first job; to allow it beforehand: {keys}")

    def _timed(self, draft: Draft, job: Job) -> _Timed:
        """Run the job in a folder that is removed; a short one twice."""
        overrides = draft.plan.overrides(job)
        started_s = _process_age_s()
        with tempfile.TemporaryDirectory(prefix="bt-estimate-") as folder, StopSignals() as signals:

            def run() -> tuple[float, RunRecord]:
                began = time.perf_counter()
                composition = self._elsewhere(self._composer.compose(overrides), Path(folder))
                record = Run(composition, Surroundings(stop=signals, console=_Notices())).go().record
                return time.perf_counter() - began, record

            first_s, record = run()
            loop_s = record.timings["kernel_s"] + record.timings["write_s"]
            job_s = run()[0] if loop_s < _SHORT_S else loop_s
            cost = JobCost(job_s, folder_bytes(record.run_dir))
        left_out = self._writers_elsewhere(self._composer.compose(overrides))
        return _Timed(started_s + max(0.0, first_s - job_s), cost, tuple(left_out))

    def _elsewhere(self, composition: Composition, folder: Path) -> Composition:
        """Return the composition with its run, and the index of runs, in `folder`."""
        base = self._composer.compose([f"runs_dir={folder}"])
        left_out = self._writers_elsewhere(composition)
        writers = [choice for name, choice in _writers(composition).items() if name not in left_out]
        return replace(
            composition,
            settings=replace(composition.settings, runs_dir=str(folder)),
            choices={
                **composition.choices,
                Kind.STORE: base.choices[Kind.STORE],
                Kind.WRITER: tuple(writers),
            },
        )

    @staticmethod
    def _writers_elsewhere(composition: Composition) -> list[str]:
        """Names of the writers that keep sweeps: they write somewhere else than into the run's folder."""
        return [
            name for name, choice in _writers(composition).items() if hasattr(choice.build(), "sweep_keeper")
        ]


class _Notices(Console):
    """Says on stderr what takes time."""

    def notice(self, text: str) -> None:
        click.echo(text, err=True)


def _writers(composition: Composition) -> dict[str, Choice]:
    return {choice.component.name: choice for choice in composition.many(Kind.WRITER)}


def _process_age_s() -> float:
    """Wall time since this process started; where the system does not say when, what it has computed."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.process_time()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _numbers_of_workers(workers: int) -> list[int]:
    """Powers of two below `workers`, and `workers`.

    >>> _numbers_of_workers(6)
    [1, 2, 4, 6]
    """
    return [*(2**power for power in range(workers.bit_length()) if 2**power < workers), workers]
