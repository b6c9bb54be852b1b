"""Follows the journals of a sweep while it runs: tells of what ended, and keeps a file for each job that failed."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from bt_framework.errors import StorageError
from bt_framework.sweep.folder import ERRORS_FOLDER, SweepFolder
from bt_framework.sweep.journal import Ending, JobState, JournalReader, Outcome
from bt_framework.sweep.plan import Job, SweepPlan

_POLL_S = 0.2


class View(Protocol):
    """Who shows what becomes of the jobs; its methods are called from one thread at a time."""

    def begin(self, folder: SweepFolder, plan: SweepPlan, jobs: Sequence[Job], reader: JournalReader) -> None:
        """Jobs are going to be run, as far as they are not done; a plan that is not complete begins several times."""

    def update(self, ended: Sequence[tuple[Job, Outcome]]) -> None:
        """Look at what the journals say now; called a few times per second, with what has ended since."""

    def end(self) -> None:
        """Nothing is going to run any more."""

    def confirm(self, question: str) -> bool:
        """Ask the user; without one the answer is no."""


class Reporter:
    """Follows the journals in a thread.

    Parameters
    ----------
    folder : SweepFolder
        Of the sweep.
    plan : SweepPlan
        Its plan.
    reader : JournalReader
        What it follows.
    view : View
        Who shows it.
    """

    def __init__(self, folder: SweepFolder, plan: SweepPlan, reader: JournalReader, view: View) -> None:
        self._folder = folder
        self._plan = plan
        self._reader = reader
        self._view = view
        self._jobs: dict[int, Job] = {}
        self._over = threading.Event()

    @contextmanager
    def reporting(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Tell of `jobs` until the end of the context."""
        self._jobs = {job.number: job for job in jobs}
        self._reader.ended.clear()
        # A process that died may not have come to tell of what had failed.
        self._reader.ended += [n for n in self._jobs if self._state(n).tried and not self._is_told(n)]
        self._view.begin(self._folder, self._plan, jobs, self._reader)
        self._over.clear()
        thread = threading.Thread(target=self._follow, name="bt-report", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self._report()

    def finish(self) -> None:
        """Nothing is going to run any more."""
        self._view.end()

    def done(self) -> str:
        """How many jobs are done, of how many."""
        done = sum(self._state(n).ending not in (None, Ending.FAILED) for n in self._jobs)
        return f"{done} of {len(self._jobs)}"

    def _follow(self) -> None:
        while not self._over.wait(_POLL_S):
            # Whoever drives the sweep hears of it too, or prints when nobody reads any more.
            with suppress(StorageError, BrokenPipeError):
                self._report()

    def _report(self) -> None:
        """Tell of attempts that have ended since the last time."""
        self._reader.update()
        ended = []
        while self._reader.ended:
            job = self._jobs.get(self._reader.ended.popleft())
            outcome = None if job is None else self._state(job.number).outcome
            if job is not None and outcome is not None:
                self._keep_error(job, outcome)
                ended.append((job, outcome))
        self._view.update(ended)

    def _state(self, number: int) -> JobState:
        return self._reader.states.get(number, JobState())

    def _is_told(self, number: int) -> bool:
        return self._state(number).ending is not Ending.FAILED or self._error_file(number).exists()

    def _error_file(self, number: int) -> Path:
        return self._folder.path / ERRORS_FOLDER / f"{number}.txt"

    def _keep_error(self, job: Job, outcome: Outcome) -> None:
        """Write the file of a job that has failed; remove that of one which has not, after all."""
        path = self._error_file(job.number)
        if outcome.ending is not Ending.FAILED:
            path.unlink(missing_ok=True)
            return
        command = shlex.join(["bt", *self._plan.overrides(job)])
        with suppress(OSError):  # the journal has it as well
            path.parent.mkdir(exist_ok=True)
            text = "\n\n".join(part for part in (command, outcome.error, outcome.traceback) if part)
            path.write_text(text + "\n", encoding="utf-8")
