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
        read_spread(tmp_path, "P0A_P0B")


@pytest.mark.parametrize("method", ["ols", "kalman"])
def test_spreads_are_kept_of_bars_in_which_both_have_a_price(tmp_path, method):
    prices = universe(n=300)
    table = prices.prices.copy()
    table[200:210, 1] = np.nan
    _, kept = followed(
        tmp_path, replace(prices, prices=table), follow="discoveries", spreads=method, hedge_window=100
    )
    assert kept.spreads == len(kept.pairs) == 1
    spread = read_spread(tmp_path, "P0A_P0B")
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
    before = work.store.ou_params("P0A_P0B", LATER), read_spread(tmp_path, "P0A_P0B")
    again, second = followed(tmp_path, prices, follow="all", spreads="ols", hedge_window=100)
    assert first == second
    assert before[0] == again.store.ou_params("P0A_P0B", LATER)
    assert before[1].equals(read_spread(tmp_path, "P0A_P0B"))
