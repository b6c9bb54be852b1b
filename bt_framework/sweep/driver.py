"""Launches what is left of a sweep until nothing is, and writes down what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bt_framework.config.conduct import Conduct
from bt_framework.errors import SweepError
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import Ending, JobState, Journal, Outcome, read_states
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.table import write_table
from bt_framework.sweep.work import Chunk, SweepWork, chunks_of

Launch = Callable[[SweepWork], Iterable[Outcome]]
"""Runs the chunks of a `SweepWork` with some launcher and returns the outcomes; raises if a worker was lost."""


@dataclass(frozen=True)
class Launcher:
    """How chunks are launched.

    Attributes
    ----------
    launch : callable
        See `Launch`.
    workers : int
        Chunks at once.
    in_process : bool
        Whether workers are threads of this process: a chunk is then one job, since starting it costs nothing.
    """

    launch: Launch
    workers: int
    in_process: bool


class Driver:
    """Drives one sweep in this process.

    Parameters
    ----------
    folder : SweepFolder
        With a plan.
    conduct : Conduct
        What a failed job does.
    launcher : Launcher
        What runs jobs.
    """

    def __init__(self, folder: SweepFolder, conduct: Conduct, launcher: Launcher) -> None:
        self._folder = folder
        self._plan: SweepPlan = folder.plan()
        self._conduct = conduct
        self._launcher = launcher
        self._journal = Journal(folder.path)
        self._tried = {job: state.attempts for job, state in read_states(folder.path).items()}

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run those of `jobs` that are not done, and return the outcomes of all that have one, in order.

        Raises
        ------
        RunStopped
            On Ctrl-C or SIGTERM; what is done is written down.
        """
        try:
            return self._run(jobs)
        finally:
            if self._plan.complete:
                self.write_table()

    def write_table(self) -> None:
        """Write the table of all jobs so far; whoever adds jobs to a plan that is not complete calls it at the end."""
        folder = self._folder
        write_table(folder.path, self._plan, folder.jobs(), read_states(folder.path))

    def _run(self, jobs: Sequence[Job]) -> list[Outcome]:
        while True:
            states = read_states(self._folder.path)
            left = self._left(jobs, states)
            if not left:
                break
            suspects = [job for job in left if states.get(job.number, JobState()).crashes]
            if suspects:
                self._launch(chunks_of(suspects[:1], 1, alone=True))
            else:
                self._launch(chunks_of(left, self._chunk_size(len(left))))
        found = (states[job.number].outcome for job in jobs if job.number in states)
        return [outcome for outcome in found if outcome is not None]

    def _left(self, jobs: Sequence[Job], states: dict[int, JobState]) -> list[Job]:
        """Jobs that are to be tried, or tried again; those that end their process fail here."""
        left = []
        for job in jobs:
            state = states.get(job.number, JobState())
            tried = state.attempts - self._tried.get(job.number, 0)
            ended = state.outcome is not None and (
                state.outcome.ending is not Ending.FAILED or tried >= self._conduct.attempts
            )
            if ended or state.running:
                continue
            if state.crashed_alone and not tried:
                error = (
                    "its process ended without a word: killed, out of memory, or a fault in compiled code."
                )
                self._journal.ended(Outcome(job.number, Ending.FAILED, error=error))
                state.attempts += 1
                state.outcome = Outcome(job.number, Ending.FAILED, error=error)
                continue
            left.append(job)
        return left

    def _launch(self, chunks: list[Chunk]) -> None:
        work = SweepWork(self._plan, self._folder.path, chunks)
        for outcome in self._launcher.launch(work):
            # A worker without the folder returns what it could not write down.
            if outcome.job not in read_states(self._folder.path):
                self._journal.ended(outcome)

    def _chunk_size(self, jobs: int) -> int:
        """A few chunks per worker: each costs a composition by Hydra, and the last ones should end together."""
        return 1 if self._launcher.in_process else max(1, jobs // (8 * self._launcher.workers))


def raise_failures(outcomes: Iterable[Outcome], planned: int) -> None:
    """Raise a `SweepError` if a job failed."""
    failed = [outcome for outcome in outcomes if outcome.ending is Ending.FAILED]
    if failed:
        raise SweepError(
            f"{len(failed)} of {planned} jobs have failed, the first one job {failed[0].job}: {failed[0].error}"
        )
