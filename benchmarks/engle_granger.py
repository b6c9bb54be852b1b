"""Engle-Granger for many pairs: seconds of the compiled kernel against statsmodels, in turns.

What is protected: that a universe is screened in the time it takes to read it. Synthetic pairs, every other one
cointegrated, tested with a constant and one lag by `engle_granger_many`, and a few of the same by statsmodels' `coint`
(``maxlag=1, autolag=None``), whose time is scaled up. Processor time of the thread, so that it is that of one core;
compilation and one run of each are warm-up. Their statistics are compared too, and the whole of `pair_statistics` is
timed on as many columns as the published universe has, 67 of 1,500 rows. JSON is the last line of stdout.

::

    python benchmarks/engle_granger.py --rounds 7
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from measure import median
from statsmodels.tsa.stattools import coint

from bt_framework.stats.cointegration import engle_granger_many
from bt_framework.stats.pair_statistics import pair_statistics

PAIRS, ROWS, THEIRS = 1_000, 5_000, 20
COLUMNS, DAYS = 67, 1_500


def walks() -> tuple[np.ndarray, np.ndarray]:
    """Pairs of random walks, every other one cointegrated, shape (PAIRS, ROWS) each."""
    rng = np.random.default_rng(1)
    y, x = rng.normal(size=(2, PAIRS, ROWS)).cumsum(axis=2) + 100.0
    y[::2] = 1.3 * x[::2] + 3.0 * rng.normal(size=y[::2].shape)
    return y, x


def seconds(call: Callable[[], Any]) -> float:
    """Processor time of this thread in `call`."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


def largest_difference(y: np.ndarray, x: np.ndarray) -> float:
    """Largest relative difference of the statistics of the first pairs from statsmodels'."""
    ours = engle_granger_many(y[:THEIRS], x[:THEIRS]).statistic
    theirs = np.array([coint(y[i], x[i], maxlag=1, autolag=None)[0] for i in range(THEIRS)])
    return float(np.max(np.abs(ours - theirs) / np.abs(theirs)))


def measure(rounds: int) -> dict[str, Any]:
    """Both in turns, the first to go changing every round."""
    y, x = walks()
    prices = np.random.default_rng(2).normal(size=(DAYS, COLUMNS)).cumsum(axis=0)
    pairs = np.array(list(combinations(range(COLUMNS), 2)))
    ways: dict[str, Callable[[], Any]] = {
        "kernel": lambda: engle_granger_many(y, x),
        "statsmodels": lambda: [coint(y[i], x[i], maxlag=1, autolag=None) for i in range(THEIRS)],
        "screen": lambda: pair_statistics(prices, pairs),
    }
    for way in ways.values():
        way()  # warm-up
    found: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds):
        for name in list(ways) if index % 2 == 0 else list(ways)[::-1]:
            found[name].append(seconds(ways[name]))
    scaled = [theirs * PAIRS / THEIRS for theirs in found["statsmodels"]]
    ratios = [theirs / ours for ours, theirs in zip(found["kernel"], scaled, strict=True)]
    return {
        "benchmark": "engle_granger",
        "pairs": PAIRS,
        "rows": ROWS,
        "rounds": rounds,
        "kernel_s": round(median(found["kernel"]), 4),
        "statsmodels_s": round(median(scaled), 3),
        "ratio": round(median(ratios), 1),
        "largest_relative_difference": largest_difference(y, x),
        "all_statistics_of_2211_pairs_s": round(median(found["screen"]), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    print(json.dumps(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
