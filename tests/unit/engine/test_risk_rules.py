"""Decisions of the built-in risk rules, by hand on a desk without an engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bt_framework.errors import ConfigError
from bt_framework.plugin_manager import discover
from bt_framework.records import INTENT, IntentKind, RiskAction, record
from bt_framework.registry import Kind
from bt_framework.results.run import Instrument
from bt_framework.testing.contracts import load
from bt_framework.testing.desk import Desk

BUY, SELL = 1, -1
HOUR_NS = 3_600_000_000_000
PAIR = (Instrument("A", 0.5, 0.1), Instrument("B", 0.01, 1.0, 10.0))


@pytest.fixture
def desk() -> Desk:
    """A desk with two markets: 100, and 5 x 10."""
    desk = Desk(PAIR)
    desk.quote(0, bid_px=99.5, ask_px=100.5)
    desk.quote(1, bid_px=4.99, ask_px=5.01)
    return desk


class Rule:
    """A built-in rule with its records."""

    def __init__(self, name: str, **settings: Any) -> None:
        component = discover().registry.get(Kind.RISK, name)
        built = component.build(component.config_class(**settings))
        self.p, self.s = built.params(PAIR), built.state(PAIR)
        self._kernels = {kind: load(k) for kind, k in vars(built.kernels).items() if k}

    def allow(self, desk: Desk, intent: Any) -> bool:
        """Ask about an intent."""
        return bool(self._kernels["allow"](desk.market, desk.account, intent, self.p, self.s))

    def watch(self, desk: Desk) -> bool:
        """Ask about the account."""
        return bool(self._kernels["watch"](desk.market, desk.account, self.p, self.s))

    @property
    def said(self) -> tuple[float, float]:
        """Value and limit."""
        return float(self.s.value), float(self.s.limit)


def new(asset: int, side: int, qty: float, px: float = math.nan, **values: Any) -> Any:
    """A new intent; its price is the first instrument's bid or the second's mid if none is given."""
    px = (99.5, 5.0)[asset] if math.isnan(px) else px
    fields = {"kind": IntentKind.NEW, "order_id": 99} | values
    return record(INTENT, asset=asset, side=side, px=px, qty=qty, **fields)


def set_up(desk: Desk, positions: Mapping[int, float], works: list[tuple[int, int, float, float]]) -> None:
    """Hold positions that were paid at mid, and let orders (asset, side, price, quantity) work."""
    for asset, qty in positions.items():
        desk.hold(asset, qty)
        desk.ledger[asset]["cash"] = -qty * (100.0, 50.0)[asset]
    for asset, side, px, qty in works:
        desk.work(asset, side, px, qty)


AT_10 = {"limit_notional": 1_000.0}
CASES: list[tuple[str, dict[str, Any], dict[int, float], list[Any], Any, float, bool]] = [
    # name, settings, positions, working orders, intent, value, answer
    ("max_position", AT_10, {}, [], new(0, BUY, 10.0), 1_000.0, True),
    ("max_position", AT_10, {}, [], new(0, BUY, 10.1), 1_010.0, False),
    ("max_position", AT_10, {}, [], new(0, SELL, 10.1), 1_010.0, False),
    ("max_position", AT_10, {0: 6.0}, [], new(0, BUY, 4.0), 1_000.0, True),
    ("max_position", AT_10, {0: 6.0}, [], new(0, BUY, 4.1), 1_010.0, False),
    ("max_position", AT_10, {}, [(0, BUY, 99.0, 6.0)], new(0, BUY, 4.1), 1_010.0, False),
    ("max_position", AT_10, {}, [(0, SELL, 101.0, 6.0)], new(0, BUY, 10.0), 1_000.0, True),
    ("max_position", AT_10, {0: 50.0}, [], new(0, SELL, 50.0), 0.0, True),
    ("max_position", AT_10, {0: 50.0}, [], new(0, SELL, 61.0), 1_100.0, False),
    ("max_position", AT_10, {0: 50.0}, [], new(0, SELL, 10.0), 4_000.0, True),
    ("max_position", AT_10, {0: -50.0}, [(0, BUY, 99.0, 20.0)], new(0, BUY, 30.0), 0.0, True),
    ("max_position", AT_10, {1: 5.0}, [], new(1, BUY, 15.0), 1_000.0, True),
    ("max_position", AT_10 | {"by_symbol": {"B": 900.0}}, {}, [], new(1, BUY, 19.0), 950.0, False),
    ("max_position", AT_10 | {"by_symbol": {"B": 900.0}}, {}, [], new(0, BUY, 9.5), 950.0, True),
    ("max_gross_exposure", AT_10, {0: 5.0}, [], new(1, SELL, 10.0), 1_000.0, True),
    ("max_gross_exposure", AT_10, {0: 5.0}, [], new(1, SELL, 11.0), 1_050.0, False),
    (
        "max_gross_exposure",
        AT_10,
        {0: -5.0, 1: 8.0},
        [(0, SELL, 101.0, 1.0)],
        new(1, BUY, 1.0),
        1_050.0,
        False,
    ),
    ("max_gross_exposure", AT_10, {0: 20.0}, [], new(0, SELL, 20.0), 2_000.0, True),
    ("max_gross_exposure", AT_10, {0: 2.0}, [(0, SELL, 101.0, 9.0)], new(1, BUY, 6.0), 1_000.0, True),
    ("max_net_exposure", AT_10, {0: 15.0, 1: -20.0}, [], new(0, BUY, 5.0), 1_000.0, True),
    ("max_net_exposure", AT_10, {0: 15.0, 1: -20.0}, [], new(0, BUY, 5.1), 1_010.0, False),
    ("max_net_exposure", AT_10, {0: 15.0}, [], new(1, SELL, 10.0), -1_000.0, True),
    ("max_net_exposure", AT_10, {0: 15.0}, [], new(1, SELL, 51.0), 1_050.0, False),
    ("max_net_exposure", AT_10, {0: 15.0}, [(0, SELL, 101.0, 25.0)], new(1, SELL, 1.0), 1_050.0, False),
    ("max_net_exposure", AT_10, {0: 12.0, 1: -24.0}, [], new(0, SELL, 12.0), 1_200.0, False),
    ("max_leverage", {"limit_leverage": 2.0}, {0: 1_000.0}, [], new(1, SELL, 2_000.0), 2.0, True),
    ("max_leverage", {"limit_leverage": 2.0}, {0: 1_000.0}, [], new(1, SELL, 2_020.0), 2.01, False),
    ("max_leverage", {"limit_leverage": 2.0}, {0: 3_000.0}, [], new(0, SELL, 10.0), 3.0, True),
    ("max_order_qty", {"limit_qty": 2.0}, {}, [], new(0, BUY, 2.0), 2.0, True),
    ("max_order_qty", {"limit_qty": 2.0}, {}, [], new(0, SELL, 2.1), 2.1, False),
    ("max_order_qty", {"limit_qty": 2.0, "by_symbol": {"B": 9.0}}, {}, [], new(1, SELL, 9.0), 9.0, True),
    ("max_order_notional", AT_10, {}, [], new(0, BUY, 10.0, 100.0), 1_000.0, True),
    ("max_order_notional", AT_10, {}, [], new(0, BUY, 10.1, 100.0), 1_010.0, False),
    ("max_order_notional", AT_10, {}, [], new(0, BUY, 9.9, 102.0), 1_009.8, False),
    ("max_order_notional", AT_10, {}, [], new(0, SELL, 11.0, 1.0), 1_100.0, False),
    ("max_order_notional", AT_10, {}, [], new(1, BUY, 20.0), 1_000.0, True),
    ("max_order_notional", AT_10 | {"by_symbol": {"B": 500.0}}, {}, [], new(1, BUY, 20.0), 1_000.0, False),
    ("price_collar", {"limit_bps": 50.0}, {}, [], new(0, BUY, 1.0, 100.5), 50.0, True),
    ("price_collar", {"limit_bps": 50.0}, {}, [], new(0, BUY, 1.0, 101.0), 100.0, False),
    ("price_collar", {"limit_bps": 50.0}, {}, [], new(0, SELL, 1.0, 99.0), 100.0, False),
    ("price_collar", {"limit_bps": 0.0, "limit_ticks": 3.0}, {}, [], new(0, BUY, 1.0, 98.5), 3.0, True),
    ("price_collar", {"limit_bps": 0.0, "limit_ticks": 3.0}, {}, [], new(0, BUY, 1.0, 98.0), 4.0, False),
    ("price_collar", {"limit_bps": 500.0, "limit_ticks": 3.0}, {}, [], new(0, BUY, 1.0, 98.0), 4.0, False),
    ("price_collar", {"limit_bps": 50.0, "limit_ticks": 9.0}, {}, [], new(0, BUY, 1.0, 98.0), 200.0, False),
    ("max_open_orders", {"limit_orders": 2}, {}, [(1, BUY, 4.9, 1.0)], new(0, BUY, 1.0), 1.0, True),
    ("max_open_orders", {"limit_orders": 1}, {}, [(1, BUY, 4.9, 1.0)], new(0, BUY, 1.0), 2.0, False),
    ("max_open_orders", {"limit_per_instrument": 1}, {}, [(1, BUY, 4.9, 1.0)], new(0, BUY, 1.0), 1.0, True),
    ("max_open_orders", {"limit_per_instrument": 1}, {}, [(0, BUY, 99.0, 1.0)], new(0, BUY, 1.0), 2.0, False),
    ("max_open_orders", {"by_symbol": {"B": 1}}, {}, [(1, BUY, 4.9, 1.0)], new(1, SELL, 1.0), 2.0, False),
    ("max_open_positions", {"limit_positions": 1}, {}, [], new(0, BUY, 1.0), 1.0, True),
    ("max_open_positions", {"limit_positions": 1}, {1: 1.0}, [], new(0, BUY, 1.0), 2.0, False),
    ("max_open_positions", {"limit_positions": 1}, {}, [(1, BUY, 4.9, 1.0)], new(0, BUY, 1.0), 2.0, False),
    ("max_open_positions", {"limit_positions": 1}, {0: 1.0, 1: 1.0}, [], new(0, BUY, 1.0), 2.0, True),
    ("self_cross", {}, {}, [(0, SELL, 100.0, 1.0)], new(0, BUY, 1.0, 99.5), 99.5, True),
    ("self_cross", {}, {}, [(0, SELL, 100.0, 1.0)], new(0, BUY, 1.0, 100.0), 100.0, False),
    ("self_cross", {}, {}, [(0, BUY, 100.0, 1.0)], new(0, SELL, 1.0, 99.5), 99.5, False),
    ("self_cross", {}, {}, [(0, BUY, 100.0, 1.0)], new(0, SELL, 1.0, 100.5), 100.5, True),
    ("self_cross", {}, {}, [(0, BUY, 100.0, 1.0)], new(0, BUY, 1.0, 101.0), 101.0, True),
    ("self_cross", {}, {}, [(1, SELL, 4.9, 1.0)], new(0, BUY, 1.0, 100.0), 100.0, True),
    (
        "self_cross",
        {},
        {},
        [(0, SELL, 102.0, 1.0), (0, SELL, 101.0, 1.0)],
        new(0, BUY, 1.0, 101.5),
        101.5,
        False,
    ),
]


@pytest.mark.parametrize(("name", "settings", "positions", "works", "intent", "value", "answer"), CASES)
def test_decisions_by_hand(
    desk: Desk,
    name: str,
    settings: dict[str, Any],
    positions: dict[int, float],
    works: list[Any],
    intent: Any,
    value: float,
    answer: bool,
) -> None:
    set_up(desk, positions, works)
    rule = Rule(name, **settings)
    assert rule.allow(desk, intent) == answer
    assert rule.said[0] == pytest.approx(value)


def test_a_modify_replaces_the_order_that_it_changes(desk: Desk) -> None:
    order_id = desk.work(0, BUY, 99.5, 8.0)
    modify = new(0, BUY, 8.0, 99.0, kind=IntentKind.MODIFY, order_id=order_id)
    another = new(0, BUY, 8.0, 99.0)
    for name in ("max_position", "max_gross_exposure", "max_net_exposure"):
        rule = Rule(name, **AT_10)
        assert rule.allow(desk, modify)
        assert not rule.allow(desk, another)
    assert Rule("max_open_orders", limit_orders=1).allow(desk, modify)
    assert not Rule("max_open_orders", limit_orders=1).allow(desk, another)


def test_the_worst_case_has_no_lots_too_many_by_rounding(desk: Desk) -> None:
    set_up(desk, {0: -0.3}, [(0, BUY, 99.0, 0.1), (0, BUY, 99.0, 0.1)])
    rule = Rule("max_position", limit_notional=1e-9)
    assert rule.allow(desk, new(0, BUY, 0.1))
    assert not rule.allow(desk, new(0, BUY, 0.2))
    assert 0.1 + 0.2 > 0.3


@pytest.mark.parametrize("name", ["price_collar"])
def test_without_a_mid_every_price_is_infinitely_far(desk: Desk, name: str) -> None:
    desk.quote(0, bid_px=math.nan, ask_px=100.5)
    for settings in ({"limit_bps": 1e9}, {"limit_bps": 0.0, "limit_ticks": 1e9}):
        rule = Rule(name, **settings)
        assert not rule.allow(desk, new(0, BUY, 1.0, 100.0))
        assert rule.said[0] == math.inf


def test_without_a_mid_the_last_one_counts_then_the_price_of_entry_or_order(desk: Desk) -> None:
    desk.quote(0, bid_px=math.nan, ask_px=100.5)
    rule = Rule("max_position", **AT_10)
    rule.allow(desk, new(0, BUY, 1.0, 90.0))
    assert rule.said[0] == 90.0
    desk.ledger[0]["average_px"] = 80.0
    rule.allow(desk, new(0, BUY, 1.0, 90.0))
    assert rule.said[0] == 80.0
    desk.ledger[0]["mark_px"] = 70.0
    rule.allow(desk, new(0, BUY, 1.0, 90.0))
    assert rule.said[0] == 70.0


def test_orders_meet_the_new_price_of_an_order_that_is_being_modified(desk: Desk) -> None:
    desk.work(0, SELL, 102.0, 1.0, request=int(IntentKind.MODIFY), new_px=101)
    assert not Rule("self_cross").allow(desk, new(0, BUY, 1.0, 101.0))
    assert Rule("self_cross").allow(desk, new(0, BUY, 1.0, 100.5))
    desk.forget_orders()
    desk.work(0, SELL, 101.0, 1.0, request=int(IntentKind.MODIFY), new_px=105)
    assert not Rule("self_cross").allow(desk, new(0, BUY, 1.0, 101.0))


def test_a_modify_does_not_cross_itself(desk: Desk) -> None:
    order_id = desk.work(0, SELL, 101.0, 1.0)
    modify = new(0, SELL, 1.0, 100.0, kind=IntentKind.MODIFY, order_id=order_id)
    assert Rule("self_cross").allow(desk, modify)


def test_the_bucket_gives_its_tokens_and_fills_again_with_time(desk: Desk) -> None:
    rule = Rule("order_rate", rate_per_s=10.0, burst=3)
    order = new(0, BUY, 1.0)
    answers = []
    for seconds in (0.0, 0.0, 0.0, 0.0, 0.05, 0.1, 0.1, 0.2, 5.0, 5.0, 5.0, 5.0):
        desk.at(seconds)
        answers.append(rule.allow(desk, order))
    full = [True, True, True, False]
    assert answers == [*full, False, True, False, True, *full]
    assert rule.said == (4.0, 3.0)


@pytest.mark.parametrize(("pnl", "wait_s"), [(5.0, 10.0), (-5.0, 60.0)])
def test_after_an_exit_a_position_may_be_opened_when_the_pause_is_over(
    desk: Desk, pnl: float, wait_s: float
) -> None:
    rule = Rule("cooldown", after_exit_ns="10s", after_loss_ns="60s")
    assert rule.allow(desk, new(0, BUY, 1.0))
    desk.at(100.0)
    desk.ledger[0]["last_exit_ts"], desk.ledger[0]["last_exit_pnl"] = desk.clock[0]["now_ts"], pnl
    desk.at(100.0 + wait_s - 1e-9)
    assert not rule.allow(desk, new(0, BUY, 1.0))
    assert rule.said == (wait_s * 1e9 - 1, wait_s * 1e9)
    assert rule.allow(desk, new(1, BUY, 1.0))
    desk.hold(0, -1.0)
    assert rule.allow(desk, new(0, BUY, 1.0))
    assert not rule.allow(desk, new(0, BUY, 1.1))
    desk.at(100.0 + wait_s)
    assert rule.allow(desk, new(0, BUY, 1.1))


WEEK = [
    # hours since Monday 00:00, whether one may trade in mon-fri 09:30-16:00 and sun 18:00-01:00
    (9.49, False, 9.5),
    (9.5, True, None),
    (15.99, True, None),
    (16.0, False, 33.5),
    (4 * 24 + 15.9, True, None),
    (4 * 24 + 16.0, False, 6 * 24 + 18.0),
    (5 * 24 + 10.0, False, 6 * 24 + 18.0),
    (6 * 24 + 18.0, True, None),
    (6 * 24 + 23.9, True, None),
    (0.0, True, None),
    (0.99, True, None),
    (1.0, False, 9.5),
]


@pytest.mark.parametrize("offset_h", [0, -5, 10.5])
@pytest.mark.parametrize(("hour", "inside", "opens"), WEEK)
def test_windows_are_of_the_local_week_and_may_end_on_the_next_day(
    desk: Desk, hour: float, inside: bool, opens: float | None, offset_h: float
) -> None:
    rule = Rule("trading_windows", windows=["mon-fri 09:30-16:00", "sun 18:00-01:00"])
    rule.s.utc_offset_ns = int(offset_h * HOUR_NS)
    desk.at((hour - offset_h + 24 * 7) * 3_600)  # a desk's time begins on a Monday
    assert rule.watch(desk) == (not inside)
    assert rule.said[0] == pytest.approx(hour)
    if opens is not None:
        assert rule.said[1] == pytest.approx(opens)


def lose(desk: Desk, amount: float) -> None:
    """Let the account's profit since the start be minus an amount."""
    desk.ledger[0]["cash"] = -amount


