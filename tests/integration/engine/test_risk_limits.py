"""Every risk rule on the real engine: a strategy that tries to break its limit cannot, and does without the rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from probe import Outcome
from risk_runs import OFF, increases, run, still_book, submissions, walk

from bt_framework.engine.models import LatencyModel
from bt_framework.records import OrderEvent as E
from bt_framework.records import RefusalReason, RiskAction
from bt_framework.results.run import LOGS
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

MID = 100.0
FEEDS = [still_book(asset=asset) for asset in range(3)]
ASSETS = range(3)


def run_greedy(rules: Mapping[str, Mapping[str, Any]], **options: Any) -> Outcome:
    """Run the greedy strategy on three books that do not move."""
    greedy = {"intents": 4} | options.pop("greedy", {})
    return run(options.pop("feeds", FEEDS), rules=rules, greedy=greedy, **options)


def sizes(done: Outcome) -> list[tuple[int, float, float]]:
    """(asset, quantity, value at the higher of price and mid) of each order sent."""
    return [
        (int(r["asset"]), float(r["qty"]), float(r["qty"] * max(r["px"], MID)))
        for r, _, _ in submissions(done)
    ]


def equity_after(done: Outcome, capital: float = 100_000.0) -> Callable[[int], float]:
    """Equity at a time, the mid being `MID`."""
    fills = done.tables["fills"]
    change = np.cumsum(fills["side"] * fills["qty"] * (MID - fills["px"]))
    return lambda ts: (
        capital + float(change[n - 1]) if (n := int((fills["local_ts"] <= ts).sum())) else capital
    )


def over_position(done: Outcome) -> int:
    limits = {0: 1_000.0, 1: 400.0, 2: 1_000.0}
    return sum(
        abs(books.worst_qty(a, side)) * MID > limits[a] + 1e-6
        for _, _, books in walk(done)
        for a in ASSETS
        for side in (1, -1)
    )


def over_gross(done: Outcome) -> int:
    return sum(books.gross_qty() * MID > 1_500 + 1e-6 for _, _, books in walk(done))


def over_net(done: Outcome) -> int:
    return sum(books.net_qty(side) * MID > 600 + 1e-6 for _, _, books in walk(done) for side in (1, -1))


def over_leverage(done: Outcome) -> int:
    equity = equity_after(done, 1_000.0)
    return sum(
        increases(row, before) and books.gross_qty() * MID > 1.5 * equity(int(row["local_ts"])) + 1e-6
        for row, before, books in submissions(done)
    )


def over_open_positions(done: Outcome) -> int:
    def is_open(books: Any, asset: int) -> bool:
        works = any(w["asset"] == asset for w in books.working.values())
        return books.position_qty.get(asset, 0.0) != 0 or works

    return sum(sum(is_open(books, a) for a in ASSETS) > 2 for _, _, books in walk(done))


def over_open_orders(done: Outcome) -> int:
    return sum(
        len(books.working) > 6
        or any(
            sum(w["asset"] == a for w in books.working.values()) > limit
            for a, limit in ((0, 3), (1, 1), (2, 3))
        )
        for _, _, books in walk(done)
    )


def over_qty(done: Outcome) -> int:
    return sum(qty > (0.5 if asset == 1 else 2.0) for asset, qty, _ in sizes(done))


def over_notional(done: Outcome) -> int:
    return sum(value > (50.0 if asset == 1 else 200.0) for asset, _, value in sizes(done))


def over_collar(done: Outcome) -> int:
    rows = done.tables["orders"]
    return int((np.abs(rows["px"] - MID) > 1.0 + 1e-9).sum())


def over_rate(done: Outcome) -> int:
    rows = done.tables["orders"]
    ts = rows["local_ts"][np.isin(rows["event"], (E.SUBMITTED, E.MODIFY_REQUESTED))]
    first, last = np.triu_indices(len(ts))
    return int((last - first + 1 > 7 + 100 * (ts[last] - ts[first]) * 1e-9 + 1e-6).sum())


def own_crosses(done: Outcome) -> int:
    found = 0
    for _, _, books in walk(done):
        for asset in ASSETS:
            works = [w for w in books.working.values() if w["asset"] == asset]
            buys, sells = ([w["px"] for w in works if w["side"] == side] for side in (1, -1))
            found += bool(buys and sells and max(buys) >= min(sells))
    return found


def too_soon(done: Outcome) -> int:
    fills = done.tables["fills"]
    exits: dict[int, list[tuple[int, float]]] = {asset: [] for asset in ASSETS}
    held, trip = dict.fromkeys(ASSETS, 0.0), dict.fromkeys(ASSETS, 0.0)
    for fill in fills:
        asset, after = int(fill["asset"]), float(fill["position_qty"])
        trip[asset] += float(fill["realised_pnl"])
        if held[asset] != 0 and after * held[asset] <= 0:
            exits[asset].append((int(fill["local_ts"]), trip[asset]))
            trip[asset] = 0.0
        held[asset] = after
    found = 0
    for row, before, _ in submissions(done):
        last = [e for e in exits[int(row["asset"])] if e[0] <= row["local_ts"]][-1:]
        if last and increases(row, before):
            found += row["local_ts"] - last[0][0] < (100 * MS if last[0][1] < 0 else 50 * MS)
    return found


def losing(limit: float) -> Callable[[Outcome], int]:
    def found(done: Outcome) -> int:
        equity, over = equity_after(done), 0
        peak = 100_000.0
        breached = False
        for row, before, _ in submissions(done):
            breached = breached or peak - equity(int(row["local_ts"])) >= limit
            over += breached and increases(row, before)
        return over

    return found


def after_streak(done: Outcome) -> int:
    fills = done.tables["fills"]
    held, trip, streak, since = dict.fromkeys(ASSETS, 0.0), dict.fromkeys(ASSETS, 0.0), 0, 2**62
    for fill in fills:
        asset, after = int(fill["asset"]), float(fill["position_qty"])
        trip[asset] += float(fill["realised_pnl"])
        if held[asset] != 0 and after * held[asset] <= 0:
            streak = streak + 1 if trip[asset] < 0 else 0
            trip[asset] = 0.0
            if streak >= 3:
                since = min(since, int(fill["local_ts"]))
        held[asset] = after
    return sum(row["local_ts"] >= since and increases(row, before) for row, before, _ in submissions(done))


def outside(done: Outcome) -> int:
    opens = START_TS + 60_000 * MS
    return sum(row["local_ts"] < opens and increases(row, before) for row, before, _ in submissions(done))


CASES: dict[str, tuple[dict[str, Any], Callable[[Outcome], int], dict[str, Any]]] = {
    "max_position": ({"limit_notional": 1_000.0, "by_symbol": {"TEST1": 400.0}}, over_position, {}),
    "max_gross_exposure": ({"limit_notional": 1_500.0}, over_gross, {}),
    "max_net_exposure": ({"limit_notional": 600.0}, over_net, {}),
    "max_leverage": ({"limit_leverage": 1.5}, over_leverage, {"capital": 1_000.0}),
    "max_open_positions": ({"limit_positions": 2}, over_open_positions, {}),
    "max_open_orders": (
        {"limit_orders": 6, "limit_per_instrument": 3, "by_symbol": {"TEST1": 1}},
        over_open_orders,
        {},
    ),
    "max_order_qty": ({"limit_qty": 2.0, "by_symbol": {"TEST1": 0.5}}, over_qty, {}),
    "max_order_notional": ({"limit_notional": 200.0, "by_symbol": {"TEST1": 50.0}}, over_notional, {}),
    "price_collar": ({"limit_bps": 100.0, "limit_ticks": 0.0}, over_collar, {}),
    "order_rate": ({"rate_per_s": 100.0, "burst": 7}, over_rate, {}),
    "self_cross": ({}, own_crosses, {}),
    "cooldown": ({"after_exit_ns": 50 * MS, "after_loss_ns": 100 * MS}, too_soon, {}),
    "daily_loss": ({"limit_notional": 20.0}, losing(20.0), {}),
    "max_drawdown": ({"limit_frac": 0.0003}, losing(30.0), {}),
    "loss_streak": ({"limit_exits": 3}, after_streak, {}),
}
NEEDS_EXITS = ("cooldown", "loss_streak")
RUNS = [(name, share) for name in CASES for share in (0.5, 0.9) if share == 0.5 or name not in NEEDS_EXITS]


@pytest.mark.parametrize(("name", "buy_share"), RUNS)
def test_a_greedy_strategy_cannot_break_the_limit_and_does_without_the_rule(
    name: str, buy_share: float
) -> None:
    rule, violations, options = CASES[name]
    greedy = {"buy_share": buy_share}
    done = run_greedy({name: rule}, greedy=greedy, **options)
    assert violations(done) == 0
    assert len(done.tables["fills"]) > 5, "the rule leaves something to trade"
    refused = done.tables["refusals"]
    own = refused[refused["rule"] == list(OFF).index(name)]
    assert len(own) > 0
    assert np.isfinite(own["value"]).all()
    assert np.isfinite(own["limit"]).all()
    bare = run_greedy({}, greedy=greedy, bare=name == "self_cross", **options)
    assert violations(bare) > 0


@pytest.mark.parametrize(("time_zone", "hour"), [("UTC", "00"), ("Asia/Tokyo", "09")])
def test_a_greedy_strategy_opens_nothing_before_its_trading_window(time_zone: str, hour: str) -> None:
    feeds = [still_book(61_200, start_ms=58_990, asset=asset) for asset in ASSETS]
    options: dict[str, Any] = {"feeds": feeds, "start_ts": START_TS + 59_000 * MS}
    rule = {"windows": [f"mon {hour}:01-{hour}:02"], "time_zone": time_zone}
    done = run_greedy({"trading_windows": rule}, **options)
    assert outside(done) == 0
    assert len(done.tables["fills"]) > 5, "the window leaves something to trade"
    assert done.tables["refusals"]["limit"][0] == pytest.approx(int(hour) + 1 / 60)
    assert outside(run_greedy({}, **options)) > 0


def test_the_price_collar_counts_ticks() -> None:
    done = run_greedy({"price_collar": {"limit_ticks": 2.0, "limit_bps": 0.0}})
    assert over_collar(done) == 0
    assert len(done.tables["fills"]) > 5


ALL = {
    "max_order_qty": {"limit_qty": 2.5},
    "max_order_notional": {"limit_notional": 240.0},
    "price_collar": {"limit_bps": 100.0, "limit_ticks": 0.0},
    "max_open_orders": {"limit_orders": 6, "limit_per_instrument": 3, "by_symbol": {"TEST1": 1}},
    "max_open_positions": {"limit_positions": 2},
    "self_cross": {},
    "cooldown": {"after_exit_ns": 50 * MS, "after_loss_ns": 100 * MS},
    "order_rate": {"rate_per_s": 100.0, "burst": 7},
    "max_drawdown": {"limit_frac": 0.0001, "resume_after_ns": 30 * MS, "action": RiskAction.CANCEL_ALL},
    "daily_loss": {"limit_notional": 40.0},
    "loss_streak": {"limit_exits": 4, "resume_after_ns": 50 * MS, "action": RiskAction.REFUSE},
}


@given(
    seed=st.integers(1, 2**31 - 1),
    position=st.floats(100.0, 1_200.0),
    gross=st.floats(200.0, 2_000.0),
    net=st.floats(100.0, 1_000.0),
    buy_share=st.floats(0.2, 0.8),
    latency_ms=st.integers(1, 30),
    max_wakes=st.integers(1, 400),
)
@settings(max_examples=15, phases=[Phase.generate])
def test_through_the_full_chain_no_limit_is_ever_exceeded_however_the_run_is_sliced(
    seed: int, position: float, gross: float, net: float, buy_share: float, latency_ms: int, max_wakes: int
) -> None:
    rules = ALL | {
        "max_position": {"limit_notional": position},
        "max_gross_exposure": {"limit_notional": gross},
        "max_net_exposure": {"limit_notional": net},
        "max_leverage": {"limit_leverage": 0.015},
    }
    options: dict[str, Any] = {
        "greedy": {"buy_share": buy_share},
        "seed": seed,
        "end_ms": 800.0,
        "latency": LatencyModel(latency_ms * MS, latency_ms * MS),
    }
    done = run_greedy(rules, **options)
    for _, _, books in walk(done):
        for side in (1, -1):
            assert all(abs(books.worst_qty(a, side)) * MID <= position + 1e-6 for a in ASSETS)
            assert books.net_qty(side) * MID <= net + 1e-6
        assert books.gross_qty() * MID <= min(gross, 1_500.0) + 1e-6
    for violations in (over_open_orders, over_open_positions, over_collar, own_crosses, too_soon, over_rate):
        assert violations(done) == 0, violations
    sliced = run_greedy(rules, max_wakes=max_wakes, **options)
    assert all(sliced.tables[name].tobytes() == done.tables[name].tobytes() for name in LOGS)


def test_the_first_rule_that_refuses_decides() -> None:
    done = run_greedy({"max_order_qty": {"limit_qty": 0.1}, "max_position": {"limit_notional": 1.0}})
    refusals = done.tables["refusals"]
    refusals = refusals[refusals["reason"] == RefusalReason.RULE]
    assert set(refusals["rule"]) == {list(OFF).index("max_order_qty")}
    assert refusals["limit"].tolist() == [0.1] * len(refusals)
    assert refusals["value"].tolist() == refusals["qty"].tolist()
