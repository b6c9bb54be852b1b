"""The ledger: by hand, as an identity over any fills, and compiled as plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.engine import _ledger
from bt_framework.engine._state import CONTRACT, LEDGER
from bt_framework.records import record

BUY, SELL = 1, -1


def plain(function: Any) -> Any:
    """Return the function without the JIT."""
    return getattr(function, "py_func", function)


BOTH = pytest.mark.parametrize("form", [plain, lambda f: f], ids=["plain", "compiled"])


def book(form: Any, fills: list[tuple[int, float, float]], **contract: float) -> tuple[Any, list[float]]:
    """Book (side, px, qty) fills; (ledger record, realised PnL of each)."""
    terms = record(CONTRACT, **({"lot_size": 0.5, "contract_size": 1.0} | contract))
    row = record(LEDGER)
    return row, [form(_ledger.book_fill)(row, terms, side, px, qty, 0.25) for side, px, qty in fills]


@BOTH
def test_a_position_that_grows_has_the_average_price_of_its_fills(form: Any) -> None:
    row, realised = book(form, [(BUY, 100.0, 1.0), (BUY, 103.0, 2.0)])
    assert realised == [0.0, 0.0]
    assert (row.position_qty, row.average_px) == (3.0, 102.0)
    assert (row.cash, row.fees, row.filled_qty) == (-306.0, 0.5, 3.0)


@BOTH
def test_a_fill_that_reduces_realises_against_the_average_and_keeps_it(form: Any) -> None:
    row, realised = book(form, [(SELL, 100.0, 4.0), (BUY, 98.0, 1.5)], contract_size=10.0)
    assert realised == [0.0, 30.0]
    assert (row.position_qty, row.average_px, row.realised_pnl) == (-2.5, 100.0, 30.0)
    assert row.cash == 10.0 * (400.0 - 147.0)


@BOTH
@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_fill_through_zero_realises_the_old_and_opens_the_new_at_its_price(form: Any, side: int) -> None:
    row, realised = book(form, [(side, 100.0, 1.0), (-side, 110.0, 3.0)])
    assert realised == [0.0, 10.0 * side]
    assert (row.position_qty, row.average_px) == (-2.0 * side, 110.0)


@BOTH
def test_a_closed_position_has_no_average_price(form: Any) -> None:
    row, realised = book(form, [(BUY, 100.0, 1.0), (SELL, 99.0, 1.0)])
    assert realised == [0.0, -1.0]
    assert (row.position_qty, row.average_px, row.cash) == (0.0, 0.0, -1.0)


@BOTH
def test_sums_of_decimal_lots_come_back_to_zero(form: Any) -> None:
    fills = [(BUY, 100.0, 0.1)] * 3 + [(SELL, 100.0, 0.3)]
    row, _ = book(form, fills, lot_size=0.1)
    assert 0.1 + 0.1 + 0.1 - 0.3 != 0.0
    assert (row.position_qty, row.average_px) == (0.0, 0.0)


@BOTH
@pytest.mark.parametrize(
    ("maker", "fee"), [(1, 200.0 * 10 * -0.01 + 2 * 0.5 + 7), (0, 200.0 * 10 * 0.02 + 2 * 3 + 7)]
)
def test_a_fee_is_a_share_of_the_value_a_rate_per_quantity_and_a_flat_amount(
    form: Any, maker: int, fee: float
) -> None:
    terms = record(
        CONTRACT,
        contract_size=10.0,
        maker_value_frac=-0.01,
        taker_value_frac=0.02,
        maker_per_qty=0.5,
        taker_per_qty=3.0,
        per_fill=7.0,
    )
    assert form(_ledger.fill_fee)(terms, 100.0, 2.0, maker) == pytest.approx(fee)


FILLS = st.lists(
    st.tuples(st.sampled_from([BUY, SELL]), st.integers(1, 4_000), st.integers(1, 60)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(ticks=FILLS, contract_size=st.sampled_from([1.0, 0.01, 100.0]), mark=st.integers(1, 4_000))
def test_cash_position_and_fees_add_up_to_the_profit_of_each_fill(
    ticks: list[tuple[int, int, int]], contract_size: float, mark: int
) -> None:
    """What each fill has gained at the mark, added up, is cash + position value; and realised + unrealised."""
    fills = [(side, px * 0.5, qty * 0.25) for side, px, qty in ticks]
    mark_px = mark * 0.5
    rows = [book(form, fills, lot_size=0.25, contract_size=contract_size) for form in (plain, lambda f: f)]
    (row, realised), (compiled, compiled_realised) = rows
    assert row.tobytes() == compiled.tobytes()
    assert realised == compiled_realised
    profit = sum(side * qty * (mark_px - px) for side, px, qty in fills) * contract_size
    close = {"rel": 1e-9, "abs": 1e-6 * contract_size}
    assert row.cash + row.position_qty * mark_px * contract_size == pytest.approx(profit, **close)
    unrealised = row.position_qty * (mark_px - row.average_px) * contract_size
    assert row.realised_pnl + unrealised == pytest.approx(profit, **close)
    assert row.realised_pnl == pytest.approx(sum(realised), **close)
    assert row.position_qty == sum(side * qty for side, _, qty in fills)
    assert row.fees == pytest.approx(0.25 * len(fills))
    assert np.isfinite(row.average_px)
