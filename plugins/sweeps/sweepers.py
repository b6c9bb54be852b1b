"""The sweepers of ``bt -m``: they hand what is below ``hydra.sweeper`` to the task, which makes the plan."""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class TaskSweeper(Sweeper):
    """A sweeper whose plan the task makes.

    Parameters
    ----------
    **settings
        The keys of its YAML option; the task checks them.
    """

    name = ""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._task: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher."""
        from hydra.core.plugins import Plugins

        self._task = task_function
        self._task.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Plan the jobs and run them; a launcher that keeps workers ends them afterwards."""
        try:
            return self._task.sweep(self.name, self._settings)
        finally:
            close = getattr(self._task.launcher, "close", None)
            if close is not None:
                close()


class GridSweeper(TaskSweeper):
    """Every combination, in Hydra's order: the last key varies fastest."""

    name = "grid"


class RandomSweeper(TaskSweeper):
    """Jobs drawn independently."""

    name = "random"


class LatinHypercubeSweeper(TaskSweeper):
    """Jobs drawn so that each of as many equal parts of every key has one."""

    name = "lhs"


class OptunaSweeper(TaskSweeper):
    """Jobs that Optuna proposes as it learns from the others."""

    name = "optuna"


SWEEPERS = (GridSweeper, RandomSweeper, LatinHypercubeSweeper, OptunaSweeper)
