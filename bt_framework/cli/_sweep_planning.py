"""From a command line to the plan of a sweep: what is wrong with it is said before anything is written."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hydra._internal.config_repository import ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from bt_framework.cli._sweep_space import Varied, split
from bt_framework.config import _overrides
from bt_framework.config import compose as composing
from bt_framework.config._secrets import secrets_in
from bt_framework.config._sources import LIST_GROUPS
from bt_framework.config.conduct import Conduct
from bt_framework.config.schema import BaseConfig, param
from bt_framework.config.variants import VariantComposer
from bt_framework.errors import ConfigError
from bt_framework.plugin_manager import PluginHost
from bt_framework.registry import Kind
from bt_framework.sweep.grid import grid_jobs, refuse_too_many
from bt_framework.sweep.objectives import Objective, refuse_unknown_metric
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.sampling import drawn_jobs
from bt_framework.sweep.space import Space

_Settings = TypeVar("_Settings", bound=BaseConfig)

_NEEDED = [Kind.STRATEGY, *(k for k in Kind if k not in (Kind.STRATEGY, Kind.BARS, *LIST_GROUPS))]
"""Groups of which every job chooses one option."""


@dataclass
class GridSettings(BaseConfig):
    """The grid has no keys."""


@dataclass
class DrawnSettings(BaseConfig):
    """Keys of ``hydra/sweeper=random`` and ``lhs``, below ``hydra.sweeper``."""

    n_trials: int = param(20, "how many jobs there are")
    seed: int = param(1, "equal seeds give equal jobs")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for name, least in (("n_trials", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"hydra.sweeper.{name} must be >= {least}, was {getattr(self, name)}.")


@dataclass(frozen=True)
class Draft:
    """A plan that has been checked and is not written yet.

    Attributes
    ----------
    jobs : list of Job
        All of them, or none of a plan that is not complete.
    conduct : Conduct
        How the sweep is to be run.
    """

    plan: SweepPlan
    jobs: list[Job]
    conduct: Conduct


@dataclass(frozen=True)
class Planner:
    """Makes drafts.

    Parameters
    ----------
    host : PluginHost
        What is installed.
    composer : VariantComposer
        Composes the jobs by which a plan is judged.
    overrides, config_dirs : sequence of str
        As on the command line.
    workers : int
        Jobs at once: a sweeper that learns proposes as many.
    """

    host: PluginHost
    composer: VariantComposer
    overrides: Sequence[str]
    config_dirs: Sequence[str]
    workers: int = 1

    def draft(self, sweeper: str, settings: Mapping[str, Any]) -> Draft:
        """Plan what `sweeper` makes of the overrides.

        Parameters
        ----------
        sweeper : str
            grid, random, lhs or optuna.
        settings : mapping
            What is below ``hydra.sweeper``.

        Raises
        ------
        ConfigError, PluginError
            If the sweep, or a job of it, is wrong.
        StorageError
            If the database of a study cannot be used.
        """
        self._refuse_secrets()
        varied = split(self.overrides, self._options)
        conduct = self._conduct(varied)
        refuse_unknown_metric(conduct.sweep.metric, "sweep.metric")
        make = {"grid": self._grid, "optuna": self._learned}.get(sweeper, self._drawn)
        made = make(sweeper, varied, settings, conduct)
        self._check(varied.fixed, made.space)
        return Draft(self._plan(sweeper, varied, made, conduct), made.jobs or [], conduct)

    def _conduct(self, varied: Varied) -> Conduct:
        """Return how all jobs are carried out; the first one may be wrong by itself."""
        first, last = varied.ends()
        try:
            return self.composer.compose(first).conduct
        except ConfigError as error:
            try:
                return self.composer.compose(last).conduct
            except ConfigError:
                raise error from None

    def _refuse_secrets(self) -> None:
        """Refuse overrides with passwords: they are kept in the plan, and jobs need them as they are."""
        for shown in secrets_in(self.overrides, self.host.registry.components()):
            raise ConfigError(
                f"{shown}: a sweep writes its overrides down, so they must hold no secret. Put it into the "
                "environment and write ${oc.env:NAME}, or give it as the database's own tools take it."
            )

    def _options(self, group: str) -> list[str]:
        """Names of a group's options, in the folders of packages and of the user too."""
        given = [o.value() for o in _overrides.parse(self.overrides) if o.key_or_group == "hydra.searchpath"]
        paths = [path for value in given for path in (value if isinstance(value, list) else [value])]
        searched = ConfigSearchPathImpl()
        for path in (
            f"pkg://{composing.CONFIG_MODULE}",
            *paths,
            *composing.search_paths(self.host, self.config_dirs),
        ):
            searched.append("bt", str(path))
        Plugins.instance()  # which knows where options may lie
        return ConfigRepository(searched).get_group_options(group)

    def _grid(self, sweeper: str, varied: Varied, settings: Mapping[str, Any], conduct: Conduct) -> _Made:
        _checked(GridSettings, settings)
        refuse_too_many(varied.counts(), conduct.sweep.max_jobs)
        space = varied.space()
        return _Made(space, list(grid_jobs(space)))

    def _drawn(self, sweeper: str, varied: Varied, settings: Mapping[str, Any], conduct: Conduct) -> _Made:
        chosen = _checked(DrawnSettings, settings)
        space = _space_of(sweeper, varied, chosen.n_trials, conduct)
        return _Made(
            space, drawn_jobs(sweeper, space, chosen.n_trials, chosen.seed), dataclasses.asdict(chosen)
        )

    def _learned(self, sweeper: str, varied: Varied, settings: Mapping[str, Any], conduct: Conduct) -> _Made:
        from bt_framework.sweep import study

        chosen = _checked(study.StudySettings, settings)
        for metric in chosen.metrics:
            refuse_unknown_metric(metric, "hydra.sweeper.metrics")
        study.optuna_module()
        space = _space_of(sweeper, varied, chosen.n_trials, conduct)
        study.check_space(chosen, space)
        if chosen.storage:
            study.check_storage(chosen.storage)
            study.open_storage(chosen.storage)
        objectives = chosen.objectives(Objective(conduct.sweep.metric, conduct.sweep.minimize))
        return _Made(space, None, study.plan_options(chosen, space, objectives, self.workers), objectives[0])

    def _check(self, fixed: Sequence[str], space: Space) -> None:
        """Compose the jobs by which the space is judged."""
        for alternatives in space.checks():
            problems = []
            for job in alternatives:
                try:
                    composition = self.composer.compose([*fixed, *job.overrides])
                    for kind in _NEEDED:
                        composition.one(kind)
                except ConfigError as error:
                    problems.append(error)
            if len(problems) == len(alternatives):
                raise problems[0]

    def _plan(self, sweeper: str, varied: Varied, made: _Made, conduct: Conduct) -> SweepPlan:
        from bt_framework.assembly import new_run_id

        best = made.best or Objective(conduct.sweep.metric, conduct.sweep.minimize)
        return SweepPlan(
            sweep_id=new_run_id(),
            fixed=tuple(varied.fixed),
            keys=tuple(made.space.dimensions),
            config_dirs=tuple(self.config_dirs),
            sweeper=sweeper,
            complete=made.jobs is not None,
            metric=best.metric,
            minimize=best.minimize,
            created_at_ns=time.time_ns(),
            options=made.options,
            command=tuple(self.overrides),
            cwd=os.getcwd(),
        )


