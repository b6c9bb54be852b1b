"""The Kalman regression without an intercept: by hand, against the one with an intercept, compiled and plain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.records import record
from bt_framework.stats.kalman import (
    KALMAN_SLOPE,
    KALMAN_SLOPE_STEP,
    KalmanHedge,
    KalmanSlope,
    kalman_slope_reset,
    kalman_slope_update,
)

plain_update = getattr(kalman_slope_update, "py_func", kalman_slope_update)
plain_reset = getattr(kalman_slope_reset, "py_func", kalman_slope_reset)

finite = st.floats(-1e3, 1e3, allow_subnormal=False)


def numbers(steps: np.ndarray) -> np.ndarray:
    """All fields as plain floats, which compare equal where both are NaN."""
    return np.asarray(steps).view("f8")


def test_one_step_gives_the_numbers_worked_by_hand():
    # Prior b = 2, P = 0.25, q = 0.25 makes it 0.5; x = 2, y = 7, r = 2: innovation 3, S = 2*0.5*2 + 2 = 4,
    # K = 0.5*2/4 = 0.25, b = 2.75, P = 0.5*0.5*0.5 + 2/16 = 0.25.
    s = record(KALMAN_SLOPE, hedge_ratio=2.0, p11=0.25)
    assert plain_update(s, 2.0, 7.0, 0.25, 2.0) == 3.0
    assert (s.hedge_ratio, s.p11, s.innovation_variance, s.observations) == (2.75, 0.25, 4.0, 1)
    assert s.log_likelihood == pytest.approx(-0.5 * (math.log(2 * math.pi * 4.0) + 9.0 / 4.0), rel=1e-15)


@pytest.mark.parametrize(("x", "y"), [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, -math.inf)])
def test_a_missing_observation_only_predicts(x, y):
    s = record(KALMAN_SLOPE, hedge_ratio=2.0, p11=0.25, log_likelihood=-3.0, observations=7)
    assert math.isnan(plain_update(s, x, y, 0.5, 1.0))
    assert (s.hedge_ratio, s.p11, s.log_likelihood, s.observations) == (2.0, 0.75, -3.0, 7)
    assert math.isnan(s.innovation_variance)


def test_reset_forgets_everything_but_the_prior():
    s = record(KALMAN_SLOPE, hedge_ratio=9.0, p11=9.0, log_likelihood=9.0, observations=9)
    plain_reset(s, 2.0, 4.0)
    assert (s.hedge_ratio, s.p11, s.log_likelihood, s.observations) == (2.0, 4.0, 0.0, 0)
    assert math.isnan(s.innovation_variance)


def test_compiled_and_plain_steps_agree_on_random_input():
    rng = np.random.default_rng(12)
    compiled, plain = record(KALMAN_SLOPE), record(KALMAN_SLOPE)
    kalman_slope_reset(compiled, 0.9, 3.0)
    plain_reset(plain, 0.9, 3.0)
    for step in range(200):
        x, y = rng.normal(10.0, 2.0), math.nan if step % 17 == 0 else rng.normal(5.0, 1.0)
        q, r = rng.uniform(1e-9, 1e-2, 2)
        innovations = [f(s, x, y, q, r) for f, s in ((kalman_slope_update, compiled), (plain_update, plain))]
        np.testing.assert_allclose(innovations[0], innovations[1], rtol=1e-12)
    np.testing.assert_allclose(compiled.item(), plain.item(), rtol=1e-12)


@given(
    data=st.lists(st.tuples(finite, finite), max_size=30),
    missing=st.sets(st.integers(0, 29)),
    predict_first=st.booleans(),
    cut=st.integers(0, 30),
)
def test_it_is_the_filter_with_an_intercept_known_to_be_zero_in_any_form(data, missing, predict_first, cut):
    x, y = np.array(data, float).reshape(-1, 2).T
    y = np.where([i in missing for i in range(len(y))], math.nan, y)
    settings = {"q_slope": 1e-4, "r": 0.1, "predict_first": predict_first}
    slope, plain, carried = (
        KalmanSlope(**settings),
        KalmanSlope(**settings, compiled=False),
        KalmanSlope(**settings),
    )
    hedge = KalmanHedge(**settings, q_intercept=0.0, p00=0.0)
    steps, both = slope.filter(x, y), hedge.filter(x, y)
    for name in KALMAN_SLOPE_STEP.names:
        np.testing.assert_array_equal(steps[name], both[name], err_msg=name)
    assert slope.log_likelihood == hedge.log_likelihood
    np.testing.assert_array_equal(numbers(plain.filter(x, y)), numbers(steps))
    assert plain.log_likelihood == pytest.approx(slope.log_likelihood, rel=1e-14)
    first = carried.filter(x[:cut], y[:cut])
    carried.set_state(carried.get_state())
    parts = np.concatenate([first, carried.filter(x[cut:], y[cut:])])
    np.testing.assert_array_equal(numbers(parts), numbers(steps))


def test_settings_and_states_that_no_filter_can_have_are_refused():
    with pytest.raises(ValueError, match=r"r must be finite and > 0, was 0.0\."):
        KalmanSlope(q_slope=0.0, r=0.0)
    with pytest.raises(ValueError, match=r"p11 must be finite and >= 0, was -1.0\."):
        KalmanSlope(q_slope=0.0, r=1.0, p11=-1.0)
    slope = KalmanSlope(q_slope=0.0, r=1.0)
    state = slope.get_state()
    with pytest.raises(ValueError, match="covariance must be positive semi-definite"):
        slope.set_state(state | {"p11": -1.0})
    with pytest.raises(ValueError, match="missing or unknown: intercept, p00, p01"):
        slope.set_state(KalmanHedge(q_intercept=0.0, q_slope=0.0, r=1.0).get_state())
    np.testing.assert_equal(slope.get_state(), state)
