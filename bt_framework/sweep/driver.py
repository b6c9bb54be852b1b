"""Launches what is left of a sweep until nothing is, and writes down what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import overload

from bt_framework.config.conduct import Conduct
from bt_framework.errors import BtError, RunStopped, StorageError, SweepError, WorkersLost
from bt_framework.interrupt import StopSignals
from bt_framework.profiling import Profiling
from bt_framework.sweep.cost import JobCost, Rest, confirm
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import Ending, JobState, Journal, JournalReader, Outcome, Place, outcome_at
from bt_framework.sweep.order import by_data
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.profile import show_profile
from bt_framework.sweep.reporting import Reporter, View
from bt_framework.sweep.table import write_table
from bt_framework.sweep.tally import planned_jobs
from bt_framework.sweep.view import PlainView
from bt_framework.sweep.watch import Teller
from bt_framework.sweep.work import Chunk, SweepWork, chunks_of
from bt_framework.sweep.worker import LauncherStop

Launch = Callable[[SweepWork], Iterable[Outcome]]
"""Runs the chunks of a `SweepWork` with some launcher and returns outcomes that no worker could write down.

Raises `WorkersLost` if processes have ended before their chunks did, and `RunStopped` if it was told to stop.
"""

_WAVE = 2_000
"""Jobs that are handed to threads at once: what they leave in memory does not grow with the sweep."""


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
    isolates : bool
        Whether a worker that dies takes no other with it: suspects need not wait for each other.
    chunks_per_worker : int
        Into how many chunks a worker's share is cut: few if each starts a process, more so that all end together.
    """

    launch: Launch
    workers: int
    in_process: bool
    isolates: bool = False
    chunks_per_worker: int = 8


@dataclass(frozen=True)
class Circumstances:
    """What else a sweep is driven with.

    Attributes
    ----------
    conduct : tuple of str
        Overrides of a sweep that is resumed, which its jobs are given besides those of the plan.
    restarted : bool
        Whether this process goes on for one that died: what has failed is not tried again then.
    teller : Teller, optional
        Who watches the jobs of this process from outside.
    view : View, optional
        Who shows what becomes of the jobs.
    """

    conduct: tuple[str, ...] = ()
    restarted: bool = False
    teller: Teller | None = None
    view: View | None = None


ALONE = Circumstances()


