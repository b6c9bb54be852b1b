"""Corrected and moment estimates of the OU process: by hand, in the loop and out of it, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bt_framework.jit import PlainForms, cached_kernel
from bt_framework.records import record
from bt_framework.stats.ou import OU, OuStatus, fit_ou, ou_fit
from bt_framework.stats.ou_bias import ou_moments, ou_unbias, ou_unbiased, ou_unbiased_theta

ESTIMATES = ("theta", "mu", "sigma", "stationary_sd", "half_life_s", "residual_variance")


@cached_kernel
def fit_in_a_loop(out, values, dt_s):
    """What a strategy's kernel does."""
    ou_fit(out, values, dt_s)
    return ou_unbias(out, dt_s)


def plain(kernel):
    """Return the kernel as a Python function."""
    return PlainForms().of(getattr(kernel, "py_func", kernel)) if hasattr(kernel, "py_func") else kernel


def path(n: int, phi: float, seed: int) -> np.ndarray:
    rng, values = np.random.default_rng(seed), [0.0]
    for _ in range(n):
        values.append(phi * values[-1] + rng.normal())
    return np.array(values)


def test_the_correction_is_the_number_worked_by_hand():
    # theta = ln(3/2) / 2 at dt = 2: exp(theta dt) = 3/2, n = 100: (5 + 3 + 9/4) / 400.
    theta = math.log(1.5) / 2.0
    assert ou_unbiased_theta(theta, 100, 2.0) == pytest.approx(theta - 10.25 / 400.0, rel=1e-15)
    assert ou_unbiased_theta(theta, 4, 2.0) < 0.0
    assert math.isnan(ou_unbiased_theta(theta, 0, 2.0))
    assert math.isnan(ou_unbiased_theta(theta, 4, 0.0))
    # Fine sampling of one time span leaves 4 over the span.
    assert ou_unbiased_theta(1.0, 10**9, 1e-7) == pytest.approx(1.0 - 4.0 / 100.0, rel=1e-6)


def test_moments_are_the_numbers_worked_by_hand():
    # X = 0, 1, 2, 2, 1, 0: m = 1, squares 1+0+1+1+0+1 = 4, products 0+0+1+0+0 = 1: phi = 1/4, v = 2/3.
    fit = ou_moments([0.0, 1.0, 2.0, 2.0, 1.0, 0.0], dt_s=2.0)
    assert fit.status is OuStatus.OK
    theta = math.log(4.0) / 2.0
    expected = {
        "phi": 0.25,
        "mu": 1.0,
        "theta": theta,
        "stationary_sd": math.sqrt(2.0 / 3.0),
        "sigma": math.sqrt(2.0 * theta * 2.0 / 3.0),
        "half_life_s": math.log(2.0) / theta,
        "residual_variance": 2.0 / 3.0 * 15.0 / 16.0,
        "theta_bias": (7.0 + 8.0 + 16.0) / (2.0 * 5.0 * 2.0),
        "theta_se": math.sqrt(15.0 / 16.0 / 5.0) / 0.5,
    }
    for name, value in expected.items():
        assert getattr(fit, name) == pytest.approx(value, rel=1e-14), name
    # Residuals of X[i+1] - 1 - (X[i] - 1) / 4: 1/4, 1, 3/4, -1/4, -1.
    variance = expected["residual_variance"]
    squares = 1 / 16 + 1 + 9 / 16 + 1 / 16 + 1
    likelihood = -0.5 * (5 * math.log(2 * math.pi * variance) + squares / variance)
    assert fit.log_likelihood == pytest.approx(likelihood, rel=1e-14)
    assert (fit.n, fit.dt_s) == (5, 2.0)


def test_corrected_estimates_follow_from_the_corrected_theta():
    values = path(400, 0.9, 1)
    fit, dt_s = fit_ou(values, 0.5), 0.5
    for method in ("tang_chen", "kendall", "jackknife"):
        corrected = ou_unbiased(values, dt_s, method)
        assert corrected.status is OuStatus.OK
        assert corrected.theta_bias == 0.0
        phi = corrected.phi
        assert phi == pytest.approx(math.exp(-corrected.theta * dt_s), rel=1e-14)
        sd = math.sqrt(fit.residual_variance / (1 - phi * phi))
        assert corrected.stationary_sd == pytest.approx(sd, rel=1e-12)
        assert corrected.sigma == pytest.approx(sd * math.sqrt(2 * corrected.theta), rel=1e-12)
        assert corrected.half_life_s == pytest.approx(math.log(2) / corrected.theta)
        assert (corrected.mu, corrected.residual_variance, corrected.n) == (
            fit.mu,
            fit.residual_variance,
            fit.n,
        )
        assert corrected.log_likelihood < fit.log_likelihood
        assert sum(corrected.bounds("theta")) / 2 == pytest.approx(corrected.theta)
    assert ou_unbiased(values, dt_s).theta == pytest.approx(fit.theta - fit.theta_bias, rel=1e-13)
    phi = (400 * fit.phi + 1) / 397
    assert ou_unbiased(values, dt_s, "kendall").phi == pytest.approx(phi, rel=1e-13)
    halves = [fit_ou(values[:201], dt_s).theta, fit_ou(values[200:], dt_s).theta]
    assert ou_unbiased(values, dt_s, "jackknife").theta == pytest.approx(
        2 * fit.theta - sum(halves) / 2, rel=1e-13
    )


