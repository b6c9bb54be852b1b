"""Every method is a function, and a class that holds its options and whose fit is that function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bt_framework.stats.kalman_fit import KalmanEstimator, KalmanPrior, fit_kalman
from bt_framework.stats.ou import OuFit, OuStatus, fit_ou
from bt_framework.stats.ou_bias import OuEstimator, ou_moments, ou_unbiased
from bt_framework.stats.threshold_rules import Bertram, FixedZ, LeungLi
from bt_framework.stats.thresholds import ThresholdStatus, bertram, fixed_z, leung_li


@pytest.fixture(scope="module")
def values() -> np.ndarray[Any, Any]:
    """A process with theta 1/s around 3, sampled every 100 ms."""
    rng, values = np.random.default_rng(5), [0.0]
    for _ in range(3_000):
        values.append(np.exp(-0.1) * values[-1] + rng.normal())
    return np.array(values) + 3.0


@pytest.fixture(scope="module")
def process(values: np.ndarray[Any, Any]) -> OuFit:
    return fit_ou(values, 0.1)


def test_processes_are_fitted_by_the_method_named(values: np.ndarray[Any, Any]) -> None:
    assert OuEstimator().fit(values, 0.1) == fit_ou(values, 0.1)
    assert OuEstimator("moments").fit(values, 0.1) == ou_moments(values, 0.1)
    for method in ("tang_chen", "kendall", "jackknife"):
        assert OuEstimator(method, blocks=3).fit(values, 0.1) == ou_unbiased(values, 0.1, method, 3)


def test_variances_of_a_hedge_ratio_are_fitted_with_the_options_held() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(5.0, 1.0, 200)
    y = 2.0 * x + rng.normal(0.0, 0.1, 200)
    prior = KalmanPrior(hedge_ratio=1.0, p11=1.0)
    held = KalmanEstimator("em", intercept=False, prior=prior, max_iterations=7).fit(x, y)
    direct = fit_kalman(x, y, "em", intercept=False, prior=prior, max_iterations=7)
    assert (held.q_slope, held.r, held.iterations) == (direct.q_slope, direct.r, 7)
    assert held.prior == prior


def test_rules_of_thresholds_are_applied_to_a_fitted_process(process: OuFit) -> None:
    theta, mu, sigma = process.theta, process.mu, process.sigma
    assert FixedZ(2.0, 0.5, 0.1).fit(process) == fixed_z(theta, mu, sigma, 2.0, 0.5, 0.1)
    assert Bertram(0.1).fit(process) == bertram(theta, mu, sigma, 0.1)
    by_sharpe = Bertram(0.1, maximise="sharpe", rate=0.2)
    assert by_sharpe.fit(process) == bertram(theta, mu, sigma, 0.1, maximise="sharpe", rate=0.2)
    costs, rates = (0.02, 0.03), (0.05, 0.06)
    assert LeungLi(costs, rates).fit(process) == leung_li(theta, mu, sigma, costs, rates)


def test_centred_levels_do_not_depend_on_the_mean_and_lie_around_it(process: OuFit) -> None:
    centred = LeungLi((0.02, 0.02), (0.05, 0.05), centred=True).fit(process)
    around_0 = leung_li(process.theta, 0.0, process.sigma, (0.02, 0.02), (0.05, 0.05))
    assert centred.long_entry_z == around_0.long_entry_z
    assert centred.level("long_exit") == pytest.approx(process.mu + around_0.level("long_exit"), rel=1e-12)


def test_a_process_without_estimates_has_no_thresholds() -> None:
    none = fit_ou([1.0, 1.0, 1.0, 1.0, 1.0], 1.0)
    assert none.status is OuStatus.CONSTANT
    for rule in (FixedZ(2.0), Bertram(0.1), LeungLi((0.1, 0.1), (0.1, 0.1))):
        levels = rule.fit(none)
        assert levels.status is not ThresholdStatus.OK
        assert np.isnan(levels.long_entry_z)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            lambda: OuEstimator("burg"),
            "method must be one of ml, moments, tang_chen, kendall, jackknife, was 'burg'",
        ),
        (lambda: OuEstimator("jackknife", blocks=1), "blocks must be >= 2, was 1"),
        (lambda: KalmanEstimator("mle"), "method must be ml or em, was 'mle'"),
        (lambda: FixedZ(0.5, 0.5), r"entry_z must be > exit_z \(0.5\), was 0.5"),
        (lambda: FixedZ(2.0, cost=-1.0), "cost must be finite and >= 0, was -1.0"),
        (lambda: Bertram(float("nan")), "cost must be finite and >= 0, was nan"),
        (lambda: Bertram(0.1, "omega"), "maximise must be return or sharpe, was 'omega'"),
        (lambda: Bertram(0.1, "sharpe"), "rate must be finite and > 0 for a Sharpe ratio, was 0.0"),
        (lambda: LeungLi((0.1, -0.1), (0.1, 0.1)), "costs must be finite and >= 0, was -0.1"),
        (lambda: LeungLi((0.1, 0.1), (0.1, 0.0)), "rates must be finite and > 0, was 0.0"),
    ],
)
def test_options_out_of_range_are_refused_at_once(options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        options()
