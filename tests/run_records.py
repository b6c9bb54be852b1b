"""Made records of runs, for tests of what lists, filters and removes them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.results.process import this_process
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import METRIC_COLUMNS
from bt_framework.results.run import TABLES, Identity, Status

STRATEGIES = ("ou_pairs", "market_maker", "basis")
TAGS = ("night", "day", "Night", "sweep-7", "größer")
COMMITS = ("", "ab12" * 10, "ab13" * 10, "ab12" * 10 + "-dirty")
FIRST_NS = 1_722_470_400_000_000_000
"""2024-08-01."""

_HOUR_NS = 3_600_000_000_000
_PLAIN = RunRecord(
    run_id="",
    run_dir=Path("runs"),
    strategy="",
    symbols=(),
    status=Status.COMPLETED,
    error="",
    started_at_ns=0,
    finished_at_ns=0,
    identity=Identity("c" * 64, "d" * 64, "e" * 64, 1),
    result_hash="",
    start_ts=FIRST_NS,
    end_ts=FIRST_NS + _HOUR_NS,
    local_ts=FIRST_NS + _HOUR_NS,
    events=944_088,
    capital=100_000.0,
    equity_interval_ns=1_000_000_000,
    jit="hit",
    instruments=(),
    rules=(),
    data_grade={"grade": "ok"},
    versions={"numpy": "2.2.6"},
    machine={"cpus": 2},
    process=dataclasses.replace(this_process(), pid=1, started=""),
)


def made(number: int, runs_dir: Path = Path("runs"), **changes: Any) -> RunRecord:
    """Return the run `number`, each a little different and always the same one."""
    rng = np.random.default_rng(number)
    run_id = f"run-{number:06d}"
    statuses = [s for s in Status if s not in (Status.RUNNING, Status.LOST)]
    ended = bool(rng.random() < 0.9)
    started_at_ns = FIRST_NS + number * _HOUR_NS
    metrics = {c.name: c.type(round(rng.normal(0, 3), 2)) for c in METRIC_COLUMNS}
    if rng.random() < 0.2:
        metrics |= {"sharpe": math.nan, "fill_ratio": math.nan}
    values = {
        "run_id": run_id,
        "run_dir": runs_dir / run_id,
        "strategy": str(rng.choice(STRATEGIES)),
        "symbols": ("BTCUSDT", "ETHUSDT") if rng.random() < 0.5 else ("SPY",),
        "status": statuses[int(rng.integers(len(statuses)))] if ended else Status.RUNNING,
        "started_at_ns": started_at_ns,
        "finished_at_ns": started_at_ns + int(rng.integers(1, _HOUR_NS)) if ended else 0,
        "identity": Identity("c" * 64, "d" * 64, "e" * 64, int(rng.integers(0, 5))),
        "result_hash": f"{number:064x}" if ended else "",
        "counts": {name: int(rng.integers(0, 9)) for name in TABLES} if ended else {},
        "metrics": metrics if ended else {},
        "timings": {"kernel_s": 0.05, "wall_s": float(rng.random())} if ended else {},
        "tags": tuple(str(t) for t in rng.permutation(TAGS)[: rng.integers(0, 3)]),
        "note": "" if rng.random() < 0.5 else f"note {number % 3}",
        "git_commit": str(rng.choice(COMMITS)),
    }
    return dataclasses.replace(_PLAIN, **(values | changes))
