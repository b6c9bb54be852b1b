"""The cache of features: computed once, whole or not there, within its limit."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bt_framework.cli.main import main
from bt_framework.errors import ConfigError, PluginError, StorageError
from bt_framework.features import FeatureCache, feature, input_of
from bt_framework.features.cache import Arrays
from bt_framework.features.feature import Feature, Input

VALUES = np.arange(1000.0)
MODULE = """
import os, sys, time
from pathlib import Path
import numpy as np
from bt_framework.errors import StorageError
from bt_framework.features import FeatureCache, feature, input_of

@feature("noted")
def noted(inputs, params):
    with open(params["notes"], "a") as file:
        file.write("made\\n")
    until = Path(params["until"])
    while not until.exists():
        time.sleep(0.01)
    return {"squares": inputs["values"] ** 2}

def load(root, notes, until):
    params = {"notes": notes, "until": until}
    return FeatureCache(Path(root)).load(noted, {"values": input_of(np.arange(1000.0))}, params)
"""


@feature("scaled")
def scaled(inputs: dict[str, np.ndarray], params: dict[str, float]) -> dict[str, np.ndarray]:
    """The values, times a factor."""
    return {"scaled": inputs["values"] * params["factor"]}


def load(cache: FeatureCache, factor: float) -> np.ndarray:
    return cache.load(scaled, {"values": input_of(VALUES)}, {"factor": factor})["scaled"]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path)


def start(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """Start Python with the feature that notes when it is computed."""
    (tmp_path / "noting.py").write_text(MODULE)
    paths = (tmp_path / "store", tmp_path / "notes", tmp_path / "until")
    arguments = ", ".join(repr(str(path)) for path in paths)
    code = f"from noting import *\narguments = ({arguments})\n{body}"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_content(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # another process needs the processor


def test_what_is_loaded_is_what_was_computed(cache: FeatureCache) -> None:
    for _ in range(2):
        assert np.array_equal(load(cache, 2.0), 2.0 * VALUES)
    assert [(one.name, one.params) for one in cache.stored()] == [("scaled", {"factor": 2.0})]


def test_name_parameters_and_inputs_make_the_key() -> None:
    inputs, params = {"values": input_of(VALUES)}, {"factor": 2.0}
    keys = [
        scaled.key(inputs, params),
        scaled.key(inputs, {"factor": 3.0}),
        scaled.key({"values": input_of(VALUES[1:])}, params),
        scaled.key({"values": input_of(VALUES.reshape(10, 100))}, params),
        Feature("other", scaled.compute).key(inputs, params),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == scaled.key({"values": input_of(VALUES.copy())}, dict(params))


def test_inputs_are_opened_only_to_compute(cache: FeatureCache) -> None:
    opened: list[int] = []

    def values() -> np.ndarray:
        opened.append(1)
        return VALUES

    for _ in range(3):
        cache.load(scaled, {"values": Input("hash", values)}, {"factor": 1.0})
    assert opened == [1]


def test_threads_and_processes_compute_it_once(tmp_path: Path) -> None:
    body = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda _: load(*arguments)["squares"][3], range(8)))
assert found == [9.0] * 8, found
"""
    processes = [start(tmp_path, body) for _ in range(2)]
    wait_for_content(tmp_path / "notes")
    (tmp_path / "until").touch()
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert (tmp_path / "notes").read_text() == "made\n"


def test_a_process_killed_while_it_computes_leaves_nothing_and_the_next_one_computes(tmp_path: Path) -> None:
    process = start(tmp_path, "load(*arguments)")
    wait_for_content(tmp_path / "notes")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    cache = FeatureCache(tmp_path / "store")
    assert cache.stored() == []
    assert list((tmp_path / "store").glob("features/*/*")) == []
    (tmp_path / "until").touch()
    again = start(tmp_path, "assert load(*arguments)['squares'][3] == 9.0")
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert (tmp_path / "notes").read_text() == "made\nmade\n"
    assert len(cache.stored()) == 1


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    body = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
try:
    load(*arguments)
except StorageError as error:
    print(error)