def test_the_loss_of_a_day_counts_from_its_first_look_and_a_new_day_begins_anew(desk: Desk) -> None:
    rule = Rule("daily_loss", limit_notional=500.0, limit_frac=0.01)
    answers = []
    for day, loss in ((0, 0.0), (0, 499.0), (0, 500.0), (1, 500.0), (1, 999.0), (1, 1_000.0), (1, 200.0)):
        rule.s.day_start_ts = day
        lose(desk, loss)
        answers.append((rule.watch(desk), rule.said[0]))
    assert answers == [
        (False, 0.0),
        (False, 499.0),
        (True, 500.0),
        (False, 0.0),
        (False, 499.0),
        (True, 500.0),
        (False, -300.0),
    ]
    rule = Rule("daily_loss", limit_notional=5_000.0, limit_frac=0.01)
    rule.watch(desk)
    assert rule.said[1] == 1_000.0  # of a capital of 100,000


def test_a_drawdown_is_from_the_peak_which_starts_anew_when_trading_resumes(desk: Desk) -> None:
    rule = Rule("max_drawdown", limit_frac=0.1)
    answers = []
    for loss in (0.0, -20_000.0, -9_000.0, -8_000.0, -8_000.0):
        lose(desk, loss)
        answers.append((rule.watch(desk), *rule.said))
    assert answers == [
        (False, 0.0, 10_000.0),
        (False, 0.0, 12_000.0),
        (False, 11_000.0, 12_000.0),
        (True, 12_000.0, 12_000.0),
        (True, 12_000.0, 12_000.0),
    ]
    rule.s.resumed = 1
    assert not rule.watch(desk)
    assert rule.said == (0.0, pytest.approx(10_800.0))
    assert rule.s.resumed == 0
    lose(desk, 0.0)
    assert not rule.watch(desk)
    assert rule.said[0] == 8_000.0


