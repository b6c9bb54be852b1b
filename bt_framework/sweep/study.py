"""The study of a sweep that learns from its results: Optuna proposes jobs, and is told what came of them.

Optuna keeps the trials, in the sweep's folder or in a database. The folder's jobs and journal are the truth of what was
run: the study is told from there, so a process may be killed between any two of these steps. A trial knows its job by
its attribute ``job``. The sampler is made anew for each job, from the seed and the job's number: it knows nothing that
is not in the study, so a resumed study goes on as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bt_framework.config.schema import BaseConfig, param
from bt_framework.errors import ConfigError, StorageError
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.grid import grid_jobs
from bt_framework.sweep.journal import Ending, Outcome
from bt_framework.sweep.objectives import Objective, objectives_of, values_of
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.space import Choices, Dimension, Interval, Space, Steps

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STUDY_VERSION = 1
STUDY_FILE = "study.jsonl"
SAMPLERS = ("tpe", "random", "grid", "cmaes")
PRUNERS = ("none", "median", "hyperband")

_JOB = "job"
_VERSION = "bt_study_version"
_OPTUNA = "optuna"


@dataclass
class StudySettings(BaseConfig):
    """Keys of ``hydra/sweeper=optuna``, below ``hydra.sweeper``."""

    sampler: str = param("tpe", "how jobs are proposed: " + ", ".join(SAMPLERS))
    n_trials: int = param(20, "how many jobs there are; of a grid at most its size")
    seed: int = param(1, "equal seeds propose equal jobs, as long as one worker runs them")
    startup_trials: int = param(10, "jobs at random before the sampler learns")
    metrics: list[str] = param([], "metrics to weigh against each other, instead of sweep.metric")
    directions: list[str] = param([], "maximize or minimize, one per metric")
    storage: str = param("", "URL of a database for the study, without a password; empty: the sweep's folder")
    pruner: str = param("none", "which jobs are given up early: " + ", ".join(PRUNERS))
    pruning_steps: int = param(10, "how often a job's profit is compared, at equal parts of simulated time")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for name, names in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
            if getattr(self, name) not in names:
                raise ConfigError(
                    f"hydra.sweeper.{name} must be one of {', '.join(names)}, was {getattr(self, name)!r}."
                )
        for name, least in (("n_trials", 1), ("seed", 0), ("startup_trials", 1), ("pruning_steps", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"hydra.sweeper.{name} must be >= {least}, was {getattr(self, name)}.")
        self._check_objectives()

    def _check_objectives(self) -> None:
        for direction in self.directions:
            if direction not in ("maximize", "minimize"):
                raise ConfigError(
                    f"hydra.sweeper.directions must be maximize or minimize each, was {direction!r}."
                )
        if len(self.directions) != len(self.metrics):
            raise ConfigError(
                f"hydra.sweeper.directions must have one direction per metric, has {len(self.directions)} for "
                f"{len(self.metrics)} in hydra.sweeper.metrics."
            )
        if len(self.metrics) > 1 and self.sampler == "cmaes":
            raise ConfigError("hydra.sweeper.sampler=cmaes takes one metric. Use tpe for several.")
        if len(self.metrics) > 1 and self.pruner != "none":
            raise ConfigError(
                f"hydra.sweeper.pruner={self.pruner} takes one metric: nothing says which of several half-done jobs "
                "is worse. Leave hydra.sweeper.pruner=none."
            )

    def objectives(self, otherwise: Objective) -> tuple[Objective, ...]:
        """Return the objectives; the one that the sweep has `otherwise` if none are given."""
        pairs = zip(self.metrics, self.directions, strict=True)
        return tuple(Objective(metric, way == "minimize") for metric, way in pairs) or (otherwise,)


def check_space(settings: StudySettings, space: Space) -> None:
    """Refuse a space that the sampler cannot use.

    Raises
    ------
    ConfigError
        If it cannot.
    """
    if settings.sampler == "grid":
        next(grid_jobs(space))
    numbers = [d for d in space.dimensions.values() if _is_number(d)]
    if settings.sampler == "cmaes" and len(numbers) < 2:
        raise ConfigError(
            f"hydra.sweeper.sampler=cmaes needs two keys of numbers at least, interval(A,B) or range(A,B), has "
            f"{len(numbers)}. Use tpe."
        )
    for key, dimension in space.dimensions.items():
        if settings.sampler == "cmaes" and not _is_number(dimension):
            raise ConfigError(
                f"hydra.sweeper.sampler=cmaes takes numbers only, {key} lists values. Write interval(A,B) or "
                "range(A,B), or use tpe."
            )


def _is_number(dimension: Dimension) -> bool:
    return isinstance(dimension, Interval) or (isinstance(dimension, Steps) and len(dimension.values) > 1)


def optuna_module() -> Any:
    """Import Optuna, and let it talk of errors only.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import cmaes  # noqa: F401
        import optuna
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"hydra/sweeper=optuna needs {error.name}. Install it: pip install 'bt-framework[optuna]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def refuse_password(url: str) -> None:
    """Refuse a URL of a database that has a password in it, since plans are written to files.

    Raises
    ------
    ConfigError
        If it has one, or is no URL.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(
            "hydra.sweeper.storage must be a URL of a database, such as sqlite:///study.db or "
            "postgresql+psycopg://user@host/name."
        ) from None
    if parsed.password is not None or "password" in parsed.query:
        raise ConfigError(
            "hydra.sweeper.storage must be a URL without a password: it is kept in the sweep's plan. Give the password "
            "as the database's own tools take it, such as PGPASSWORD or ~/.pgpass."
        )


@contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Turn what Optuna's storages raise into a `StorageError`.

    Raises
    ------
    StorageError
        In place of theirs, without its text where that could hold a secret.
    """
    from sqlalchemy.exc import SQLAlchemyError

    optuna = optuna_module()
    try:
        yield
    except (RuntimeError, AssertionError, ValueError, KeyError) as error:
        raise StorageError(
            f"the study in {place} cannot be read: it was written by another version of Optuna than "
            f"{optuna.__version__}, or is damaged. Go on with the version that wrote it, or start the sweep anew."
        ) from (error if place.endswith(STUDY_FILE) else None)
    except ModuleNotFoundError as error:
        raise StorageError(f"the study in {place} cannot be used: {error.name} is not installed.") from None
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        raise StorageError(
            f"the study in {place} cannot be used: {type(error).__name__}. Check that the place is there and can be "
            "written."
        ) from None


