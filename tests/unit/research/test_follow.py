"""What is kept of the pairs of a screening, and as of when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from screens import DAY_NS, screening, silent, universe

from bt_framework.errors import DataError
from bt_framework.research.follow import follow
from bt_framework.research.spreads import read_spread
from bt_framework.stats.kalman_fit import fit_kalman
from bt_framework.stats.ou import fit_ou

LATER = datetime(2099, 1, 1, tzinfo=UTC)


def followed(folder, prices=None, **keys):
    work = screening(folder, prices, **keys)
    work.run(silent)
    return work, follow(work, silent)


def test_parameters_of_discoveries_are_those_of_the_window(tmp_path):
    work, kept = followed(tmp_path, follow="discoveries")
    assert kept.pairs == ["P0A_P0B"]
    assert (kept.ou, kept.kalman, kept.spreads, kept.refused) == (2, 2, 0, {})
    (row,) = work.store.results(work.screen_id, found_only=True)
    a, b = work.universe.prices[:, :2].T
    dt_s = DAY_NS / 1e9
    for way, y_symbol, y, x in (("ab", "P0A", a, b), ("ba", "P0B", b, a)):
        found = work.store.ou_params("P0A_P0B", LATER, y_symbol=y_symbol)
        expected = fit_ou(y - row[f"{way}_intercept"] - row[f"{way}_hedge_ratio"] * x, dt_s)
        assert (found.theta, found.mu, found.sigma) == (expected.theta, expected.mu, expected.sigma)
        assert found.hedge_ratio == row[f"{way}_hedge_ratio"]
        assert found.dt_s == dt_s
        assert found.as_of == row["window_end"] + timedelta(days=1)
        state = work.store.kalman_params("P0A_P0B", LATER, y_symbol=y_symbol)
        fit = fit_kalman(x, y)
        assert (state.q_slope, state.r) == (fit.q_slope, fit.r)
        assert state.hedge_ratio == fit.filter.hedge_ratio
        assert state.p01 == fit.filter.get_state()["p01"]


def test_each_test_date_has_parameters_that_later_bars_do_not_change(tmp_path):
    prices = universe(n=300, walks=0)
    work, kept = followed(tmp_path / "whole", prices, follow="all", window=150, step=75)
    assert kept.ou == len(kept.pairs) * 3 * 2
    short = replace(prices, times_ns=prices.times_ns[:160], prices=prices.prices[:160])
    early, _ = followed(tmp_path / "short", short, follow="all", window=150, step=75)
    first = early.store.ou_params("P0A_P0B", LATER, y_symbol="P0A")
    known = work.store.ou_params("P0A_P0B", first.as_of, y_symbol="P0A")
    assert known == first
    assert work.store.ou_params("P0A_P0B", first.as_of - timedelta(microseconds=1)) is None
    assert work.store.ou_params("P0A_P0B", LATER).as_of > first.as_of


def test_nothing_is_kept_where_nothing_is_to_be_followed(tmp_path):
    work, kept = followed(tmp_path, follow="none", spreads="ols")
    assert (kept.pairs, kept.ou, kept.spreads) == ([], 0, 0)
    assert work.store.ou_params("P0A_P0B", LATER) is None
    with pytest.raises(DataError):
        read_spread(tmp_path, "test", "P0A_P0B")


@pytest.mark.parametrize("method", ["ols", "kalman"])
def test_spreads_are_kept_of_bars_in_which_both_have_a_price(tmp_path, method):
    prices = universe(n=300)
    table = prices.prices.copy()
    table[200:210, 1] = np.nan
    _, kept = followed(
        tmp_path, replace(prices, prices=table), follow="discoveries", spreads=method, hedge_window=100
    )
    assert kept.spreads == len(kept.pairs) == 1
    spread = read_spread(tmp_path, "test", "P0A_P0B")
    assert spread.num_rows == 300 - 100 - 10
    missing = {prices.times_ns[i] // 1_000 for i in range(200, 210)}
    assert not missing & set(spread["datetime"].cast("int64").to_pylist())


def test_what_cannot_be_estimated_is_counted_with_the_reason(tmp_path):
    rng = np.random.default_rng(11)
    n = 200
    away = np.exp(0.02 * np.arange(n)) + rng.normal(0.0, 0.001, n)
    swinging = np.where(np.arange(n) % 2, 0.01, -0.01) + rng.normal(0.0, 0.001, n)
    prices = replace(universe(n=n), symbols=("A", "B"), prices=np.column_stack([away, swinging]))
    work, kept = followed(tmp_path, prices, follow="all")
    assert kept.refused == {"Ornstein-Uhlenbeck: not reverting": 2}
    assert (kept.ou, kept.kalman) == (0, 2)
    assert work.store.ou_params("A_B", LATER) is None


def test_a_screening_that_is_followed_again_keeps_the_same(tmp_path):
    prices = universe(walks=0)
    work, first = followed(tmp_path, prices, follow="all", spreads="ols", hedge_window=100)
    before = work.store.ou_params("P0A_P0B", LATER), read_spread(tmp_path, "test", "P0A_P0B")
    again, second = followed(tmp_path, prices, follow="all", spreads="ols", hedge_window=100)
    assert first == second
    assert before[0] == again.store.ou_params("P0A_P0B", LATER)
    assert before[1].equals(read_spread(tmp_path, "test", "P0A_P0B"))


@pytest.mark.parametrize("log", [True, False])
def test_parameters_are_of_prices_as_traded_at_the_end_of_the_window(tmp_path, log):
    traded = universe(n=150, walks=0)
    a, b = np.exp(traded.prices).T
    times, split = traded.times_ns, int(traded.times_ns[100])
    prices = np.column_stack([a * 2.0, b])
    first = replace(traded, prices=np.log(prices) if log else prices)
    changes = ((np.array([times[0], split]), np.array([1.0, 2.0])), (times[:1], np.ones(1)))
    anchored = replace(first, factors=changes)
    at_end = replace(
        first, prices=first.prices - np.log([2.0, 1.0]) if log else first.prices / np.array([2.0, 1.0])
    )
    assert [anchored.factor_at(0, int(ts)) for ts in (split - 1, split, times[-1])] == [1.0, 2.0, 2.0]
    found = []
    for name, given in (("anchored", anchored), ("at_end", at_end)):
        work, _ = followed(tmp_path / name, given, follow="all", log=log)
        for y_symbol in ("P0A", "P0B"):
            for params in (work.store.ou_params, work.store.kalman_params):
                found.append(params("P0A_P0B", LATER, y_symbol=y_symbol))
    for one, other in zip(found[:4], found[4:], strict=True):
        names = ("theta", "mu", "stationary_sd", "half_life_s", "hedge_ratio", "intercept")
        names = [name for name in names if hasattr(one, name)]
        mine, theirs = ([getattr(params, name) for name in names] for params in (one, other))
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-9)
