"""A run as rows of a database: the same columns, names and values whichever database holds them.

``backtest_runs`` has one row per run, ``backtest_metrics`` one per run that has ended, and each of the run's tables one
``backtest_`` table: its columns (`bt_framework.results.schemas.COLUMNS`) after ``run_id`` and ``sequence``, the row's
position in the run's table, from 0. A row is known by its key, so writing it again changes nothing.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bt_framework.results.record import RunRecord
from bt_framework.results.run import TABLES, Status

if TYPE_CHECKING:
    import pyarrow as pa

ROW_TABLES = {f"backtest_{name}": name for name in TABLES}
"""Name of each table of rows, and the run's table that it holds."""


@dataclass(frozen=True)
class RowColumn:
    """A column of ``backtest_runs`` or ``backtest_metrics``.

    Attributes
    ----------
    type : type
        str, int (64 bits) or float.
    optional : bool
        Whether it may be null: a metric that is undefined, a count that is not known yet.
    """

    name: str
    type: type
    doc: str
    optional: bool = False


RUN_COLUMNS = (
    RowColumn("run_id", str, "id of the run"),
    RowColumn("sweep_id", str, "sweep that it belongs to", optional=True),
    RowColumn("strategy", str, "registry name of the strategy"),
    RowColumn("symbols", str, "instruments, a JSON array"),
    RowColumn("status", str, "running, completed, failed or stopped; a lost run says running"),
    RowColumn("error", str, "why it failed or was stopped"),
    RowColumn("started_at_ns", int, "wall clock, ns UTC"),
    RowColumn("finished_at_ns", int, "wall clock, ns UTC; 0 until the run has ended"),
    RowColumn("start_ts", int, "first simulated time, ns UTC"),
    RowColumn("end_ts", int, "last simulated time, ns UTC"),
    RowColumn("config_hash", str, "SHA-256 of the configuration"),
    RowColumn("data_hash", str, "SHA-256 of the data"),
    RowColumn("code_hash", str, "SHA-256 of the code"),
    RowColumn("result_hash", str, "SHA-256 of the results; empty until the run has ended"),
    RowColumn("seed", int, "seed of everything random"),
    RowColumn("git_commit", str, "commit of the working folder's repository"),
    RowColumn("tags", str, "labels, a JSON array"),
    RowColumn("note", str, "a line for the reader"),
    RowColumn("run_dir", str, "the run's folder"),
    RowColumn("host", str, "machine that ran it"),
    RowColumn("mode", str, "compiled or plain"),
    RowColumn("feeds", str, "content hashes of the instruments' events, a JSON array"),
    RowColumn("events", int, "feed events"),
    RowColumn("capital", float, "what returns are fractions of, quote currency"),
    *(RowColumn(f"count_{name}", int, f"rows of {name}", optional=True) for name in TABLES),
    RowColumn("kernel_s", float, "time in the compiled loop, seconds", optional=True),
    RowColumn("wall_s", float, "wall time, seconds", optional=True),
    RowColumn("record", str, "everything known of the run: the content of run.json"),
    RowColumn("updated_at_ns", int, "when this row was written, wall clock, ns UTC"),
)

METRIC_COLUMNS = (
    RowColumn("pnl", float, "profit after fees, settlement currency", optional=True),
    RowColumn("gross_pnl", float, "profit before fees", optional=True),
    RowColumn("fees", float, "fees paid", optional=True),
    RowColumn("return_frac", float, "pnl / capital", optional=True),
    RowColumn("sharpe", float, "annualised Sharpe ratio of equity changes", optional=True),
    RowColumn("max_drawdown", float, "largest fall of equity", optional=True),
    RowColumn("max_drawdown_frac", float, "the same as a fraction of capital and peak", optional=True),
    RowColumn("trades", int, "fills", optional=True),
    RowColumn("round_trips", int, "closed positions", optional=True),
    RowColumn("trades_won", int, "closed trades that earned", optional=True),
    RowColumn("trades_lost", int, "closed trades that lost", optional=True),
    RowColumn("mean_trade_s", float, "mean duration of closed trades, seconds", optional=True),
    RowColumn("orders", int, "orders sent", optional=True),
    RowColumn("fill_ratio", float, "orders with a fill, of all", optional=True),
    RowColumn("maker_share", float, "part of the notional that rested in the book", optional=True),
    RowColumn("turnover_notional", float, "notional traded", optional=True),
    RowColumn("turnover", float, "turnover_notional / capital", optional=True),
)
"""The metrics of a run, see `bt_framework.results.metrics.RunMetrics`."""

