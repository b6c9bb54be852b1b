"""A sweep on a Ray cluster whose workers do not see the sweep's folder, with a store over the network."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sweep_place import TROUBLE, Place, finished, make_place

CLUSTER = """
import sys
import ray
ray.init(address="local", num_cpus=2, object_store_memory=78643200, include_dashboard=False, logging_level=40)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def cluster(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Start Ray with two workers in `folder`, as if on another machine; return its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        cwd=folder,
        env=os.environ | environment | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@contextmanager
def hidden_folder(folder: Path) -> Iterator[tuple[str, int]]:
    """Return a path to `folder` that leads nowhere in other processes, but for those that are given the descriptor."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{descriptor}", descriptor
    finally:
        os.close(descriptor)


def start(place: Place, descriptor: int, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bt_framework", "-m", *TROUBLE, "--config-dir", "options", *arguments],
        cwd=place.work,
        env=os.environ | place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=[descriptor],
    )


@pytest.mark.long
def test_workers_without_the_sweeps_folder_bring_the_same_results(
    tmp_path: Path, postgres_url: str, write_package: Callable[..., Path]
) -> None:
    place = make_place(tmp_path, tmp_path / "store", write_package)
    paths = [str(place.site), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    place.environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "BT_STORE_DIR": str(place.store),
        "BT_POSTGRES_URL": postgres_url,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    elsewhere, sweeps = tmp_path / "elsewhere", tmp_path / "sweeps"
    for folder in (elsewhere, sweeps):
        folder.mkdir()
    jobs = ["strategy.lots=1,2,3,4", "strategy.what=none,raise"]
    with hidden_folder(sweeps) as (hidden, descriptor):
        code, _, err = finished(start(place, descriptor, f"sweep.dir={hidden}", *jobs))
        assert (code, "4 of 8 jobs have failed" in err) == (3, True), err
        with cluster(elsewhere, place.environment) as address:
            at = ["hydra/launcher=ray", f"hydra.launcher.address='{address}'", "store=postgres", "rerun=true"]
            code, out, err = finished(start(place, descriptor, f"sweep.dir={hidden}", *at, *jobs))
    assert (code, "4 of 8 jobs have failed" in err) == (3, True), err
    threads, ray = sorted(sweeps.iterdir())
    assert (ray / "table.parquet").read_bytes() == (threads / "table.parquet").read_bytes()
    assert len(list((ray / "journal").iterdir())) == 1  # nobody else could write there
    assert list(elsewhere.iterdir()) == []
    assert postgres_url not in out + err
    listed = subprocess.run(
        [sys.executable, "-m", "bt_framework", "runs", "store=postgres", f"sweep=={ray.name}", "--json"],
        cwd=place.work,
        env=os.environ | place.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    hashes = pq.read_table(ray / "table.parquet")["result_hash"].to_pylist()
    assert all(found in listed.stdout for found in hashes if found)
