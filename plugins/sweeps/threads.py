"""The launchers ``threads`` and ``processes``: jobs in threads of one process, or in processes of one machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from bt_framework.errors import WorkersLost
from bt_framework.sweep.memory import cores
from bt_framework.sweep.processes import Workers
from bt_framework.sweep.worker import LauncherStop, Origin
from hydra_plugins.bt_sweeps._foreign import fitting, returned


class ThreadsLauncher(Launcher):
    """Runs jobs in threads, which share mapped events and compiled code; the compiled loop lets other threads run.

    A strategy in plain Python would not let them run: its jobs go to processes.

    Parameters
    ----------
    n_jobs : int
        Threads; 0 for one per core that the process may use.
    """

    in_process = True
    isolates = False

    def __init__(self, n_jobs: int = 0) -> None:
        self.n_jobs = n_jobs or cores()
        self.task: Any = None
        self._workers: Workers | None = None
        self._has_said = False

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives every launcher."""
        self.task = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the chunks of the task and wait for them; a chunk whose process is gone returns a `WorkersLost`."""
        work = self.task.work
        apart = self._apart()
        if apart:
            self.n_jobs = self._processes(apart)
        workers = self._workers = self._workers or Workers(Origin.here(self.task.packages))

        def run(number: int) -> JobReturn:
            try:
                if number in apart and not stop.received:
                    return returned(workers.run_chunk(work, number, stop))
                return returned(work.run_chunk(number, stop))
            except WorkersLost as error:
                return returned(error)

        with LauncherStop(work.folder) as stop:
            with ThreadPoolExecutor(self.n_jobs, "bt-job") as pool:
                answers = list(pool.map(run, range(len(work.chunks))))
            if stop.received:
                answers.append(returned(stop.error()))
        return answers

    def close(self) -> None:
        """End the processes, which are kept from launch to launch: starting one costs seconds."""
        if self._workers is not None:
            self._workers.close()

    def _apart(self) -> set[int]:
        """Chunks that run in processes."""
        apart: set[int] = self.task.plain_chunks()
        return apart

    def _processes(self, apart: set[int]) -> int:
        """Say that some jobs are not run in threads, and return how many processes there are to be."""
        if not self._has_said:
            self._has_said = True
            print(
                f"bt: strategies in plain Python hold up other threads: their jobs run in {self.n_jobs} processes.",
                file=sys.stderr,
            )
        return fitting(self.n_jobs)


class ProcessesLauncher(ThreadsLauncher):
    """Runs chunks in processes of their own; one that dies takes nobody with it."""

    in_process = False
    isolates = True

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives every launcher."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.n_jobs = fitting(self.n_jobs)

    def _processes(self, apart: set[int]) -> int:
        return self.n_jobs

    def _apart(self) -> set[int]:
        return set(range(len(self.task.work.chunks)))
