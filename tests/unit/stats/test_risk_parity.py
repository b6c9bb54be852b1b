"""Weights of risk parity: contributions are budgets, closed forms where there are any."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.stats.risk_parity import (
    RiskParity,
    risk_contributions,
    risk_parity_weights,
    two_leg_weights,
)

_SEEDS = st.integers(0, 2**32 - 1)


def random_covariance(rng: np.random.Generator, k: int) -> np.ndarray:
    """Correlations of both signs, and standard deviations over four orders of magnitude."""
    square = rng.normal(size=(k, k + 1))
    sd = 10.0 ** rng.uniform(-3.0, 1.0, k)
    covariance = square @ square.T
    own = np.sqrt(np.diagonal(covariance))
    return covariance / np.outer(own, own) * np.outer(sd, sd)


@given(st.integers(1, 12), _SEEDS)
def test_every_leg_bears_its_budget(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    covariance = random_covariance(rng, k)
    budgets = 10.0 ** rng.uniform(-4.0, 0.0, k)
    directions = tuple(rng.choice([1, -1], k).tolist())
    fit = RiskParity(tuple(budgets), directions).fit(covariance)
    np.testing.assert_allclose(fit.contributions, budgets / budgets.sum(), rtol=1e-8, atol=1e-11)
    np.testing.assert_array_equal(np.sign(fit.weights), directions)
    assert np.abs(fit.weights).sum() == pytest.approx(1.0)
    assert fit.sd == pytest.approx(math.sqrt(fit.weights @ covariance @ fit.weights))
    parts = fit.weights * (covariance @ fit.weights) / fit.sd**2
    np.testing.assert_allclose(fit.contributions, parts, rtol=1e-9, atol=1e-12)


@given(st.floats(0.01, 10.0), st.floats(0.01, 10.0), st.floats(-0.999, 0.999), st.floats(0.01, 0.99))
def test_two_legs_have_the_weights_of_the_closed_form(
    first: float, second: float, correlation: float, budget: float
) -> None:
    covariance = np.array([[first**2, correlation * first * second], [0.0, second**2]])
    covariance[1, 0] = covariance[0, 1]
    weights = two_leg_weights(first, second, correlation, budget)
    np.testing.assert_allclose(risk_parity_weights(covariance, [budget, 1 - budget]), weights, rtol=1e-7)
    assert risk_contributions(weights, covariance)[0] == pytest.approx(budget, rel=1e-9)


@given(st.floats(0.01, 10.0), st.floats(0.01, 10.0), st.floats(-0.999, 1.0))
def test_two_equal_legs_share_by_one_over_sd_whatever_the_correlation(
    first: float, second: float, correlation: float
) -> None:
    a, b = two_leg_weights(first, second, correlation)
    assert a * first == pytest.approx(b * second)


def test_without_correlation_weights_are_roots_of_budgets_over_sd() -> None:
    weights = risk_parity_weights(np.diag([0.01, 0.04, 0.09]), [1.0, 2.0, 3.0])
    expected = np.sqrt([1.0, 2.0, 3.0]) / [0.1, 0.2, 0.3]
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-14)


@given(_SEEDS, st.floats(1e-9, 1e9))
def test_the_unit_of_the_covariance_does_not_matter(seed: int, unit: float) -> None:
    covariance = random_covariance(np.random.default_rng(seed), 4)
    np.testing.assert_allclose(
        risk_parity_weights(covariance * unit), risk_parity_weights(covariance), rtol=1e-7
    )


def test_a_hundred_legs_and_tiny_budgets_are_solved() -> None:
    rng = np.random.default_rng(5)
    budgets = 10.0 ** rng.uniform(-7.0, 0.0, 100)
    fit = RiskParity(tuple(budgets)).fit(random_covariance(rng, 100))
    np.testing.assert_allclose(fit.contributions, budgets / budgets.sum(), rtol=1e-6)


def test_legs_that_nearly_cancel_are_solved() -> None:
    covariance = np.array([[1.0, -0.999999], [-0.999999, 1.0]])
    fit = RiskParity((3.0, 7.0)).fit(covariance)
    np.testing.assert_allclose(fit.weights, two_leg_weights(1.0, 1.0, -0.999999, 0.3), rtol=1e-9)


def test_a_short_leg_turns_its_correlations() -> None:
    covariance = np.array([[0.04, 0.01, 0.0], [0.01, 0.01, 0.002], [0.0, 0.002, 0.09]])
    turned = covariance * np.outer([1, -1, 1], [1, -1, 1])
    fit = RiskParity(directions=(1, -1, 1)).fit(covariance)
    np.testing.assert_allclose(np.abs(fit.weights), risk_parity_weights(turned), rtol=1e-12)


def test_returns_are_taken_by_their_sample_covariance() -> None:
    returns = np.random.default_rng(8).normal(size=(50, 3)) * [1.0, 2.0, 3.0]
    fit = RiskParity().fit_returns(returns)
    np.testing.assert_allclose(fit.weights, risk_parity_weights(np.cov(returns.T)), rtol=1e-14)
    assert RiskParity().fit_returns(returns[:, :1]).weights.tolist() == [1.0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: two_leg_weights(0.0, 1.0), "first_sd must be finite and > 0, was 0.0"),
        (lambda: two_leg_weights(1.0, math.nan), "second_sd must be finite and > 0, was nan"),
        (lambda: two_leg_weights(1.0, 1.0, -1.0), r"correlation must be in \(-1, 1\], was -1.0"),
        (lambda: two_leg_weights(1.0, 1.0, 0.0, 1.0), r"first_budget must be in \(0, 1\), was 1.0"),
        (lambda: RiskParity((1.0, 0.0)), r"budgets\[1\] must be finite and > 0, was 0.0"),
        (lambda: RiskParity(directions=(1, 0)), r"directions\[1\] must be 1 or -1, was 0"),
        (lambda: RiskParity(tolerance=0.0), "tolerance must be finite and > 0"),
        (lambda: RiskParity((1.0,)).fit(np.eye(2)), r"budgets must have shape \(2,\), was \(1,\)"),
        (lambda: RiskParity(directions=(1,)).fit(np.eye(2)), "directions must have shape"),
        (lambda: RiskParity().fit([[1.0, -1.0], [-1.0, 1.0]]), "must be positive definite"),
        (lambda: RiskParity().fit([[1.0, math.inf], [0.0, 1.0]]), "covariance must be finite"),
        (lambda: RiskParity().fit(np.ones((2, 3))), r"covariance must have shape \(k, k\), was \(2, 3\)"),
        (lambda: RiskParity().fit_returns(np.ones((5, 2))), "returns must vary"),
        (lambda: RiskParity().fit_returns([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]]), "positive definite"),
        (lambda: risk_contributions([0.0, 0.0], np.eye(2)), "weights must not all be 0"),
        (lambda: RiskParity(tolerance=1e-30).fit(random_covariance(np.random.default_rng(1), 9)), "off by"),
    ],
)
def test_what_has_no_answer_is_refused(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
