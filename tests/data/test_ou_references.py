"""The OU process and its thresholds against numbers computed elsewhere, most by two methods, some published."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from bt_framework.stats.ou import OuStatus, fit_ou
from bt_framework.stats.ou_bias import ou_moments, ou_unbiased
from bt_framework.stats.thresholds import ThresholdStatus, bertram, leung_li, trade_cycle


def about(shared_dir: Path, name: str) -> dict:
    return json.loads((shared_dir / "references/ou_refs.json").read_text())[name]


def path(shared_dir: Path, column: str) -> np.ndarray:
    paths = np.genfromtxt(shared_dir / "references/ou_paths.csv", delimiter=",", names=True)
    return paths[column][~np.isnan(paths[column])]


def rows(shared_dir: Path, name: str) -> list[dict[str, float]]:
    text = (shared_dir / "references" / name).read_text().splitlines()
    return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(text)]


@pytest.mark.parametrize("column", ["A", "B"])
def test_fit_equals_least_squares_and_the_numerical_maximum(shared_dir, column):
    expected = about(shared_dir, f"ou_mle_{column}")
    fit = fit_ou(path(shared_dir, column), expected["true"]["dt"])
    closed, numeric = expected["closed_form"], expected["numeric_mle"]
    names = {
        "phi": "phi",
        "theta": "kappa",
        "mu": "theta",
        "sigma": "sigma",
        "stationary_sd": "stat_std",
        "half_life_s": "half_life",
        "residual_variance": "resid_var_mle",
        "log_likelihood": "loglik",
    }
    for ours, theirs in names.items():
        assert getattr(fit, ours) == pytest.approx(closed[theirs], rel=1e-12), ours
        if theirs in numeric:
            assert getattr(fit, ours) == pytest.approx(numeric[theirs], rel=1e-6), ours


@pytest.mark.parametrize("column", ["A", "B", "C"])
def test_fit_equals_numpy_s_least_squares_on_every_path(shared_dir, column):
    values, dt_s = path(shared_dir, column), 1 / 252
    design = np.column_stack([np.ones(len(values) - 1), values[:-1]])
    (const, phi), squares, *_ = np.linalg.lstsq(design, values[1:], rcond=None)
    fit = fit_ou(values, dt_s)
    assert fit.status is OuStatus.OK
    assert fit.phi == pytest.approx(phi, rel=1e-9)
    assert fit.theta == pytest.approx(-math.log(phi) / dt_s, rel=1e-9)
    assert fit.mu == pytest.approx(const / (1 - phi), rel=1e-9)
    assert fit.residual_variance == pytest.approx(squares[0] / fit.n, rel=1e-9)
    moments, unbiased = ou_moments(values, dt_s), ou_unbiased(values, dt_s)
    assert moments.theta == pytest.approx(fit.theta, abs=fit.theta_se)
    assert moments.stationary_sd == pytest.approx(values.std(), rel=1e-12)
    assert unbiased.theta == pytest.approx(fit.theta - fit.theta_bias, rel=1e-12)


def test_bias_of_theta_and_its_corrections_are_those_of_a_simulation(shared_dir):
    expected = about(shared_dir, "ou_bias_mc")
    kappa, dt_s, n, runs = expected["kappa"], expected["dt"], expected["n"], 1_500
    phi = math.exp(-kappa * dt_s)
    bias = (5 + 2 / phi + 1 / phi**2) / (2 * n * dt_s)
    assert bias == pytest.approx(expected["mean_kappa_bias"], rel=0.1)
    rng = np.random.default_rng(2)
    steps = np.sqrt(1 - phi * phi) * rng.normal(size=(n, runs))
    paths = np.empty((n + 1, runs))
    paths[0] = rng.normal(size=runs)
    for i, step in enumerate(steps):
        paths[i + 1] = phi * paths[i] + step
    fits = [fit_ou(one, dt_s) for one in paths.T]
    thetas = np.array([fit.theta for fit in fits])
    assert thetas.mean() - kappa == pytest.approx(expected["mean_kappa_bias"], rel=0.1)
    assert np.median(thetas) - kappa == pytest.approx(expected["median_kappa_bias"], rel=0.2)
    assert np.mean([fit.theta_bias for fit in fits]) == pytest.approx(bias, rel=0.02)
    moments = [ou_moments(one, dt_s) for one in paths.T]
    assert np.mean([fit.theta - fit.theta_bias for fit in moments]) == pytest.approx(kappa, abs=0.5)
    for method in ("tang_chen", "kendall", "jackknife"):
        corrected = [ou_unbiased(one, dt_s, method) for one in paths[:, :500].T]
        theta = np.array([fit.theta for fit in corrected])
        assert abs(np.nanmedian(theta) - kappa) < 0.5 * expected["median_kappa_bias"], method
        reverting = [fit.status is OuStatus.OK for fit in corrected]
        assert np.mean(reverting) > 0.85, method


def test_bertram_s_levels_equal_a_root_and_two_maximisations(shared_dir):
    for row in rows(shared_dir, "bertram_table.csv"):
        levels = bertram(1.0, 0.0, math.sqrt(2.0), row["c_over_s"])  # s = 1
        assert levels.status is ThresholdStatus.OK
        assert levels.long_entry_z == pytest.approx(row["a_over_s"], rel=1e-10)
        assert levels.long_entry_z == pytest.approx(row["a_direct"], abs=2e-8)
        if "ET_mu_quad" not in row:
            assert levels.cycle.duration_s == row["ET_mu"] == 0.0
            continue
        assert levels.long_entry_z == pytest.approx(row["a_2d"], abs=1e-7)
        assert levels.long_exit_z == pytest.approx(row["m_2d"], abs=1e-7)
        assert levels.cycle.duration_s == pytest.approx(row["ET_mu_quad"], rel=1e-9)
        assert levels.cycle.duration_variance_s2 == pytest.approx(row["VT_mu2_quad"], rel=1e-9)
        assert levels.cycle.mean_return == pytest.approx(row["exp_return_over_s_mu"], rel=1e-9)


def test_bertram_s_example_equals_published_and_computed_numbers(shared_dir):
    expected = about(shared_dir, "bertram_paper_params")
    process = (expected["mu"], expected["theta"], expected["sigma"])
    levels = bertram(*process, expected["c"])
    assert levels.level("long_entry") == pytest.approx(expected["a_star"], rel=1e-10)
    assert levels.level("long_exit") == pytest.approx(-expected["a_star"], rel=1e-10)
    cycle = levels.cycle
    assert cycle.duration_s == pytest.approx(expected["ET"], rel=1e-10)
    assert cycle.duration_variance_s2 == pytest.approx(expected["VT"], rel=1e-10)
    assert cycle.mean_return == pytest.approx(expected["exp_return"], rel=1e-10)
    assert cycle.return_variance == pytest.approx(expected["return_variance"], rel=1e-10)
    # As arbitragelab prints them.
    assert round(cycle.duration_s, 4) == round(0.017122, 4)
    assert round(cycle.mean_return, 3) == 0.492
    assert cycle.duration_variance_s2 == pytest.approx(0.00015438, abs=5e-7)
    assert cycle.return_variance == pytest.approx(0.0021857, abs=5e-6)


def test_bertram_s_sharpe_ratio_is_the_published_one(shared_dir):
    expected = about(shared_dir, "bertram_paper_params")
    best = expected["sharpe_opt_rf001"]
    theta, mu, sigma, cost = expected["mu"], expected["theta"], expected["sigma"], expected["c"]
    levels = bertram(theta, mu, sigma, cost, maximise="sharpe", rate=0.01)
    assert levels.level("long_entry") == pytest.approx(best["a"], rel=1e-7)
    assert levels.cycle.sharpe(0.01) == pytest.approx(best["S"], rel=1e-12)
    assert levels.cycle.sharpe(0.01) == pytest.approx(3.86293, abs=5e-3)
    z = levels.long_exit_z
    for other in (z - 1e-3, z + 1e-3):
        assert trade_cycle(theta, sigma, -other, other, cost).sharpe(0.01) < best["S"]


def test_leung_and_li_s_levels_equal_roots_and_maximisations(shared_dir):
    for row in rows(shared_dir, "leung_li_levels.csv"):
        costs, rates = (row["c"], row["chat"]), (row["r"], row["rhat"])
        levels = leung_li(row["mu"], row["theta"], row["sigma"], costs, rates)
        assert levels.status is ThresholdStatus.OK
        assert levels.level("long_exit") == pytest.approx(row["b_star"], rel=1e-10)
        assert levels.level("long_entry") == pytest.approx(row["d_star"], rel=1e-10)
        assert levels.level("long_exit") == pytest.approx(row["b_direct"], abs=4e-9)
        assert levels.level("long_entry") == pytest.approx(row["d_direct"], abs=4e-9)
        assert levels.exit_value == pytest.approx(row["V_at_theta"], rel=1e-10)
        assert levels.entry_value == pytest.approx(row["J_at_dstar"], rel=1e-10)


def test_leung_and_li_s_levels_are_those_that_arbitragelab_expects():
    levels = leung_li(6.306, 0.71758, math.sqrt(0.00698), (0.02, 0.02), (0.05, 0.05))
    assert levels.level("long_exit") == pytest.approx(0.7443, abs=1e-4)
    assert levels.level("long_entry") == pytest.approx(0.651, abs=1e-4)
