"""The sweeper of ``bt -m``: Hydra's grid, every combination of the values given."""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(Sweeper):
    """Every combination, in Hydra's order: the last key varies fastest."""

    def __init__(self) -> None:
        self._task: Any = None
        self._context: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher."""
        from hydra.core.plugins import Plugins

        self._task, self._context = task_function, hydra_context
        self._task.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Plan the jobs and run them."""
        return self._task.sweep_grid(self._context.config_loader)