def test_leverage_is_gross_exposure_over_equity_and_infinite_without_equity(desk: Desk) -> None:
    rule = Rule("max_leverage", limit_leverage=2.0)
    set_up(desk, {0: 1_000.0, 1: -2_000.0}, [])
    desk.ledger["cash"] = [-100_000.0, 100_000.0]
    assert (rule.watch(desk), rule.said) == (False, (2.0, 2.0))
    lose(desk, 100_100.0)
    assert rule.watch(desk)
    lose(desk, 300_000.0)
    assert (rule.watch(desk), rule.said[0]) == (True, math.inf)
    desk.hold(0, 0.0)
    desk.hold(1, 0.0)
    assert (rule.watch(desk), rule.said[0]) == (False, 0.0)


def test_leverage_of_inverse_contracts_is_in_their_settlement_currency() -> None:
    desk = Desk([Instrument("X", 0.5, 1.0, 100.0, inverse=True)], capital=2.0)
    desk.quote(0, bid_px=49_999.5, ask_px=50_000.5)
    component = discover().registry.get(Kind.RISK, "max_leverage")
    rule = component.build(component.config_class(limit_leverage=2.0))
    p, s = rule.params(()), rule.state(())
    desk.hold(0, -1_000.0)  # 1,000 x 100 / 50,000 = 2 of the base currency
    desk.ledger[0]["cash"] = -2.0
    assert not load(rule.kernels.watch)(desk.market, desk.account, p, s)
    assert s.value == pytest.approx(1.0)


