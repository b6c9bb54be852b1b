"""Thresholds of a mean-reverting spread: against what they maximise, compiled and plain, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bt_framework.jit import PlainForms, cached_kernel
from bt_framework.records import record
from bt_framework.stats._bertram import bertram_z
from bt_framework.stats._leung_li import passage
from bt_framework.stats.thresholds import (
    THRESHOLDS,
    ThresholdStatus,
    bertram,
    bertram_entry,
    bertram_thresholds,
    fixed_z,
    fixed_z_thresholds,
    leung_li,
    leung_li_thresholds,
    trade_cycle,
)

Z = THRESHOLDS.names[:4]


@cached_kernel
def in_a_loop(out, process, costs, rates):
    """What a strategy's kernel does with them."""
    distance = bertram_entry(process[0], process[2], costs[0])
    return distance, leung_li_thresholds(out, process, costs, rates)


@cached_kernel
def passage_of(nu, z):
    return passage(nu, z)


def plain(kernel):
    """Return the kernel as a Python function."""
    return PlainForms().of(kernel) if hasattr(kernel, "py_func") else kernel


def moment(nu: float, z: float) -> float:
    """M(nu, z) by quadrature, with the power of u as its weight near zero."""
    from scipy.integrate import quad

    def bell(u: float) -> float:
        return math.exp(z * u - 0.5 * u * u)

    cut = 1.0 / (1.0 - z) if z < 0 else 1.0
    near = quad(bell, 0.0, cut, weight="alg", wvar=(nu - 1.0, 0.0), epsabs=0, epsrel=1e-12)[0]
    far = quad(
        lambda u: u ** (nu - 1.0) * bell(u), cut, max(z, 0.0) + 12.0, epsabs=0, epsrel=1e-12, limit=200
    )[0]
    return near + far


# Fixed z-scores


def test_fixed_levels_are_the_given_distances_on_both_sides():
    levels = fixed_z(theta=0.5, mu=10.0, sigma=2.0, entry_z=2.0, exit_z=-0.5)  # s = 2
    assert [levels.level(name[:-2]) for name in Z] == [6.0, 11.0, 14.0, 9.0]
    assert levels.status is ThresholdStatus.OK
    assert (levels.stationary_sd, levels.mu) == (2.0, 10.0)


@pytest.mark.parametrize(
    ("entry_z", "exit_z"), [(1.0, 1.0), (1.0, 2.0), (math.nan, 0.0), (2.0, math.nan), (math.inf, 0.0)]
)
def test_fixed_levels_that_make_no_trade_are_refused(entry_z, exit_z):
    out = record(THRESHOLDS)
    assert fixed_z_thresholds(out, entry_z, exit_z) == ThresholdStatus.BAD_LEVELS
    assert all(math.isnan(out[name]) for name in Z)
    assert fixed_z(1.0, 0.0, 1.0, entry_z, exit_z).status is ThresholdStatus.BAD_LEVELS


def test_an_unknown_level_is_refused():
    with pytest.raises(
        ValueError, match="name must be long_entry, long_exit, short_entry or short_exit, was 'mid'"
    ):
        fixed_z(1.0, 0.0, 1.0, 2.0).level("mid")


# What a cycle brings


def test_duration_of_a_cycle_is_the_integral_over_its_width():
    from scipy.integrate import quad

    for entry, leave in ((-2.0, 0.0), (-1.3, 2.1), (0.5, 3.0)):
        expected = math.sqrt(2 * math.pi) * quad(lambda z: math.exp(0.5 * z * z), entry, leave)[0]
        assert trade_cycle(0.1, 1.0, entry, leave).duration_s == pytest.approx(expected / 0.1, rel=1e-9)


def test_moments_of_a_cycle_are_those_of_a_simulated_process():
    rng = np.random.default_rng(6)
    dt, entry, leave = 2e-3, -1.0, 0.5
    phi, sd = math.exp(-dt), math.sqrt(-math.expm1(-2 * dt))
    shift = 0.5826 * math.sqrt(2 * dt)  # barriers seen at steps only: Broadie, Glasserman and Kou (1997)
    means, variances = [], []
    for start, goal in ((entry, leave), (-leave, -entry)):  # there, and back in the mirror
        z, times, step = np.full(1_500, start), [], 0
        while len(z):
            step += 1
            z = phi * z + sd * rng.normal(size=len(z))
            there = z >= goal - shift
            times += [step * dt] * int(there.sum())
            z = z[~there]
        means.append(np.mean(times))
        variances.append(np.var(times))
    cycle = trade_cycle(1.0, math.sqrt(2.0), entry, leave)
    assert sum(means) == pytest.approx(cycle.duration_s, rel=0.06)
    assert sum(variances) == pytest.approx(cycle.duration_variance_s2, rel=0.2)


