"""Sends the rows of a run to ClickHouse while it goes on, from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from bt_framework.errors import BtError, StorageError
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import metrics_row, run_row
from bt_framework.results.run import TABLES, RunContext, SliceBatch
from bt_framework.stores.clickhouse._parcels import Part, Slice, parts_of
from bt_framework.stores.clickhouse._slice_queue import SliceQueue
from bt_framework.stores.clickhouse.address import Address
from bt_framework.stores.clickhouse.spool import RunSpool


@dataclass(frozen=True)
class Retries:
    """How often and when to try again what may work the next time; each wait is twice as long as the last.

    Attributes
    ----------
    attempts : int
        The first one included.
    first_wait_s, longest_wait_s : float
    timeout_s : float
        For an answer of the server.
    """

    attempts: int = 4
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    timeout_s: float = 10.0


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


class Sender:
    """Stores parts in a database, with a connection that is made when it is needed.

    Parameters
    ----------
    address : Address
    retries : Retries
    """

    def __init__(self, address: Address, retries: Retries) -> None:
        self._address = address
        self._retries = retries
        self._db: Any = None

    @property
    def name(self) -> str:
        """Where it sends to, for people."""
        return f"{'chDB in' if self._address.embedded else 'ClickHouse at'} {self._address.name}"

    def send(self, parts: Sequence[Part], *, patient: bool = True) -> None:
        """Store parts in order; unless `patient`, try once.

        Raises
        ------
        StorageError
            If they could not all be stored. Sending them again does no harm.
        """
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

        from bt_framework.stores.clickhouse.errors import UnreachableError

        for attempt in Retrying(
            stop=stop_after_attempt(self._retries.attempts if patient else 1),
            wait=wait_exponential(multiplier=self._retries.first_wait_s, max=self._retries.longest_wait_s),
            retry=retry_if_exception_type(UnreachableError),
            reraise=True,
        ):
            with attempt:
                self._send(parts)

    def close(self) -> None:
        """Close the connection."""
        if self._db is not None:
            db, self._db = self._db, None
            with suppress(StorageError):
                db.close()

    def _send(self, parts: Sequence[Part]) -> None:
        from bt_framework.stores.clickhouse.connection import ClickHouse
        from bt_framework.stores.clickhouse.schema import require

        try:
            if self._db is None:
                self._db = ClickHouse(self._address, timeout_s=self._retries.timeout_s)
                require(self._db)
            for part in parts:
                self._db.insert(part.table, part.rows, token=part.token)
        except BtError:
            self.close()
            raise


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
        self._queue = SliceQueue(limits.queue_rows)
        self._totals = dict.fromkeys(TABLES, 0)
        self._slices = 0
        self._full = False
        self._again_at_s = 0.0
        self._error: BaseException | None = None
        self._lost_from: int | None = None
        self._spooling = threading.Lock()
        self.failure: BtError | None = None
        """Why the database could not take all rows; None as long as it does."""
        self._thread = threading.Thread(target=self._work, name="bt-clickhouse", daemon=True)
        self._thread.start()

    def put_record(self, record: RunRecord) -> None:
        """Send what is known of the run; its metrics too, once it has ended."""
        rows: list[tuple[str, Mapping[str, Any]]] = [("backtest_runs", run_row(record))]
        if record.finished_at_ns:
            rows.append(("backtest_metrics", metrics_row(record)))
        self._queue.put(Slice(self._next(), records=tuple(rows)), None)

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
        """Wait until all rows are stored or in the spool.

        Raises
        ------
        BtError
            See `put`.
        """
        self._queue.close()
        self._thread.join()
        self._spool.close()
        self.check()

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
