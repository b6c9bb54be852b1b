"""A universe: closes side by side, adjusted as asked, and pairs of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.bars.actions import Adjustment, adjusted
from bt_framework.bars.building import raw_bars
from bt_framework.bars.schema import BAR_SCHEMA, BarFlag
from bt_framework.bars.store import BarStore
from bt_framework.errors import ConfigError, DataError
from bt_framework.research.settings import Adjust, ScreenConfig
from bt_framework.research.universe import instant, load_universe, universe_of

DAY_NS = 86_400_000_000_000
START_US = 1_704_067_200_000_000
"""2024-01-01."""


def bars(symbol: str, days: list[int], closes: list[float], **columns) -> pa.Table:
    table = raw_bars(
        symbol,
        np.array([START_US + d * DAY_NS // 1_000 for d in days]),
        {"close": np.array(closes, float)},
    )
    for name, values in columns.items():
        field = BAR_SCHEMA.field(name)
        table = table.set_column(BAR_SCHEMA.get_field_index(name), field, pa.array(values, field.type))
    return table


def config(folder: Path, **keys) -> ScreenConfig:
    return ScreenConfig(**{"source": "test", "store_dir": str(folder), "log": False} | keys)


def stored(folder: Path, *tables: pa.Table) -> None:
    BarStore(folder / "bars").replace("test", pa.concat_tables(tables), interval_ns=DAY_NS)


@pytest.fixture
def folder(tmp_path) -> Path:
    stored(
        tmp_path,
        bars("A", [0, 1, 2], [1.0, 2.0, 3.0]),
        bars("B", [1, 2, 4], [5.0, 6.0, 7.0]),
        bars("b/usd", [0, 4], [8.0, 9.0]),
    )
    return tmp_path


def test_closes_stand_side_by_side_at_the_times_of_any_symbol(folder):
    universe, pairs = load_universe(config(folder))
    nan = np.nan
    assert universe.symbols == ("A", "B", "b/usd")
    assert [instant(t).day for t in universe.times_ns] == [1, 2, 3, 5]
    expected = [[1, nan, 8], [2, 5, nan], [3, 6, nan], [nan, 7, 9]]
    np.testing.assert_array_equal(universe.prices, np.array(expected, float))
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]


def test_logarithms_are_taken_if_asked(folder):
    universe, _ = load_universe(config(folder, log=True))
    assert universe.prices[1].tolist()[:2] == [np.log(2.0), np.log(5.0)]


def test_times_and_symbols_narrow_the_universe(folder):
    universe, pairs = load_universe(config(folder, symbols=["B", "A"], start="2024-01-02", end="2024-01-05"))
    assert universe.symbols == ("A", "B")
    assert universe.prices.tolist() == [[2.0, 5.0], [3.0, 6.0]]
    assert pairs.tolist() == [[0, 1]]


def test_given_pairs_bring_their_symbols_smaller_first(folder):
    universe, pairs = load_universe(config(folder, pairs=["b/usd/A", "B/A"]))
    assert universe.symbols == ("A", "B", "b/usd")
    assert pairs.tolist() == [[0, 1], [0, 2]]


def test_bars_that_were_made_up_are_no_observations(tmp_path):
    flags = [0, int(BarFlag.FILLED), int(BarFlag.OUTLIER), int(BarFlag.FILLED | BarFlag.INTERPOLATED)]
    stored(tmp_path, bars("A", [0, 1, 2, 3], [1, 2, 3, 4], outlier_flag=flags), bars("B", [0], [1]))
    universe, _ = load_universe(config(tmp_path))
    np.testing.assert_array_equal(universe.prices[:, 0], [1, np.nan, 3, np.nan])


def test_missing_closes_are_missing(tmp_path):
    stored(tmp_path, bars("A", [0, 1], [1, np.nan]), bars("B", [0, 1], [1, 2]))
    universe, _ = load_universe(config(tmp_path))
    np.testing.assert_array_equal(universe.prices[:, 0], [1, np.nan])


@given(st.data())
@pytest.mark.parametrize("mode", list(Adjust))
def test_prices_are_adjusted_as_bars_are(mode, data):
    factors = st.floats(0.01, 1.0)
    n = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    tables = [
        bars(
            s, list(range(k)), [10.0 + i for i in range(k)], adj_factor=[data.draw(factors) for _ in range(k)]
        )
        for s, k in zip("AB", n, strict=True)
    ]
    table = pa.concat_tables(tables)
    wanted = ScreenConfig(source="test", log=False, adjust=mode, store_dir="x")
    universe = universe_of(table, wanted, ["A", "B"], DAY_NS)
    expected = adjusted(table, Adjustment(mode.value))["close"].to_numpy()
    found = np.concatenate([universe.prices[: n[0], 0], universe.prices[: n[1], 1]])
    np.testing.assert_array_equal(found, expected)


def test_point_in_time_prices_do_not_change_when_a_later_action_comes():
    wanted = ScreenConfig(source="test", log=False, store_dir="x")
    days, closes = [0, 1, 2], [10.0, 5.0, 5.0]
    before = bars("A", days[:2], closes[:2], adj_factor=[0.5, 1.0])
    after = bars("A", days, closes, adj_factor=[0.25, 0.5, 1.0])
    first, second = (universe_of(t, wanted, ["A"], DAY_NS).prices[:2, 0].tolist() for t in (before, after))
    assert first == second == [10.0, 10.0]


def test_equal_content_has_one_hash_and_any_change_another(folder):
    universe, _ = load_universe(config(folder))
    again, _ = load_universe(config(folder))
    assert universe.content_hash == again.content_hash
    prices = universe.prices.copy()
    prices[0, 0] += 1e-12
    for other in (
        replace(universe, prices=prices),
        replace(universe, times_ns=universe.times_ns + 1),
        replace(universe, symbols=("A", "B", "C")),
        replace(universe, interval_ns=1),
        replace(universe, source="other"),
    ):
        assert other.content_hash != universe.content_hash


def test_times_are_instants_to_the_microsecond_below():
    assert instant(1_999) == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("keys", "error", "text"),
    [
        ({"source": ""}, ConfigError, "source must name stored bars: test. Store some with: bt validate"),
        (
            {"source": "tset"},
            DataError,
            "a source of bars must be one of test, was 'tset'. Did you mean 'test'?",
        ),
        ({"source": "../test"}, ConfigError, "the name of a source of bars must be letters"),
        (
            {"symbols": ["A", "b/usb"]},
            DataError,
            "a symbol of source test must be one of A, B, b/usd, was 'b/usb'. Did you mean 'b/usd'?",
        ),
        ({"symbols": ["A"]}, DataError, "a pair needs two symbols, source test was asked for A only."),
        (
            {"pairs": ["A/C"]},
            DataError,
            "the pair A/C: a symbol of source test must be one of A, B, b/usd, was 'C'.",
        ),
        ({"pairs": ["AB"]}, ConfigError, "pairs must each be written as A/B, was 'AB'."),
        ({"pairs": ["/A"]}, ConfigError, "pairs must each be written as A/B, was '/A'."),
        ({"pairs": ["A/A"]}, ConfigError, "pairs must have two different symbols, was 'A/A'."),
        (
            {"pairs": ["A/B", "B/A"]},
            ConfigError,
            "pairs must name each pair once; A/B and B/A are the same one.",
        ),
    ],
)
def test_what_cannot_be_screened_is_said(folder, keys, error, text):
    with pytest.raises(error) as caught:
        load_universe(config(folder, **keys))
    assert text in str(caught.value)


def test_where_nothing_is_stored_it_is_said(tmp_path):
    with pytest.raises(ConfigError, match="source must name stored bars: there are none in"):
        load_universe(config(tmp_path, source=""))


def test_a_price_without_logarithm_is_named(tmp_path):
    stored(tmp_path, bars("A", [0, 1], [1, 2]), bars("B", [0, 1], [1, -2.5]))
    text = (
        "source test: the close of B at 2024-01-02 00:00:00 must be > 0, was -2.5: it has no logarithm. "
        "Test prices as they are: log=false"
    )
    with pytest.raises(DataError, match=text):
        load_universe(config(tmp_path, log=True))


def test_two_bars_at_one_time_are_named():
    table = pa.concat_tables([bars("A", [0, 1, 1], [1, 2, 3]), bars("B", [0], [1])])
    wanted = ScreenConfig(source="test", store_dir="x")
    with pytest.raises(DataError, match="A must have one bar at a time, in order, has another at 2024-01-02"):
        universe_of(table, wanted, ["A", "B"], DAY_NS)


@pytest.mark.parametrize(
    ("adjust", "expected"), [("point_in_time", [1, 1, 2]), ("backward", [0.5, 0.5, 1]), ("none", [1, 1, 1])]
)
def test_the_factor_of_each_time_is_known(tmp_path, adjust, expected):
    stored(
        tmp_path,
        bars("A", [0, 1, 2], [4.0, 4.0, 2.0], adj_factor=[0.5, 0.5, 1.0]),
        bars("B", [1], [1.0], adj_factor=[0.25]),
    )
    universe, _ = load_universe(config(tmp_path, adjust=Adjust(adjust)))
    assert [universe.factor_at(0, int(ts)) for ts in universe.times_ns] == expected
    assert universe.factor_at(1, int(universe.times_ns[2])) == (0.25 if adjust == "backward" else 1.0)
