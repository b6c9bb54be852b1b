"""Simulated bars: the truth that they are made of, and nothing that depends on how they are cut."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.errors import ConfigError
from bt_framework.testing.bar_contracts import check_bar_source
from bt_plugins.bars.synthetic import Synthetic, build
from bt_plugins.bars.synthetic._source import truth


def bars(**keys) -> pa.Table:
    return pa.concat_tables(build(Synthetic(**keys)).tables(lambda done, total: None)).combine_chunks()


def log_closes(table: pa.Table, symbol: str) -> np.ndarray:
    return np.log(table.filter(pa.compute.equal(table["symbol"], symbol))["close"].to_numpy())


def test_the_contract_is_kept():
    assert check_bar_source(build(Synthetic(length=50))).num_rows == 8 * 50


@given(rows=st.integers(1, 60), seed=st.integers(-(2**62), 2**62), mu=st.sampled_from([0.0, 0.37]))
@settings(max_examples=20)
def test_bars_do_not_depend_on_how_they_are_cut(rows, seed, mu):
    source = build(Synthetic(length=40, symbols=4, seed=seed, mu=mu))
    cut = pa.concat_tables(source.cut(rows, lambda done, total: None)).combine_chunks()
    assert cut.equals(bars(length=40, symbols=4, seed=seed, mu=mu))


def test_another_seed_gives_other_bars():
    assert not bars(length=10).equals(bars(length=10, seed=2))


def test_more_symbols_do_not_change_the_first_ones():
    few, many = bars(length=10, symbols=4), bars(length=10, symbols=6)
    assert many.slice(0, few.num_rows).equals(few)


def test_spreads_are_the_ou_processes_of_the_truth():
    keys = {
        "length": 200_000,
        "interval_ns": "1min",
        "symbols": 4,
        "theta": [0.05, 0.2],
        "sigma": [0.01, 0.03],
    }
    config, table = Synthetic(**keys, mu=0.1), bars(**keys, mu=0.1)
    start = math.log(config.start_px)
    for known in truth(config):
        a, b = (log_closes(table, known[key]) - start for key in ("symbol_a", "symbol_b"))
        spread = a - known["hedge_ratio"] * b
        slope, _ = np.polyfit(spread[:-1], spread[1:], 1)
        effective = len(spread) * known["theta"] / 2
        error_of_mean = known["stationary_sd"] / math.sqrt(effective)
        assert -math.log(slope) == pytest.approx(known["theta"], rel=0.05)
        assert spread.std() == pytest.approx(known["stationary_sd"], rel=0.05)
        assert abs(spread.mean() - known["mu"]) < 4 * error_of_mean
        assert known["half_life"] == pytest.approx(math.log(2) / known["theta"])


def test_steps_of_a_walk_have_the_volatility_asked_for_and_no_memory():
    steps = np.diff(
        log_closes(bars(length=100_000, interval_ns="1min", symbols=1, pairs=0, volatility=0.02), "SYN001")
    )
    assert steps.std() == pytest.approx(0.02, rel=0.02)
    assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.02


def test_bars_hold_their_open_and_close_and_follow_each_other():
    table = bars(length=500)
    o, h, lo, c, v = (table[name].to_numpy() for name in ("open", "high", "low", "close", "volume"))
    assert np.all((lo <= np.minimum(o, c)) & (np.maximum(o, c) <= h) & (lo > 0) & (v > 0))
    for symbol in table["symbol"].unique().to_pylist():
        one = table.filter(pa.compute.equal(table["symbol"], symbol))
        assert one["open"][1:].to_pylist() == one["close"][:-1].to_pylist()
        times = one["datetime"].cast(pa.int64()).to_pylist()
        assert {after - before for before, after in pairwise(times)} == {86_400_000_000}


def test_minute_bars_begin_where_they_are_told():
    table = bars(length=3, symbols=1, pairs=0, interval_ns="1min", start="2024-03-01T09:30:00-05:00")
    assert [str(t) for t in table["datetime"]] == [
        "2024-03-01 14:30:00+00:00",
        "2024-03-01 14:31:00+00:00",
        "2024-03-01 14:32:00+00:00",
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"pairs": 5}, "pairs must be between 0 and half of symbols, was 5."),
        ({"symbols": 0}, "symbols must be between 1 and 999, was 0."),
        ({"interval_ns": 0}, "interval_ns must be > 0 and finite, was 0."),
        ({"interval_ns": 1_500}, "interval_ns must be whole microseconds, was 1500."),
        ({"theta": [0.1, -1.0]}, "theta must be numbers > 0, was [0.1, -1.0]."),
        ({"sigma": []}, "sigma must be numbers > 0, was []."),
        ({"hedge_ratio": [math.nan]}, "hedge_ratio must be finite numbers, was [nan]."),
        ({"length": 10**8}, "length must end before the year 2262, was 100000000."),
        (
            {"start": "soon"},
            "start must be an ISO-8601 time, was 'soon'. Write for example 2024-08-09T12:00:00Z.",
        ),
    ],
)
def test_what_cannot_be_simulated_is_refused(keys, message):
    with pytest.raises(ConfigError) as error:
        Synthetic(**keys)
    assert str(error.value) == message
