"""Sends the rows of a run to ClickHouse while it goes on, from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bt_framework.errors import BtError, StorageError
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import metrics_row, run_row
from bt_framework.results.run import TABLES, RunContext, SliceBatch
from bt_framework.stores.clickhouse._parcels import Part, Slice, parts_of
from bt_framework.stores.clickhouse._slice_queue import SliceQueue
from bt_framework.stores.clickhouse.sending import Sender
from bt_framework.stores.clickhouse.spool import RunSpool


@dataclass(frozen=True)
class Limits:
    """When rows are sent, and what may wait.

    Attributes
    ----------
    batch_rows, interval_s
        Rows are sent when there are so many, or so long after the first.
    queue_rows : int
        Most rows in memory.
    queue_wait_s : float
        How long the run waits for room.
    again_after_s : float
        How long a database that failed is left alone.
    """

    batch_rows: int = 200_000
    interval_s: float = 2.0
    queue_rows: int = 1_000_000
    queue_wait_s: float = 5.0
    again_after_s: float = 30.0


class RunWriter:
    """Takes the rows of one run, and stores them or lets them wait in the spool.

    The run pays for a copy of its rows; everything else happens in a thread.

    Parameters
    ----------
    run : RunContext
    sender : Sender
    spool : RunSpool
    limits : Limits
    """

    def __init__(self, run: RunContext, sender: Sender, spool: RunSpool, limits: Limits) -> None:
        self._run = run
        self._sender = sender
        self._spool = spool
        self._limits = limits
        self._totals = dict.fromkeys(TABLES, 0)
        self._slices = 0
        self._full = False
        self._again_at_s = 0.0
        self._error: BaseException | None = None
        self._lost_from: int | None = None
        self._spooling = threading.Lock()
        self.failure: BtError | None = None
        """Why the database could not take all rows; None as long as it does."""
        self._start()

    def put_record(self, record: RunRecord) -> None:
        """Send what is known of the run; its metrics too, once it has ended."""
        rows: list[tuple[str, Mapping[str, Any]]] = [("backtest_runs", run_row(record))]
        if record.finished_at_ns:
            rows.append(("backtest_metrics", metrics_row(record)))
        if not self._thread.is_alive():
            self._start()
        # Before any rows: until a batch is whole, none of the run's rows count.
        totals = {} if record.finished_at_ns else dict(self._totals)
        self._queue.put(Slice(self._next(), {}, totals, record.start_ts, records=tuple(rows)), None)

    def put(self, batch: SliceBatch) -> None:
        """Send the rows of a slice; if there is no room for them in time, they go to the spool.

        Raises
        ------
        BtError
            If rows were lost: they have no words, or the spool cannot be written.
        """
        rows = {name: batch.tables[name].copy() for name in TABLES if len(batch.tables[name])}
        for name, array in rows.items():
            self._totals[name] += len(array)
        item = Slice(self._next(), rows, dict(self._totals), batch.local_ts, batch.events)
        if self._full or not self._queue.put(item, self._limits.queue_wait_s):
            # A database that does not keep up is not waited for at each slice.
            self._full = not self._queue.put(item, 0.0)
            if self._full:
                self.failure = self.failure or StorageError(
                    f"{self._sender.name} did not keep up: {self._limits.queue_rows:,} rows were waiting for it."
                )
                try:
                    self._keep(parts_of(self._run.run_id, [item], self._run))
                except BaseException:
                    self._lost_from = item.number
                    raise
        self.check()

    def check(self) -> None:
        """Raise what went wrong in the thread."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def finish(self) -> None:
        """Wait until all rows are stored or in the spool, and let go of both; `put_record` begins anew.

        Raises
        ------
        BtError
            See `put`.
        """
        self._queue.close()
        self._thread.join()
        self._spool.close()
        self.check()

    def _start(self) -> None:
        self._queue = SliceQueue(self._limits.queue_rows)
        self._thread = threading.Thread(target=self._work, name="bt-clickhouse", daemon=True)
        self._thread.start()

    def _next(self) -> int:
        self._slices += 1
        return self._slices - 1

    def _work(self) -> None:
        while slices := self._queue.take(self._limits.batch_rows, self._limits.interval_s):
            try:
                self._store(slices)
            except BaseException as error:
                self._error, self._lost_from = error, slices[0].number
            finally:
                self._queue.settle(slices)
        self._sender.close()

    def _store(self, slices: Sequence[Slice]) -> None:
        lost = self._lost_from
        if lost is not None:  # rows after a gap would pass for whole
            slices = [replace(s, rows={}, totals={}) if s.number >= lost else s for s in slices]
        parts = parts_of(self._run.run_id, slices, self._run)
        if time.monotonic() >= self._again_at_s:
            try:
                self._sender.send(parts, patient=self.failure is None)
                return
            except BtError as error:
                self.failure = self.failure or error
                self._again_at_s = time.monotonic() + self._limits.again_after_s
        self._keep(parts)

    def _keep(self, parts: Sequence[Part]) -> None:
        with self._spooling:
            for part in parts:
                self._spool.put(part)
