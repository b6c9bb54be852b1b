"""Processes that run chunks of a sweep: where they come from, what they must agree on, and when they end."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from bt_framework.errors import PluginError
from bt_framework.interrupt import StopSignals
from bt_framework.results.process import ProcessIdentity, this_process
from bt_framework.sweep.folder import STOP_FILE

if TYPE_CHECKING:
    from bt_framework.sweep.journal import Outcome
    from bt_framework.sweep.work import SweepWork

_WATCH_S = 0.5
"""How often a worker looks whether the process that launched it is there."""

_LIBRARIES = ("bt-framework", "hftbacktest", "llvmlite", "numba", "numpy", "pyarrow")


@dataclass(frozen=True)
class Origin:
    """Where the chunks of a worker come from; it travels with them.

    Attributes
    ----------
    process : ProcessIdentity
        What launched the worker.
    cwd : str
        Its working folder, from which relative paths count.
    versions : mapping of str to str
        Of Python and the packages that decide what a run results in.
    """

    process: ProcessIdentity
    cwd: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, packages: Iterable[str] = ()) -> Origin:
        """Describe this process; `packages` are the names of those with plugins."""
        return cls(this_process(), os.getcwd(), versions(packages))

    def settle(self) -> None:
        """Become a worker of it: go to its folder, and end when it does.

        Raises
        ------
        PluginError
            If another version of something is installed here.
        """
        _refuse_other_versions(self.versions)
        with contextlib.suppress(OSError):  # a machine that does not have the folder
            os.chdir(self.cwd)
        if self.process != this_process():
            watch(self.process)


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the version of Python and of the packages that decide what a run results in, those in `packages` too."""
    found = {name: _version(name) for name in ("python", *_LIBRARIES, *packages)}
    return {name: version for name, version in found.items() if version}


def _refuse_other_versions(wanted: Mapping[str, str]) -> None:
    here = versions(wanted)
    others = [f"{n} {v}, was {here.get(n, 'missing')}" for n, v in wanted.items() if here.get(n) != v]
    if others:
        raise PluginError(
            f"the worker on {platform.node()} must have what the sweep was started with: {'; '.join(others)}. "
            "Install the same versions there, or start the sweep with those."
        )


@lru_cache(maxsize=256)
def _version(name: str) -> str:
    """Version of an installed package, or of Python; empty if there is none."""
    if name == "python":
        return platform.python_version()
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


_watched: set[ProcessIdentity] = set()


def watch(launcher: ProcessIdentity) -> None:
    """End this process at once when `launcher` has: whoever goes on with the sweep must find nobody at work."""
    if launcher in _watched:
        return
    _watched.add(launcher)

    def until_gone() -> None:
        while not launcher.is_gone():
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=until_gone, name="bt-watch", daemon=True).start()


def run_chunk(work: SweepWork, origin: Origin, number: int) -> list[Outcome]:
    """Run a chunk in this process, which does nothing else.

    Raises
    ------
    PluginError
        If this process does not have the versions that the sweep was started with.
    """
    origin.settle()
    with StopSignals() as signals:
        signals.defer()
        return work.run_chunk(number, signals)


class LauncherStop(StopSignals):
    """Ctrl-C and SIGTERM in a process that has workers: they end at their slices; a second one ends all at once.

    Parameters
    ----------
    folder : Path
        The sweep's.
    tell : callable, optional
        Called at the first signal, for workers that see no folder.
    """

    def __init__(self, folder: Path, tell: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._file = folder / STOP_FILE
        self._tell = tell
        self.defer()

    def __enter__(self) -> LauncherStop:
        self._file.unlink(missing_ok=True)
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            os._exit(128 + number)  # the workers see that it is gone, and the journal says what is left
        super()._on_signal(number, frame)
        with contextlib.suppress(OSError):
            self._file.touch()
        if self._tell is not None:
            self._tell()
