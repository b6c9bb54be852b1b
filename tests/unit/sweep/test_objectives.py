"""What a sweep looks for, and the jobs that no other job beats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.errors import ConfigError
from bt_framework.sweep.journal import Ending, Outcome
from bt_framework.sweep.objectives import Objective, pareto_front, refuse_unknown_metric, values_of

SHARPE, DRAWDOWN = Objective("sharpe"), Objective("max_drawdown", minimize=True)
values = st.one_of(st.none(), st.integers(-3, 3).map(float), st.just(float("inf")))


def outcome(
    job: int, sharpe: float | None, drawdown: float | None, ending: Ending = Ending.COMPLETED
) -> Outcome:
    return Outcome(job, ending, metrics={"sharpe": sharpe, "max_drawdown": drawdown})


@given(st.lists(st.tuples(values, values), max_size=12))
def test_a_job_is_on_the_front_unless_another_is_as_good_and_better_in_one(
    pairs: list[tuple[float | None, float | None]],
) -> None:
    outcomes = [outcome(job, *pair) for job, pair in enumerate(pairs)]
    objectives = (SHARPE, DRAWDOWN)
    valued = [o for o in outcomes if values_of(o, objectives) is not None]

    def beats(one: Outcome, other: Outcome) -> bool:
        sharpes, drawdowns = ([o.metrics[name] for o in (one, other)] for name in ("sharpe", "max_drawdown"))
        as_good = sharpes[0] >= sharpes[1] and drawdowns[0] <= drawdowns[1]
        return as_good and (sharpes[0] > sharpes[1] or drawdowns[0] < drawdowns[1])

    assert pareto_front(outcomes, objectives) == [
        one for one in valued if not any(beats(other, one) for other in valued)
    ]


def test_jobs_that_did_not_complete_are_not_on_the_front() -> None:
    outcomes = [
        outcome(0, 9.0, 0.0, Ending.PRUNED),
        outcome(1, 8.0, 0.0, Ending.FAILED),
        outcome(2, 1.0, 5.0),
    ]
    assert [o.job for o in pareto_front(outcomes, (SHARPE, DRAWDOWN))] == [2]


def test_of_one_objective_the_front_is_the_best_job_and_its_equals() -> None:
    outcomes = [outcome(job, value, 0.0) for job, value in enumerate((1.0, 3.0, 2.0, 3.0))]
    assert [o.job for o in pareto_front(outcomes, (SHARPE,))] == [1, 3]


def test_a_metric_that_no_run_has_is_refused_with_the_nearest() -> None:
    refuse_unknown_metric("sharpe", "sweep.metric")
    with pytest.raises(
        ConfigError, match=r"^sweep.metric must be one of .*, was 'sharp'. Did you mean 'sharpe'\?$"
    ):
        refuse_unknown_metric("sharp", "sweep.metric")
