"""The launcher of ``bt -m``: jobs in threads of one process, which share mapped events and compiled code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ThreadsLauncher(Launcher):
    """Runs jobs in threads; the compiled loop lets other threads run.

    Parameters
    ----------
    n_jobs : int
        Threads; 0 for one per core that the process may use.
    """

    in_process = True

    def __init__(self, n_jobs: int = 0) -> None:
        self.n_jobs = n_jobs or len(os.sched_getaffinity(0))
        self._task: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives every launcher."""
        self._task = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the chunks of the task, one per job of Hydra's, and wait for them."""
        from bt_framework.interrupt import StopSignals

        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        with StopSignals() as stop, ThreadPoolExecutor(self.n_jobs, "bt-job") as pool:
            stop.defer()
            futures = [pool.submit(self._task.work.run_chunk, number, stop) for number in numbers]
            outcomes = [future.result() for future in futures]
            if stop.received:
                raise stop.error()
        return [_returned(outcome) for outcome in outcomes]


def _returned(value: Any) -> JobReturn:
    answer = JobReturn(status=JobStatus.COMPLETED)
    answer.return_value = value
    return answer
