"""The Kalman filters against the numbers of filterpy, pykalman and statsmodels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bt_framework.stats.kalman import KalmanHedge, KalmanSlope

TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def about(shared_dir: Path) -> dict:
    return json.loads((shared_dir / "references/kalman_refs.json").read_text())


def table(shared_dir: Path, name: str) -> np.ndarray:
    return np.genfromtxt(shared_dir / "references" / name, delimiter=",", names=True)


@pytest.mark.parametrize("compiled", [True, False])
def test_slope_and_intercept_equal_four_other_implementations(shared_dir, compiled):
    expected, settings = (
        table(shared_dir, "kalman_2d_slope_intercept.csv"),
        about(shared_dir)["2d_slope_intercept"],
    )
    q, p, a0 = np.array(settings["Q"]), np.array(settings["P0"]), settings["a0"]
    hedge = KalmanHedge(
        q_intercept=q[1, 1],
        q_slope=q[0, 0],
        r=settings["R"],
        intercept=a0[1],
        hedge_ratio=a0[0],
        p00=p[1, 1],
        p11=p[0, 0],
        compiled=compiled,
    )
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
        np.testing.assert_allclose(steps[ours], expected[theirs], **TOLERANCE, err_msg=ours)
    # What was predicted is the step before, with the drift added.
    np.testing.assert_allclose(steps.hedge_ratio[:-1], expected["state0_prior"][1:], **TOLERANCE)
    np.testing.assert_allclose(steps.intercept[:-1], expected["state1_prior"][1:], **TOLERANCE)
    np.testing.assert_allclose(steps.p11[:-1] + q[0, 0], expected["P00_prior"][1:], **TOLERANCE)
    np.testing.assert_allclose(steps.p00[:-1] + q[1, 1], expected["P11_prior"][1:], **TOLERANCE)
    np.testing.assert_allclose(steps.p01[:-1], expected["P01_prior"][1:], **TOLERANCE)
    z = steps.innovation / np.sqrt(steps.innovation_variance)
    np.testing.assert_allclose(z, expected["zscore_innov"], **TOLERANCE)
    spread = expected["y"] - steps.intercept - steps.hedge_ratio * expected["x"]
    np.testing.assert_allclose(spread, expected["spread_post"], **TOLERANCE)
    assert hedge.log_likelihood == pytest.approx(settings["loglik"], abs=1e-10)


@pytest.mark.parametrize("compiled", [True, False])
def test_slope_alone_equals_four_other_implementations(shared_dir, compiled):
    expected, settings = table(shared_dir, "kalman_1d_slope.csv"), about(shared_dir)["1d_slope"]
    slope = KalmanSlope(
        q_slope=settings["Q"][0][0],
        r=settings["R"],
        hedge_ratio=settings["a0"][0],
        p11=settings["P0"][0][0],
        compiled=compiled,
    )
    steps = slope.filter(expected["x"], expected["y"])
    names = {
        "hedge_ratio": "state0_post",
        "p11": "P00_post",
        "innovation": "innov",
        "innovation_variance": "S",
    }
    for ours, theirs in names.items():
        np.testing.assert_allclose(steps[ours], expected[theirs], **TOLERANCE, err_msg=ours)
    np.testing.assert_allclose(steps.hedge_ratio[:-1], expected["state0_prior"][1:], **TOLERANCE)
    np.testing.assert_allclose(steps.p11[:-1] + settings["Q"][0][0], expected["P00_prior"][1:], **TOLERANCE)
    assert slope.log_likelihood == pytest.approx(settings["loglik"], abs=1e-10)


def test_the_prior_of_the_first_observation_gives_the_other_convention_s_numbers(shared_dir):
    settings = about(shared_dir)
    data, expected = table(shared_dir, "kalman_2d_slope_intercept.csv"), settings["2d_variant_prior0_is_P0"]
    q = np.array(settings["2d_slope_intercept"]["Q"])
    hedge = KalmanHedge(q_intercept=q[1, 1], q_slope=q[0, 0], r=0.09, predict_first=False)
    steps = hedge.filter(data["x"], data["y"])
    for at, state in ((0, expected["first_state"]), (-1, expected["last_state"])):
        np.testing.assert_allclose([steps.hedge_ratio[at], steps.intercept[at]], state, **TOLERANCE)
    assert hedge.log_likelihood == pytest.approx(expected["loglik"], abs=1e-10)


def test_without_drift_the_filter_is_the_regression_by_least_squares(shared_dir):
    expected = table(shared_dir, "kalman_recursive_ls.csv")
    data = table(shared_dir, "kalman_2d_slope_intercept.csv")
    hedge = KalmanHedge(q_intercept=0.0, q_slope=0.0, r=1.0, p00=1e8, p11=1e8)
    steps = hedge.filter(data["x"], data["y"])[expected["t"].astype(int)]
    # The prior is worth 1e-8 of an observation; early estimates stand on few.
    np.testing.assert_allclose(steps.hedge_ratio[50:], expected["ols_slope"][50:], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(steps.hedge_ratio[50:], expected["rls_slope"][50:], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(steps.intercept[50:], expected["ols_intercept"][50:], rtol=1e-4, atol=3e-4)


def test_the_filter_is_chan_s_on_his_pair(shared_dir):
    """Algorithmic Trading, Example 3.3, written as it is printed: b and R of (slope, intercept)."""
    pair = np.genfromtxt(shared_dir / "data/bars/inputData_EWA_EWC.csv", delimiter=",", names=True)
    x, y, delta, ve = pair["EWA"], pair["EWC"], 1e-4, 1e-3
    vw = delta / (1 - delta)
    b, p, e, q = np.zeros(2), np.zeros((2, 2)), np.empty(len(x)), np.empty(len(x))
    for t in range(len(x)):
        r = p + vw * np.eye(2) if t > 0 else np.zeros((2, 2))
        h = np.array([x[t], 1.0])
        q[t] = h @ r @ h + ve
        e[t] = y[t] - h @ b
        k = r @ h / q[t]
        b, p = b + k * e[t], r - np.outer(k, h) @ r
    hedge = KalmanHedge(q_intercept=vw, q_slope=vw, r=ve, p00=0.0, p11=0.0, predict_first=False)
    steps = hedge.filter(x, y)
    np.testing.assert_allclose(steps.innovation, e, **TOLERANCE)
    np.testing.assert_allclose(steps.innovation_variance, q, **TOLERANCE)
    np.testing.assert_allclose([hedge.hedge_ratio, hedge.intercept], b, **TOLERANCE)
