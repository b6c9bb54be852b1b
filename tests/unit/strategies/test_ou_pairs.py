"""OU pairs: samples at updates, thresholds of every method, time stops, stored parameters, and what is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from desk_runs import DeskRun, run_on_desk

from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.engine.legs import Execution
from bt_framework.errors import ConfigError, DataError
from bt_framework.jit import PlainForms
from bt_framework.records import SignalKind as S
from bt_framework.results.run import Instrument
from bt_framework.stats.kalman import KalmanHedge
from bt_framework.stats.ou import fit_ou
from bt_framework.stats.ou_bias import ou_unbiased
from bt_framework.stats.thresholds import bertram, leung_li
from bt_framework.stores.research import KalmanParams, OuParams, ResearchStore
from bt_framework.testing.desk import Desk
from bt_framework.testing.feeds import START_TS
from bt_plugins.strategies.ou_pairs import Estimator, OuPairs, OuPairsStrategy, ThresholdMethod, WarmStart
from bt_plugins.strategies.ou_pairs import _kernels as k

MINUTE_NS = 60_000_000_000
YEAR_S = 365.25 * 86_400


def strategy(**keys: Any) -> OuPairsStrategy:
    given = {"window": 60, "warmup": 60, "reestimate_every": 1, "sample_ns": 0}
    given |= {"flat_at_end": False, "hedge_ratio_prior_sd": 0.0, "intercept_prior_sd": 0.0}
    given |= {"hedge_ratio_drift_sd": 0.0, "intercept_drift_sd": 0.0}
    return OuPairsStrategy(OuPairs(**{**given, "execution": Execution.taker, **keys}))


def pair(count: int = 400, phi: float = 0.8, seed: int = 1, sd: float = 0.002) -> np.ndarray[Any, Any]:
    """Closes whose log spread at a hedge ratio of 1 reverts, shape (count, 2)."""
    rng = np.random.default_rng(seed)
    x = math.log(50.0) + np.cumsum(0.002 * rng.normal(size=count))
    spread = np.zeros(count)
    for i in range(1, count):
        spread[i] = phi * spread[i - 1] + sd * rng.normal()
    return np.exp(np.column_stack([0.7 + x + spread, x]))


def mids(closes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The spread as the strategy samples it."""
    logs = np.log(closes) - np.log(closes[0])
    return logs[:, 0] - logs[:, 1]


def test_samples_at_updates_are_estimated_with_their_mean_distance() -> None:
    closes = pair(60)
    done = run_on_desk(strategy(), closes, every_s=300.0)
    fit = fit_ou(mids(closes), 300.0)
    assert done.state.half_life_s == pytest.approx(fit.half_life_s, rel=1e-6)
    assert done.state.mu == pytest.approx(fit.mu, rel=1e-5, abs=1e-9)
    gone = np.insert(closes, 30, np.nan, axis=0)  # one close is missing: 59 steps take 60 times as long
    later = run_on_desk(strategy(), gone, every_s=300.0)
    assert later.state.samples == 60
    assert later.state.half_life_s == pytest.approx(fit.half_life_s * 60 / 59, rel=1e-6)


def test_a_timer_samples_in_its_own_steps() -> None:
    closes = pair(60)
    done = run_on_desk(strategy(sample_ns=MINUTE_NS), closes)
    assert done.state.half_life_s == pytest.approx(fit_ou(mids(closes), 60.0).half_life_s, rel=1e-6)


def levels_of(done: DeskRun) -> tuple[float, float]:
    return float(done.state.entry_z), float(done.state.exit_z)


def test_thresholds_follow_the_last_fit_by_either_method() -> None:
    closes = pair(80)
    fit = fit_ou(mids(closes)[-60:], 60.0)
    optimal = bertram(fit.theta, 0.0, fit.sigma, 5e-4)
    done = run_on_desk(strategy(thresholds=ThresholdMethod.bertram, cost_bps=5.0), closes)
    assert levels_of(done) == pytest.approx((-optimal.long_entry_z, -optimal.long_exit_z), rel=1e-6)
    assert done.state.exit_z < 0  # beyond the mean
    rate = 500.0 / YEAR_S  # with slow rates the levels are farther out than stop_z
    stopping = leung_li(fit.theta, 0.0, fit.sigma, (2.5e-4, 2.5e-4), (rate, rate))
    done = run_on_desk(
        strategy(thresholds=ThresholdMethod.leung_li, cost_bps=5.0, discount_rate=500.0), closes
    )
    assert levels_of(done) == pytest.approx((-stopping.long_entry_z, -stopping.long_exit_z), rel=1e-6)


