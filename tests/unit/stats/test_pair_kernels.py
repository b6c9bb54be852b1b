"""The kernels of pairs: by hand, and compiled against plain Python; run again by test_pair_kernel_modes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bt_framework.records import record
from bt_framework.stats._engle_granger import (
    EG,
    PairStatus,
    centred_products,
    dickey_fuller_t,
    dot,
    engle_granger_row,
    mackinnon_p_pair,
    mean_of,
)
from bt_framework.stats._johansen_pair import _solve, johansen_columns, johansen_pair_row
from bt_framework.stats.cointegration import engle_granger_many
from bt_framework.stats.johansen import JohansenCase, johansen
from bt_framework.stats.pair_statistics import (
    PAIR_STATISTICS,
    PairOptions,
    pair_statistics,
    spread_half_life,
    spread_hurst,
)


def both_forms(function):
    """The kernel as called from Python, compiled, and its plain form."""
    return [function, getattr(function, "py_func", function)]


def pair(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).cumsum() + 30.0
    return 1.5 * x + rng.normal(size=n), x


@pytest.mark.parametrize("form", both_forms(dot))
@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 8])
def test_sums_in_four_parts_leave_nothing_out(form, n):
    a, b = np.arange(1.0, 10.0), np.arange(2.0, 11.0)
    assert form(a, b, n) == sum((i + 1) * (i + 2) for i in range(n))


@pytest.mark.parametrize("form", both_forms(mean_of))
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9])
def test_means_are_exact_for_constants_whatever_the_length(form, n):
    assert form(np.full(9, 0.1), n) == 0.1
    assert form(np.arange(9.0), n) == (n - 1) / 2.0


@pytest.mark.parametrize("form", both_forms(centred_products))
@pytest.mark.parametrize("n", [2, 5])
def test_products_are_about_the_means(form, n):
    y, x = np.array([1.0, 3.0, 2.0, 6.0, 4.0]), np.array([2.0, 2.5, 1.0, 4.0, 9.0])
    u, v = y[:n] - y[:n].mean(), x[:n] - x[:n].mean()
    wanted = (y[:n].mean(), x[:n].mean(), u @ u, u @ v, v @ v)
    assert form(y, x, n) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("form", both_forms(dickey_fuller_t))
def test_dickey_fuller_without_lags_is_the_one_worked_by_hand(form):
    # e = 2, 1, 1, -1: levels (2, 1, 1), changes (-1, 0, -2). sum ll = 6, sum lc = -4, sum cc = 5,
    # rho = -2/3, SSR = 5 - 16/6 = 7/3, variance = 7/6, t = -2/3 / sqrt(7/36) = -4 / sqrt(7).
    t = form(np.array([2.0, 1.0, 1.0, -1.0]), 4, 0, np.empty((2, 2)))
    assert t == pytest.approx(-4.0 / math.sqrt(7.0), rel=1e-14)


@pytest.mark.parametrize("form", both_forms(dickey_fuller_t))
def test_dickey_fuller_with_one_lag_is_the_one_worked_by_hand(form):
    # e = 0, 1, 0, 1, 1, 0: rows t = 2 .. 5, lagged changes (1, -1, 1, 0), levels (1, 0, 1, 1),
    # changes (-1, 1, 0, -1). dd = 3, dl = 2, ll = 3, dc = -2, lc = -2, cc = 3; determinant 9 - 4 = 5,
    # coefficients (3 (-2) - 2 (-2)) / 5 = -2/5 twice, SSR = 3 - 4/5 - 4/5 = 7/5, variance = 7/10,
    # variance of rho = 7/10 * 3/5 = 21/50, t = -2/5 / sqrt(21/50).
    e = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    wanted = -0.4 / math.sqrt(0.42)
    assert form(e, 6, 1, np.empty((3, 3))) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("form", both_forms(dickey_fuller_t))
@pytest.mark.parametrize("values", [[1.0] * 6, [0.0] * 6, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]])
def test_a_regression_that_leaves_nothing_has_no_t(form, values):
    assert math.isnan(form(np.array(values), 6, 1, np.empty((3, 3))))


@pytest.mark.parametrize("form", both_forms(mackinnon_p_pair))
def test_p_values_at_the_edges_of_the_polynomials(form):
    assert (form(-19.0), form(1.0)) == (0.0, 1.0)
    assert form(-3.33613) == pytest.approx(0.05, abs=0.001)
    assert form(-2.62) == pytest.approx(form(math.nextafter(-2.62, 0.0)), abs=2e-3)
    assert math.isnan(form(math.nan))


def test_compiled_and_plain_rows_agree_on_random_input():
    rng = np.random.default_rng(2)
    for seed in range(12):
        n, lags = int(rng.integers(4, 60)), int(rng.integers(0, 4))
        y, x = pair(n, seed)
        k = lags + 2
        found = []
        for form in both_forms(engle_granger_row):
            out, e = record(EG, lags=lags), np.full(n, 9.0)
            status = form(out, y, x, n, e, np.empty((k, k)))
            assert status == out.status == (PairStatus.OK if n >= 2 * lags + 6 else PairStatus.TOO_FEW)
            found.append([*out.item(), *e])
        np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


@pytest.mark.parametrize("case", list(JohansenCase))
@pytest.mark.parametrize("form", both_forms(johansen_pair_row))
def test_johansen_of_two_is_that_of_many(form, case):
    for lags in (0, 2):
        a, b = pair(40, seed=lags)
        m = johansen_columns(int(case), lags)
        out = record(PAIR_STATISTICS, johansen_lags=lags, johansen_case=int(case))
        assert form(out, a, b, 40, np.empty((m, 40)), np.empty((m, m))) == PairStatus.OK
        whole = johansen(np.column_stack([a, b]), case, lags)
        assert (out.trace_0, out.trace_1) == pytest.approx(tuple(whole.trace), rel=1e-8)
        assert out.johansen_hedge_ratio == pytest.approx(-whole.vectors[1, 0] / whole.vectors[0, 0], rel=1e-7)


@pytest.mark.parametrize("form", both_forms(johansen_pair_row))
def test_johansen_of_columns_that_depend_on_each_other_is_degenerate(form):
    a, _ = pair(40, seed=1)
    m = johansen_columns(2, 1)
    out = record(PAIR_STATISTICS, johansen_lags=1, johansen_case=2, trace_0=math.nan)
    assert form(out, a, 2.0 * a, 40, np.empty((m, 40)), np.empty((m, m))) == PairStatus.DEGENERATE
    assert math.isnan(out.trace_0)
    turn, m = 0.3 * np.arange(40.0), johansen_columns(0, 0)
    noise = np.random.default_rng(3).normal(size=40)
    for size in (0.0, 1e-9):  # each change follows from the levels without error, or with next to none
        out = record(PAIR_STATISTICS, johansen_lags=0, johansen_case=0, trace_0=math.nan)
        z, r = np.empty((m, 40)), np.empty((m, m))
        moved = np.cos(turn) + size * noise
        assert form(out, moved, np.sin(turn), 40, z, r) == PairStatus.DEGENERATE
        assert math.isnan(out.trace_0)


@pytest.mark.parametrize("form", both_forms(_solve))
def test_the_changes_follow_the_second_level_only_by_hand(form):
    # Levels orthonormal but for a share 4 of the first in the second; changes follow the second orthogonal direction
    # by 1/2 and are else noise: eigenvalues 1/4 / (1 + 1/4) = 1/5 and 0. beta = (-4, 1): first = second / 4.
    r = np.zeros((4, 4))
    r[:2, :2] = [[1.0, 4.0], [0.0, 1.0]]
    r[1, 3] = 0.5
    r[2, 2] = r[3, 3] = 1.0
    out = record(PAIR_STATISTICS)
    assert form(out, r, 0, 4, 10) == PairStatus.OK
    assert (out.eigenvalue_0, out.eigenvalue_1) == pytest.approx((0.2, 0.0))
    assert out.johansen_hedge_ratio == pytest.approx(0.25)
    assert (out.trace_0, out.trace_1) == pytest.approx((-10.0 * math.log(0.8), 0.0))


def test_half_life_and_hurst_of_spreads_are_those_worked_by_hand():
    e = np.array([0.0, 0.0, 0.0, 2.0, 2.0])
    x = np.array([0.0, 1.0, 3.0, 2.0, 2.0, 5.0])
    squares = [(1 + 4 + 1 + 0 + 9) / 5, (9 + 1 + 1 + 9) / 4, (4 + 1 + 4) / 3]
    slope, _ = np.polyfit(np.log([1, 2, 3]), 0.5 * np.log(squares), 1)
    for form in both_forms(spread_half_life):
        assert form(e, 5) == pytest.approx(3.0 * math.log(2.0))
        assert form(2.0 ** np.arange(6), 6) == math.inf
        assert form(np.ones(6), 6) == math.inf
    for form in both_forms(spread_hurst):
        assert form(x, 6, 3) == pytest.approx(slope)
        assert math.isnan(form(np.array([1.0, 2.0] * 4), 8, 3))


def test_whole_tables_pass_with_bounds_checked():
    prices = np.column_stack([*pair(70, 1), *pair(70, 2)])
    prices[5:9, 3] = math.nan
    for case in JohansenCase:
        options = PairOptions(2, 2, case, hurst_max_lag=5)
        found = pair_statistics(prices, [(0, 1), (2, 3), (1, 1)], options)
        assert found.status.tolist() == [PairStatus.OK, PairStatus.OK, PairStatus.COLLINEAR]
        assert found.n.tolist() == [70, 66, 70]
    many = engle_granger_many(prices[:, :2].T, prices[:, 1:3].T, lags=3)
    assert many.status.tolist() == [PairStatus.OK, PairStatus.OK]
