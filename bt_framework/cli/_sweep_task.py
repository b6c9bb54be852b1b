"""What Hydra's sweepers and launchers call: the plan is made here, and chunks of jobs are handed to workers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from bt_framework.config import _overrides
from bt_framework.config.variants import VariantComposer
from bt_framework.errors import WorkersLost
from bt_framework.plugin_manager import PluginHost
from bt_framework.registry import Kind
from bt_framework.sweep.driver import Driver, Launcher, raise_failures
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.grid import Grid
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.work import SweepWork

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

    from bt_framework.config.conduct import Conduct
    from bt_framework.sweep.journal import Outcome


class SweepTask:
    """One ``bt -m``: its sweeper calls `sweep`, its launcher calls the task itself, in a worker.

    Parameters
    ----------
    host : PluginHost
        What is installed.
    overrides, config_dirs : sequence of str
        As on the command line.
    """

    def __init__(self, host: PluginHost, overrides: Sequence[str], config_dirs: Sequence[str]) -> None:
        self.launcher: Any = None
        self.work: SweepWork | None = None
        self._composer = VariantComposer(host, config_dirs)
        self._overrides = list(overrides)
        self._config_dirs = tuple(config_dirs)

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker: the work alone."""
        return {"work": self.work}

    def __call__(self, cfg: DictConfig) -> list[Outcome]:
        """Run a chunk in this process; Hydra's number of the job says which."""
        from bt_framework.interrupt import StopSignals

        assert self.work is not None
        with StopSignals() as stop:
            stop.defer()
            return self.work.run_chunk(int(HydraConfig.get().job.num), stop)

    def sweep_grid(self, loader: ConfigLoader) -> list[Outcome]:
        """Plan every combination, and run what is to be run."""
        fixed, varied = self._split(loader)
        grid = Grid({key: list(o.sweep_string_iterator()) for key, o in varied.items()})
        jobs = grid.jobs(self._conduct(fixed, grid).sweep.max_jobs)
        return self.run("grid", fixed, tuple(grid.values), jobs, checked=grid.samples())

    def _conduct(self, fixed: Sequence[str], grid: Grid) -> Conduct:
        first = [f"{key}={values[0]}" for key, values in grid.values.items() if values]
        return self._composer.compose([*fixed, *first]).conduct

    def run(
        self,
        sweeper: str,
        fixed: Sequence[str],
        keys: tuple[str, ...],
        jobs: list[Job],
        checked: Iterable[Job],
    ) -> list[Outcome]:
        """Check the jobs `checked`, write the plan down and run it.

        Raises
        ------
        ConfigError
            If a job is wrong; nothing has been written then.
        SweepError
            If jobs have failed.
        """
        conduct = self._composer.compose([*fixed, *(f"{k}={v}" for k, v in jobs[0].varied.items())]).conduct
        from bt_framework.assembly import new_run_id

        plan = SweepPlan(
            sweep_id=new_run_id(),
            fixed=tuple(fixed),
            keys=keys,
            config_dirs=self._config_dirs,
            sweeper=sweeper,
            complete=True,
            metric=conduct.sweep.metric,
            minimize=conduct.sweep.minimize,
            created_at_ns=time.time_ns(),
        )
        for job in checked:
            self._composer.compose(plan.overrides(job)).one(Kind.STRATEGY)
        folder = SweepFolder(Path(conduct.sweep.dir) / plan.sweep_id)
        folder.create(plan, jobs)
        with folder.held():
            outcomes = Driver(folder, conduct, self._launcher()).run(jobs)
        raise_failures(outcomes, len(jobs))
        return outcomes

    def _launcher(self) -> Launcher:
        in_process = getattr(self.launcher, "in_process", False)
        return Launcher(self._launch, getattr(self.launcher, "n_jobs", 1), in_process)

    def _launch(self, work: SweepWork) -> Iterable[Outcome]:
        """Give each chunk to Hydra's launcher as a job of its own."""
        self.work = work
        lost: list[int] = []
        for number, answer in enumerate(self.launcher.launch([[] for _ in work.chunks], initial_job_idx=0)):
            value = answer._return_value  # asking for `return_value` would print a traceback of an error
            if isinstance(value, WorkersLost):
                lost.append(number)
            elif isinstance(value, BaseException):
                raise value
            else:
                yield from value
        if lost:
            raise WorkersLost(f"{len(lost)} chunks have lost their workers.", chunks=tuple(lost))

    def _split(self, loader: ConfigLoader) -> tuple[list[str], dict[str, Override]]:
        """Part the overrides into those that all jobs share, and those that list values, by key."""
        _overrides.parse(self._overrides)
        parser = OverridesParser.create(config_loader=loader)
        fixed, varied = [], {}
        for override in parser.parse_overrides(self._overrides):
            text = str(override.input_line)
            if override.is_sweep_override():
                sign = text[: len(text) - len(text.lstrip("+"))]
                varied[sign + override.key_or_group] = override
            elif not _overrides.is_hydra(override) or override.key_or_group == "hydra.searchpath":
                fixed.append(text)
        return fixed, varied
