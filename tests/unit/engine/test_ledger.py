"""The ledger: by hand, as an identity over any fills, and compiled as plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.engine import _ledger
from bt_framework.engine._state import CONTRACT, LEDGER, TIER
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
    terms = record(CONTRACT, contract_size=10.0, maker_per_qty=0.5, taker_per_qty=3.0, per_fill=7.0)
    tier = record(TIER, maker_value_frac=-0.01, taker_value_frac=0.02)
    assert form(_ledger.fill_fee)(terms, tier, 100.0, 2.0, maker) == pytest.approx(fee)


@BOTH
@pytest.mark.parametrize(
    ("volume", "place"), [(0.0, 0), (4.9, 0), (5.0, 1), (99.0, 1), (100.0, 2), (1e18, 2)]
)
def test_the_tier_is_the_last_one_that_is_reached(form: Any, volume: float, place: int) -> None:
    tiers = np.zeros(4, TIER)
    tiers["min_volume"] = [0.0, 5.0, 100.0, np.inf]
    assert form(_ledger.tier_of)(tiers.view(np.recarray), volume) == place


INVERSE = {"inverse": 1, "contract_size": 100.0, "lot_size": 1.0}


@BOTH
def test_an_inverse_contract_pays_in_its_base(form: Any) -> None:
    """Ten contracts of 100 USD bought at 50,000 are 0.02 BTC, sold at 62,500 they are 0.016: a gain of 0.004 BTC."""
    row, realised = book(form, [(BUY, 50_000.0, 10.0), (SELL, 62_500.0, 10.0)], **INVERSE)
    assert realised == [0.0, pytest.approx(0.004, abs=1e-15)]
    assert (row.position_qty, row.average_px) == (0.0, 0.0)
    assert row.cash == pytest.approx(0.004, abs=1e-15)
    short, _ = book(form, [(SELL, 62_500.0, 10.0)], **INVERSE)
    assert short.cash == pytest.approx(-0.016, abs=1e-15)
    terms = record(CONTRACT, **INVERSE)
    assert form(_ledger.equity_at)(short, terms, 50_000.0) == pytest.approx(-0.016 + 0.02 - 0.25, abs=1e-12)


@BOTH
def test_the_average_price_of_an_inverse_contract_is_the_harmonic_mean(form: Any) -> None:
    row, _ = book(form, [(BUY, 40_000.0, 3.0), (BUY, 60_000.0, 3.0)], **INVERSE)
    assert row.average_px == pytest.approx(48_000.0, rel=1e-14)
    _, realised = book(form, [(BUY, 40_000.0, 3.0), (BUY, 60_000.0, 3.0), (SELL, 48_000.0, 6.0)], **INVERSE)
    assert realised[2] == pytest.approx(0.0, abs=1e-15)


@BOTH
def test_a_fee_of_an_inverse_contract_is_a_share_of_its_value_in_base(form: Any) -> None:
    tier = record(TIER, maker_value_frac=0.0002)
    fee = form(_ledger.fill_fee)(record(CONTRACT, **INVERSE), tier, 50_000.0, 10.0, 1)
    assert fee == pytest.approx(0.02 * 0.0002, rel=1e-14)


@settings(max_examples=100, deadline=None)
@given(
    ticks=st.lists(
        st.tuples(st.sampled_from([BUY, SELL]), st.integers(1_000, 4_000), st.integers(1, 60)),
        min_size=1,
        max_size=40,
    ),
    mark=st.integers(1_000, 4_000),
)
def test_an_inverse_account_adds_up(ticks: list[tuple[int, int, int]], mark: int) -> None:
    """What each fill has gained at the mark, side x q x size x (1 / px - 1 / mark), is cash + value, and realised +
    unrealised; the compiled form says the same.
    """
    fills = [(side, px * 10.0, float(lots)) for side, px, lots in ticks]
    mark_px = mark * 10.0
    (row, realised), (compiled, _) = (book(form, fills, **INVERSE) for form in (plain, lambda f: f))
    assert row.tobytes() == compiled.tobytes()
    profit = sum(side * qty * 100.0 * (1 / px - 1 / mark_px) for side, px, qty in fills)
    close = {"rel": 1e-9, "abs": 1e-12}
    equity = plain(_ledger.equity_at)(row, record(CONTRACT, **INVERSE), mark_px) + row.fees
    assert equity == pytest.approx(profit, **close)
    held = row.position_qty
    unrealised = held * 100.0 * (1 / row.average_px - 1 / mark_px) if held else 0.0
    assert row.realised_pnl + unrealised == pytest.approx(profit, **close)
    assert sum(realised) == pytest.approx(row.realised_pnl, **close)


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
