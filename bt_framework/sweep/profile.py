"""Where the time and memory of a sweep went, per phase and job: ``profile.parquet``, and a table of sums."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from bt_framework.profiling import PHASES, WHOLE
from bt_framework.results.folder import replacing
from bt_framework.sweep.journal import JobState
from bt_framework.units import NS_PER_S

PROFILE_FILE = "profile.parquet"

_BATCH = 10_000


class Measured(NamedTuple):
    """What a phase of a job took, see `bt_framework.profiling.Spent`; a row of ``profile.parquet``.

    Attributes
    ----------
    worker : str
        Host, process and thread.
    phase : str
        One of `bt_framework.profiling.PHASES`, or "total" for the job.
    """

    job: int
    worker: str
    phase: str
    seconds: float
    growth_bytes: int
    peak_bytes: int


def measured(states: Mapping[int, JobState], *, since_ns: int = 0) -> Iterator[Measured]:
    """Yield what the jobs took whose last attempt began at `since_ns` or later; none of those not measured."""
    for job, state in sorted(states.items()):
        outcome = state.outcome if state.started_at_ns >= since_ns else None
        for phase, (seconds, growth, peak) in outcome.profile.items() if outcome else ():
            yield Measured(job, state.worker, phase, seconds, int(growth), int(peak))


def show_profile(folder: Path, states: Mapping[int, JobState], workers: int, since_ns: int) -> None:
    """Write ``profile.parquet``; print on stderr the sums over the jobs that began at `since_ns` or later.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    write_profile(folder, states)
    sums = ProfileSums(workers, (time.time_ns() - since_ns) / NS_PER_S)
    sums.add(measured(states, since_ns=since_ns))
    for line in sums.lines():
        print(line, file=sys.stderr, flush=True)


def write_profile(folder: Path, states: Mapping[int, JobState]) -> None:
    """Write ``profile.parquet`` into a sweep's folder.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("job", pa.int64()),
            ("worker", pa.string()),
            ("phase", pa.string()),
            ("seconds", pa.float64()),
            ("growth_bytes", pa.int64()),
            ("peak_bytes", pa.int64()),
        ]
    )
    writing = replacing(folder / PROFILE_FILE, "sweep.dir")
    with writing as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        found = measured(states)
        while rows := list(islice(found, _BATCH)):
            writer.write_table(pa.table(list(zip(*rows, strict=True)), schema=schema))


@dataclass
class _Sum:
    """Of one phase over jobs."""

    jobs: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    growth_bytes: int = 0
    peak_bytes: int = 0

    def add(self, row: Measured) -> None:
        self.jobs += 1
        self.seconds += row.seconds
        self.longest_s = max(self.longest_s, row.seconds)
        self.growth_bytes += row.growth_bytes
        self.peak_bytes = max(self.peak_bytes, row.peak_bytes)


@dataclass
class ProfileSums:
    """Sums over the jobs that were run since a sweep was started or resumed.

    Parameters
    ----------
    workers : int
        How many jobs are run at once.
    wall_s : float
        How long that has taken.
    """

    workers: int
    wall_s: float
    sums: dict[str, _Sum] = field(default_factory=dict)

    def add(self, rows: Iterable[Measured]) -> None:
        """Add jobs."""
        for row in rows:
            self.sums.setdefault(row.phase, _Sum()).add(row)

    def lines(self) -> Sequence[str]:
        """Return them as a table; shares are of the time that all workers together had."""
        had_s = self.workers * self.wall_s
        if WHOLE not in self.sums or had_s <= 0:
            return ()
        lines = [f"{'phase':<10}{'sum s':>10}{'mean s':>10}{'max s':>10}{'share':>8}{'peak':>12}"]
        for phase in (*PHASES, WHOLE):
            one = self.sums.get(phase)
            if one is not None:
                mean_s, peak = (
                    one.seconds / one.jobs,
                    f"{one.peak_bytes / 1e6:.1f} MB" if one.peak_bytes else "-",
                )
                figures = f"{one.seconds:>10.3f}{mean_s:>10.4f}{one.longest_s:>10.4f}"
                lines.append(f"{phase:<10}{figures}{one.seconds / had_s:>8.1%}{peak:>12}")
        total = self.sums[WHOLE]
        idle_s = max(0.0, had_s - total.seconds)
        lines.append(f"{'idle':<10}{idle_s:>10.3f}{'':>20}{idle_s / had_s:>8.1%}")
        lines.append(f"{total.jobs:,} jobs by {self.workers} workers in {self.wall_s:.2f} s")
        return lines
