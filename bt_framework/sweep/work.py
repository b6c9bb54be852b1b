"""What a worker does, in whatever thread, process or machine: run jobs of a sweep and write down how they ended."""

from __future__ import annotations

import math
import os
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bt_framework.errors import BtError, LimitError, RunStopped
from bt_framework.interrupt import Stop
from bt_framework.registry import Kind
from bt_framework.results.console import Console
from bt_framework.results.run import Identity, Membership, Status
from bt_framework.runner import Run, Surroundings
from bt_framework.sweep.journal import Ending, Journal, Outcome
from bt_framework.sweep.plan import Job, SweepPlan


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
    """

    plan: SweepPlan
    folder: Path
    chunks: list[Chunk] = field(default_factory=list)

    def run_chunk(self, index: int, stop: Stop) -> list[Outcome]:
        """Run the jobs of a chunk in this thread; those that were stopped are missing from the outcomes."""
        runner = _runner_of(self)
        chunk = self.chunks[index]
        outcomes = (runner.run(job, stop, alone=chunk.alone) for job in chunk.jobs)
        return [outcome for outcome in outcomes if outcome is not None]


class JobRunner:
    """Runs jobs of one sweep in this process; threads may share it.

    Parameters
    ----------
    plan : SweepPlan
        Of the sweep.
    journal : Journal
        Where outcomes are written down.
    """

    def __init__(self, plan: SweepPlan, journal: Journal) -> None:
        from bt_framework.config.variants import VariantComposer
        from bt_framework.plugin_manager import discover

        self._plan = plan
        self._journal = journal
        self._composer = VariantComposer(discover(), plan.config_dirs)

    def run(self, job: Job, stop: Stop, *, alone: bool = False) -> Outcome | None:
        """Run a job and write down how it ended; None if it was stopped, or was not to start any more."""
        if stop.received:
            return None
        self._journal.started(job.number, alone=alone)
        try:
            outcome = self._outcome(job, stop)
        except (RunStopped, KeyboardInterrupt):
            self._journal.stopped(job.number)
            return None
        except Exception as error:
            text = str(error) if isinstance(error, BtError) else f"{type(error).__name__}: {error}"
            trace = "".join(traceback.format_exception(error))
            outcome = Outcome(job.number, Ending.FAILED, error=text, traceback=trace)
        self._journal.ended(outcome)
        return outcome

    def _outcome(self, job: Job, stop: Stop) -> Outcome:
        began = time.perf_counter()
        composition = self._composer.compose(self._plan.overrides(job))
        compose_s = time.perf_counter() - began
        conduct = composition.conduct
        surroundings = Surroundings(
            stop=JobStop(stop, conduct.limits.max_seconds),
            console=Console(),
            sweep=Membership(self._plan.sweep_id, job.number),
        )
        run = Run(composition, surroundings, compose_s=compose_s)
        context = run.prepare()
        if not conduct.rerun:
            record = identical_run(composition.one(Kind.STORE).build(), context.identity)
            if record is not None:
                return _completed(job, record, reused=True)
        return _completed(job, run.go().record, reused=False)


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
    import dataclasses

    from bt_framework.stores.base import RunQuery
    from bt_framework.stores.filters import And, Compare

    wanted = dataclasses.asdict(identity) | {"status": str(Status.COMPLETED)}
    query = RunQuery(And(tuple(Compare(name, "==", value) for name, value in wanted.items())), limit=1)
    found = store.select(query)
    return found[0] if found and found[0].run_dir.is_dir() else None


class JobStop:
    """Ends one job: when the sweep stops, or after `max_seconds` of wall time (0: never)."""

    def __init__(self, sweep: Stop, max_seconds: float) -> None:
        self._sweep = sweep
        self._max_seconds = max_seconds
        self._deadline = time.monotonic() + max_seconds if max_seconds else math.inf

    @property
    def received(self) -> bool:
        """Whether the job is to end."""
        return self._sweep.received or time.monotonic() > self._deadline

    def defer(self) -> None:
        """From now on the job asks between its slices."""

    def error(self) -> BtError:
        """Return why."""
        if self._sweep.received:
            return self._sweep.error()
        return LimitError(
            f"the job took longer than limits.max_seconds={self._max_seconds:g}. Raise it, or give it less to do."
        )


_runners: dict[tuple[str, int], JobRunner] = {}
_runners_lock = threading.Lock()


def _runner_of(work: SweepWork) -> JobRunner:
    """Return this process's runner of the sweep: what it has composed and loaded serves the next chunk too."""
    with _runners_lock:
        key = (work.plan.sweep_id, os.getpid())
        if key not in _runners:
            _runners.clear()
            _runners[key] = JobRunner(work.plan, Journal(work.folder))
        return _runners[key]


def chunks_of(jobs: Sequence[Job], size: int, *, alone: bool = False) -> list[Chunk]:
    """Cut `jobs` into chunks of `size` at most, in order."""
    starts: Iterable[int] = range(0, len(jobs), size)
    return [Chunk(tuple(jobs[start : start + size]), alone) for start in starts]
