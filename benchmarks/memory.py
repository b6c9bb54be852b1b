"""Resident memory over a long run, the real pair tiled many times: the peak in each quarter of the simulated time.

What is protected: that memory does not grow with the length of a run. The system counts two things as resident:
anonymous memory, which is what the run allocates, and pages of mapped files, which are the events around the
simulated time: a run gives back those that it has passed, some MiB at a time. Both must stay flat. JSON is the last
line of stdout.

::

    python benchmarks/memory.py --tiles 20
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import clean_env, real_feeds, work_dir

from bt_framework.config.schema import ComponentConfig
from bt_framework.hookspecs import hookimpl

GOAL_ANONYMOUS_MIB = 4.0
GOAL_MAPPED_MIB = 64.0
"""Growth of the peak, from the first quarter of the run to the last, that is still called flat.

Of mapped pages: two legs, each up to two steps of what is given back at once.
"""

NS_PER_S = 1_000_000_000


@dataclass
class MemoryLog(ComponentConfig):
    """Listen to a run and sample its memory."""

    name: str = "memory_log"


class MemoryListener:
    """Samples at every slice: (part of the run done, anonymous MiB, mapped-file MiB)."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []

    @hookimpl
    def on_slice(self, run: Any, batch: Any) -> None:
        """Take a sample."""
        done = (batch.local_ts - run.start_ts) / (run.end_ts - run.start_ts)
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        anonymous, mapped = (int(status[key].split()[0]) / 1024 for key in ("RssAnon", "RssFile"))
        self.samples.append((done, anonymous, mapped))

    def quarters(self) -> list[dict[str, float]]:
        """Peaks in each quarter of the run."""
        rows = []
        for quarter in range(1, 5):
            inside = [sample for sample in self.samples if quarter - 1 < 4 * sample[0] <= quarter]
            _, anonymous, mapped = zip(*inside, strict=True)
            rows.append({"done": quarter / 4, "anonymous_mib": max(anonymous), "mapped_mib": max(mapped)})
        return rows


def tile(events: np.ndarray, path: Path, tiles: int, period_ns: int) -> None:
    """Write `events` again and again to a .npy file, each time `period_ns` later."""
    out = np.lib.format.open_memmap(path, "w+", events.dtype, (len(events) * tiles,))
    for index in range(tiles):
        rows = out[index * len(events) : (index + 1) * len(events)]
        rows[:] = events
        rows["exch_ts"] += index * period_ns
        rows["local_ts"] += index * period_ns
    out.flush()


def tiled_overrides(folder: Path, tiles: int) -> list[str]:
    """Write both legs, tiled with one period, and return the overrides that choose them."""
    feeds = real_feeds()
    events = [feed.open() for feed in feeds]
    first = min(int(rows["exch_ts"].min()) for rows in events)
    period_ns = max(int(rows["local_ts"].max()) for rows in events) - first + NS_PER_S
    files, ticks, lots = [], [], []
    for feed, rows in zip(feeds, events, strict=True):
        path = folder / f"{feed.symbol.lower()}.npy"
        tile(rows, path, tiles, period_ns)
        files.append(str(path))
        ticks.append(f"{feed.symbol}:{feed.spec.tick_size}")
        lots.append(f"{feed.symbol}:{feed.spec.lot_size}")
    sizes = [f"data.tick_size={{{','.join(ticks)}}}", f"data.lot_size={{{','.join(lots)}}}"]
    return ["data=npz", f"data.files=[{','.join(files)}]", *sizes]


def run_and_sample(overrides: Sequence[str]) -> dict[str, Any]:
    """Run in this process with a listener beside the writers."""
    from bt_framework.config.compose import Choice, compose
    from bt_framework.registry import Component, Kind
    from bt_framework.runner import run_composition

    composition = compose(list(overrides))
    listener = MemoryListener()
    component = Component(Kind.WRITER, "memory_log", MemoryLog, lambda _: listener, "benchmarks", "0")
    writers = (*composition.many(Kind.WRITER), Choice(component, MemoryLog()))
    result = run_composition(replace(composition, choices={**composition.choices, Kind.WRITER: writers}))
    return {
        "events": result.events,
        "fills": result.counts["fills"],
        "slices": len(listener.samples),
        "samples": listener.quarters(),
    }


def measure(tiles: int) -> dict[str, Any]:
    """Ingest the tiled pair, then run it in a process of its own."""
    from bt_framework.config.compose import compose
    from bt_framework.data.store import EventStore
    from bt_framework.registry import Kind

    with TemporaryDirectory(dir=work_dir()) as name:
        folder = Path(name)
        data = tiled_overrides(folder, tiles)
        source = compose(["+strategy=ou_pairs", *data]).one(Kind.DATA).build()
        EventStore(folder / "store").load_all(source.feeds())
        run = ["+strategy=ou_pairs", "latency=colo", *data, "console=json", "slice_wakes=20000"]
        run.append(
            "writer.parquet.flush_interval_ns=100ms"
        )  # what writing loads once is there from the start
        folders = [f"store_dir={folder / 'store'}", f"runs_dir={folder / 'runs'}"]
        command = [sys.executable, __file__, "--run", *run, *folders]
        env = clean_env(BT_CACHE_DIR=str(work_dir() / "cache"))
        done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    samples = found["samples"]
    anonymous, mapped = (samples[-1][key] - samples[0][key] for key in ("anonymous_mib", "mapped_mib"))
    return {
        "benchmark": "memory",
        "tiles": tiles,
        **found,
        "anonymous_growth_mib": anonymous,
        "anonymous_goal_mib": GOAL_ANONYMOUS_MIB,
        "mapped_growth_mib": mapped,
        "mapped_goal_mib": GOAL_MAPPED_MIB,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Resident memory over a long run.")
    parser.add_argument("--tiles", type=int, default=20)
    parser.add_argument("--run", nargs="+", metavar="OVERRIDE", help="run here and print the samples")
    args = parser.parse_args()
    if args.run:
        print(json.dumps(run_and_sample(args.run)))
        return
    result = measure(args.tiles)
    for sample in result["samples"]:
        print(
            f"up to {sample['done']:4.0%} of {result['events']:,} events: {sample['anonymous_mib']:.0f} MiB anonymous,"
            f" {sample['mapped_mib']:.0f} MiB of mapped files",
            file=sys.stderr,
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
