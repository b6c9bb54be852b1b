"""Kelly fractions by hand, by other methods, and where there are none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.stats.kelly import (
    Kelly,
    KellyMethod,
    growth_rate,
    kelly_continuous,
    kelly_discrete,
    kelly_empirical,
    kelly_weights,
)


@given(st.floats(0.0, 1.0), st.floats(0.05, 20.0), st.floats(0.05, 5.0))
def test_no_other_stake_of_a_bet_grows_faster(p: float, win: float, loss: float) -> None:
    def growth(stake: float) -> float:
        terms = [(p, 1.0 + stake * win), (1.0 - p, 1.0 - stake * loss)]
        return sum(weight * math.log(wealth) for weight, wealth in terms if weight > 0)

    best = kelly_discrete(p, win, loss)
    assert -1.0 / win - 1e-9 <= best <= 1.0 / loss + 1e-9
    if 0.01 < p < 0.99:
        for other in (best * 0.9 + 0.001, best * 1.1 - 0.001):
            if -1.0 / win < other < 1.0 / loss:
                assert growth(best) >= growth(other) - 1e-12


def test_a_bet_with_even_odds_is_staked_by_its_edge() -> None:
    assert kelly_discrete(0.55, 1.0) == pytest.approx(0.1)
    assert kelly_discrete(0.5, 2.0, 2.0) == 0.0
    assert kelly_discrete(0.45, 1.0) == pytest.approx(-0.1)


@given(st.floats(-2.0, 2.0), st.floats(0.01, 1.0), st.floats(-0.1, 0.1))
def test_growth_is_largest_at_the_fraction_and_nothing_is_gained_at_twice_it(
    mean: float, sd: float, risk_free: float
) -> None:
    best = kelly_continuous(mean, sd**2, risk_free)
    top = growth_rate(best, mean, sd**2, risk_free)
    assert top == pytest.approx(risk_free + 0.5 * (mean - risk_free) ** 2 / sd**2, rel=1e-12)
    assert growth_rate(2.0 * best, mean, sd**2, risk_free) == pytest.approx(risk_free, abs=1e-9 * (1.0 + top))
    assert growth_rate(0.5 * best, mean, sd**2, risk_free) == pytest.approx(
        risk_free + 0.75 * (top - risk_free), abs=1e-9 * (1 + top)
    )


def test_of_assets_without_correlation_each_has_its_own_fraction() -> None:
    fractions = kelly_weights([0.08, 0.05], np.diag([0.04, 0.01]), 0.02)
    np.testing.assert_allclose(fractions, [1.5, 3.0], rtol=1e-14)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_no_mix_near_the_best_one_grows_faster(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    square = rng.normal(size=(k, k + 2))
    covariance, mean = square @ square.T, rng.normal(size=k)
    best = kelly_weights(mean, covariance)
    top = growth_rate(best, mean, covariance)
    for _ in range(5):
        other = best + 0.1 * rng.normal(size=k) * np.abs(best).max()
        assert growth_rate(other, mean, covariance) <= top


@given(st.floats(0.51, 0.9), st.floats(0.2, 3.0))
def test_a_sample_of_two_outcomes_has_the_fraction_of_the_bet(p: float, win: float) -> None:
    wins = round(p * 1_000)
    sample = np.repeat([win, -1.0], [wins, 1_000 - wins])
    expected = kelly_discrete(wins / 1_000, win)
    assert kelly_empirical(sample)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_the_empirical_fractions_meet_the_condition_of_first_order(k: int) -> None:
    rng = np.random.default_rng(2)
    returns = 0.002 + 0.03 * rng.standard_t(4, size=(400, k)).clip(-9, 9)
    fractions = kelly_empirical(returns, risk_free=0.0005)
    excess = returns - 0.0005
    wealth = 1.0005 + excess @ fractions
    assert wealth.min() > 0
    np.testing.assert_allclose((excess / wealth[:, None]).mean(axis=0), 0.0, atol=1e-15)


def test_for_small_returns_both_methods_agree() -> None:
    returns = 2e-7 + 1e-3 * np.random.default_rng(4).normal(size=(5_000, 2))
    moments = Kelly().fit(returns)
    exact = Kelly(method=KellyMethod.log_optimal).fit(returns)
    np.testing.assert_allclose(exact.full, moments.full, rtol=5e-2)
    assert exact.growth == pytest.approx(moments.growth, rel=5e-2)


def test_a_part_is_taken_and_then_the_cap_shrinks_all_alike() -> None:
    np.testing.assert_allclose(Kelly(fraction=0.5).sized([3.0, -1.0]), [1.5, -0.5])
    np.testing.assert_allclose(Kelly(fraction=0.5, cap=1.0).sized([3.0, -1.0]), [0.75, -0.25])
    np.testing.assert_allclose(Kelly(cap=4.0).sized([3.0, -1.0]), [3.0, -1.0])
    returns = 0.01 + 0.02 * np.random.default_rng(1).normal(size=300)
    fit = Kelly(fraction=0.5, cap=2.0).fit(returns)
    assert (fit.fractions[0], fit.n) == (2.0, 300)
    assert fit.full[0] == pytest.approx(returns.mean() / returns.var(ddof=1), rel=1e-12)
    assert fit.growth == pytest.approx(2.0 * returns.mean() - 2.0 * returns.var(ddof=1), rel=1e-12)


_SINGULAR = [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: kelly_discrete(1.2, 1.0), r"win_probability must be in \[0, 1\], was 1.2"),
        (lambda: kelly_discrete(0.5, 0.0), "win must be finite and > 0, was 0.0"),
        (lambda: kelly_discrete(0.5, 1.0, -1.0), "loss must be finite and > 0, was -1.0"),
        (lambda: kelly_continuous(0.1, 0.0), "variance must be finite and > 0, was 0.0"),
        (lambda: kelly_continuous(math.nan, 1.0), "mean must be finite, was nan"),
        (lambda: kelly_weights([0.1, 0.1], _SINGULAR), "must be positive definite"),
        (lambda: kelly_weights([0.1, 0.1], [[1.0, 2.0], [2.0, 1.0]]), "must be positive definite"),
        (lambda: kelly_weights([0.1, 0.1], [[1.0, 0.5], [0.1, 1.0]]), "must be symmetric"),
        (lambda: kelly_weights([0.1, 0.1], [[1.0, 0.0], [0.0, 0.0]]), "variances > 0, was 0.0 at 1"),
        (lambda: kelly_weights([0.1, 0.1], [[1.0, math.nan], [0.0, 1.0]]), r"was nan at \(0, 1\)"),
        (lambda: kelly_weights([0.1], np.eye(2)), r"mean must have shape \(2,\), was \(1,\)"),
        (lambda: kelly_weights([0.1, math.inf], np.eye(2)), "mean must be finite, was inf at 1"),
        (lambda: kelly_weights([0.1], np.ones(3)), r"covariance must have shape \(k, k\), was \(1, 3\)"),
        (lambda: kelly_empirical([0.01, 0.02, 0.0]), "its growth has no maximum"),
        (lambda: kelly_empirical([-0.01, -0.02, -0.03]), "its growth has no maximum"),
        (lambda: kelly_empirical([[0.02, -0.01], [-0.01, 0.02], [0.0, 0.0]]), "its growth has no maximum"),
        (lambda: kelly_empirical([0.01, 0.01]), "returns must vary, was constant at 0.01"),
        (lambda: kelly_empirical([0.01, math.nan]), "returns must be finite, was nan at 1"),
        (lambda: kelly_empirical([0.01, -0.01], -1.0), "risk_free must be > -1 and finite, was -1.0"),
        (lambda: Kelly().fit([[0.1, 0.2], [0.0, 0.1], [0.2, 0.0]]), "at least 4 observations of 2 series"),
        (lambda: Kelly(fraction=0.0), r"fraction must be in \(0, 1\], was 0.0"),
        (lambda: Kelly(cap=math.nan), "cap must be > 0, was nan"),
        (lambda: Kelly(risk_free=math.inf), "risk_free must be finite, was inf"),
    ],
)
def test_what_has_no_answer_is_refused(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