def test_an_unbiased_estimate_has_a_longer_half_life() -> None:
    closes = pair(80)
    done = run_on_desk(strategy(estimator=Estimator.unbiased), closes)
    assert done.state.half_life_s == pytest.approx(
        ou_unbiased(mids(closes)[-60:], 60.0).half_life_s, rel=1e-6
    )
    plain = run_on_desk(strategy(), closes)
    assert done.state.half_life_s > plain.state.half_life_s
    assert levels_of(done) == (2.0, 0.5)


def test_optimal_trades_leave_beyond_the_mean() -> None:
    done = run_on_desk(
        strategy(thresholds=ThresholdMethod.bertram, cost_bps=5.0, reestimate_every=1_000_000), pair(400)
    )
    assert not done.signals  # never estimated
    closes = pair(400)
    done = run_on_desk(strategy(thresholds=ThresholdMethod.bertram, cost_bps=5.0), closes)
    kinds = [kind for _, kind, _ in done.signals]
    assert kinds.count(S.ENTER) > 5
    spread = mids(closes)
    entered = [(at, direction) for at, kind, direction in done.signals if kind == S.ENTER]
    left = [at for at, kind, _ in done.signals if kind == S.EXIT]
    assert all(d * (spread[b] - spread[a]) > 0 for (a, d), b in zip(entered, left, strict=False))


@pytest.mark.parametrize("method", [ThresholdMethod.bertram, ThresholdMethod.leung_li])
def test_costs_that_leave_no_trade_are_recorded(method: ThresholdMethod) -> None:
    done = run_on_desk(strategy(thresholds=method, cost_bps=2_000.0), pair(120))
    assert not done.positions.any()
    assert [kind for _, kind, _ in done.signals] == [S.REFUSED]
    assert done.signals[0][0] == 59


def test_levels_beyond_the_stop_are_no_levels() -> None:
    # Discounted at 5 % a year, a spread that reverts within minutes is worth waiting for up to 5 deviations.
    slow = strategy(thresholds=ThresholdMethod.leung_li, cost_bps=5.0, stop_z=3.0)
    done = run_on_desk(slow, pair(80))
    assert [kind for _, kind, _ in done.signals] == [S.REFUSED]
    assert levels_of(done) == (2.0, 0.5)


def test_after_a_stop_of_an_optimal_trade_the_mean_must_be_crossed() -> None:
    trade = PlainForms().of(k.trade)
    desk = Desk([Instrument("S0", 0.01, 1.0), Instrument("S1", 0.01, 1.0)], plain=True)
    for asset in range(2):
        desk.quote(asset, bid_px=99.0, ask_px=101.0)
        desk.hold(asset, 0.0, unit_qty=10.0)
    chosen = strategy(thresholds=ThresholdMethod.bertram)
    p, s = chosen.params([]), chosen.state([])
    s.entry_z, s.exit_z, s.stationary_sd, s.ready, s.hedge_ratio = 1.5, -1.5, 1.0, 1, 1.0
    s.stopped = 1  # a long position was given up far below the mean
    for z, direction in ((-2.0, 0), (-1.0, 0), (-2.0, 0), (0.1, 0), (-2.0, 1)):
        trade(desk.market, desk.account, desk.out, p, s, z)
        assert s.direction == direction


@pytest.mark.parametrize("phi", [1.03, 1.0])
def test_a_spread_that_does_not_revert_is_not_entered_and_that_is_recorded(phi: float) -> None:
    closes = pair(120, phi=phi, seed=3)
    done = run_on_desk(strategy(), closes)
    refused = [at for at, kind, _ in done.signals if kind == S.REFUSED]
    assert refused
    assert done.state.ready == (done.state.fit.status == 0)
    if phi > 1:
        assert not done.positions.any()


@pytest.mark.parametrize("y", [2.0, None])
def test_collinear_and_constant_legs_are_not_traded(y: float | None) -> None:
    x = 50.0 + 0.1 * np.arange(100.0)
    closes = np.column_stack([y * x, x]) if y else np.full((100, 2), 50.0)
    done = run_on_desk(strategy(), closes)
    assert not done.positions.any()
    assert [kind for _, kind, _ in done.signals] == [S.REFUSED]


def test_a_missing_price_never_reaches_an_estimate_or_a_position() -> None:
    closes = pair(300)
    closes[::7, 0] = np.nan
    closes[::11, 1] = np.nan
    done = run_on_desk(strategy(entry_z=1.0), closes)
    assert any(kind == S.ENTER for _, kind, _ in done.signals)
    assert np.isfinite(done.positions).all()
    assert all(np.isfinite(float(done.state[name])) for name in ("mu", "hedge_ratio", "half_life_s"))


