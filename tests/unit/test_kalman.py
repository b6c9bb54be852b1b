"""The Kalman regression: by hand, against other implementations' numbers, and as invariants."""

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


def test_filter_equals_four_other_implementations(shared_dir):
    folder = shared_dir / "references"
    expected = np.genfromtxt(folder / "kalman_2d_slope_intercept.csv", delimiter=",", names=True)
    about = json.loads((folder / "kalman_refs.json").read_text())["2d_slope_intercept"]
    hedge = KalmanHedge(q_intercept=about["Q"][1][1], q_slope=about["Q"][0][0], r=about["R"])
    steps = hedge.filter(expected["x"], expected["y"])
    names = {
        "hedge_ratio": "state0_post",
        "intercept": "state1_post",
        "p11": "P00_post",
        "p01": "P01_post",
        "p00": "P11_post",
        "innovation": "innov",
        "innovation_variance": "S",
    }
    for ours, theirs in names.items():
        np.testing.assert_allclose(steps[ours], expected[theirs], rtol=1e-12, atol=1e-12, err_msg=ours)
    assert hedge.log_likelihood == pytest.approx(about["loglik"], abs=1e-10)


def test_without_drift_the_filter_is_the_regression_by_least_squares(shared_dir):
    expected = np.genfromtxt(shared_dir / "references/kalman_recursive_ls.csv", delimiter=",", names=True)
    data = np.genfromtxt(shared_dir / "references/kalman_2d_slope_intercept.csv", delimiter=",", names=True)
    steps = KalmanHedge(q_intercept=0.0, q_slope=0.0, r=1.0, p00=1e8, p11=1e8).filter(data["x"], data["y"])
    at = expected["t"].astype(int)
    np.testing.assert_allclose(steps.hedge_ratio[at][50:], expected["ols_slope"][50:], rtol=1e-5, atol=1e-5)


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
@given(data=st.lists(st.tuples(finite, finite), max_size=30), cut=st.integers(0, 30))
def test_filtering_in_two_parts_with_the_state_carried_over_changes_nothing(data, cut):
    x, y = np.array(data, float).reshape(-1, 2).T
    whole, first, second = (KalmanHedge(q_intercept=1e-3, q_slope=1e-4, r=0.1) for _ in range(3))
    steps = whole.filter(x, y)
    parts = [first.filter(x[:cut], y[:cut])]
    second.set_state(first.get_state())
    parts.append(second.filter(x[cut:], y[cut:]))
    np.testing.assert_array_equal(np.concatenate(parts), steps)
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


def test_an_empty_filter_changes_nothing():
    hedge = KalmanHedge(q_intercept=1.0, q_slope=1.0, r=1.0)
    before = hedge.get_state()
    assert hedge.filter([], []).dtype.fields == KALMAN_STEP.fields
    np.testing.assert_equal(hedge.get_state(), before)
