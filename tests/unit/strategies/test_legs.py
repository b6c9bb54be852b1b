"""Order work of several legs on a desk: maker orders, chasing, giving up, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from desk_runs import run_on_desk

from bt_framework.engine import leg_kernels as legs
from bt_framework.engine.legs import Execution, LegsConfig, legs_fields
from bt_framework.engine.strategy import params_record
from bt_framework.errors import ConfigError
from bt_framework.records import OrderType, Tag, record
from bt_framework.records import SignalKind as S
from bt_framework.results.run import Instrument
from bt_framework.testing.desk import Desk
from bt_plugins.strategies.bollinger_pairs import BollingerPairs, BollingerPairsStrategy, Hedge

THREE = (Instrument("A", 0.5, 0.1), Instrument("B", 0.5, 0.1), Instrument("C", 0.5, 0.1))


@pytest.fixture
def desk() -> Desk:
    """Three instruments at 100, in plain Python."""
    desk = Desk(THREE, plain=True)
    for asset in range(3):
        desk.quote(asset, bid_px=99.5, ask_px=100.5)
    return desk


def plain(kernel: Any) -> Any:
    from bt_framework.jit import PlainForms

    return PlainForms().of(kernel)


def state(**values: Any) -> Any:
    s = record(np.dtype(legs_fields(3)), direction=1, kind=int(S.ENTER), armed=1, **values)
    s.target_qty[:] = [1.0, -2.0, 3.0]
    return s


P = params_record(LegsConfig(chase_after_ns="2s", sample_ns=0))


def asked_at(desk: Desk, s: Any, seconds: float) -> list[tuple[int, int, int]]:
    """(asset, order type, tag) of what is asked for."""
    s.decided_ts = int(desk.clock[0]["start_ts"])
    desk.at(seconds)
    desk.begin()
    plain(legs.work_legs)(desk.market, desk.account, desk.out, s, P)
    return [(int(i["asset"]), int(i["order_type"]), int(i["tag"])) for i in desk.intents]


def test_all_legs_rest_first_and_those_that_lag_take_when_another_is_done(desk: Desk) -> None:
    s = state()
    rest = [(asset, OrderType.LIMIT, Tag.ENTRY) for asset in range(3)]
    assert asked_at(desk, s, 1.0) == rest
    assert asked_at(desk, s, 100.0) == rest  # none is done: nothing to hurry for
    desk.hold(1, -2.0)
    assert asked_at(desk, s, 1.0) == [rest[0], rest[2]]
    assert asked_at(desk, s, 2.0) == [(asset, OrderType.MARKET, Tag.CHASE) for asset in (0, 2)]


def test_a_part_of_the_legs_is_no_position_to_keep(desk: Desk) -> None:
    s = state()
    desk.hold(1, -2.0)
    assert asked_at(desk, s, 6.0) == [(1, OrderType.MARKET, Tag.STOP)]
    assert (s.direction, s.kind, s.armed, s.stopped) == (0, S.STOP, 0, 1)
    assert s.target_qty.tolist() == [0.0, 0.0, 0.0]


def test_legs_that_are_all_there_ask_for_nothing(desk: Desk) -> None:
    for asset, qty in enumerate((1.0, -2.0, 3.0)):
        desk.hold(asset, qty)
    assert asked_at(desk, state(), 100.0) == []


def test_a_refusal_is_recorded_once_and_only_while_flat(desk: Desk) -> None:
    note = plain(legs.record_refusal)
    s = state(refused=1)
    note(desk.market, desk.account, desk.out, s)
    assert len(desk.signals) == 0  # a position is held
    s.direction, s.target_qty[:] = 0, 0.0
    order = desk.work(0, 1, 99.5, 1.0)
    note(desk.market, desk.account, desk.out, s)
    assert len(desk.signals) == 0  # an order works
    assert order
    desk.forget_orders()
    desk.hold(2, 0.1)
    note(desk.market, desk.account, desk.out, s)
    assert len(desk.signals) == 0  # a leg is not closed yet
    desk.hold(2, 0.0)
    for _ in range(2):
        note(desk.market, desk.account, desk.out, s)
    assert desk.signals["kind"].tolist() == [S.REFUSED]
    assert s.refused == 2


def test_a_price_is_missing_while_a_book_is_one_sided_or_crossed(desk: Desk) -> None:
    px = plain(legs.sample_px)
    assert px(desk.market, 0, P) == 100.0
    for bid_px, ask_px in ((np.nan, 100.5), (99.5, np.nan), (100.5, 100.5), (101.0, 100.0)):
        desk.quote(0, bid_px=bid_px, ask_px=ask_px)
        assert np.isnan(px(desk.market, 0, P))


def test_all_is_closed_at_the_last_sample_before_the_end() -> None:
    noise = np.random.default_rng(1).normal(size=40)
    closes = np.column_stack([100.0 + noise, np.full(40, 100.0)])
    config = BollingerPairs(hedge=Hedge.fixed, hedge_ratio=1.0, window=5, warmup=5, entry_z=0.2)
    # The run ends ten samples after the last close: nothing is to be closed; then, right after it.
    kept = run_on_desk(BollingerPairsStrategy(config), closes)
    assert kept.signals[-1][1] != S.FLATTEN
    closed = run_on_desk(BollingerPairsStrategy(config), closes, ends_after=1.0)
    assert closed.signals[-1] == (39, S.FLATTEN, 0)
    assert not closed.positions[-1].any()
    held = BollingerPairs(**{**vars(config), "flat_at_end": False})
    assert run_on_desk(BollingerPairsStrategy(held), closes, ends_after=1.0).positions[-1].any()


@pytest.mark.parametrize("execution", list(Execution))
def test_durations_must_not_be_negative(execution: Execution) -> None:
    with pytest.raises(ConfigError, match="chase_after_ns must be >= 0, was -1"):
        LegsConfig(execution=execution, chase_after_ns=-1)
