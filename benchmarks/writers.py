"""What it costs a run to have its rows written, wall time of whole `bt` processes in turns.

What is protected: that nobody thinks twice about keeping everything. A market maker on synthetic books, some hours of
them, writes some thirty rows a second of simulated time. Baseline: the same run with no writer. Each of the others
keeps all rows of all tables in one more place: Parquet files, ClickHouse by HTTP (chDB in a process of its own, which
has to share the machine), chDB inside of the run, tables of SQLite, PostgreSQL where it is installed. ``swallowed`` is
ClickHouse by HTTP again, with a server that takes the rows and throws them away: what is left is the run's own part,
as with a server on another machine. The wall time of a run counts until everything is stored; processor time is that
of the run's process, all threads. JSON is the last line of stdout.

::

    python benchmarks/writers.py --hours 4 --rounds 5
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import Child, clean_env, median, run_child, work_dir

GOAL_FRAC = 0.05
TABLES = "signals,orders,fills,refusals,risk_events,equity,trades"

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


@contextlib.contextmanager
def _kinds(folder: Path) -> Iterator[dict[str, list[str]]]:
    """Overrides of each way to write, while the servers run."""
    from clickhouse_front import ClickhouseFront

    from bt_framework.stores.clickhouse.address import address_of
    from bt_framework.stores.clickhouse.connection import ClickHouse
    from bt_framework.stores.clickhouse.schema import migrate

    with contextlib.ExitStack() as stack:
        urls = {}
        for name in ("front", "sink"):
            front = stack.enter_context(ClickhouseFront(folder / name))
            urls[name] = front.url("bt")
            with ClickHouse(address_of(urls[name], folder)) as db:
                migrate(db)
        front.fail("swallow", match="INSERT", times=sys.maxsize)
        kinds = {
            "nothing": ["writer=[]"],
            "parquet": ["writer=[parquet]"],
            "clickhouse": ["writer=[clickhouse]", f"writer.clickhouse.url={urls['front']}"],
            "swallowed": ["writer=[clickhouse]", f"writer.clickhouse.url={urls['sink']}"],
            "chdb": ["writer=[clickhouse]", f"writer.clickhouse.url=chdb://{folder}/chdb"],
            "sqlite": ["writer=[]", f"store.tables=[{TABLES}]"],
        }
        url = _postgres(stack)
        if url:
            kinds["postgres"] = ["writer=[]", "store=postgres"]
            os.environ["BT_POSTGRES_URL"] = url
        yield kinds


def _postgres(stack: contextlib.ExitStack) -> str:
    """URL of a database of a server for this benchmark; empty if PostgreSQL is not installed."""
    import postgres_server

    if not postgres_server.program("postgres"):
        return ""
    server = stack.enter_context(postgres_server.running())
    return str(server.url(server.new_database()))


def _run(overrides: list[str], simulated: list[str], runs_dir: Path) -> tuple[Child, dict[str, Any]]:
    """A whole process, and the outcome that it printed."""
    env = clean_env(BT_STORE_DIR=str(work_dir() / "store"), BT_CACHE_DIR=str(work_dir() / "cache"))
    command = [sys.executable, "-m", "bt_framework", *simulated, "console=json"]
    done = run_child([*command, *overrides, f"runs_dir={runs_dir}"], env)
    return done, json.loads(done.stdout.splitlines()[-1])


def measure(strategy: str, hours: float, rounds: int, only: list[str] | None = None) -> dict[str, Any]:
    """Run all kinds in turns, in an order that changes."""
    simulated = [f"+strategy={strategy}", f"data.duration_ns={round(hours * 3_600)}s"]
    folder = work_dir() / "writers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    children: dict[str, list[Child]] = {}
    with _kinds(folder) as kinds:
        names = [name for name in kinds if not only or name in ("nothing", *only)]
        for name in names:  # compiles, ingests, makes tables
            _, outcome = _run(kinds[name], simulated, folder / "runs")
        for turn in range(rounds):
            for name in names if turn % 2 == 0 else reversed(names):
                child, again = _run(kinds[name], simulated, folder / "runs")
                children.setdefault(name, []).append(child)
                if again["result_hash"] != outcome["result_hash"]:
                    raise SystemExit(f"{name} changed the result")
        if any((work_dir() / "store" / "spool").glob("*/*/*.parquet")):
            raise SystemExit("rows went to the spool: the measurement says nothing")
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "benchmark": "writers",
        "strategy": strategy,
        "hours": hours,
        "rounds": rounds,
        "cpus": os.cpu_count(),
        "events": outcome["events"],
        "counts": outcome["counts"],
        "wall_s": {name: median(c.wall_s for c in found) for name, found in children.items()},
        "cpu_s": {name: median(c.cpu_s for c in found) for name, found in children.items()},
        "cost_frac": {name: _cost(found, children["nothing"]) for name, found in children.items()},
        "goal_frac": GOAL_FRAC,
    }


def _cost(found: list[Child], base: list[Child]) -> float:
    """Wall time that is added, as a fraction of the baseline of the same round."""
    return float(median(own.wall_s / other.wall_s - 1 for own, other in zip(found, base, strict=True)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What writing a run's rows costs.")
    parser.add_argument("--strategy", default="market_maker", help="ou_pairs writes few rows")
    parser.add_argument("--hours", type=float, default=4.0, help="simulated time of the run")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind")
    parser.add_argument("--only", nargs="+", help="kinds to measure, beside the baseline")
    args = parser.parse_args()
    found = measure(args.strategy, args.hours, args.rounds, args.only)
    for name, frac in found["cost_frac"].items():
        print(
            f"{name:<12}{found['wall_s'][name]:7.2f} s  {frac:+.1%}, processor {found['cpu_s'][name]:.2f} s"
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
