"""Corporate actions: factors worked by hand, both conventions, and nothing before its ex-date."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.bars.actions import Adjustment, adjusted, adjustment_factors, read_actions, unadjusted
from bt_framework.bars.building import raw_bars
from bt_framework.bars.config import DividendConvention
from bt_framework.bars.schema import ACTION_SCHEMA, BAR_SCHEMA, BarFlag
from bt_framework.errors import DataError

FIRST = date(2024, 1, 1)
DAY_US = 86_400_000_000
START_US = 1_704_067_200_000_000
CLOSE_PLUS, PREVIOUS = DividendConvention.close_plus_dividend, DividendConvention.previous_close


def daily(close_px: list[float], symbol: str = "A", days: list[int] | None = None) -> pa.Table:
    """Bars of a day; of every day from the first unless `days` says which."""
    at = np.arange(len(close_px)) if days is None else np.asarray(days)
    values = {"close": np.asarray(close_px, float), "volume": np.full(len(close_px), 100.0)}
    return raw_bars(symbol, START_US + at * DAY_US, values)


def action(day: int, kind: str, value: float, symbol: str = "A") -> dict:
    return {"symbol": symbol, "ex_date": FIRST + timedelta(days=day), "kind": kind, "value": value}


def table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=ACTION_SCHEMA)


def with_factors(bars: pa.Table, factors: np.ndarray) -> pa.Table:
    at = BAR_SCHEMA.get_field_index("adj_factor")
    return bars.set_column(at, BAR_SCHEMA.field(at), pa.array(factors))


def flagged(bars: pa.Table, at: int, flag: int) -> pa.Table:
    flags = bars["outlier_flag"].to_numpy().copy()
    flags[at] = flag
    column = BAR_SCHEMA.get_field_index("outlier_flag")
    return bars.set_column(column, BAR_SCHEMA.field(column), pa.array(flags))


def test_a_split_divides_the_prices_before_it_by_the_new_shares_per_old_one():
    bars = daily([700.0, 693.0, 100.0, 101.0])
    factors = adjustment_factors(bars, table(action(2, "split", 7.0)))
    assert factors.tolist() == [1 / 7, 1 / 7, 1.0, 1.0]
    after = adjusted(with_factors(bars, factors), Adjustment.backward)
    assert after["close"].to_pylist() == pytest.approx([100.0, 99.0, 100.0, 101.0])
    assert after["volume"].to_pylist() == pytest.approx([700.0, 700.0, 100.0, 100.0])


def test_a_dividend_is_a_factor_of_either_convention():
    bars, actions = daily([50.0, 48.0, 49.0]), table(action(1, "dividend", 2.0))
    assert adjustment_factors(bars, actions, dividends=CLOSE_PLUS).tolist() == [48 / 50, 1.0, 1.0]
    assert adjustment_factors(bars, actions, dividends=PREVIOUS).tolist() == [1 - 2 / 50, 1.0, 1.0]


def test_a_dividend_on_the_day_of_a_split_is_cash_per_new_share():
    bars = daily([100.0, 49.0])
    actions = table(action(1, "split", 2.0), action(1, "dividend", 1.0))
    assert adjustment_factors(bars, actions, dividends=CLOSE_PLUS)[0] == pytest.approx(0.5 * 49 / 50)
    assert adjustment_factors(bars, actions, dividends=PREVIOUS)[0] == pytest.approx(0.5 * (1 - 1 / 50))


def test_actions_come_in_the_order_of_their_ex_dates_and_multiply():
    bars = daily([100.0, 50.0, 50.0, 24.0])
    actions = table(action(3, "dividend", 1.0), action(1, "split", 2.0))
    assert adjustment_factors(bars, actions).tolist() == pytest.approx([24 / 25 / 2, 24 / 25, 24 / 25, 1.0])


def test_two_dividends_of_one_day_are_added_up_and_two_splits_multiplied():
    bars = daily([100.0, 48.0])
    two = table(action(1, "dividend", 1.5), action(1, "dividend", 0.5), *[action(1, "split", 2.0)] * 2)
    assert adjustment_factors(bars, two)[0] == pytest.approx(48 / 50 / 4)


def test_each_symbol_has_its_own_actions():
    bars = pa.concat_tables([daily([10.0, 5.0]), daily([10.0, 11.0], "B")])
    assert adjustment_factors(bars, table(action(1, "split", 2.0))).tolist() == [0.5, 1.0, 1.0, 1.0]


def test_for_bars_within_a_day_the_first_one_of_the_ex_date_counts():
    times = START_US + np.array([0, 6, 24, 30]) * 3_600_000_000
    bars = raw_bars("A", times, {"close": np.array([52.0, 50.0, 48.0, 47.0])})
    actions = table(action(1, "dividend", 2.0))
    assert adjustment_factors(bars, actions).tolist() == [48 / 50, 48 / 50, 1.0, 1.0]
    assert adjustment_factors(bars, actions, dividends=PREVIOUS)[0] == 1 - 2 / 50


def test_an_action_is_unknown_before_its_ex_date():
    bars, actions = daily([10.0, 10.0, 5.0, 5.0]), table(action(2, "split", 2.0))
    assert adjustment_factors(bars, actions, as_of=FIRST + timedelta(days=1)).tolist() == [1.0] * 4
    assert adjustment_factors(bars, actions, as_of=FIRST + timedelta(days=2))[0] == 0.5
    assert adjustment_factors(bars.slice(0, 2), actions).tolist() == [1.0, 1.0]


def test_an_ex_date_up_to_the_first_bar_changes_nothing():
    actions = table(action(0, "split", 2.0), action(-5, "split", 3.0))
    assert adjustment_factors(daily([10.0, 10.0]), actions).tolist() == [1.0, 1.0]
    large = table(action(0, "dividend", 9.0))
    assert adjustment_factors(daily([10.0, 1.0]), large, dividends=PREVIOUS).tolist() == [1.0, 1.0]


MESSAGE = (
    "A has no price on the ex-date 2024-01-02: the bars around it are of 2024-01-01 and 2024-01-03. Correct the date,"
    " or add the bar."
)


def test_an_ex_date_without_a_price_is_refused():
    actions = table(action(1, "split", 2.0))
    with pytest.raises(DataError) as caught:
        adjustment_factors(daily([10.0, 5.0], days=[0, 2]), actions)
    assert str(caught.value) == MESSAGE
    no_close = daily([10.0, float("nan"), 5.0])
    with pytest.raises(DataError) as caught:
        adjustment_factors(no_close, actions)
    assert str(caught.value) == MESSAGE


def test_a_filled_bar_is_no_price():
    with pytest.raises(DataError) as caught:
        adjustment_factors(
            flagged(daily([10.0, 10.0, 5.0]), 1, BarFlag.FILLED), table(action(1, "split", 2.0))
        )
    assert str(caught.value) == MESSAGE


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            action(1, "spilt", 2.0),
            "the kind of the corporate action of A on 2024-01-02 must be one of dividend, split, was 'spilt'. Did you"
            " mean 'split'?",
        ),
        (action(1, "split", 0.0), "the split of A on 2024-01-02 must be > 0 and finite, was 0.0."),
        (
            action(1, "dividend", float("nan")),
            "the dividend of A on 2024-01-02 must be > 0 and finite, was nan.",
        ),
    ],
)
def test_actions_that_cannot_be_are_refused(row, message):
    with pytest.raises(DataError) as caught:
        adjustment_factors(daily([10.0, 10.0]), table(row))
    assert str(caught.value) == message


def test_a_dividend_above_the_price_is_refused():
    with pytest.raises(DataError) as caught:
        adjustment_factors(daily([10.0, 9.0]), table(action(1, "dividend", 12.0)), dividends=PREVIOUS)
    assert str(caught.value) == (
        "the dividend of A on 2024-01-02 must be below the price, was 12 with a price of 10. Correct the dividend or"
        " the bar."
    )


PRICES = st.lists(st.floats(0.01, 1e6), min_size=3, max_size=30)
VALUES = st.lists(
    st.tuples(st.integers(1, 29), st.sampled_from(["split", "dividend"]), st.floats(0.05, 20)), max_size=6
)


def valid_actions(rows: list, close_px: list[float]) -> pa.Table:
    """Dividends are part of the lower of the two prices that conventions look at."""
    made = {}
    for day, kind, value in rows:
        if day < len(close_px):
            size = value if kind == "split" else value / 25 * min(close_px[day - 1 : day + 1]) / 25
            made.setdefault(day, action(day, kind, size))
    return table(*made.values())


@given(
    close_px=PRICES,
    rows=VALUES,
    mode=st.sampled_from(Adjustment),
    dividends=st.sampled_from(DividendConvention),
)
def test_what_was_adjusted_is_recovered(close_px, rows, mode, dividends):
    bars = daily(close_px)
    factors = adjustment_factors(bars, valid_actions(rows, close_px), dividends=dividends)
    again = unadjusted(adjusted(with_factors(bars, factors), mode))
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(again[name].to_numpy(), bars[name].to_numpy(), rtol=1e-15)


@given(close_px=PRICES, rows=VALUES, cut=st.integers(1, 30), dividends=st.sampled_from(DividendConvention))
def test_what_was_known_at_the_time_does_not_depend_on_what_comes_later(close_px, rows, cut, dividends):
    bars, actions = daily(close_px), valid_actions(rows, close_px)

    def as_known(some: pa.Table) -> np.ndarray:
        factors = adjustment_factors(some, actions, dividends=dividends)
        return adjusted(with_factors(some, factors), Adjustment.point_in_time)["close"].to_numpy()

    np.testing.assert_allclose(as_known(bars.slice(0, cut)), as_known(bars)[:cut], rtol=1e-14)


@given(close_px=PRICES, rows=VALUES)
def test_both_adjustments_give_the_same_returns(close_px, rows):
    bars = daily(close_px)
    bars = with_factors(bars, adjustment_factors(bars, valid_actions(rows, close_px)))
    backward, known = (adjusted(bars, mode)["close"].to_numpy() for mode in list(Adjustment)[1:])
    np.testing.assert_allclose(backward[1:] / backward[:-1], known[1:] / known[:-1], rtol=1e-13)
    assert known[0] == close_px[0]
    assert backward[-1] == close_px[-1]


def test_unadjusted_prices_have_the_factor_one():
    bars = with_factors(daily([10.0, 5.0]), np.array([0.5, 1.0]))
    assert adjusted(bars, Adjustment.none).equals(daily([10.0, 5.0]))


def test_an_interpolated_bar_takes_the_close_known_at_its_own_time():
    both = BarFlag.FILLED | BarFlag.INTERPOLATED
    bars = flagged(flagged(daily([10.0, 12.0, 14.0, 16.0]), 1, both), 2, both)
    assert adjusted(bars, Adjustment.point_in_time)["close"].to_pylist() == [10.0, 10.0, 10.0, 16.0]
    assert adjusted(bars, Adjustment.backward)["close"].to_pylist() == [10.0, 12.0, 14.0, 16.0]
    assert adjusted(bars.slice(1), Adjustment.point_in_time)["close"].to_pylist() == [16.0]


def test_actions_are_read_from_a_file(tmp_path):
    path = tmp_path / "actions.csv"
    path.write_text("symbol,ex_date,kind,value\nA,2024-01-02,split,2\n007,2024-02-09,dividend,0.24\n")
    assert read_actions(path).to_pylist() == [
        {"symbol": "A", "ex_date": date(2024, 1, 2), "kind": "split", "value": 2.0},
        {"symbol": "007", "ex_date": date(2024, 2, 9), "kind": "dividend", "value": 0.24},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "symbol,date,kind,value\nA,2024-01-02,split,2\n",
            r"cannot be read: .*ex_date.* The columns are symbol, ex_date",
        ),
        (
            "symbol,ex_date,kind,value\nA,2.1.2024,split,2\n",
            r"cannot be read: .* The columns are symbol, ex_date",
        ),
        (
            "symbol,ex_date,kind,value\nA,2024-01-02,split,\n",
            r"actions.csv: value must be given, was not in line 2\.",
        ),
    ],
)
def test_a_file_of_actions_that_cannot_be_read_is_refused(tmp_path, text, message):
    path = tmp_path / "actions.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_actions(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_actions(tmp_path / "absent.csv")


@pytest.mark.parametrize("split", [1e300, 1e-300])
def test_factors_that_are_no_numbers_are_refused(split):
    actions = table(action(1, "split", split), action(2, "split", split))
    with pytest.raises(
        DataError, match=r"the corporate actions of A give its first prices the factor (0|inf), which"
    ):
        adjustment_factors(daily([1.0, 1.0, 1.0]), actions)