def held_spread(half_lives: float) -> DeskRun:
    """A reverting spread that jumps after 100 samples, and stays away."""
    closes = pair(200, phi=0.7)
    closes[100:, 0] *= 1.008
    return run_on_desk(
        strategy(time_stop_half_lives=half_lives, reestimate_every=50, entry_z=1.5, stop_z=50.0), closes
    )


def test_a_position_is_given_up_after_its_half_lives() -> None:
    done = held_spread(4.0)
    entry, stop = next(
        (a, b)
        for a, b in zip(done.signals, done.signals[1:], strict=False)
        if a[1] == S.ENTER and b[1] == S.STOP
    )
    fit = fit_ou(mids_at(entry[0]), 60.0)
    assert stop[0] - entry[0] == math.ceil(4.0 * fit.half_life_s / 60.0)
    assert S.STOP not in [kind for _, kind, _ in held_spread(0.0).signals]


def mids_at(at: int) -> np.ndarray[Any, Any]:
    """Spreads of the window that was last estimated when a trade began."""
    closes = pair(200, phi=0.7)
    closes[100:, 0] *= 1.008
    last = (at + 1) // 50 * 50
    return mids(closes)[last - 60 : last]


def stored(folder: Path, *, theta: float = 0.01, as_of: datetime | None = None, y: str = "S0") -> None:
    """Put parameters of the pair S0, S1 into the research store."""
    known = as_of or datetime.fromtimestamp(START_TS / 1e9, UTC)
    common = {
        "source": "test",
        "pair_id": "S0_S1",
        "as_of": known,
        "window_start": known - timedelta(days=2),
        "window_end": known - timedelta(days=1),
        "interval_ns": MINUTE_NS,
        "y_symbol": y,
        "log_prices": True,
        "adjust": "none",
        "dt_s": 60.0,
        "observations": 500,
    }
    sd = 0.004
    process = {"theta": theta, "mu": 0.001, "sigma": sd * math.sqrt(2 * abs(theta)), "stationary_sd": sd}
    store = ResearchStore.in_folder(folder)
    store.put_universe([("S0", "S1")], "test")
    store.put_ou_params(
        [OuParams(**common, hedge_ratio=1.0, intercept=0.7, half_life_s=math.log(2) / theta, **process)]
    )
    state = {"intercept": 0.7, "hedge_ratio": 1.0, "p00": 1e-8, "p01": 0.0, "p11": 1e-8}
    noise = {"q_intercept": 4e-14, "q_slope": 9e-10, "r": 1e-8, "log_likelihood": 0.0}
    store.put_kalman_params([KalmanParams(**common, **state, **noise)])


def warm(folder: Path, **keys: Any) -> tuple[OuPairsStrategy, Any]:
    chosen = strategy(warm_start=WarmStart.stored, **keys)
    return chosen, chosen.load(folder, ["S0", "S1"], START_TS)


def test_a_warm_start_trades_from_the_first_sample_on_what_was_stored(tmp_path: Path) -> None:
    stored(tmp_path)
    chosen, taken = warm(tmp_path)
    assert taken["ou_params"]["stationary_sd"] == 0.004
    assert taken["kalman_params"]["as_of"].startswith("2024")
    p, s = chosen.params([]), chosen.state([])
    assert (p.intercept_drift_sd, p.hedge_ratio_drift_sd, p.observation_sd) == pytest.approx(
        (2e-7, 3e-5, 1e-4)
    )
    assert (s.kalman.intercept, s.kalman.p11, s.mu) == pytest.approx((0.7, 1e-8, 0.701))
    # 3 deviations of 0.004 above the mean of 0.701.
    closes = np.exp([[0.713 + math.log(50.0), math.log(50.0)]])
    done = run_on_desk(chosen, closes)
    assert done.signals == [(0, S.ENTER, -1)]
    assert run_on_desk(strategy(), closes).signals == []


@pytest.mark.parametrize(("age_s", "taken_in"), [(0, 3), (60, 3), (1, 2), (59, 2)])
def test_a_bar_that_the_stored_filter_has_seen_is_not_taken_in_again(
    tmp_path: Path, age_s: int, taken_in: int
) -> None:
    # Closes come at 60, 120 and 180 s; the last bar of the filter closed at 60 - age_s.
    closed = datetime.fromtimestamp(START_TS / 1e9 + 60 - age_s, UTC)
    stored(tmp_path, as_of=closed if age_s else closed - timedelta(minutes=1))
    chosen = strategy(warm_start=WarmStart.stored)
    chosen.load(tmp_path, ["S0", "S1"], START_TS + MINUTE_NS)
    done = run_on_desk(chosen, pair(3))
    assert done.state.kalman.observations == taken_in
    assert done.state.samples == 3


