"""Drawn delays: reproducible everywhere, of the right distribution, and never overtaking."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.engine.jitter import Distribution, Jitter, gamma_quantile, key_of, normal_quantile
from bt_framework.errors import ConfigError

KEY = key_of({"test": 1})
FIRST = 1_700_000_000_000
"""A place on a grid of 1 ms."""
LOGNORMAL = [27587, 75074, 140696, 141796, 323775]
GAMMA = [98160, 98198, 104064, 119319, 139810]
KEYS = {"scale_ns": "entry_scale_ns", "shape": "entry_shape", "step_ns": "step_ns", "correlation_ns": "corr"}


def lognormal(correlation_ns: int = 0, step_ns: int = 1_000_000) -> Jitter:
    return Jitter(Distribution.LOGNORMAL, 100_000, 0.8, step_ns, correlation_ns)


def test_delays_are_these_numbers_on_every_machine() -> None:
    assert lognormal().delays(KEY, FIRST, FIRST + 5).tolist() == LOGNORMAL
    gamma = Jitter(Distribution.GAMMA, 100_000, 2.0, 1_000_000, 5_000_000)
    assert gamma.delays(KEY, FIRST, FIRST + 5).tolist() == GAMMA


def test_a_lognormal_has_its_median_and_sigma() -> None:
    logs = np.log(lognormal().delays(KEY, FIRST, FIRST + 200_000))
    assert np.median(logs) == pytest.approx(np.log(100_000), abs=0.01)
    assert logs.std() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("shape", [0.5, 2.0, 50.0])
@pytest.mark.parametrize("correlation_ns", [0, 3_500_000])
def test_a_gamma_has_its_mean_and_variance(shape: float, correlation_ns: int) -> None:
    gamma = Jitter(Distribution.GAMMA, 10_000, shape, 1_000_000, correlation_ns)
    delays = gamma.delays(KEY, FIRST, FIRST + 400_000) / 10_000
    assert delays.mean() == pytest.approx(shape, rel=0.02)
    assert delays.var() == pytest.approx(shape, rel=0.05)


def test_neighbours_within_the_correlation_are_alike_and_those_beyond_twice_are_not() -> None:
    logs = np.log(lognormal(100_000_000).delays(KEY, FIRST, FIRST + 400_000))
    near, far = (np.corrcoef(logs[:-lag], logs[lag:])[0, 1] for lag in (5, 205))
    assert near > 0.98
    assert abs(far) < 0.05


@given(
    start=st.integers(-(10**6), 10**6),
    count=st.integers(1, 300),
    skip=st.integers(0, 299),
    correlation_ns=st.sampled_from([0, 7_300_000]),
)
def test_a_draw_belongs_to_its_place_alone(start: int, count: int, skip: int, correlation_ns: int) -> None:
    jitter = lognormal(correlation_ns)
    first = FIRST + start
    whole = jitter.arrivals(KEY, first, first + count)
    skip = min(skip, count - 1)
    np.testing.assert_array_equal(jitter.arrivals(KEY, first + skip, first + count), whole[skip:])
    delays = jitter.delays(KEY, first, first + count)
    np.testing.assert_array_equal(jitter.delays(KEY, first + skip, first + count), delays[skip:])


@given(step_ns=st.sampled_from([1_000, 20_000, 5_000_000]), first=st.integers(10**6, 10**12))
def test_arrivals_never_fall_and_are_as_if_all_the_past_were_known(step_ns: int, first: int) -> None:
    jitter = lognormal(step_ns=step_ns)
    arrivals = jitter.arrivals(KEY, first, first + 200, base_ns=7)
    assert np.all(np.diff(arrivals) >= 0)
    longer = first - 3 * (jitter.longest_ns // step_ns) - 5
    sent_ts = np.arange(longer, first + 200) * step_ns
    known = np.maximum.accumulate(sent_ts + 7 + jitter.delays(KEY, longer, first + 200))
    np.testing.assert_array_equal(arrivals, known[first - longer :])


def test_other_keys_give_other_delays() -> None:
    one, other = (lognormal().delays(key_of({"seed": s}), FIRST, FIRST + 10_000) for s in (1, 2))
    assert abs(np.corrcoef(np.log(one), np.log(other))[0, 1]) < 0.05


def test_normal_quantiles_are_those_of_the_standard_library() -> None:
    p = np.concatenate([np.random.default_rng(1).random(5_000), [1e-14, 1e-9, 0.0749, 0.0751, 0.5, 1 - 1e-9]])
    expected = [statistics.NormalDist().inv_cdf(x) for x in p]
    np.testing.assert_allclose(normal_quantile(p), expected, rtol=1e-14, atol=1e-14)


def test_gamma_quantiles_are_those_of_tables() -> None:
    # Chi-squared with 2k degrees of freedom is gamma of shape k and scale 2: upper 5 % and 1 % points.
    points = {0.5: (3.841459, 6.634897), 1.0: (5.991465, 9.210340), 5.0: (18.307038, 23.209251)}
    for shape, expected in points.items():
        assert 2 * gamma_quantile(shape, np.array([0.95, 0.99])) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("jitter", "message"),
    [
        (
            Jitter(Distribution.LOGNORMAL, -1, 0.5, 10),
            "entry_scale_ns must be from 0 to 1.09951e+12, was -1.",
        ),
        (Jitter(Distribution.LOGNORMAL, 1, 3.5, 10), "entry_shape must be from 0 to 3, was 3.5."),
        (Jitter(Distribution.GAMMA, 1, 0.0, 10), "entry_shape must be from 0.05 to 10000, was 0.0."),
        (Jitter(Distribution.GAMMA, 1, 1.0, 0), "step_ns must be from 1 to 2e+09, was 0."),
        (
            Jitter(Distribution.LOGNORMAL, 10**9, 1.0, 1_000),
            "entry_scale_ns and entry_shape must keep delays below",
        ),
        (Jitter(Distribution.LOGNORMAL, 1, 1.0, 10, -1), "corr must be from 0 to 1.15292e+18, was -1."),
    ],
)
def test_what_cannot_be_drawn_is_refused(jitter: Jitter, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        jitter.check(KEYS)
    assert str(caught.value).startswith(message)
