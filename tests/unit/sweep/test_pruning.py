"""Profit at fixed simulated times, and what a pruner makes of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import bowl, new_sweep

from bt_framework.errors import RunPruned, StorageError
from bt_framework.interrupt import StopSignals
from bt_framework.records import EQUITY
from bt_framework.sweep.journal import Ending, Outcome
from bt_framework.sweep.learner import Learner
from bt_framework.sweep.objectives import Objective
from bt_framework.sweep.pruning import ProfitAt, Pruning


def samples(values: list[list[float]]) -> np.ndarray:
    """Return rows of the equity table: one sample of two instruments every 10 ns, from 10 on."""
    rows = np.zeros(2 * len(values), EQUITY)
    rows["local_ts"] = np.repeat(np.arange(10, 10 * (len(values) + 1), 10), 2)
    rows["asset"] = np.tile([0, 1], len(values))
    rows["equity"] = np.array(values).reshape(-1)
    return rows


def passed(rows: np.ndarray, cuts: list[int], times: list[int]) -> list[tuple[int, float]]:
    profit, found = ProfitAt(np.array(times), 2), []
    edges = [0, *sorted(cuts), len(rows)]
    for low, high in itertools.pairwise(edges):
        last = int(rows["local_ts"][high - 1]) if high else 0
        end = last + (5 if high == len(rows) else 0)
        found += profit.passed({"equity": rows[low:high]}, end)
    return found


@given(
    values=st.lists(st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=2), min_size=1, max_size=12),
    times=st.lists(st.integers(1, 25).map(lambda n: 5 * n), min_size=1, max_size=9, unique=True).map(sorted),
    data=st.data(),
)
def test_profits_are_those_of_the_last_sample_however_the_slices_fall(
    values: list[list[float]], times: list[int], data: st.DataObject
) -> None:
    rows = samples(values)
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=5))
    end = 10 * len(values) + 5
    expected = [
        (index, sum(values[time // 10 - 1]) if time >= 10 else 0.0)
        for index, time in enumerate(times)
        if time < end
    ]
    assert passed(rows, cuts, times) == expected


def test_a_job_behind_the_median_is_given_up_and_one_ahead_is_not(tmp_path: Path) -> None:
    folder = new_sweep(
        tmp_path / "s", n_trials=6, batch=6, startup_trials=2, pruner="median", pruning_steps=4
    )
    learner = Learner(folder.plan(), folder)
    jobs = learner.ask()
    pruning, stop = Pruning(folder.plan(), folder), StopSignals()
    for job in jobs[:3]:
        watch = pruning.watch(job.number, stop)
        watch._report(1, 10.0)
        assert not watch.received
        learner.tell([bowl(job)])
    behind, ahead = (pruning.watch(job.number, stop) for job in jobs[3:5])
    behind._report(1, 3.0)
    ahead._report(1, 30.0)
    assert (behind.received, ahead.received) == (True, False)
    error = behind.error()
    assert isinstance(error, RunPruned)
    assert str(error) == "pruned at step 1 of 4: its profit of 3 was behind that of other jobs."


def test_more_profit_is_better_whatever_the_sweep_looks_for(tmp_path: Path) -> None:
    sought = (Objective("max_drawdown", minimize=True),)
    folder = new_sweep(
        tmp_path / "s", objectives=sought, n_trials=4, batch=4, startup_trials=1, pruner="median"
    )
    learner = Learner(folder.plan(), folder)
    jobs = learner.ask()
    pruning, stop = Pruning(folder.plan(), folder), StopSignals()
    first, behind, ahead = (pruning.watch(job.number, stop) for job in jobs[:3])
    first._report(1, 10.0)
    learner.tell([Outcome(jobs[0].number, Ending.COMPLETED, metrics={"max_drawdown": 1.0})])
    behind._report(1, 3.0)
    ahead._report(1, 30.0)
    assert (behind.received, ahead.received) == (True, False)


def test_a_worker_without_the_study_says_so(tmp_path: Path) -> None:
    folder = new_sweep(tmp_path / "s", pruner="median")
    (folder.path / "study.jsonl").unlink()
    with pytest.raises(StorageError, match=r"need a database: hydra\.sweeper\.storage=URL"):
        Pruning(folder.plan(), folder)
