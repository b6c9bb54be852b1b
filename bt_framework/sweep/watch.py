"""Who watches the jobs of a process: limits that a job cannot keep itself, because nothing of it asks between slices.

A process tells of its jobs in short lines (`Watch.hear`). With the threads launcher they go through a pipe to the
supervisor; in other workers a thread of their own hears them. This module is imported by the supervisor: nothing heavy.
"""

from __future__ import annotations

import math
import time
from typing import Protocol

POLL_S = 0.25
"""How often limits are looked at."""

_GRACE_S = 2.0
_GRACE_FRAC = 0.1


class Teller(Protocol):
    """Where a process tells of its jobs."""

    def tell(self, line: str) -> None:
        """Tell a line; see `started`, `clocked` and `ended`."""


def started(job: int, *, alone: bool, max_seconds: float, max_rss_bytes: int) -> str:
    """Return the line of a job that starts, with its limits."""
    return f"start {job} {int(alone)} {max_seconds!r} {max_rss_bytes}"


def clocked(job: int) -> str:
    """Return the line of a job whose time begins to count."""
    return f"clock {job}"


def ended(job: int) -> str:
    """Return the line of a job that has ended."""
    return f"end {job}"


class Breach:
    """A limit that was broken.

    Attributes
    ----------
    job : int or None
        Whose; None if any of the jobs under way may have done it.
    error : str
        What is to be said of it.
    """

    def __init__(self, job: int | None, error: str) -> None:
        self.job = job
        self.error = error


class _Watched:
    """A job under way and its limits."""

    def __init__(self, alone: bool, max_seconds: float, max_rss_bytes: int) -> None:
        self.alone = alone
        self.max_seconds = max_seconds
        self.max_rss_bytes = max_rss_bytes
        self.deadline = math.inf


class Watch:
    """Knows the jobs of one process and their limits."""

    def __init__(self) -> None:
        self.jobs: dict[int, _Watched] = {}
        self.any_started = False

    def hear(self, line: str) -> None:
        """Take a line that the process told."""
        word, job, *rest = line.split()
        if word == "start":
            alone, max_seconds, max_rss = rest
            self.jobs[int(job)] = _Watched(alone == "1", float(max_seconds), int(max_rss))
            self.any_started = True
        elif word == "clock":
            watched = self.jobs[int(job)]
            if watched.max_seconds:
                # The job itself ends in time if it can.
                grace_s = _GRACE_S + _GRACE_FRAC * watched.max_seconds
                watched.deadline = time.monotonic() + watched.max_seconds + grace_s
        elif word == "end":
            self.jobs.pop(int(job), None)

    @property
    def limited(self) -> bool:
        """Whether a job has limits."""
        return any(w.max_seconds or w.max_rss_bytes for w in list(self.jobs.values()))

    def breach(self, used_bytes: int) -> Breach | None:
        """Return the limit that is broken now, if one is; `used_bytes` is the resident memory of the process."""
        from bt_framework.limits import too_large, too_slow

        now = time.monotonic()
        for job, watched in list(self.jobs.items()):
            if now > watched.deadline:
                return Breach(job, too_slow(watched.max_seconds))
            if 0 < watched.max_rss_bytes < used_bytes:
                return Breach(job if watched.alone else None, too_large(watched.max_rss_bytes, used_bytes))
        return None
