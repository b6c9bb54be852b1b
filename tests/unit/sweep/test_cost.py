"""What the rest of a sweep costs, and that somebody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from journals import SWEEP_ID, HandMade

from bt_framework.config.conduct import SweepSettings
from bt_framework.errors import ConfigError
from bt_framework.sweep import cost
from bt_framework.sweep.cost import JobCost, Rest, SweepCost, confirm
from bt_framework.sweep.journal import Ending, Outcome

LONG = JobCost(seconds=36.0, size_bytes=50_000_000)


@pytest.fixture
def rest(tmp_path: Path) -> Rest:
    """A thousand jobs that are left, two at once; of those that are known none is stored."""
    return Rest(HandMade(tmp_path).plan, 1_000, [], 2)


def test_a_job_costs_its_loop_its_files_and_a_little_more_but_not_what_only_the_first_one_does(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "run.json").write_bytes(b"x" * 100)
    (tmp_path / "tables" / "fills.parquet").write_bytes(b"x" * 900)
    timings = {
        "compose_s": 2.0,
        "ingest_s": 60.0,
        "compile_s": 20.0,
        "kernel_s": 3.0,
        "write_s": 1.0,
        "wall_s": 87.0,
    }
    outcome = Outcome(0, Ending.COMPLETED, timings=timings, run_dir=str(tmp_path))
    found = JobCost.of(outcome)
    assert found.size_bytes == 1_000
    assert 4.0 < found.seconds < 4.1


def test_the_folder_of_a_run_on_another_machine_has_no_size():
    outcome = Outcome(0, Ending.COMPLETED, timings={"kernel_s": 3.0}, run_dir="/nowhere/at/all")
    assert JobCost.of(outcome).size_bytes == 0


@pytest.mark.parametrize(
    ("jobs", "workers", "seconds"), [(10, 2, 180.0), (10, 1, 360.0), (3, 8, 36.0), (0, 2, 0.0)]
)
def test_jobs_share_the_workers_and_no_more_of_them_than_there_are_jobs(jobs, workers, seconds):
    assert LONG.of_sweep(jobs, workers) == SweepCost(seconds, jobs * 50_000_000)


@pytest.mark.parametrize(
    ("settings", "raised"),
    [
        ({}, {"sweep.confirm_hours": 6, "sweep.confirm_gb": 51}),
        ({"confirm_hours": 6.0}, {"sweep.confirm_gb": 51}),
        ({"confirm_gb": 0.0}, {"sweep.confirm_hours": 6}),
        ({"confirm_hours": 0.0, "confirm_gb": 51.0}, {}),
    ],
)
def test_limits_that_are_exceeded_are_told_as_they_would_have_to_be_and_none_is_no_limit(settings, raised):
    assert SweepCost(5.2 * 3600, 50.5e9).raised(SweepSettings(**settings)) == raised


def test_nobody_is_asked_below_the_limits(rest):
    confirm(rest, JobCost(0.05, 1_000), SweepSettings(), ask=pytest.fail)


def test_a_yes_lets_the_rest_run(rest):
    asked: list[str] = []
    confirm(rest, LONG, SweepSettings(), ask=lambda question: asked.append(question) or True)
    assert asked == [
        "Judged by the first job, the other 1,000 take about 5 h 00 min and 50 GB (36 s each, 2 at once), more than "
        "sweep.confirm_hours=1 and sweep.confirm_gb=10. Run them?"
    ]


def test_a_no_says_the_figures_and_how_to_go_on(rest):
    with pytest.raises(ConfigError) as caught:
        confirm(rest, LONG, SweepSettings(confirm_gb=0), ask=lambda question: False)
    assert str(caught.value) == (
        "judged by the first job, the other 1,000 take about 5 h 00 min and 50 GB (36 s each, 2 at once), more than "
        f"sweep.confirm_hours=1. None of them was run. To run them: bt sweep resume {SWEEP_ID} sweep.confirm_hours=5"
    )


def test_jobs_that_are_stored_already_cost_nothing(rest, monkeypatch):
    monkeypatch.setattr(cost, "stored_frac", lambda composer, plan, jobs: 0.9)
    confirm(rest, LONG, SweepSettings(), ask=pytest.fail)


@pytest.mark.parametrize("name", ["confirm_hours", "confirm_gb"])
@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_limits_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"sweep.{name} must be >= 0 and finite, was {value}."):
        SweepSettings(**{name: value})
