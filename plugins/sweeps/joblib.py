"""The launcher ``joblib``: jobs in processes of one machine, kept from chunk to chunk."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from bt_framework.results.process import this_process
from bt_framework.sweep.worker import LauncherStop, watch
from hydra_plugins.bt_sweeps._foreign import ForeignLauncher, lost


class JoblibLauncher(ForeignLauncher):
    """Runs chunks with hydra-joblib-launcher; if one process dies, joblib ends the others too."""

    option = "joblib"
    module = "hydra_plugins.hydra_joblib_launcher.joblib_launcher"
    extra = "joblib"
    isolates = False

    def _make(self) -> Launcher:
        # joblib takes one job at a time to mean no process at all.
        at_once = {"n_jobs": max(2, self.n_jobs), "pre_dispatch": max(1, self.n_jobs), "batch_size": 1}
        # A worker that has nothing to do would stay for minutes after the end of this process.
        watching = {"initializer": watch, "initargs": (this_process(),)}
        launcher: Launcher = self._foreign.JoblibLauncher(**at_once, **watching, verbose=0)
        return launcher

    def _launch(self, chunks: list[str], stop: LauncherStop) -> list[JobReturn]:
        try:
            return self._run(chunks)
        except BrokenExecutor:
            return [lost() for _ in chunks]