def test_a_warm_start_at_the_filters_last_close_goes_on_with_the_next(tmp_path: Path) -> None:
    stored(tmp_path, as_of=datetime.fromtimestamp(START_TS / 1e9 + 60, UTC))
    chosen = strategy(warm_start=WarmStart.stored)
    chosen.load(tmp_path, ["S0", "S1"], START_TS + MINUTE_NS)
    closes = pair(30)
    done = run_on_desk(chosen, closes)
    wanted = KalmanHedge(
        q_intercept=4e-14, q_slope=9e-10, r=1e-8, intercept=0.7, hedge_ratio=1.0, p00=1e-8, p11=1e-8
    )
    wanted.filter(*np.log(closes[1:, ::-1]).T)
    assert done.state.kalman.hedge_ratio == pytest.approx(wanted.hedge_ratio, rel=1e-12)


def test_a_warm_start_has_no_warm_up_later_either(tmp_path: Path) -> None:
    stored(tmp_path)
    chosen, _ = warm(tmp_path, warmup=500)
    done = run_on_desk(chosen, pair(80))
    assert done.state.samples == 80
    assert done.state.ready == 1


def test_a_warm_start_has_the_optimal_thresholds_of_the_stored_process(tmp_path: Path) -> None:
    stored(tmp_path)
    chosen, _ = warm(tmp_path, thresholds=ThresholdMethod.bertram, cost_bps=10.0)
    wanted = bertram(0.01, 0.0, 0.004 * math.sqrt(0.02), 1e-3).long_entry_z
    assert (chosen.state([]).entry_z, chosen.state([]).exit_z) == pytest.approx((-wanted, wanted))
    with pytest.raises(DataError, match=r"must have levels below stop_z .* OUT_OF_REACH"):
        warm(tmp_path, thresholds=ThresholdMethod.leung_li, cost_bps=5_000.0)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (
            {"as_of": datetime.fromtimestamp(START_TS / 1e9 + 1, UTC)},
            r"research.sqlite must have .* of S0_S1",
        ),
        ({"y": "S1"}, r"log prices, y = S0\) that were known at 2024"),
        ({"theta": -0.01}, "the stored OU process of S0_S1 .* must revert, had theta -0.01"),
    ],
)
def test_parameters_that_are_not_there_in_time_are_refused(
    tmp_path: Path, keys: dict[str, Any], text: str
) -> None:
    stored(tmp_path, **keys)
    with pytest.raises(DataError, match=text):
        warm(tmp_path)


@pytest.mark.parametrize(("days", "refused"), [(-2, False), (-1, False), (0, True), (1, False)])
def test_parameters_of_before_a_corporate_action_are_refused(
    tmp_path: Path, days: int, refused: bool
) -> None:
    stored(tmp_path)
    start = datetime.fromtimestamp(START_TS / 1e9, UTC).date()
    split = {"symbol": "S1", "ex_date": start + timedelta(days=days), "kind": "split", "value": 2.0}
    ResearchStore.in_folder(tmp_path).add_actions(
        pa.Table.from_pylist([split], schema=ACTION_SCHEMA), source="test"
    )
    if not refused:
        assert warm(tmp_path)[1]
        return
    with pytest.raises(DataError, match=r"of S0_S1 of 2024\S+ are of prices before the split of S1 on 2024"):
        warm(tmp_path)


def test_an_empty_store_and_another_interval_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"had none\. Screen the pair up to then"):
        warm(tmp_path)
    stored(tmp_path)
    with pytest.raises(
        ConfigError, match="sample_ns must be 1min, as the stored parameters of S0_S1 are per bar"
    ):
        warm(tmp_path, sample_ns=1_000_000_000)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (
            {"thresholds": ThresholdMethod.bertram, "cost_bps": 0.0},
            "cost_bps must be > 0 and finite, was 0.0",
        ),
        ({"thresholds": ThresholdMethod.leung_li, "discount_rate": -1.0}, "discount_rate must be > 0"),
        ({"time_stop_half_lives": -1.0}, "time_stop_half_lives must be >= 0, was -1.0"),
        ({"sample_ns": -1}, "sample_ns must be >= 0, was -1"),
        ({"entry_z": 6.0}, "levels must be exit_z < entry_z < stop_z"),
    ],
)
def test_keys_out_of_range_are_refused(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        OuPairs(**keys)
