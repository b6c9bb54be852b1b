"""A sweep over the real pair: what it takes beside the bare loops of its jobs, and beside a script per configuration.

What is protected: that a sweep is as fast as the engine. Measured in one run, one after the other:

- the bare loop, in turns with the whole job in the same process: one thread, prepared session; the difference in
  processor time is what a job costs besides (composing, building, identity, writing, index);
- the bare loop in as many threads as there are cores, with nothing else: what the machine gives at best;
- one `bt` run by itself, for its peak memory;
- the sweep, by `bt -m` with each launcher asked for: wall time in all, and after start-up, which ends when the first
  job has ended. Peak memory is that of its largest process, mapped pages of files included;
- the plain hftbacktest script, once per configuration, as one would without a framework: one after the other, and as
  many at once as there are cores. It compiles every time, since numba cannot cache what calls hftbacktest.

Latency and queue are on in all of them. JSON is the last line of stdout.

::

    python benchmarks/sweep.py                                        # 200 jobs, in threads
    python benchmarks/sweep.py --jobs 1000 --launchers threads joblib ray
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import Child, Leg, clean_env, median, real_legs, real_overrides, run_child, work_dir

WALL_GOAL, MEMORY_GOAL, OVERHEAD_GOAL_MS = 1.35, 1.5, 15.0
NAIVE_GOAL, JOBS_PER_S_GOAL, LAUNCHER_GOAL = 50.0, 20.0, 1.5
SCRIPT = Path(__file__).with_name("by_hand") / "ou_pairs.py"
QUEUES = ("risk_averse", "power_prob")
FIRST_Z, LAST_Z = 1.0, 3.0
CORES = len(os.sched_getaffinity(0))


def _base() -> list[str]:
    place = work_dir() / "sweep"
    folders = [f"runs_dir={place / 'runs'}", f"sweep.dir={place / 'sweeps'}", "console=plain"]
    return ["+strategy=ou_pairs", "latency=colo", *real_overrides(), *folders]


def _env() -> dict[str, str]:
    return clean_env(BT_CACHE_DIR=str(work_dir() / "cache"), BT_STORE_DIR=str(work_dir() / "store"))


def _entry_z(jobs: int) -> list[str]:
    count = jobs // len(QUEUES)
    return [f"{FIRST_Z + (LAST_Z - FIRST_Z) * i / count:.6f}" for i in range(count)]


def _bare(rounds: int) -> None:
    """Print seconds of the bare loop and of what a job takes besides: what a child of this script does."""
    from bt_framework.config.variants import VariantComposer
    from bt_framework.interrupt import StopSignals
    from bt_framework.plugin_manager import discover
    from bt_framework.registry import Kind
    from bt_framework.results.run import Status
    from bt_framework.stores.sweeps import SweepRow
    from bt_framework.sweep.plan import Job, SweepPlan
    from bt_framework.sweep.work import JobRunner, SweepWork

    folder = work_dir() / "sweep" / f"bare-{os.getpid()}"  # where no run is that could be used again
    fixed = (*_base(), f"runs_dir={folder / 'runs'}")
    plan = SweepPlan("bare", fixed, ("strategy.entry_z", "queue"), (), "grid", True, "pnl", False, 0)
    runner, composer = JobRunner(SweepWork(plan, folder)), VariantComposer(discover())
    jobs = [
        Job(number, {"strategy.entry_z": z, "queue": QUEUES[number % len(QUEUES)]})
        for number, z in enumerate(_entry_z(len(QUEUES) * (rounds + 2)))
    ]
    loops, loop_cpu_s, besides = [], [], []
    store = composer.compose(plan.overrides(jobs[0])).one(Kind.STORE).build()
    store.put_sweep(SweepRow("bare", 1, 0, Status.RUNNING, (), rounds, ""))
    with store.kept_open():  # as in a sweep
        for job in jobs[: rounds + 2]:
            wall_s, cpu_s = _loop(composer.compose(plan.overrides(job)))
            began = time.thread_time()
            outcome = runner.run(job, StopSignals())
            assert outcome is not None
            assert not outcome.error, outcome.error
            loops.append(wall_s)
            loop_cpu_s.append(cpu_s)
            besides.append(time.thread_time() - began - cpu_s)
    with ThreadPoolExecutor(CORES) as pool:
        compositions = [composer.compose(plan.overrides(job)) for job in jobs[: CORES * 4]]
        together = list(pool.map(_loop, compositions))
    print(
        json.dumps(
            {
                "bare_s": sum(loops[2:]) / rounds,
                "bare_together_s": sum(wall_s for wall_s, _ in together[CORES:]) / len(together[CORES:]),
                "overhead_ms": 1e3 * median(besides[2:]),
                "overhead_frac": median(besides[2:]) / median(loop_cpu_s[2:]),
            }
        )
    )


def _loop(composition: Any) -> tuple[float, float]:
    """Wall and processor time of a prepared session's loop, in s."""
    from bt_framework import assembly

    parts, settings = assembly.Parts.of(composition), composition.settings
    feeds = assembly.load_feeds(parts, settings, print)
    latencies = assembly.load_latencies(parts, feeds, settings, print)
    program, books = assembly.build_program(parts), assembly.choose_books(parts, feeds, settings)
    run = assembly.describe(composition, parts, feeds, program, books, latencies)
    session = assembly.open_session(run, parts, feeds, program, books, latencies)
    session.prepare()
    wall, cpu = time.perf_counter(), time.thread_time()
    for _ in session.slices(settings.slice_wakes):
        pass
    took = time.perf_counter() - wall, time.thread_time() - cpu
    session.close()
    return took