def storage_place(options: Mapping[str, Any], folder: SweepFolder) -> str:
    """Return where a plan's study is, for people and for `open_storage`."""
    return str(options["storage"] or folder.path / STUDY_FILE)


def open_storage(place: str) -> Any:
    """Open the storage of a study: a database by URL, or a file.

    Raises
    ------
    StorageError
        If it cannot be used.
    """
    optuna = optuna_module()
    with storage_errors(place):
        if "://" in place:
            return optuna.storages.get_storage(place)
        from bt_framework.sweep._study_file import journal_storage

        return journal_storage(place)


def make_study(plan: SweepPlan, folder: SweepFolder) -> None:
    """Make the study of a new sweep.

    Raises
    ------
    StorageError
        If it cannot be stored.
    """
    optuna = optuna_module()
    place = storage_place(plan.options, folder)
    storage = open_storage(place)
    ways = ["minimize" if o.minimize else "maximize" for o in objectives_of(plan)]
    with storage_errors(place):
        study = optuna.create_study(storage=storage, study_name=_study_name(plan), directions=ways)
        study.set_user_attr(_OPTUNA, optuna.__version__)
        study.set_user_attr(_VERSION, STUDY_VERSION)


def load_study(plan: SweepPlan, folder: SweepFolder) -> optuna.Study:
    """Load the study of a sweep, in whatever process.

    Raises
    ------
    StorageError
        If there is none, or another version wrote it.
    """
    optuna = optuna_module()
    place = storage_place(plan.options, folder)
    if "://" not in place and not (folder.path / STUDY_FILE).is_file():
        raise StorageError(
            f"there is no study in {place}. Workers that do not have the sweep's folder need a database: "
            "hydra.sweeper.storage=URL."
        )
    storage = open_storage(place)
    with storage_errors(place):
        study = optuna.load_study(
            storage=storage, study_name=_study_name(plan), pruner=_pruner(plan.options, optuna)
        )
        attributes = study.user_attrs
    _check_versions(attributes, place, optuna.__version__)
    return study  # type: ignore[no-any-return]


