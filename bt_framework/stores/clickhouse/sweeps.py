"""Sweeps in ClickHouse: what ``writer=clickhouse`` leaves there besides the rows of runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bt_framework.errors import BtError
from bt_framework.results.rows import RowColumn
from bt_framework.stores.clickhouse.address import Address
from bt_framework.stores.sweeps import JOB_COLUMNS, SWEEP_COLUMNS, SweepRow, arrow_table, job_rows

if TYPE_CHECKING:
    import pyarrow as pa

_UPDATED = RowColumn("updated_at_ns", int, "when this row was written, wall clock, ns UTC")


class ClickHouseSweeps:
    """Puts sweeps into a ClickHouse database.

    Parameters
    ----------
    address : Address
        Of a database with tables; an embedded one gets them.
    timeout_s : float
        How long to wait for an answer.
    only_warns : bool
        Whether a database that cannot be used is a warning: the sweep's folder has everything.
    """

    def __init__(self, address: Address, *, timeout_s: float, only_warns: bool) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._only_warns = only_warns

    def put_sweep(self, sweep: SweepRow) -> None:
        """Insert a sweep, or replace what is known of it."""
        self._put("sweeps", SWEEP_COLUMNS, [sweep.row()])

    def put_sweep_jobs(self, sweep_id: str, table: pa.Table) -> None:
        """Insert the jobs of a sweep, or replace them."""
        self._put("sweep_jobs", JOB_COLUMNS, job_rows(sweep_id, table))

    def _put(self, table: str, columns: Sequence[RowColumn], rows: Sequence[Mapping[str, Any]]) -> None:
        from bt_framework.stores.clickhouse.connection import ClickHouse
        from bt_framework.stores.clickhouse.schema import require

        now_ns = time.time_ns()
        values = [[row[column.name] for row in rows] for column in columns]
        try:
            with ClickHouse(self._address, timeout_s=self._timeout_s) as db:
                require(db)
                db.insert(table, arrow_table((*columns, _UPDATED), [*values, [now_ns] * len(rows)]))
        except BtError as error:
            if not self._only_warns:
                raise
            print(f"bt: warning: {error} The sweep goes on.", file=sys.stderr, flush=True)