@dataclass(frozen=True)
class _Made:
    """What a sweeper makes; no `jobs` if they are proposed as others end."""

    space: Space
    jobs: list[Job] | None
    options: Mapping[str, Any] = field(default_factory=dict)
    best: Objective | None = None


def _space_of(sweeper: str, varied: Varied, trials: int, conduct: Conduct) -> Space:
    """Return the space that `trials` jobs are taken from."""
    if not varied.overrides:
        raise ConfigError(
            f"hydra/sweeper={sweeper} needs a key that varies, such as strategy.entry_z='interval(1,3)'."
        )
    if trials > conduct.sweep.max_jobs:
        raise ConfigError(
            f"hydra.sweeper.n_trials must be at most sweep.max_jobs={conduct.sweep.max_jobs:,}, was {trials:,}."
        )
    return varied.space()


def _checked(settings_class: type[_Settings], given: Mapping[str, Any]) -> _Settings:
    """Return the settings of a sweeper; OmegaConf's errors name the keys as they are overridden."""
    schema, values = ({"hydra": {"sweeper": part}} for part in (OmegaConf.structured(settings_class), given))
    settings = OmegaConf.to_object(OmegaConf.select(OmegaConf.merge(schema, values), "hydra.sweeper"))
    assert isinstance(settings, settings_class)
    return settings
