"""Rows of a run on their way to ClickHouse: what belongs together travels together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.results.rows import METRICS_ROW, RUN_COLUMNS, RowColumn, table_rows
from bt_framework.results.run import TABLES
from bt_framework.results.schemas import Names, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

PROGRESS_TABLE = "backtest_progress"
"""How far the rows of a run are complete: a row for each batch that was stored, written after all of its rows."""

PROGRESS_COLUMNS = (
    RowColumn("run_id", str, "id of the run"),
    RowColumn("batch", int, "number of the batch's first slice"),
    RowColumn("local_ts", int, "simulated time at its end, ns UTC"),
    RowColumn("events", int, "feed events up to then, estimated"),
    *(RowColumn(name, int, f"rows of {name} so far, this batch included") for name in TABLES),
    RowColumn("updated_at_ns", int, "when the batch was made, wall clock, ns UTC"),
)

_COLUMNS = {"backtest_runs": RUN_COLUMNS, "backtest_metrics": METRICS_ROW, PROGRESS_TABLE: PROGRESS_COLUMNS}

TABLE_OF = {name: f"backtest_{name}" for name in TABLES} | {"equity": "backtest_timeseries"}
"""Table that holds each of a run's tables."""

ROW_TABLES = (*TABLE_OF.values(), *_COLUMNS)
"""Every table that rows of runs go to."""


@dataclass(frozen=True)
class Slice:
    """What a run has to store after one slice.

    Attributes
    ----------
    number : int
        Counts the slices of the run.
    rows : mapping of str to record array
        Copies of the rows of those of `TABLES` that have any.
    totals : mapping of str to int
        Rows of each of `TABLES` so far, this slice included.
    local_ts, events : int
        How far the run is.
    records : tuple of (str, mapping)
        Rows of ``backtest_runs`` and ``backtest_metrics``; they hardly wait for more.
    """

    number: int
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    local_ts: int = 0
    events: int = 0
    records: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    @property
    def size(self) -> int:
        """Rows of all tables."""
        return sum(map(len, self.rows.values()))


@dataclass(frozen=True)
class Part:
    """Rows of one table; `token` names them for ever, so that storing them twice can be noticed."""

    run_id: str
    label: str
    table: str
    rows: pa.Table

    @property
    def token(self) -> str:
        """Name of the rows, the same whenever and from wherever they are sent."""
        return f"{self.run_id}/{self.label}"


def parts_of(run_id: str, slices: Sequence[Slice], names: Names) -> list[Part]:
    """Join slices; the row that says that they are complete comes after their rows.

    Parameters
    ----------
    slices : sequence of Slice
        In order.
    names : Names
        For the names of instruments and rules.

    Raises
    ------
    RunError
        If a number has no word in a column that always has one.
    """
    tables: list[tuple[str, pa.Table]] = []
    for name in TABLES:
        found = [s for s in slices if name in s.rows]
        if found:
            rows = np.concatenate([s.rows[name] for s in found])
            first = found[0].totals[name] - len(found[0].rows[name])
            tables.append((TABLE_OF[name], table_rows(to_arrow(name, rows, names), run_id, first)))
    marks = [s for s in slices if s.totals]
    if marks:
        tables.append(
            (PROGRESS_TABLE, row_table(PROGRESS_TABLE, _progress_row(run_id, slices[0], marks[-1])))
        )
    for item in slices:
        tables += [(table, row_table(table, row)) for table, row in item.records]
    number = slices[0].number
    return [
        Part(run_id, f"{number:08d}-{i:02d}-{table}", table, rows) for i, (table, rows) in enumerate(tables)
    ]


def stage_of(part: Part) -> int:
    """Stage in which a part is stored: rows, what says that they are complete, what says that the run has ended."""
    if part.table in TABLE_OF.values():
        return 0
    return 2 if part.table == "backtest_runs" else 1


def row_table(table: str, row: Mapping[str, Any]) -> pa.Table:
    """Return one row of ``backtest_runs``, ``backtest_metrics`` or ``backtest_progress`` as a table."""
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    columns = _COLUMNS[table]
    schema = pa.schema([pa.field(c.name, types[c.type], nullable=c.optional) for c in columns])
    return pa.Table.from_arrays([_one_value(c.type, row[c.name]) for c in columns], schema=schema)


def _progress_row(run_id: str, first: Slice, last: Slice) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "batch": first.number,
        "local_ts": last.local_ts,
        "events": last.events,
        **last.totals,
        "updated_at_ns": time.time_ns(),
    }


def _one_value(type_: type, value: Any) -> pa.Array:
    """Return an array of one value, made of buffers: `pyarrow.array` would import pandas, where it is installed."""
    import pyarrow as pa

    valid = pa.py_buffer(b"\0") if value is None else None
    if type_ is str:
        text = (value or "").encode()
        offsets = pa.py_buffer(np.array([0, len(text)], np.int32))
        return pa.StringArray.from_buffers(1, offsets, pa.py_buffer(text), valid)
    data: np.ndarray = np.array([value or 0], type_)
    return pa.Array.from_buffers(pa.from_numpy_dtype(data.dtype), 1, [valid, pa.py_buffer(data)])
