"""The order in which jobs are launched: those that read the same data follow each other."""

from __future__ import annotations

from collections.abc import Sequence

from bt_framework.sweep.plan import Job

# Which events are read, then what is made of them; an experiment may choose both.
_DECIDES = ("experiment", "data", "repair", "store_dir", "latency", "start", "end")


def by_data(jobs: Sequence[Job]) -> list[Job]:
    """Return `jobs` with those of the same data together, otherwise as they were.

    Mappings and the page cache serve the next job then; the results say nothing of the order.
    """
    keys = [key for job in jobs[:1] for name in _DECIDES for key in job.varied if _group(key) == name]
    if not keys:
        return list(jobs)
    ranks: dict[tuple[str | None, ...], int] = {}
    placed = []
    for position, job in enumerate(jobs):
        values = tuple(job.varied.get(key) for key in keys)
        # A rank for each value of the first key, then of the first two, ...: by first appearance.
        rank = tuple(ranks.setdefault(values[: n + 1], len(ranks)) for n in range(len(values)))
        placed.append((rank, position, job))
    return [job for _, _, job in sorted(placed, key=lambda entry: entry[:2])]


def reads_data(key: str) -> bool:
    """Whether a key decides which data a job reads.

    >>> [reads_data(key) for key in ("data.pair", "+experiment", "start", "strategy.entry_z")]
    [True, True, True, False]
    """
    return _group(key) in _DECIDES


def _group(key: str) -> str:
    return key.lstrip("+").partition(".")[0]
