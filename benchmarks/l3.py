"""Replay of single orders (L3): events per second of a composed run against plain hftbacktest, in turns.

What is protected: that order events cost no more here than there. Both replay the same stored events of a CME file with
the l3_fifo queue and a hash-map book, wake every 500 ms and send no order: the composed run has a market maker whose
inventory limit is zero, with ledger, risk and equity rows. Compilation and one run of each are warm-up. JSON is the
last line of stdout.

::

    python benchmarks/l3.py --rounds 7
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from measure import clean_env, median, shared_dir, work_dir
from numba import njit

FILE = "cme/esh4-glbx-mdp3-20231225.mbo.dbn.zst"
STEP_NS = 500_000_000


@njit
def replay(hbt: Any, step_ns: int) -> int:
    """Wake every `step_ns` to the end of the data; returns the wakes."""
    wakes = 0
    while hbt.elapse(step_ns) == 0:
        wakes += 1
    return wakes


class Replay:
    """The stored events, and how to replay them both ways; each returns events per second of its loop."""

    def __init__(self) -> None:
        from bt_framework.data.store import EventStore
        from bt_plugins.data.databento import Databento, build

        self.path = shared_dir() / "data" / FILE
        (feed,) = build(Databento(files=[str(self.path)])).feeds()
        self.stored = EventStore(work_dir() / "store").load(feed)
        self.events = np.array(self.stored.open())

    def plain(self) -> float:
        """Events per second of hftbacktest alone, with constant latency and no fees."""
        spec = self.stored.spec
        asset = BacktestAsset().data([self.events]).linear_asset(1.0).constant_order_latency(0, 0)
        asset.l3_fifo_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
        hbt = HashMapMarketDepthBacktest([asset.tick_size(spec.tick_size).lot_size(spec.lot_size)])
        hbt.elapse(0)
        began = time.perf_counter()
        replay(hbt, STEP_NS)
        seconds = time.perf_counter() - began
        hbt.close()
        return len(self.events) / seconds

    def composed(self) -> float:
        """Events per second in the loop of ``bt``, as its run record tells."""
        with tempfile.TemporaryDirectory() as folder:
            command = [str(Path(sys.executable).with_name("bt")), "+strategy=market_maker", "latency=zero"]
            command += ["queue=l3_fifo", "depth=hash_map", "data=databento", f"data.files=[{self.path}]"]
            command += ["strategy.max_units=0", f"strategy.requote_ns={STEP_NS}"]
            command += [f"store_dir={work_dir() / 'store'}", "console=json"]
            subprocess.run(command, cwd=folder, env=clean_env(), check=True, stdout=subprocess.DEVNULL)
            (record,) = Path(folder).glob("runs/*/run.json")
            found = json.loads(record.read_text())
        if found["counts"]["orders"] != 0:
            raise SystemExit("the composed run sent orders: the two do not do the same")
        return float(found["events"] / found["timings"]["kernel_s"])


def measure(rounds: int) -> dict[str, Any]:
    """Both ways in turns, the first to go changing every round."""
    both = Replay()
    ways = {"plain": both.plain, "composed": both.composed}
    for way in ways.values():
        way()  # warm-up
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds):
        for name in list(ways) if index % 2 == 0 else list(ways)[::-1]:
            speeds[name].append(ways[name]())
    ratios = [ours / theirs for ours, theirs in zip(speeds["composed"], speeds["plain"], strict=True)]
    return {
        "benchmark": "l3",
        "file": FILE,
        "events": len(both.events),
        "rounds": rounds,
        "composed_events_per_s": round(median(speeds["composed"])),
        "plain_events_per_s": round(median(speeds["plain"])),
        "ratio": round(median(ratios), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    print(json.dumps(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
