"""Proposes the jobs of a sweep that learns from its results, with Optuna."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.grid import grid_jobs
from bt_framework.sweep.journal import Ending, Outcome
from bt_framework.sweep.objectives import objectives_of, values_of
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.space import Choices, Dimension, Interval, Space, Steps
from bt_framework.sweep.study import JOB, load_study, storage_errors, storage_place

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass
class Learner:
    """Proposes jobs and is told their outcomes.

    The folder's jobs and journal are the truth of what was run: the study is told from there, so the process may be
    killed between any two steps. The sampler is made anew for each job, from the seed and the job's number: it knows
    nothing that is not in the study, so a resumed study goes on as one that was never interrupted.

    Parameters
    ----------
    plan : SweepPlan
        Of a sweeper that learns.
    folder : SweepFolder
        With the plan and the study.
    """

    plan: SweepPlan
    folder: SweepFolder
    _study: Any = field(init=False)
    _trials: dict[int, int] = field(init=False, default_factory=dict)
    """Number of each job's latest trial."""

    def __post_init__(self) -> None:
        """Open the study and take back what was proposed and never became a job."""
        self._options = self.plan.options
        self._objectives = objectives_of(self.plan)
        self._space = Space.of_plain(self._options["space"])
        self._distributions = {key: distribution(d) for key, d in self._space.dimensions.items()}
        self._study = load_study(self.plan, self.folder)
        self._last = self._options["n_trials"]
        if self._options["sampler"] == "grid":
            self._points = list(grid_jobs(self._space))
            self._last = min(self._last, len(self._points))
        self._catch_up()

    def _catch_up(self) -> None:
        from optuna.trial import TrialState

        for trial in self._study.get_trials(deepcopy=False):
            if JOB in trial.user_attrs:
                self._trials[trial.user_attrs[JOB]] = trial.number
            elif not trial.state.is_finished():
                self._study.tell(trial.number, state=TrialState.FAIL)
        planned = len(self.folder.jobs())
        lost = sorted(number for number in self._trials if number >= planned)
        if lost:
            # They are of one batch, and no job of it has started.
            trials, batch = self._study.get_trials(deepcopy=False), self._options["batch"]
            jobs = [self._job(number, trials[self._trials[number]].params) for number in lost]
            self.folder.add_jobs([*jobs, *self._asked(lost[-1] + 1, -(lost[-1] + 1) % batch)])

    def ask(self) -> list[Job]:
        """Propose the next jobs and add them to the plan; none when there are enough.

        Raises
        ------
        StorageError
            If the study or the plan cannot be written.
        """
        jobs = self._asked(len(self._trials), self._options["batch"])
        if jobs:
            self.folder.add_jobs(jobs)
        return jobs

    def _asked(self, first: int, size: int) -> list[Job]:
        jobs = []
        with storage_errors(storage_place(self._options, self.folder)):
            for number in range(first, min(first + size, self._last)):
                self._study.sampler = self._sampler(number)
                trial = self._study.ask(self._distributions)
                trial.set_user_attr(JOB, number)
                self._trials[number] = trial.number
                jobs.append(self._job(number, trial.params))
        return jobs

    def _job(self, number: int, params: Mapping[str, Any]) -> Job:
        return Job(number, {key: text_of(d, params[key]) for key, d in self._space.dimensions.items()})

    def _sampler(self, number: int) -> Any:
        """Return the sampler of a job, made from the seed and the job's number alone."""
        from optuna import samplers

        from bt_framework.sweep._optuna_parts import GridPoint

        name, startup = self._options["sampler"], self._options["startup_trials"]
        text = f"{self._options['seed']}/{number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        if name == "random":
            return samplers.RandomSampler(seed=seed)
        if name == "cmaes":
            return samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        if name == "grid":
            varied = self._points[number].varied
            point = {key: value_of(d, varied[key]) for key, d in self._space.dimensions.items()}
            return GridPoint(point)
        return samplers.TPESampler(seed=seed, n_startup_trials=startup)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell the study what came of jobs, in their order; what it knows already is left out.

        A job without a value of the metric counts as worse than any with one; of a failed one nothing is learned.

        Raises
        ------
        StorageError
            If the study cannot be written.
        """
        from optuna.trial import TrialState

        with storage_errors(storage_place(self._options, self.folder)):
            trials = self._study.get_trials(deepcopy=False)
            for outcome in sorted(outcomes, key=lambda o: o.job):
                trial = trials[self._trials[outcome.job]]
                values = values_of(outcome, self._objectives)
                state = TrialState.COMPLETE if values else TrialState.PRUNED
                if outcome.ending is Ending.FAILED:
                    state = TrialState.FAIL
                if not trial.state.is_finished():
                    self._study.tell(trial.number, values, state=state)
                elif trial.state is TrialState.FAIL and state is TrialState.COMPLETE:
                    self._add(trial, outcome.job, values)

    def _add(self, failed: FrozenTrial, job: int, values: list[float] | None) -> None:
        """Add a trial for a job that had failed and was run again with success."""
        from optuna.trial import create_trial

        again = create_trial(
            params=failed.params, distributions=self._distributions, values=values, user_attrs={JOB: job}
        )
        self._study.add_trial(again)
        self._trials[job] = len(self._study.get_trials(deepcopy=False)) - 1


def distribution(dimension: Dimension) -> Any:
    """Return `dimension` as Optuna knows it."""
    from optuna import distributions

    if isinstance(dimension, Interval):
        if dimension.whole:
            return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, Steps) and len(dimension.values) > 1:
        low, high = sorted((float(dimension.values[0]), float(dimension.values[-1])))
        if dimension.whole:
            return distributions.IntDistribution(int(low), int(high), step=abs(int(dimension.step)))
        return distributions.FloatDistribution(low, high, step=abs(dimension.step))
    assert isinstance(dimension, Choices)
    return distributions.CategoricalDistribution(dimension.values)


def text_of(dimension: Dimension, value: Any) -> str:
    """Return what Optuna chose, as an override writes it."""
    if isinstance(dimension, Interval):
        return dimension.text(value)
    if isinstance(dimension, Steps) and len(dimension.values) > 1:
        index = round((float(value) - dimension.first) / dimension.step)
        return dimension.values[index]
    return str(value)


def value_of(dimension: Dimension, text: str) -> Any:
    """Return a value of an override as Optuna knows it."""
    if isinstance(dimension, Steps) and len(dimension.values) > 1:
        return int(text) if dimension.whole else float(text)
    return text
