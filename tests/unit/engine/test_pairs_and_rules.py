"""Decisions of the built-in strategies, by hand on a desk without an engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from bt_framework.engine import leg_kernels as legs
from bt_framework.engine.legs import Execution
from bt_framework.engine.strategy import params_record
from bt_framework.records import IntentKind, OrderType, Tag, record
from bt_framework.records import SignalKind as S
from bt_framework.results.run import Instrument
from bt_framework.testing.desk import Desk
from bt_plugins.strategies.market_maker import MarketMaker
from bt_plugins.strategies.market_maker import _kernels as mm
from bt_plugins.strategies.ou_pairs import OuPairs, OuPairsStrategy
from bt_plugins.strategies.ou_pairs import _kernels as ou

BUY, SELL = 1, -1
PAIR = (Instrument("A", 0.5, 0.1), Instrument("B", 0.01, 1.0, 10.0))


@pytest.fixture
def desk() -> Desk:
    """A desk with two markets: 100 and 5 x 10."""
    desk = Desk(PAIR)
    desk.quote(0, bid_px=99.5, ask_px=100.5)
    desk.quote(1, bid_px=4.99, ask_px=5.01)
    return desk


@pytest.fixture
def state() -> Any:
    """A pairs state with a hedge ratio."""
    s = OuPairsStrategy(OuPairs()).state(PAIR)
    s.hedge_ratio, s.armed = 0.8, 1
    return s


def commit(desk: Desk, s: Any, direction: int, kind: int, z: float) -> None:
    """Commit to a decision on a pair, the hedge ratio one of values."""
    legs.commit_pair((desk.market, desk.account, desk.out), s, (direction, kind, z, 0.01), s.hedge_ratio)


P = params_record(OuPairs(entry_z=2.0, exit_z=0.5, stop_z=5.0, chase_after_ns="2s"))


@pytest.mark.parametrize(
    ("direction", "z", "ready", "armed", "answer"),
    [
        (0, 2.5, 1, 1, (-1, S.ENTER)),
        (0, -2.5, 1, 1, (1, S.ENTER)),
        (0, 2.0, 1, 1, (0, 0)),
        (0, 2.5, 0, 1, (0, 0)),
        (0, 2.5, 1, 0, (0, 0)),
        (0, 5.0, 1, 1, (0, 0)),
        (0, math.nan, 1, 1, (0, 0)),
        (-1, 1.0, 1, 1, (-1, 0)),
        (-1, 0.5, 1, 1, (0, S.EXIT)),
        (-1, -3.0, 1, 1, (0, S.EXIT)),
        (-1, 5.0, 1, 1, (0, S.STOP)),
        (1, -5.0, 1, 1, (0, S.STOP)),
        (1, -0.5, 1, 1, (0, S.EXIT)),
        (1, -4.9, 0, 0, (1, 0)),
        (1, math.nan, 1, 1, (1, 0)),
    ],
)
def test_entries_exits_and_stops_by_z(
    direction: int, z: float, ready: int, armed: int, answer: tuple[int, int]
) -> None:
    assert ou.decide(direction, z, ready, armed, P) == answer
    assert getattr(ou.decide, "py_func", ou.decide)(direction, z, ready, armed, P) == answer


@pytest.mark.parametrize(
    ("qty", "ratio", "answer"), [(1.0, 0.8, 2.0), (-1.0, 0.8, -2.0), (1.0, -0.8, -2.0), (0.1, 0.8, 0.0)]
)
def test_the_second_leg_is_a_ratio_of_values_in_whole_lots(qty: float, ratio: float, answer: float) -> None:
    assert legs.hedge_qty(qty, 100.0, 5.0 * 10.0, ratio, 1.0) == answer


@pytest.mark.parametrize(
    ("waited_s", "direction", "other_done", "answer"),
    [(1.9, 1, True, False), (2.0, 1, True, True), (2.0, 1, False, False), (2.0, 0, False, True)],
)
def test_a_leg_is_late_if_the_other_is_done_or_we_want_out(
    waited_s: float, direction: int, other_done: bool, answer: bool
) -> None:
    assert legs.is_late(int(waited_s * 1e9), direction, other_done, P) == answer


def test_a_rich_spread_sells_the_first_leg_and_buys_the_second(desk: Desk, state: Any) -> None:
    desk.hold(0, 0.0, unit_qty=1.26)
    commit(desk, state, -1, int(S.ENTER), 2.5)
    assert state.target_qty.tolist() == pytest.approx([-1.2, 2.0])
    (signal,) = desk.signals
    assert (signal["kind"], signal["direction"], signal["z"], signal["hedge_ratio"]) == (
        S.ENTER,
        -1,
        2.5,
        0.8,
    )


def test_nothing_is_entered_if_a_leg_rounds_to_nothing(desk: Desk, state: Any) -> None:
    for unit in (0.09, 0.3):
        desk.hold(0, 0.0, unit_qty=unit)
        commit(desk, state, 1, int(S.ENTER), 2.5)
    assert (len(desk.signals), state.kind, state.direction) == (0, 0, 0)


def test_a_stop_disarms_and_targets_nothing(desk: Desk, state: Any) -> None:
    commit(desk, state, 0, int(S.STOP), 5.5)
    assert (state.armed, state.target_qty.tolist()) == (0, [0.0, 0.0])


@pytest.mark.parametrize(("target", "side", "px"), [(1.0, BUY, 99.5), (-1.0, SELL, 100.5)])
def test_a_leg_rests_at_the_touch(desk: Desk, state: Any, target: float, side: int, px: float) -> None:
    state.target_qty[0], state.kind = target, int(S.ENTER)
    legs.work_leg(desk.market, desk.account, desk.out, state, 0, 0)
    (intent,) = desk.intents
    assert (intent["side"], intent["px"], intent["qty"]) == (side, px, 1.0)
    assert (intent["order_type"], intent["tag"]) == (OrderType.LIMIT, Tag.ENTRY)


def test_a_leg_that_may_not_rest_takes(desk: Desk, state: Any) -> None:
    state.target_qty[0] = 1.0
    legs.work_leg(desk.market, desk.account, desk.out, state, 0, int(Tag.CHASE))
    (intent,) = desk.intents
    assert (intent["order_type"], intent["tag"], intent["qty"]) == (OrderType.MARKET, Tag.CHASE, 1.0)


def test_a_leg_does_not_rest_where_there_is_no_touch(desk: Desk, state: Any) -> None:
    desk.quote(0, bid_px=math.nan, ask_px=100.5)
    state.target_qty[0] = 1.0
    legs.work_leg(desk.market, desk.account, desk.out, state, 0, 0)
    assert len(desk.intents) == 0


@pytest.mark.parametrize(
    ("side", "px", "qty", "pending", "take", "cancelled"),
    [
        (BUY, 99.5, 1.0, 0, 0, False),
        (BUY, 99.0, 1.0, 0, 0, True),
        (SELL, 99.5, 1.0, 0, 0, True),
        (BUY, 99.5, 1.2, 0, 0, True),
        (BUY, 99.5, 1.0, 0, int(Tag.CHASE), True),
        (BUY, 99.0, 1.0, 1, 0, False),
    ],
)
def test_a_good_order_is_kept_a_bad_one_cancelled_and_nothing_sent_beside_it(
    desk: Desk, state: Any, side: int, px: float, qty: float, pending: int, take: int, cancelled: bool
) -> None:
    state.target_qty[0] = 1.0
    desk.work(0, side, px, qty, request=pending)
    legs.work_leg(desk.market, desk.account, desk.out, state, 0, take)
    assert desk.intents["kind"].tolist() == [IntentKind.CANCEL] * cancelled


@pytest.mark.parametrize("execution", list(Execution))
def test_a_leg_that_lags_is_taken_after_the_time_limit(desk: Desk, state: Any, execution: Execution) -> None:
    p = params_record(OuPairs(execution=execution, chase_after_ns="2s"))
    state.target_qty[:] = [1.0, -2.0]
    state.direction, state.kind, state.decided_ts = 1, int(S.ENTER), int(desk.clock[0]["now_ts"])
    desk.hold(0, 1.0)
    tags = []
    for seconds in (0.0, 1.9, 2.0, 6.2):
        desk.at(seconds)
        desk.begin()
        legs.work_legs(desk.market, desk.account, desk.out, state, p)
        tags.append([(int(i["asset"]), int(i["order_type"]), int(i["tag"])) for i in desk.intents])
    taken = execution is Execution.taker
    rests = (1, int(taken), int(Tag.ENTRY))
    late = (1, 1, int(Tag.ENTRY if taken else Tag.CHASE))
    # At last half a pair is given up: a stop, and the leg that was filled is sold.
    assert tags == [[rests], [rests], [late], [(0, 1, int(Tag.STOP))]]
    assert state.direction == 0


def test_the_market_maker_quotes_both_sides_around_mid_and_leans_against_its_inventory() -> None:
    desk = Desk([Instrument("A", 0.5, 0.1)])
    desk.quote(0, bid_px=999.5, ask_px=1_000.5)
    desk.hold(0, 0.0, unit_qty=1.0)
    p = params_record(MarketMaker(half_spread_bps=10.0, skew_bps=10.0, max_units=2.0))
    s = record(np.dtype([("wakes", "i8")]))
    mm.on_timer(desk.market, desk.account, desk.out, p, s, np.zeros((1, 1)))
    assert desk.intents[["side", "px"]].tolist() == [(BUY, 999.0), (SELL, 1_001.0)]
    desk.begin()
    desk.hold(0, 2.0, unit_qty=1.0)
    mm.on_timer(desk.market, desk.account, desk.out, p, s, np.zeros((1, 1)))
    assert desk.intents[["side", "px"]].tolist() == [(SELL, 1_000.0)]
    assert s.wakes == 2


@pytest.mark.parametrize(("growth", "ready"), [(0.8, 1), (1.05, 0)])
def test_a_spread_that_does_not_revert_allows_no_entries(growth: float, ready: int) -> None:
    strategy = OuPairsStrategy(OuPairs(window=100, warmup=100, reestimate_every=1))
    p, s, w = strategy.params(PAIR), strategy.state(PAIR), strategy.work(PAIR)
    s.moved[:] = 1
    noise = np.random.default_rng(1).normal(0.0, 1e-4, (2, 150))
    x = y = 0.0
    for step in range(150):
        x, y = x + noise[0, step], growth * y + noise[1, step]
        ou.estimate((y, x), s, w, p, 0.1, None)
    assert s.ready == ready
    assert (s.fit.status == 0) == bool(ready)
