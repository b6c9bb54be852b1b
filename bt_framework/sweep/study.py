"""The study of a sweep that learns from its results: Optuna proposes jobs, and is told what came of them.

Optuna keeps the trials, in a file of the folder or in a database. A trial knows its job by its attribute ``job``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bt_framework.config.schema import BaseConfig, param
from bt_framework.errors import ConfigError, StorageError
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.grid import grid_jobs
from bt_framework.sweep.objectives import Objective, objectives_of
from bt_framework.sweep.plan import SweepPlan
from bt_framework.sweep.space import Dimension, Interval, Space, Steps

if TYPE_CHECKING:
    import optuna

STUDY_VERSION = 1
STUDY_FILE = "study.jsonl"
SAMPLERS = ("tpe", "random", "grid", "cmaes")
PRUNERS = ("none", "median", "hyperband")
_DATABASES = ("sqlite", "postgresql", "mysql")

JOB = "job"
"""Attribute of a trial: the number of its job."""

_VERSION = "bt_study_version"
_OPTUNA = "optuna"


@dataclass
class StudySettings(BaseConfig):
    """Keys of ``hydra/sweeper=optuna``, below ``hydra.sweeper``."""

    sampler: str = param("tpe", "how jobs are proposed: " + ", ".join(SAMPLERS))
    n_trials: int = param(20, "how many jobs there are; of a grid at most its size")
    seed: int = param(1, "equal seeds propose equal jobs to equally many workers")
    startup_trials: int = param(10, "jobs before the sampler learns, and before the median prunes")
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


def check_storage(url: str) -> None:
    """Refuse a URL of what is no database, or one that has a password in it: plans are written to files.

    Raises
    ------
    ConfigError
        If it is one.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() not in _DATABASES:
        raise ConfigError(
            "hydra.sweeper.storage must be a URL of a database, such as sqlite:///study.db or "
            "postgresql+psycopg://user@host/name."
        )
    if parsed.password is not None or "password" in parsed.query:
        raise ConfigError(
            "hydra.sweeper.storage must be a URL without a password: it is kept in the sweep's plan. Give the password "
            "as the database's own tools take it, such as PGPASSWORD or ~/.pgpass."
        )


@contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Turn what a storage raises into a `StorageError`, without its text, which could hold a secret."""
    from sqlalchemy.exc import SQLAlchemyError

    optuna = optuna_module()
    try:
        yield
    except ModuleNotFoundError as error:
        raise StorageError(f"the study in {place} cannot be used: {error.name} is not installed.") from None
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise StorageError(
            f"the study in {place} cannot be used: {reason}. Check that it is there and can be written."
        ) from None


@contextmanager
def _reading(place: str) -> Iterator[None]:
    """Do the same where a study is read, which another version may have written."""
    optuna = optuna_module()
    try:
        with storage_errors(place):
            yield
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        raise StorageError(
            f"the study in {place} cannot be read: another version of Optuna than {optuna.__version__} wrote it, or it "
            "is damaged. Go on with the version that wrote it, or start the sweep anew."
        ) from None


def storage_place(options: Mapping[str, Any], folder: SweepFolder) -> str:
    """Return where a plan's study is, for people and for `open_storage`.

    Raises
    ------
    ConfigError
        If it says something else than a database; somebody may have edited the plan.
    """
    if options["storage"]:
        check_storage(options["storage"])
    return str(options["storage"] or folder.path / STUDY_FILE)


def open_storage(place: str) -> Any:
    """Open the storage of a study: a database by URL, or a file.

    Raises
    ------
    StorageError
        If it cannot be used.
    """
    optuna = optuna_module()
    with _reading(place):
        if "://" in place:
            return optuna.storages.get_storage(place)
        from bt_framework.sweep._optuna_parts import journal_storage

        return journal_storage(place)


def make_study(plan: SweepPlan, folder: SweepFolder) -> None:
    """Make the study of a sweep, unless it is there.

    Raises
    ------
    StorageError
        If it cannot be stored.
    """
    optuna = optuna_module()
    place = storage_place(plan.options, folder)
    storage = open_storage(place)
    ways = ["minimize" if o.minimize else "maximize" for o in objectives_of(plan)]
    with _reading(place):
        study = optuna.create_study(
            storage=storage, study_name=_study_name(plan), directions=ways, load_if_exists=True
        )
        if _VERSION not in study.user_attrs and not study.get_trials(deepcopy=False):
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
    with _reading(place):
        names = optuna.get_all_study_names(storage)
        if _study_name(plan) not in names:
            raise StorageError(
                f"there is no study of sweep {plan.sweep_id} in {place}. Start the sweep anew."
            )
        pruner = _pruner(plan.options, optuna)
        study = optuna.load_study(storage=storage, study_name=_study_name(plan), pruner=pruner)
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
        return optuna.pruners.MedianPruner(n_startup_trials=options["startup_trials"])
    if options["pruner"] == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=options["pruning_steps"])
    return optuna.pruners.NopPruner()


def plan_options(
    settings: StudySettings, space: Space, objectives: Sequence[Objective], batch: int
) -> dict[str, Any]:
    """Return what a plan keeps of a study: all that is needed to go on with it."""
    kept = {k: v for k, v in asdict(settings).items() if k not in ("metrics", "directions")}
    weighed = [[o.metric, o.minimize] for o in objectives]
    return {**kept, "objectives": weighed, "batch": batch, "space": space.plain()}
