"""Whole processes: `bt` against a plain hftbacktest script, wall time and peak memory, in pairs taken in turns.

What is protected: that a run feels immediate. Three processes over the ingested real pair, each started afresh:

- the script written by hand, which compiles every time because numba cannot cache what calls hftbacktest;
- `bt` warm, console=json, all results written;
- `bt` for the very first time: its cache of compiled code is empty, the data is ingested.

Peak memory is ``ru_maxrss`` of the process; it counts mapped pages of files that were touched. JSON is the last line
of stdout.

::

    python benchmarks/process.py --pairs 5
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from measure import Child, Leg, clean_env, median, real_legs, real_overrides, run_child, work_dir

WARM_GOAL, FIRST_GOAL, MEMORY_GOAL = 0.25, 1.1, 1.3
SCRIPT = Path(__file__).with_name("by_hand") / "ou_pairs.py"


@dataclass(frozen=True)
class Process:
    """Medians of one kind of process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def _by_hand(legs: list[Leg]) -> Child:
    ticks = ("--tick-size", *(str(leg.tick_size) for leg in legs))
    lots = ("--lot-size", *(str(leg.lot_size) for leg in legs))
    return run_child([sys.executable, str(SCRIPT), *(leg.path for leg in legs), *ticks, *lots], clean_env())


def _bt(cache_dir: Path) -> Child:
    runs_dir = work_dir() / "runs"
    command = [
        "+strategy=ou_pairs",
        "latency=colo",
        *real_overrides(),
        "console=json",
        f"runs_dir={runs_dir}",
    ]
    env = clean_env(BT_CACHE_DIR=str(cache_dir), BT_STORE_DIR=str(work_dir() / "store"))
    return run_child([sys.executable, "-m", "bt_framework", *command], env)


def _first(cache_dir: Path) -> Child:
    shutil.rmtree(cache_dir, ignore_errors=True)
    return _bt(cache_dir)


def _check(by_hand: Child, ours: Child) -> None:
    theirs = json.loads(by_hand.stdout.splitlines()[-1])
    record = json.loads(ours.stdout.splitlines()[-1])
    if theirs["fills"] != record["counts"]["fills"]:
        raise SystemExit(
            f"not the same run: {theirs['fills']} fills by hand, {record['counts']['fills']} by bt"
        )


def _medians(children: list[Child]) -> Process:
    peak_mib = median(c.peak_bytes for c in children) / (1 << 20)
    return Process(median(c.wall_s for c in children), median(c.cpu_s for c in children), peak_mib)


def _ratio(ours: list[Child], theirs: list[Child], time: str = "wall_s") -> float:
    return median(getattr(a, time) / getattr(b, time) for a, b in zip(ours, theirs, strict=True))


def measure(pairs: int) -> dict[str, Any]:
    """Run all three in turns, `pairs` times, in an order that changes."""
    legs = real_legs()
    warm_dir, empty_dir = work_dir() / "cache", work_dir() / "empty-cache"
    _bt(warm_dir)
    kinds = {
        "by_hand": lambda: _by_hand(legs),
        "warm": lambda: _bt(warm_dir),
        "first": lambda: _first(empty_dir),
    }
    children: dict[str, list[Child]] = {name: [] for name in kinds}
    for index in range(pairs):
        names = list(kinds) if index % 2 == 0 else list(reversed(kinds))
        for name in names:
            children[name].append(kinds[name]())
        _check(children["by_hand"][-1], children["warm"][-1])
        jit = [json.loads(children[name][-1].stdout.splitlines()[-1])["jit"] for name in ("warm", "first")]
        if jit != ["hit", "miss"]:
            raise SystemExit(f"the warm run must find its code and the first must not: {jit}")
    shutil.rmtree(work_dir() / "runs", ignore_errors=True)
    by_hand = _medians(children["by_hand"])
    return {
        "benchmark": "process",
        "pairs": pairs,
        "cpus": os.cpu_count(),
        "processes": {name: asdict(_medians(found)) for name, found in children.items()},
        "warm_ratio": _ratio(children["warm"], children["by_hand"]),
        "warm_goal": WARM_GOAL,
        "warm_cpu_ratio": _ratio(children["warm"], children["by_hand"], "cpu_s"),
        "first_ratio": _ratio(children["first"], children["by_hand"]),
        "first_cpu_ratio": _ratio(children["first"], children["by_hand"], "cpu_s"),
        "first_goal": FIRST_GOAL,
        "memory_ratio": _medians(children["warm"]).peak_mib / by_hand.peak_mib,
        "memory_goal": MEMORY_GOAL,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Whole processes: bt against a plain hftbacktest script.")
    parser.add_argument("--pairs", type=int, default=5)
    result = measure(parser.parse_args().pairs)
    for name, process in result["processes"].items():
        times = f"{process['wall_s']:.2f} s ({process['cpu_s']:.2f} s of processor)"
        print(f"{name}: {times}, peak {process['peak_mib']:.0f} MiB", file=sys.stderr)
    print(
        f"warm {result['warm_ratio']:.3f} of by hand, first run {result['first_ratio']:.2f},"
        f" peak memory {result['memory_ratio']:.2f}",
        file=sys.stderr,
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
