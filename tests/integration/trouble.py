"""A package with strategies that get into every sort of trouble, for tests of sweeps.

``strategy.what`` says which trouble; with ``strategy.until`` it is over once that file is there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.engine.strategy import Kernels, PlainStrategy, Strategy, numbers_record
from bt_framework.errors import DataError
from bt_framework.hookspecs import hookimpl
from bt_framework.results.run import Instrument


@dataclass
class Trouble(ComponentConfig):
    """Trade a little, or get into trouble."""

    name: str = param("trouble", "registry name")
    what: str = param("none", "which trouble")
    lots: float = param(1.0, "lots per order")
    until: str = param("", "file that ends the trouble")
    slow_s: float = param(0.0, "time that a run takes to prepare", unit="s")


@dataclass
class PlainTrouble(Trouble):
    """The same in plain Python."""

    name: str = param("plain_trouble", "registry name")


def _fall(what: str) -> None:
    """Get into the trouble that needs no kernel."""
    if what == "raise":
        raise ValueError("in trouble\nas ever")
    if what == "data":
        raise DataError("the data of this value cannot be used.")
    if what == "segfault":
        ctypes.string_at(0)
    if what == "exit":
        sys.exit(0)
    if what == "os_exit":
        os._exit(0)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "surrogate":
        raise ValueError("no text: \udc80")
    if what == "hog":
        hoard = [np.ones(1 << 22) for _ in range(24)]  # 768 MiB
        time.sleep(1.0 + 0 * len(hoard))


def _trouble_of(config: Trouble) -> str:
    time.sleep(config.slow_s)
    if config.until and Path(config.until).exists():
        return "none"
    if config.what == "once":
        Path(config.until).touch()
        return "raise"
    return config.what


class TroubleStrategy(Strategy):
    """Compiled; some of the trouble is its kernel's."""

    kernels = Kernels(on_timer="trouble_kernels:on_timer")
    timer_ns = 100_000_000

    def __init__(self, config: Trouble) -> None:
        self._config = config

    def params(self, instruments: Sequence[Instrument]) -> np.record:
        what = _trouble_of(self._config)
        _fall(what)
        flags = {
            "spins": int(what == "spin"),
            "raises": int(what == "kernel"),
            "pokes": (what == "poke") << 40,
        }
        return numbers_record(flags | {"lots": self._config.lots})

    def state(self, instruments: Sequence[Instrument]) -> np.record:
        return numbers_record({"wakes": 0})


class PlainTroubleStrategy(PlainStrategy):
    """Plain."""

    timer_ns = 100_000_000

    def __init__(self, config: PlainTrouble) -> None:
        self._config = config

    def on_timer(self, market: Any, account: Any, out: Any) -> None:
        what = _trouble_of(self._config)
        _fall(what)
        while what == "spin":
            pass


@hookimpl
def register_strategies(register: Any) -> None:
    register(Trouble, TroubleStrategy)
    register(PlainTrouble, PlainTroubleStrategy)
