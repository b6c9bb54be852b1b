"""The launcher ``ray``: jobs in processes of one machine or of a Ray cluster."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from bt_framework.errors import ConfigError
from bt_framework.sweep.worker import LauncherStop
from hydra_plugins.bt_sweeps._foreign import ForeignLauncher

_GRACE_S = 20.0
"""How long workers that see no stop file may take after a Ctrl-C."""

_OBJECT_STORE_BYTES = 78_643_200
"""The least that Ray takes: what comes back from a chunk is small."""


_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed",
}


class RayLauncher(ForeignLauncher):
    """Runs chunks with hydra-ray-launcher.

    Parameters
    ----------
    n_jobs : int
        Chunks at once; 0 for one per core of the machine, or of the cluster.
    address : str or None
        Of a cluster, such as ``auto`` or ``ray://head:10001``; None starts Ray on this machine, for this sweep.
    num_cpus, memory_gb : float
        What Ray reserves for a chunk; 0 reserves no memory.
    """

    option = "ray"
    module = "hydra_plugins.hydra_ray_launcher.ray_launcher"
    extra = "ray"

    def __init__(
        self, n_jobs: int = 0, address: str | None = None, num_cpus: float = 1, memory_gb: float = 0
    ) -> None:
        super().__init__(n_jobs)
        self._given_jobs = n_jobs
        self._address = address or os.environ.get("RAY_ADDRESS")
        # What is left is launched again, and not by Ray.
        self._remote = {"num_cpus": num_cpus, "max_retries": 0}
        if memory_gb:
            self._remote["memory"] = int(memory_gb * 2**30)
        self.local = not self._address

    def _make(self) -> Launcher:
        launcher: Launcher = self._foreign.RayLauncher(OmegaConf.create({"init": {}, "remote": self._remote}))
        return launcher

    def _launch(self, chunks: list[str], stop: LauncherStop) -> list[JobReturn]:
        ray = _quiet_ray()
        answers = self._one_by_one(chunks, stop, (ray.exceptions.RayError, ConnectionError))
        if stop.received:
            ray.shutdown()
        return answers

    def _prepare(self) -> None:
        """Start Ray, or connect to a cluster; it ends with this process."""
        ray = _quiet_ray()
        if ray.is_initialized():
            return
        own = {"num_cpus": self.n_jobs, "object_store_memory": _OBJECT_STORE_BYTES}
        try:
            ray.init(
                address=self._address or "local",
                logging_level=logging.ERROR,
                log_to_driver=False,
                **({} if self._address else own | {"include_dashboard": False}),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"Ray at {self._address or 'this machine'} does not answer: {str(error).splitlines()[0]} Give "
                "the address of a cluster in hydra.launcher.address, or none for this machine."
            ) from None
        if self._address and not self._given_jobs:
            self.n_jobs = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def _on_stop(self) -> None:
        """End workers that do not see the sweep's folder, or do not come to a slice."""

        def end() -> None:
            _quiet_ray().shutdown()

        timer = threading.Timer(_GRACE_S, end)
        timer.daemon = True
        timer.start()


def _quiet_ray() -> Any:
    """Import Ray so that it sends nothing home, and prints nothing on workers that are gone: the sweep says it."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    return ray
