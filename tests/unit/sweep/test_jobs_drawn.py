"""Grids, random samples and Latin hypercubes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.errors import ConfigError
from bt_framework.sweep.grid import grid_jobs, refuse_too_many
from bt_framework.sweep.sampling import drawn_jobs, latin_hypercube
from bt_framework.sweep.space import Choices, Interval, Space, Steps

SPACE = Space(
    {
        "latency": Choices(("colo", "retail")),
        "strategy.n": Steps(("1", "3", "5"), 1.0, 2.0, True),
        "strategy.z": Interval(1, 3),
    }
)


def test_a_grid_is_every_combination_and_the_last_key_varies_fastest() -> None:
    jobs = list(grid_jobs(Space({"a": Choices(("x", "y")), "b": Choices(("1", "2", "3"))})))
    assert [job.overrides for job in jobs] == [
        [f"a={a}", f"b={b}"] for a, b in itertools.product("xy", "123")
    ]
    assert [job.number for job in jobs] == list(range(6))


def test_a_grid_of_nothing_is_one_job() -> None:
    assert [job.overrides for job in grid_jobs(Space({}))] == [[]]


def test_an_interval_has_no_grid() -> None:
    with pytest.raises(
        ConfigError, match=r"^strategy.z must have values that can be counted, was an interval\."
    ):
        list(grid_jobs(SPACE))


def test_a_grid_that_is_too_large_is_refused_with_the_count_of_each_key() -> None:
    refuse_too_many({"a": 10, "b": 10}, 100)
    with pytest.raises(
        ConfigError,
        match=r"at most sweep.max_jobs=100 jobs, has 1,000,000: 1,000 of a x 1,000 of b\. Give fewer values",
    ):
        refuse_too_many({"a": 1_000, "b": 1_000}, 100)


@pytest.mark.parametrize("sweeper", ["random", "lhs"])
def test_equal_seeds_draw_equal_jobs_and_others_do_not(sweeper: str) -> None:
    assert drawn_jobs(sweeper, SPACE, 9, seed=4) == drawn_jobs(sweeper, SPACE, 9, seed=4)
    assert drawn_jobs(sweeper, SPACE, 9, seed=4) != drawn_jobs(sweeper, SPACE, 9, seed=5)


@given(trials=st.integers(1, 60), keys=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_each_equal_part_of_every_key_has_one_job_of_a_latin_hypercube(
    trials: int, keys: int, seed: int
) -> None:
    drawn = latin_hypercube(trials, keys, seed)
    assert drawn.shape == (trials, keys)
    parts = np.sort(np.floor(drawn * trials).astype(int), axis=0)
    assert np.array_equal(parts, np.tile(np.arange(trials)[:, None], keys))


def test_a_latin_hypercube_takes_every_choice_equally_often() -> None:
    jobs = drawn_jobs("lhs", SPACE, 12, seed=1)
    for key, times in (("latency", 6), ("strategy.n", 4)):
        values = [job.varied[key] for job in jobs]
        assert {values.count(value) for value in values} == {times}


def test_a_space_survives_being_written_into_a_plan() -> None:
    assert Space.of_plain(SPACE.plain()) == SPACE


def test_a_space_is_judged_by_every_listed_value_and_the_ends_of_the_others() -> None:
    judged = {key: {job.varied[key] for group in SPACE.checks() for job in group} for key in SPACE.dimensions}
    assert judged["latency"] == {"colo", "retail"}
    assert judged["strategy.n"] == {"1", "5"}
    low, high = sorted(map(float, judged["strategy.z"]))
    assert low == 1.0
    assert 2.99 < high < 3
