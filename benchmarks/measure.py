"""What the benchmarks share: the real pair in a store of its own, medians, child processes with their peak memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILES = ("btcusdt_20240808.gz", "ethusdt_20240808.gz")

median = statistics.median


def shared_dir() -> Path:
    """Folder of real market data: $BT_SHARED_DIR, else ``shared`` beside the project."""
    folder = Path(os.environ.get("BT_SHARED_DIR", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data" / "binance").is_dir():
        raise SystemExit(f"no market data in {folder}; set BT_SHARED_DIR to the folder that has data/binance")
    return folder


def work_dir() -> Path:
    """Folder for the benchmarks' store and caches: $BT_BENCHMARK_DIR, else in the system's temporary folder."""
    folder = Path(os.environ.get("BT_BENCHMARK_DIR", Path(tempfile.gettempdir()) / "bt-benchmarks"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def real_files() -> list[Path]:
    """The two collected streams."""
    return [shared_dir() / "data" / "binance" / name for name in FILES]


def real_overrides() -> list[str]:
    """The overrides that choose them."""
    return ["data=binance", f"data.files=[{','.join(map(str, real_files()))}]"]


def real_feeds() -> list[Any]:
    """Both streams as stored feeds, ingested if they are not yet."""
    from bt_framework.config.compose import compose
    from bt_framework.data.store import EventStore
    from bt_framework.registry import Kind

    source = compose(["+strategy=ou_pairs", *real_overrides()]).one(Kind.DATA).build()
    return EventStore(work_dir() / "store").load_all(source.feeds())


@dataclass(frozen=True)
class Leg:
    """One instrument's ingested events."""

    path: str
    tick_size: float
    lot_size: float


def real_legs() -> list[Leg]:
    """Both streams, ingested by another process: this one stays small, see `run_child`."""
    command = [sys.executable, __file__]
    done = subprocess.run(command, env=clean_env(), check=True, stdout=subprocess.PIPE, text=True)
    return [Leg(**leg) for leg in json.loads(done.stdout)]


@dataclass(frozen=True)
class Child:
    """A finished process: wall and processor time in s, peak resident memory in bytes, what it printed."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    stdout: str


def run_child(command: Sequence[str], env: Mapping[str, str]) -> Child:
    """Run `command` to its end.

    Linux counts the size of this process, before the other program is loaded, into the child's peak: keep it small.

    Raises
    ------
    SystemExit
        If it fails; its own message has been printed.
    """
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        pid = os.posix_spawnp(
            command[0], list(command), dict(env), file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)]
        )
        _, status, usage = os.wait4(pid, 0)
        wall_s = time.perf_counter() - began
        out.seek(0)
        text = out.read().decode()
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {os.waitstatus_to_exitcode(status)}")
    return Child(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text)


def clean_env(**changes: str) -> dict[str, str]:
    """The environment of this process without what would keep children from caching, with `changes`."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "NUMBA_DISABLE_JIT", "NUMBA_CACHE_DIR")
    return {key: value for key, value in os.environ.items() if key not in dropped} | changes


def _print_legs() -> None:
    specs = [(feed.path, feed.spec) for feed in real_feeds()]
    legs = [Leg(str(path), spec.tick_size, spec.lot_size) for path, spec in specs]
    print(json.dumps([asdict(leg) for leg in legs]))


if __name__ == "__main__":
    _print_legs()