"""
    (tmp_path / "until").touch()
    process = start(tmp_path, body)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "storing the feature noted" in out
    assert "Free space" in out
    assert list((tmp_path / "store").glob("features/*/*")) == []
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "garbage", "missing", "record"])
def test_a_damaged_feature_is_found_and_made_again(cache: FeatureCache, tmp_path: Path, damage: str) -> None:
    load(cache, 2.0)
    gc.collect()
    (path,) = tmp_path.glob("features/*/*/scaled.npy")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-3] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-8])
    elif damage in ("empty", "garbage"):  # a power cut leaves files like these
        path.write_bytes(b"" if damage == "empty" else b"PK" + content[2:])
    elif damage == "missing":
        path.unlink()
    else:
        (path.parent / "feature.json").write_text("{")
    assert np.array_equal(load(cache, 2.0), 2.0 * VALUES)
    assert len(cache.stored()) == 1


def test_the_limit_takes_those_used_longest_ago_and_none_in_use(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_bytes=20_000)  # two of 8,128 bytes
    held = cache.load(scaled, {"values": input_of(VALUES)}, {"factor": 0.0})
    for factor in (1.0, 2.0, 3.0):
        load(cache, factor)
        gc.collect()
    assert [one.params["factor"] for one in cache.stored()] == [0.0, 3.0]
    assert not cache.remove(held.key)
    del held
    gc.collect()
    load(cache, 4.0)
    assert [one.params["factor"] for one in cache.stored()] == [3.0, 4.0]


def test_the_command_lists_and_removes(
    cache: FeatureCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        code = main(["data", "features", f"store_dir={tmp_path}", *arguments])
        return code, "".join(capsys.readouterr())

    held = cache.load(scaled, {"values": input_of(VALUES)}, {"factor": 1.0})
    load(cache, 2.0)
    gc.collect()
    code, out = said()
    assert code == 0
    assert held.key[:8] in out
    assert f"2 features, 0.0 of 5,000 MB in {tmp_path}" in out
    assert said("scaled")[0] == 2
    code, out = said("--rm", "scald")
    assert code == 2
    assert "There are: scaled." in out
    assert said("--rm", "scaled") == (0, f"removed 1 of 2 features in {tmp_path}; 1 are in use\n")
    del held
    gc.collect()
    assert said("--rm") == (0, f"removed 1 of 1 features in {tmp_path}\n")
    assert list(tmp_path.glob("features/*/*")) == []


def test_what_is_written_into_arrays_stays_with_who_wrote_it(cache: FeatureCache) -> None:
    mine = load(cache, 2.0)
    mine[:] = -1.0
    assert np.array_equal(load(cache, 2.0), 2.0 * VALUES)


def test_many_threads_with_little_room_get_what_they_ask_for(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_bytes=10_000)

    def right(number: int) -> bool:
        return bool(np.array_equal(load(cache, float(number % 5)), float(number % 5) * VALUES))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(60)))


def test_what_is_made_again_while_it_is_being_removed_stays(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(cache, 2.0)
    gc.collect()
    (old,) = tmp_path.glob("features/*/*")
    lock = fcntl.flock
    again: list[np.ndarray] = []

    def flock(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX | fcntl.LOCK_NB and not again and Path(file.name).name == "feature.json":
            old.rename(tmp_path / "removed")  # by somebody who was faster
            again.append(load(cache, 2.0))
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert not cache.remove(old.name)
    assert len(again) == len(cache.stored()) == 1


def test_two_who_make_the_same_at_once_both_have_it(tmp_path: Path) -> None:
    first, second = (FeatureCache(tmp_path, max_bytes=0) for _ in range(2))
    made: list[Arrays] = []

    def compute(inputs: dict[str, np.ndarray], params: dict[str, float]) -> dict[str, np.ndarray]:
        if not started:
            started.append(True)
            made.append(second._made(twice.key({}, {}), twice, {}, {}))  # a lock that let it in, too
        return {"values": VALUES}

    started: list[bool] = []
    twice = Feature("twice", compute)
    made.append(first.load(twice, {}, {}))
    assert [np.array_equal(one["values"], VALUES) for one in made] == [True, True]
    assert [one.name for one in first.stored()] == ["twice"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_is_no_array_of_floats_is_refused(cache: FeatureCache) -> None:
    counts = Feature("counts", lambda inputs, params: {"n": np.arange(3)})
    with pytest.raises(
        PluginError, match=r"^feature 'counts' must compute float64 arrays .*was 'n' of int64\.$"
    ):
        cache.load(counts, {}, {})
    with pytest.raises(PluginError, match=r"^parameters of feature 'counts' must be of JSON types"):
        cache.load(counts, {}, {"x": object()})


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="storing the feature scaled"):
        load(FeatureCache(tmp_path / "file"), 1.0)


def test_the_limit_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BT_FEATURES_MAX_GB", "0.5")
    assert FeatureCache(tmp_path).max_bytes == 500_000_000
    monkeypatch.setenv("BT_FEATURES_MAX_GB", "much")
    with pytest.raises(
        ConfigError, match=r"^\$BT_FEATURES_MAX_GB must be a number of gigabytes >= 0, was 'much'\.$"
    ):
        FeatureCache(tmp_path)
