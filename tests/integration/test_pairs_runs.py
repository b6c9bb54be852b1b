"""What a run of `ou_pairs` promises, read from the tables that it leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

import bt_framework
from bt_framework.results.result import RunResult

NS_PER_S = 1_000_000_000
BUSY = [
    "+strategy=ou_pairs",
    "console=plain",
    "data.duration_ns=60s",
    "strategy.window=100",
    "strategy.warmup=200",
    "strategy.entry_z=1.0",
    "strategy.exit_z=0.2",
]


@pytest.fixture
def run(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunResult]:
    """Return a function that runs a busy pair."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))
    return lambda *overrides: bt_framework.run([*BUSY, *overrides])


def positions(result: RunResult) -> dict[str, float]:
    """Position of each symbol at the end, base units, from its fills."""
    held: dict[str, float] = {}
    for fill in result.fills.to_pylist():
        sign = 1 if fill["side"] == "buy" else -1
        held[fill["symbol"]] = held.get(fill["symbol"], 0.0) + sign * fill["qty"]
    return {symbol: round(qty, 9) for symbol, qty in held.items()}


def test_every_order_carries_the_signal_that_it_came_from(run: Callable[..., RunResult]) -> None:
    result = run()
    signals = {row["signal_id"]: row for row in result.signals.to_pylist()}
    orders = result.orders.to_pylist()
    assert len({row["signal_id"] for row in orders}) > 2
    for order in orders:
        assert signals[order["signal_id"]]["local_ts"] <= order["local_ts"]
    assert {row["signal_id"] for row in result.fills.to_pylist()} <= set(signals)


def test_nothing_is_entered_before_the_warm_up(run: Callable[..., RunResult]) -> None:
    for warmup in (200, 400):
        result = run(f"strategy.warmup={warmup}")
        first = min(row["local_ts"] for row in result.signals.to_pylist())
        assert first >= result.start_ts + (warmup - 1) * NS_PER_S // 10


def test_the_position_is_closed_before_the_end_only_if_asked(run: Callable[..., RunResult]) -> None:
    rows = run("strategy.execution=taker", "strategy.flat_at_end=false").signals.to_pylist()
    holds = [
        (b["local_ts"] - a["local_ts"], a["local_ts"]) for a, b in pairwise(rows) if a["kind"] == "enter"
    ]
    hold_ns, entered_ts = max(holds)
    # The run ends in the middle of the longest time that a position is held.
    end = datetime.fromtimestamp((entered_ts + hold_ns // 2) / NS_PER_S, UTC).isoformat()
    cut = ["strategy.execution=taker", f"end='{end}'", f"strategy.flatten_before_ns={hold_ns // 4}"]
    closed, kept = run(*cut), run(*cut, "strategy.flat_at_end=false")
    assert closed.signals.column("kind").to_pylist()[-1] == "flatten"
    assert set(positions(closed).values()) == {0.0}
    assert kept.signals.column("kind").to_pylist()[-1] == "enter"
    assert 0.0 not in positions(kept).values()


def test_the_sampled_price_is_the_one_chosen(run: Callable[..., RunResult]) -> None:
    mid, micro = run(), run("strategy.price=micro")
    assert micro.counts["orders"] > 0
    assert micro.code_hash == mid.code_hash
    assert micro.result_hash != mid.result_hash
