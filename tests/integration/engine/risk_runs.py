"""Runs strategies through a real engine with every built-in risk rule in the chain.

A rule that a test does not set has limits that nothing reaches: limits are run-time values, so one loop serves all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import greedy_kernels as gk
import numpy as np
from probe import Outcome, collect

from bt_framework.engine.models import (
    ExchangeKind,
    ExchangeModel,
    FeeSchedule,
    LatencyModel,
    QueueKind,
    QueueModel,
)
from bt_framework.engine.program import KernelSet, Program, build_program
from bt_framework.engine.rules import RiskRule, rule_state
from bt_framework.engine.session import AccountTerms, Clocking, Market, Records, RuleRecords, Session
from bt_framework.engine.strategy import Kernels
from bt_framework.plugin_manager import discover
from bt_framework.records import OrderEvent as E
from bt_framework.records import RiskEvent, Tag, record
from bt_framework.registry import Kind
from bt_framework.results.run import Instrument
from bt_framework.testing.events import SmallFeed
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS as MS

HUGE = 1e15
OFF: dict[str, dict[str, Any]] = {
    "max_order_qty": {"limit_qty": HUGE},
    "max_order_notional": {"limit_notional": HUGE},
    "price_collar": {"limit_ticks": HUGE, "limit_bps": 0.0},
    "max_position": {"limit_notional": HUGE},
    "max_gross_exposure": {"limit_notional": HUGE},
    "max_net_exposure": {"limit_notional": HUGE},
    "max_leverage": {"limit_leverage": HUGE},
    "max_open_positions": {"limit_positions": 1_000},
    "max_open_orders": {"limit_orders": 1_000, "limit_per_instrument": 1_000},
    "self_cross": {},
    "cooldown": {"after_exit_ns": 0, "after_loss_ns": 0},
    "trading_windows": {"windows": ["mon-sun 00:00-24:00"]},
    "daily_loss": {"limit_notional": HUGE, "limit_frac": 0.0},
    "max_drawdown": {"limit_notional": HUGE, "limit_frac": 0.0},
    "loss_streak": {"limit_exits": 10**9},
    "order_rate": {"rate_per_s": HUGE, "burst": 10**9},
}
"""All rules, in chain order, with limits that nothing reaches; `self_cross` has none."""

GREEDY = {
    "intents": 0,
    "max_lots": 12,
    "far_ticks": 3,
    "buy_share": 0.5,
    "market_share": 0.2,
    "modify_share": 0.1,
    "cancel_share": 0.2,
}


@dataclass
class Setup:
    """What a run is made of; times in ms since the start, prices 80 to 120, tick 0.5, lot 0.25.

    `bare` is a run without rules; `greedy` are PARAMS of the greedy strategy, which asks for nothing by default.
    """

    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bare: bool = False
    greedy: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1
    script: Sequence[tuple[float, ...]] = ()
    end_ms: float = 2_000
    timer_ms: float = 10
    latency: LatencyModel = LatencyModel(2 * MS, 3 * MS)  # noqa: RUF009
    partial: bool = False
    capital: float = 100_000.0
    start_ts: int = START_TS
    equity_ms: float = 100
    max_wakes: int = 100_000


def rule_of(name: str, settings: Mapping[str, Any]) -> RiskRule:
    """Return the built-in rule `name`."""
    component = discover().registry.get(Kind.RISK, name)
    built: RiskRule = component.build(component.config_class(**settings))
    return built


def chain(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, RiskRule]:
    """All rules by name, in chain order."""
    return {name: rule_of(name, OFF[name] | dict(settings.get(name, {}))) for name in OFF}


@cache
def program(bare: bool) -> Program:
    """Return the compiled loop."""
    kernels = Kernels(on_timer="greedy_kernels:on_timer", on_order="greedy_kernels:on_order")
    rules = () if bare else chain({}).values()
    return build_program(KernelSet(kernels, [rule.kernels for rule in rules], "probe_kernels:one"))


def session_of(feeds: Sequence[SmallFeed], setup: Setup) -> tuple[Session, Any]:
    """Return a session and the state of its strategy."""
    kind = ExchangeKind.PARTIAL_FILL if setup.partial else ExchangeKind.NO_PARTIAL_FILL
    markets = [
        Market(
            Instrument(f"TEST{index}", 0.5, 0.25),
            [feed.events()],
            setup.latency,
            QueueModel(QueueKind.RISK_AVERSE),
            ExchangeModel(kind),
            FeeSchedule(),
            low_px=80.0,
            high_px=120.0,
            swept_low_px=80.0,
            swept_high_px=120.0,
        )
        for index, feed in enumerate(feeds)
    ]
    rules = () if setup.bare else chain(setup.rules).values()
    instruments = [market.instrument for market in markets]
    state = record(gk.STATE, draw=setup.seed)
    records = Records(
        params=record(gk.PARAMS, start_ts=setup.start_ts, **GREEDY | dict(setup.greedy)),
        state=state,
        work=np.array([*setup.script, (0.0,) * 9]),
        rules=tuple(RuleRecords(r.params(instruments), r.state(instruments), r.config) for r in rules),
        sizing=(rule_state(), rule_state()),
        slippage=rule_state(),
    )
    end_ts = setup.start_ts + int(setup.end_ms * MS)
    clocking = Clocking(setup.start_ts, end_ts, int(setup.timer_ms * MS), int(setup.equity_ms * MS))
    return Session(markets, program(setup.bare), clocking, records, AccountTerms(setup.capital)), state


def run(feeds: Sequence[SmallFeed], **settings: Any) -> Outcome:
    """Run to the end; `settings` are those of `Setup`."""
    setup = Setup(**settings)
    return collect(*session_of(feeds, setup), setup.max_wakes)


def events_of(done: Outcome) -> list[tuple[float, str, str]]:
    """(ms since the start, rule, event) of each row of the risk events."""
    names, start_ts = list(OFF), int(done.session.arrays.clock[0]["start_ts"])
    return [
        ((int(row["local_ts"]) - start_ts) / MS, names[row["rule"]], RiskEvent(row["event"]).name)
        for row in done.tables["risk_events"]
    ]


@dataclass
class Books:
    """Positions and working orders as they are after a row of the orders table."""

    position_qty: dict[int, float] = field(default_factory=dict)
    working: dict[int, dict[str, Any]] = field(default_factory=dict)

    def worst_qty(self, asset: int, side: int) -> float:
        """Position if all that works on a side were filled."""
        rest = sum(w["leaves_qty"] for w in self.working.values() if (w["asset"], w["side"]) == (asset, side))
        return self.position_qty.get(asset, 0.0) + side * float(rest)

    def gross_qty(self, count: int = 3) -> float:
        """Sum of the worst absolute positions."""
        return sum(max(abs(self.worst_qty(a, 1)), abs(self.worst_qty(a, -1))) for a in range(count))

    def net_qty(self, side: int, count: int = 3) -> float:
        """Sum of positions if all that works on a side were filled, positive towards that side."""
        return side * sum(self.worst_qty(asset, side) for asset in range(count))


def walk(done: Outcome) -> Iterator[tuple[Any, Books, Books]]:
    """Yield each row of the orders table with what was before it and what is after it."""
    books = Books()
    finished = (E.FILLED, E.CANCELLED, E.EXPIRED, E.REJECTED)
    for row in done.tables["orders"]:
        before = Books(dict(books.position_qty), {key: dict(w) for key, w in books.working.items()})
        asset, order_id = int(row["asset"]), int(row["order_id"])
        if row["event"] == E.SUBMITTED:
            books.working[order_id] = {
                name: row[name] for name in ("asset", "side", "px", "leaves_qty", "tag")
            }
        elif row["event"] in (E.FILLED, E.PARTIALLY_FILLED):
            filled = books.working[order_id]["leaves_qty"] - row["leaves_qty"]
            books.position_qty[asset] = books.position_qty.get(asset, 0.0) + row["side"] * float(filled)
        if row["event"] in finished:
            del books.working[order_id]
        elif order_id in books.working:
            books.working[order_id]["leaves_qty"], books.working[order_id]["px"] = (
                row["leaves_qty"],
                row["px"],
            )
        yield row, before, books


def increases(row: Any, before: Books) -> bool:
    """Whether a SUBMITTED row could increase a position."""
    asset, side = int(row["asset"]), int(row["side"])
    worst = before.worst_qty(asset, side) + side * float(row["qty"])
    return before.position_qty.get(asset, 0.0) * side >= 0 or worst * side > 1e-9


def submissions(done: Outcome) -> Iterator[tuple[Any, Books, Books]]:
    """Rows of orders that the strategy, not the risk engine, has sent."""
    return (step for step in walk(done) if step[0]["event"] == E.SUBMITTED and step[0]["tag"] != Tag.RISK)


def still_book(until_ms: int = 2_200, *, start_ms: int = -10, qty: float = 10.0, asset: int = 0) -> SmallFeed:
    """A book of 99.5 to 100.5 that does not move, with trades on both sides that fill what rests at it."""
    feed = SmallFeed()
    for at in range(start_ms, until_ms + 1, 10):
        feed.book(at * MS, bid_px=99.5, ask_px=100.5, qty=qty)
        side = 1 if (at // 10 + asset) % 2 else -1
        feed.trade(at * MS, side, 100.5 if side > 0 else 99.5, 50.0)
        if at % 30 == 0:  # prints through what rests behind the touch
            feed.trade(at * MS, side, 102.0 if side > 0 else 98.0, 50.0)
    return feed


def stepped_book(
    mids: Sequence[tuple[float, float]], *, start_ms: int = 0, until_ms: int = 500, bid_qty: float = 10.0
) -> SmallFeed:
    """A book whose mid is, from each given ms after `start_ms` on, at a given price.

    The spread is 1.0, 10 are offered, and it is told every 10 ms.
    """
    feed = SmallFeed()
    steps, bid = list(mids), 0.0
    for at in range(-10, until_ms + 1, 10):
        ns = (start_ms + at) * MS
        if steps and (steps[0][0] <= at or bid == 0):
            if bid:
                feed.level(ns, 1, bid, 0.0).level(ns, -1, bid + 1.0, 0.0)
            bid = steps.pop(0)[1] - 0.5
        feed.level(ns, 1, bid, bid_qty).level(ns, -1, bid + 1.0, 10.0)
    return feed
