"""Maximum likelihood of the OU process: by hand and as invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bt_framework.records import record
from bt_framework.stats.ou import OU, OuStatus, fit_ou, ou_fit, ou_fit_spread

plain_fit = getattr(ou_fit, "py_func", ou_fit)
plain_spread = getattr(ou_fit_spread, "py_func", ou_fit_spread)

compiled_once = settings(deadline=None)  # the first example may compile
ESTIMATES = ("theta", "mu", "sigma", "stationary_sd", "half_life_s", "residual_variance")


def ou_path(n: int, *, theta: float, mu: float, sigma: float, dt_s: float, seed: int) -> np.ndarray:
    """`n` values of the exact discretisation, started from its stationary law."""
    rng = np.random.default_rng(seed)
    phi = math.exp(-theta * dt_s)
    sd = sigma / math.sqrt(2 * theta)
    noise = rng.normal(0.0, sd * math.sqrt(1 - phi * phi), n)
    x = np.empty(n)
    x[0] = mu + rng.normal(0.0, sd)
    for i in range(1, n):
        x[i] = mu + phi * (x[i - 1] - mu) + noise[i]
    return x


def test_fit_gives_the_numbers_worked_by_hand():
    # X = 0, 2, 0, 0, 2 in steps of 2 s: U = (0, 2, 0, 0), Y = (2, 0, 0, 2), n = 4.
    # mean U = 1/2, mean Y = 1, var U = 4/4 - 1/4 = 3/4, cov = 0 - 1/2 = -1/2: phi < 0.
    out = record(OU)
    assert plain_fit(out, np.array([0.0, 2.0, 0.0, 0.0, 2.0]), 2.0) == OuStatus.NOT_REVERTING
    assert out.phi == pytest.approx(-2.0 / 3.0, rel=1e-15)
    # X = 0, 2, 2, 0, 0: U = (0, 2, 2, 0), Y = (2, 2, 0, 0), means 1, var U = 1, cov = 4/4 - 1 = 0.
    assert plain_fit(out, np.array([0.0, 2.0, 2.0, 0.0, 0.0]), 2.0) == OuStatus.NOT_REVERTING
    assert out.phi == 0.0
    # X = 0, 0, 2, 2, 0: U = (0, 0, 2, 2), Y = (0, 2, 2, 0): the same. X = 0, 0, 0, 2, 2: U = (0, 0, 0, 2),
    # Y = (0, 0, 2, 2), var U = 3/4, cov = 1 - 1/2 = 1/2, phi = 2/3, c = mean Y - phi mean U = 2/3, mu = 2,
    # residuals (-2/3, -2/3, 4/3, 0), SSR = 24/9, s2 = 2/3, stationary variance = (2/3) / (1 - 4/9) = 6/5.
    assert plain_fit(out, np.array([0.0, 0.0, 0.0, 2.0, 2.0]), 2.0) == OuStatus.OK
    theta = math.log(1.5) / 2.0
    expected = {
        "phi": 2 / 3,
        "theta": theta,
        "mu": 2.0,
        "residual_variance": 2 / 3,
        "stationary_sd": math.sqrt(1.2),
        "sigma": math.sqrt(2 * theta * 1.2),
        "half_life_s": math.log(2) / theta,
    }
    for name, value in expected.items():
        assert out[name] == pytest.approx(value, rel=1e-14), name
    assert (out.n, out.status) == (4, OuStatus.OK)


@pytest.mark.parametrize(
    ("values", "dt_s", "status"),
    [
        ([], 1.0, OuStatus.TOO_FEW),
        ([1.0, 2.0, 1.0], 1.0, OuStatus.TOO_FEW),
        ([0.1] * 50, 1.0, OuStatus.CONSTANT),
        ([0.9**i for i in range(20)], 1.0, OuStatus.CONSTANT),
        ([7.0 + 0.9**i for i in range(20)], 1.0, OuStatus.CONSTANT),
        ([float(i * i) for i in range(20)], 1.0, OuStatus.NOT_REVERTING),
        ([1.0, -1.0] * 10, 1.0, OuStatus.NOT_REVERTING),
        ([0.0, 1.0, math.nan, 1.0, 0.0], 1.0, OuStatus.NOT_FINITE),
        ([0.0, 1.0, 0.5, 1.0, math.inf], 1.0, OuStatus.NOT_FINITE),
        ([0.0, 1e200, 0.0, 0.0, 1e200, 1e200], 1.0, OuStatus.NOT_FINITE),
        ([0.0, 0.0, 0.0, 2.0, 2.0], 0.0, OuStatus.NOT_FINITE),
        ([0.0, 0.0, 0.0, 2.0, 2.0], math.nan, OuStatus.NOT_FINITE),
    ],
)
@pytest.mark.parametrize("fit", [ou_fit, plain_fit], ids=["compiled", "plain"])
def test_what_cannot_be_fitted_is_said_and_leaves_no_old_numbers(fit, values, dt_s, status):
    out = record(OU, theta=9.0, mu=9.0, sigma=9.0, stationary_sd=9.0, half_life_s=9.0, phi=9.0)
    with np.errstate(over="ignore", invalid="ignore"):
        assert OuStatus(fit(out, np.array(values, float), dt_s)) is status
    assert (out.status, out.n) == (status, max(len(values) - 1, 0))
    assert all(math.isnan(out[name]) for name in ESTIMATES)
    assert out.phi != 9.0


@pytest.mark.parametrize(
    ("lengths", "start", "count"),
    [((8, 8), 0, 9), ((8, 8), 8, 5), ((8, 8), -1, 5), ((8, 8), 0, -1), ((8, 7), 0, 5)],
)
@pytest.mark.parametrize("fit", [ou_fit_spread, plain_spread], ids=["compiled", "plain"])
def test_a_window_outside_its_ring_buffers_is_refused(fit, lengths, start, count):
    x, y = (np.ones(n) for n in lengths)
    out = record(OU)
    assert OuStatus(fit(out, x, y, start, count, 1.0, 1.0)) is OuStatus.BAD_WINDOW


def test_compiled_and_plain_fits_agree_on_random_input():
    rng = np.random.default_rng(3)
    for _ in range(40):
        capacity = int(rng.integers(4, 60))
        x, y = rng.normal(0, 1, (2, capacity)).cumsum(axis=1) * rng.choice([1e-6, 1.0, 1e6])
        start, count = int(rng.integers(0, capacity)), int(rng.integers(0, capacity + 1))
        b, dt_s = float(rng.normal()), float(rng.uniform(1e-3, 10.0))
        compiled, plain = record(OU), record(OU)
        assert ou_fit_spread(compiled, x, y, start, count, b, dt_s) == plain_spread(
            plain, x, y, start, count, b, dt_s
        )
        np.testing.assert_allclose(compiled.item(), plain.item(), rtol=1e-12)


def test_bounds_hold_the_truth_as_often_as_they_say():
    truth = {"theta": 0.8, "mu": -0.2, "sigma": 0.05, "half_life_s": math.log(2) / 0.8}
    inside = dict.fromkeys(truth, 0)
    runs = 400
    for seed in range(runs):
        path = ou_path(1500, theta=0.8, mu=-0.2, sigma=0.05, dt_s=0.1, seed=seed)
        fit = fit_ou(path, 0.1)
        for name, value in truth.items():
            low, high = fit.bounds(name, 0.9)
            inside[name] += low <= value <= high
    # 0.9 +- 4 standard errors of a share of 400.
    for name, hits in inside.items():
        assert 0.84 <= hits / runs <= 0.96, (name, hits / runs)


def test_bounds_follow_from_the_standard_errors():
    fit = fit_ou([0.0, 0.0, 0.0, 2.0, 2.0], 2.0)
    low, high = fit.bounds("mu", 0.6826894921370859)
    assert (low, high) == pytest.approx((fit.mu - fit.mu_se, fit.mu + fit.mu_se))
    # s2 = 2/3, n = 4, 1 - phi = 1/3 and 1 - phi^2 = 5/9, phi dt = 4/3.
    assert fit.mu_se == pytest.approx(math.sqrt(1 / 6) * 3)
    assert fit.theta_se == pytest.approx(math.sqrt(5 / 36) * 3 / 4)
    tilt = 1.5 / math.log(2 / 3) + (4 / 3) / (5 / 9)
    assert fit.sigma_se == pytest.approx(fit.sigma / 2 * math.sqrt(1 / 2 + tilt**2 * 5 / 36))
    assert fit.theta_bias == pytest.approx((5 + 3 + 9 / 4) / 16)
    assert sum(fit.bounds("theta")) / 2 == pytest.approx(fit.theta - fit.theta_bias)
    assert fit.bounds("theta")[0] < 0.0
    assert fit.bounds("half_life_s")[1] == math.inf
    with pytest.raises(ValueError, match="parameter must be theta, mu, sigma or half_life_s, was 'phi'"):
        fit.bounds("phi")
    with pytest.raises(ValueError, match=r"level must be between 0 and 1, was 95"):
        fit.bounds("mu", 95)


def test_unfitted_series_have_no_bounds():
    fit = fit_ou([1.0] * 10, 1.0)
    assert fit.status is OuStatus.CONSTANT
    assert all(math.isnan(v) for name in ("theta", "mu", "sigma", "half_life_s") for v in fit.bounds(name))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"values must have shape \(n \+ 1,\), was \(2, 2\)"):
        fit_ou([[1.0, 2.0], [3.0, 4.0]], 1.0)
    with pytest.raises(ValueError, match=r"dt_s must be finite and > 0, was 0.0"):
        fit_ou([1.0, 2.0], 0.0)


@compiled_once
@given(st.integers(0, 10**6), st.integers(4, 80), st.integers(0, 40), st.integers(0, 200), st.floats(-3, 3))
def test_a_window_in_a_ring_is_the_same_series_laid_out_straight(seed, count, spare, start, hedge_ratio):
    capacity = count + spare
    start %= capacity
    x, y = np.random.default_rng(seed).normal(size=(2, capacity)).cumsum(axis=1)
    ring, straight = record(OU), record(OU)
    ou_fit_spread(ring, x, y, start, count, hedge_ratio, 0.5)
    ordered = (y - hedge_ratio * x)[(start + np.arange(count)) % capacity]
    ou_fit(straight, ordered, 0.5)
    np.testing.assert_equal(ring.item(), straight.item())


@compiled_once
@given(st.integers(0, 10**6), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-2, 1e2))
def test_fit_follows_shifts_and_changes_of_unit(seed, shift, scale, dt_scale):
    path = ou_path(200, theta=1.0, mu=0.0, sigma=1.0, dt_s=0.2, seed=seed)
    base = fit_ou(path, 0.2)
    assume(base.status is OuStatus.OK)
    moved = fit_ou(shift + scale * path, 0.2 * dt_scale)
    assert moved.status is OuStatus.OK
    tolerance = 1e-8 + 1e-11 * (1 + abs(shift)) / scale
    assert moved.phi == pytest.approx(base.phi, rel=tolerance)
    assert moved.theta * dt_scale == pytest.approx(base.theta, rel=tolerance)
    assert moved.half_life_s == pytest.approx(base.half_life_s * dt_scale, rel=tolerance)
    assert moved.stationary_sd == pytest.approx(base.stationary_sd * scale, rel=tolerance)
    assert moved.mu == pytest.approx(shift + scale * base.mu, abs=tolerance * (abs(shift) + 10 * scale))


@compiled_once
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=12), st.floats(1e-9, 1e9))
@example([3.8e149, 7.6e149, 0.0, 0.0], 1e-9)
def test_any_numbers_give_a_status_and_only_ok_gives_estimates(values, dt_s):
    out = record(OU)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        status = OuStatus(ou_fit(out, np.array(values, float), dt_s))
    if status is OuStatus.OK:
        assert all(math.isfinite(out[name]) for name in ESTIMATES)
        assert out.theta > 0
        assert out.stationary_sd > 0
    else:
        assert all(math.isnan(out[name]) for name in ESTIMATES)


def test_short_steps_keep_their_digits():
    # One slow wave: 1 - phi is 5e-8, which a regression of values on values keeps to half of its digits only.
    rng = np.random.default_rng(8)
    values = 40.0 + np.cos(np.linspace(0.0, 2.0 * math.pi, 20_000)) + 1e-9 * rng.normal(size=20_000)
    before, step = values[:-1] - math.fsum(values[:-1]) / 19_999, np.diff(values)
    slope = math.fsum(before * step) / math.fsum(before * before)
    fit = fit_ou(values, 1e-3)
    assert fit.status is OuStatus.OK
    assert 1e-8 < 1.0 - fit.phi < 1e-7
    assert fit.theta == pytest.approx(-math.log1p(slope) / 1e-3, rel=1e-10)
