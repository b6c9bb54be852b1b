"""Johansen's test: against its definition and statsmodels, as invariants, and what it refuses."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from scipy.linalg import eigh
from statsmodels.tsa.vector_ar.vecm import coint_johansen

from bt_framework.errors import ConfigError
from bt_framework.stats.johansen import Johansen, JohansenCase, johansen, mhm_critical_values
from bt_framework.stats.pair_statistics import PairOptions, pair_statistics

CASES = list(JohansenCase)


def system(n: int, seed: int) -> np.ndarray:
    """Three series with drift and one relation among them, shape (n, 3)."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0.05, 1.0, size=(2, n)).cumsum(axis=1)
    return np.column_stack([a, b, a - 0.5 * b + 4.0 + rng.normal(size=n)]) + 50.0


def by_definition(x: np.ndarray, case: JohansenCase, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Roots and vectors of |lambda S11 - S10 S00^-1 S01| = 0, moments about what is partialled out."""
    n, k = x.shape
    d = np.diff(x, axis=0)
    rows = np.arange(lags, n - 1)
    left, right, others = d[rows], x[rows], [d[rows - i] for i in range(1, lags + 1)]
    if case is JohansenCase.RESTRICTED_CONSTANT:
        right = np.column_stack([right, np.ones(len(rows))])
    if case is JohansenCase.RESTRICTED_TREND:
        right = np.column_stack([right, rows])
    if case >= JohansenCase.UNRESTRICTED_CONSTANT:
        others.append(np.ones((len(rows), 1)))
    if case is JohansenCase.UNRESTRICTED_TREND:
        others.append(rows[:, None].astype(float))
    if others:
        z = np.hstack(others)
        left = left - z @ np.linalg.lstsq(z, left, rcond=None)[0]
        right = right - z @ np.linalg.lstsq(z, right, rcond=None)[0]
    s00, s01, s11 = (a.T @ b / len(rows) for a, b in ((left, left), (left, right), (right, right)))
    roots, vectors = eigh(s01.T @ np.linalg.solve(s00, s01), s11)
    return roots[::-1][:k], vectors[:, ::-1][:, :k]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lags", [0, 1, 3])
def test_eigenvalues_and_vectors_solve_the_problem_that_defines_them(case, lags):
    x = system(300, seed=lags)
    found = johansen(x, case, lags)
    roots, vectors = by_definition(x, case, lags)
    np.testing.assert_allclose(found.eigenvalues, roots, rtol=1e-8)
    full = np.vstack([found.vectors, found.deterministic[None]])[: len(vectors)]
    np.testing.assert_allclose(np.abs(full), np.abs(vectors), rtol=1e-5, atol=1e-9)
    assert found.n == 300 - lags - 1
    np.testing.assert_allclose(found.max_eigenvalue, -found.n * np.log(1 - roots), rtol=1e-7)
    np.testing.assert_allclose(found.trace[0], found.max_eigenvalue.sum())
    assert (found.vectors[0] > 0.0).all()
    has_term = case in (JohansenCase.RESTRICTED_CONSTANT, JohansenCase.RESTRICTED_TREND)
    assert found.deterministic.any() == has_term


@pytest.mark.parametrize("case", CASES[1:])
def test_the_relation_is_found_and_does_not_wander(case):
    x = system(1_000, seed=4)
    found = johansen(x, case)
    assert found.rank() == 1
    first = found.vectors[:, 0] / found.vectors[2, 0]
    assert first == pytest.approx([-1.0, 0.5, 1.0], abs=0.05)
    relation = x @ found.vectors[:, 0]
    if case is JohansenCase.RESTRICTED_CONSTANT:
        assert abs(np.mean(relation + found.deterministic[0])) < 0.2 * np.std(relation)
    if case is JohansenCase.RESTRICTED_TREND:
        slope = np.polyfit(np.arange(1_000), relation + found.deterministic[0] * np.arange(1_000), 1)[0]
        assert abs(slope) * 1_000 < 0.2 * np.std(relation)


@pytest.mark.parametrize(
    ("case", "order"), [(JohansenCase.NONE, -1), (JohansenCase.UNRESTRICTED_CONSTANT, 0)]
)
@pytest.mark.parametrize("lags", [1, 2, 4])
def test_two_of_the_cases_are_statsmodels(case, order, lags):
    x = system(200, seed=8)
    found, theirs = johansen(x, case, lags), coint_johansen(x, order, lags)
    np.testing.assert_allclose(found.trace, theirs.trace_stat, rtol=1e-9)
    np.testing.assert_allclose(found.max_eigenvalue, theirs.max_eig_stat, rtol=1e-9)
    np.testing.assert_allclose(found.vectors, theirs.evec * np.sign(theirs.evec[0]), rtol=1e-6)
    trace, largest = mhm_critical_values(3, case)
    np.testing.assert_array_equal(trace, theirs.trace_stat_crit_vals)
    np.testing.assert_array_equal(largest, theirs.max_eig_stat_crit_vals)


def test_statsmodels_with_a_trend_or_without_lags_is_none_of_the_five_cases():
    """If this fails, statsmodels has changed: the notes of `johansen` must no longer warn of it."""
    x = system(200, seed=8)
    theirs = coint_johansen(x, 1, 1).trace_stat
    for case in CASES:
        assert not np.allclose(johansen(x, case).trace, theirs, rtol=1e-3), case
    without_lags = coint_johansen(x, 0, 0).trace_stat
    assert not np.allclose(johansen(x, lags=0).trace, without_lags, rtol=1e-3)  # it takes x[t] for x[t-1]
    trace, _ = mhm_critical_values(3, JohansenCase.UNRESTRICTED_TREND)
    np.testing.assert_array_equal(trace, coint_johansen(x, 1, 1).trace_stat_crit_vals)


@pytest.mark.parametrize("case", CASES)
def test_mixing_the_series_does_not_change_their_rank(case):
    x = system(250, seed=9)
    mix = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, -3.0], [0.5, 0.0, 1.0]])
    found, mixed = johansen(x, case), johansen(x @ mix, case)
    np.testing.assert_allclose(mixed.trace, found.trace, rtol=1e-8)
    first = mix @ mixed.vectors[:, 0]
    np.testing.assert_allclose(first / first[0], found.vectors[:, 0] / found.vectors[0, 0], rtol=1e-5)


def test_origins_matter_only_where_nothing_takes_them_out():
    x = system(250, seed=10)
    for case in CASES:
        same = np.allclose(johansen(x - 45.0, case).trace, johansen(x, case).trace, rtol=1e-6)
        assert same == (case is not JohansenCase.NONE)


@pytest.mark.parametrize("case", CASES)
def test_critical_values_are_where_the_p_values_say(case):
    found = johansen(system(100, seed=11), case)
    from bt_framework.stats._johansen_tables import max_p, trace_p

    trends = 3 - np.arange(3)
    for column, level in enumerate((0.10, 0.05, 0.01)):
        np.testing.assert_allclose(trace_p(found.trace_critical[:, column], trends, case), level, rtol=1e-9)
        np.testing.assert_allclose(max_p(found.max_critical[:, column], trends, case), level, rtol=1e-9)


def test_five_cases_need_rising_values_to_reject():
    critical = [johansen(system(100, seed=11), case).trace_critical[0, 1] for case in CASES]
    assert critical[0] < critical[2] < critical[1]  # a constant that is free needs less than a restricted one
    assert critical[2] < critical[4] < critical[3]


@pytest.mark.parametrize("case", CASES)
def test_random_walks_are_found_to_be_cointegrated_as_often_as_the_level_says(case):
    time = np.arange(500.0)[:, None]
    trend = {JohansenCase.UNRESTRICTED_CONSTANT: 0.5 * time, JohansenCase.UNRESTRICTED_TREND: 0.005 * time**2}
    walks = np.random.default_rng(12).normal(size=(500, 4_000)).cumsum(axis=0) + trend.get(case, 0.0)
    pairs = np.arange(4_000).reshape(-1, 2)
    found = pair_statistics(walks, pairs, PairOptions(johansen_case=case, johansen_lags=0))
    for name in ("trace_p_0", "max_p_0"):
        assert np.mean(found[name] < 0.05) == pytest.approx(0.05, abs=0.015)


def test_an_unrestricted_constant_rejects_too_often_where_there_is_no_drift():
    walks = np.random.default_rng(12).normal(size=(500, 4_000)).cumsum(axis=0)
    found = pair_statistics(walks, np.arange(4_000).reshape(-1, 2), PairOptions(johansen_lags=0))
    assert np.mean(found["trace_p_0"] < 0.05) == pytest.approx(0.12, abs=0.015)
    assert np.mean(found["max_p_0"] < 0.05) == pytest.approx(0.07, abs=0.015)


def test_further_regressors_are_partialled_out():
    x = system(240, seed=13)
    season = np.zeros((240, 3))
    for quarter in range(3):
        season[quarter::4, quarter] = 1.0
    seasonal = x + 5.0 * season
    cleaned = johansen(seasonal, JohansenCase.UNRESTRICTED_CONSTANT, 1, season - 0.25)
    assert not np.allclose(cleaned.trace, johansen(seasonal).trace, rtol=0.05)
    assert cleaned.rank() == 1
    constant = johansen(x, JohansenCase.NONE, 1, np.ones(240))
    np.testing.assert_allclose(constant.trace, johansen(x).trace, rtol=1e-9)


def test_class_form_holds_the_options():
    x = system(100, seed=14)
    assert Johansen(lags=2).fit(x).trace.tolist() == johansen(x, lags=2).trace.tolist()
    assert johansen(x, 3).case is JohansenCase.RESTRICTED_TREND


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda x: np.column_stack([x, x[:, 0] + x[:, 1]]), {}, "must be linearly independent"),
        (lambda x: np.column_stack([x[:, 0], x[:, 0]]), {}, "must be linearly independent"),
        (
            lambda x: np.column_stack([x[:, 0], np.full(100, 3.0)]),
            {},
            "must vary, was constant at 3.0 in column 1",
        ),
        (lambda x: np.where(x > x.max() - 1e-9, math.nan, x), {}, "values must be finite, was nan at"),
        (lambda x: x[:12], {}, "values must have at least 13 observations, had 12"),
        (lambda x: x[:3], {}, "values must have at least 13 observations, had 3"),
        (lambda x: x, {"lags": -1}, "lags must be >= 0, was -1"),
        (lambda x: x, {"case": 7}, "7 is not a valid JohansenCase"),
        (lambda x: x, {"exog": np.ones(99)}, r"exog must have shape \(100, m\), was \(99, 1\)"),
        (lambda x: x, {"exog": np.full(100, math.nan)}, "exog must be finite"),
        (lambda x: x, {"exog": np.ones((100, 2))}, "other regressors must be linearly independent"),
        (
            lambda x: np.cos([[0.2], [0.3]] * np.arange(100)).T,
            {"lags": 3},
            "must be linearly independent|eigenvalue",
        ),
        (lambda x: x[:, :, None], {}, r"values must have shape \(n, k\)"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_the_reason(change, options, message):
    with pytest.raises(ValueError, match=message):
        johansen(change(system(100, seed=15)), **options)


@pytest.mark.parametrize(("case", "terms"), list(zip(CASES, [0, 1, 1, 2, 2], strict=True)))
@pytest.mark.parametrize("lags", [0, 2])
def test_the_fewest_observations_that_are_accepted_give_numbers(case, terms, lags):
    x = system(40, seed=16)
    columns = terms + 3 * lags + 3 + 3  # what is partialled out, levels and changes
    least = columns + 1 + lags + 1
    with pytest.raises(ValueError, match=f"must have at least {least} observations, had {least - 1}"):
        johansen(x[: least - 1], case, lags)
    found = johansen(x[:least], case, lags)
    assert found.n == columns + 1
    assert np.isfinite(found.trace).all()
    assert ((found.trace_p >= 0.0) & (found.trace_p <= 1.0)).all()


def test_tables_that_there_are_not_are_said():
    with pytest.raises(ValueError, match="no table for case RESTRICTED_TREND, only for NONE"):
        mhm_critical_values(2, JohansenCase.RESTRICTED_TREND)
    with pytest.raises(ValueError, match="k must be 1 to 12, was 13"):
        mhm_critical_values(13, JohansenCase.NONE)
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        johansen(system(100, seed=1)).rank(5)


def test_series_that_follow_each_other_without_error_are_refused():
    turn = 0.3 * np.arange(60.0)
    with pytest.raises(ValueError, match="must not follow each other without error, did: an eigenvalue is 1"):
        johansen(np.column_stack([np.cos(turn), np.sin(turn)]), JohansenCase.NONE, 0)


def test_without_scipy_the_message_has_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(ConfigError, match=r"needs scipy, .*pip install 'bt-framework\[stats\]'"):
        johansen(system(100, seed=1))
