"""Engle-Granger and Phillips-Ouliaris: against statsmodels and arch, as invariants, and what they refuse."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.adfvalues import mackinnonp
from statsmodels.tsa.stattools import coint

from bt_framework.errors import ConfigError
from bt_framework.stats._engle_granger import mackinnon_p_pair
from bt_framework.stats.cointegration import (
    PairStatus,
    engle_granger,
    engle_granger_many,
    engle_granger_pairs,
    phillips_ouliaris,
)

STATISTICS = ("statistic", "p_value", "hedge_ratio", "intercept")


def walks(m: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of random walks, every other one cointegrated, shape (m, n) each."""
    rng = np.random.default_rng(seed)
    y, x = rng.normal(size=(2, m, n)).cumsum(axis=2) + 100.0
    y[::2] = 1.3 * x[::2] - 7.0 + 3.0 * rng.normal(size=y[::2].shape)
    return y, x


@pytest.mark.parametrize("lags", [0, 1, 2, 5])
def test_bulk_statistics_are_those_of_statsmodels(lags):
    y, x = walks(20, 400, seed=lags)
    found = engle_granger_many(y, x, lags)
    for i in range(20):
        statistic, p_value, _ = coint(y[i], x[i], maxlag=lags, autolag=None)
        assert found.statistic[i] == pytest.approx(statistic, rel=1e-10)
        assert found.p_value[i] == pytest.approx(p_value, rel=1e-10, abs=1e-14)
        slope, intercept = np.polyfit(x[i], y[i], 1)
        assert found.hedge_ratio[i] == pytest.approx(slope, rel=1e-9)
        assert found.intercept[i] == pytest.approx(intercept, rel=1e-8, abs=1e-8)
    assert (found.status == PairStatus.OK).all()
    assert (found.n == 400).all()


