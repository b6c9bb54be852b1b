"""All statistics of many pairs: equal to those one by one, whatever the threads, and a reason for each refusal."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest

from bt_framework.stats.cointegration import engle_granger
from bt_framework.stats.johansen import JohansenCase, johansen
from bt_framework.stats.mean_reversion import half_life, hurst
from bt_framework.stats.pair_statistics import PAIR_STATISTICS, PairOptions, PairStatus, pair_statistics

FLOATS = [name for name in PAIR_STATISTICS.names or () if PAIR_STATISTICS[name].kind == "f"]


def universe(n: int = 250, k: int = 6, seed: int = 1) -> np.ndarray:
    """Random walks that share one, shape (n, k); column 2 begins late, column 4 has gaps."""
    rng = np.random.default_rng(seed)
    walks = rng.normal(size=(n, k)).cumsum(axis=0)
    prices = 40.0 + 0.5 * walks + walks[:, :1] + rng.normal(size=(n, k))
    prices[: n // 3, 2] = math.nan
    prices[50::17, 4] = math.nan
    return prices


PAIRS = np.array(list(combinations(range(6), 2)))


@pytest.mark.parametrize("case", list(JohansenCase))
@pytest.mark.parametrize("lags", [0, 1, 3])
def test_numbers_are_those_of_the_methods_one_by_one(case, lags):
    prices = universe()
    options = PairOptions(lags, johansen_lags=lags, johansen_case=case, hurst_max_lag=12)
    for row in pair_statistics(prices, PAIRS, options):
        both = prices[:, [row.first, row.second]]
        both = both[np.isfinite(both).all(axis=1)]
        assert (PairStatus(row.status), row.n) == (PairStatus.OK, len(both))
        for name, y, x in (("first", both[:, 0], both[:, 1]), ("second", both[:, 1], both[:, 0])):
            one = engle_granger(y, x, "c", lags)
            spread = y - one.intercept - one.hedge_ratio * x
            assert [
                row[f"{what}_{name}"] for what in ("t", "p", "hedge_ratio", "intercept")
            ] == pytest.approx([one.statistic, one.p_value, one.hedge_ratio, one.intercept], rel=1e-9)
            assert row[f"half_life_{name}"] == pytest.approx(half_life(spread), rel=1e-9)
            assert row[f"hurst_{name}"] == pytest.approx(hurst(spread, 12), rel=1e-9)
        found = johansen(both, case, lags)
        for r in (0, 1):
            assert row[f"eigenvalue_{r}"] == pytest.approx(found.eigenvalues[r], rel=1e-8)
            assert row[f"trace_{r}"] == pytest.approx(found.trace[r], rel=1e-8)
            assert row[f"max_{r}"] == pytest.approx(found.max_eigenvalue[r], rel=1e-8)
            assert row[f"trace_p_{r}"] == pytest.approx(found.trace_p[r], rel=1e-7)
            assert row[f"max_p_{r}"] == pytest.approx(found.max_p[r], rel=1e-7)
        assert row.johansen_hedge_ratio == pytest.approx(-found.vectors[1, 0] / found.vectors[0, 0], rel=1e-6)


def test_exchanging_the_two_exchanges_the_directions():
    prices = universe()
    ab, ba = pair_statistics(prices, PAIRS), pair_statistics(prices, PAIRS[:, ::-1])
    for what in ("t", "p", "hedge_ratio", "intercept", "half_life", "hurst"):
        np.testing.assert_array_equal(ab[f"{what}_first"], ba[f"{what}_second"])
    np.testing.assert_allclose(ab["trace_0"], ba["trace_0"], rtol=1e-9)
    np.testing.assert_allclose(ab["johansen_hedge_ratio"], 1.0 / ba["johansen_hedge_ratio"], rtol=1e-6)


def test_threads_share_the_work_without_changing_it():
    prices = universe(k=20, n=200, seed=2)
    pairs = np.array(list(combinations(range(20), 2)))
    whole = pair_statistics(prices, pairs)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda part: pair_statistics(prices, part), np.array_split(pairs, 9)))
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_each_refusal_has_its_reason_and_no_numbers():
    prices = np.column_stack([universe(), universe()[:, 1], np.full(250, 2.5), universe()[:, 0]])
    prices[:200, 8] = math.nan  # 50 rows with most others
    prices[200:, 5] = math.nan  # none with 8
    pairs = [(0, 1), (1, 6), (0, 7), (5, 8), (2, 2), (1, 8), (1, 4)]
    found = pair_statistics(prices, pairs, PairOptions(min_observations=51))
    assert [PairStatus(s).name for s in found.status] == [
        "OK",
        "COLLINEAR",
        "CONSTANT",
        "TOO_FEW",
        "COLLINEAR",
        "TOO_FEW",
        "OK",
    ]
    assert found.n.tolist()[3:6:2] == [0, 50]
    refused = found.status != PairStatus.OK
    for name in FLOATS:
        assert np.isnan(found[name][refused]).all(), name
        assert np.isfinite(found[name][~refused]).all(), name


def test_a_constant_change_is_degenerate_and_not_a_number():
    rng = np.random.default_rng(4)
    time = np.arange(120.0)
    prices = np.column_stack(
        [time, time + 0.1 * rng.normal(size=120).cumsum(), rng.normal(size=120).cumsum()]
    )
    found = pair_statistics(prices, [(0, 1), (1, 2)])  # the change of the first is the constant
    assert [PairStatus(s) for s in found.status] == [PairStatus.DEGENERATE, PairStatus.OK]
    assert math.isnan(found.t_first[0])


def test_a_spread_that_runs_away_has_an_infinite_half_life():
    time = np.arange(100.0)
    rng = np.random.default_rng(5)
    prices = np.column_stack([1.1**time + rng.normal(size=100), rng.normal(size=100)])
    row = pair_statistics(prices, [(0, 1)])[0]
    assert (PairStatus(row.status), row.half_life_first) == (PairStatus.OK, math.inf)
    assert row.p_first > 0.9


@pytest.mark.parametrize(
    ("prices", "pairs", "message"),
    [
        (np.ones(9), [(0, 1)], r"prices must have shape \(n, k\), was \(9,\)"),
        (np.ones((9, 2)), [(0, 2)], "pairs must name columns 0 to 1, were 0 to 2"),
        (np.ones((9, 2)), [0, 1], r"pairs must have shape \(m, 2\), was \(2,\)"),
    ],
)
def test_a_wrong_shape_is_refused(prices, pairs, message):
    with pytest.raises(ValueError, match=message):
        pair_statistics(prices, pairs)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"lags": -1}, "lags must be >= 0, was -1"),
        ({"johansen_lags": -1}, "johansen_lags must be >= 0"),
        ({"hurst_max_lag": 2}, "hurst_max_lag must be >= 3, was 2"),
        ({"min_observations": -5}, "min_observations must be >= 0"),
    ],
)
def test_a_wrong_option_is_refused(option, message):
    with pytest.raises(ValueError, match=message):
        PairOptions(**option)


def test_no_pairs_are_no_rows():
    assert len(pair_statistics(np.ones((5, 2)), np.empty((0, 2), int))) == 0
