"""Bollinger pairs: z-scores by hand, bands, reversals, slower regressions, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from desk_runs import run_on_desk
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.engine.leg_kernels import band_direction
from bt_framework.engine.strategy import params_record
from bt_framework.errors import ConfigError
from bt_framework.records import SignalKind as S
from bt_plugins.strategies.bollinger_pairs import BollingerPairs, BollingerPairsStrategy, Hedge
from bt_plugins.strategies.bollinger_pairs import _kernels as k


def strategy(**keys: Any) -> BollingerPairsStrategy:
    return BollingerPairsStrategy(BollingerPairs(**{"warmup": 1, "flat_at_end": False, **keys}))


@pytest.mark.parametrize(
    ("direction", "z", "may_enter", "answer"),
    [
        (0, 1.5, True, (-1, S.ENTER)),
        (0, -1.5, True, (1, S.ENTER)),
        (0, 1.5, False, (0, 0)),
        (0, 1.0, True, (0, 0)),
        (0, 3.0, True, (0, 0)),
        (0, math.nan, True, (0, 0)),
        (1, math.nan, True, (1, 0)),
        (1, -0.6, True, (1, 0)),
        (1, -0.5, True, (0, S.EXIT)),
        (1, 1.5, True, (-1, S.ENTER)),
        (1, 1.5, False, (0, S.EXIT)),
        (1, -3.0, True, (0, S.STOP)),
        (-1, 3.0, True, (0, S.STOP)),
        (-1, 1.5, True, (-1, 0)),
    ],
)
def test_bands_enter_leave_reverse_and_stop(
    direction: int, z: float, may_enter: bool, answer: tuple[int, int]
) -> None:
    assert band_direction(direction, z, may_enter, (1.0, 0.5, 3.0)) == answer
    plain = getattr(band_direction, "py_func", band_direction)
    assert plain(direction, z, may_enter, (1.0, 0.5, 3.0)) == answer


def test_a_rolling_z_score_is_that_of_its_window() -> None:
    y, x = np.array([5.0, 7.0, 6.0, 9.0]), np.array([1.0, 2.0, 1.5, 2.0])
    spreads = y - 2.0 * x  # 3, 3, 3, 5: mean 3.5, deviation 1
    assert k.spread_z((y, x), 4, 2.0, spreads[-1], 0.0) == pytest.approx(1.5)
    assert k.regress(y, x, 4) == pytest.approx(np.polyfit(x, y, 1)[0])


@given(st.integers(0, 2**32 - 1), st.integers(3, 40))
def test_regressions_and_z_scores_are_those_of_numpy(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    x = 100.0 + np.cumsum(rng.normal(size=count))
    y = 3.0 + rng.uniform(0.2, 4.0) * x + rng.normal(size=count)
    slope = k.regress.py_func(y, x, count) if hasattr(k.regress, "py_func") else k.regress(y, x, count)
    assert slope == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-6)
    spread = y - slope * x
    z_of = getattr(k.spread_z, "py_func", k.spread_z)
    assert z_of((y, x), count, slope, spread[-1], 0.0) == pytest.approx(
        (spread[-1] - spread.mean()) / spread.std(ddof=1), rel=1e-6, abs=1e-9
    )


def test_the_first_sample_of_the_filter_has_no_ratio_yet_and_the_innovation_comes_before_the_update() -> None:
    # Chan (2013), Example 3.3: R(1) = 0, so Q = Ve and nothing is learnt; then R = Vw.
    filtered = strategy(hedge=Hedge.kalman)
    p, s = filtered.params([]), filtered.state([])
    assert k.innovation_z(22.95, 16.1, s, p) == pytest.approx(22.95 / math.sqrt(1e-3))
    assert s.hedge_ratio == 0.0
    drift = 1e-4 / (1 - 1e-4)
    variance = drift * (15.98**2 + 1) + 1e-3
    assert k.innovation_z(22.78, 15.98, s, p) == pytest.approx(22.78 / math.sqrt(variance))
    assert s.hedge_ratio == pytest.approx(drift * 15.98 / variance * 22.78)


def test_a_rich_spread_is_sold_with_the_ratio_in_units_and_bought_back_at_the_mean() -> None:
    noise = np.array([0.0, 1.0, -1.0, 0.5, -0.5, 1.0, -1.0, 6.0, 5.0, 0.0, 0.0])
    x = np.full(11, 50.0)
    done = run_on_desk(
        strategy(hedge=Hedge.fixed, hedge_ratio=1.5, window=5, entry_z=1.5),
        np.column_stack([200.0 + noise, x]),
    )
    assert done.signals == [(7, S.ENTER, -1), (9, S.EXIT, 0)]
    assert done.positions[7].tolist() == [-100.0, 150.0]
    assert done.positions[9].tolist() == [0.0, 0.0]


def test_nothing_is_entered_before_the_warm_up() -> None:
    rng = np.random.default_rng(3)
    closes = np.column_stack([100.0 + rng.normal(size=120), 100.0 + rng.normal(size=120)])
    for warmup in (20, 60):
        done = run_on_desk(strategy(hedge=Hedge.fixed, hedge_ratio=1.0, warmup=warmup), closes)
        assert done.signals[0][0] >= warmup - 1
        assert len(done.signals) > 10


def test_a_stop_waits_for_the_spread_to_be_back() -> None:
    spread = [0.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 2.5, 12.0, 12.0, 11.0, 10.0, 3.0, -2.0, -9.0]
    closes = np.column_stack([100.0 + np.array(spread), np.full(15, 100.0)])
    done = run_on_desk(
        strategy(hedge=Hedge.fixed, hedge_ratio=1.0, window=7, entry_z=1.2, stop_z=2.0), closes
    )
    assert done.signals[:2] == [(7, S.ENTER, -1), (8, S.STOP, 0)]
    later = done.signals[2:]
    # z is beyond the entry until it has crossed the mean; only then is there an entry again.
    assert later
    assert later[0][1:] == (S.ENTER, 1)


def test_the_second_leg_follows_a_filtered_ratio_only_if_asked_to() -> None:
    rng = np.random.default_rng(5)
    x = 50.0 + np.cumsum(0.1 * rng.normal(size=300))
    wave = 3.0 * np.sin(np.arange(300) / 6.0)
    y = (1.0 + np.linspace(0.0, 1.0, 300)) * x + wave
    keys = {"hedge": Hedge.kalman, "exit_z": 0.0, "entry_z": 0.5, "drift": 1e-5}
    kept, followed = (
        run_on_desk(strategy(rebalance=flag, **keys), np.column_stack([y, x])) for flag in (False, True)
    )
    assert kept.signals == followed.signals
    in_position = np.flatnonzero(
        (kept.positions[1:, 0] == kept.positions[:-1, 0]) & (kept.positions[1:, 0] != 0)
    )
    assert len(in_position) > 20
    assert not np.diff(kept.positions[:, 1])[in_position].any()
    assert np.diff(followed.positions[:, 1])[in_position].any()


@pytest.mark.parametrize("hedge", [Hedge.fixed, Hedge.ols, Hedge.kalman])
def test_constant_and_collinear_legs_are_not_traded_and_that_is_recorded(hedge: Hedge) -> None:
    x = 100.0 + np.cumsum(np.random.default_rng(2).normal(size=80))
    for y, of in ((1.1 * x, x), (np.full(80, 49.5), np.full(80, 45.0))):
        done = run_on_desk(strategy(hedge=hedge, hedge_ratio=1.1, warmup=30), np.column_stack([y, of]))
        assert not done.positions.any()
        # The filter has a deviation also where legs are collinear: its z is small, which is no refusal.
        expected = [] if hedge is Hedge.kalman and np.ptp(y) > 0 else [S.REFUSED]
        assert [kind for _, kind, _ in done.signals] == expected


def test_a_leg_that_rounds_to_nothing_is_recorded_once_per_excursion() -> None:
    rng = np.random.default_rng(9)
    closes = np.column_stack([100.0 + rng.normal(size=200), 100.0 + rng.normal(size=200)])
    done = run_on_desk(
        strategy(hedge=Hedge.fixed, hedge_ratio=1.0, warmup=20), closes, unit_qty=100.0, lots=[1.0, 1_000.0]
    )
    assert not done.positions.any()
    assert {kind for _, kind, _ in done.signals} == {S.REFUSED}
    at = [place for place, _, _ in done.signals]
    assert 5 < len(at) < 120


def test_the_regression_may_be_of_slower_samples() -> None:
    rng = np.random.default_rng(4)
    x = 100.0 + np.cumsum(rng.normal(size=400))
    y = 5.0 + 1.5 * x + rng.normal(size=400)
    closes = np.column_stack([y, x])
    minute = 60_000_000_000
    slow = strategy(hedge=Hedge.ols, hedge_window=10, hedge_sample_ns=10 * minute, warmup=50)
    done = run_on_desk(slow, closes)
    assert done.state.regressed == 40
    fitted = np.polyfit(x[-10::-10][:10], y[-10::-10][:10], 1)[0]
    assert done.state.hedge_ratio == pytest.approx(fitted, rel=1e-9)
    timed = strategy(
        hedge=Hedge.ols, hedge_window=10, sample_ns=minute, hedge_sample_ns=10 * minute, warmup=50
    )
    assert timed.timer_ns == minute
    ticked = run_on_desk(timed, closes)
    # On a timer the samples are those of the multiples of ten minutes, and the first.
    assert ticked.state.regressed == 41


def test_a_sample_waits_for_both_instruments() -> None:
    closes = np.column_stack([100.0 + np.arange(30.0), 100.0 + np.arange(30.0) % 3])
    closes[10:20, 1] = np.nan
    done = run_on_desk(strategy(hedge=Hedge.fixed, hedge_ratio=1.0), closes)
    assert done.state.samples == 20


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"window": 2}, "window must be >= 3 samples, was 2"),
        ({"hedge": Hedge.fixed}, "hedge_ratio must not be 0 with hedge=fixed"),
        ({"exit_z": 1.5}, r"thresholds must be 0 <= exit_z <= entry_z, were 1.5 and 1.0"),
        ({"stop_z": 0.5}, r"stop_z must be 0 or > entry_z \(1.0\), was 0.5"),
        ({"drift": 1.0}, "drift must be > 0 and < 1, was 1.0"),
        ({"hedge": Hedge.kalman, "hedge_sample_ns": "1min"}, "hedge_sample_ns must be 0 with hedge=kalman"),
        ({"sample_ns": "2min", "hedge_sample_ns": "1min"}, "hedge_sample_ns must be >= sample_ns"),
        ({"entry_z": math.nan}, "thresholds must be"),
    ],
)
def test_keys_out_of_range_are_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        BollingerPairs(**keys)


def test_intervals_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="sampling intervals must be multiples of the shortest"):
        strategy(sample_ns="2min", hedge_sample_ns="3min")


def test_parameters_are_numbers() -> None:
    assert params_record(BollingerPairs(hedge=Hedge.kalman)).hedge == 2
