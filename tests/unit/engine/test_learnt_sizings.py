"""Sizes by the Kelly criterion and by risk parity, on a desk without an engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizer import INVERSE, PAIR, Sizer

from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument
from bt_framework.stats.risk_parity import risk_parity_weights

PX = 100.0


class Trader:
    """A Kelly sizing, and an account whose profits are given."""

    def __init__(self, **settings: Any) -> None:
        self.sizer = Sizer("kelly", PAIR[:1], sample_ns="1s", **settings)
        self.second = 0

    def earn(self, profit: float, seconds: float = 1.0) -> float:
        """Book a profit, and return the value of a unit / equity a while later."""
        self.second += seconds
        self.sizer.desk.ledger[0]["cash"] += profit
        qty = self.sizer.at(PX, self.second)
        return qty * PX / self.equity if self.equity > 0 else qty

    @property
    def equity(self) -> float:
        """Of the account."""
        return float(100_000.0 + self.sizer.desk.ledger[0]["cash"])


def test_a_known_edge_gives_the_kelly_fraction_from_the_start() -> None:
    assert Trader(mean_frac=0.01, sd_frac=0.2, fraction=0.5).earn(0.0) == pytest.approx(0.5 * 0.01 / 0.04)
    assert Trader(mean_frac=0.1, sd_frac=0.2, max_equity_frac=0.7).earn(0.0) == pytest.approx(0.7)
    # 0.125 x 2 of the base currency; a contract of 100 at 50,000 is worth 0.002
    sizer = Sizer("kelly", INVERSE, capital=2.0, mean_frac=0.01, sd_frac=0.2)
    assert sizer.at(50_000.0) == pytest.approx(125.0)


def test_profits_of_a_unit_decide_after_the_warm_up_by_hand() -> None:
    settings = {"half_life_ns": "1s", "warmup_samples": 3, "start_frac": 0.1, "fraction": 0.5}
    trader = Trader(**settings, max_equity_frac=500.0)
    assert trader.earn(0.0) == pytest.approx(0.1)
    # A unit is worth 10,000, then a tenth of the equity after each sample.
    profits = [200.0, -50.0, 100.0]
    values = []
    for profit in profits[:2]:
        values.append(profit / (0.1 * trader.equity))
        assert trader.earn(profit) == pytest.approx(0.1)
    values.append(profits[2] / (0.1 * trader.equity))
    frac = trader.earn(profits[2])
    weights = np.array([0.25, 0.5, 1.0]) / 1.75
    mean = weights @ values
    variance = weights @ (np.array(values) - mean) ** 2
    assert frac == pytest.approx(0.5 * mean / variance, rel=1e-9)
    # Until the next sample a unit keeps its value, whatever the account earns.
    before = frac * trader.equity
    after = trader.earn(1_000.0, seconds=0.5)
    assert after * trader.equity == pytest.approx(before)


def test_times_without_a_profit_or_a_loss_do_not_count() -> None:
    settings = {"warmup_samples": 3, "start_frac": 0.1, "half_life_ns": "1h", "max_equity_frac": 50.0}
    busy, idle = Trader(**settings), Trader(**settings)
    for profit in (0.0, 200.0, -50.0, 100.0, 30.0):
        last = busy.earn(profit)
        idle.earn(0.0)
        found = idle.earn(profit)
    assert found == pytest.approx(last, rel=1e-3)
    assert idle.sizer.s.samples == busy.sizer.s.samples == 4


def test_a_mean_below_zero_ends_trading_or_leaves_the_least() -> None:
    for least in (0.0, 0.02):
        trader = Trader(warmup_samples=5, min_frac=least, max_equity_frac=1.0)
        fracs = [trader.earn(profit) for profit in (0.0, *(-100.0, 20.0) * 4)]
        assert fracs[:5] == pytest.approx([0.05] * 5)
        assert fracs[5:] == pytest.approx([least] * 4)
    # With the least there are samples again, and the edge comes back.
    fracs = [trader.earn(profit) for profit in (*(300.0, -20.0) * 20,)]
    assert fracs[-1] > 0.5


def test_the_edge_of_many_profits_is_found() -> None:
    rng = np.random.default_rng(1)
    trader = Trader(warmup_samples=100, fraction=0.05, half_life_ns="1d", max_equity_frac=1.0)
    unit = trader.earn(0.0) * trader.equity
    for profit in rng.normal(0.004, 0.02, 3_000):
        frac = trader.earn(profit * unit)
        unit = frac * trader.equity
    assert frac == pytest.approx(0.05 * 0.004 / 0.02**2, rel=0.15)


@given(
    st.lists(st.floats(-1e5, 1e5, allow_subnormal=True), min_size=1, max_size=40),
    st.integers(1, 10),
    st.floats(0.0, 2.0),
)
@settings(max_examples=60)
def test_kelly_sizes_are_finite_and_within_the_cap(profits: list[float], warmup: int, least: float) -> None:
    trader = Trader(warmup_samples=warmup, half_life_ns="3s", max_equity_frac=2.0, min_frac=least)
    for profit in profits:
        frac = trader.earn(profit, seconds=2.0)
        assert 0.0 <= frac <= 2.0 + 1e-9
        if trader.equity <= 0:
            assert frac == 0.0


def test_without_a_mid_there_is_no_size_and_profits_are_still_seen() -> None:
    trader = Trader(warmup_samples=2)
    trader.earn(0.0)
    trader.sizer.desk.quote(0, bid_px=math.nan, ask_px=math.nan)
    trader.sizer.desk.ledger[0]["cash"] += 100.0
    trader.sizer.desk.at(5.0)
    assert trader.sizer.unit_qty() == 0.0
    assert trader.sizer.s.samples == 1


class Universe:
    """A risk parity sizing of several instruments that walk at random."""

    def __init__(self, sds: list[float], seed: int = 1, **settings: Any) -> None:
        instruments = [Instrument(f"S{i}", 0.01, 0.001, 1.0 + i) for i in range(len(sds))]
        self.sizer = Sizer(
            "risk_parity", instruments, **{"half_life_ns": "1h", "gross_frac": 1.0, **settings}
        )
        self.sds, self.rng = np.array(sds), np.random.default_rng(seed)
        self.mids = np.full(len(sds), 100.0)
        self.sizes = np.array([1.0 + i for i in range(len(sds))])
        self.second = 0

    def step(self) -> np.ndarray:
        """Let a second pass; return the value of each unit / equity."""
        self.second += 1
        self.mids = self.mids * np.exp(self.sds * self.rng.normal(size=len(self.sds)))
        for asset, mid in enumerate(self.mids):
            self.sizer.desk.quote(asset, bid_px=mid * (1 - 1e-4), ask_px=mid * (1 + 1e-4))
        self.sizer.desk.at(self.second)
        quantities = np.array([self.sizer.unit_qty(asset) for asset in range(len(self.mids))])
        return quantities * self.mids * self.sizes / 100_000.0


def test_units_share_the_gross_by_one_over_their_volatility() -> None:
    sds = [0.001, 0.002, 0.004]
    universe = Universe(sds, gross_frac=0.8)
    fracs = [universe.step() for _ in range(2_000)]
    assert not np.any(fracs[:30])
    for frac in fracs[31:]:
        assert frac.sum() == pytest.approx(0.8)
    expected = 0.8 * (1 / np.array(sds)) / (1 / np.array(sds)).sum()
    np.testing.assert_allclose(np.mean(fracs[-500:], axis=0), expected, rtol=0.06)


def test_budgets_are_borne_as_without_correlation() -> None:
    universe = Universe([0.001, 0.002], by_symbol={"S1": 4.0}, budget=1.0)
    for _ in range(40):
        fracs = universe.step()
    variances = universe.sizer.s.squares / universe.sizer.s.weight
    np.testing.assert_allclose(fracs, risk_parity_weights(np.diag(variances), [1.0, 4.0]), rtol=1e-9)
    risk = fracs**2 * variances
    assert risk[1] / risk[0] == pytest.approx(4.0)


def test_volatilities_by_hand_and_all_mids_of_one_time() -> None:
    sizer = Sizer("risk_parity", warmup_samples=1, gross_frac=1.0, half_life_ns="10s")
    for second, (a, b) in enumerate([(100.0, 50.0), (102.0, 50.0), (102.0, 51.0)]):
        sizer.desk.at(second)
        sizer.desk.quote(0, bid_px=a, ask_px=a)
        sizer.desk.quote(1, bid_px=b, ask_px=b)
        quantities = [sizer.unit_qty(0), sizer.unit_qty(1)]
        assert (second < 2) == (quantities == [0.0, 0.0]), "both have moved at the third time only"
    keep = 0.5**0.1
    sds = [math.log(1.02) * math.sqrt(keep), math.log(1.02)]
    share = (1 / sds[0]) / (1 / sds[0] + 1 / sds[1])
    assert quantities[0] == pytest.approx(100_000.0 * share / 102.0)
    assert quantities[1] == pytest.approx(100_000.0 * (1 - share) / (51.0 * 10.0))


def test_one_that_hardly_moves_has_no_more_than_the_cap() -> None:
    universe = Universe([1e-6, 0.01], max_equity_frac=0.6)
    for _ in range(40):
        fracs = universe.step()
    assert fracs[0] == pytest.approx(0.6)
    assert 0.0 < fracs[1] < 0.01


def test_nobody_is_sized_while_one_has_not_moved_or_no_mid() -> None:
    universe = Universe([0.0, 0.01])
    for _ in range(60):
        assert not universe.step().any()
    universe.sds[0] = 0.01
    universe.step()
    assert universe.step().all()
    universe.sizer.desk.quote(1, bid_px=math.nan, ask_px=100.0)
    assert universe.sizer.unit_qty(1) == 0.0
    assert universe.sizer.unit_qty(0) > 0.0


@given(
    st.lists(st.floats(-300.0, -1.0), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
    st.floats(1e-6, 5.0),
)
@settings(max_examples=40)
def test_risk_parity_sizes_are_finite_and_within_the_gross(
    powers: list[float], seed: int, gross: float
) -> None:
    universe = Universe(
        [10.0**p for p in powers],
        seed,
        gross_frac=gross,
        warmup_samples=2,
        half_life_ns="1s",
        max_equity_frac=2.0,
    )
    for _ in range(8):
        fracs = universe.step()
        assert np.isfinite(fracs).all()
        assert (fracs >= 0.0).all()
        assert fracs.max() <= min(gross, 2.0) * (1 + 1e-9)
        assert fracs.sum() <= gross * (1 + 1e-9)


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("kelly", {"fraction": 1.5}, "fraction must be > 0 and <= 1, was 1.5."),
        ("kelly", {"fraction": 0.0}, "fraction must be > 0 and <= 1, was 0.0."),
        ("kelly", {"start_frac": 0.0}, "start_frac must be > 0 and finite, was 0.0."),
        ("kelly", {"max_equity_frac": math.inf}, "max_equity_frac must be > 0 and finite, was inf."),
        ("kelly", {"min_frac": 2.0}, "min_frac must be >= 0 and <= max_equity_frac (0.2), was 2.0."),
        ("kelly", {"mean_frac": -0.1, "sd_frac": 0.1}, "mean_frac must be >= 0 and finite, was -0.1."),
        ("kelly", {"sd_frac": 0.1}, "mean_frac must be > 0 where sd_frac is, was 0. Set both, or neither."),
        ("kelly", {"mean_frac": 0.1}, "sd_frac must be > 0 where mean_frac is, was 0. Set both, or neither."),
        ("kelly", {"warmup_samples": 0}, "warmup_samples must be > 0 and finite, was 0."),
        ("risk_parity", {"gross_frac": 0.0}, "gross_frac must be > 0 and finite, was 0.0."),
        ("risk_parity", {"by_symbol": {"A": 0.0}}, "by_symbol.A must be > 0 and finite, was 0.0."),
        ("risk_parity", {"half_life_ns": 0}, "half_life_ns must be > 0 and finite, was 0."),
        ("risk_parity", {"by_symbol": {"C": 1.0}}, "must be one of A, B, was 'C'"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(name: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Sizer(name, **settings)
    assert text in str(error.value)
