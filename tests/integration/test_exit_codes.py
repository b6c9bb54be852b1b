"""A run that had started and failed: exit code 3, a message with the simulated time, and a folder that says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bt_framework.results.folder import RunFolder

_PACKAGE = '''
from dataclasses import dataclass

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.strategy import Kernels, Strategy, params_record
from bt_framework.hookspecs import hookimpl


@dataclass
class Fragile(ComponentConfig):
    """Raise after a while."""

    name: str = param("fragile", "registry name")
    last_wakes: float = param(5.0, "wake-ups before it raises")


class FragileStrategy(Strategy):
    kernels = Kernels(on_timer="fragile_kernels:on_timer")
    timer_ns = 100_000_000

    def __init__(self, config):
        self._config = config

    def params(self, instruments):
        return params_record(self._config)

    def state(self, instruments):
        return np.zeros(1, np.dtype([("wakes", "i8")])).view(np.recarray)[0]


@hookimpl
def register_strategies(register):
    register(Fragile, FragileStrategy)
'''
_KERNELS = """
from bt_framework.jit import kernel


@kernel
def on_timer(market, account, out, p, s, w):
    s.wakes += 1
    if s.wakes > p.last_wakes:
        raise ValueError("too tired")
"""


def test_a_run_that_fails_exits_with_3_and_says_when(
    tmp_path: Path, own_cache: Path, write_package: Callable[..., Path]
) -> None:
    site = write_package(_PACKAGE, name="bt-fragile", module="bt_fragile")
    (site / "fragile_kernels.py").write_text(_KERNELS)
    options = tmp_path / "options/strategy"
    options.mkdir(parents=True)
    (options / "fragile.yaml").write_text("defaults:\n  - /schema/strategy/fragile@_here_\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bt_framework",
            "+strategy=fragile",
            "risk=[]",
            "data.duration_ns=5s",
            "--config-dir",
            "options",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "BT_STORE_DIR": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    message = done.stderr.splitlines()[-1]
    assert message.startswith("bt: error: ")
    assert "too tired" in message
    assert "2024-01-01T00:00:00" in message
    assert "Traceback" not in done.stderr
    (folder,) = [p for p in (tmp_path / "runs").iterdir() if p.is_dir()]
    record = RunFolder(folder).record()
    assert (record.status, message) == ("failed", f"bt: error: {record.error}")
