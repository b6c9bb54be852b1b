"""`ou_pairs` in a sweep follows estimates that were computed once: the same results, and nothing of the future."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from bt_framework.config.compose import compose
from bt_framework.data.store import EventStore
from bt_framework.features import FeatureCache, Input, feature
from bt_framework.features.sampling import sampled_mids
from bt_framework.interrupt import StopSignals
from bt_framework.results.console import Console
from bt_framework.results.run import ALONE, Membership
from bt_framework.runner import Run, Surroundings
from bt_plugins.strategies import ou_pairs
from bt_plugins.strategies.ou_pairs import _path

PAIR = ["+strategy=ou_pairs", "data.duration_ns=240s", "strategy.window=300", "strategy.warmup=300"]
JOB = Membership("20240809-120000-abc123", 0)


class Ran(NamedTuple):
    """A run's result, and the state of the strategy after it."""

    result_hash: str
    fills: int
    data_hash: str
    state: Any


Running = Callable[..., Ran]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the tests of this file share."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def run(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Run the pair, alone or as a job of a sweep."""
    states: list[Any] = []
    made = ou_pairs.OuPairsStrategy.state

    def kept(self: Any, instruments: Any) -> Any:
        states.append(made(self, instruments))
        return states[-1]

    monkeypatch.setattr(ou_pairs.OuPairsStrategy, "state", kept)

    def run(*overrides: str, sweep: Membership = ALONE) -> Ran:
        folders = [f"store_dir={store}", f"runs_dir={tmp_path}"]
        composition = compose([*PAIR, *overrides, *folders])
        with StopSignals() as stop:
            record = Run(composition, Surroundings(stop, Console(), sweep)).go().record
        return Ran(record.result_hash, record.counts["fills"], record.identity.data_hash, states[-1])

    return run


def test_results_are_those_without_a_path_and_it_is_computed_once(run: Running, store: Path) -> None:
    for entry_z in ("1.5", "2.0"):
        alone = run(f"strategy.entry_z={entry_z}")
        assert alone.state.path_samples == 0
        job = run(f"strategy.entry_z={entry_z}", sweep=JOB)
        assert job[:3] == alone[:3]
        assert job.fills > 0
        assert job.state.samples == alone.state.samples > 2_000
        assert job.state.path_samples >= job.state.samples  # it was followed to the end
        assert job.state.kalman.observations == 0
    names = [one.name for one in FeatureCache(store).stored()]
    assert sorted(names) == ["ou_pairs.path", "sampled_mids", "sampled_mids"]


