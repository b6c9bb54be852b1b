"""Lives of orders, trades and attribution, read from run folders in small pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_flows import ACCOUNTS, random_flow

from bt_framework.errors import StorageError
from bt_framework.records import FILL, ORDER, OrderEvent, OrderStatus
from bt_framework.results import forensics
from bt_framework.results._aligned import aligned
from bt_framework.results._legs import Contracts
from bt_framework.results._lives import lives
from bt_framework.results.folder import RunFolder, start
from bt_framework.results.record import RunRecord
from bt_framework.results.result import RunResult
from bt_framework.results.run import Instrument, SliceBatch
from bt_framework.results.schemas import to_records
from bt_framework.results.summary import summary_rows
from bt_framework.results.trades import CostMethod, trade_book
from bt_plugins.writers.parquet import Parquet, build

E = OrderEvent
INSTRUMENTS = (Instrument("BTCUSDT", 0.1, 0.001), Instrument("COIN", 0.5, 1.0, 100.0, inverse=True))


def steps_of(*rows: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """(local time, exchange time, order id, event, values)."""
    orders = np.zeros(len(rows), ORDER)
    orders["side"], orders["px"], orders["qty"], orders["leaves_qty"] = 1, 100.0, 2.0, 2.0
    orders["queue_ahead_qty"] = np.nan
    for row, (local_ts, exch_ts, order_id, event, *values) in zip(orders, rows, strict=True):
        row["local_ts"], row["exch_ts"], row["order_id"], row["event"] = local_ts, exch_ts, order_id, event
        for name, value in (values[0] if values else {}).items():
            row[name] = value
    return orders


def fills_of(*rows: tuple[int, int, int, float, float, int, float]) -> np.ndarray[Any, Any]:
    """(local time, exchange time, order id, px, qty, maker, fee)."""
    fills = np.zeros(len(rows), FILL)
    for fill, values in zip(fills, rows, strict=True):
        for name, value in zip(
            ("local_ts", "exch_ts", "order_id", "px", "qty", "maker", "fee"), values, strict=True
        ):
            fill[name] = value
    fills["side"] = 1
    return fills


def life(orders: np.ndarray[Any, Any], fills: np.ndarray[Any, Any] | None = None) -> dict[str, Any]:
    """The life of the only order."""
    (row,) = lives(orders, fills_of() if fills is None else fills, Contracts(INSTRUMENTS))
    return {name: row[name].item() for name in row.dtype.names}


def test_an_order_that_rests_is_modified_and_filled_in_parts_while_a_cancel_is_under_way() -> None:
    orders = steps_of(
        (10, 0, 7, E.SUBMITTED, {"signal_id": 3, "tag": 1}),
        (14, 12, 7, E.ACCEPTED, {"queue_ahead_qty": 5.5}),
        (20, 0, 7, E.MODIFY_REQUESTED),
        (24, 22, 7, E.MODIFIED, {"px": 101.0, "qty": 1.5, "queue_ahead_qty": 9.0}),
        (30, 28, 7, E.PARTIALLY_FILLED, {"px": 101.0, "qty": 1.5}),
        (40, 0, 7, E.CANCEL_REQUESTED),
        (41, 39, 7, E.FILLED, {"px": 101.0, "qty": 1.5}),
    )
    row = life(orders, fills_of((30, 28, 7, 101.0, 0.5, 1, 0.25), (41, 39, 7, 101.0, 1.0, 1, 0.5)))
    expected = {"order_id": 7, "signal_id": 3, "tag": 1, "status": OrderStatus.FILLED}
    expected |= {"px": 100.0, "qty": 2.0, "last_px": 101.0, "last_qty": 1.5, "modifications": 1}
    expected |= {"created_ts": 10, "sent_ts": 10, "accepted_exch_ts": 12, "accepted_local_ts": 14}
    expected |= {"queue_ahead_qty": 5.5, "first_fill_exch_ts": 28, "first_fill_local_ts": 30}
    expected |= {"last_fill_exch_ts": 39, "last_fill_local_ts": 41, "cancel_requested_ts": 40}
    expected |= {"ended_exch_ts": 39, "ended_local_ts": 41, "fills": 2, "filled_qty": 1.5}
    expected |= {"average_px": 101.0, "maker_share": 1.0, "fees": 0.75, "refused_requests": 0}
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("steps", "status", "ended_ts"),
    [
        ([], OrderStatus.PENDING, 0),
        ([E.ACCEPTED], OrderStatus.WORKING, 0),
        ([E.ACCEPTED, E.CANCEL_REQUESTED, E.REQUEST_REJECTED], OrderStatus.WORKING, 0),
        ([E.PARTIALLY_FILLED], OrderStatus.WORKING, 0),
        ([E.ACCEPTED, E.CANCEL_REQUESTED, E.CANCELLED], OrderStatus.CANCELLED, 40),
        ([E.EXPIRED], OrderStatus.EXPIRED, 20),
        ([E.REJECTED], OrderStatus.REJECTED, 20),
        ([E.FILLED], OrderStatus.FILLED, 20),
    ],
)
def test_the_status_is_what_the_last_steps_led_to(
    steps: list[OrderEvent], status: OrderStatus, ended_ts: int
) -> None:
    rows = [(10 * (place + 1), 1, 1, event) for place, event in enumerate([E.SUBMITTED, *steps])]
    row = life(steps_of(*rows))
    assert (row["status"], row["ended_local_ts"]) == (status, ended_ts)
    assert row["refused_requests"] == steps.count(E.REQUEST_REJECTED)
    assert np.isnan(row["average_px"])
    assert np.isnan(row["maker_share"])


def test_prices_are_averaged_by_quantity_and_of_inverse_contracts_by_value() -> None:
    parts = fills_of((20, 18, 1, 100.0, 1.0, 0, 0.0), (20, 18, 1, 150.0, 3.0, 1, 0.0))
    assert life(steps_of((10, 0, 1, E.SUBMITTED)), parts)["average_px"] == 137.5
    row = life(steps_of((10, 0, 1, E.SUBMITTED, {"asset": 1})), parts)
    assert row["average_px"] == pytest.approx(4 / (1 / 100 + 3 / 150))
    assert row["maker_share"] == 0.75


def write(run: Any, summary: Any, flush_rows: int, **tables: np.ndarray[Any, Any]) -> RunResult:
    """Leave a run with these tables in row groups of at most `flush_rows`."""
    record = start(run)
    writer = build(Parquet(flush_rows=flush_rows, flush_interval_ns="365d"))
    writer.before_run(run)
    writer.on_slice(run, SliceBatch(tables=tables, local_ts=0, events=0, wall_s=0.0, metrics={}))
    writer.after_run(run, summary)
    return RunResult(record)


def orders_with_fills(make_tables: Any, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Interleaved lives, several steps at one instant, and a fill for each step that is one."""
    orders = make_tables(seed)["orders"]
    orders["local_ts"] //= 10**11
    filled = orders[np.isin(orders["event"], (E.PARTIALLY_FILLED, E.FILLED))]
    fills = np.zeros(len(filled), FILL)
    for name in ("local_ts", "order_id", "asset", "side"):
        fills[name] = filled[name]
    fills["px"], fills["qty"] = np.linspace(10, 20, len(fills)), 0.5
    return orders, fills


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1_000), flush_rows=st.integers(1, 40))
def test_lives_that_are_read_in_pieces_are_those_of_the_whole_tables(
    tmp_path_factory: Any, make_run: Any, make_summary: Any, make_tables: Any, seed: int, flush_rows: int
) -> None:
    run = make_run(tmp_path_factory.mktemp("runs"))
    orders, fills = orders_with_fills(make_tables, seed)
    result = write(run, make_summary(), flush_rows, orders=orders, fills=fills)
    read = to_records(result.order_lives, run)
    assert read.tobytes() == lives(orders, fills, Contracts(run.instruments)).tobytes()
    parts = [set(part["order_id"].to_pylist()) for part in forensics.order_lives(RunFolder(run.run_dir))]
    assert sum(map(len, parts)) == len(set(orders["order_id"].tolist())) == len(set().union(*parts))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    instruments=st.sampled_from(ACCOUNTS),
    flush_rows=st.integers(1, 20),
    method=st.sampled_from(tuple(CostMethod)),
    by=st.sampled_from(tuple(forensics.By)),
)
def test_trades_of_a_folder_are_those_of_the_run_and_their_attribution_is_its_equity(
    tmp_path_factory: Any,
    make_run: Any,
    make_summary: Any,
    seed: int,
    instruments: Any,
    flush_rows: int,
    method: CostMethod,
    by: forensics.By,
) -> None:
    flow = random_flow(seed, instruments, 40, flat=False, compiled=True)
    run = make_run(tmp_path_factory.mktemp("runs"), instruments=instruments)
    book = trade_book(instruments, method)
    expected = np.concatenate([book.update(flow.fills, flow.equity), book.close()])
    result = write(run, make_summary(), flush_rows, fills=flow.fills, equity=flow.equity, trades=expected)
    assert to_records(result.trades_by(method), run).tobytes() == expected.tobytes()
    assert result.trades.equals(result.trades_by(method))
    table = result.attribution(by, method)
    total = table["net_pnl"].to_numpy().sum()
    assert abs(total - flow.last_equity) <= 1e-9 * flow.notional
    if by == forensics.By.SYMBOL:
        assert set(table["key"].to_pylist()) <= {i.symbol for i in instruments}
    if by == forensics.By.LIQUIDITY:
        assert set(table["key"].to_pylist()) <= {"maker", "taker"}


