"""What is wrong with a sweep is said before anything is written; what is right becomes a plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bt_framework.cli._sweep_planning import Draft, Planner
from bt_framework.config.compose import compose
from bt_framework.config.variants import VariantComposer
from bt_framework.errors import ConfigError, StorageError
from bt_framework.plugin_manager import PluginHost, discover
from bt_framework.sweep.examples import example, possible_jobs

STRATEGY = ["+strategy=market_maker"]
SPREADS = "strategy.half_spread_bps=interval(0,5)"


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return discover()


@pytest.fixture(scope="module")
def composer(host: PluginHost) -> VariantComposer:
    return VariantComposer(host)


@pytest.fixture
def planner(host: PluginHost, composer: VariantComposer) -> Any:
    """Return a function that plans what a sweeper makes of overrides."""

    def plan(sweeper: str, *overrides: str, **settings: Any) -> Draft:
        return Planner(host, composer, [*STRATEGY, *overrides], ()).draft(sweeper, settings)

    return plan


@pytest.mark.parametrize(
    ("sweeper", "overrides"),
    [
        ("grid", ["latency=glob(co*)", "strategy.max_units=choice(1,2)", "risk=[max_position],[]"]),
        ("grid", ["+note=a,'b c'", "data.duration_ns=2s,4s"]),
        ("grid", []),
        ("random", [SPREADS, "latency=colo,retail", "queue=risk_averse,power_prob"]),
        ("lhs", ["strategy.max_units=int(interval(1,9))", "strategy.skew_bps=tag(log,interval(1e-3,1))"]),
    ],
)
def test_a_job_of_a_sweep_is_what_hydra_composes_of_its_words(
    planner: Any, composer: VariantComposer, sweeper: str, overrides: Sequence[str]
) -> None:
    overrides = [o.removeprefix("+") for o in overrides]
    draft = planner(sweeper, *overrides, **({} if sweeper == "grid" else {"n_trials": 3}))
    assert draft.jobs
    for job in draft.jobs:
        words = draft.plan.overrides(job)
        expected = compose(words)
        assert composer.compose(words).resolved == expected.resolved
        assert composer.compose(words).conduct == expected.conduct


def test_a_plan_says_all_that_is_needed_to_go_on(planner: Any) -> None:
    draft = planner("lhs", SPREADS, "seed=3", "sweep.metric=pnl", n_trials=2, seed=5)
    plan = draft.plan
    assert plan.fixed == (*STRATEGY, "seed=3", "sweep.metric=pnl")
    assert plan.keys == ("strategy.half_spread_bps",)
    assert (plan.sweeper, plan.complete, plan.metric, plan.minimize) == ("lhs", True, "pnl", False)
    assert plan.options == {"n_trials": 2, "seed": 5}
    assert plan.cwd == str(Path.cwd())
    assert planner("lhs", SPREADS, "seed=3", "sweep.metric=pnl", n_trials=2, seed=5).jobs == draft.jobs


def test_the_same_words_in_another_folder_are_another_plan(
    planner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = planner("grid", "seed=1,2"), planner("grid", "seed=1,2")
    assert first.plan.digest(first.jobs) == again.plan.digest(again.jobs)
    monkeypatch.chdir(tmp_path)
    other = planner("grid", "seed=1,2")
    assert other.plan.digest(other.jobs) != first.plan.digest(first.jobs)


def test_values_that_are_wrong_only_together_are_left_to_their_jobs(
    host: PluginHost, composer: VariantComposer
) -> None:
    def plan(*overrides: str) -> Draft:
        return Planner(host, composer, ["+strategy=ou_pairs", *overrides], ()).draft("grid", {})

    # exit_z must be below entry_z: 1.5 is wrong with 1 and right with 2.
    assert len(plan("strategy.entry_z=1,2", "strategy.exit_z=0.5,1.5").jobs) == 4
    first_wrong = plan("strategy.entry_z=1,2", "strategy.exit_z=1.5,0.5")
    assert example(composer, first_wrong.plan, first_wrong.jobs)[0] == first_wrong.jobs[1]
    with pytest.raises(ConfigError, match=r"levels must be exit_z < entry_z < stop_z, were 2\.5"):
        plan("strategy.entry_z=1,2", "strategy.exit_z=0.5,2.5")


def test_a_sweep_that_learns_is_judged_by_jobs_that_it_may_propose(
    host: PluginHost, composer: VariantComposer
) -> None:
    """The keys of an option are none of what all jobs share, if the option varies."""
    overrides = ["+strategy=bollinger_pairs,ou_pairs", "strategy.entry_z=2.1", "writer=[parquet],[]"]
    draft = Planner(host, composer, overrides, ()).draft("optuna", {"n_trials": 2})
    assert draft.jobs == []
    job, composition = example(composer, draft.plan, draft.jobs)
    assert composition.resolved == compose(draft.plan.overrides(job)).resolved
    seen = [set(job.varied.values()) for job in possible_jobs(draft.plan, draft.jobs)]
    assert set.union(*seen) == {"bollinger_pairs", "ou_pairs", "[parquet]", "[]"}


@pytest.mark.parametrize(
    ("sweeper", "overrides", "settings", "message"),
    [
        ("grid", ["strategy.entry=1,2"], {}, "unknown key strategy.entry (override strategy.entry=1)."),
        ("grid", ["strategy.max_units=1,-2"], {}, "strategy.max_units must be >= 0, was -2.0 (override"),
        ("grid", ["strategy.max_units=range(5,-2,-1)"], {}, "strategy.max_units must be >= 0, was -1.0"),
        ("grid", ["latency=colo,cola"], {}, "latency must be one of colo, constant"),
        (
            "grid",
            ["seed=range(1000)", "strategy.max_units=range(1000)"],
            {},
            "has 1,000,000: 1,000 of seed x",
        ),
        ("grid", ["seed=1,2,3", "sweep.max_jobs=2"], {}, "at most sweep.max_jobs=2 jobs, has 3: 3 of seed."),
        ("grid", ["seed=1,2", "sweep.metric=sharp"], {}, "was 'sharp'. Did you mean 'sharpe'?"),
        ("grid", [SPREADS], {}, "must have values that can be counted, was an interval."),
        ("grid", ["seed=1,2"], {"n_trials": 2}, "unknown key hydra.sweeper.n_trials"),
        ("random", ["seed=3"], {}, "hydra/sweeper=random needs a key that varies"),
        ("random", [SPREADS], {"n_trials": 0}, "hydra.sweeper.n_trials must be >= 1, was 0."),
        ("random", [SPREADS], {"n_trials": "x"}, "hydra.sweeper.n_trials must be a whole number, was 'x'"),
        ("random", [SPREADS], {"seed": -1}, "hydra.sweeper.seed must be >= 0, was -1."),
        ("random", [SPREADS], {"n_trial": 3}, "Did you mean hydra.sweeper.n_trials?"),
        ("lhs", [SPREADS, "sweep.max_jobs=9"], {"n_trials": 10}, "must be at most sweep.max_jobs=9, was 10."),
        ("lhs", ["strategy.max_units=interval(-3,3)"], {}, "strategy.max_units must be >= 0, was -3.0"),
        ("optuna", [SPREADS], {"sampler": "tp"}, "must be one of tpe, random, grid, cmaes, was 'tp'."),
        ("optuna", [SPREADS], {"pruner": "x"}, "must be one of none, median, hyperband, was 'x'."),
        ("optuna", [SPREADS], {"sampler": "grid"}, "must have values that can be counted"),
        ("optuna", [SPREADS], {"sampler": "cmaes"}, "cmaes needs two keys of numbers at least"),
        (
            "optuna",
            [SPREADS, "seed=range(1,9)", "latency=colo,retail"],
            {"sampler": "cmaes"},
            "cmaes takes numbers only, latency lists values.",
        ),
        ("optuna", [SPREADS], {"metrics": ["pnl"]}, "one direction per metric, has 0 for 1"),
        ("optuna", [SPREADS], {"metrics": ["pnll"], "directions": ["maximize"]}, "Did you mean 'pnl'?"),
        (
            "optuna",
            [SPREADS],
            {"metrics": ["pnl"], "directions": ["up"]},
            "maximize or minimize each, was 'up'.",
        ),
        (
            "optuna",
            [SPREADS],
            {"metrics": ["pnl", "fees"], "directions": ["maximize", "minimize"], "pruner": "median"},
            "hydra.sweeper.pruner=median takes one metric",
        ),
        (
            "optuna",
            [SPREADS, "seed=range(1,9)"],
            {"metrics": ["pnl", "fees"], "directions": ["maximize", "minimize"], "sampler": "cmaes"},
            "hydra.sweeper.sampler=cmaes takes one metric.",
        ),
        ("optuna", [SPREADS], {"storage": "study.db"}, "must be a URL of a database"),
        ("optuna", [SPREADS], {"storage": "redis://host"}, "must be a URL of a database"),
    ],
)
def test_a_wrong_sweep_is_refused_in_our_words(
    host: PluginHost,
    planner: Any,
    sweeper: str,
    overrides: Sequence[str],
    settings: dict[str, Any],
    message: str,
) -> None:
    from bt_framework.config.compose import in_our_words

    words = [*overrides, *(f"hydra.sweeper.{key}={value}" for key, value in settings.items())]
    with pytest.raises(ConfigError) as caught, in_our_words(host, [*STRATEGY, *words]):
        planner(sweeper, *overrides, **settings)
    assert message in str(caught.value)


def test_a_sweep_without_a_strategy_is_refused(host: PluginHost, composer: VariantComposer) -> None:
    with pytest.raises(ConfigError, match=r"^no strategy is chosen\."):
        Planner(host, composer, ["seed=1,2"], ()).draft("grid", {})


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:hush-1@host/x", "postgresql://host/x?user=me&password=hush-1", "mysql://a:hush-1@b/c"],
)
def test_a_password_in_the_place_of_a_study_is_refused_and_not_repeated(planner: Any, url: str) -> None:
    with pytest.raises(ConfigError, match="must be a URL without a password") as caught:
        planner("optuna", SPREADS, storage=url)
    assert "hush-1" not in str(caught.value)


def test_a_database_that_cannot_be_used_is_told_before_anything_is_written(
    planner: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^the study in sqlite:.* cannot be used: "):
        planner("optuna", SPREADS, storage=f"sqlite:///{tmp_path}/file/x.db")
