"""Sweeps and Hydra's own flags, through Hydra's main function."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bt_framework.cli._report import report
from bt_framework.config import compose as composing
from bt_framework.errors import BtError, RunError, RunStopped
from bt_framework.plugin_manager import PluginHost, discover


class _SweepEnded(BaseException):
    """Ends a sweep: Hydra's basic launcher goes on after an exception of any other kind."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def run_with_hydra(overrides: Sequence[str], config_dirs: Sequence[str], flags: Sequence[str]) -> int:
    """Do what Hydra's `flags` ask for; return the exit code, that of the first job that failed.

    Raises
    ------
    ConfigError
        If the composition is wrong, before the first job.
    """
    host = discover()
    lines = composing.hydra_overrides(overrides, host, config_dirs)
    composing.refuse_code(overrides, host, config_dirs)
    composing.store_schemas(host)
    for problem in host.problems:
        print(f"bt: warning: {problem.error}", file=sys.stderr)
    exit_codes: list[int] = []
    with tempfile.TemporaryDirectory(prefix="bt-sweep-") as folder:
        if not any(
            o.startswith(("hydra.sweep.dir=", "hydra/launcher=", "hydra/sweeper=")) for o in overrides
        ):
            # Hydra's basic sweeper insists on writing a file; each run keeps its own folder already.
            lines.append(f"hydra.sweep.dir='{folder}'")
        try:
            with composing.in_our_words(host, overrides, config_dirs):
                _call_hydra(_job(host, exit_codes), [*flags, *lines])
        except _SweepEnded as ended:
            raise ended.error from None
    return next((code for code in exit_codes if code), 0)


def _call_hydra(job: Callable[[DictConfig], None], arguments: list[str]) -> None:
    """Call Hydra's main, which reads its arguments from ``sys.argv``."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], *arguments]
    # Errors are to reach us; otherwise Hydra prints them and exits.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        decorate = hydra.main(
            version_base="1.3",
            config_path=f"pkg://{composing.CONFIG_MODULE}",
            config_name=composing.CONFIG_NAME,
        )
        decorate(job)()
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def _job(host: PluginHost, exit_codes: list[int]) -> Callable[[DictConfig], None]:
    """Return what Hydra calls for each job: one run each; a job that fails does not end the sweep."""
    process = os.getpid()

    def bt(cfg: DictConfig) -> None:
        job = HydraConfig.get()
        words = " ".join(o.lstrip("+") for o in composing.spoken(list(map(str, job.overrides.task)), host))
        print(f"bt: job {job.job.num}: {words}", file=sys.stderr)
        try:
            composition = composing.composition_of(cfg, host=host)
            from bt_framework.runner import run_composition

            run_composition(composition)
        except (Exception, KeyboardInterrupt) as error:
            if os.getpid() != process:
                # A worker of another launcher: errors travel to the parent only if they pickle.
                raise RunError(f"{type(error).__name__}: {error}") from None
            if not isinstance(error, BtError) or isinstance(error, RunStopped):
                raise _SweepEnded(error) from error
            exit_codes.append(report(error))

    return bt
