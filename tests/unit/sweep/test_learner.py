"""A sweep that learns: what it proposes, what it is told, and that it goes on as if never interrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from studies import bowl, new_sweep

from bt_framework.sweep.folder import SweepFolder
from bt_framework.sweep.journal import Ending, Outcome
from bt_framework.sweep.learner import Learner, distribution, text_of, value_of
from bt_framework.sweep.objectives import Objective, objectives_of, pareto_front
from bt_framework.sweep.plan import Job
from bt_framework.sweep.space import Choices, Interval, Space, Steps
from bt_framework.sweep.study import load_study, make_study

MIXED = Space(
    {
        "latency": Choices(("colo", "retail", "'a b'")),
        "n": Steps(("5", "3", "1"), 5.0, -2.0, True),
        "z": Steps(("0.1", "0.2", "0.3", "0.4"), 0.1, 0.1),
        "one": Steps(("7",), 7.0, 1.0, True),
        "rate": Interval(1e-4, 1e-1, log=True),
        "count": Interval(1, 9, whole=True),
    }
)

Judge = Callable[[Job], Outcome]


def hashed(job: Job) -> Outcome:
    """Return a job with a value, without one, or without success, by what varies."""
    number = sum(map(ord, "".join(job.varied.values())))
    ending = Ending.FAILED if number % 5 == 0 else Ending.PRUNED if number % 5 == 1 else Ending.COMPLETED
    value = None if number % 5 == 2 else number / 7
    return Outcome(job.number, ending, metrics={"sharpe": value, "pnl": value})


def run_to_end(folder: SweepFolder, judge: Judge) -> list[dict[str, str]]:
    """Run a sweep as `run_plan` does, the driver left out; whoever calls it may have done a part."""
    learner = Learner(folder.plan(), folder)
    jobs = folder.jobs()
    while jobs := jobs or learner.ask():
        learner.tell([judge(job) for job in jobs])
        jobs = []
    assert [job.number for job in folder.jobs()] == list(range(len(folder.jobs())))
    return [dict(job.varied) for job in folder.jobs()]


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_equal_seeds_propose_equal_jobs(tmp_path: Path, sampler: str) -> None:
    runs = [
        run_to_end(
            new_sweep(tmp_path / str(n), sampler=sampler, n_trials=9, startup_trials=3, seed=seed), bowl
        )
        for n, seed in enumerate((1, 1, 2))
    ]
    assert runs[0] == runs[1] != runs[2]
    assert len(runs[0]) == 9
    assert len({str(varied) for varied in runs[0]}) == 9


def test_a_grid_takes_each_combination_once_and_no_more_jobs_than_there_are(tmp_path: Path) -> None:
    space = Space({"a": Choices(("x", "y")), "n": Steps(("1", "2", "3"), 1.0, 1.0, True)})
    found = run_to_end(new_sweep(tmp_path / "s", space, sampler="grid", n_trials=50), hashed)
    assert found == [{"a": a, "n": n} for a in "xy" for n in "123"]


def test_learning_finds_a_better_job_than_chance_on_a_known_surface(tmp_path: Path) -> None:
    best = {}
    for sampler in ("tpe", "cmaes", "random"):
        ends = []
        for seed in range(3):
            folder = new_sweep(
                tmp_path / f"{sampler}-{seed}", sampler=sampler, n_trials=50, startup_trials=5, seed=seed
            )
            run_to_end(folder, bowl)
            ends.append(max(bowl(job).metrics["sharpe"] for job in folder.jobs()))
        best[sampler] = sum(ends) / 3
    assert best["tpe"] > best["random"] / 3
    assert best["cmaes"] > best["random"] / 3


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "grid"])
@pytest.mark.parametrize("after", [False, True], ids=["before-a-write", "after-a-write"])
def test_a_sweep_that_is_killed_at_any_write_proposes_the_jobs_of_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, after: bool
) -> None:
    space = MIXED if sampler == "tpe" else Space(dict(list(MIXED.dimensions.items())[1:3]))
    settings: dict[str, Any] = {"sampler": sampler, "n_trials": 5, "startup_trials": 2, "batch": 2}
    expected = run_to_end(new_sweep(tmp_path / "whole", space, **settings), hashed)
    assert len(expected) == 5
    write, left = JournalFileBackend.append_logs, [0]

    def killing(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        left[0] -= 1
        if left[0] == 0 and not after:
            raise Killed
        write(self, logs)
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(JournalFileBackend, "append_logs", killing)
    kills = 0
    for moment in range(1, 200, 3):
        folder = new_sweep(tmp_path / str(moment), space, **settings)
        left[0] = moment
        try:
            run_to_end(folder, hashed)
        except Killed:
            kills += 1
            left[0] = 0
            run_to_end(folder, hashed)
        found = [dict(job.varied) for job in folder.jobs()]
        assert found == expected, moment
        if left[0] > 0:
            break
    assert kills > 5


def test_a_process_killed_while_it_writes_leaves_a_study_that_goes_on(tmp_path: Path) -> None:
    expected = run_to_end(new_sweep(tmp_path / "whole", n_trials=4, startup_trials=2), bowl)
    folder = new_sweep(tmp_path / "torn", n_trials=4, startup_trials=2)
    learner = Learner(folder.plan(), folder)
    learner.tell([bowl(job) for job in learner.ask()])
    for name in ("study.jsonl", "jobs.jsonl"):
        with open(folder.path / name, "a") as file:
            file.write('{"op_code":4,"wor')
    assert run_to_end(folder, bowl) == expected


def test_the_study_knows_what_came_of_each_job(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s", n_trials=4, batch=4)
    learner = Learner(folder.plan(), folder)
    numbers = [job.number for job in learner.ask()]
    endings = (Ending.COMPLETED, Ending.COMPLETED, Ending.PRUNED, Ending.FAILED)
    values = (1.5, None, None, None)
    learner.tell(
        [
            Outcome(number, ending, metrics={"sharpe": value})
            for number, ending, value in zip(numbers, endings, values, strict=True)
        ]
    )
    trials = load_study(folder.plan(), folder).get_trials()
    assert [t.state for t in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,  # a metric without a value is worse than any value
        TrialState.PRUNED,
        TrialState.FAIL,
    ]
    assert trials[0].value == 1.5


def test_a_failed_job_that_succeeds_when_it_is_run_again_is_learned_from(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s", n_trials=2)
    learner = Learner(folder.plan(), folder)
    (job,) = learner.ask()
    learner.tell([Outcome(job.number, Ending.FAILED)])
    again = Learner(folder.plan(), folder)
    again.tell([bowl(job)])
    again.tell([bowl(job)])
    trials = load_study(folder.plan(), folder).get_trials()
    assert [t.state for t in trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert trials[1].params == trials[0].params
    assert len(again.ask()) == 1
    assert again.ask() == []


def test_several_metrics_are_weighed_in_their_own_directions(tmp_path: Path) -> None:
    sought = (Objective("sharpe"), Objective("max_drawdown", minimize=True))

    def judge(job: Job) -> Outcome:
        x = float(job.varied["x"])
        metrics = {"sharpe": x, "max_drawdown": x * x} if x < 4 else {"sharpe": 9.0, "max_drawdown": None}
        return Outcome(job.number, Ending.COMPLETED, metrics=metrics)

    folder = new_sweep(tmp_path / "s", objectives=sought, n_trials=16, startup_trials=4)
    run_to_end(folder, judge)
    best = pareto_front([judge(job) for job in folder.jobs()], objectives_of(folder.plan()))
    front = load_study(folder.plan(), folder).best_trials
    assert sorted(outcome.job for outcome in best) == sorted(trial.user_attrs["job"] for trial in front)
    assert 0 < len(front) < 16


@pytest.mark.parametrize("key", list(MIXED.dimensions))
def test_what_optuna_chooses_is_a_value_of_the_space_and_back(key: str) -> None:
    dimension = MIXED.dimensions[key]
    known = distribution(dimension)
    texts: Mapping[str, Any]
    if isinstance(dimension, Choices):
        texts = {text: value_of(dimension, text) for text in dimension.values}
        assert all(known._contains(known.to_internal_repr(value)) for value in texts.values())
    else:
        low, high = dimension.checked()
        texts = {low: known.low, high: known.high}
        texts = {text_of(dimension, known.low): known.low}
    assert all(text_of(dimension, value) == text for text, value in texts.items())


def test_options_of_a_plan_survive_being_written(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s", MIXED, n_trials=3)
    assert Space.of_plain(folder.plan().options["space"]) == MIXED
    assert dataclasses.replace(folder.plan()).options["objectives"] == [["sharpe", False]]


def test_a_study_is_made_once(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s", n_trials=1)
    run_to_end(folder, bowl)
    make_study(folder.plan(), folder)
    assert len(load_study(folder.plan(), folder).get_trials()) == 1
