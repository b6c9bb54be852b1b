"""Whether what is done of a sweep is what would be run now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bt_framework.errors import BtError, ConfigError
from bt_framework.interrupt import StopSignals
from bt_framework.registry import Kind
from bt_framework.results.console import Console
from bt_framework.runner import Run, Surroundings
from bt_framework.sweep.journal import Ending, JobState, Outcome
from bt_framework.sweep.order import reads_data
from bt_framework.sweep.plan import Job, SweepPlan
from bt_framework.sweep.tally import planned_jobs

if TYPE_CHECKING:
    from bt_framework.config.variants import VariantComposer

_MEANS = {
    "code_hash": "the code",
    "config_hash": "an option",
    "data_hash": "the data, or what was estimated from it,",
    "seed": "the seed",
}

_MOST_LOOKED_AT = 16


def refuse_change(
    plan: SweepPlan, jobs: Sequence[Job], states: Mapping[int, JobState], composer: VariantComposer
) -> None:
    """Refuse to go on with a sweep if jobs that are done would be other runs now: its table would mix both.

    One job is looked at of each choice of options and data, of `_MOST_LOOKED_AT` choices; values of parameters cannot
    change behind a plan's back. If nothing is left to run, nothing is looked at.

    Raises
    ------
    ConfigError
        If one would.
    """
    ended = sum(state.ending in (Ending.COMPLETED, Ending.PRUNED) for state in states.values())
    if ended >= planned_jobs(plan, len(jobs)):
        return
    for job, done in _representatives(jobs, states):
        try:
            composition = composer.compose(plan.overrides(job))
            identity = Run(composition, Surroundings(StopSignals(), Console())).prepare().identity
        except BtError:
            continue  # a job that needs what is wrong now will say so
        now = dataclasses.asdict(identity)
        for part, means in _MEANS.items():
            if now[part] != done.identity[part]:
                count = sum(state.ending is Ending.COMPLETED for state in states.values())
                raise ConfigError(
                    f"sweep {plan.sweep_id} cannot go on: {means} of job {job.number} has changed since it was run "
                    f"({part} was {str(done.identity[part])[:12]}, is {str(now[part])[:12]}), and the table would mix "
                    f"its {count} finished jobs with other ones. Undo the change, or start a new sweep (bt -m, without "
                    "resume=true), which reuses every run that is still the same."
                )


def _representatives(jobs: Sequence[Job], states: Mapping[int, JobState]) -> Iterator[tuple[Job, Outcome]]:
    """Yield one job that has completed of each choice of options and data, from the first choice to the last."""
    chosen: dict[tuple[tuple[str, str], ...], Job] = {}
    for job in jobs:
        state = states.get(job.number)
        if state is not None and state.ending is Ending.COMPLETED:
            chosen.setdefault(tuple(item for item in job.varied.items() if _is_choice(item[0])), job)
    found = list(chosen.values())
    for job in found[:: max(1, -(-len(found) // _MOST_LOOKED_AT))]:
        outcome = states[job.number].outcome
        if outcome is not None:
            yield job, outcome


def _is_choice(key: str) -> bool:
    """Whether a key chooses an option or data."""
    return key.lstrip("+").partition("@")[0] in {*Kind, "experiment"} or reads_data(key)
