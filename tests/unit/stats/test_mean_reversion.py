"""Half-life, variance ratio and Hurst exponent: by hand, against arch, as invariants, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.stats.mean_reversion import HalfLife, Hurst, VarianceRatio, half_life, hurst, variance_ratio


def autoregression(phi: float, n: int, seed: int) -> np.ndarray:
    rng, x = np.random.default_rng(seed), [0.0]
    for _ in range(n - 1):
        x.append(phi * x[-1] + rng.normal())
    return np.array(x)


def test_half_life_is_the_one_worked_by_hand():
    # X = 0, 0, 0, 2, 2: levels (0, 0, 0, 2), changes (0, 0, 2, 0), means 1/2 and 1/2.
    # sum uu = 3, sum ud = 0 - 4 * 1/4 = -1: slope -1/3, mean = 1/2 + 1/2 * 3 = 2.
    # residuals d - slope u: (-1/2, -1/2, 3/2, -1/2) + (-1/6, -1/6, -1/6, 1/2) = (-2/3, -2/3, 4/3, 0),
    # SSR = 24/9, variance = 4/3, t = -1/3 / sqrt(4/3 / 3) = -1/2.
    found = HalfLife().fit([0.0, 0.0, 0.0, 2.0, 2.0])
    assert found.slope == pytest.approx(-1 / 3)
    assert found.mean == pytest.approx(2.0)
    assert found.t == pytest.approx(-0.5)
    assert found.half_life == pytest.approx(3.0 * math.log(2.0))
    assert found.ar1_half_life == pytest.approx(math.log(2.0) / math.log(1.5))
    assert found.n == 4


def test_half_life_is_that_of_the_autoregression_that_made_the_values():
    found = HalfLife().fit(autoregression(0.95, 40_000, seed=1))
    assert found.ar1_half_life == pytest.approx(math.log(2.0) / -math.log(0.95), rel=0.08)
    assert found.half_life == pytest.approx(found.ar1_half_life, rel=0.03)
    assert found.t == pytest.approx(-math.sqrt(40_000 * 0.05 / 1.95), rel=0.1)


@pytest.mark.parametrize(
    ("values", "first_order", "exact"),
    [
        ([1.0, 2.0, 4.0, 8.0, 16.0], math.inf, math.inf),  # it runs away
        ([3.0, 5.0, 7.0, 9.0, 11.0], math.inf, math.inf),  # a slope of zero
        ([1.0, -1.0, 1.0, -1.0, 1.0], math.log(2.0) / 2.0, 0.0),  # it overshoots within a sample
        ([8.0, 4.0, 2.0, 1.0, 0.5], 2.0 * math.log(2.0), 1.0),  # half of it goes each sample
    ],
)
def test_a_series_that_never_reverts_has_an_infinite_half_life(values, first_order, exact):
    found = HalfLife().fit(values)
    assert (found.half_life, found.ar1_half_life) == pytest.approx((first_order, exact))
    assert math.isinf(found.t)


@given(st.integers(0, 1000), st.floats(0.01, 100.0), st.floats(-50.0, 50.0))
@settings(max_examples=40)
def test_units_and_origins_change_nothing(seed, scale, shift):
    x = autoregression(0.8, 80, seed)
    moved = scale * (x + shift)
    assert half_life(moved) == pytest.approx(half_life(x), rel=1e-6)
    assert hurst(moved) == pytest.approx(hurst(x), abs=1e-8)
    assert variance_ratio(moved, 4).z == pytest.approx(variance_ratio(x, 4).z, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("lag", [2, 5, 16])
def test_variance_ratio_is_archs(lag):
    from arch.unitroot import VarianceRatio as Theirs

    for seed in range(4):
        x = np.random.default_rng(seed).standard_t(4, size=400).cumsum()
        found = variance_ratio(x, lag)
        robust, plain = Theirs(x, lags=lag, robust=True), Theirs(x, lags=lag, robust=False)
        assert found.ratio == pytest.approx(robust.vr, rel=1e-12)
        assert (found.z, found.p_value) == pytest.approx((robust.stat, robust.pvalue), rel=1e-9)
        assert (found.z_homoskedastic, found.p_value_homoskedastic) == pytest.approx(
            (plain.stat, plain.pvalue), rel=1e-9
        )
        assert (found.lag, found.n) == (lag, 399)


def test_variance_ratio_is_below_one_for_reversion_and_above_for_trends():
    changes = autoregression(0.3, 3_000, seed=3)
    assert variance_ratio(autoregression(0.7, 3_000, seed=2), 5).z < -5
    assert variance_ratio(changes.cumsum(), 5).z > 5


def test_variance_ratio_of_random_walks_rejects_as_often_as_the_level_says():
    rng = np.random.default_rng(4)
    p_values = [VarianceRatio(4).fit(rng.normal(size=300).cumsum()).p_value for _ in range(1_000)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_hurst_exponent_is_that_of_what_has_a_known_one():
    time = np.arange(1.0, 4_001.0)
    assert hurst(time) == pytest.approx(1.0, abs=1e-12)  # differences grow as the lag does
    rng = np.random.default_rng(5)
    assert hurst(rng.normal(size=4_000).cumsum()) == pytest.approx(0.5, abs=0.05)
    assert hurst(rng.normal(size=4_000)) == pytest.approx(0.0, abs=0.02)
    assert 0.0 < hurst(autoregression(0.9, 4_000, seed=6)) < 0.4


def test_hurst_exponent_is_the_slope_through_the_points_worked_by_hand():
    x = np.array([0.0, 1.0, 3.0, 2.0, 2.0, 5.0])
    squares = [(1 + 4 + 1 + 0 + 9) / 5, (9 + 1 + 1 + 9) / 4, (4 + 1 + 4) / 3]
    slope, _ = np.polyfit(np.log([1, 2, 3]), 0.5 * np.log(squares), 1)
    found = Hurst(3).fit(x)
    assert found.exponent == pytest.approx(slope)
    assert found.standard_error > 0.0
    assert (found.max_lag, found.n) == (3, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: half_life([1.0, 1.0, 1.0, 1.0]), "values must vary, was constant"),
        (lambda: half_life([1.0, 1.0, 1.0, 2.0]), "values must vary before the last one"),
        (lambda: half_life([1.0, 2.0, 1.0]), "at least 4 observations, had 3"),
        (lambda: half_life([1.0, math.nan, 1.0, 2.0]), "values must be finite, was nan at 1"),
        (lambda: variance_ratio(np.arange(50.0)), "must not lie on a straight line"),
        (lambda: variance_ratio([0.0, 2.0, 3.0, 4.0, 5.0, 5.0]), "must change more than once in a while"),
        (lambda: variance_ratio(np.ones(50)), "values must vary"),
        (lambda: variance_ratio([1.0, 2.0, 0.0, 1.0], 2), "at least 5 observations, had 4"),
        (lambda: variance_ratio([1.0, 2.0], 1), "lag must be >= 2, was 1"),
        (lambda: hurst(np.ones(50)), "values must vary"),
        (lambda: hurst(np.arange(39.0)), "at least 40 observations, had 39"),
        (lambda: hurst([1.0, 2.0] * 30), "must not repeat themselves within max_lag = 20"),
        (lambda: hurst([1.0, 2.0], 2), "max_lag must be >= 3, was 2"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
