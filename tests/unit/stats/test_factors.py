"""Factor regressions equal statsmodels', and say what they cannot know."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.stats.factors import (
    Coefficient,
    FactorModel,
    Neutrality,
    _chi_squared_tail,
    factor_regression,
    rolling_beta,
)


def sample(n: int, k: int, seed: int = 1, scale: float = 1e-2) -> tuple[np.ndarray, np.ndarray]:
    """Returns with autocorrelated, heteroskedastic residuals, and benchmarks."""
    rng = np.random.default_rng(seed)
    benchmarks = scale * rng.normal(size=(n, k)) @ rng.normal(size=(k, k))
    noise = scale * rng.normal(size=n) * (1.0 + np.abs(benchmarks[:, 0]) / scale)
    for i in range(1, n):
        noise[i] += 0.5 * noise[i - 1]
    return 0.1 * scale + benchmarks @ rng.normal(size=k) + noise, benchmarks


@pytest.mark.parametrize(
    ("n", "k", "lags", "scale"),
    [(60, 1, None, 1e-2), (500, 3, 0, 1e-7), (250, 2, 10, 1.0), (8, 1, 3, 1e-3)],
)
def test_estimates_and_hac_errors_are_those_of_statsmodels(
    n: int, k: int, lags: int | None, scale: float
) -> None:
    sm = pytest.importorskip("statsmodels.api")
    returns, benchmarks = sample(n, k, scale=scale)
    fit = FactorModel(365.0, lags).fit(returns, benchmarks)
    # statsmodels' pseudo-inverse loses digits where columns are of different size.
    model = sm.OLS(returns / scale, sm.add_constant(benchmarks / scale))
    theirs = model.fit(cov_type="HAC", cov_kwds={"maxlags": fit.lags})
    ours = (fit.alpha, *fit.betas)
    unit = np.array([scale] + [1.0] * k)
    np.testing.assert_allclose([c.value for c in ours], theirs.params * unit, rtol=1e-10)
    np.testing.assert_allclose([c.se for c in ours], theirs.bse * unit, rtol=1e-10)
    np.testing.assert_allclose([c.t for c in ours], theirs.tvalues, rtol=1e-10)
    np.testing.assert_allclose([c.p for c in ours], theirs.pvalues, rtol=1e-8, atol=1e-300)
    bounds = np.array([c.interval(0.9) for c in ours]) / unit[:, None]
    np.testing.assert_allclose(bounds, theirs.conf_int(0.1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        [fit.r_squared, fit.adjusted_r_squared, fit.residual_sd],
        [theirs.rsquared, theirs.rsquared_adj, math.sqrt(theirs.scale) * scale],
        rtol=1e-10,
    )
    np.testing.assert_allclose(fit.residuals, theirs.resid * scale, rtol=1e-8, atol=1e-12 * scale)
    wald = theirs.wald_test(np.eye(k + 1)[1:], scalar=True, use_f=False)
    assert fit.wald == pytest.approx(float(wald.statistic), rel=1e-9)
    assert fit.wald_p == pytest.approx(float(wald.pvalue), rel=1e-7)
    assert fit.alpha_annual == pytest.approx(365.0 * fit.alpha.value)


def test_the_default_lags_are_those_of_newey_and_west() -> None:
    assert factor_regression(*sample(100, 1)).lags == 4
    assert factor_regression(*sample(1_000, 1)).lags == 6


@pytest.mark.parametrize("freedom", range(1, 8))
def test_the_tail_of_chi_squared_is_that_of_scipy(freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for statistic in (0.0, 1e-9, 0.3, 2.0, 11.0, 80.0, 900.0):
        expected = stats.chi2.sf(statistic, freedom)
        assert _chi_squared_tail(statistic, freedom) == pytest.approx(expected, rel=1e-11, abs=1e-300)


@given(st.floats(-3.0, 3.0), st.floats(-0.01, 0.01), st.floats(0.1, 10.0), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_what_is_added_to_returns_is_found(beta: float, alpha: float, size: float, seed: int) -> None:
    returns, benchmarks = sample(80, 2, seed)
    before = factor_regression(returns, benchmarks)
    after = factor_regression(size * (returns + alpha + beta * benchmarks[:, 1]), benchmarks)
    assert after.alpha.value == pytest.approx(size * (before.alpha.value + alpha), abs=1e-12)
    assert after.betas[0].value == pytest.approx(size * before.betas[0].value, abs=1e-9)
    assert after.betas[1].value == pytest.approx(size * (before.betas[1].value + beta), abs=1e-9)
    assert after.betas[1].se == pytest.approx(size * before.betas[1].se, rel=1e-9)
    np.testing.assert_allclose(after.residuals, size * before.residuals, atol=1e-12)
    assert abs(after.residuals @ benchmarks).max() < 1e-12


def test_a_perfect_fit_has_no_errors_and_no_nan() -> None:
    _, benchmarks = sample(50, 2)
    fit = factor_regression(2.0 * benchmarks[:, 1], benchmarks, names=("a", "b"))
    assert fit.betas[0] == Coefficient("a", 0.0, 0.0, 0.0, 1.0)
    assert (fit.betas[1].name, fit.betas[1].t, fit.betas[1].p) == ("b", math.inf, 0.0)
    assert fit.betas[1].value == pytest.approx(2.0)
    assert (fit.alpha.value, fit.r_squared, fit.residual_sd, fit.wald, fit.wald_p) == (
        0.0,
        1.0,
        0.0,
        math.inf,
        0.0,
    )
    assert fit.neutrality(0.1) is Neutrality.EXPOSED


@pytest.mark.parametrize(
    ("value", "se", "expected"),
    [
        (0.01, 0.02, Neutrality.NEUTRAL),
        (-0.05, 0.01, Neutrality.SLIGHT),
        (0.5, 0.1, Neutrality.EXPOSED),
        (0.09, 0.02, Neutrality.EXPOSED),
        (0.1, 0.2, Neutrality.UNDECIDED),
    ],
)
def test_neutrality_follows_the_interval(value: float, se: float, expected: Neutrality) -> None:
    fit = factor_regression(*sample(50, 1))
    changed = {**vars(fit), "betas": (Coefficient("x", value, se, value / se, 0.5),)}
    assert type(fit)(**changed).neutrality(0.1) is expected


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        benchmark = rng.normal(size=300)
        fit = factor_regression(0.3 * benchmark + rng.normal(size=300) * np.abs(benchmark), benchmark)
        low, high = fit.betas[0].interval(0.95)
        covered += low <= 0.3 <= high
    assert covered / 400 == pytest.approx(0.95, abs=0.035)


@pytest.mark.parametrize("k", [1, 3])
def test_rolling_betas_are_those_of_each_window(k: int) -> None:
    returns, benchmarks = sample(1_200, k)
    betas = rolling_beta(returns, benchmarks, 40)
    assert betas.shape == (1_200, k)
    assert np.isnan(betas[:39]).all()
    assert np.isfinite(betas[39:]).all()
    for end in (39, 500, 1_062, 1_063, 1_199):  # on both sides of a block's border
        fit = factor_regression(returns[end - 39 : end + 1], benchmarks[end - 39 : end + 1])
        np.testing.assert_allclose(betas[end], [b.value for b in fit.betas], rtol=1e-9)


def test_windows_without_a_beta_are_nan_and_no_others() -> None:
    returns, benchmarks = sample(60, 2)
    benchmarks[20:30, 0] = 0.004
    benchmarks[40:50, 1] = 2.0 * benchmarks[40:50, 0]
    missing = np.isnan(rolling_beta(returns, benchmarks, 10)).any(axis=1)
    assert np.flatnonzero(missing).tolist() == [*range(9), 29, 49]


_Y, _X = sample(30, 1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: factor_regression(_Y, np.column_stack((_X, 2 * _X, _X))),
            "benchmark_2 is a combination of benchmark_1.",
        ),
        (
            lambda: factor_regression(_Y, np.column_stack((_X, _Y, _X[:, 0] - _Y)), names=("a", "b", "c")),
            "c is a combination of a, b. Leave it out.",
        ),
        (lambda: factor_regression(_Y, np.ones(30)), "benchmarks must vary, was constant at 1.0"),
        (lambda: factor_regression(np.zeros(30), _X), "returns must vary, was constant at 0.0"),
        (lambda: factor_regression(_Y[:3], _X[:3]), "returns must have at least 4 observations, had 3"),
        (lambda: factor_regression(_Y[:20], _X), "must be of the same periods, were 20 and 30"),
        (lambda: factor_regression(np.append(_Y[:-1], np.nan), _X), "returns must be finite, was nan at 29"),
        (lambda: factor_regression(_Y, np.append(_X[:-1], np.inf)), "benchmarks must be finite, was inf"),
        (lambda: factor_regression(_Y, _X, names=("a", "b")), "names must be 1 different ones"),
        (lambda: factor_regression(_Y, np.column_stack((_X, _Y)), names=("a", "a")), "names must be 2"),
        (lambda: FactorModel(lags=-1), "lags must be >= 0, was -1"),
        (lambda: FactorModel(lags=30).fit(_Y, _X), "lags must be less than the observations, 30, was 30"),
        (lambda: FactorModel(0.0), "periods_per_year must be finite and > 0"),
        (lambda: factor_regression(_Y, _X).alpha.interval(1.0), "level must be between 0 and 1, was 1.0"),
        (lambda: factor_regression(_Y, _X).neutrality(0.0), "largest_beta must be finite and > 0"),
        (lambda: rolling_beta(_Y, _X, 2), "window must be between 3 and the observations, 30, was 2"),
        (lambda: rolling_beta(_Y, _X, 31), "window must be between 3 and the observations, 30, was 31"),
    ],
)
def test_what_has_no_answer_is_refused(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
