"""What a worker does, in whatever thread, process or machine: run jobs of a sweep and write down how they ended."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import BtError, RunPruned, RunStopped
from bt_framework.interrupt import Stop
from bt_framework.limits import LimitedStop
from bt_framework.profiling import Profiling
from bt_framework.registry import Kind
from bt_framework.results.console import Console
from bt_framework.results.run import Identity, Membership, RunContext
from bt_framework.runner import Run, Surroundings
from bt_framework.sweep import watch
from bt_framework.sweep.folder import PLAN_FILE, STOP_FILE, SweepFolder
from bt_framework.sweep.journal import Ending, Journal, Outcome
from bt_framework.sweep.memory import Room
from bt_framework.sweep.once import OnceEach
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.pruning import Pruning, prunes
from bt_framework.sweep.watchdog import Watchdog

if TYPE_CHECKING:
    from bt_framework.config.compose import Composition

ONCE_FILE = "once.lock"


@dataclass(frozen=True)
class Chunk:
    """Jobs that a worker runs one after the other; `alone` if nothing else may run in its process."""

    jobs: tuple[Job, ...]
    alone: bool = False


@dataclass
class SweepWork:
    """What a launcher is given; it travels to workers by pickle.

    Attributes
    ----------
    folder : Path
        The sweep's; workers on other machines may not have it.
    chunks : list of Chunk
        What to launch now, in order.
    conduct : tuple of str
        Overrides of a sweep that is resumed: how its jobs are carried out now.
    stop_on_failure : bool
        Whether a job that fails ends the others.
    teller : Teller, optional
        Who watches the jobs of this process; it stays here.
    """

    plan: SweepPlan
    folder: Path
    chunks: list[Chunk] = field(default_factory=list)
    conduct: tuple[str, ...] = ()
    stop_on_failure: bool = False
    teller: watch.Teller | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What travels."""
        return self.__dict__ | {"teller": None}

    def run_chunk(self, index: int, stop: Stop) -> list[Outcome]:
        """Run the jobs of a chunk in this thread.

        Returns
        -------
        list of Outcome
            What is not written down, because this machine does not have the sweep's folder; jobs that were stopped
            are missing.
        """
        runner = _runner_of(self)
        chunk = self.chunks[index]
        outcomes = (runner.run(job, stop, alone=chunk.alone) for job in chunk.jobs)
        return [outcome for outcome in outcomes if outcome is not None and not runner.writes]


class JobRunner:
    """Runs jobs of one sweep in this process; threads may share it.

    Parameters
    ----------
    work : SweepWork
        What the sweep is.
    """

    def __init__(self, work: SweepWork) -> None:
        from bt_framework.config.variants import VariantComposer
        from bt_framework.plugin_manager import discover

        self.writes = (work.folder / PLAN_FILE).exists()
        self._work = work
        self._journal = Journal(work.folder) if self.writes else None
        self._teller = work.teller or Watchdog(self._journal)
        self._once = OnceEach(work.folder / ONCE_FILE if self.writes else None)
        self._room = Room()
        self._halt = Halt(work.folder)
        self._composer = VariantComposer(discover(), work.plan.config_dirs)

    def run(self, job: Job, stop: Stop, *, alone: bool = False) -> Outcome | None:
        """Run a job and write down how it ended; None if it was stopped, or was not to start any more."""
        if stop.received or self._halt.received:
            return None
        if self._journal is not None:
            self._journal.started(job.number, alone=alone)
        attempt = _Attempt(job, EitherStop(stop, self._halt), alone)
        try:
            outcome = self._outcome(attempt)
        # Whatever a strategy raises, sys.exit() too, is the end of its job only.
        except BaseException as error:
            if isinstance(error, RunStopped | KeyboardInterrupt) and attempt.stop.received:
                if self._journal is not None:
                    self._journal.stopped(job.number)
                return None
            outcome = attempt.failed(error)
        finally:
            self._teller.tell(watch.ended(job.number))
        outcome = dataclasses.replace(outcome, profile=attempt.profile())
        if self._journal is not None:
            self._journal.ended(outcome)
        if outcome.ending is Ending.FAILED and self._work.stop_on_failure:
            self._halt.set()
        return outcome

    def _outcome(self, attempt: _Attempt) -> Outcome:
        began = time.perf_counter()
        job, work = attempt.job, self._work
        composition = self._composer.compose([*work.plan.overrides(job), *work.conduct])
        compose_s = time.perf_counter() - began
        limited = self._limited(attempt, composition)
        judge = self._pruning.watch(job.number, limited) if prunes(work.plan) else None
        surroundings = Surroundings(
            stop=judge or limited,
            console=_JobConsole(self._journal, job),
            sweep=Membership(work.plan.sweep_id, job.number),
            listeners=() if judge is None else (judge,),
        )
        run = Run(composition, surroundings, compose_s=compose_s)
        if composition.conduct.profiling is not Profiling.OFF:
            attempt.run = run
        attempt.context = context = run.prepare()
        with ExitStack() as held:
            record = None
            with run.phases.measured("wait"):
                if not composition.conduct.rerun:
                    held.enter_context(self._once.held(context.identity, attempt.stop))
                    record = identical_run(composition.one(Kind.STORE).build(), context.identity)
                if record is None:
                    held.enter_context(self._room.taken(run.buffer_bytes(), attempt.stop))
            if record is not None:
                return _completed(job, record, reused=True)
            return _completed(job, run.go().record, reused=False)

    @cached_property
    def _pruning(self) -> Pruning:
        return Pruning(self._work.plan, SweepFolder(self._work.folder))

    def _limited(self, attempt: _Attempt, composition: Composition) -> LimitedStop:
        """Return what ends the job, and tell who watches it of its limits."""
        limits, number = composition.conduct.limits, attempt.job.number
        max_seconds, max_rss = limits.max_seconds, limits.max_rss_bytes
        line = watch.started(number, alone=attempt.alone, max_seconds=max_seconds, max_rss_bytes=max_rss)
        self._teller.tell(line)
        # Of several jobs in a process none can tell whose the memory is.
        own_rss = max_rss if attempt.alone else 0
        return LimitedStop(
            attempt.stop, max_seconds, own_rss, lambda: self._teller.tell(watch.clocked(number))
        )


