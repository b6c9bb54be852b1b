"""What has become of the jobs of a sweep so far: counts, pace, the best one; each job is looked at once."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bt_framework.sweep.journal import Ending, JobState, Outcome
from bt_framework.sweep.plan import Job, SweepPlan

_PACE_JOBS = 20
_PACE_S = 30.0


@dataclass(frozen=True)
class Best:
    """The best job so far and its value of the metric that the sweep looks for."""

    job: Job
    value: float


class Tally:
    """Adds up what ends.

    Parameters
    ----------
    clock : callable
        Seconds; differences count.

    Attributes
    ----------
    planned : int
        Jobs of the sweep.
    reused : int
        Of the completed ones, those whose run was there before.
    best : Best or None
        None while no job has a value.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.planned = 0
        self.reused = 0
        self.best: Best | None = None
        self._clock = clock
        self._plan: SweepPlan | None = None
        self._jobs = 0
        self._endings: dict[int, Ending] = {}
        self._counts: Counter[Ending] = Counter()
        self._began_s = self._ended_s = clock()
        self._before = 0
        self._pace: deque[tuple[float, int]] = deque()

    def begin(self, plan: SweepPlan, jobs: Sequence[Job], states: Mapping[int, JobState]) -> None:
        """Count jobs that are going to be run; those that ended before count as such."""
        if self._plan is None:
            self._began_s = self._ended_s = self._clock()
        self._plan = plan
        self._jobs += len(jobs)
        self.planned = planned_jobs(plan, self._jobs)
        for job in jobs:
            state = states.get(job.number)
            if state is None or (state.ending is Ending.FAILED and not state.tried):
                continue  # a sweep that is resumed tries it again
            if (outcome := state.outcome) is not None:
                self._count(job, outcome)
                self._before += 1
        self._pace.append((self._began_s if not self._pace else self._clock(), self.done))

    def take(self, ended: Iterable[tuple[Job, Outcome]]) -> None:
        """Count what has ended; of a job that is tried again the last attempt counts."""
        for job, outcome in ended:
            self._count(job, outcome)
        now, done = self._clock(), self.done
        if self._pace and done > self._pace[-1][1]:
            self._ended_s = now
            self._pace.append((now, done))
            if len(self._pace) > 2 and self._pace[0][0] == self._began_s:
                self._pace.popleft()  # the first job reads the data and compiles the loop for the others
            while len(self._pace) > 2 and self._is_enough(self._pace[1], now, done):
                self._pace.popleft()

    def _count(self, job: Job, outcome: Outcome) -> None:
        before = self._endings.get(job.number)
        if before is not None:
            self._counts[before] -= 1
        self._endings[job.number] = outcome.ending
        self._counts[outcome.ending] += 1
        if outcome.ending is Ending.COMPLETED and before is not Ending.COMPLETED:
            self.reused += outcome.reused
            self._weigh(job, outcome)

    def _weigh(self, job: Job, outcome: Outcome) -> None:
        assert self._plan is not None
        value = outcome.metrics.get(self._plan.metric)
        if value is None or not math.isfinite(value):
            return
        sign = 1 if self._plan.minimize else -1
        best = self.best
        if best is None or (sign * value, job.number) < (sign * best.value, best.job.number):
            self.best = Best(job, value)

    @staticmethod
    def _is_enough(sample: tuple[float, int], now: float, done: int) -> bool:
        return now - sample[0] >= _PACE_S and done - sample[1] >= _PACE_JOBS

    def count(self, ending: Ending) -> int:
        """How many jobs have ended so."""
        return self._counts[ending]

    @property
    def done(self) -> int:
        """Jobs that have ended, however."""
        return len(self._endings)

    @property
    def left(self) -> int:
        """Jobs that have not."""
        return self.planned - self.done

    @property
    def wall_s(self) -> float:
        """Since this process began with the sweep."""
        return self._clock() - self._began_s

    @property
    def mean_per_s(self) -> float:
        """Jobs per second from the begin of this process to the last job that ended; 0 if none has."""
        took_s = self._ended_s - self._began_s
        return (self.done - self._before) / took_s if took_s > 0 else 0.0

    @property
    def per_s(self) -> float:
        """Jobs per second lately, over half a minute and some jobs; 0 before two have ended in this process."""
        if self.done - self._before < min(2, self.planned):
            return 0.0
        at, done = self._pace[0]
        took_s = self._clock() - at
        return (self.done - done) / took_s if took_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest takes at that pace; None if there is none."""
        return self.left / self.per_s if self.per_s > 0 else None


def planned_jobs(plan: SweepPlan, jobs: int) -> int:
    """How many jobs the sweep is going to have, of which `jobs` are known."""
    if plan.complete:
        return jobs
    return max(jobs, int(plan.options.get("n_trials", jobs)))
