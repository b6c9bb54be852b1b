"""Jobs of a sweep are composed sooner, and to the same: what Hydra would have composed for each by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bt_framework.config import variants
from bt_framework.config.compose import Composition, compose
from bt_framework.config.variants import VariantComposer
from bt_framework.errors import BtError
from bt_framework.plugin_manager import discover
from bt_framework.registry import Kind

HOST = discover()
SHARED = VariantComposer(HOST)
BASE = ["+strategy=ou_pairs", "console=plain"]

OVERRIDES = (
    # options
    "latency=colo",
    "latency=retail",
    "queue=power_prob",
    "risk=[]",
    "risk=[max_position,daily_loss]",
    "writer=[]",
    "data=npz",
    "experiment=taker_retail",
    "~latency",
    # values of components
    "strategy.entry_z=1.5",
    "strategy.entry_z=2",
    "strategy.stop_z=1",
    "strategy.execution=taker",
    "latency.entry_ns=3ms",
    "latency.entry_ns=7",
    "queue.exponent=2",
    "risk.max_position.limit_notional=5_000",
    "fees.by_symbol={EAST:{maker_bps:1}}",
    "store.path=elsewhere.sqlite",
    "+data.seed=3",
    "++strategy.entry_z=1.25",
    "~strategy.entry_z",
    # keys at the top
    "seed=7",
    "capital=5e4",
    "runs_dir=there",
    "tags=[a,b]",
    "note='${seed}'",
    "start=2024-08-09",
    # how it is run
    "rerun=true",
    "on_error=retry(2)",
    "limits.max_seconds=3",
    "limits={max_seconds:4}",
    "sweep.metric=pnl",
    "sweep={metric:fees}",
    # references
    "store.path=${runs_dir}/mine.sqlite",
    "capital=${strategy.entry_z}",
    "latency.entry_ns=${latency.response_ns}",
    "note=${nothing}",
    "runs_dir=${oc.env:HOME}/runs",
    # mistakes
    "strategy.entry_zz=1",
    "strategy.entry_z=many",
    "strategy.name=imbalance",
    "strategy=5",
    "latency=nowhere",
    "latency.entry_ns=-1",
    "risk.max_position=3",
    "risk.daily_loss.limit_frac=2",
    "nonsense=1",
    "seed=x",
    "seed=-1",
    "limits=3",
    "limits.max_hours=1",
    "on_error=give up",
    "end=yesterday",
    "queue",
    "hydra.job.name=x",
    "strategy._target_=os.system",
)


def came_of(compose_job: Any, overrides: Sequence[str]) -> Any:
    """Everything that a composition says, or the error."""
    try:
        composition: Composition = compose_job(overrides)
    except BtError as error:
        return type(error), str(error)
    choices = {
        kind: [(c.component.name, c.config) for c in chosen] for kind, chosen in composition.choices.items()
    }
    return composition.settings, choices, composition.conduct, composition.resolved


@cache
def hydras(overrides: tuple[str, ...]) -> Composition | BtError:
    """What Hydra makes of a job: takes a while, so it is asked once."""
    try:
        return compose(overrides, host=HOST)
    except BtError as error:
        return error


def whole(overrides: Sequence[str], **_: Any) -> Composition:
    """As `compose`, the second time at once."""
    made = hydras(tuple(overrides))
    if isinstance(made, BtError):
        raise made
    return made


@pytest.fixture(scope="module", autouse=True)
def _hydra_composes_a_job_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "compose", whole)
        yield


def test_a_job_without_more_is_composed() -> None:
    assert not isinstance(hydras(tuple(BASE)), BtError)


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_job_with_one_override_is_what_hydra_would_have_composed(override: str) -> None:
    job = [*BASE, override]
    assert came_of(SHARED.compose, job) == came_of(whole, job)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(OVERRIDES), min_size=2, max_size=5))
def test_any_job_is_what_hydra_would_have_composed(chosen: list[str]) -> None:
    job = [*BASE, *chosen]
    assert came_of(SHARED.compose, job) == came_of(whole, job)


def test_hydra_composes_once_for_each_choice_of_options(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Sequence[str]] = []

    def counted(overrides: Sequence[str], *args: Any, **kwargs: Any) -> Any:
        loads.append(overrides)
        return load(overrides, *args, **kwargs)

    load = variants.load
    monkeypatch.setattr(variants, "load", counted)
    composer = VariantComposer(HOST)
    for queue in ("risk_averse", "power_prob"):
        for entry_z in (1.5, 1.75, 2.0):
            job = composer.compose([*BASE, f"strategy.entry_z={entry_z}", f"queue={queue}", "runs_dir=there"])
            assert job.resolved["strategy"]["entry_z"] == entry_z
            assert job.resolved["store"]["path"] == "there/index.sqlite"
    assert len(loads) == 2


def test_a_config_class_that_cannot_be_pickled_is_copied_all_the_same() -> None:
    @dataclass
    class Local:
        size: int = 1

    cfg = OmegaConf.create({"strategy": OmegaConf.structured(Local)})
    composer = VariantComposer(HOST)
    composer._base = lambda others: variants._Base(cfg, {Kind.STRATEGY: frozenset({"strategy"})})
    copies = composer._copies((), Kind.STRATEGY)
    one, other = copies(), copies()
    one.strategy.size = 2
    assert OmegaConf.get_type(other.strategy) is Local
    assert (one.strategy.size, other.strategy.size, cfg.strategy.size) == (2, 1, 1)
