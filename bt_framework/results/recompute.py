"""The metrics of a run that has ended, computed again from the tables that it left.

They have the same bits as those that the run computed while it went on: `RunMetrics` adds rows strictly in their order,
whoever cuts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from bt_framework.errors import DataError
from bt_framework.records import OrderEvent
from bt_framework.results._aligned import row_groups
from bt_framework.results.folder import RunFolder
from bt_framework.results.hashing import HASHED_TABLES, ResultHash
from bt_framework.results.metrics import RunMetrics
from bt_framework.results.record import RunRecord

TABLES = ("orders", "fills", "trades", "equity")
"""What the metrics of a run are made of."""

Rows = Callable[[str], Iterable[np.ndarray]]
"""Gives the rows of a table in order, in parts."""


def recompute(record: RunRecord, folder: RunFolder) -> dict[str, float]:
    """Return the metrics of a run from the files of its folder, in bounded memory.

    Raises
    ------
    DataError
        If the files are not those that the run left when it ended.
    StorageError
        If a file cannot be read.
    """
    names = record.names()
    digest = ResultHash()

    def rows(table: str) -> Iterable[np.ndarray]:
        for part in row_groups(table, folder.files(table), names):
            if table in HASHED_TABLES:
                digest.update({table: part})
            yield part

    metrics = metrics_of(record, rows)
    if digest.hexdigest() != record.result_hash:
        raise DataError(
            f"run {record.run_id}: the tables in {folder.path} are not those that it left: their result hash is "
            f"{digest.hexdigest()[:12]}..., was {record.result_hash[:12]}... Run it again with: bt rerun "
            f"{record.run_id}"
        )
    return metrics


def metrics_of(record: RunRecord, rows: Rows) -> dict[str, float]:
    """Return the metrics of a run from the rows of `TABLES`.

    Parameters
    ----------
    record : RunRecord
        The run; its counts say how many rows there must be.
    rows : callable
        Given the name of a table it returns record arrays of shape (n_rows,), as `RunMetrics.update` takes them.

    Raises
    ------
    DataError
        If the run has not ended, or rows are missing or too many.
    """
    if not record.counts:
        raise DataError(
            f"run {record.run_id} has not ended: it is {record.status}, and its tables are not whole. "
            "Metrics are computed of runs that have ended."
        )
    metrics = RunMetrics(record.capital, record.equity_interval_ns, record.names().instruments)
    for table in TABLES:
        found = 0
        for part in rows(table):
            metrics.update({table: part})
            found += _count(table, part)
        expected = record.counts.get(table, 0)
        if found != expected:
            raise DataError(
                f"run {record.run_id}: {table} must have {expected:,} rows, has {found:,}. Metrics need whole tables: "
                f"keep them with writer=[parquet], and run it again with: bt rerun {record.run_id}"
            )
    return metrics.result()


def _count(table: str, rows: np.ndarray) -> int:
    """Count as a run does: of orders, those that were sent and not the steps of their lives."""
    return int(np.count_nonzero(rows["event"] == OrderEvent.SUBMITTED)) if table == "orders" else len(rows)
