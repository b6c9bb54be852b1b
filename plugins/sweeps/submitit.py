"""The launchers ``submitit_slurm`` and ``submitit_local``: chunks as jobs of Slurm, or as those would run, here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from bt_framework.errors import ConfigError
from bt_framework.sweep.worker import LauncherStop
from hydra_plugins.bt_sweeps._foreign import ForeignLauncher, lost

FOLDER = "submitit"
"""What submitit writes, in the sweep's folder: what it sends, and what the jobs print."""

_LONG_MIN = 60 * 24 * 365
"""Minutes: a limit is that of Slurm, or ``limits.max_seconds``."""


class LocalLauncher(ForeignLauncher):
    """Runs each chunk in a process of its own on this machine, as Slurm would: to try things out."""

    option = "submitit_local"
    module = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
    extra = "slurm"
    chunks_per_worker = 2

    def _make(self) -> Launcher:
        launcher: Launcher = self._foreign.LocalLauncher(
            submitit_folder=_pattern(self.task), timeout_min=_LONG_MIN
        )
        return launcher

    def _launch(self, chunks: list[str], stop: LauncherStop) -> list[JobReturn]:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        # submitit would start all of them at once.
        return self._one_by_one(chunks, stop, (FailedJobError, UncompletedJobError))


class SlurmLauncher(ForeignLauncher):
    """Submits the chunks as one array of Slurm's.

    Parameters
    ----------
    n_jobs : int
        Jobs of the array at once; 0 for 16.
    options : mapping
        Of hydra-submitit-launcher: those that name no commands.
    """

    option = "submitit_slurm"
    module = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
    extra = "slurm"
    chunks_per_worker = 2
    local = False

    def __init__(self, n_jobs: int = 0, **options: Any) -> None:
        super().__init__(n_jobs or 16)
        for name in options:
            if name not in _OPTIONS:
                raise ConfigError(f"hydra.launcher.{name} must be one of {', '.join(_OPTIONS)}.")
        self._options = {name: value for name, value in options.items() if value is not None}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives every launcher.

        Raises
        ------
        ConfigError
            If Slurm is not there.
        """
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise ConfigError(
                "hydra/launcher=submitit_slurm needs sbatch and srun, which are not on the PATH. Start the sweep on a "
                "machine that submits to Slurm, or try hydra/launcher=submitit_local."
            )

    def _make(self) -> Launcher:
        launcher: Launcher = self._foreign.SlurmLauncher(
            submitit_folder=_pattern(self.task), array_parallelism=self.n_jobs, **self._options
        )
        return launcher

    def _launch(self, chunks: list[str], stop: LauncherStop) -> list[JobReturn]:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        before = set(self._jobs())
        try:
            return self._run(chunks)
        except (FailedJobError, UncompletedJobError):
            return [self._answer(job) for job in self._jobs() if job not in before]

    def _answer(self, name: str) -> JobReturn:
        """Wait for a job of an array of which one has failed."""
        from submitit import SlurmJob
        from submitit.core.utils import FailedJobError, UncompletedJobError

        job: Any = SlurmJob(folder=_pattern(self.task), job_id=name)
        try:
            answer: JobReturn = job.results()[0]
        except (FailedJobError, UncompletedJobError):
            return lost()
        return answer

    def _jobs(self) -> list[str]:
        """Ids of the jobs that were submitted, in order."""
        folder = self.task.work.folder / FOLDER
        # An array has a folder of its own too, with nothing to run in it.
        names = (path.parent.name for path in folder.glob("[0-9]*/*_submitted.pkl"))
        return sorted(names, key=lambda name: [int(part) for part in name.split("_")])

    def _on_stop(self) -> None:
        """Cancel what waits; what runs is told, and ends at its next slice."""
        arrays = {name.partition("_")[0] for name in self._jobs()}
        subprocess.run(["scancel", "--quiet", *sorted(arrays)], check=False, timeout=30)


_OPTIONS = (
    "account",
    "comment",
    "constraint",
    "cpus_per_task",
    "exclude",
    "mem_gb",
    "name",
    "partition",
    "qos",
    "signal_delay_s",
    "timeout_min",
)
"""Those that run a command of the user's (setup) or could (additional_parameters) are not among them."""


def _pattern(task: Any) -> str:
    folder: Path = task.work.folder
    return str(folder / FOLDER / "%j")
