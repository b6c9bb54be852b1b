"""The life-cycle hooks of the writer."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.config.settings import default_store_dir
from bt_framework.errors import BtError, StorageError
from bt_framework.hookspecs import hookimpl
from bt_framework.results.folder import RunFolder
from bt_framework.results.record import RunRecord
from bt_framework.results.run import RunContext, RunSummary, SliceBatch
from bt_framework.stores.clickhouse.address import Address, address_of
from bt_framework.stores.clickhouse.run_writer import Limits, RunWriter
from bt_framework.stores.clickhouse.sending import Retries, Sender
from bt_framework.stores.clickhouse.spool import RunSpool
from bt_framework.stores.clickhouse.sweeps import ClickHouseSweeps
from bt_framework.units import NS_PER_S

if TYPE_CHECKING:
    from bt_plugins.writers.clickhouse import Clickhouse


class ClickhouseWriter:
    """Sends the rows of one run."""

    def __init__(self, config: Clickhouse) -> None:
        self._config = config
        self._writer: RunWriter | None = None
        self._hint = ""
        self._told = False

    def sweep_keeper(self, store_dir: Path) -> ClickHouseSweeps:
        """Return what puts sweeps into the same database."""
        return ClickHouseSweeps(
            address_of(self._config.url, store_dir),
            timeout_s=int(self._config.timeout_ns) / NS_PER_S,
            only_warns=self._config.on_error != "fail",
        )

    @hookimpl
    def before_run(self, run: RunContext) -> None:
        """Say that the run has started."""
        store_dir = str(run.config["store_dir"])
        address = address_of(self._config.url, store_dir)
        spool = RunSpool(store_dir, address, run.run_id)
        sender = Sender(address, _retries(self._config))
        self._hint = _hint(address, store_dir, spool)
        self._writer = RunWriter(run, sender, spool, _limits(self._config))
        self._writer.put_record(RunRecord.started(run))

    @hookimpl
    def on_slice(self, run: RunContext, batch: SliceBatch) -> None:
        """Send the slice's rows."""
        assert self._writer is not None
        self._writer.put(batch)
        self._tell()

    @hookimpl
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Say how the run ended, and wait until everything is stored or in the spool."""
        assert self._writer is not None
        self._writer.put_record(RunFolder(run.run_dir).stored().finished(summary))
        self._writer.finish()
        self._tell()

    @hookimpl
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Say how the run ended; what goes wrong here does not hide why it failed."""
        if self._writer is not None:
            with suppress(BtError):
                self._writer.put_record(RunFolder(run.run_dir).record())
                self._writer.finish()

    def _tell(self) -> None:
        """Warn once that rows are in the spool, or fail if that is what the user wants."""
        failure = self._writer.failure if self._writer is not None else None
        if failure is None:
            return
        text = f"{failure} {self._hint}"
        if self._config.on_error == "fail":
            raise StorageError(f"{text} (writer.clickhouse.on_error=fail)")
        if not self._told:
            self._told = True
            print(f"bt: warning: {text}", file=sys.stderr, flush=True)


def _hint(address: Address, store_dir: str, spool: RunSpool) -> str:
    """Where the rows are, and how they get to the database."""
    place = "" if store_dir == default_store_dir() else f" store_dir={store_dir}"
    return f"Rows of the run wait in {spool.folder}; deliver them with: bt db flush{address.argument}{place}"


def _retries(config: Clickhouse) -> Retries:
    return Retries(
        attempts=1 + config.max_retries,
        first_wait_s=int(config.backoff_ns) / NS_PER_S,
        longest_wait_s=int(config.max_backoff_ns) / NS_PER_S,
        timeout_s=int(config.timeout_ns) / NS_PER_S,
    )


def _limits(config: Clickhouse) -> Limits:
    return Limits(
        batch_rows=config.batch_rows,
        interval_s=int(config.flush_interval_ns) / NS_PER_S,
        queue_rows=config.queue_rows,
        queue_wait_s=int(config.queue_wait_ns) / NS_PER_S,
        again_after_s=int(config.retry_after_ns) / NS_PER_S,
    )
