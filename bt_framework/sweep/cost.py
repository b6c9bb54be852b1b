"""What the rest of a sweep is going to cost, judged by a job of it that was run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.config.conduct import SweepSettings
from bt_framework.errors import ConfigError, StorageError
from bt_framework.registry import Kind
from bt_framework.results.folder import RunFolder, folder_bytes
from bt_framework.sweep.journal import Outcome
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.words import bytes_text, seconds_text

if TYPE_CHECKING:
    from bt_framework.config.variants import VariantComposer

_OVERHEAD_S = 0.015
"""What composing, identifying and indexing a job takes once its process has done so before, seconds."""

_SAMPLE = 200
"""So many jobs are looked at to tell how many need not be run."""

_RECORDS = 20
"""So many runs of a configuration are looked at, the newest first."""

_S_PER_HOUR = 3600.0
_BYTES_PER_GB = 1e9


@dataclass(frozen=True)
class JobCost:
    """What one job costs.

    Attributes
    ----------
    seconds : float
        Wall time in a process that has read the data and compiled the loop.
    size_bytes : int
        Of the run's folder.
    """

    seconds: float
    size_bytes: int

    @classmethod
    def of(cls, outcome: Outcome) -> JobCost:
        """Return the cost of a completed job: its loop and its files, not what only the first one has to do."""
        seconds = sum(outcome.timings.get(name, 0.0) for name in ("kernel_s", "write_s"))
        return cls(seconds + _OVERHEAD_S, folder_bytes(Path(outcome.run_dir)))

    def of_sweep(self, jobs: float, workers: int) -> SweepCost:
        """Return the cost of `jobs` such jobs, `workers` of them at once."""
        return SweepCost(jobs * self.seconds / min(workers, max(1.0, jobs)), jobs * self.size_bytes)


@dataclass(frozen=True)
class SweepCost:
    """Wall time, seconds, and size on disk, bytes."""

    seconds: float
    size_bytes: float

    def __str__(self) -> str:
        """Return both in words."""
        return f"{seconds_text(self.seconds)} and {bytes_text(self.size_bytes)}"

    def raised(self, settings: SweepSettings) -> dict[str, int]:
        """Return the limits that are exceeded, by key, as they would have to be."""
        hours, gb = self.seconds / _S_PER_HOUR, self.size_bytes / _BYTES_PER_GB
        wanted = {
            "sweep.confirm_hours": (hours, settings.confirm_hours),
            "sweep.confirm_gb": (gb, settings.confirm_gb),
        }
        return {key: math.ceil(value) for key, (value, limit) in wanted.items() if 0 < limit < value}


@dataclass(frozen=True)
class Rest:
    """Jobs of a sweep that are not done.

    Attributes
    ----------
    number : int
        How many they are.
    jobs : sequence of Job
        Those that are known already.
    workers : int
        How many of them run at once.
    """

    plan: SweepPlan
    number: int
    jobs: Sequence[Job]
    workers: int


def confirm(rest: Rest, cost: JobCost, settings: SweepSettings, ask: Callable[[str], bool]) -> None:
    """Ask whether the rest is to be run, if it costs more than `settings` allow.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not cost.of_sweep(rest.number, rest.workers).raised(settings):
        return
    number = rest.number * (1 - _stored_frac_of(rest))
    expected = cost.of_sweep(number, rest.workers)
    raised = expected.raised(settings)
    if not raised:
        return
    limits = " and ".join(f"{key}={getattr(settings, key.partition('.')[2]):g}" for key in raised)
    judged = (
        f"judged by the first job, the other {rest.number:,} take about {expected} "
        f"({seconds_text(cost.seconds)} each, {rest.workers} at once), more than {limits}."
    )
    if not ask(f"{judged[0].upper()}{judged[1:]} Run them?"):
        keys = " ".join(f"{key}={value}" for key, value in raised.items())
        raise ConfigError(
            f"{judged} None of them was run. To run them: bt sweep resume {rest.plan.sweep_id} {keys}"
        )


def _stored_frac_of(rest: Rest) -> float:
    from bt_framework.config.variants import VariantComposer
    from bt_framework.plugin_manager import discover

    return stored_frac(VariantComposer(discover(), rest.plan.config_dirs), rest.plan, rest.jobs)


def stored_frac(composer: VariantComposer, plan: SweepPlan, jobs: Sequence[Job]) -> float:
    """Return the share of `jobs` that need not run, because a run of the same configuration and data is stored.

    Their code is taken to be the same. Of many jobs some are looked at, evenly spread.
    """
    if not jobs:
        return 0.0
    sample = jobs[:: max(1, len(jobs) // _SAMPLE)]
    return sum(_is_stored(composer, plan.overrides(job)) for job in sample) / len(sample)


def _is_stored(composer: VariantComposer, overrides: list[str]) -> bool:
    from bt_framework.results.identity import config_hash
    from bt_framework.results.run import Status
    from bt_framework.stores.base import RunQuery
    from bt_framework.stores.filters import And, Compare

    try:
        composition = composer.compose(overrides)
    except ConfigError:
        return False  # the job will fail, for the same reason
    if composition.conduct.rerun:
        return False
    resolved = composition.resolved
    same = And(
        (
            Compare("config_hash", "==", config_hash(resolved)),
            Compare("seed", "==", composition.settings.seed),
            Compare("status", "==", str(Status.COMPLETED)),
        )
    )
    query = RunQuery(same, limit=_RECORDS)
    found = composition.one(Kind.STORE).build().select(query)
    return any(_has_data(record.run_dir, resolved[str(Kind.DATA)]) for record in found)


def _has_data(run_dir: Path, data: object) -> bool:
    """Whether the run in a folder was of the data that are chosen so."""
    try:
        return bool(RunFolder(run_dir).config()[str(Kind.DATA)] == data)
    except (StorageError, KeyError):
        return False
