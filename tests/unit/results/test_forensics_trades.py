"""Round trips by hand, and by a matcher that takes one lot at a time."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_flows import ACCOUNTS, Flow, random_flow

from bt_framework.records import EQUITY, FILL, Direction, Tag
from bt_framework.results._attribution import Attribution, By
from bt_framework.results._extremes import Extremes
from bt_framework.results._legs import Contracts
from bt_framework.results.run import Instrument
from bt_framework.results.trades import CostMethod, trade_book

LINEAR = Instrument("LIN", 0.5, 0.5, 10.0)
INVERSE = Instrument("INV", 0.5, 1.0, 100.0, inverse=True)
FIFO, AVERAGE_COST = CostMethod.FIFO, CostMethod.AVERAGE_COST
BUY, SELL = 1, -1


def fills_of(*rows: tuple[int, int, float, float, float]) -> np.ndarray[Any, Any]:
    """(time, side, px, qty, fee) of one instrument; order ids count from 1, signals from 11."""
    fills = np.zeros(len(rows), FILL)
    for place, (ts, side, px, qty, fee) in enumerate(rows):
        fill = fills[place]
        fill["local_ts"], fill["side"], fill["px"], fill["qty"], fill["fee"] = ts, side, px, qty, fee
    fills["order_id"], fills["signal_id"] = np.arange(1, len(rows) + 1), np.arange(11, len(rows) + 11)
    return fills


def samples_of(*rows: tuple[int, float]) -> np.ndarray[Any, Any]:
    """(time, mid) of one instrument."""
    equity = np.zeros(len(rows), EQUITY)
    for sample, (ts, mid_px) in zip(equity, rows, strict=True):
        sample["local_ts"], sample["mid_px"] = ts, mid_px
    return equity


def trades_of(
    method: CostMethod, instrument: Instrument, fills: np.ndarray[Any, Any], equity: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """All trades of one instrument."""
    book = trade_book([instrument], method)
    return np.concatenate([book.update(fills, equity), book.close()])


BOUGHT_TWICE = fills_of(
    (10, BUY, 100.0, 1.0, 4.0),
    (20, BUY, 104.0, 1.0, 2.0),
    (30, SELL, 110.0, 1.5, 3.0),
    (40, SELL, 98.0, 0.5, 1.0),
)
"""Two lots, two lots; three sold, one sold."""


def test_fifo_closes_what_was_bought_first() -> None:
    rows = trades_of(FIFO, LINEAR, BOUGHT_TWICE, samples_of((50, 90.0)))
    assert rows["entry_order_id"].tolist() == [1, 2, 2]
    assert rows["exit_order_id"].tolist() == [3, 3, 4]
    assert rows["entry_signal_id"].tolist() == [11, 12, 12]
    assert rows["exit_signal_id"].tolist() == [13, 13, 14]
    assert rows["qty"].tolist() == [1.0, 0.5, 0.5]
    assert rows["gross_pnl"].tolist() == [100.0, 30.0, -30.0]  # 10 x 1 x (110 - 100), ...
    assert rows["fees"].tolist() == [4.0 + 2.0, 1.0 + 1.0, 1.0 + 1.0]
    assert rows["net_pnl"].tolist() == [94.0, 28.0, -32.0]
    assert rows["entry_ts"].tolist() == [10, 20, 20]
    assert rows["exit_ts"].tolist() == [30, 30, 40]
    assert rows["duration_ns"].tolist() == [20, 10, 20]
    assert rows["direction"].tolist() == [Direction.LONG] * 3
    assert rows["open"].tolist() == [0, 0, 0]


def test_average_cost_closes_a_part_of_the_whole_position() -> None:
    rows = trades_of(AVERAGE_COST, LINEAR, BOUGHT_TWICE, samples_of((50, 90.0)))
    assert rows["entry_px"].tolist() == [102.0, 102.0]
    assert rows["exit_order_id"].tolist() == [3, 4]
    assert rows["entry_order_id"].tolist() == [1, 1]
    assert rows["qty"].tolist() == [1.5, 0.5]
    assert rows["gross_pnl"].tolist() == [120.0, -20.0]
    assert rows["fees"].tolist() == [6.0 * 0.75 + 3.0, 6.0 * 0.25 + 1.0]


@pytest.mark.parametrize("method", [FIFO, AVERAGE_COST])
def test_a_fill_through_zero_closes_a_trade_and_opens_one(method: CostMethod) -> None:
    fills = fills_of((10, SELL, 100.0, 1.0, 1.0), (20, BUY, 96.0, 2.5, 5.0))
    closed, still_open = trades_of(method, LINEAR, fills, samples_of((30, 97.0)))
    assert (closed["direction"], closed["qty"], closed["gross_pnl"]) == (Direction.SHORT, 1.0, 40.0)
    assert closed["fees"] == 1.0 + 5.0 * 0.4
    assert (still_open["direction"], still_open["qty"], still_open["open"]) == (Direction.LONG, 1.5, 1)
    assert (still_open["entry_px"], still_open["exit_px"], still_open["gross_pnl"]) == (96.0, 97.0, 15.0)
    assert still_open["fees"] == 5.0 * 0.6
    assert (still_open["exit_ts"], still_open["exit_order_id"], still_open["exit_tag"]) == (30, 0, Tag.NONE)


@pytest.mark.parametrize("method", [FIFO, AVERAGE_COST])
def test_an_inverse_contract_earns_in_its_base(method: CostMethod) -> None:
    fills = fills_of((10, BUY, 100.0, 4.0, 0.0), (20, SELL, 125.0, 2.0, 0.0))
    closed, still_open = trades_of(method, INVERSE, fills, samples_of((30, 80.0)))
    assert closed["gross_pnl"] == pytest.approx(2 * 100 * (1 / 100 - 1 / 125))
    assert still_open["gross_pnl"] == pytest.approx(2 * 100 * (1 / 100 - 1 / 80))


def test_the_average_price_of_an_inverse_contract_is_harmonic() -> None:
    fills = fills_of((10, BUY, 100.0, 1.0, 0.0), (20, BUY, 150.0, 1.0, 0.0), (30, SELL, 120.0, 2.0, 0.0))
    (trade,) = trades_of(AVERAGE_COST, INVERSE, fills, samples_of((40, 1.0)))
    assert trade["entry_px"] == pytest.approx(120.0)
    assert trade["gross_pnl"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("method", [FIFO, AVERAGE_COST])
@pytest.mark.parametrize(("side", "worst", "best"), [(BUY, 97.0, 107.0), (SELL, 107.0, 97.0)])
def test_excursions_are_of_the_samples_strictly_between_and_of_both_fills(
    method: CostMethod, side: int, worst: float, best: float
) -> None:
    fills = fills_of((10, side, 100.0, 1.0, 0.0), (50, -side, 101.0, 1.0, 0.0))
    outside = [(10, 1.0), (50, 900.0), (60, 900.0)]
    samples = samples_of(*sorted([*outside, (5, 1.0), (20, 97.0), (30, 107.0), (40, 103.0)]))
    (trade,) = trades_of(method, LINEAR, fills, samples)
    assert (trade["mae"], trade["mfe"]) == (side * 10 * (worst - 100.0), side * 10 * (best - 100.0))
    (trade,) = trades_of(method, LINEAR, fills, samples_of(*outside))
    gross = side * 10.0
    assert (trade["mae"], trade["mfe"]) == (min(gross, 0.0), max(gross, 0.0))


def test_an_open_trade_has_seen_all_samples_after_its_entry() -> None:
    fills = fills_of((10, BUY, 100.0, 1.0, 0.0))
    (trade,) = trades_of(FIFO, LINEAR, fills, samples_of((9, 50.0), (20, 99.0), (30, 104.0), (40, 102.0)))
    assert (trade["mae"], trade["mfe"], trade["gross_pnl"]) == (-10.0, 40.0, 20.0)


def test_slippage_is_what_the_price_was_made_worse_by() -> None:
    fills = fills_of((10, BUY, 100.0 * 1.001, 1.0, 0.0), (20, SELL, 102.0 * 0.999, 0.5, 0.0))
    fills["slippage_bps"] = 10.0
    closed, still_open = trades_of(FIFO, LINEAR, fills, samples_of((30, 100.0)))
    assert closed["slippage"] == pytest.approx(10 * 0.5 * (0.1 + 0.102))
    assert still_open["slippage"] == pytest.approx(10 * 0.5 * 0.1)


def test_what_tags_signals_and_sides_of_the_market_earn_by_hand() -> None:
    fills = BOUGHT_TWICE.copy()
    fills["tag"], fills["maker"] = [Tag.ENTRY, Tag.CHASE, Tag.EXIT, Tag.STOP], [1, 0, 1, 0]
    fills = fills[:3]  # half a unit stays open
    rows = trades_of(FIFO, LINEAR, fills, samples_of((50, 90.0)))

    def amounts(by: By) -> dict[int, list[float]]:
        sums = Attribution(by, Contracts([LINEAR]))
        sums.update(rows, fills)
        names = ("trades", "realised_pnl", "unrealised_pnl", "fees", "net_pnl")
        return {int(row["key"]): [float(row[name]) for name in names] for row in sums.rows()}

    assert amounts(By.TAG) == {
        Tag.ENTRY: [0, 0, 0, 4, -4],
        Tag.EXIT: [2, 130, 0, 3, 127],
        Tag.CHASE: [0, 0, -70, 2, -72],
    }
    assert amounts(By.ENTRY_TAG) == {Tag.ENTRY: [1, 100, 0, 6, 94], Tag.CHASE: [1, 30, -70, 3, -43]}
    assert amounts(By.SIGNAL) == {11: [0, 0, 0, 4, -4], 12: [0, 0, -70, 2, -72], 13: [2, 130, 0, 3, 127]}
    assert amounts(By.ENTRY_SIGNAL) == {11: [1, 100, 0, 6, 94], 12: [1, 30, -70, 3, -43]}
    assert amounts(By.LIQUIDITY) == {0: [0, 0, -70, 2, -72], 1: [2, 130, 0, 7, 123]}
    assert amounts(By.SYMBOL) == {0: [2, 130, -70, 9, 51]}


def one_by_one(flow: Flow) -> list[tuple[Any, ...]]:
    """(entry order, exit order, lots, worst px, best px) of closed trades, lot by lot, the slow way."""
    trades: list[tuple[Any, ...]] = []
    for asset, contract in enumerate(flow.instruments):
        held: deque[tuple[Any, int]] = deque()
        samples = flow.equity[flow.equity["asset"] == asset]
        for fill in flow.fills[flow.fills["asset"] == asset]:
            lots = round(fill["qty"] / contract.lot_size)
            while lots and held and held[0][0]["side"] != fill["side"]:
                entry, left = held.popleft()
                closed = min(lots, left)
                lots -= closed
                if left > closed:
                    held.appendleft((entry, left - closed))
                between = (samples["local_ts"] > entry["local_ts"]) & (samples["local_ts"] < fill["local_ts"])
                seen = [entry["px"], fill["px"], *samples["mid_px"][between]]
                low, high = min(seen), max(seen)
                worst, best = (low, high) if entry["side"] > 0 else (high, low)
                trades.append((entry["order_id"], fill["order_id"], closed, worst, best))
            if lots:
                held.append((fill, lots))
    return sorted(trades, key=lambda trade: (trade[1], trade[0]))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), instruments=st.sampled_from(ACCOUNTS), n_fills=st.integers(1, 40))
def test_fifo_is_what_matching_lot_by_lot_gives(seed: int, instruments: Any, n_fills: int) -> None:
    flow = random_flow(seed, instruments, n_fills, flat=False, compiled=True)
    rows = trade_book(instruments).update(flow.fills, flow.equity)
    expected = one_by_one(flow)
    assert list(zip(rows["entry_order_id"], rows["exit_order_id"], strict=True)) == [t[:2] for t in expected]
    for row, (_, _, lots, worst, best) in zip(rows, expected, strict=True):
        contract = instruments[row["asset"]]
        assert row["qty"] == pytest.approx(lots * contract.lot_size)
        pnl = Contracts([contract]).pnl
        signed, entry = row["direction"] * row["qty"], row["entry_px"]
        zero = np.int64(0)
        assert row["mae"] == pytest.approx(float(pnl(zero, signed, entry, worst)), rel=1e-9, abs=1e-9)
        assert row["mfe"] == pytest.approx(float(pnl(zero, signed, entry, best)), rel=1e-9, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.floats(-10, 10), max_size=40),
    stretches=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=20),
)
def test_extremes_are_those_of_each_stretch(values: list[float], stretches: list[tuple[int, int]]) -> None:
    cut = [(min(a, len(values)), min(b, len(values))) for a, b in stretches]
    first, end = np.array([c[0] for c in cut], np.int64), np.array([c[1] for c in cut], np.int64)
    low, high = Extremes(np.array(values, np.float64)).between(first, end)
    assert low.tolist() == [min(values[a:b], default=np.inf) for a, b in cut]
    assert high.tolist() == [max(values[a:b], default=-np.inf) for a, b in cut]