def _own(rounds: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--bare", str(rounds)]
    done = subprocess.run(command, env=_env(), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _bt(*arguments: str) -> Child:
    return run_child([sys.executable, "-m", "bt_framework", *arguments], _env())


def _sweep(jobs: int, launcher: str) -> dict[str, float]:
    """Run a sweep and read in its journal when its jobs ended."""
    place = work_dir() / "sweep"
    for name in ("runs", "sweeps"):
        shutil.rmtree(place / name, ignore_errors=True)
    keys = [f"strategy.entry_z={','.join(_entry_z(jobs))}", f"queue={','.join(QUEUES)}"]
    child = _bt("-m", *_base(), *keys, f"hydra/launcher={launcher}")
    lines = [
        json.loads(x) for f in place.glob("sweeps/*/journal/*.jsonl") for x in f.read_text().splitlines()
    ]
    ended = sorted(line["at_ns"] for line in lines if line["event"] == "ended")
    if len(ended) != jobs or any(line.get("error") for line in lines):
        raise SystemExit(f"{jobs} jobs must have completed, {len(ended)} have ended")
    after_s = (ended[-1] - ended[0]) / 1e9
    return {
        "wall_s": child.wall_s,
        "after_start_s": after_s,
        "jobs_per_s": (jobs - 1) / after_s,
        "cpu_s": child.cpu_s,
        "peak_mib": child.peak_bytes / (1 << 20),
    }


def _script(legs: list[Leg], at_once: int = 1) -> float:
    """Wall time per configuration of the script by hand, in s."""
    ticks = ("--tick-size", *(str(leg.tick_size) for leg in legs))
    lots = ("--lot-size", *(str(leg.lot_size) for leg in legs))
    command = [sys.executable, str(SCRIPT), *(leg.path for leg in legs), *ticks, *lots]
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda _: run_child(command, clean_env()), range(at_once)))
    return (time.perf_counter() - began) / at_once


def measure(jobs: int, launchers: list[str], rounds: int) -> dict[str, Any]:
    """Measure everything; what is compared lies next to each other in time."""
    _bt(*_base())  # ingested and compiled
    one_mib = median(_bt(*_base()).peak_bytes for _ in range(3)) / (1 << 20)
    before = _own(rounds)
    sweeps = {name: _sweep(jobs, name) for name in launchers}
    after = _own(rounds)
    own = {key: (before[key] + after[key]) / 2 for key in before}
    first = sweeps[launchers[0]]
    legs = real_legs()
    script_s, script_together_s = median(_script(legs) for _ in range(3)), _script(legs, CORES)
    shutil.rmtree(work_dir() / "sweep", ignore_errors=True)
    return {
        "benchmark": "sweep",
        "jobs": jobs,
        "cores": CORES,
        **own,
        "overhead_goal_ms": OVERHEAD_GOAL_MS,
        "sweeps": sweeps,
        "total_ratio": first["wall_s"] / (jobs * own["bare_s"] / CORES),
        "wall_ratio": first["after_start_s"] / ((jobs - 1) * own["bare_s"] / CORES),
        "wall_ratio_together": first["after_start_s"] / ((jobs - 1) * own["bare_together_s"] / CORES),
        "wall_goal": WALL_GOAL,
        "memory_ratio": first["peak_mib"] / one_mib,
        "memory_goal": MEMORY_GOAL,
        "jobs_per_s": first["jobs_per_s"],
        "jobs_per_s_goal": JOBS_PER_S_GOAL,
        "launcher_ratios": {n: s["after_start_s"] / first["after_start_s"] for n, s in sweeps.items()},
        "launcher_goal": LAUNCHER_GOAL,
        "script_s": script_s,
        "naive_factor": jobs * script_s / first["wall_s"],
        "naive_factor_together": jobs * script_together_s / first["wall_s"],
        "naive_goal": NAIVE_GOAL,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="A sweep beside its bare loops, and beside scripts.")
    parser.add_argument("--jobs", type=int, default=200, help="an even number")
    parser.add_argument("--launchers", nargs="+", default=["threads"], help="the first is the one compared")
    parser.add_argument("--rounds", type=int, default=12, help="of the bare loop, before and after the sweep")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        _bare(args.bare)
        return
    found = measure(args.jobs, args.launchers, args.rounds)
    print(
        f"{found['jobs']} jobs: {found['jobs_per_s']:.1f} jobs/s, {found['total_ratio']:.2f} of the bare loops in all, "
        f"{found['wall_ratio']:.2f} after the start "
        f"({1e3 * found['bare_s']:.0f} ms; {found['wall_ratio_together']:.2f} of them in {CORES} threads at once), "
        f"{found['overhead_ms']:.1f} ms besides, peak memory {found['memory_ratio']:.2f} of one run's; a script per "
        f"configuration takes {found['naive_factor']:.0f} times as long, {found['naive_factor_together']:.0f} times "
        f"with {CORES} at once",
        file=sys.stderr,
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
