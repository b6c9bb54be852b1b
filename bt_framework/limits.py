"""What a run may use: wall time and memory, looked at between its slices."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bt_framework.errors import BtError, LimitError
from bt_framework.interrupt import Stop


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process, by default this one; 0 if it has ended."""
    if sys.platform == "linux":
        try:
            pages = int(Path(f"/proc/{pid or os.getpid()}/statm").read_bytes().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")
    import subprocess

    command = ["ps", "-o", "rss=", "-p", str(pid or os.getpid())]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout
    return int(said.strip() or 0) * 1024


def too_slow(max_seconds: float) -> str:
    """What is said of a run that takes too long."""
    return f"the run took longer than limits.max_seconds={max_seconds:g}. Raise it, or give it less to do."


def too_large(max_rss_bytes: int, used_bytes: int) -> str:
    """What is said of a run that uses too much memory; the figure, which differs each time, is on the second line."""
    return (
        f"the run used more memory than limits.max_rss={max_rss_bytes:,} bytes. Raise it, or give it less to do.\n"
        f"Its process had {used_bytes:,} bytes resident."
    )


class LimitedStop:
    """Ends a run when `stop` says so, or when it has used more than its limits; 0 is no limit.

    Parameters
    ----------
    stop : Stop
        What else may end it.
    max_seconds : float
        Wall time from its first slice on.
    max_rss_bytes : int
        Resident memory of this process.
    on_first_slice : callable, optional
        Called when the time begins to count.
    """

    def __init__(
        self,
        stop: Stop,
        max_seconds: float = 0.0,
        max_rss_bytes: int = 0,
        on_first_slice: Callable[[], None] | None = None,
    ) -> None:
        self._stop = stop
        self._max_seconds = max_seconds
        self._max_rss_bytes = max_rss_bytes
        self._on_first_slice = on_first_slice
        self._deadline = math.inf
        self._began = False
        self._error = ""

    @property
    def received(self) -> bool:
        """Whether the run is to end."""
        if self._stop.received:
            return True
        if not self._error and time.monotonic() > self._deadline:
            self._error = too_slow(self._max_seconds)
        if not self._error and self._max_rss_bytes:
            used = resident_bytes()
            if used > self._max_rss_bytes:
                self._error = too_large(self._max_rss_bytes, used)
        return self._error != ""

    def defer(self) -> None:
        """From now on the run asks; the first time, its slices begin."""
        self._stop.defer()
        if self._began:
            return
        self._began = True
        if self._max_seconds:
            self._deadline = time.monotonic() + self._max_seconds
        if self._on_first_slice is not None:
            self._on_first_slice()

    def error(self) -> BtError:
        """Return why."""
        return LimitError(self._error) if self._error else self._stop.error()
