"""Jobs that stand for a sweep where one is enough: how it is shown, which stores keep it, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from bt_framework.errors import ConfigError
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.space import Space

if TYPE_CHECKING:
    from bt_framework.config.compose import Composition
    from bt_framework.config.variants import VariantComposer

_TRIES = 20


def possible_jobs(plan: SweepPlan, jobs: Sequence[Job]) -> Iterator[Job]:
    """Yield the jobs; if none is known yet, jobs that a sweep which learns may propose, each listed value in one."""
    if jobs or plan.complete:
        yield from jobs
        return
    for alternatives in Space.of_plain(plan.options.get("space", {})).checks():
        yield from alternatives


def example(composer: VariantComposer, plan: SweepPlan, jobs: Sequence[Job]) -> tuple[Job, Composition]:
    """Return the first job that is right by itself, of the first few and the last one, and its composition.

    Raises
    ------
    ConfigError
        If all of those are wrong.
    """
    candidates = [*islice(possible_jobs(plan, jobs), _TRIES), *jobs[-1:]] or [Job(0, {})]
    problems = []
    for job in candidates:
        try:
            return job, composer.compose(plan.overrides(job))
        except ConfigError as error:
            problems.append(error)
    raise problems[0]