@pytest.mark.parametrize("wrong", [0, 700, 1_400])
def test_a_path_of_other_prices_is_left_where_they_begin(
    run: Running, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    alone = run()
    path_of = _path.path_of

    def damaged(*arguments: Any) -> dict[str, np.ndarray]:
        arrays = dict(path_of(*arguments) or {})
        flat = arrays["work"][2:].reshape(-1)
        flat[wrong * _path.PATH_FIELDS] += 0.5
        flat[wrong * _path.PATH_FIELDS + 2 :] = np.nan
        return arrays

    monkeypatch.setattr(_path, "path_of", damaged)
    job = run(sweep=JOB)
    assert job.state.path_samples == 0
    assert job[:3] == alone[:3]
    assert job.state.kalman.hedge_ratio == alone.state.kalman.hedge_ratio
    assert job.state.ready == alone.state.ready


def test_a_job_whose_path_cannot_be_kept_does_without(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FeatureCache, "_made", full)
    job = run("strategy.warmup=301", sweep=JOB)
    assert job.state.path_samples == 0
    assert job.fills > 0


def test_other_windows_have_paths_of_their_own_and_other_kinds_have_none(run: Running, store: Path) -> None:
    before = len(FeatureCache(store).stored())
    job = run("strategy.window=400", "strategy.warmup=400", sweep=JOB)
    assert job.state.path_samples > 0
    assert len(FeatureCache(store).stored()) == before + 1
    micro = run("strategy.price=micro", sweep=JOB)
    assert micro.state.path_samples == 0


def test_a_feature_that_decides_is_part_of_what_a_run_is(
    run: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @feature("test.lagged")
    def lagged(inputs: Any, params: Any) -> dict[str, np.ndarray]:
        return {"mids": inputs["mids"][: -params["lag"]]}

    alone, lag = run(), 1

    def load(self: Any, *_: Any) -> dict[str, Any]:
        mids = self.features.sampled_mids(0, 1_000_000_000)
        assert len(self.features.get(lagged, {"mids": mids}, {"lag": lag})["mids"]) == 239 - lag
        return {}

    monkeypatch.setattr(ou_pairs.OuPairsStrategy, "load", load)
    first = run()
    lag = 2
    second = run()
    assert alone.result_hash == first.result_hash == second.result_hash
    assert len({alone.data_hash, first.data_hash, second.data_hash}) == 3
    keys = [json.loads(path.read_bytes())["inputs"] for path in sorted(tmp_path.glob("*/run.json"))]
    assert sum("test.lagged" in inputs.get("features", {}) for inputs in keys) == 2


def test_what_comes_after_a_time_changes_nothing_before_it(run: Running, store: Path, tmp_path: Path) -> None:
    run()
    events = EventStore(store)
    feeds = [events.feed(manifest) for manifest in events.manifests()][:2]
    cache = FeatureCache(tmp_path / "features")
    start_ts = max(feed.first_local_ts for feed in feeds)
    cut_ts = start_ts + 150_000_000_000
    paths = []
    for ends in (min(feed.last_local_ts for feed in feeds), cut_ts):
        mids = []
        for feed in feeds:
            rows = feed.open()
            given = rows[: int(np.searchsorted(rows["local_ts"], ends, side="right"))]
            params = {
                "start_ts": start_ts,
                "end_ts": cut_ts if ends == cut_ts else ends,
                "interval_ns": 100_000_000,
                "tick_size": feed.spec.tick_size,
            }
            mids.append(sampled_mids.compute({"events": given}, params)["mid_px"])
        config = ou_pairs.OuPairs(window=300, warmup=300)
        params = {name: getattr(config, name) for name in _path._PARAMS} | {"steps": [0.01, 0.01, 0.1]}
        inputs = {f"mids_{asset}": Input(f"{ends}-{asset}", lambda a=asset, m=mids: m[a]) for asset in (0, 1)}
        arrays = cache.load(_path.estimates, inputs, params)
        count = int(arrays["samples"][0])
        flat = arrays["work"][2:].reshape(-1)
        paths.append(flat[: count * _path.PATH_FIELDS].reshape(count, _path.PATH_FIELDS).copy())
    whole, cut = paths
    assert len(whole) > len(cut) == 1_500
    assert np.array_equal(whole[: len(cut)], cut, equal_nan=True)
    assert np.ptp(cut[-500:, 3]) > 0


def test_sweeps_estimate_what_their_jobs_share_once_and_import_no_pandas(tmp_path: Path) -> None:
    def sweep(*varied: str) -> dict[str, list[int]]:
        """Inodes of the features that are kept then, by name: one that is made again is another file."""
        fixed = ["+strategy=ou_pairs", "data.duration_ns=3min", "strategy.warmup=80", "console=plain"]
        done = subprocess.run(
            [sys.executable, "-m", "bt_framework", "-m", *fixed, *varied],
            cwd=tmp_path,
            env=os.environ | {"BT_STORE_DIR": str(tmp_path / "store"), "PYTHONPROFILEIMPORTTIME": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "numba" in imported
        assert "pandas" not in imported
        kept: dict[str, list[int]] = {}
        for record in sorted(
            tmp_path.glob("store/features/*/*/feature.json"), key=lambda path: path.stat().st_ino
        ):
            kept.setdefault(json.loads(record.read_bytes())["name"], []).append(record.stat().st_ino)
        return kept

    first = sweep("strategy.window=60", "strategy.entry_z=1,1.5")
    assert {name: len(inodes) for name, inodes in first.items()} == {"sampled_mids": 2, "ou_pairs.path": 1}
    assert sweep("strategy.window=60", "strategy.entry_z=2,2.5", "latency=colo,same_region") == first
    longer = sweep("strategy.window=60,80", "strategy.entry_z=3.5")
    assert longer["sampled_mids"] == first["sampled_mids"]
    assert set(longer["ou_pairs.path"]) > set(first["ou_pairs.path"])
