"""Slices, caches and threads are invisible: the same composition has the same result, however it is run."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bt_framework
from bt_framework.engine import book
from bt_framework.results.hashing import ResultHash
from bt_framework.runner import RunResult

Run = Callable[..., RunResult]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Event store of this file's runs."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Run:
    """Run a composition in a folder of its own."""

    def go(*overrides: str) -> RunResult:
        folders = [f"store_dir={store}", f"runs_dir={tmp_path / 'runs'}", "console=json"]
        return bt_framework.run([*folders, *overrides])

    return go


@pytest.fixture
def real_pair(shared_dir: Path) -> list[str]:
    """Overrides that choose the real pair."""
    folder = shared_dir / "data/binance"
    files = f"[{folder}/btcusdt_20240808.gz,{folder}/ethusdt_20240808.gz]"
    return ["data=binance", f"data.files={files}"]


SYNTHETIC = ["data.duration_ns=40s", "strategy.window=50", "strategy.warmup=50"]


@pytest.mark.parametrize("strategy", ["ou_pairs", "market_maker"])
def test_real_pair_in_any_slices_has_the_same_result(run: Run, real_pair: list[str], strategy: str) -> None:
    whole = run(f"+strategy={strategy}", *real_pair, "slice_wakes=1000000000")
    assert whole.counts["fills"] > 0
    for slice_wakes in (1_000, 50_000):
        sliced = run(f"+strategy={strategy}", *real_pair, f"slice_wakes={slice_wakes}")
        assert sliced.result_hash == whole.result_hash
        assert sliced.counts == whole.counts
        assert sliced.metrics == pytest.approx(whole.metrics, nan_ok=True)


def test_real_pair_in_the_smallest_slices_has_the_same_result(run: Run, real_pair: list[str]) -> None:
    window = ["start=2024-08-08T23:55:20", "end=2024-08-08T23:56:00"]
    part = [*real_pair, *window, "strategy.window=100", "strategy.warmup=100"]
    whole = run("+strategy=ou_pairs", *part)
    assert whole.counts["orders"] > 0
    for slice_wakes in (1, 7):
        assert run("+strategy=ou_pairs", *part, f"slice_wakes={slice_wakes}").result_hash == whole.result_hash


def test_the_smallest_log_buffers_change_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from bt_framework.engine import session

    part = ["+strategy=market_maker", *SYNTHETIC[:1], "strategy.requote_ns=20ms", "equity_interval_ns=1ms"]
    whole = run(*part)
    defaults = session.Session.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "log_rows", 1)
    small = run(*part)
    assert whole.counts["equity"] > 50_000
    assert small.result_hash == whole.result_hash


def test_two_runs_at_once_in_threads_of_one_process_are_what_each_is_alone(run: Run) -> None:
    composed = [["+strategy=ou_pairs", *SYNTHETIC], ["+strategy=market_maker", SYNTHETIC[0]]] * 2
    alone = [run(*overrides).result_hash for overrides in composed]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda overrides: run(*overrides), composed))
    assert [r.result_hash for r in results] == alone
    assert len({r.run_id for r in results}) == 4


def test_threads_that_start_a_composition_nobody_has_run_yet_all_succeed(run: Run) -> None:
    composed = ["+strategy=market_maker", "data.duration_ns=5s", "risk=[max_order_notional,max_position]"]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: run(*composed, "latency=colo"), range(3)))
    assert len({r.result_hash for r in results}) == 1


@pytest.mark.parametrize("strategy", ["ou_pairs", "market_maker"])
def test_both_forms_of_the_book_have_equal_results(
    run: Run, real_pair: list[str], monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    vector = run(f"+strategy={strategy}", *real_pair, "slice_wakes=1000000000")
    monkeypatch.setattr(book, "_MAX_TICKS", 10)
    hash_map = run(f"+strategy={strategy}", *real_pair, "slice_wakes=1000000000")
    assert all("vector" in form for form in vector.books)
    assert all("hash map" in form for form in hash_map.books)
    assert hash_map.result_hash == vector.result_hash


def test_a_result_can_be_copied_and_pickled(run: Run) -> None:
    result = run("+strategy=market_maker", "data.duration_ns=2s")
    for other in (copy.copy(result), pickle.loads(pickle.dumps(result))):
        assert other.result_hash == result.result_hash
        assert other.fills.num_rows == result.counts["fills"]
    with pytest.raises(AttributeError):
        _ = result.no_such_field


@pytest.fixture
def whole() -> dict[int, str]:
    """Result hashes of the markets that have been run as a whole, by seed."""
    return {}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slice_wakes=st.integers(1, 3_000), seed=st.integers(1, 3))
def test_any_slice_of_any_synthetic_market_has_the_same_result(
    run: Run, whole: dict[int, str], slice_wakes: int, seed: int
) -> None:
    part = ["+strategy=market_maker", "data.duration_ns=5s", f"data.seed={seed}"]
    if seed not in whole:
        whole[seed] = run(*part).result_hash
    assert run(*part, f"slice_wakes={slice_wakes}").result_hash == whole[seed]


def test_the_result_hash_sees_every_kind_of_difference(run: Run) -> None:
    one = run("+strategy=ou_pairs", *SYNTHETIC)
    assert one.counts["fills"] > 0
    others = [
        run("+strategy=ou_pairs", *SYNTHETIC, f"{key}={value}").result_hash
        for key, value in (
            ("fees", "zero"),
            ("latency", "zero"),
            ("data.seed", 2),
            ("equity_interval_ns", "2s"),
        )
    ]
    assert len({one.result_hash, *others}) == 5
    assert ResultHash().hexdigest() != one.result_hash
    assert np.isfinite(one.metrics["pnl"])