METRICS_ROW = (
    RowColumn("run_id", str, "id of the run"),
    *METRIC_COLUMNS,
    RowColumn("updated_at_ns", int, "when this row was written, wall clock, ns UTC"),
)
"""Columns of ``backtest_metrics``."""


def run_row(record: RunRecord) -> dict[str, Any]:
    """Return the row of ``backtest_runs``: a value for each of `RUN_COLUMNS`."""
    import orjson

    def array(values: tuple[str, ...]) -> str:
        return orjson.dumps(values).decode()

    return {
        "run_id": record.run_id,
        "sweep_id": record.sweep_id or None,
        "strategy": record.strategy,
        "symbols": array(record.symbols),
        "status": str(Status.RUNNING if record.status == Status.LOST else record.status),
        "error": record.error,
        "started_at_ns": record.started_at_ns,
        "finished_at_ns": record.finished_at_ns,
        "start_ts": record.start_ts,
        "end_ts": record.end_ts,
        "config_hash": record.identity.config_hash,
        "data_hash": record.identity.data_hash,
        "code_hash": record.identity.code_hash,
        "result_hash": record.result_hash,
        "seed": record.identity.seed,
        "git_commit": record.git_commit,
        "tags": array(record.tags),
        "note": record.note,
        "run_dir": str(record.run_dir),
        "host": record.process.host,
        "mode": record.mode,
        "feeds": array(record.feeds),
        "events": record.events,
        "capital": record.capital,
        **{f"count_{name}": record.counts.get(name) for name in TABLES},
        "kernel_s": _finite(record.kernel_s),
        "wall_s": _finite(record.wall_s),
        "record": record.to_json().decode(),
        "updated_at_ns": time.time_ns(),
    }


def metrics_row(record: RunRecord) -> dict[str, Any]:
    """Return the row of ``backtest_metrics``: a value for each of `METRICS_ROW`; undefined metrics are null."""
    values = {c.name: _finite(record.metrics.get(c.name)) for c in METRIC_COLUMNS}
    return {"run_id": record.run_id, **values, "updated_at_ns": time.time_ns()}


def table_rows(table: pa.Table, run_id: str, first_sequence: int) -> pa.Table:
    """Return a part of a run's table as rows of its ``backtest_`` table.

    Parameters
    ----------
    table : pyarrow.Table
        As `bt_framework.results.schemas.to_arrow` makes it.
    first_sequence : int
        Position of its first row in the run's table.

    Returns
    -------
    pyarrow.Table
        ``run_id`` and ``sequence`` before the table's columns.
    """
    import numpy as np
    import pyarrow as pa

    sequence = np.arange(first_sequence, first_sequence + table.num_rows, dtype=np.int64)
    indices = pa.Array.from_buffers(
        pa.int32(), table.num_rows, [None, pa.py_buffer(np.zeros(table.num_rows, np.int32))]
    )
    words = pa.StringArray.from_buffers(
        1, pa.py_buffer(np.array([0, len(run_id.encode())], np.int32)), pa.py_buffer(run_id.encode())
    )
    positions = pa.Array.from_buffers(pa.int64(), table.num_rows, [None, pa.py_buffer(sequence)])
    return table.add_column(0, pa.field("sequence", pa.int64(), nullable=False), positions).add_column(
        0,
        pa.field("run_id", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.DictionaryArray.from_arrays(indices, words),
    )


def _finite(value: float | None) -> float | None:
    """`value` if it is finite, else null."""
    return value if value is not None and math.isfinite(value) else None
