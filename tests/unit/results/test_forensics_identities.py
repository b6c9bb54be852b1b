"""What the ledger books and what trades and attribution say are one account, for any fills.

The hypothesis test and its seeds together are 10,000 random accounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_flows import ACCOUNTS, Flow, random_flow

from bt_framework.results._attribution import Attribution, By
from bt_framework.results._legs import Contracts
from bt_framework.results.trades import CostMethod, trade_book

METHODS = tuple(CostMethod)
SEEDS, FLOWS_PER_SEED = 20, 490
EXAMPLES = 200


def trades_of(flow: Flow, method: CostMethod, cuts: tuple[int, ...] = ()) -> np.ndarray[Any, Any]:
    """Trades of a flow that is cut before the fills at `cuts`."""
    book, rows, first = trade_book(flow.instruments, method), [], 0
    samples = 0
    for cut in (*sorted(cuts), len(flow.fills)):
        # A sample is written after the fill of its time that was booked before it.
        ends = flow.fills["local_ts"][cut] if cut < len(flow.fills) else np.iinfo(np.int64).max
        end = int(np.searchsorted(flow.equity["local_ts"], ends, side="left"))
        rows.append(book.update(flow.fills[first:cut], flow.equity[samples:end]))
        first, samples = cut, end
    return np.concatenate([*rows, book.close()])


def independent_books(flow: Flow, asset: int) -> tuple[float, float, float]:
    """(position, cash, fees) of an instrument, from its fills alone."""
    own = flow.fills[flow.fills["asset"] == asset]
    contract = flow.instruments[asset]
    signed = own["side"] * own["qty"] * contract.contract_size
    cash = (signed / own["px"]).sum() if contract.inverse else -(signed * own["px"]).sum()
    return float((own["side"] * own["qty"]).sum()), float(cash), float(own["fee"].sum())


def check_ledger(flow: Flow, close: Any) -> None:
    """Cash + position x mark - fees = equity, with nothing taken from the ledger but its answer."""
    for asset, contract in enumerate(flow.instruments):
        position, cash, fees = independent_books(flow, asset)
        row = flow.equity[-len(flow.instruments) + asset]
        assert row["position_qty"] == pytest.approx(position, abs=1e-6 * contract.lot_size)
        close(row["cash"], cash)
        close(row["fees"], fees)
        size, mark = contract.contract_size, row["mid_px"]
        value = -position * size / mark if contract.inverse else position * size * mark
        close(row["equity"], cash + value - fees)


def check_trades(
    flow: Flow, trades: np.ndarray[Any, Any], method: CostMethod, keys: Sequence[By], close: Any
) -> None:
    """Trades and their attribution come to the equity."""
    contracts = Contracts(flow.instruments)
    close(trades["net_pnl"].sum(), flow.last_equity)
    close(trades["fees"].sum(), flow.fills["fee"].sum())
    close(trades["slippage"].sum(), contracts.slippage(flow.fills).sum())
    for by in keys:
        sums = Attribution(by, contracts)
        sums.update(trades, flow.fills)
        rows = sums.rows()
        close(rows["net_pnl"].sum(), flow.last_equity)
        close(rows["fees"].sum(), flow.fills["fee"].sum())
        close(rows["slippage"].sum(), contracts.slippage(flow.fills).sum())
        assert rows["trades"].sum() == (trades["open"] == 0).sum()
    for asset, contract in enumerate(flow.instruments):
        own = trades[trades["asset"] == asset]
        held = own[own["open"] == 1]
        assert len(set(held["direction"].tolist())) <= 1
        signed = (held["direction"] * held["qty"]).sum()
        assert signed == pytest.approx(flow.ledger[asset]["position_qty"], abs=1e-6 * contract.lot_size)
        if method == CostMethod.AVERAGE_COST:
            close(own["gross_pnl"][own["open"] == 0].sum(), flow.ledger[asset]["realised_pnl"])
    tolerance = 1e-12 * flow.notional
    assert (trades["mae"] <= np.minimum(trades["gross_pnl"], 0) + tolerance).all()
    assert (trades["mfe"] >= np.maximum(trades["gross_pnl"], 0) - tolerance).all()
    assert (trades["duration_ns"] >= 0).all()


def check(flow: Flow, keys: Sequence[By] = tuple(By)) -> None:
    """All identities of an account, to 1e-9 of the notional traded."""
    tolerance = 1e-9 * flow.notional

    def close(value: float, expected: float) -> None:
        assert abs(value - expected) <= tolerance, (value, expected)

    check_ledger(flow, close)
    books = {method: trades_of(flow, method) for method in METHODS}
    for method, trades in books.items():
        check_trades(flow, trades, method, keys, close)
    for asset in range(len(flow.instruments)):
        if flow.ledger[asset]["position_qty"] == 0:
            totals = [trades["gross_pnl"][trades["asset"] == asset].sum() for trades in books.values()]
            close(totals[0], totals[1])


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    instruments=st.sampled_from(ACCOUNTS),
    n_fills=st.integers(1, 30),
    flat=st.booleans(),
    compiled=st.booleans(),
)
def test_ledger_trades_and_attribution_are_one_account(
    seed: int, instruments: Any, n_fills: int, flat: bool, compiled: bool
) -> None:
    check(random_flow(seed, instruments, n_fills, flat=flat, compiled=compiled))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_thousands_of_accounts_are_each_one_account(seed: int) -> None:
    for place in range(FLOWS_PER_SEED):
        instruments, flat = ACCOUNTS[place % len(ACCOUNTS)], place % 3 == 0
        number = 1_000 * seed + place
        flow = random_flow(number, instruments, 2 + number % 17, flat=flat, compiled=place % 10 > 0)
        check(flow, [tuple(By)[number % len(By)]])


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    instruments=st.sampled_from(ACCOUNTS),
    cuts=st.lists(st.integers(0, 39), max_size=6),
    method=st.sampled_from(METHODS),
)
def test_slices_do_not_change_a_bit_of_a_trade(
    seed: int, instruments: Any, cuts: list[int], method: CostMethod
) -> None:
    flow = random_flow(seed, instruments, 40, flat=False, compiled=True)
    sliced = trades_of(flow, method, tuple(cuts))
    assert sliced.tobytes() == trades_of(flow, method).tobytes()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), instruments=st.sampled_from(ACCOUNTS), n_fills=st.integers(1, 30))
def test_compiled_and_plain_kernels_book_the_same(seed: int, instruments: Any, n_fills: int) -> None:
    flows = [random_flow(seed, instruments, n_fills, flat=False, compiled=form) for form in (True, False)]
    for name in ("fills", "equity", "ledger"):
        compiled, plain = (getattr(flow, name) for flow in flows)
        for field in compiled.dtype.names:
            np.testing.assert_allclose(compiled[field], plain[field], rtol=1e-13, atol=1e-9, err_msg=field)


@pytest.mark.parametrize("name", ["cash", "fees", "equity", "position_qty"])
def test_the_check_sees_what_is_wrong_by_two_billionths_of_the_notional(name: str) -> None:
    flow = random_flow(7, ACCOUNTS[2], 20, flat=False, compiled=False)
    check(flow)
    flow.equity[name][-1] += 2e-9 * flow.notional
    with pytest.raises(AssertionError):
        check(flow)
