"""Every speed benchmark, and one table of what they found; benchmarks/README.md says what each protects.

::

    python benchmarks/all.py              # the table, as Markdown
    python benchmarks/all.py --json FILE  # and everything measured
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import clean_env, real_files


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    goal: str
    met: bool


def _ratio(what: str, value: float, goal: float, *, at_least: bool = False) -> Row:
    sign = ">=" if at_least else "<="
    return Row(what, f"{value:.2f}", f"{sign} {goal:g}", value >= goal if at_least else value <= goal)


def _loop(found: dict[str, Any]) -> list[Row]:
    what = "composed loop, events/s, against a hand-written hftbacktest loop"
    return [
        _ratio(what, found["ratio"], found["goal"], at_least=True),
        _ratio(
            "the same with ten risk rules", found["ratio_ten_rules"], found["goal_ten_rules"], at_least=True
        ),
    ]


def _process(found: dict[str, Any]) -> list[Row]:
    script = "the hand-written script's"
    return [
        _ratio(
            f"`bt` warm, results written: wall time, of {script}", found["warm_ratio"], found["warm_goal"]
        ),
        _ratio(
            f"`bt` for the very first time: wall time, of {script}", found["first_ratio"], found["first_goal"]
        ),
        _ratio(f"`bt` warm: peak memory, of {script}", found["memory_ratio"], found["memory_goal"]),
    ]


def _memory(found: dict[str, Any]) -> list[Row]:
    rows = []
    for key, words in (("anonymous", "allocated memory"), ("mapped", "resident pages of events")):
        growth, goal = found[f"{key}_growth_mib"], found[f"{key}_goal_mib"]
        what = f"growth of {words} from the first to the last quarter of {found['events'] / 1e6:.0f} M events"
        rows.append(Row(what, f"{growth:.1f} MiB", f"<= {goal:g} MiB", growth <= goal))
    return rows


def _ingest(found: dict[str, Any]) -> list[Row]:
    rows = [
        _ratio(
            f"ingest of the two Binance files, rows/s, against hftbacktest's {name}", value, 3, at_least=True
        )
        for name, value in found["ratio_to"].items()
    ]
    what = "ingest: peak memory with ten times the input, of that with one"
    return [*rows, _ratio(what, found["peak_ratio_10x"], 1.1)]


def _synthetic(found: dict[str, Any]) -> list[Row]:
    speed = found["generate_events_per_s"]
    return [
        Row("synthetic pair: events generated per second", f"{speed / 1e6:.1f} M", ">= 1 M", speed >= 1e6)
    ]


def _readers(found: dict[str, Any]) -> list[Row]:
    speed, goal = found["messages_per_s"]["lobster_l2"], found["goal_messages_per_s"]
    what = "LOBSTER's sample of ten levels, from zip to events: messages/s"
    return [Row(what, f"{speed / 1e6:.2f} M", f">= {goal / 1e6:g} M", speed >= goal)]


def _engle_granger(found: dict[str, Any]) -> list[Row]:
    times = f"{found['kernel_s']:.3f} s against {found['statsmodels_s']:.1f} s"
    what = f"Engle-Granger, {found['pairs']:,} pairs of {found['rows']:,} rows, against statsmodels ({times})"
    seconds, difference = found["kernel_s"], found["largest_relative_difference"]
    return [
        Row(what, f"{found['ratio']:.0f}", "", True),
        Row("the same, s a core", f"{seconds:.3f}", "<= 0.05", seconds <= 0.05),
        Row("its t-statistics from statsmodels'", f"{difference:.0e}", "<= 1e-10", difference <= 1e-10),
    ]


def _kalman(found: dict[str, Any]) -> list[Row]:
    times = f"{found['step_ns']:.0f} ns against {found['cpp_step_ns']:.0f} ns"
    return [
        _ratio(
            f"step of the Kalman regression, of the same in C++ -O3 ({times})",
            found["over_cpp"],
            found["cpp_goal"],
        ),
        _ratio(
            "the same, times as fast as plain Python",
            found["python_over_compiled"],
            found["python_goal"],
            at_least=True,
        ),
    ]


def _clickhouse(found: dict[str, Any]) -> list[Row]:
    rows = []
    for key, where in (("chdb", "chDB"), ("http", "the HTTP front")):
        insert, read = found[key]["insert_ratio"], found[key]["read_ratio"]
        what = f"events into ClickHouse ({where}), rows/s, of a bare `insert_arrow`"
        rows.append(_ratio(what, insert, found["goal_insert"], at_least=True))
        what = f"events out of ClickHouse ({where}) as arrays, rows/s, of a bare `query_arrow_stream`"
        rows.append(_ratio(what, read, found["goal_read"], at_least=True))
    if "memory" in found:
        growth, goal = found["memory"]["growth_mib"], found["memory"]["goal_growth_mib"]
        what = f"growth of memory from the first to the last quarter of {found['memory']['rows'] / 1e6:.0f} M of them"
        rows.append(Row(what, f"{growth:.1f} MiB", f"<= {goal:g} MiB", growth <= goal))
    return rows


def _writers(found: dict[str, Any]) -> list[Row]:
    goal = found["goal_frac"]
    return [
        Row(f"wall time that {name} adds to a run", f"{frac:+.1%}", f"<= {goal:.0%}", frac <= goal)
        for name, frac in found["cost_frac"].items()
        if name != "nothing"
    ]


def _sweep(found: dict[str, Any]) -> list[Row]:
    jobs, cores = found["jobs"], found["cores"]
    least = f"{jobs} jobs x bare loop / {cores} cores"
    overhead, goal_ms = found["overhead_ms"], found["overhead_goal_ms"]
    per_s, goal_per_s = found["jobs_per_s"], found["jobs_per_s_goal"]
    factor, naive_goal = found["naive_factor"], found["naive_goal"]
    return [
        _ratio(
            f"a sweep in threads, start and all: wall time, of {least}",
            found["total_ratio"],
            found["wall_goal"],
        ),
        _ratio("the same: peak memory, of one run's", found["memory_ratio"], found["memory_goal"]),
        Row(
            "the same: a job besides its loop",
            f"{overhead:.1f} ms",
            f"<= {goal_ms:g} ms",
            overhead <= goal_ms,
        ),
        Row("the same: jobs/s", f"{per_s:.1f}", f">= {goal_per_s:g}", per_s >= goal_per_s),
        _ratio("the same: times as fast as a script per job", factor, naive_goal, at_least=True),
    ]


BENCHMARKS: dict[str, Callable[[dict[str, Any]], list[Row]]] = {
    "loop": _loop,
    "process": _process,
    "memory": _memory,
    "ingest": _ingest,
    "synthetic": _synthetic,
    "readers": _readers,
    "clickhouse": _clickhouse,
    "engle_granger": _engle_granger,
    "kalman": _kalman,
    "writers": _writers,
    "sweep": _sweep,
}


def run(name: str) -> dict[str, Any]:
    """Run one benchmark in a process of its own and return its JSON."""
    words = {"ingest": [str(path) for path in real_files()], "sweep": ["--jobs", "1000"]}.get(name, [])
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *words]
    done = subprocess.run(command, env=clean_env(), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout[done.stdout.index("{") :])  # type: ignore[no-any-return]


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| what | measured | goal |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.measured}{'' if row.met else ' (missed)'} | {row.goal} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description="Every speed benchmark, and one table.")
    parser.add_argument("--json", type=Path, help="file for everything measured")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    args = parser.parse_args()
    found = {name: run(name) for name in args.only}
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    print(table([row for name in args.only for row in BENCHMARKS[name](found[name])]))


if __name__ == "__main__":
    main()
