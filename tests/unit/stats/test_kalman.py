"""The Kalman regression: by hand, compiled against plain, and as invariants."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.records import record
from bt_framework.stats.kalman import KALMAN, KALMAN_STEP, KalmanHedge, kalman_reset, kalman_update

plain_update = getattr(kalman_update, "py_func", kalman_update)
plain_reset = getattr(kalman_reset, "py_func", kalman_reset)

compiled_once = settings(deadline=None)  # the first example may compile
finite = st.floats(-1e3, 1e3, allow_subnormal=False)
variances = st.floats(1e-9, 1e3)


def state(**values: float) -> np.record:
    return record(KALMAN, **values)


def numbers(steps: np.ndarray) -> np.ndarray:
    """All fields as plain floats, which compare equal where both are NaN."""
    return np.asarray(steps).view("f8")


def test_one_step_gives_the_numbers_worked_by_hand():
    # Prior b = (1, 2), P = diag(0.75, 0.25); Q = diag(0.25, 0.25) makes it diag(1, 0.5). x = 2, y = 9, r = 1:
    # innovation = 9 - 1 - 2*2 = 4, S = 1 + 0.5*4 + 1 = 4, K = (1, 0.5*2)/4 = (0.25, 0.25),
    # b = (2, 3), P = (I - K h) diag(1, 0.5) = [[0.75, -0.25], [-0.25, 0.25]].
    s = state(intercept=1.0, hedge_ratio=2.0, p00=0.75, p11=0.25)
    assert plain_update(s, 2.0, 9.0, 0.25, 0.25, 1.0) == 4.0
    assert (s.intercept, s.hedge_ratio) == (2.0, 3.0)
    assert (s.p00, s.p01, s.p11) == (0.75, -0.25, 0.25)
    assert (s.innovation_variance, s.observations) == (4.0, 1)
    assert s.log_likelihood == pytest.approx(-0.5 * (math.log(2 * math.pi * 4.0) + 4.0), rel=1e-15)


@pytest.mark.parametrize(("x", "y"), [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, -math.inf)])
def test_a_missing_observation_only_predicts(x, y):
    s = state(
        intercept=1.0, hedge_ratio=2.0, p00=0.75, p01=0.1, p11=0.25, log_likelihood=-3.0, observations=7
    )
    assert math.isnan(plain_update(s, x, y, 0.25, 0.5, 1.0))
    assert (s.intercept, s.hedge_ratio, s.p00, s.p01, s.p11) == (1.0, 2.0, 1.0, 0.1, 0.75)
    assert math.isnan(s.innovation_variance)
    assert (s.log_likelihood, s.observations) == (-3.0, 7)


def test_an_observation_without_any_uncertainty_only_predicts():
    s = state(intercept=1.0, hedge_ratio=2.0)
    assert math.isnan(plain_update(s, 1.0, 5.0, 0.0, 0.0, 0.0))
    assert (s.intercept, s.hedge_ratio, s.observations) == (1.0, 2.0, 0)


def test_reset_forgets_everything_but_the_prior():
    s = state(intercept=9.0, p01=9.0, log_likelihood=9.0, observations=9, innovation_variance=9.0)
    plain_reset(s, 1.0, 2.0, 3.0, 4.0)
    assert s.item()[:5] == (1.0, 2.0, 3.0, 0.0, 4.0)
    assert math.isnan(s.innovation_variance)
    assert (s.log_likelihood, s.observations) == (0.0, 0)


def test_compiled_and_plain_steps_agree_on_random_input():
    rng = np.random.default_rng(11)
    compiled, plain = state(p00=1.0, p11=1.0), state(p00=1.0, p11=1.0)
    kalman_reset(compiled, 0.1, 0.9, 2.0, 3.0)
    plain_reset(plain, 0.1, 0.9, 2.0, 3.0)
    for step in range(300):
        x, y = rng.normal(10.0, 2.0), rng.normal(5.0, 1.0)
        if step % 17 == 0:
            y = math.nan
        noise = rng.uniform(1e-9, 1e-2, 3)
        innovations = [f(s, x, y, *noise) for f, s in ((kalman_update, compiled), (plain_update, plain))]
        np.testing.assert_allclose(innovations[0], innovations[1], rtol=1e-12)
    np.testing.assert_allclose(compiled.item(), plain.item(), rtol=1e-12)


@compiled_once
@given(
    data=st.lists(st.tuples(finite, finite), min_size=1, max_size=30),
    q=st.tuples(variances, variances),
    r=variances,
    p=st.tuples(variances, variances),
)
def test_covariance_stays_positive_semi_definite_and_innovations_uncertain(data, q, r, p):
    hedge = KalmanHedge(q_intercept=q[0], q_slope=q[1], r=r, p00=p[0], p11=p[1])
    x, y = np.array(data).T
    steps = hedge.filter(x, y)
    assert (steps.p00 >= 0).all()
    assert (steps.p11 >= 0).all()
    assert (steps.p00 * steps.p11 - steps.p01**2 >= -1e-9 * steps.p00 * steps.p11).all()
    assert (steps.innovation_variance >= r).all()


@compiled_once
@given(st.lists(st.tuples(finite, finite), max_size=30), st.integers(0, 30), st.booleans())
def test_filtering_in_two_parts_with_the_state_carried_over_changes_nothing(data, cut, predict_first):
    x, y = np.array(data, float).reshape(-1, 2).T
    y[: cut // 3] = math.nan
    settings = {"q_intercept": 1e-3, "q_slope": 1e-4, "r": 0.1, "predict_first": predict_first}
    whole, first, second = (KalmanHedge(**settings) for _ in range(3))
    steps = whole.filter(x, y)
    parts = [first.filter(x[:cut], y[:cut])]
    second.set_state(first.get_state())
    parts.append(second.filter(x[cut:], y[cut:]))
    np.testing.assert_array_equal(numbers(np.concatenate(parts)), numbers(steps))
    np.testing.assert_equal(second.get_state(), whole.get_state())


def test_filter_recovers_a_moving_hedge_ratio():
    rng = np.random.default_rng(5)
    n = 20_000
    intercept = 0.3 + np.cumsum(rng.normal(0, 1e-3, n))
    hedge_ratio = 1.2 + np.cumsum(rng.normal(0, 1e-3, n))
    x = rng.normal(0.0, 1.0, n)
    y = intercept + hedge_ratio * x + rng.normal(0, 0.1, n)
    steps = KalmanHedge(q_intercept=1e-6, q_slope=1e-6, r=1e-2).filter(x, y)
    z = (steps.hedge_ratio - hedge_ratio)[500:] / np.sqrt(steps.p11[500:])
    assert abs(z.mean()) < 0.4
    assert 0.8 < z.std() < 1.2
    standardised = steps.innovation / np.sqrt(steps.innovation_variance)
    assert standardised[500:].std() == pytest.approx(1.0, abs=0.03)


def test_the_prior_may_be_that_of_the_first_observation():
    # Chan's Example 3.3 with Vw = 1/4 and Ve = 1/2, from P = 0 and b = 0; (slope, intercept) as there:
    # t = 1: R = 0, Q = Ve, e = y = 7, K = 0.
    # t = 2, x = 1, y = 4: R = I/4, Q = 1/2 + 1/2, e = 4, K = (1/4, 1/4), b = (1, 1), P = R - K h R.
    # t = 3, x = -1, y = 3: R = [[7, -1], [-1, 7]]/16, R h' = (-1/2, 1/2), Q = 3/2, yhat = 0, b = (0, 2).
    chan = {"q_intercept": 0.25, "q_slope": 0.25, "r": 0.5, "p00": 0.0, "p11": 0.0, "predict_first": False}
    hedge = KalmanHedge(**chan)
    steps = hedge.filter([5.0, 1.0, -1.0], [7.0, 4.0, 3.0])
    assert steps.innovation.tolist() == [7.0, 4.0, 3.0]
    assert steps.innovation_variance.tolist() == [0.5, 1.0, 1.5]
    np.testing.assert_allclose(steps.hedge_ratio, [0.0, 1.0, 0.0], atol=1e-15)
    np.testing.assert_allclose(steps.intercept, [0.0, 1.0, 2.0], rtol=1e-15)
    assert (steps.p00[1], steps.p01[1], steps.p11[1]) == (0.1875, -0.0625, 0.1875)
    late = KalmanHedge(**chan)  # what is missing before the first observation adds no uncertainty
    again = late.filter([1.0, 5.0, 1.0, -1.0], [math.nan, 7.0, 4.0, 3.0])[1:]
    np.testing.assert_array_equal(numbers(again), numbers(steps))


def test_state_is_plain_numbers_by_name():
    hedge = KalmanHedge(q_intercept=0.0, q_slope=0.0, r=1.0, intercept=0.5, hedge_ratio=1.5)
    assert list(hedge.get_state()) == list(KALMAN.names)
    assert json.loads(json.dumps(hedge.get_state()))["hedge_ratio"] == 1.5
    assert (hedge.intercept, hedge.hedge_ratio, hedge.log_likelihood) == (0.5, 1.5, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"r": 0.0}, "r must be finite and > 0, was 0.0."),
        ({"q_slope": -1.0}, "q_slope must be finite and >= 0, was -1.0."),
        ({"p00": math.nan}, "p00 must be finite and >= 0, was nan."),
        ({"hedge_ratio": math.inf}, "hedge_ratio must be finite, was inf."),
    ],
)
def test_impossible_settings_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match="must be finite") as error:
        KalmanHedge(**{"q_intercept": 0.0, "q_slope": 0.0, "r": 1.0} | arguments)
    assert str(error.value) == message


def test_wrong_shapes_and_states_are_refused():
    hedge = KalmanHedge(q_intercept=0.0, q_slope=0.0, r=1.0)
    with pytest.raises(ValueError, match=r"were \(2,\) and \(3,\)"):
        hedge.filter([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="missing or unknown: observations"):
        hedge.set_state({k: v for k, v in hedge.get_state().items() if k != "observations"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intercept": math.nan}, "intercept must be finite, was nan."),
        ({"p11": math.inf}, "p11 must be finite, was inf."),
        ({"p00": -1.0}, "covariance must be positive semi-definite, was -1.0, 0.0, 1.0."),
        ({"p01": 2.0}, "covariance must be positive semi-definite, was 1.0, 2.0, 1.0."),
        ({"innovation_variance": 0.0}, "innovation_variance must be NaN or finite and > 0, was 0.0."),
        ({"observations": -1}, "observations must be a whole number >= 0, was -1."),
        ({"observations": 0.5}, "observations must be a whole number >= 0, was 0.5."),
    ],
)
def test_a_state_that_no_filter_can_have_is_refused_and_changes_nothing(change, message):
    hedge = KalmanHedge(q_intercept=1.0, q_slope=1.0, r=1.0)
    before = hedge.get_state()
    with pytest.raises(ValueError, match="must be") as error:
        hedge.set_state(before | change)
    assert str(error.value) == message
    np.testing.assert_equal(hedge.get_state(), before)


@compiled_once
@given(
    data=st.lists(st.tuples(finite, finite), max_size=30),
    missing=st.sets(st.integers(0, 29)),
    predict_first=st.booleans(),
)
def test_the_filter_in_plain_python_gives_the_same_numbers_to_the_bit(data, missing, predict_first):
    x, y = np.array(data, float).reshape(-1, 2).T
    y = np.where([i in missing for i in range(len(y))], math.nan, y)
    settings = {"q_intercept": 1e-3, "q_slope": 1e-4, "r": 0.1, "p11": 0.0, "predict_first": predict_first}
    compiled, plain = KalmanHedge(**settings), KalmanHedge(**settings, compiled=False)
    np.testing.assert_array_equal(numbers(plain.filter(x, y)), numbers(compiled.filter(x, y)))
    expected = compiled.get_state()
    likelihood = expected.pop("log_likelihood")  # a logarithm may differ in its last digit
    state = plain.get_state()
    assert state.pop("log_likelihood") == pytest.approx(likelihood, rel=1e-14)
    np.testing.assert_equal(state, expected)


def test_an_empty_filter_changes_nothing():
    hedge = KalmanHedge(q_intercept=1.0, q_slope=1.0, r=1.0)
    before = hedge.get_state()
    assert hedge.filter([], []).dtype.fields == KALMAN_STEP.fields
    np.testing.assert_equal(hedge.get_state(), before)