class Driver:
    """Drives one sweep in this process.

    Parameters
    ----------
    folder : SweepFolder
        With a plan; held by this process.
    conduct : Conduct
        What a failed job does.
    launcher : Launcher
        What runs jobs.
    circumstances : Circumstances
        What else it is driven with.
    """

    def __init__(
        self,
        folder: SweepFolder,
        conduct: Conduct,
        launcher: Launcher,
        circumstances: Circumstances = ALONE,
    ) -> None:
        self._folder = folder
        self._plan: SweepPlan = folder.plan()
        self._conduct = conduct
        self._launcher = launcher
        self._circumstances = circumstances
        self._began_ns = time.time_ns()
        self._journal = Journal(folder.path)
        self._reader = JournalReader(folder.path)
        self._view = circumstances.view or PlainView()
        self._reporter = Reporter(folder, self._plan, self._reader, self._view)
        self._asked = False
        if not circumstances.restarted:
            self._journal.session()
        self._reader.update()
        self._reader.notices.clear()  # what was said before is not happening now

    def run(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        """Run those of `jobs` that are not done, and return the outcomes of all that have one, in order.

        Raises
        ------
        RunStopped
            On Ctrl-C or SIGTERM; what is done is written down.
        ConfigError
            If the sweep costs more than its settings allow; its first job is done then.
        """
        with self._told_what_is_left(), self._reporter.reporting(jobs):
            self._ask_after_one(jobs)
            self._run(jobs)
        self._finish_if_complete()
        states = self._reader.states
        return Outcomes([s.end for job in jobs if (s := states.get(job.number)) is not None and s.end])

    def finish(self) -> None:
        """Write the table of all jobs so far and sum up; of an incomplete plan, who adds jobs calls it at the end."""
        self._reader.update()
        write_table(self._folder.path, self._plan, self._folder.jobs(), self._reader.states)
        self._reporter.finish()
        if self._conduct.profiling is not Profiling.OFF:
            show_profile(self._folder.path, self._reader.states, self._launcher.workers, self._began_ns)

    @contextmanager
    def _told_what_is_left(self) -> Iterator[None]:
        """Say what is done and how to go on, if the sweep is stopped."""
        try:
            yield
        except BtError as error:
            if not isinstance(error, RunStopped):
                with suppress(BtError):  # which says less than the error at hand
                    self._finish_if_complete()
                if isinstance(error, StorageError):
                    raise StorageError(
                        f"{error} Go on then: bt sweep resume {self._plan.sweep_id}"
                    ) from error
                raise
            self._finish_if_complete()
            done, number = self._reporter.done(), error.exit_code - 128
            raise RunStopped(
                f"{str(error).rstrip('.')}: {done} jobs are done. Go on with: bt sweep resume {self._plan.sweep_id}",
                signal_number=number,
            ) from None

    def _finish_if_complete(self) -> None:
        if self._plan.complete:
            self.finish()

    def _ask_after_one(self, jobs: Sequence[Job]) -> None:
        """Run one job by itself, and ask before the others if they cost more than the settings allow.

        Nobody is asked twice, nor about so few jobs that they run at once.
        """
        settings, workers, states = self._conduct.sweep, self._launcher.workers, self._reader.states
        planned = planned_jobs(self._plan, len(self._folder.jobs()))
        ended = sum(state.ending is not None for state in states.values())
        free = not (settings.confirm_hours or settings.confirm_gb)
        if self._asked or free or ended > 1 or planned <= workers:
            return
        self._asked = True
        if not ended:
            self._run(jobs[:1])
        first = next((state.outcome for state in states.values() if state.ending is Ending.COMPLETED), None)
        if first is not None:
            left = [job for job in jobs if self._state(job).ending is None]
            with StopSignals():
                rest = Rest(self._plan, planned - 1, left, workers)
                confirm(rest, JobCost.of(first), settings, self._view.confirm)

    def _run(self, jobs: Sequence[Job]) -> None:
        with LauncherStop(self._folder.path) as stop:
            while not stop.received:
                self._reader.update()
                left = self._left(jobs)
                if not left or self.is_to_stop(jobs):
                    return
                suspects = [job for job in left if self._state(job).crashes]
                before = self._progress(left)
                if suspects:
                    at_once = len(suspects) if self._launcher.isolates else 1
                    self._launch(chunks_of(suspects[:at_once], 1, alone=True))
                else:
                    self._launch_all(by_data(left))
                if self._progress(left) == before and not stop.received:
                    raise SweepError(
                        f"none of {len(left)} jobs was run: the launcher ended without a word. Go on with: "
                        f"bt sweep resume {self._plan.sweep_id}"
                    )
            raise stop.error()

    def _launch_all(self, left: Sequence[Job]) -> None:
        """Launch jobs, in waves if they run in this process; after a loss of workers the rest is thought over."""
        size = self._chunk_size(len(left))
        wave = _WAVE if self._launcher.in_process else len(left)
        for start in range(0, len(left), wave):
            part = left[start : start + wave]
            whole = self._launch(chunks_of(part, size))
            if not whole or self.is_to_stop(part):
                return

    def _left(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs that are to be tried, or tried again; those that end their process fail here."""
        left = []
        for job in jobs:
            state = self._state(job)
            if state.crashed_alone:
                self._journal.ended(Outcome(job.number, Ending.FAILED, error=_crash_error(state)))
                self._reader.update()
            failed = state.ending in (None, Ending.FAILED)
            if failed and (state.ending is None or state.tried < self._conduct.attempts):
                left.append(job)
        return left

    def is_to_stop(self, jobs: Sequence[Job]) -> bool:
        """Whether a job has failed, and that ends the sweep."""
        return self._conduct.on_error == "stop" and any(
            self._state(job).ending is Ending.FAILED and self._state(job).tried for job in jobs
        )

    def _launch(self, chunks: list[Chunk]) -> bool:
        """Launch chunks; return whether no worker was lost."""
        work = SweepWork(
            plan=self._plan,
            folder=self._folder.path,
            chunks=chunks,
            conduct=self._circumstances.conduct,
            stop_on_failure=self._conduct.on_error == "stop",
            teller=self._circumstances.teller,
        )
        before = [self._progress(chunk.jobs) for chunk in chunks]
        lost: tuple[int, ...] = ()
        try:
            for outcome in self._launcher.launch(work):
                self._journal.ended(outcome)
        except WorkersLost as error:
            lost = error.chunks
        self._reader.update()
        for number in lost:
            self._note_loss(chunks[number], progressed=self._progress(chunks[number].jobs) > before[number])
        return not lost

    def _note_loss(self, chunk: Chunk, *, progressed: bool) -> None:
        """Write down which jobs may have ended their worker: those under way, or any if nothing is known of them."""
        unfinished = [job for job in chunk.jobs if self._state(job).ending in (None, Ending.FAILED)]
        running = [job for job in unfinished if self._state(job).running]
        alone = chunk.alone and len(chunk.jobs) == 1
        for job in running or ([] if progressed else unfinished):
            self._journal.lost(job.number, "its worker was lost.", alone=alone)
        self._reader.update()

    def _progress(self, jobs: Sequence[Job]) -> int:
        """Grows with everything that becomes of `jobs`."""
        return sum(state.attempts + state.crashes for state in map(self._state, jobs))

    def _state(self, job: Job) -> JobState:
        return self._reader.states.get(job.number) or _UNTOUCHED

    def _chunk_size(self, jobs: int) -> int:
        """A few chunks per worker: each costs a composition by Hydra, and the last ones should end together."""
        chunks = self._launcher.chunks_per_worker * self._launcher.workers
        return 1 if self._launcher.in_process else max(1, jobs // chunks)


_UNTOUCHED = JobState()


class Outcomes(Sequence[Outcome]):
    """Outcomes of jobs, each read when it is asked for: those of all jobs may not fit into memory."""

    def __init__(self, ends: Sequence[Outcome | Place]) -> None:
        self._ends = ends

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Outcome: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Outcome]: ...

    def __getitem__(self, index: int | slice) -> Outcome | Sequence[Outcome]:
        """Read one, or take some."""
        if isinstance(index, slice):
            return Outcomes(self._ends[index])
        end = self._ends[index]
        return outcome_at(end) if isinstance(end, Place) else end


def _crash_error(state: JobState) -> str:
    """Say why a job has failed that ended its process; what differs from case to case is on the second line."""
    return f"its process ended before the job did.\n{state.crash}".rstrip()


def raise_failures(outcomes: Iterable[Outcome], plan: SweepPlan, planned: int) -> None:
    """Raise a `SweepError` if jobs have failed, or were not run because one had."""
    failed, first, ended = 0, None, 0
    for outcome in outcomes:
        ended += 1
        failed += outcome.ending is Ending.FAILED
        first = first or (outcome if outcome.ending is Ending.FAILED else None)
    if first is not None:
        left = f", and {planned - ended} were not run" if planned > ended else ""
        raise SweepError(
            f"{failed} of {planned} jobs have failed{left}; job {first.job}: {first.error}\n"
            f"Try again with: bt sweep resume {plan.sweep_id}"
        )