@pytest.mark.parametrize("regression", ["n", "c", "ct", "ctt"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("lags", [None, 0, 2])
def test_one_pair_at_a_time_is_statsmodels_test_with_hedge_ratios(regression, k, lags):
    rng = np.random.default_rng(k)
    x = rng.normal(size=(200, k)).cumsum(axis=0) + 20.0
    y = x @ np.arange(1.0, k + 1.0) + 0.5 + rng.normal(size=200)
    found = engle_granger(y, x if k > 1 else x[:, 0], regression, lags)
    theirs = coint(y, x, trend=regression, maxlag=lags, autolag="aic" if lags is None else None)
    assert found.statistic == pytest.approx(theirs[0], rel=1e-8)
    assert found.p_value == pytest.approx(theirs[1], rel=1e-7, abs=1e-14)
    assert list(found.critical_values.values()) == pytest.approx(
        [] if regression == "n" else list(theirs[2]), rel=1e-12
    )
    assert found.hedge_ratios == pytest.approx(np.arange(1.0, k + 1.0), abs=0.3)
    assert (found.intercept == 0.0) is (regression == "n")
    assert (found.n, found.hedge_ratio) == (200, found.hedge_ratios[0])


def test_bulk_and_single_form_agree_on_hedge_ratio_and_intercept():
    y, x = walks(4, 300, seed=9)
    many = engle_granger_many(y, x, lags=1)
    for i in range(4):
        one = engle_granger(y[i], x[i], lags=1)
        assert tuple(many[i])[:4] == pytest.approx(
            (one.statistic, one.p_value, one.hedge_ratio, one.intercept), rel=1e-9
        )


def test_p_values_are_mackinnons_everywhere():
    grid = np.concatenate([np.linspace(-25.0, 4.0, 600), [-18.86, -2.62, 0.92]])
    plain = getattr(mackinnon_p_pair, "py_func", mackinnon_p_pair)
    for t in grid:
        assert plain(t) == pytest.approx(mackinnonp(t, regression="c", N=2), rel=1e-12, abs=1e-300), t


def test_random_walks_are_found_to_be_cointegrated_as_often_as_the_level_says():
    rng = np.random.default_rng(11)
    y, x = rng.normal(size=(2, 4_000, 300)).cumsum(axis=2)
    p_values = engle_granger_many(y, x, lags=1).p_value
    for level in (0.01, 0.05, 0.10):
        assert np.mean(p_values < level) == pytest.approx(level, abs=0.25 * level + 0.005)


@given(
    seed=st.integers(0, 1000),
    scales=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
    shifts=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    lags=st.integers(0, 3),
)
@settings(max_examples=50)
def test_units_and_origins_do_not_change_the_test(seed, scales, shifts, lags):
    y, x = walks(2, 60, seed)
    base = engle_granger_many(y, x, lags)
    moved = engle_granger_many(scales[0] * (y + shifts[0]), scales[1] * (x + shifts[1]), lags)
    np.testing.assert_allclose(moved.statistic, base.statistic, rtol=1e-7)
    np.testing.assert_allclose(moved.hedge_ratio * scales[1] / scales[0], base.hedge_ratio, rtol=1e-7)


def test_one_bad_pair_says_why_and_stops_no_other():
    y, x = walks(7, 60, seed=2)
    alone = engle_granger_many(y[6:], x[6:])[0]
    x[0, 17] = math.nan
    y[1, 0] = math.inf
    x[2] = 4.2
    y[3] = 0.0
    y[4] = 3.0 - 2.0 * x[4]
    y[5] = 1e-3 * np.sin(np.arange(60)) + x[5]
    found = engle_granger_many(y, x)
    wanted = [PairStatus.NOT_FINITE] * 2 + [PairStatus.CONSTANT] * 2 + [PairStatus.COLLINEAR] * 2
    assert [PairStatus(s) for s in found.status] == [*wanted, PairStatus.OK]
    assert all(np.isnan(found[name][:6]).all() for name in STATISTICS)
    assert found[6] == alone


@pytest.mark.parametrize("lags", [0, 1, 4])
def test_too_few_observations_are_refused_and_enough_are_tested(lags):
    y, x = walks(1, 2 * lags + 6, seed=3)
    assert engle_granger_many(y[:, :-1], x[:, :-1], lags).status[0] == PairStatus.TOO_FEW
    found = engle_granger_many(y, x, lags)[0]
    assert found.status == PairStatus.OK
    assert found.statistic == pytest.approx(coint(y[0], x[0], maxlag=lags, autolag=None)[0], rel=1e-8)


def test_residuals_that_follow_their_own_past_without_error_are_degenerate():
    time = np.arange(200.0)
    found = engle_granger_many(np.cos(0.3 * time)[None], np.sin(0.3 * time)[None], lags=3)
    assert found.status[0] == PairStatus.DEGENERATE
    assert math.isnan(found.statistic[0])


def test_overflow_is_not_finite_and_not_a_number_that_looks_like_one():
    y, x = walks(1, 50, seed=4)
    assert engle_granger_many(y * 1e200, x).status[0] == PairStatus.NOT_FINITE


def test_pairs_are_columns_of_a_table_of_prices():
    y, x = walks(2, 80, seed=5)
    prices = np.column_stack([y[0], x[0], y[1], x[1]])
    found = engle_granger_pairs(prices, [(0, 1), (3, 2), (1, 1)])
    assert found[0] == engle_granger_many(y[:1], x[:1])[0]
    assert found[1] == engle_granger_many(x[1:], y[1:])[0]
    assert found[2].status == PairStatus.COLLINEAR
    assert len(engle_granger_pairs(prices, np.empty((0, 2), int))) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda y, x: engle_granger_many(y, x[:, 1:]),
            r"one shape \(n_pairs, n\), were \(2, 60\) and \(2, 59\)",
        ),
        (lambda y, x: engle_granger_many(y, x, -1), "lags must be >= 0, was -1"),
        (lambda y, x: engle_granger_pairs(y.T, [(0, 2)]), "pairs must name columns 0 to 1, were 0 to 2"),
        (lambda y, x: engle_granger_pairs(y.T, [(-1, 1)]), "pairs must name columns 0 to 1, were -1 to 1"),
        (lambda y, x: engle_granger_pairs(y.T, [0, 1]), r"pairs must have shape \(m, 2\), was \(2,\)"),
        (lambda y, x: engle_granger(y[0], x[0, 1:]), "one length, were 60 and 59"),
        (lambda y, x: engle_granger(y[0], 2.0 * y[0] + 1.0), "y and x must not be collinear"),
        (lambda y, x: engle_granger(y[0], np.ones(60)), "x must vary, was constant at 1.0"),
        (lambda y, x: engle_granger(y[0], x[[0, 0]].T), "x and the trend must be linearly independent"),
        (lambda y, x: engle_granger(y[0], np.full((60, 2), math.inf)), "x must be finite, was inf at 0"),
        (lambda y, x: engle_granger(y[0], np.ones((60, 0))), r"shape \(n, k\) with k >= 1, was \(60, 0\)"),
        (lambda y, x: engle_granger(y[0], np.eye(60)[:, :6]), "x must have at most 5 columns, had 6"),
        (lambda y, x: engle_granger(y[0, :8], x[0, :8]), "y must have at least 10 observations, had 8"),
        (lambda y, x: engle_granger(y[0], x[0], "t"), "regression must be one of"),
        (lambda y, x: phillips_ouliaris(y[0], 3.0 * y[0]), "y and x must not be collinear"),
        (
            lambda y, x: phillips_ouliaris(y[0], x[0], statistic="P"),
            "statistic must be one of Zt, Za, Pu, Pz",
        ),
        (lambda y, x: phillips_ouliaris(y[0], x[0], bandwidth=-2), "bandwidth must be >= 0"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_the_reason(call, message):
    y, x = walks(2, 60, seed=6)
    with pytest.raises(ValueError, match=message):
        call(y, x)


@pytest.mark.parametrize("statistic", ["Zt", "Za", "Pu", "Pz"])
@pytest.mark.parametrize("regression", ["n", "c", "ct"])
def test_phillips_ouliaris_is_archs_with_hedge_ratios(statistic, regression):
    from arch.unitroot.cointegration import phillips_ouliaris as theirs

    rng = np.random.default_rng(8)
    x = rng.normal(size=(150, 2)).cumsum(axis=0)
    y = x @ [1.5, -0.7] + 3.0 + rng.normal(size=150)
    found, arch = (
        phillips_ouliaris(y, x, regression, statistic),
        theirs(y, x, regression, test_type=statistic),
    )
    assert (found.statistic, found.p_value, found.n) == (arch.stat, arch.pvalue, 150)
    vector = np.asarray(arch.cointegrating_vector)
    assert found.hedge_ratios == pytest.approx(-vector[1:3], rel=1e-9)
    assert found.intercept == pytest.approx(0.0 if regression == "n" else -vector[3], rel=1e-8)
    assert list(found.critical_values.values()) == [arch.critical_values[level] for level in (1, 5, 10)]


def test_without_arch_the_message_has_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch.unitroot.cointegration", None)
    y, x = walks(1, 60, seed=1)
    with pytest.raises(ConfigError, match=r"needs arch, .*pip install 'bt-framework\[stats\]'"):
        phillips_ouliaris(y[0], x[0])
