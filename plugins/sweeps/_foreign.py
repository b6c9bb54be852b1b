"""What the launchers of other packages have in common: they are given little, and what becomes of workers is told."""

from __future__ import annotations

import base64
import copy
import dataclasses
import pickle
import sys
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict

from bt_framework.errors import PluginError, WorkersLost
from bt_framework.sweep import memory, worker
from bt_framework.sweep.worker import LauncherStop, Origin

if TYPE_CHECKING:
    from bt_framework.sweep.journal import Outcome
    from bt_framework.sweep.work import Chunk, SweepWork


class ForeignLauncher(Launcher):
    """Runs the chunks of a sweep with a launcher of another package, one chunk per job of Hydra's.

    Parameters
    ----------
    n_jobs : int
        Chunks at once; 0 for one per core that the process may use.

    Attributes
    ----------
    option, module, extra : str
        What it is called, where the other launcher is, and the extra of this package that installs it.
    local : bool
        Whether the workers run on this machine.
    isolates : bool
        Whether a worker that dies takes no other with it.
    """

    in_process = False
    isolates = True
    local = True
    option = ""
    module = ""
    extra = ""

    def __init__(self, n_jobs: int = 0) -> None:
        self.n_jobs = n_jobs or memory.cores()
        self.task: Any = None
        self._context: Any = None
        self._config: Any = None
        self._foreign: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives every launcher.

        Raises
        ------
        PluginError
            If the other package is not installed.
        """
        try:
            self._foreign = import_module(self.module)
        except ImportError as error:
            raise PluginError(
                f"hydra/launcher={self.option} needs the package {error.name or self.module}, which is not installed. "
                f"Install it: pip install 'bt-framework[{self.extra}]'"
            ) from None
        self.n_jobs = fitting(self.n_jobs) if self.local else self.n_jobs
        self.task = task_function
        self._context = HydraContext(config_loader=Composed(), callbacks=hydra_context.callbacks)
        self._config = bare(config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the chunks of the task and wait for them; a chunk whose worker is gone returns a `WorkersLost`."""
        chunks = [encoded(chunk) for chunk in self.task.work.chunks]
        self._prepare()
        with LauncherStop(self.task.work.folder, self._on_stop) as stop:
            answers = self._launch(chunks, stop)
            if stop.received:
                answers.append(returned(stop.error()))
        return answers

    def _prepare(self) -> None:
        """Get ready to launch, before Ctrl-C and SIGTERM are listened to: some libraries would listen themselves."""

    def _on_stop(self) -> None:
        """Hear of the first Ctrl-C or SIGTERM, in its handler."""

    @abstractmethod
    def _make(self) -> Launcher:
        """Make the other launcher."""

    @abstractmethod
    def _launch(self, chunks: list[str], stop: LauncherStop) -> list[JobReturn]:
        """Launch chunks and wait for all of them."""

    def _run(self, chunks: list[str]) -> list[JobReturn]:
        """Let the other launcher run chunks."""
        launcher = self._make()
        work = dataclasses.replace(self.task.work, chunks=[])
        task = ChunkTask(work, Origin.here(self.task.packages))
        # They change what they are given, in several threads some of them.
        config = copy.deepcopy(self._config)
        launcher.setup(hydra_context=self._context, task_function=task, config=config)
        return list(launcher.launch([[chunk] for chunk in chunks], 0))

    def _one_by_one(
        self, chunks: list[str], stop: LauncherStop, lost_by: tuple[type[Exception], ...]
    ) -> list[JobReturn]:
        """Launch each chunk by itself, `n_jobs` at once; errors of type `lost_by` say that its worker is gone."""

        def run(chunk: str) -> JobReturn:
            if stop.received:
                return returned([])
            try:
                return self._run([chunk])[0]
            except lost_by:
                return lost()

        with ThreadPoolExecutor(self.n_jobs, "bt-launch") as pool:
            return list(pool.map(run, chunks))


@dataclass
class ChunkTask:
    """What travels to a worker, once for each chunk: the plan, where it comes from, and the chunk as an override."""

    work: SweepWork
    origin: Origin

    def __call__(self, cfg: DictConfig) -> list[Outcome]:
        """Run the chunk in this process."""
        work = dataclasses.replace(self.work, chunks=[decoded(cfg.chunk)])
        return worker.run_chunk(work, self.origin, 0)


class Composed:
    """Stands for Hydra's loader: what a chunk needs is composed already."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return a copy with the chunk."""
        cfg = copy.deepcopy(master_config)
        with open_dict(cfg):
            (cfg.chunk,) = sweep_overrides
        return cfg


def encoded(chunk: Chunk) -> str:
    """Return a chunk as text in which Hydra and OmegaConf find nothing to work on."""
    return base64.b64encode(pickle.dumps(chunk)).decode()


def decoded(text: str) -> Chunk:
    """Return the chunk of a text; it comes from `encoded` as the plan does."""
    chunk: Chunk = pickle.loads(base64.b64decode(text))
    return chunk


def bare(config: DictConfig) -> DictConfig:
    """Return the node of Hydra alone: workers compose their jobs themselves, and nothing is written for Hydra."""
    node = OmegaConf.create({"hydra": copy.deepcopy(config.hydra)})
    with flag_override(node, ["struct", "readonly"], [False, False]):
        node.hydra.sweep.dir = node.hydra.sweep.subdir = "."
        node.hydra.launcher = node.hydra.sweeper = None
    return node


def fitting(workers: int) -> int:
    """Return how many of `workers` processes fit into the memory, and say so if they are fewer."""
    fit = memory.fitting(workers)
    if fit < workers:
        print(
            f"bt: {fit} workers instead of {workers}: each takes about {memory.WORKER_BYTES >> 20} MB, and "
            f"{memory.available_bytes() >> 20} MB are free.",
            file=sys.stderr,
        )
    return fit


def returned(value: Any) -> JobReturn:
    """Return `value` as Hydra has it."""
    answer = JobReturn(status=JobStatus.FAILED if isinstance(value, BaseException) else JobStatus.COMPLETED)
    answer.return_value = value
    return answer


def lost() -> JobReturn:
    """Say that the worker of a chunk is gone."""
    return returned(WorkersLost("a worker has ended before its jobs did.", chunks=()))
