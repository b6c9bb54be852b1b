"""Volatility targets: forecasts by hand, no look-ahead, never more than the cap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bt_framework.stats.volatility_target import (
    VolatilityEstimator,
    VolatilityTarget,
    _ewma_sd,
    _rolling_sd,
    volatility_scale,
)

_EWMA = VolatilityEstimator.ewma
_RETURNS = arrays(np.float64, st.integers(2, 60), elements=st.floats(-0.5, 0.5)).filter(
    lambda r: np.ptp(r) > 1e-6
)


def test_a_rolling_forecast_by_hand() -> None:
    returns = [0.01, 0.03, -0.01, 0.01]
    fit = VolatilityTarget(0.1, 4.0, window=2, max_scale=10.0).fit(returns)
    sds = [math.nan, math.nan, *(2.0 * np.std(w, ddof=1) for w in ([0.01, 0.03], [0.03, -0.01]))]
    np.testing.assert_allclose(fit.forecast_sd, sds, rtol=1e-12)
    np.testing.assert_allclose(fit.scale, [0.0, 0.0, 0.1 / sds[2], 0.1 / sds[3]], rtol=1e-12)
    np.testing.assert_allclose(fit.returns, fit.scale * returns, rtol=1e-12)
    assert fit.next_scale == pytest.approx(0.1 / (2.0 * np.std([-0.01, 0.01], ddof=1)))


def test_a_weighted_forecast_by_hand() -> None:
    returns = [0.02, -0.04, 0.01]
    fit = VolatilityTarget(0.1, 1.0, _EWMA, window=2, half_life=1.0, max_scale=10.0).fit(returns)
    # Weights 1/2 and 1: the mean square is (0.0004 / 2 + 0.0016) / 1.5.
    variance = (0.5 * 0.02**2 + 0.04**2) / 1.5
    np.testing.assert_allclose(fit.forecast_sd, [math.nan, math.nan, math.sqrt(variance)], rtol=1e-12)
    variance = (0.25 * 0.02**2 + 0.5 * 0.04**2 + 0.01**2) / 1.75
    assert fit.next_scale == pytest.approx(0.1 / math.sqrt(variance))


@given(_RETURNS, st.sampled_from(VolatilityEstimator), st.integers(2, 20), st.floats(0.01, 5.0))
def test_scales_are_finite_and_within_the_cap(
    returns: np.ndarray, estimator: VolatilityEstimator, window: int, cap: float
) -> None:
    fit = VolatilityTarget(0.2, 252.0, estimator, window, max_scale=cap).fit(returns)
    scales = np.append(fit.scale, fit.next_scale)
    assert ((scales >= 0.0) & (scales <= cap)).all()
    assert (scales[: min(window, len(scales))] == 0.0).all()
    assert np.isfinite(fit.returns).all()


@given(_RETURNS, st.sampled_from(VolatilityEstimator), st.integers(1, 50))
def test_a_scale_knows_only_what_came_before(
    returns: np.ndarray, estimator: VolatilityEstimator, cut: int
) -> None:
    target = VolatilityTarget(0.2, 252.0, estimator, window=3)
    cut = min(cut, len(returns) - 1)
    later = returns.copy()
    later[cut:] = np.where(np.arange(len(returns) - cut) % 2 == 0, 0.4, -0.4)
    np.testing.assert_array_equal(
        target.fit(returns).scale[: cut + 1],
        target.fit(later).scale[: cut + 1] if np.ptp(later) > 0 else 0.0,
    )


@pytest.mark.parametrize("estimator", VolatilityEstimator)
def test_returns_of_a_constant_volatility_are_scaled_to_the_target(estimator: VolatilityEstimator) -> None:
    returns = 0.03 * np.random.default_rng(6).normal(size=20_000)
    fit = VolatilityTarget(0.1, 365.0, estimator, 250, half_life=100.0, max_scale=9.0).fit(returns)
    assert fit.returns[250:].std() * math.sqrt(365.0) == pytest.approx(0.1, rel=0.02)


def test_a_calm_stretch_has_the_cap_and_the_end_of_it_the_target_again() -> None:
    returns = np.concatenate((np.tile([0.01, -0.01], 5), np.zeros(10), np.tile([0.01, -0.01], 5)))
    scale = volatility_scale(returns, 0.1, 252, window=4, max_scale=2.0)
    assert (scale[14:21] == 2.0).all()
    assert (scale[24:] == scale[24]).all()
    assert 0.0 < scale[24] < 2.0


@pytest.mark.parametrize("kernel", [_rolling_sd, _ewma_sd])
def test_compiled_and_plain_forecasts_are_the_same(kernel: Any) -> None:
    returns = np.random.default_rng(7).normal(size=40)
    arguments = (5,) if kernel is _rolling_sd else (0.9, 5)
    compiled, plain = np.empty(41), np.empty(41)
    kernel(returns, *arguments, compiled)
    getattr(kernel, "py_func", kernel)(returns, *arguments, plain)
    np.testing.assert_allclose(compiled, plain, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: VolatilityTarget(0.0, 252.0), "target_sd must be finite and > 0, was 0.0"),
        (lambda: VolatilityTarget(0.1, math.inf), "periods_per_year must be finite and > 0, was inf"),
        (lambda: VolatilityTarget(0.1, 252.0, half_life=0.0), "half_life must be finite and > 0"),
        (lambda: VolatilityTarget(0.1, 252.0, max_scale=math.nan), "max_scale must be finite and > 0"),
        (lambda: VolatilityTarget(0.1, 252.0, window=1), "window must be >= 2, was 1"),
        (lambda: volatility_scale([0.1, math.nan], 0.1, 252), "returns must be finite, was nan at 1"),
        (lambda: volatility_scale([0.0, 0.0, 0.0], 0.1, 252), "returns must vary, was constant at 0.0"),
        (lambda: volatility_scale([[0.1, 0.2]], 0.1, 252), r"returns must have shape \(n,\), was \(1, 2\)"),
    ],
)
def test_what_has_no_answer_is_refused(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