class _JobConsole(Console):
    """Writes what a job has to say into the journal; the sweep's view shows the rest."""

    def __init__(self, journal: Journal | None, job: Job) -> None:
        self._journal = journal
        self._job = job.number

    def notice(self, text: str) -> None:
        if self._journal is not None:
            self._journal.notice(self._job, text)


@dataclass
class _Attempt:
    """A job under way; `context` is its run's, once that is known, and `run` the run, if it is measured."""

    job: Job
    stop: EitherStop
    alone: bool
    context: RunContext | None = None
    run: Run | None = None

    def profile(self) -> dict[str, tuple[float, int, int]]:
        """Where time and memory went; nothing unless that is wanted."""
        return {} if self.run is None else self.run.spent()

    def failed(self, error: BaseException) -> Outcome:
        """Return the outcome of a job that raised; one that the sweep gave up has not failed."""
        pruned = isinstance(error, RunPruned)
        text = str(error) if isinstance(error, BtError) else f"{type(error).__name__}: {error}".rstrip(": ")
        return Outcome(
            self.job.number,
            Ending.PRUNED if pruned else Ending.FAILED,
            error=_unicode(text),
            traceback="" if pruned else _unicode("".join(traceback.format_exception(error))),
            run_id=self.context.run_id if self.context else "",
            run_dir=str(self.context.run_dir) if self.context else "",
        )


def _unicode(text: str) -> str:
    """Return text that can be written, whatever an error was given."""
    return text.encode("utf-8", "backslashreplace").decode()


class Halt:
    """Whether a sweep is to end, as the file of that name in its folder says; looked for a few times per second."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STOP_FILE
        self._next = -math.inf
        self._set = False

    @property
    def received(self) -> bool:
        """Whether it is there."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + watch.POLL_S
            self._set = self._path.exists()
        return self._set

    def set(self) -> None:
        """End the jobs of all processes at their slices, as far as they share the folder."""
        with suppress(OSError):
            self._path.touch()
        self._next = -math.inf


@dataclass
class EitherStop:
    """A signal to this process, or a sweep that is to end."""

    stop: Stop
    halt: Halt

    @property
    def received(self) -> bool:
        """Whether the job is to end."""
        return self.stop.received or self.halt.received

    def defer(self) -> None:
        """From now on nothing is raised."""
        self.stop.defer()

    def error(self) -> BtError:
        """Return why."""
        if self.stop.received:
            return self.stop.error()
        return RunStopped("the sweep was stopped.", signal_number=signal.SIGTERM)


def _completed(job: Job, record: Any, *, reused: bool) -> Outcome:
    import dataclasses

    metrics = {name: None if math.isnan(value) else value for name, value in record.metrics.items()}
    return Outcome(
        job.number,
        Ending.COMPLETED,
        run_id=record.run_id,
        run_dir=str(record.run_dir),
        result_hash=record.result_hash,
        identity=dataclasses.asdict(record.identity),
        metrics=metrics,
        reused=reused,
        timings=dict(record.timings),
    )


def identical_run(store: Any, identity: Identity) -> Any | None:
    """Return the record of a completed run of the same identity that is still there, or None."""
    found = store.identical(identity)
    return found if found is not None and found.run_dir.is_dir() else None


_runners: dict[tuple[object, ...], JobRunner] = {}
_runners_lock = threading.Lock()


def _runner_of(work: SweepWork) -> JobRunner:
    """Return this process's runner of the sweep: what it has composed and loaded serves the next chunk too."""
    with _runners_lock:
        key = (work.folder, os.getpid(), work.conduct)
        if key not in _runners:
            _runners.clear()
            _runners[key] = JobRunner(work)
        return _runners[key]


def chunks_of(jobs: Sequence[Job], size: int, *, alone: bool = False) -> list[Chunk]:
    """Cut `jobs` into chunks of `size` at most, in order."""
    starts: Iterable[int] = range(0, len(jobs), size)
    return [Chunk(tuple(jobs[start : start + size]), alone) for start in starts]
