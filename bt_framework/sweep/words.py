"""Jobs, spans of time and sizes in words, as a sweep speaks of them."""

from __future__ import annotations

from bt_framework.sweep.plan import Job

_NO_JOB = "nothing varies"


def varied_text(job: Job) -> str:
    """What differs in a job, as overrides.

    >>> varied_text(Job(0, {"+strategy.entry_z": "1.5", "queue": "power_prob"}))
    'strategy.entry_z=1.5 queue=power_prob'
    """
    return " ".join(f"{key.lstrip('+')}={value}" for key, value in job.varied.items()) or _NO_JOB


def seconds_text(seconds: float) -> str:
    """A span of time, with two digits or so.

    >>> [seconds_text(s) for s in (0.0123, 4.26, 28, 185, 8040, 200_000)]
    ['0.012 s', '4.3 s', '28 s', '3 min 05 s', '2 h 14 min', '2 d 8 h']
    """
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def bytes_text(size: float) -> str:
    """A size in decimal units, with three digits.

    >>> [bytes_text(s) for s in (512, 231_400, 1_000_000_000, 12_345_678_901)]
    ['512 bytes', '231 kB', '1 GB', '12.3 GB']
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} bytes"
