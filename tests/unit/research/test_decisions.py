"""From p-values to discoveries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bt_framework.research.decisions import combined_p, decide
from bt_framework.stats.multiple_testing import benjamini_hochberg, storey

P = st.floats(0.0, 1.0)


def test_two_p_values_are_combined_as_by_hand():
    # tan(0.49 pi) = 31.820516, tan(0) = 0: 1/2 - arctan(15.910258) / pi = 0.01998
    assert combined_p(np.array([[0.01, 0.5]]))[0] == pytest.approx(0.5 - np.arctan(31.82051595 / 2) / np.pi)


@given(st.floats(1e-290, 0.99), st.integers(1, 5))
def test_equal_p_values_keep_their_value(p, k):
    assert combined_p(np.full((1, k), p))[0] == pytest.approx(p, rel=1e-12, abs=0.0)


@given(arrays(float, (20, 3), elements=P))
def test_a_combination_lies_between_the_smallest_and_the_largest(p):
    found = combined_p(p)
    slack = 1e-12
    assert (found >= p.min(axis=1) * (1 - 1e-9) - slack).all() or (p.min(axis=1) > 0.99).any()
    assert (found <= np.minimum(p, 0.99).max(axis=1) + slack).all()


def test_a_test_that_is_sure_of_the_null_does_not_outvote_the_others():
    assert combined_p(np.array([[1e-4, 1.0]]))[0] < 1e-3


def test_a_p_value_of_zero_decides():
    assert combined_p(np.array([[0.0, 0.9], [0.0, 0.0]])).tolist() == [0.0, 0.0]


def test_a_test_that_was_refused_leaves_no_p_value():
    assert np.isnan(combined_p(np.array([[0.1, np.nan]]))).all()


def test_combined_p_values_of_true_nulls_are_small_as_often_as_they_may_be():
    rng = np.random.default_rng(3)
    from scipy.stats import norm

    for correlation in (0.0, 0.5, 0.95):
        covariance = np.full((3, 3), correlation) + (1 - correlation) * np.eye(3)
        p = norm.cdf(rng.multivariate_normal(np.zeros(3), covariance, size=200_000))
        share = (combined_p(p) < 0.01).mean()
        # Three standard errors of a share of 0.01 are 0.0007; the combination is conservative in between.
        assert 0.005 < share < 0.0111, (correlation, share)


def test_one_family_is_adjusted_as_a_whole():
    p = np.array([0.01, np.nan, 0.04, 0.03])
    found = decide(p, np.zeros(4, int))
    there = ~np.isnan(p)
    np.testing.assert_array_equal(found.p_bh[there], benjamini_hochberg(p[there]))
    q, pi0 = storey(p[there], 0.5)
    np.testing.assert_array_equal(found.q_storey[there], q)
    assert found.pi0.tolist() == [pi0]
    assert np.isnan(found.p_bh[1])
    assert np.isnan(found.q_storey[1])


def test_families_are_adjusted_by_themselves():
    p = np.array([0.01, 0.02, 0.03, 0.5, 0.04])
    family = np.array([0, 1, 0, 1, 2])
    found = decide(p, family)
    for number in range(3):
        members = family == number
        np.testing.assert_array_equal(found.p_bh[members], benjamini_hochberg(p[members]))
    assert len(found.pi0) == 3


def test_where_nothing_was_tested_nothing_is_found():
    found = decide(np.full(3, np.nan), np.zeros(3, int))
    assert not (found.p_bh <= 1.0).any()
    assert len(found.pi0) == 0