def test_no_more_than_some_row_groups_are_in_memory(
    tmp_path: Path, make_run: Any, make_summary: Any, make_tables: Any
) -> None:
    run = make_run(tmp_path)
    orders, fills = orders_with_fills(make_tables, 3)
    orders["local_ts"], fills["local_ts"] = np.arange(len(orders)), np.linspace(0, len(orders), len(fills))
    write(run, make_summary(), 5, orders=orders, fills=fills)
    parts = list(aligned(RunFolder(run.run_dir), ("orders", "fills"), run))
    assert max(len(part["orders"]) for part in parts) <= 30
    assert max(len(part["fills"]) for part in parts) <= 10
    assert np.concatenate([part["orders"] for part in parts]).tobytes() == orders.tobytes()


def test_a_run_without_rows_has_no_lives_no_trades_and_earned_nothing(
    tmp_path: Path, make_run: Any, make_summary: Any
) -> None:
    result = write(make_run(tmp_path), make_summary(), 10)
    assert (result.order_lives.num_rows, result.trades_by("fifo").num_rows) == (0, 0)
    assert result.attribution("tag").num_rows == 0
    assert result.order_lives.schema.field("status").metadata[b"description"]


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, make_run: Any, make_summary: Any) -> None:
    run = make_run(tmp_path)
    result = write(run, make_summary(), 10)
    (run.run_dir / "fills.parquet").write_bytes(b"PAR1 is how it begins")
    with pytest.raises(StorageError, match=r"fills\.parquet cannot be read"):
        result.attribution("tag")


def test_the_summary_says_what_round_trips_came_to(make_run: Any, make_summary: Any) -> None:
    summary = make_summary()
    trades = {"trades_won": 3, "trades_lost": 13, "mean_trade_s": 3.819}
    rows = summary_rows(
        RunRecord.started(make_run()).finished(make_summary(metrics=summary.metrics | trades))
    )
    labels = [label for label, _ in rows]
    assert labels[labels.index("trades") + 1] == "round trips"
    assert dict(rows)["round trips"] == "3 won, 13 lost, open for 3.82 s on average"
    assert "round trips" not in dict(summary_rows(RunRecord.started(make_run()).finished(summary)))
