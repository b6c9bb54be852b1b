import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.records import EQUITY, FILL, OrderEvent
from bt_framework.results.metrics import RunMetrics, max_drawdown, sharpe_ratio
from bt_framework.results.run import Instrument

CAPITAL, INTERVAL_NS = 100_000.0, 1_000_000_000
INSTRUMENTS = (Instrument("BTCUSDT", 0.1, 0.001), Instrument("ETHUSDT", 0.01, 0.01, 10.0))
places = st.lists(st.floats(0, 1, exclude_max=True), max_size=6)


def metrics_of(*slices, instruments=INSTRUMENTS, capital=CAPITAL):
    metrics = RunMetrics(capital, INTERVAL_NS, instruments)
    for tables in slices:
        metrics.update(tables)
    return metrics.result()


def same(left, right):
    return left.keys() == right.keys() and all(
        a == b or (math.isnan(a) and math.isnan(b))
        for a, b in zip(left.values(), right.values(), strict=True)
    )


@given(seed=st.integers(0, 1_000), places=places)
def test_metrics_have_the_same_bits_however_the_run_was_sliced(make_tables, cut, seed, places):
    tables = make_tables(seed)
    assert same(metrics_of(*cut(tables, places)), metrics_of(tables))


@given(seed=st.integers(0, 1_000))
def test_metrics_agree_with_pandas_on_the_whole_tables(make_tables, seed):
    tables = make_tables(seed)
    orders, fills, equity, trades = (
        pd.DataFrame(tables[name]) for name in ("orders", "fills", "equity", "trades")
    )
    closed = trades[trades.open == 0]
    total = equity.groupby("local_ts")["equity"].sum()
    full = total.iloc[:-1]  # the last interval is cut short
    changes = full.diff().dropna()
    notional = fills.px * fills.qty * fills.asset.map({0: 1.0, 1: 10.0})
    submitted = orders[orders.event == OrderEvent.SUBMITTED].order_id
    filled = orders[orders.event.isin([OrderEvent.FILLED, OrderEvent.PARTIALLY_FILLED])].order_id
    peak = np.maximum(total.cummax(), 0)
    round_trips = 0
    for _, own in fills.groupby("asset"):
        position = own.position_qty.round(6)
        before = position.shift(fill_value=0)
        round_trips += ((before != 0) & ((position == 0) | (np.sign(position) * np.sign(before) < 0))).sum()

    result = metrics_of(tables)

    expected = {
        "pnl": total.iloc[-1],
        "gross_pnl": total.iloc[-1] + equity.groupby("local_ts")["fees"].sum().iloc[-1],
        "fees": fills.fee.sum(),
        "return_frac": total.iloc[-1] / CAPITAL,
        "sharpe": changes.mean() / changes.std(ddof=1) * math.sqrt(365 * 86_400),
        "max_drawdown": (peak - total).max(),
        "max_drawdown_frac": ((peak - total) / (CAPITAL + peak)).max(),
        "trades": len(fills),
        "round_trips": round_trips,
        "trades_won": (closed.net_pnl > 0).sum(),
        "trades_lost": (closed.net_pnl < 0).sum(),
        "mean_trade_s": closed.duration_ns.mean() / 1e9,
        "orders": len(submitted),
        "fill_ratio": filled.nunique() / len(submitted),
        "maker_share": notional[fills.maker == 1].sum() / notional.sum(),
        "turnover_notional": notional.sum(),
        "turnover": notional.sum() / CAPITAL,
    }
    assert result == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_run_by_hand():
    equity = np.zeros(4, EQUITY)
    equity["local_ts"] = np.arange(4) * INTERVAL_NS
    equity["equity"], equity["fees"] = [0.0, 30.0, 10.0, 20.0], [0.0, 1.0, 1.0, 3.0]
    fills = np.zeros(2, FILL)
    fills["side"], fills["qty"], fills["px"], fills["fee"] = [1, -1], 2.0, [100.0, 110.0], [1.0, 2.0]
    fills["maker"], fills["position_qty"] = [1, 0], [2.0, 0.0]

    result = metrics_of({"equity": equity, "fills": fills}, instruments=INSTRUMENTS[:1], capital=1_000.0)

    assert (result["pnl"], result["gross_pnl"], result["fees"]) == (20.0, 23.0, 3.0)
    assert result["return_frac"] == 0.02
    assert (result["max_drawdown"], result["max_drawdown_frac"]) == (20.0, 20 / 1_030)
    assert (result["trades"], result["round_trips"]) == (2, 1)
    assert (result["turnover_notional"], result["turnover"]) == (420.0, 0.42)
    assert result["maker_share"] == pytest.approx(200 / 420)
    changes = np.array([30.0, -20.0, 10.0])
    assert result["sharpe"] == pytest.approx(changes.mean() / changes.std(ddof=1) * math.sqrt(365 * 86_400))


def test_what_is_undefined_is_nan_and_a_run_without_rows_has_earned_nothing():
    result = metrics_of()
    undefined = {name for name, value in result.items() if math.isnan(value)}
    assert undefined == {"sharpe", "fill_ratio", "maker_share", "mean_trade_s"}
    assert result["pnl"] == result["fees"] == result["max_drawdown"] == 0


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [0.1, 0.2, 0.1 + 0.2]])
def test_equity_that_does_not_vary_has_no_sharpe_ratio(values):
    assert math.isnan(sharpe_ratio(np.full(10, values[0]), 365))


def test_a_sample_counts_once_all_its_instruments_are_there(make_tables):
    equity = make_tables(5)["equity"]
    metrics = RunMetrics(CAPITAL, INTERVAL_NS, INSTRUMENTS)
    metrics.update({"equity": equity[:3]})
    assert metrics.result()["pnl"] == equity["equity"][:2].sum()
    metrics.update({"equity": equity[3:4]})
    assert metrics.result()["pnl"] == equity["equity"][2:4].sum()


def test_the_slice_may_be_overwritten_after_the_update(make_tables, cut):
    tables = make_tables(6)
    metrics = RunMetrics(CAPITAL, INTERVAL_NS, INSTRUMENTS)
    for part in cut(tables, [0.21, 0.5, 0.77]):
        buffers = {name: rows.copy() for name, rows in part.items()}
        metrics.update(buffers)
        for rows in buffers.values():
            rows.view(np.uint8)[:] = 0xFF
    assert same(metrics.result(), metrics_of(tables))


def test_memory_does_not_grow_with_the_number_of_orders(make_tables):
    metrics = RunMetrics(CAPITAL, INTERVAL_NS, INSTRUMENTS)
    for round_ in range(50):
        orders = make_tables(round_)["orders"]
        orders = orders[np.isin(orders["order_id"], orders["order_id"][orders["event"] == OrderEvent.FILLED])]
        orders["order_id"] += 1_000 * round_
        metrics.update({"orders": orders})
    assert metrics.result()["orders"] > 100
    assert len(metrics._partly_filled) == 0


@pytest.mark.parametrize("name", ["daily", "min1_crypto4d", "tiny"])
def test_sharpe_and_drawdown_agree_with_the_published_libraries(shared_dir, name):
    references = json.loads((shared_dir / "references" / "metrics_refs.json").read_text())[name]
    returns = pd.read_csv(shared_dir / "references" / f"returns_{name}.csv")["ret"].to_numpy()
    assert sharpe_ratio(returns, references["periods"]) == pytest.approx(
        references["formula"]["sharpe_ddof1"], rel=1e-11
    )
    changes = np.cumprod(1 + returns) - 1
    assert max_drawdown(changes, 1.0)[1] == pytest.approx(-references["formula"]["max_drawdown"], rel=1e-12)
