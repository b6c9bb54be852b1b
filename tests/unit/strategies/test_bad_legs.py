"""Legs of which nothing can be learnt, alone in a column of closes: no trade, and a record of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from desk_runs import TICK, run_on_desk

from bt_framework.engine.legs import Execution
from bt_framework.engine.strategy import Strategy
from bt_framework.records import SignalKind as S
from bt_plugins.strategies.bollinger_pairs import BollingerPairs, BollingerPairsStrategy, Hedge
from bt_plugins.strategies.johansen_basket import JohansenBasket, JohansenBasketStrategy
from bt_plugins.strategies.ou_pairs import OuPairs, OuPairsStrategy, ThresholdMethod

RATIO = 1.3


def bollinger(hedge: Hedge, **keys: Any) -> Strategy:
    given = {"hedge": hedge, "hedge_ratio": RATIO, "warmup": 30, "flat_at_end": False}
    return BollingerPairsStrategy(BollingerPairs(**given | keys))


def ou_pairs(**keys: Any) -> Strategy:
    given = {"window": 60, "warmup": 60, "reestimate_every": 1, "sample_ns": 0, "flat_at_end": False}
    return OuPairsStrategy(OuPairs(**given | {"execution": Execution.taker, "entry_z": 1.0} | keys))


def basket(**keys: Any) -> Strategy:
    return JohansenBasketStrategy(
        JohansenBasket(weights=[1.0, -RATIO], window=20, flat_at_end=False, max_units=5.0, **keys)
    )


def walk(count: int = 300) -> np.ndarray[Any, Any]:
    return np.round(100.0 + np.cumsum(0.3 * np.random.default_rng(3).normal(size=count)), 3)


COLLINEAR = {
    "ou_pairs": lambda: ou_pairs(hedge_ratio_prior_sd=0.0, intercept_prior_sd=0.0, hedge_ratio_drift_sd=0.0),
    "fixed": lambda: bollinger(Hedge.fixed),
    "ols": lambda: bollinger(Hedge.ols),
    "weights": basket,
}
COLLINEAR_LOGS = {
    "fixed": lambda: bollinger(Hedge.fixed, hedge_ratio=1.0, log_prices=True),
    "ols": lambda: bollinger(Hedge.ols, log_prices=True),
}


@pytest.mark.parametrize("name", [*COLLINEAR, *(f"{name} of logs" for name in COLLINEAR_LOGS)])
def test_legs_that_are_collinear_but_for_their_ticks_are_not_traded(name: str) -> None:
    x = walk()
    y = np.round(RATIO * x / TICK) * TICK
    assert 0 < np.abs(y - RATIO * x).max() <= 0.51 * TICK
    make = COLLINEAR[name] if name in COLLINEAR else COLLINEAR_LOGS[name.removesuffix(" of logs")]
    done = run_on_desk(make(), np.column_stack([y, x]))
    assert not done.positions.any()
    assert [kind for _, kind, _ in done.signals] == [S.REFUSED]


@pytest.mark.parametrize("name", COLLINEAR)
def test_a_spread_of_a_few_ticks_is_traded(name: str) -> None:
    x = walk()
    y = RATIO * x + 4.0 * TICK * np.random.default_rng(4).normal(size=len(x))
    done = run_on_desk(COLLINEAR[name](), np.column_stack([y, x]))
    assert done.positions.any()


@pytest.mark.parametrize("constant", [0, 1])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ou_pairs(),
        lambda: ou_pairs(thresholds=ThresholdMethod.bertram, cost_bps=1.0),
        lambda: bollinger(Hedge.ols),
        lambda: bollinger(Hedge.kalman, drift=1e-5),
    ],
    ids=["ou_pairs", "bertram", "ols", "kalman"],
)
def test_no_ratio_is_learnt_of_a_constant_leg(make: Any, constant: int) -> None:
    closes = np.column_stack([walk(), walk()[::-1]])
    closes[:, constant] = 50.0
    done = run_on_desk(make(), closes)
    assert not done.positions.any()
    assert [kind for _, kind, _ in done.signals] == [S.REFUSED]


def test_a_leg_that_begins_to_move_is_traded_from_then_on() -> None:
    closes = np.column_stack([walk(), walk()[::-1]])
    closes[:100, 1] = closes[100, 1]
    done = run_on_desk(bollinger(Hedge.kalman, drift=1e-5), closes)
    assert not done.positions[:101].any()
    assert done.positions[101:].any()
