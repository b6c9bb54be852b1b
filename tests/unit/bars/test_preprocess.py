"""Preprocessing: by hand, and never with a bar that comes later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.bars.actions import Step
from bt_framework.bars.building import raw_bars
from bt_framework.bars.config import BarSourceConfig, MissingBars, OutlierAction, Outliers
from bt_framework.bars.preprocess import check_rules, find_outliers, preprocess, with_closes
from bt_framework.bars.schema import BarFlag
from bt_framework.errors import ConfigError, DataError

MIN_NS, DAY_NS = 60_000_000_000, 86_400_000_000_000
MIN_US, DAY_US = MIN_NS // 1_000, DAY_NS // 1_000
START_US = 1_704_067_200_000_000
INTERPOLATED = BarFlag.FILLED | BarFlag.INTERPOLATED


def rules(**options: Any) -> BarSourceConfig:
    return BarSourceConfig(name="test", **options)


def minutes(at: list[int], close_px: list[float], step_us: int = MIN_US) -> pa.Table:
    values = {"close": np.asarray(close_px, float), "volume": np.full(len(at), 5.0)}
    return raw_bars("A", START_US + np.asarray(at) * step_us, values)


def columns(table: pa.Table, *names: str) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names]


def places(table: pa.Table, step_us: int = MIN_US) -> list[int]:
    return ((table["datetime"].cast(pa.int64()).to_numpy() - START_US) // step_us).tolist()


def test_left_gaps_are_counted_and_nothing_is_made():
    bars = minutes([0, 1, 4, 5], [1, 2, 3, 4])
    cleaned, found = preprocess(bars, rules(), MIN_NS)
    assert cleaned.equals(bars)
    assert (found.missing, found.filled, found.unexpected, found.longest_gap_ns) == (2, 0, 0, 3 * MIN_NS)


def test_a_forward_fill_repeats_the_last_close_up_to_the_limit_of_every_gap():
    bars = minutes([0, 1, 3, 7], [1, 2, 3, 4])
    cleaned, found = preprocess(bars, rules(missing=MissingBars.ffill, max_gap=2), MIN_NS)
    assert places(cleaned) == [0, 1, 2, 3, 4, 5, 7]
    close_px, volume, flags = columns(cleaned, "close", "volume", "outlier_flag")
    assert close_px == [1, 2, 2, 3, 3, 3, 4]
    assert volume == [5, 5, 0, 5, 0, 0, 5]
    assert flags == [0, 0, 4, 0, 4, 4, 0]
    assert cleaned["open"].equals(cleaned["close"])
    assert (found.missing, found.filled) == (4, 3)


def test_a_line_is_drawn_over_gaps_up_to_the_limit_and_says_that_it_knew_the_end():
    bars = minutes([0, 3, 7], [1, 4, 8])
    cleaned, found = preprocess(bars, rules(missing=MissingBars.linear, max_gap=2), MIN_NS)
    assert places(cleaned) == [0, 1, 2, 3, 7]
    assert cleaned["close"].to_pylist() == [1, 2, 3, 4, 8]
    assert cleaned["outlier_flag"].to_pylist() == [0, INTERPOLATED, INTERPOLATED, 0, 0]
    assert (found.missing, found.filled) == (5, 2)


def test_missing_volumes_stay_missing_in_filled_bars():
    bars = raw_bars("A", START_US + np.array([0, 2]) * MIN_US, {"close": np.ones(2)})
    cleaned, _ = preprocess(bars, rules(missing=MissingBars.ffill), MIN_NS)
    assert cleaned["volume"].to_pylist() == [None] * 3


def test_days_are_missing_where_the_calendar_expects_them():
    bars = minutes([0, 1, 4, 6], [1, 2, 3, 4], DAY_US)
    opens_us = START_US + np.array([0, 1, 3, 4, 5]) * DAY_US
    cleaned, found = preprocess(bars, rules(missing=MissingBars.ffill, calendar="XNYS"), DAY_NS, (), opens_us)
    assert places(cleaned, DAY_US) == [0, 1, 3, 4, 5, 6]
    assert (found.missing, found.filled, found.unexpected) == (2, 2, 1)


def test_filled_days_open_at_the_time_of_day_of_the_bar_before():
    late = DAY_US // 4
    bars = raw_bars("A", START_US + np.array([0, 2]) * DAY_US + late, {"close": np.ones(2)})
    opens_us = START_US + np.arange(3) * DAY_US
    cleaned, _ = preprocess(bars, rules(missing=MissingBars.ffill, calendar="24/7"), DAY_NS, (), opens_us)
    assert cleaned["datetime"].cast(pa.int64())[1].as_py() == START_US + DAY_US + late


def test_nothing_says_which_days_are_missing_without_a_calendar():
    _, found = preprocess(minutes([0, 5], [1, 2], DAY_US), rules(), DAY_NS)
    assert found.missing is None
    with pytest.raises(ConfigError) as caught:
        check_rules(rules(missing=MissingBars.ffill), DAY_NS)
    assert str(caught.value) == (
        "bars.missing=ffill needs a calendar for bars of a day: nothing else says which days are missing. Add"
        " bars.calendar=XNYS, or 24/7 for a market that never closes."
    )
    with pytest.raises(
        ConfigError, match=r"bars\.missing must be leave for bars longer than a day, was linear"
    ):
        check_rules(rules(missing=MissingBars.linear, calendar="XNYS"), 7 * DAY_NS)
    check_rules(rules(missing=MissingBars.ffill), MIN_NS)


def test_fills_do_not_jump_with_a_split():
    bars = minutes([0, 2, 4], [100.0, 102.0, 52.0])
    split = [Step(index=2, factor=0.5)]
    linear, _ = preprocess(bars, rules(missing=MissingBars.linear), MIN_NS, split)
    assert linear["close"].to_pylist() == [100.0, 101.0, 102.0, 103.0, 52.0]
    assert linear["adj_factor"].to_pylist() == [0.5, 0.5, 0.5, 0.5, 1.0]


def test_a_split_is_no_outlier():
    close_px = 100.0 + np.sin(np.arange(60.0))
    close_px[40:] /= 7
    options = {"outliers": Outliers.zscore, "outlier_window": 10, "outlier_threshold": 4.0}
    bars = minutes(list(range(60)), close_px.tolist())
    assert preprocess(bars, rules(**options), MIN_NS)[1].outliers > 0
    assert preprocess(bars, rules(**options), MIN_NS, [Step(40, 1 / 7)])[1].outliers == 0


def spike(method: Outliers, action: OutlierAction) -> tuple[list[float], list[int]]:
    close_px = [100.0, 101.0, 100.0, 101.0, 100.0, 150.0, 101.0]
    made = rules(outliers=method, outlier_window=4, outlier_threshold=3.0, outlier_action=action)
    cleaned, _ = preprocess(minutes(list(range(7)), close_px), made, MIN_NS)
    return cleaned["close"].to_pylist(), cleaned["outlier_flag"].to_pylist()


def test_outliers_are_flagged_and_stay_or_are_replaced():
    flag, replace = OutlierAction.flag, OutlierAction.replace
    assert spike(Outliers.zscore, flag) == ([100, 101, 100, 101, 100, 150, 101], [0, 0, 0, 0, 0, 1, 0])
    assert spike(Outliers.zscore, replace) == ([100, 101, 100, 101, 100, 100, 101], [0, 0, 0, 0, 0, 3, 0])
    assert spike(Outliers.hampel, replace) == ([100, 101, 100, 101, 100, 100.5, 101], [0, 0, 0, 0, 0, 3, 0])
    assert spike(Outliers.none, replace)[1] == [0] * 7


def test_a_replaced_bar_has_one_price():
    close_px = np.r_[100.0 + np.arange(10) % 2, 150.0]
    values = {"open": close_px + 1, "high": close_px + 2, "low": close_px - 2, "close": close_px}
    bars = raw_bars("A", START_US + np.arange(11) * MIN_US, values)
    made = rules(outliers=Outliers.hampel, outlier_window=4, outlier_action=OutlierAction.replace)
    cleaned, _ = preprocess(bars, made, MIN_NS)
    assert [cleaned[name][10].as_py() for name in ("open", "high", "low", "close")] == [100.5] * 4


@pytest.mark.parametrize("method", [Outliers.zscore, Outliers.hampel])
def test_a_window_that_does_not_vary_judges_nothing(method):
    made = rules(outliers=method, outlier_window=5)
    cleaned, found = preprocess(minutes(list(range(10)), [7.1] * 9 + [9.0]), made, MIN_NS)
    assert (found.outliers, cleaned["outlier_flag"].to_pylist()) == (0, [0] * 10)
    assert found.unjudged == (4 if method is Outliers.zscore else 5)


def test_prices_that_are_not_positive_are_judged_by_hampel_only():
    close_px = np.r_[np.arange(10) % 3 - 1.0, 50.0]
    for method, outliers in ((Outliers.zscore, 0), (Outliers.hampel, 1)):
        flagged, _ = find_outliers(close_px, rules(outliers=method, outlier_window=8, outlier_threshold=4.0))
        assert flagged.sum() == outliers


@pytest.mark.parametrize("method", [Outliers.zscore, Outliers.hampel])
def test_a_new_level_is_accepted_after_a_window(method):
    noise = np.random.default_rng(3).normal(0, 0.1, 200)
    close_px = np.where(np.arange(200) < 100, 100.0, 150.0) + noise
    made = rules(
        outliers=method, outlier_window=20, outlier_threshold=6.0, outlier_action=OutlierAction.replace
    )
    cleaned, found = preprocess(minutes(list(range(200)), close_px.tolist()), made, MIN_NS)
    assert 1 <= found.outliers <= 20
    assert cleaned["close"].to_pylist()[121:] == close_px[121:].tolist()


def test_outliers_do_not_depend_on_the_size_of_blocks(monkeypatch):
    close_px = np.exp(np.random.default_rng(1).standard_t(2, 500).cumsum() * 0.01)
    made = [rules(outliers=method, outlier_threshold=3.0) for method in (Outliers.zscore, Outliers.hampel)]
    whole = [find_outliers(close_px, one)[0] for one in made]
    monkeypatch.setattr("bt_framework.bars.preprocess._ROWS_AT_ONCE", 7)
    assert all(flagged.any() for flagged in whole)
    for one, flagged in zip(made, whole, strict=True):
        np.testing.assert_array_equal(find_outliers(close_px, one)[0], flagged)


@settings(max_examples=60)
@given(
    gaps=st.lists(st.integers(1, 9), min_size=2, max_size=60),
    seed=st.integers(0, 1_000),
    cut=st.integers(1, 60),
    missing=st.sampled_from(MissingBars),
    outliers=st.sampled_from(Outliers),
    action=st.sampled_from(OutlierAction),
    with_calendar=st.booleans(),
)
def test_what_comes_later_changes_nothing_before_it(
    gaps, seed, cut, missing, outliers, action, with_calendar
):
    """Up to the last bar before the cut; a line to a bar before the cut is not cut off either."""
    at = np.cumsum(gaps)
    close_px = np.exp(np.random.default_rng(seed).standard_t(2, len(at)).cumsum() * 0.02)
    made = rules(
        missing=missing,
        max_gap=3,
        outliers=outliers,
        outlier_window=4,
        outlier_threshold=2.0,
        outlier_action=action,
    )
    opens_us = START_US + np.arange(0, at[-1] + 1, 2) * MIN_US if with_calendar else None
    steps = [Step(i, 0.5) for i in range(5, len(at), 7)]
    bars = minutes(at.tolist(), close_px.tolist())
    whole, _ = preprocess(bars, made, MIN_NS, steps, opens_us)
    cut = min(cut, len(at))
    part, _ = preprocess(bars.slice(0, cut), made, MIN_NS, [s for s in steps if s.index < cut], opens_us)
    before = whole.slice(0, part.num_rows)
    for name in ("datetime", "open", "high", "low", "close", "volume", "outlier_flag"):
        assert part[name].equals(before[name])


def test_bars_without_a_close_count_as_missing():
    nan = float("nan")
    bars = minutes(list(range(7)), [nan, nan, 1, nan, nan, 2, nan])
    assert with_closes(bars, max_gap=2)["close"].to_pylist() == [1.0, 2.0]
    with pytest.raises(DataError) as caught:
        with_closes(bars, max_gap=1)
    assert str(caught.value) == (
        "A has no close in 2 bars in a row, 2024-01-01 00:03:00 to 2024-01-01 00:04:00; max_gap is 1. Leave these bars"
        " out of the input, or raise bars.max_gap."
    )
    with pytest.raises(DataError, match="A has no close in any of its 2 bars"):
        with_closes(bars.slice(0, 2), max_gap=5)


def test_more_fills_than_memory_holds_are_refused():
    with pytest.raises(DataError) as caught:
        preprocess(minutes([0, 10**9], [1, 2]), rules(missing=MissingBars.ffill, max_gap=10**12), MIN_NS)
    assert str(caught.value) == (
        "bars.max_gap=1000000000000 would fill up to 999,999,999 bars of a symbol, 50,000,000 are the most. Look at"
        " bars.interval_ns and the times of its bars, or lower bars.max_gap."
    )


def test_an_interval_is_whole_microseconds_as_times_are():
    with pytest.raises(ConfigError, match=r"interval_ns must be whole microseconds, was 1500\."):
        rules(interval_ns=1_500)
