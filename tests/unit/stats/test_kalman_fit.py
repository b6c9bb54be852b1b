"""Variances of the Kalman regression: the smoother by another route, the gradient, both methods, refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from bt_framework.errors import ConfigError
from bt_framework.stats.kalman import KalmanHedge, KalmanSlope
from bt_framework.stats.kalman_fit import KalmanPrior, _Sample, fit_kalman

TRUTH = np.array([0.02**2, 0.01**2, 0.1**2])


def data(n: int, seed: int, *, missing: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Observations of the model with variances `TRUTH`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(5.0, 1.0, n)
    drift = np.cumsum(rng.normal(0.0, np.sqrt(TRUTH[:2]), (n, 2)), axis=0)
    y = 0.5 + drift[:, 0] + (1.0 + drift[:, 1]) * x + rng.normal(0.0, np.sqrt(TRUTH[2]), n)
    if missing:
        y[n // 3 : n // 3 + 10] = np.nan
        x[-1] = np.inf
    return x, y


def lag_one_moments(x: np.ndarray, y: np.ndarray, noise: np.ndarray, prior: KalmanPrior) -> np.ndarray:
    """Expected squares of the disturbances, summed: the smoother of Shumway and Stoffer, in matrices.

    With smoothed states b, their covariances P and those of neighbours P[t, t-1]: ``E (b[t] - b[t-1])^2`` and
    ``E (y - h b)^2``.
    """
    n, q, r = len(x), np.diag(noise[:2]), noise[2]
    b, p = np.zeros((n + 1, 2)), np.zeros((n + 1, 2, 2))
    b[0], p[0] = (prior.intercept, prior.hedge_ratio), np.diag([prior.p00, prior.p11])
    seen = np.isfinite(x) & np.isfinite(y)
    for t in range(1, n + 1):
        b[t], p[t] = b[t - 1], p[t - 1] + q
        if seen[t - 1]:
            h = np.array([1.0, x[t - 1]])
            gain = p[t] @ h / (h @ p[t] @ h + r)
            b[t] = b[t] + gain * (y[t - 1] - h @ b[t])
            p[t] = p[t] - np.outer(gain, h) @ p[t]
    smooth, cover, moves, errors = b.copy(), p.copy(), np.zeros(2), 0.0
    for t in range(n, 0, -1):
        back = p[t - 1] @ np.linalg.inv(p[t - 1] + q)
        smooth[t - 1] = b[t - 1] + back @ (smooth[t] - b[t - 1])
        cover[t - 1] = p[t - 1] + back @ (cover[t] - p[t - 1] - q) @ back.T
        neighbours = cover[t] @ back.T
        step = smooth[t] - smooth[t - 1]
        moves += step**2 + np.diag(cover[t] + cover[t - 1] - neighbours - neighbours.T)
        if seen[t - 1]:
            h = np.array([1.0, x[t - 1]])
            errors += (y[t - 1] - h @ smooth[t]) ** 2 + h @ cover[t] @ h
    return np.array([*moves, errors])


def test_expected_disturbances_are_those_of_the_smoother_with_lag_one_covariances():
    x, y = data(200, 3, missing=True)
    sample = _Sample(x, y, intercept=True, prior=None)
    noise = TRUTH * [1.5, 0.7, 1.1]
    _, gradient = sample.score(noise)
    counts = np.array([200, 200, sample.n])
    expected = lag_one_moments(x, y, noise, sample.prior)
    np.testing.assert_allclose(noise * (counts + 2.0 * gradient), expected, rtol=1e-9)


def test_gradient_is_the_slope_of_the_filter_s_likelihood():
    x, y = data(300, 4, missing=True)
    sample = _Sample(x, y, intercept=True, prior=KalmanPrior(1.1, 0.3, 0.4, 2.0))
    value, gradient = sample.score(TRUTH)
    hedge = KalmanHedge(
        q_intercept=TRUTH[0], q_slope=TRUTH[1], r=TRUTH[2], intercept=0.4, hedge_ratio=1.1, p00=2.0, p11=0.3
    )
    hedge.filter(x, y)
    assert value == hedge.log_likelihood
    for i in range(3):
        up, down = TRUTH.copy(), TRUTH.copy()
        up[i] *= np.exp(1e-4)
        down[i] *= np.exp(-1e-4)
        slope = (sample.score(up)[0] - sample.score(down)[0]) / 2e-4
        assert gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_expectation_maximisation_never_loses_likelihood_and_ends_at_the_maximum(seed, intercept):
    x, y = data(500, seed, missing=True)
    em = fit_kalman(x, y, "em", intercept=intercept, max_iterations=20_000)
    ml = fit_kalman(x, y, "ml", intercept=intercept)
    path = np.array(em.log_likelihoods)
    assert (np.diff(path) >= -1e-9).all()
    assert em.converged
    assert ml.converged
    assert ml.log_likelihood >= em.log_likelihood - 1e-6
    assert em.log_likelihood == pytest.approx(ml.log_likelihood, abs=2e-2)
    assert em.r == pytest.approx(ml.r, rel=0.02)
    assert max(ml.log_likelihoods) == pytest.approx(ml.log_likelihood, abs=1e-6)


def test_maximum_is_higher_than_what_lies_around_it():
    x, y = data(800, 5)
    fit = fit_kalman(x, y)
    sample = _Sample(x, y, intercept=True, prior=None)
    best = np.array([fit.q_intercept, fit.q_slope, fit.r])
    assert sample.score(best)[0] == fit.log_likelihood
    assert np.abs(sample.score(best)[1]).max() < 1e-3
    for factors in np.random.default_rng(1).uniform(0.8, 1.25, (20, 3)):
        assert sample.score(best * factors)[0] < fit.log_likelihood


def test_fits_find_the_truth():
    found = np.array(
        [
            [fit.q_intercept, fit.q_slope, fit.r]
            for fit in (fit_kalman(*data(2_000, seed)) for seed in range(10, 18))
        ]
    )
    np.testing.assert_allclose(np.median(np.sqrt(found), axis=0), np.sqrt(TRUTH), rtol=0.12)
    np.testing.assert_allclose(found[:, 2], TRUTH[2], rtol=0.15)


def test_a_coefficient_that_stands_still_has_no_drift():
    rng = np.random.default_rng(7)
    x = rng.normal(0.0, 1.0, 1_000)
    y = 2.0 * x + rng.normal(0.0, 0.1, 1_000)
    fit = fit_kalman(x, y, intercept=False)
    assert fit.q_slope < 1e-6
    assert fit.r == pytest.approx(0.01, rel=0.1)
    assert fit.q_intercept == 0.0
    assert isinstance(fit.filter, KalmanSlope)
    assert fit.filter.hedge_ratio == pytest.approx(2.0, abs=0.02)


def test_the_filter_goes_on_from_the_sample():
    x, y = data(600, 8)
    fit = fit_kalman(x[:500], y[:500])
    prior = fit.prior
    whole = KalmanHedge(
        q_intercept=fit.q_intercept,
        q_slope=fit.q_slope,
        r=fit.r,
        intercept=prior.intercept,
        hedge_ratio=prior.hedge_ratio,
        p00=prior.p00,
        p11=prior.p11,
    )
    expected = whole.filter(x, y)
    assert fit.n == fit.filter.get_state()["observations"] == 500
    steps = fit.filter.filter(x[500:], y[500:])
    np.testing.assert_array_equal(steps.hedge_ratio, expected.hedge_ratio[500:])
    np.testing.assert_array_equal(steps.innovation_variance, expected.innovation_variance[500:])


def test_units_of_the_data_change_the_variances_accordingly():
    x, y = data(500, 9)
    base, scaled = fit_kalman(x, y), fit_kalman(10.0 * x, 1000.0 * y)
    assert scaled.q_intercept == pytest.approx(1e6 * base.q_intercept, rel=1e-3)
    assert scaled.q_slope == pytest.approx(1e4 * base.q_slope, rel=1e-3)
    assert scaled.r == pytest.approx(1e6 * base.r, rel=1e-3)


def test_too_few_steps_are_said():
    fit = fit_kalman(*data(300, 2), "em", max_iterations=3)
    assert (fit.converged, fit.iterations, len(fit.log_likelihoods)) == (False, 3, 3)


LINE = np.arange(20.0)
NOISE = np.random.default_rng(0).normal(size=20)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (LINE[:9], NOISE[:9], {}, "at least 10 observations, had 9"),
        (LINE, np.where(LINE < 12, np.nan, NOISE), {}, "at least 10 observations, had 8"),
        (LINE, np.full(20, np.nan), {}, "at least 10 observations, had 0"),
        (LINE, NOISE[:10], {}, r"one shape \(n_steps,\), were \(20,\) and \(10,\)"),
        (np.full(20, 3.0), NOISE, {}, "x must vary, was 3.0 throughout"),
        (np.zeros(20), NOISE, {"intercept": False}, "x must not be zero"),
        (LINE, 2.0 * LINE + 1.0, {}, "y must not be an exact multiple of x plus a constant"),
        (LINE, LINE, {"method": "mle"}, "method must be ml or em, was 'mle'"),
        (LINE, NOISE, {"max_iterations": 0}, "max_iterations must be >= 1, was 0"),
        (LINE, NOISE, {"intercept": False, "prior": KalmanPrior(0.0, 1.0, 1.0, 1.0)}, "intercept = p00 = 0"),
        (LINE, NOISE, {"prior": KalmanPrior(np.nan, 1.0)}, "hedge_ratio must be finite"),
        (LINE, NOISE, {"prior": KalmanPrior(0.0, -1.0)}, "p11 must be finite and >= 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        fit_kalman(x, y, **options)


def test_maximum_likelihood_without_scipy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigError, match=r"pip install 'bt-framework\[stats\]'"):
        fit_kalman(LINE, NOISE)
    assert fit_kalman(LINE, NOISE, "em", max_iterations=2).iterations == 2
