"""Sweeps and Hydra's own flags, through Hydra's main function."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from bt_framework.cli._sweep_task import Calling, SweepTask
from bt_framework.config import compose as composing
from bt_framework.plugin_manager import PluginHost, discover
from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.link import Link


def run_with_hydra(overrides: Sequence[str], config_dirs: Sequence[str], flags: Sequence[str]) -> int:
    """Do what Hydra's `flags` ask for; return the exit code.

    Raises
    ------
    ConfigError
        If the composition is wrong, before the first job.
    """
    if "--multirun" in flags:
        with supervised() as link:
            goes_on = link.goes_on if link else None
            calling = Calling(SweepFolder(goes_on) if goes_on else None, link)
            return run_sweep(overrides, config_dirs, flags, calling)
    _register_plugins()
    host = discover()
    lines = _checked(host, overrides, config_dirs)
    with composing.in_our_words(host, overrides, config_dirs):
        _call_hydra(_print_only, [*flags, *lines])
    return 0


@contextmanager
def supervised() -> Iterator[Link | None]:
    """Give the link to the supervisor of this process, if it has one, and tell it of the end in order."""
    link = Link.from_environment()
    try:
        yield link
    finally:
        if link is not None:
            link.finished()


def run_sweep(
    overrides: Sequence[str],
    config_dirs: Sequence[str],
    flags: Sequence[str],
    calling: Calling,
    make_task: type[SweepTask] = SweepTask,
) -> int:
    """Run a sweep, or what else `make_task` makes of its plan; return the exit code.

    Raises
    ------
    ConfigError
        If the composition is wrong, before the first job.
    SweepError
        If jobs have failed.
    """
    _register_plugins()
    host = discover()
    lines = _checked(host, overrides, config_dirs)
    task = make_task(host, overrides, config_dirs, calling)
    with composing.in_our_words(host, overrides, config_dirs):
        _call_hydra(task, [*flags, *lines])
    return 0


def _checked(host: PluginHost, overrides: Sequence[str], config_dirs: Sequence[str]) -> list[str]:
    """Return the arguments for Hydra."""
    lines = composing.hydra_overrides(overrides, host, config_dirs)
    composing.refuse_code(overrides, host, config_dirs)
    composing.store_schemas(host)
    for problem in host.problems:
        print(f"bt: warning: {problem.error}", file=sys.stderr)
    return lines


def _print_only(cfg: DictConfig) -> None:
    """Do nothing: Hydra has printed what its flags ask for."""


def _register_plugins() -> None:
    """Tell Hydra of our sweepers and launchers; it finds those of installed packages, but not of editable ones."""
    from hydra.core.plugins import Plugins

    from hydra_plugins.bt_sweeps import joblib, ray, submitit, threads
    from hydra_plugins.bt_sweeps.sweepers import SWEEPERS

    for sweeper in SWEEPERS:
        Plugins.instance().register(sweeper)
    for launcher in (
        threads.ThreadsLauncher,
        threads.ProcessesLauncher,
        joblib.JoblibLauncher,
        ray.RayLauncher,
        submitit.LocalLauncher,
        submitit.SlurmLauncher,
    ):
        Plugins.instance().register(launcher)
    _forget_options()


def _forget_options() -> None:
    """Take launchers and sweepers of others out of Hydra's options: some run what a configuration gives them."""
    hydra_options = ConfigStore.instance().repo.get("hydra", {})
    for group in ("launcher", "sweeper"):
        hydra_options.pop(group, None)


def _call_hydra(task: Any, arguments: list[str]) -> None:
    """Call Hydra's main for `task`, which sweepers and launchers are given; its arguments are in ``sys.argv``."""
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
        decorate(task)()
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