@pytest.mark.parametrize(("seed", "status"), [(11, OuStatus.OK), (12, OuStatus.NOT_REVERTING)])
def test_a_part_of_the_jackknife_may_look_like_no_reversion(seed, status):
    # Theta of a part is negative where its phi is above one.
    values = path(60, 0.97, seed)
    parts = [fit_ou(values[i * 30 : i * 30 + 31], 1.0) for i in range(2)]
    assert OuStatus.NOT_REVERTING in [part.status for part in parts]
    theta = 2 * fit_ou(values, 1.0).theta + sum(math.log(part.phi) for part in parts) / 2
    corrected = ou_unbiased(values, 1.0, "jackknife")
    assert corrected.status is status
    if status is OuStatus.OK:
        assert corrected.theta == pytest.approx(theta, rel=1e-12)
    else:
        assert theta < 0
        assert math.isnan(corrected.theta)


@given(st.integers(0, 10**6), st.integers(8, 120), st.floats(0.01, 100.0))
def test_the_loop_corrects_as_the_function_does(seed, n, dt_s):
    values = path(n, 0.8, seed)
    out, by_hand = record(OU), record(OU)
    status = OuStatus(fit_in_a_loop(out, values, dt_s))
    plain(fit_in_a_loop)(by_hand, values, dt_s)
    np.testing.assert_allclose(out.item(), by_hand.item(), rtol=1e-11)
    corrected = ou_unbiased(values, dt_s)
    assert status is corrected.status is OuStatus(int(out.status))
    for name in (*ESTIMATES, "phi"):
        np.testing.assert_allclose(out[name], getattr(corrected, name), rtol=1e-11)
    if status is OuStatus.OK:
        assert 0 < out.theta < fit_ou(values, dt_s).theta
    else:
        assert all(math.isnan(out[name]) for name in ESTIMATES)


@given(st.integers(0, 10**6), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-2, 1e2))
def test_moments_follow_shifts_and_changes_of_unit(seed, shift, scale, dt_scale):
    values = path(200, 0.8, seed)
    base = ou_moments(values, 0.2)
    assume(base.status is OuStatus.OK)
    moved = ou_moments(shift + scale * values, 0.2 * dt_scale)
    tolerance = 1e-8 + 1e-11 * (1 + abs(shift)) / scale
    assert moved.theta * dt_scale == pytest.approx(base.theta, rel=tolerance)
    assert moved.stationary_sd == pytest.approx(base.stationary_sd * scale, rel=tolerance)
    assert moved.mu == pytest.approx(shift + scale * base.mu, abs=tolerance * (abs(shift) + 10 * scale))


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([], OuStatus.TOO_FEW),
        ([1.0, 2.0, 1.0], OuStatus.TOO_FEW),
        ([0.1] * 50, OuStatus.CONSTANT),
        ([1.0, -1.0] * 10, OuStatus.NOT_REVERTING),
        ([0.0, 1.0, math.nan, 1.0, 0.0], OuStatus.NOT_FINITE),
        ([0.0, 1e200, 0.0, 0.0, 1e200, 1e200], OuStatus.NOT_FINITE),
    ],
)
@pytest.mark.parametrize("fit", [ou_moments, ou_unbiased])
def test_what_cannot_be_fitted_is_said(fit, values, status):
    found = fit(values, 1.0)
    assert found.status is status
    assert all(math.isnan(getattr(found, name)) for name in ESTIMATES)
    assert math.isnan(found.bounds("theta")[0])


def test_a_record_that_was_never_fitted_is_not_corrected():
    out = record(OU)
    assert plain(ou_unbias)(out, 1.0) == ou_unbias(record(OU), 1.0) == OuStatus.NOT_REVERTING
    assert all(math.isnan(out[name]) for name in ESTIMATES)


def test_a_correction_that_leaves_no_reversion_is_said():
    values = path(30, 0.95, 1)
    assert fit_ou(values, 1.0).status is OuStatus.OK
    for method in ("tang_chen", "kendall"):
        found = ou_unbiased(values, 1.0, method)
        assert found.status is OuStatus.NOT_REVERTING
        assert all(math.isnan(getattr(found, name)) for name in (*ESTIMATES, "theta_se", "theta_bias"))
    short = [0.0, 0.0, 0.0, 2.0]
    assert ou_unbiased(short, 1.0, "kendall").status is not OuStatus.OK


def test_bad_arguments_are_refused():
    for fit in (ou_moments, ou_unbiased):
        with pytest.raises(ValueError, match=r"values must have shape \(n \+ 1,\), was \(1, 2\)"):
            fit([[1.0, 2.0]], 1.0)
        with pytest.raises(ValueError, match=r"dt_s must be finite and > 0, was -1\.0"):
            fit([1.0, 2.0], -1.0)
    with pytest.raises(ValueError, match="method must be tang_chen, kendall or jackknife, was 'burg'"):
        ou_unbiased([1.0, 2.0], 1.0, "burg")
    with pytest.raises(ValueError, match="blocks must be >= 2, was 1"):
        ou_unbiased([1.0, 2.0], 1.0, "jackknife", 1)