def _study_name(plan: SweepPlan) -> str:
    """In a database the sweep's id. A file has one study; hyperband's brackets depend on its name."""
    return plan.sweep_id if plan.options["storage"] else "sweep"


def _check_versions(attributes: Mapping[str, Any], place: str, installed: str) -> None:
    version, writer = attributes.get(_VERSION), str(attributes.get(_OPTUNA, "unknown"))
    if version != STUDY_VERSION:
        raise StorageError(
            f"the study in {place} must be of version {STUDY_VERSION}, was {version}. Go on with the release that "
            "wrote it, or start the sweep anew."
        )
    if writer.partition(".")[0] != installed.partition(".")[0]:
        raise StorageError(
            f"the study in {place} was written by Optuna {writer}, installed is {installed}: it would go on otherwise. "
            f"Install optuna=={writer}, or start the sweep anew."
        )


def _pruner(options: Mapping[str, Any], optuna: Any) -> Any:
    if options["pruner"] == "median":
        return optuna.pruners.MedianPruner()
    if options["pruner"] == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=options["pruning_steps"])
    return optuna.pruners.NopPruner()


@dataclass
class Learner:
    """Proposes the jobs of a sweep and learns from their outcomes.

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

        lost = []
        for trial in self._study.get_trials(deepcopy=False):
            if _JOB in trial.user_attrs:
                self._trials[trial.user_attrs[_JOB]] = trial.number
            elif not trial.state.is_finished():
                self._study.tell(trial.number, state=TrialState.FAIL)
        planned = len(self.folder.jobs())
        lost = sorted(number for number in self._trials if number >= planned)
        if lost:
            # Asked for as one batch, of which no job has started.
            trials = self._study.get_trials(deepcopy=False)
            jobs = [self._job(number, trials[self._trials[number]].params) for number in lost]
            size = self._options["batch"] - len(jobs)
            self.folder.add_jobs([*jobs, *self._asked(planned + len(jobs), size)])

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
                trial.set_user_attr(_JOB, number)
                self._trials[number] = trial.number
                jobs.append(self._job(number, trial.params))
        return jobs

    def _job(self, number: int, params: Mapping[str, Any]) -> Job:
        return Job(number, {key: text_of(d, params[key]) for key, d in self._space.dimensions.items()})

    def _sampler(self, number: int) -> Any:
        """Return the sampler of a job, made from the seed and the job's number alone."""
        from optuna import samplers

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
            return samplers.PartialFixedSampler(point, samplers.RandomSampler(seed=seed))
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
            params=failed.params, distributions=self._distributions, values=values, user_attrs={_JOB: job}
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
        return dimension.values[round((value - dimension.first) / dimension.step)]
    return str(value)


def value_of(dimension: Dimension, text: str) -> Any:
    """Return a value of an override as Optuna knows it."""
    if isinstance(dimension, Steps) and len(dimension.values) > 1:
        return int(text) if dimension.whole else float(text)
    return text


def plan_options(settings: StudySettings, space: Space, objectives: Sequence[Objective], batch: int) -> dict[str, Any]:
    """Return what a plan keeps of a study: all that is needed to go on with it."""
    kept = {k: v for k, v in asdict(settings).items() if k not in ("metrics", "directions")}
    weighed = [[o.metric, o.minimize] for o in objectives]
    return {**kept, "objectives": weighed, "batch": batch, "space": space.plain()}
