"""How many workers this machine has room for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bt_framework.interrupt import Stop

WORKER_BYTES = 256 * 2**20
"""What a worker takes for itself: 120 MB while it runs a compiled loop, twice that while it compiles one.

Mapped events, libraries and compiled code on disk are shared by all processes, and are not in it.
"""

_POLL_S = 0.1


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fitting(workers: int, free_bytes: int | None = None) -> int:
    """Return how many of `workers` fit into the memory that is free, one at least."""
    free_bytes = available_bytes() if free_bytes is None else free_bytes
    return max(1, min(workers, free_bytes // WORKER_BYTES))


class Room:
    """The memory that the jobs of this process share.

    Parameters
    ----------
    free_bytes : int, optional
        For all of them; by default what is free now, but for a tenth.
    """

    def __init__(self, free_bytes: int | None = None) -> None:
        self._free = available_bytes() * 9 // 10 if free_bytes is None else free_bytes
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size_bytes: int, stop: Stop) -> Iterator[None]:
        """Wait until there is room, or `stop` says to end, and take it; a job that has all to itself need not wait."""
        with self._changed:
            while self._taken and self._taken + size_bytes > self._free and not stop.received:
                self._changed.wait(_POLL_S)
            self._taken += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size_bytes
                self._changed.notify_all()


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that processes can take without swapping, that of the control group if it is less."""
    free = _meminfo_bytes(proc)
    for folder in _own_groups(proc, cgroups):
        limit, used = (_number(folder / name) for name in ("memory.max", "memory.current"))
        if limit is not None and used is not None:
            # Of what a group uses, the page cache can be dropped.
            free = min(free, limit - used + (_stat(folder, "inactive_file") or 0))
    return max(0, free)


def _meminfo_bytes(proc: Path) -> int:
    try:
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _own_groups(proc: Path, cgroups: Path) -> list[Path]:
    """Folders of this process's control group and of those that it is in."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return []
    own = next((line.partition("::")[2].lstrip("/") for line in lines if line.startswith("0::")), None)
    if own is None:
        return []
    path = cgroups / own
    return [folder for folder in (path, *path.parents) if folder.is_relative_to(cgroups)]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or no limit
        return None


def _stat(folder: Path, name: str) -> int | None:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)