def test_a_streak_of_losses_is_forgiven_when_trading_resumes_and_ended_by_a_profit(desk: Desk) -> None:
    rule = Rule("loss_streak", limit_exits=2)
    answers = []
    for losing, resumed in ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (4, 0), (0, 0), (1, 0), (2, 0)):
        desk.clock[0]["losing_exits"] = losing
        rule.s.resumed = resumed
        answers.append((rule.watch(desk), rule.said[0]))
    assert answers == [
        (False, 0.0),
        (False, 1.0),
        (True, 2.0),
        (False, 0.0),
        (False, 1.0),
        (True, 2.0),
        (False, 0.0),
        (False, 1.0),
        (True, 2.0),
    ]


BAD = [
    ("max_position", {"limit_notional": 0.0}, "limit_notional must be > 0 and finite, was 0.0."),
    ("max_position", {"by_symbol": {"A": -1.0}}, "by_symbol.A must be > 0 and finite, was -1.0."),
    ("max_order_qty", {"limit_qty": math.nan}, "limit_qty must be > 0 and finite, was nan."),
    ("max_gross_exposure", {"limit_notional": -1.0}, "limit_notional must be > 0, was -1.0."),
    ("max_net_exposure", {"limit_notional": 0.0}, "limit_notional must be > 0, was 0.0."),
    ("max_leverage", {"limit_leverage": 0.0}, "limit_leverage must be > 0, was 0.0."),
    ("max_open_positions", {"limit_positions": 0}, "limit_positions must be > 0, was 0."),
    ("max_open_orders", {"limit_orders": 0}, "limit_orders must be > 0, was 0."),
    ("max_open_orders", {"by_symbol": {"A": 0}}, "by_symbol.A must be > 0 and finite, was 0."),
    ("order_rate", {"rate_per_s": 0.0}, "rate_per_s must be > 0, was 0.0."),
    ("order_rate", {"burst": 0}, "burst must be > 0, was 0."),
    ("price_collar", {"limit_bps": -1.0}, "limit_bps must be >= 0, was -1.0."),
    ("price_collar", {"limit_bps": 0.0}, "limit_bps or limit_ticks must be > 0, both were 0."),
    ("cooldown", {"after_loss_ns": -1}, "after_loss_ns must be >= 0, was -1."),
    ("daily_loss", {"limit_frac": 0.0}, "limit_notional or limit_frac must be > 0, both were 0."),
    ("max_drawdown", {"limit_notional": -5.0}, "limit_notional must be >= 0, was -5.0."),
    ("loss_streak", {"limit_exits": 0}, "limit_exits must be > 0, was 0."),
    ("trading_windows", {"windows": []}, "windows must have a window, was []."),
    (
        "trading_windows",
        {"windows": ["9-17"]},
        "windows must be like 'mon-fri 09:30-16:00' or 'sun 18:00-24:00'",
    ),
    ("trading_windows", {"windows": ["mon 09:61-10:00"]}, "was 'mon 09:61-10:00'"),
    ("trading_windows", {"windows": ["mun 09:00-10:00"]}, "Days: mon, tue, wed, thu, fri, sat, sun."),
    (
        "trading_windows",
        {"windows": ["mon-sun 01:00-02:00"] * 10},
        "windows must be at most 64, one for each day",
    ),
    ("cooldown", {"resume_after_ns": -1}, "resume_after_ns must be >= 0, was -1."),
    ("cooldown", {"time_zone": "Mars/Base"}, "time_zone must be an IANA time zone, was 'Mars/Base'."),
    (
        "cooldown",
        {"action": RiskAction.HALT_FOR_DAY, "resume_after_ns": 5},
        "resume_after_ns must be 0 with the action HALT_FOR_DAY, was 5: it ends with the day.",
    ),
]


@pytest.mark.parametrize(("name", "settings", "text"), BAD)
def test_limits_that_make_no_sense_are_refused(name: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Rule(name, **settings)
    assert text in str(error.value)


@pytest.mark.parametrize("name", ["max_position", "max_order_qty", "max_order_notional", "max_open_orders"])
def test_a_limit_of_an_instrument_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"symbols must be one of A, B, was 'AA'\. Did you mean 'A'"):
        Rule(name, by_symbol={"AA": 1})


def test_windows_have_one_shape_for_one_compilation() -> None:
    few, many = (Rule("trading_windows", windows=["mon 01:00-02:00"] * n).p for n in (1, 20))
    assert few.dtype == many.dtype
    assert int(np.count_nonzero(many.windows_ns)) == 40
