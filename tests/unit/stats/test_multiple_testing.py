"""False discovery rates: by hand, against statsmodels, as invariants, and on tests whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests

from bt_framework.stats.multiple_testing import BenjaminiHochberg, Storey, benjamini_hochberg, storey

p_value_arrays = arrays(np.float64, st.integers(1, 60), elements=st.floats(0.0, 1.0))


@given(p_value_arrays)
def test_adjusted_p_values_are_those_of_statsmodels(p_values):
    theirs = multipletests(p_values, method="fdr_bh")[1]
    np.testing.assert_allclose(benjamini_hochberg(p_values), theirs, rtol=1e-12, atol=1e-300)


@given(p_value_arrays)
def test_q_values_are_monotone_and_never_above_the_adjusted_p_values(p_values):
    q, pi0 = storey(p_values)
    assert 0.0 < pi0 <= 1.0
    assert (q <= benjamini_hochberg(p_values)).all()
    assert (np.diff(q[np.argsort(p_values, kind="stable")]) >= 0.0).all()
    np.testing.assert_array_equal(q, pi0 * benjamini_hochberg(p_values))


@given(p_value_arrays, st.randoms())
def test_the_order_of_the_tests_does_not_matter(p_values, random):
    order = list(range(len(p_values)))
    random.shuffle(order)
    np.testing.assert_allclose(storey(p_values[order])[0], storey(p_values)[0][order], rtol=1e-12)


def test_adjusted_p_values_are_the_ones_worked_by_hand():
    # Sorted .01 .02 .03 .9 times 4/1, 4/2, 4/3, 1 is .04 .04 .04 .9.
    assert benjamini_hochberg([0.9, 0.01, 0.03, 0.02]) == pytest.approx([0.9, 0.04, 0.04, 0.04])


def test_the_share_of_nulls_is_the_one_worked_by_hand():
    # Ten tests, three above 1/2: (3 + 1) / (10 * 1/2) = 0.8.
    p_values = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.6, 0.7, 0.8]
    q, pi0 = storey(p_values, tuning=0.5)
    assert pi0 == pytest.approx(0.8)
    assert q[0] == pytest.approx(0.8 * 0.1)


def test_tuning_is_the_one_with_the_least_estimated_error():
    p_values = np.concatenate([np.full(60, 1e-4), (np.arange(40) + 0.5) / 40])
    found = Storey().fit(p_values)
    shares = {tuning: Storey(tuning).fit(p_values).pi0 for tuning in np.arange(1, 20) * 0.05}
    assert found.pi0 in shares.values()
    assert found.pi0 == pytest.approx(0.4, abs=0.05)


def test_a_test_that_could_not_be_made_does_not_count():
    p_values = np.array([0.01, math.nan, 0.04, 0.5, math.nan])
    left = np.array([0.01, 0.04, 0.5])
    for method in (BenjaminiHochberg(), Storey(0.5)):
        found = method.fit(p_values)
        np.testing.assert_array_equal(found.adjusted[[0, 2, 3]], method.fit(left).adjusted)
        assert np.isnan(found.adjusted[[1, 4]]).all()
        assert found.tested == 3
        assert found.discoveries(0.03).tolist() == [True, False, False, False, False]


def test_no_tests_are_no_discoveries():
    assert storey([])[1] == 1.0
    assert BenjaminiHochberg().fit([math.nan, math.nan]).discoveries(0.5).tolist() == [False, False]


def test_false_discoveries_stay_below_the_rate_and_true_ones_are_found():
    rng, share, power = np.random.default_rng(3), [], []
    for _ in range(300):
        z = rng.normal(size=400)
        z[:120] -= 3.0
        p_values = np.array([0.5 * math.erfc(-v / math.sqrt(2.0)) for v in z])
        for method in (BenjaminiHochberg(), Storey()):
            found = method.fit(p_values).discoveries(0.1)
            share.append(found[120:].sum() / max(found.sum(), 1))
            power.append(found[:120].mean())
    assert np.mean(share[::2]) == pytest.approx(
        0.1 * 280 / 400, abs=0.01
    )  # the rate times the share of nulls
    assert 0.08 < np.mean(share[1::2]) < 0.105
    assert np.mean(power[1::2]) > np.mean(power[::2]) > 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: benjamini_hochberg([0.1, 1.5]), "p_values must be within .0, 1., was 1.5 at 1"),
        (lambda: storey([-0.1]), "p_values must be within .0, 1., was -0.1 at 0"),
        (lambda: storey([[0.1]]), r"p_values must have shape \(m,\), was \(1, 1\)"),
        (lambda: storey([0.1], tuning=1.0), "tuning must be between 0 and 1, or None to choose it, was 1.0"),
        (lambda: BenjaminiHochberg().fit([0.1]).discoveries(5), "rate must be between 0 and 1, was 5"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