def test_a_trade_without_width_has_no_rate_and_returns_follow_from_duration():
    cycle = trade_cycle(1.0, 1.0, 0.3, 0.3, 0.1)
    assert (cycle.duration_s, cycle.duration_variance_s2) == (0.0, 0.0)
    assert math.isnan(cycle.mean_return)
    assert math.isnan(cycle.sharpe())
    cycle = trade_cycle(0.5, 2.0, -1.0, 1.0, cost=1.0)  # s = 2, r = 2 * 2 - 1
    assert cycle.mean_return == pytest.approx(3.0 / cycle.duration_s)
    assert cycle.return_variance == pytest.approx(9.0 * cycle.duration_variance_s2 / cycle.duration_s**3)
    assert cycle.sharpe(1.5) == pytest.approx(1.5 / cycle.duration_s / math.sqrt(cycle.return_variance))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, -1.0, 1.0), "theta and sigma must be finite and > 0, were 0.0 and 1.0"),
        ((1.0, math.nan, -1.0, 1.0), "theta and sigma must be finite and > 0, were 1.0 and nan"),
        ((1.0, 1.0, 1.0, -1.0), "levels must be -8 <= entry_z <= exit_z <= 8, were 1.0 and -1.0"),
        ((1.0, 1.0, -9.0, 1.0), "levels must be -8 <= entry_z <= exit_z <= 8"),
        ((1.0, 1.0, math.nan, 1.0), "levels must be -8 <= entry_z <= exit_z <= 8"),
    ],
)
def test_cycles_of_no_process_or_trade_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        trade_cycle(*arguments)


# Bertram


@given(cost_z=st.floats(1e-6, 12.0), theta=st.floats(1e-4, 1e4), sigma=st.floats(1e-6, 1e3))
def test_bertram_s_levels_earn_more_than_any_near_them_in_any_unit(cost_z, theta, sigma):
    sd = sigma / math.sqrt(2 * theta)
    levels = bertram(theta, 3.0, sigma, cost_z * sd)
    assert levels.status is ThresholdStatus.OK
    z = levels.long_exit_z
    assert z == pytest.approx(bertram(1.0, 0.0, math.sqrt(2.0), cost_z).long_exit_z, rel=1e-12)
    assert [levels.long_entry_z, levels.short_entry_z, levels.short_exit_z] == [-z, z, -z]
    best = levels.cycle.mean_return
    assert best > 0
    for entry, leave in ((-1.02 * z, z), (-0.98 * z, z), (-z, 1.02 * z), (-z, 0.98 * z)):
        if leave <= 8.0 and entry >= -8.0:
            assert trade_cycle(theta, sigma, entry, leave, cost_z * sd).mean_return < best


def test_bertram_s_root_is_the_one_of_the_published_equation():
    from scipy.optimize import brentq
    from scipy.special import erfi

    for cost in (1e-12, 1e-6, 1e-3, 0.1, 1.0, 5.0, 12.0):

        def equation(z: float, cost: float = cost) -> float:
            return math.exp(0.5 * z * z) * (2 * z - cost) - math.sqrt(2 * math.pi) * erfi(z / math.sqrt(2))

        z = bertram_z(cost)
        assert z == pytest.approx((1.5 * cost) ** (1 / 3), rel=1e-4) if cost < 1e-5 else True
        if cost >= 1e-3:
            assert z == pytest.approx(brentq(equation, 0.6 * z, 1.5 * z, xtol=1e-15), rel=1e-10)


@given(st.floats(0.0, 15.0), st.floats(0.0, 1.0))
def test_a_higher_cost_widens_bertram_s_levels(cost, more):
    assert bertram_z(cost) <= bertram_z(min(cost + more, 15.0)) * (1 + 1e-14)


