"""Bar times per second of a pair on bars, against hftbacktest waking at the same events without a strategy.

What is protected: that a pair over a million bar times runs at a million bar times a second in the loop. The data are
two simulated symbols of minute bars, kept in a bar store and traded by ``bollinger_pairs`` with a filtered hedge ratio,
with the default risk rules, ledger and one equity row a bar. Processor time of the thread; compilation and one run of
each are warm-up. JSON is the last line of stdout.

::

    python benchmarks/bars.py --bars 1000000 --rounds 7
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from measure import median, work_dir
from numba import njit

GOAL_PER_S = 1e6
MINUTE_NS = 60_000_000_000
SYMBOLS = ("SYN001", "SYN002")
STRATEGY = [
    "+strategy=bollinger_pairs",
    "strategy.hedge=kalman",
    "strategy.entry_z=3",
    "strategy.log_prices=true",
    "strategy.drift=1e-8",
    "strategy.observation_variance=1e-7",
]


@njit
def wake(hbt: Any) -> int:
    """Wake at every feed update to the end of the data; returns the wakes."""
    wakes = 0
    while hbt.wait_next_feed(True, 10**15) != 1:
        wakes += 1
    return wakes


def store_bars(store_dir: Path, bars: int) -> str:
    """Put the simulated bars into the bar store unless it has them; returns the source's name."""
    from bt_framework.bars.store import BarStore
    from bt_plugins.bars.synthetic import Synthetic, build

    store, source = BarStore(store_dir / "bars"), f"minutes-{bars}"
    if source not in store.sources():
        walk = {"volatility": 5e-4, "theta": [0.005], "sigma": [5e-4], "hedge_ratio": [0.8]}
        config = Synthetic(symbols=2, pairs=1, length=bars, interval_ns=MINUTE_NS, **walk)  # type: ignore[arg-type]
        store.append(source, pa.concat_tables(build(config).tables(_silent)), interval_ns=MINUTE_NS)
    return source


class Runs:
    """A composed run over stored bars, and the bare engine over the same events."""

    def __init__(self, bars: int) -> None:
        from bt_framework import assembly
        from bt_framework.config.compose import compose

        store_dir = work_dir() / "store"
        data = ["data=bars", f"data.source={store_bars(store_dir, bars)}"]
        costs = ["latency=zero", "fees=by_value"]
        composition = compose([*STRATEGY, *data, *costs, f"store_dir={store_dir}", "console=json"])
        self._parts = assembly.Parts.of(composition)
        self.feeds = assembly.load_feeds(self._parts, composition.settings, lambda text: None)
        self._latencies = assembly.load_latencies(
            self._parts, self.feeds, composition.settings, lambda text: None
        )
        self._program = assembly.build_program(self._parts)
        self._books = assembly.choose_books(self._parts, self.feeds, composition.settings)
        self._run = assembly.describe(
            composition, self._parts, self.feeds, self._program, self._books, self._latencies
        )
        self.events = [np.array(feed.open()) for feed in self.feeds]
        self.fills = 0

    def composed(self) -> float:
        """Seconds in the loop."""
        from bt_framework.assembly import open_session

        session = open_session(
            self._run, self._parts, self.feeds, self._program, self._books, self._latencies
        )
        session.prepare()
        began = time.thread_time()
        self.fills = sum(len(tables["fills"]) for tables in session.slices(200_000))
        seconds = time.thread_time() - began
        session.close()
        return seconds

    def bare(self) -> float:
        """Seconds of hftbacktest alone."""
        assets = []
        for feed, events in zip(self.feeds, self.events, strict=True):
            asset = BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(0, 0)
            asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0, 0)
            asset = asset.tick_size(feed.spec.tick_size).lot_size(feed.spec.lot_size).last_trades_capacity(0)
            assets.append(asset)
        hbt = HashMapMarketDepthBacktest(assets)
        began = time.thread_time()
        wake(hbt)
        seconds = time.thread_time() - began
        hbt.close()
        return seconds


def measure(bars: int, rounds: int) -> dict[str, Any]:
    """Both ways in turns."""
    runs = Runs(bars)
    runs.composed(), runs.bare()  # warm-up
    ours, theirs = [], []
    for index in range(rounds):
        for way, seconds in [(runs.composed, ours), (runs.bare, theirs)][:: 1 if index % 2 == 0 else -1]:
            seconds.append(way())
    per_s = round(bars / median(ours))
    return {
        "benchmark": "bars",
        "bars": bars,
        "rounds": rounds,
        "goal_per_s": GOAL_PER_S,
        "events": sum(len(events) for events in runs.events),
        "fills": runs.fills,
        "bar_times_per_s": per_s,
        "bare_bar_times_per_s": round(bars / median(theirs)),
        "ratio": round(median([b / a for a, b in zip(ours, theirs, strict=True)]), 3),
        "passed": per_s >= GOAL_PER_S,
    }


def _silent(done: int, total: int) -> None:
    pass


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bars", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(json.dumps(measure(args.bars, args.rounds)))


if __name__ == "__main__":
    main()
