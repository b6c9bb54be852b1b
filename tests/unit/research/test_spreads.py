"""Spread series: right by hand, blind to the future, whole on disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.errors import DataError, StorageError
from bt_framework.research import _rolling
from bt_framework.research.settings import Spreads
from bt_framework.research.spreads import (
    SPREAD_SCHEMA,
    read_spread,
    spread_table,
    spread_values,
    write_spread,
)
from bt_framework.stats.kalman_fit import fit_kalman

METHODS = [Spreads.ols, Spreads.kalman]
WINDOW = 40


def walk(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = 4.0 + rng.normal(0.0, 0.01, n).cumsum()
    return 0.5 + 1.3 * x + rng.normal(0.0, 0.005, n), x


def test_an_ols_spread_is_the_error_of_the_regression_over_the_bars_before():
    y, x = walk(1, 90)
    values = spread_values(y, x, Spreads.ols, WINDOW)
    assert np.isnan(values[:WINDOW]).all()
    for t in (WINDOW, 67, 89):
        design = np.column_stack([x[t - WINDOW : t], np.ones(WINDOW)])
        (slope, intercept), (ssr,), *_ = np.linalg.lstsq(design, y[t - WINDOW : t], rcond=None)
        error = y[t] - intercept - slope * x[t]
        expected = [error, slope, error / np.sqrt(ssr / (WINDOW - 2))]
        np.testing.assert_allclose(values[t], expected, rtol=1e-9)


def test_a_kalman_spread_is_the_innovation_of_a_filter_fitted_to_the_first_bars():
    y, x = walk(2, 90)
    values = spread_values(y, x, Spreads.kalman, WINDOW)
    fit = fit_kalman(x[:WINDOW], y[:WINDOW])
    for t in range(WINDOW, 90):
        before = fit.filter.hedge_ratio, fit.filter.intercept
        (step,) = fit.filter.filter(x[t : t + 1], y[t : t + 1])
        assert values[t, 1] == before[0]
        assert values[t, 0] == pytest.approx(y[t] - before[1] - before[0] * x[t], abs=1e-12)
        assert values[t, 2] == step["innovation"] / np.sqrt(step["innovation_variance"])


@settings(max_examples=8)
@given(st.sampled_from(METHODS), st.integers(0, 1_000), st.integers(WINDOW, 120), st.floats(-3.0, 3.0))
def test_what_comes_later_changes_nothing_before(method, seed, cut, shock):
    y, x = walk(seed, 120)
    whole = spread_values(y, x, method, WINDOW)
    np.testing.assert_array_equal(spread_values(y[:cut], x[:cut], method, WINDOW), whole[:cut])
    y[cut:] += shock
    x[cut:] *= 1.0 + shock
    np.testing.assert_array_equal(spread_values(y, x, method, WINDOW)[:cut], whole[:cut])


@pytest.mark.parametrize("method", METHODS)
def test_z_scores_of_a_true_relation_are_about_standard(method):
    y, x = walk(3, 3_000)
    z = spread_values(y, x, method, 250)[250:, 2]
    assert abs(z.mean()) < 0.1
    assert 0.9 < z.std() < 1.1


@pytest.mark.parametrize("method", METHODS)
def test_as_many_bars_as_the_window_or_fewer_give_nothing(method):
    y, x = walk(1, WINDOW)
    assert np.isnan(spread_values(y, x, method, WINDOW)).all()


def test_bars_after_a_window_without_variation_are_not_judged():
    y, x = walk(1, 120)
    x[10 : 10 + WINDOW] = 4.2
    y[80:] = 2.0 * x[80:] + 1.0
    values = spread_values(y, x, Spreads.ols, WINDOW)
    judged = np.isfinite(values).all(axis=1)
    assert not judged[10 + WINDOW]
    assert judged[11 + WINDOW : 80 + WINDOW - 1].all()
    assert np.isfinite(values).any(axis=1).tolist() == judged.tolist()


def test_the_kernel_computes_what_it_says_without_the_compiler():
    y, x = walk(4, 100)
    compiled, plain = np.empty((100, 4)), np.empty((100, 4))
    _rolling.rolling_regression(y, x, WINDOW, compiled)
    getattr(_rolling.rolling_regression, "py_func", _rolling.rolling_regression)(y, x, WINDOW, plain)
    np.testing.assert_allclose(compiled, plain, rtol=1e-10)


def test_a_kalman_filter_that_cannot_be_fitted_is_refused():
    x = np.linspace(1.0, 2.0, 90)
    with pytest.raises(ValueError, match="exact multiple"):
        spread_values(2.0 * x, x, Spreads.kalman, WINDOW)


def table_of(pair_id: str, n: int = 3):
    values = np.arange(3.0 * n).reshape(n, 3)
    values[1] = np.nan
    return spread_table(pair_id, 86_400_000_000_000 * np.arange(n), values)


def test_bars_that_could_not_be_judged_have_no_row():
    table = table_of("A_B")
    assert table.schema == SPREAD_SCHEMA
    assert table.num_rows == 2
    assert table["z_score"].to_pylist() == [2.0, 8.0]
    assert table["datetime"].to_pylist() == [datetime(1970, 1, d, tzinfo=UTC) for d in (1, 3)]


@pytest.mark.parametrize("pair_id", ["A_B", "BTC/USDT_ETH/USDT", "../up_x", "a b%_é=1"])
def test_a_series_is_read_as_it_was_written_whatever_the_symbols(tmp_path, pair_id):
    table = table_of(pair_id)
    path = write_spread(tmp_path, "etf", pair_id, table, {"method": "ols"})
    assert path.parent.parent == tmp_path / "alpha" / "source=etf"
    assert read_spread(tmp_path, "etf", pair_id).equals(table)
    assert pq.read_schema(path).metadata[b"bt_spread"] == b'{"method": "ols"}'
    assert [p.name for p in path.parent.iterdir()] == ["spread.parquet"]
    whole = ds.dataset(tmp_path / "alpha", partitioning="hive").to_table()
    assert whole["pair_id"].unique().to_pylist() == [pair_id]


def test_a_series_is_read_between_two_times(tmp_path):
    write_spread(tmp_path, "etf", "A_B", table_of("A_B", 9), {})
    start, end = datetime(1970, 1, 3, tzinfo=UTC), datetime(1970, 1, 5, tzinfo=UTC)
    found = read_spread(tmp_path, "etf", "A_B", start, end)["datetime"].to_pylist()
    assert [time.day for time in found] == [3, 4]
    assert read_spread(tmp_path, "etf", "A_B", end=start).num_rows == 1


def test_a_newer_series_takes_the_place_of_the_old_one(tmp_path):
    write_spread(tmp_path, "etf", "A_B", table_of("A_B", 9), {})
    write_spread(tmp_path, "etf", "A_B", table_of("A_B", 5), {})
    assert read_spread(tmp_path, "etf", "A_B").num_rows == 4


def test_a_pair_without_series_is_named_with_the_nearest(tmp_path):
    write_spread(tmp_path, "etf", "EWA_EWC", table_of("EWA_EWC"), {})
    with pytest.raises(DataError, match=r"must be one of EWA_EWC, was 'EWA_EWD'. Did you mean 'EWA_EWC'\?"):
        read_spread(tmp_path, "etf", "EWA_EWD")
    with pytest.raises(DataError, match="a pair of etf with a spread must be one of"):
        read_spread(tmp_path / "none", "etf", "EWA_EWC")


def test_a_damaged_series_is_an_error_that_names_the_file(tmp_path):
    path = write_spread(tmp_path, "etf", "A_B", table_of("A_B"), {})
    path.write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"the spread .*spread\.parquet cannot be read"):
        read_spread(tmp_path, "etf", "A_B")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "alpha").touch()
    with pytest.raises(StorageError, match=r"writing a spread in .*alpha failed"):
        write_spread(tmp_path, "etf", "A_B", table_of("A_B"), {})


def test_another_pair_of_the_same_id_does_not_take_the_place_of_a_series(tmp_path):
    write_spread(tmp_path, "etf", "A_B_C", table_of("A_B_C", 9), {"y_symbol": "A"})
    with pytest.raises(
        DataError, match=r"the pair id 'A_B_C' must name one pair, was that of A in .*, is now that of A_B"
    ):
        write_spread(tmp_path, "etf", "A_B_C", table_of("A_B_C", 5), {"y_symbol": "A_B"})
    write_spread(tmp_path, "etf", "A_B_C", table_of("A_B_C", 7), {"y_symbol": "A"})
    assert read_spread(tmp_path, "etf", "A_B_C").num_rows == 6


def test_one_pair_of_two_sources_has_two_series(tmp_path):
    write_spread(tmp_path, "etf", "A_B", table_of("A_B", 9), {"y_symbol": "A"})
    write_spread(tmp_path, "vendor", "A_B", table_of("A_B", 5), {"y_symbol": "B"})
    assert [read_spread(tmp_path, source, "A_B").num_rows for source in ("etf", "vendor")] == [8, 4]
