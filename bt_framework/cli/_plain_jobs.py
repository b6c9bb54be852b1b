"""Which jobs of a sweep run a strategy in plain Python, which does not let other threads run."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bt_framework.registry import Kind

if TYPE_CHECKING:
    from bt_framework.config.variants import VariantComposer
    from bt_framework.sweep.plan import Job, SweepPlan
    from bt_framework.sweep.work import SweepWork


_DECIDE = ("experiment", "plain", "strategy")
"""Keys that say it; values of a strategy's parameters do not make it another one."""


def plain_chunks(work: SweepWork, composer: VariantComposer) -> set[int]:
    """Return the numbers of the chunks with such a job."""
    known: dict[tuple[tuple[str, str], ...], bool] = {}
    plain = set()
    for number, chunk in enumerate(work.chunks):
        for job in chunk.jobs:
            chosen = choices(job, _DECIDE)
            if chosen not in known:
                known[chosen] = is_plain(work.plan, job, composer)
            if known[chosen]:
                plain.add(number)
    return plain


def choices(job: Job, keys: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Return those of `keys` that vary, and what the job has for them.

    >>> from bt_framework.sweep.plan import Job
    >>> choices(Job(0, {"+strategy": "ou_pairs", "seed": "1", "strategy.entry_z": "2"}), ("strategy", "plain"))
    (('+strategy', 'ou_pairs'),)
    """
    varied = job.varied.items()
    return tuple((key, value) for key, value in varied if key.lstrip("+").partition("@")[0] in keys)


def is_plain(plan: SweepPlan, job: Job, composer: VariantComposer) -> bool:
    """Whether the strategy of a job runs as plain Python."""
    from bt_framework.engine.strategy import PlainStrategy

    try:
        composition = composer.compose(plan.overrides(job))
        return composition.settings.plain or isinstance(composition.one(Kind.STRATEGY).build(), PlainStrategy)
    except Exception:  # the job itself will say what is wrong
        return False
