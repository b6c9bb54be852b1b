"""Which process a run belongs to, and whether it is gone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, for good: ids are used again, so the time at which it started is part of it.

    Attributes
    ----------
    started : str
        When the process started, in the system's own terms; empty where the system does not say.
    """

    host: str
    pid: int
    started: str

    def is_gone(self) -> bool:
        """Whether the process has ended. One on another host is taken to live: there is no way to know."""
        if self.host != platform.node():
            return False
        return not _exists(self.pid) or (self.started != "" and _started(self.pid) != self.started)


def this_process() -> ProcessIdentity:
    """Identity of the process that calls."""
    return _identity(os.getpid())


@lru_cache(maxsize=1)
def _identity(pid: int) -> ProcessIdentity:
    """That of a process that lives; a forked one has another id."""
    return ProcessIdentity(platform.node(), pid, _started(pid))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str:
    """When `pid` started; empty if there is no such process, or it has ended and waits to be collected."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return ""
        fields = stat.rpartition(")")[2].split()  # the command's name may hold anything
        return "" if fields[0] in "ZX" else f"{_boot_id()}:{fields[19]}"
    listed = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    return listed.stdout.strip()


@lru_cache(maxsize=1)
def _boot_id() -> str:
    """Clock ticks in /proc count from the start of the system: name that start as well."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""
