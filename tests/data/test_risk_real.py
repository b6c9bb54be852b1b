"""Every risk rule and every sizing on the real pair: what it says is what the tables of the run show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bt_framework
from bt_framework.results.result import RunResult

OFF = {
    "max_order_qty": "limit_qty=1e9",
    "max_order_notional": "limit_notional=1e9",
    "price_collar": "limit_bps=5000",
    "max_position": "limit_notional=1e9",
    "max_gross_exposure": "limit_notional=1e9",
    "max_net_exposure": "limit_notional=1e9",
    "max_leverage": "limit_leverage=1e9",
    "max_open_positions": "limit_positions=100",
    "max_open_orders": "limit_per_instrument=100",
    "self_cross": "action=REFUSE",
    "cooldown": "after_exit_ns=0 after_loss_ns=0",
    "trading_windows": "action=REFUSE",
    "daily_loss": "limit_frac=0.99",
    "max_drawdown": "limit_frac=0.99",
    "loss_streak": "limit_exits=100000",
    "order_rate": "burst=100000",
}
"""All rules, in chain order: limits that nothing reaches. The data is of a Thursday, which the default window has."""

REFUSING = {
    "max_order_qty": ["limit_qty=5"],
    "max_order_notional": ["limit_notional=5e3", "by_symbol={ETHUSDT: 1e9}"],
    "price_collar": ["limit_bps=1.1"],
    "max_position": ["limit_notional=2.5e4"],
    "max_gross_exposure": ["limit_notional=5e4"],
    "max_net_exposure": ["limit_notional=2.5e4"],
    "max_leverage": ["limit_leverage=0.4"],
    "max_open_positions": ["limit_positions=1"],
    "max_open_orders": ["limit_per_instrument=1"],
    "cooldown": ["after_exit_ns=30s", "after_loss_ns=30s"],
    "trading_windows": ["windows=[fri 08:57-08:58]", "time_zone=Asia/Tokyo"],
    "daily_loss": ["limit_frac=1e-5"],
    "max_drawdown": ["limit_frac=1e-5", "resume_after_ns=20s"],
    "loss_streak": ["limit_exits=1", "action=REFUSE", "resume_after_ns=10s"],
    "order_rate": ["rate_per_s=0.5", "burst=3"],
}
WATCHING = ("trading_windows", "daily_loss", "max_drawdown", "loss_streak", "max_leverage")
NS_PER_S = 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("risk")


@pytest.fixture
def run(folder: Path, shared_dir: Path) -> Callable[..., RunResult]:
    """Return a function that makes markets in the pair."""
    names = ("btcusdt_20240808.gz", "ethusdt_20240808.gz")
    files = ",".join(str(shared_dir / "data" / "binance" / name) for name in names)

    def go(*overrides: str) -> RunResult:
        return bt_framework.run(
            [
                "+strategy=market_maker",
                "strategy.max_units=20",
                "data=binance",
                f"data.files=[{files}]",
                "latency=colo",
                "console=json",
                f"store_dir={folder / 'store'}",
                f"runs_dir={folder / 'runs'}",
                *overrides,
            ]
        )

    return go


def with_rule(run: Callable[..., RunResult], name: str, settings: list[str]) -> RunResult:
    """Run the chain of all rules, of which one has limits."""
    off = [f"risk.{rule}.{one}" for rule, text in OFF.items() if rule != name for one in text.split(" ")]
    sizing = ["sizing=fixed_notional", "sizing.notional=20000"]
    own = [f"++risk.{name}.{setting}" for setting in settings]
    return run(f"risk=[{','.join(OFF)}]", *sizing, *off, *own)


@pytest.mark.parametrize("name", REFUSING)
def test_each_rule_refuses_and_says_what_it_measured(run: Callable[..., RunResult], name: str) -> None:
    result = with_rule(run, name, REFUSING[name])
    assert result.status == "completed"
    refusals = [row for row in result.refusals.to_pylist() if row["rule"] is not None]
    assert {row["rule"] for row in refusals} == {name}
    assert {row["reason"] for row in refusals} <= {"rule", "halted"}
    if name == "cooldown":
        assert all(row["value"] < row["limit"] == 30 * NS_PER_S for row in refusals)
    elif name not in ("trading_windows", "daily_loss", "max_drawdown", "loss_streak"):
        assert all(row["value"] > row["limit"] for row in refusals)
    events = {row["event"] for row in result.risk_events.to_pylist()}
    assert bool(events) == (name in WATCHING) or name == "max_leverage"


def test_a_chain_that_nothing_reaches_changes_nothing(run: Callable[..., RunResult]) -> None:
    free = with_rule(run, "self_cross", [])
    assert len(free.refusals) == len(free.risk_events) == 0
    assert len(free.fills) > 50
    bare = run("risk=[]", "sizing=fixed_notional", "sizing.notional=20000")
    assert bare.record.result_hash == free.record.result_hash


def test_positions_stay_within_their_limits_by_instrument(run: Callable[..., RunResult]) -> None:
    limits = {"BTCUSDT": 2.5e4, "ETHUSDT": 4.5e4}
    result = with_rule(run, "max_position", ["limit_notional=2.5e4", "by_symbol={ETHUSDT: 4.5e4}"])
    largest = dict.fromkeys(limits, 0.0)
    for row in result.equity.to_pylist():
        value = abs(row["position_qty"]) * row["mid_px"]
        largest[row["symbol"]] = max(largest[row["symbol"]], value)
        assert value <= limits[row["symbol"]] * 1.01, "but for what prices moved since"
    assert largest["ETHUSDT"] > 2.5e4


SIZINGS: dict[str, tuple[list[str], float]] = {
    "fixed_qty": (["qty=0.5"], 0.0),
    "fixed_notional": (["notional=20000"], 0.0),
    "percent_of_equity": (["equity_frac=0.2"], 0.0),
    "volatility_target": (["target_frac=1e-3", "period_ns=1h", "warmup_samples=20"], 20.0),
    "atr": (["risk_frac=1e-5", "bar_ns=5s", "bars=5"], 20.0),
    "risk_parity": (["gross_frac=0.5", "half_life_ns=1min", "warmup_samples=20"], 20.0),
    "kelly": (["sample_ns=1s", "half_life_ns=1min", "warmup_samples=20", "min_frac=0.02"], 0.0),
}


@pytest.mark.parametrize("name", SIZINGS)
def test_each_sizing_sizes_what_is_sent(run: Callable[..., RunResult], name: str) -> None:
    settings, warmup_s = SIZINGS[name]
    result = run("risk=[]", f"sizing={name}", *(f"sizing.{setting}" for setting in settings))
    assert result.status == "completed"
    orders = [row for row in result.orders.to_pylist() if row["event"] == "submitted"]
    assert len(orders) > 50
    assert (orders[0]["local_ts"] - result.record.start_ts) / NS_PER_S >= warmup_s
    values: dict[str, list[Any]] = {"BTCUSDT": [], "ETHUSDT": []}
    for row in orders:
        values[row["symbol"]].append(row["qty"] * (row["px"] if name != "fixed_qty" else 1.0))
    expected = {"fixed_qty": 0.5, "fixed_notional": 20_000.0, "percent_of_equity": 20_000.0}
    for symbol, found in values.items():
        assert found, symbol
        if name in expected:
            assert all(0.98 * expected[name] < value <= 1.01 * expected[name] for value in found)
        else:
            assert max(found) > 1.2 * min(found), "sizes follow the market"
            assert max(found) <= 101_000, "and the cap"
