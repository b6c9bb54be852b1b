"""Which jobs of a sweep run a strategy in plain Python, which does not let other threads run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bt_framework.registry import Kind

if TYPE_CHECKING:
    from bt_framework.config.compose import Composition
    from bt_framework.config.variants import VariantComposer
    from bt_framework.sweep.plan import Job, SweepPlan
    from bt_framework.sweep.work import SweepWork


def plain_chunks(work: SweepWork, composer: VariantComposer) -> set[int]:
    """Return the numbers of the chunks with such a job."""
    known: dict[tuple[tuple[str, str], ...], bool] = {}
    plain = set()
    for number, chunk in enumerate(work.chunks):
        for job in chunk.jobs:
            # Values of a strategy's parameters do not make it another one.
            chosen = tuple((key, value) for key, value in job.varied.items() if "." not in key)
            if chosen not in known:
                known[chosen] = _is_plain(work.plan, job, composer)
            if known[chosen]:
                plain.add(number)
    return plain


def is_plain(composition: Composition) -> bool:
    """Whether the strategy of a composition runs as plain Python."""
    from bt_framework.engine.strategy import PlainStrategy

    return composition.settings.plain or isinstance(composition.one(Kind.STRATEGY).build(), PlainStrategy)


def _is_plain(plan: SweepPlan, job: Job, composer: VariantComposer) -> bool:
    try:
        return is_plain(composer.compose(plan.overrides(job)))
    except Exception:  # the job itself will say what is wrong
        return False