def test_bertram_s_sharpe_levels_are_wider_than_those_of_the_return():
    by_return = bertram(1.0, 0.0, 1.0, 0.1)
    by_sharpe = bertram(1.0, 0.0, 1.0, 0.1, maximise="sharpe", rate=0.5)
    assert by_sharpe.long_exit_z > by_return.long_exit_z
    assert by_sharpe.cycle.sharpe(0.5) > by_return.cycle.sharpe(0.5)
    assert by_sharpe.cycle.mean_return < by_return.cycle.mean_return
    with pytest.raises(ValueError, match="maximise must be return or sharpe, was 'risk'"):
        bertram(1.0, 0.0, 1.0, 0.1, maximise="risk")
    with pytest.raises(ValueError, match=r"rate must be finite and > 0 for a Sharpe ratio, was 0\.0"):
        bertram(1.0, 0.0, 1.0, 0.1, maximise="sharpe")


def test_a_sharpe_ratio_that_only_rises_with_the_width_has_no_level():
    assert bertram(1.0, 0.0, 1.0, 0.1, maximise="sharpe", rate=1e6).status is ThresholdStatus.OUT_OF_REACH


# Leung and Li


@pytest.mark.parametrize("nu", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("z", [-8.0, -4.0, -2.001, -1.999, -0.5, 0.0, 1e-9, 0.7, 3.0, 6.0])
def test_solutions_of_the_equation_equal_their_integrals(nu, z):
    log_m, rho = passage_of(nu, z)
    at_nu, at_next = moment(nu, z), moment(nu + 1, z)
    assert log_m == pytest.approx(math.log(at_nu), abs=2e-11)
    assert rho == pytest.approx(at_next / at_nu, rel=2e-11)


@given(st.floats(1e-12, 1.0), st.floats(-8.0, 8.0), st.floats(1e-3, 0.1))
def test_solutions_rise_and_satisfy_the_equation_across_both_ways_of_computing_them(nu, z, step):
    # M'' = z M' + nu M, so rho' = nu + z rho - rho^2; its integral is the difference of logarithms.
    z = min(z, 8.0 - step)
    (low, rho_low), (mid, rho_mid), (high, rho_high) = (passage_of(nu, z + step * i / 2) for i in range(3))
    assert low <= mid + 1e-13
    assert mid <= high + 1e-13
    assert 0 < rho_low < rho_mid < rho_high
    assert high - low == pytest.approx(step * (rho_low + 4 * rho_mid + rho_high) / 6, rel=1e-3, abs=1e-12)


@given(
    process=st.tuples(st.floats(0.1, 10.0), st.floats(-1.0, 1.0), st.floats(0.1, 2.0)),
    costs=st.tuples(st.floats(0.0, 0.1), st.floats(0.001, 0.1)),
    rates=st.tuples(st.floats(0.005, 0.09), st.floats(0.005, 0.09)),
)
def test_leung_and_li_s_levels_are_worth_more_than_any_near_them(process, costs, rates):
    theta, mu, _ = process
    levels = leung_li(*process, costs, rates)
    if levels.status is not ThresholdStatus.OK or math.isinf(levels.long_entry_z):
        return
    sd, nus = levels.stationary_sd, [rate / theta for rate in rates]
    b, d = levels.long_exit_z, levels.long_entry_z
    assert d < b

    def sale(z: float) -> float:  # the value of holding and selling at z, seen from F = 1
        return (mu + z * sd - costs[0]) / math.exp(passage_of(nus[0], z)[0] - passage_of(nus[0], b)[0])

    def entry(z: float) -> float:  # the value of waiting to buy at z
        held = (mu + b * sd - costs[0]) * math.exp(passage_of(nus[0], z)[0] - passage_of(nus[0], b)[0])
        return (held - mu - z * sd - costs[1]) / math.exp(passage_of(nus[1], -z)[0])

    near = 0.05
    assert max(sale(b - near), sale(b + near)) < sale(b)
    assert max(entry(d - near), entry(min(d + near, b))) < entry(d)
    assert levels.entry_value > 0
    assert levels.exit_value >= mu - costs[0] - 1e-9


@given(st.floats(-0.5, 0.5), st.floats(0.0, 0.1))
def test_leung_and_li_s_short_trade_is_the_long_one_in_the_mirror(mu, cost):
    one = leung_li(1.0, mu, 1.0, (cost, 0.02), (0.05, 0.04))
    other = leung_li(1.0, -mu, 1.0, (cost, 0.02), (0.05, 0.04))
    assert (one.short_entry_z, one.short_exit_z) == (-other.long_entry_z, -other.long_exit_z)
    if mu == 0.0:
        assert one.short_entry_z == -one.long_entry_z


def test_a_side_that_is_never_worth_entering_is_never_entered_and_always_left():
    levels = leung_li(
        16.6677, 0.5388, 0.1599, (0.01, 0.01), (0.05, 0.05)
    )  # a price: selling it short costs it
    assert levels.status is ThresholdStatus.OK
    assert (levels.short_entry_z, levels.short_exit_z) == (math.inf, math.inf)
    assert -8.0 < levels.long_entry_z < levels.long_exit_z < 8.0
    mirrored = leung_li(16.6677, -0.5388, 0.1599, (0.01, 0.01), (0.05, 0.05))
    assert (mirrored.long_entry_z, mirrored.long_exit_z) == (-math.inf, -math.inf)
    assert (mirrored.short_entry_z, mirrored.short_exit_z) == (-levels.long_entry_z, -levels.long_exit_z)
    assert math.isnan(mirrored.exit_value)


def test_without_costs_leung_and_li_still_wait_for_a_gain():
    levels = leung_li(1.0, 0.0, 1.0, (0.0, 0.0), (0.05, 0.05))
    assert levels.status is ThresholdStatus.OK
    assert levels.long_entry_z < 0.0 < levels.long_exit_z
    assert levels.entry_value > 0.1


# All of them

BAD_PROCESSES = [
    ((0.0, 0.0, 1.0), ThresholdStatus.NOT_REVERTING),
    ((-1.0, 0.0, 1.0), ThresholdStatus.NOT_REVERTING),
    ((math.nan, 0.0, 1.0), ThresholdStatus.NOT_REVERTING),
    ((math.inf, 0.0, 1.0), ThresholdStatus.NOT_REVERTING),
    ((1.0, 0.0, 0.0), ThresholdStatus.NO_NOISE),
    ((1.0, 0.0, math.nan), ThresholdStatus.NO_NOISE),
    ((1.0, math.nan, 1.0), ThresholdStatus.BAD_LEVELS),
]


@pytest.mark.parametrize(("process", "status"), BAD_PROCESSES)
@pytest.mark.parametrize(
    "thresholds",
    [
        lambda *process: fixed_z(*process, 2.0),
        lambda *process: bertram(*process, 0.1),
        lambda *process: bertram(*process, 0.1, maximise="sharpe", rate=0.01),
        lambda *process: leung_li(*process, (0.1, 0.1), (0.05, 0.05)),
    ],
    ids=["fixed", "bertram", "sharpe", "leung_li"],
)
def test_a_process_without_reversion_or_noise_has_no_thresholds(thresholds, process, status):
    levels = thresholds(*process)
    assert levels.status is status
    assert all(math.isnan(getattr(levels, name)) for name in Z)
    assert levels.cycle is None


@pytest.mark.parametrize(
    ("levels", "status"),
    [
        (lambda: fixed_z(1.0, 0.0, 1.0, 2.0, cost=-1.0), ThresholdStatus.BAD_COST),
        (lambda: bertram(1.0, 0.0, 1.0, -1e-9), ThresholdStatus.BAD_COST),
        (lambda: bertram(1.0, 0.0, 1.0, math.nan), ThresholdStatus.BAD_COST),
        (lambda: bertram(1.0, 0.0, 1.0, 1e3), ThresholdStatus.OUT_OF_REACH),
        (lambda: bertram(1.0, 0.0, 1.0, 11.5, maximise="sharpe", rate=0.01), ThresholdStatus.OUT_OF_REACH),
        (lambda: bertram(1e300, 0.0, 1e-300, 0.1), ThresholdStatus.OUT_OF_REACH),
        (lambda: leung_li(1.0, 0.0, 1.0, (-0.1, 0.1), (0.05, 0.05)), ThresholdStatus.BAD_COST),
        (lambda: leung_li(1.0, 0.0, 1.0, (0.1, math.inf), (0.05, 0.05)), ThresholdStatus.BAD_COST),
        (lambda: leung_li(1.0, 0.0, 1.0, (50.0, 50.0), (0.05, 0.05)), ThresholdStatus.OUT_OF_REACH),
        (lambda: leung_li(1.0, 0.0, 1.0, (0.1, 100.0), (0.05, 0.05)), ThresholdStatus.OUT_OF_REACH),
        (lambda: leung_li(1.0, 0.0, 1.0, (0.1, 0.1), (0.0, 0.05)), ThresholdStatus.BAD_RATE),
        (lambda: leung_li(1.0, 0.0, 1.0, (0.1, 0.1), (0.05, 2.0)), ThresholdStatus.BAD_RATE),
        (lambda: leung_li(1e300, 0.0, 1e-300, (0.1, 0.1), (1e299, 1e299)), ThresholdStatus.OUT_OF_REACH),
        (lambda: leung_li(1.0, 1e20, 1e-295, (1e20, 1e20), (0.1, 0.1)), ThresholdStatus.OUT_OF_REACH),
    ],
)
def test_costs_and_rates_that_allow_no_trade_are_refused_with_the_reason(levels, status):
    found = levels()
    assert found.status is status
    assert all(math.isnan(getattr(found, name)) for name in Z)


anything = st.floats(allow_nan=True, allow_infinity=True)


@given(
    process=st.tuples(anything, anything, anything),
    costs=st.tuples(anything, anything),
    rates=st.tuples(anything, anything),
)
@example(process=(1.0, 0.0, 5e-324), costs=(0.0, 0.0), rates=(0.5, 0.5))
@example(process=(1e-237, 0.0, 1e190), costs=(0.0, 0.0), rates=(0.0, 0.0))
@example(process=(5e-324, 0.0, 1.0), costs=(5e-324, 0.0), rates=(5e-324, 5e-324))
@example(process=(1.0, 0.0, 1.0), costs=(5e-324, 1e-300), rates=(1e-12, 1.0))
def test_any_numbers_give_a_status_and_only_ok_gives_levels(process, costs, rates):
    theta, mu, sigma = process
    found = [
        fixed_z(*process, costs[0], costs[1], rates[0]),
        bertram(*process, costs[0]),
        leung_li(*process, costs, rates),
    ]
    for levels in found:
        z = [getattr(levels, name) for name in Z]
        if levels.status is not ThresholdStatus.OK:
            assert all(map(math.isnan, z))
        else:
            assert theta > 0
            assert sigma > 0
            assert math.isfinite(mu)
            assert z[0] <= z[1]
            assert z[2] >= z[3]
    distance = bertram_entry(theta, sigma, costs[0])
    if math.isfinite(mu):  # the distance does not depend on it
        assert (distance >= 0) == (found[1].status is ThresholdStatus.OK)


def test_kernels_refuse_what_the_functions_refuse():
    out = record(THRESHOLDS, long_entry_z=9.0, long_exit_z=9.0, short_entry_z=9.0, short_exit_z=9.0)
    assert bertram_thresholds(out, -1.0, 1.0, 0.1) == ThresholdStatus.NOT_REVERTING == out.status
    assert all(math.isnan(out[name]) for name in Z)
    for arguments in (
        (-1.0, 1.0, 0.1),
        (1.0, 0.0, 0.1),
        (1.0, 1.0, -0.1),
        (1.0, 1.0, 99.0),
        (1e300, 1e-300, 1.0),
    ):
        assert math.isnan(bertram_entry(*arguments)), arguments


def test_compiled_and_plain_kernels_agree_on_random_input():
    rng = np.random.default_rng(21)
    loop = plain(getattr(in_a_loop, "py_func", in_a_loop))
    for _ in range(40):
        process = float(rng.uniform(0.1, 20.0)), float(rng.normal()), float(rng.uniform(0.05, 2.0))
        costs = tuple(float(cost) for cost in rng.uniform(0.0, 0.2, 2))
        rates = tuple(float(rate) for rate in rng.uniform(0.001, 0.1, 2))
        compiled, by_hand = record(THRESHOLDS), record(THRESHOLDS)
        ours, theirs = in_a_loop(compiled, process, costs, rates), loop(by_hand, process, costs, rates)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        np.testing.assert_allclose(compiled.item(), by_hand.item(), rtol=1e-11)
        levels = leung_li(*process, costs, rates)
        np.testing.assert_equal([compiled[name] for name in Z], [getattr(levels, name) for name in Z])
        found = bertram(*process, costs[0])
        if found.status is ThresholdStatus.OK:
            assert ours[0] == pytest.approx(found.long_exit_z * found.stationary_sd, rel=1e-15)
