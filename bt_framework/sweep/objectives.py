"""What a sweep looks for: one metric, or several that are weighed against each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name
from bt_framework.results.rows import METRIC_COLUMNS
from bt_framework.sweep.journal import Ending, Outcome
from bt_framework.sweep.plan import SweepPlan


@dataclass(frozen=True)
class Objective:
    """A metric, and whether its smallest value is the best."""

    metric: str
    minimize: bool = False


def objectives_of(plan: SweepPlan) -> tuple[Objective, ...]:
    """Return what the sweep looks for: of a sweeper that weighs several metrics all of them, else one."""
    several = plan.options.get("objectives")
    if several:
        return tuple(Objective(metric, minimize) for metric, minimize in several)
    return (Objective(plan.metric, plan.minimize),)


def refuse_unknown_metric(metric: str, key: str) -> None:
    """Refuse a metric that no run has; `key` is the override that names it.

    Raises
    ------
    ConfigError
        If there is none.
    """
    names = [column.name for column in METRIC_COLUMNS]
    if metric not in names:
        raise ConfigError(unknown_name(key, metric, names))


def values_of(outcome: Outcome, objectives: Sequence[Objective]) -> list[float] | None:
    """Return a completed job's value of each objective; None if one is undefined or infinite."""
    values = [outcome.metrics.get(objective.metric) for objective in objectives]
    found = [float(value) for value in values if value is not None and math.isfinite(value)]
    return found if outcome.ending is Ending.COMPLETED and len(found) == len(objectives) else None


def pareto_front(outcomes: Iterable[Outcome], objectives: Sequence[Objective]) -> list[Outcome]:
    """Return the jobs that no other job beats: one that is as good in every objective and better in one.

    Jobs without a value of every objective are left out. Equals are all kept, in the order given; of one objective,
    the front is the best job and its equals.
    """
    valued = [(o, values) for o in outcomes if (values := values_of(o, objectives)) is not None]
    if not valued:
        return []
    signs = np.where([objective.minimize for objective in objectives], 1.0, -1.0)
    costs = np.array([values for _, values in valued]) * signs
    return [
        outcome
        for (outcome, _), cost in zip(valued, costs, strict=True)
        if not np.any(np.all(costs <= cost, axis=1) & np.any(costs < cost, axis=1))
    ]
