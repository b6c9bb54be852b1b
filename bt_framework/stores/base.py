"""The contract of a run store: the index of runs and, if asked, the rows of their tables."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.errors import ConfigError, DataError, StorageError, UnknownRunError, UnknownSweepError
from bt_framework.hookspecs import hookimpl
from bt_framework.registry import unknown_name
from bt_framework.results.folder import RECORD_FILE, RunFolder
from bt_framework.results.record import RunRecord
from bt_framework.results.run import Identity, RunContext, RunSummary, SliceBatch, Status
from bt_framework.stores.filters import FIELDS, SET_FIELDS, And, Compare, Condition, matches, order_key
from bt_framework.stores.sweeps import SweepRow, jobs_table

if TYPE_CHECKING:
    import pyarrow as pa

ORDERS = tuple(field for field in FIELDS if field not in SET_FIELDS)
"""What runs can be sorted by."""


@dataclass(frozen=True)
class RunQuery:
    """Which runs, and in which order.

    Attributes
    ----------
    where : Condition, optional
        See `bt_framework.stores.filters`; None for all runs.
    order_by : str
        One of `ORDERS`. Runs without a value come last, in either direction; of equal ones the newest comes first.
    limit : int, optional
        How many at most, at least 0.

    Raises
    ------
    ConfigError
        If there is no such order, or `limit` is negative.
    """

    where: Condition | None = None
    order_by: str = "started_at_ns"
    descending: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        """Check what reaches a database."""
        if self.order_by not in ORDERS:
            raise ConfigError(unknown_name("the column to sort by", self.order_by, ORDERS))
        if self.limit is not None and self.limit < 0:
            raise ConfigError(f"limit must be >= 0, was {self.limit}.")

    def of(self, records: Iterable[RunRecord]) -> list[RunRecord]:
        """Return those of `records` that are meant, in order: what every store answers."""
        chosen = [r for r in records if self.where is None or matches(self.where, r)]
        return sorted(chosen, key=order_key(self.order_by, descending=self.descending))[: self.limit]


class RunReader(ABC):
    """What can be asked of runs, wherever they are kept.

    Methods raise `StorageError`, which names the place, if it cannot be read.
    """

    @abstractmethod
    def find(self, prefix: str, limit: int) -> list[RunRecord]:
        """Runs whose id begins with `prefix`, at most `limit`; one whose id is `prefix` comes first."""

    @abstractmethod
    def select(self, query: RunQuery) -> list[RunRecord]:
        """Return the runs that `query` means, as of now: see `latest`."""

    @abstractmethod
    def sweeps(self) -> Sequence[SweepRow]:
        """Return the sweeps, the newest first."""

    def sweep_jobs(self, sweep_id: str) -> pa.Table:
        """Return the jobs of a sweep: the table that was put, with ``run_id``; without rows if there is none."""
        return jobs_table([])

    def sweep(self, prefix: str) -> SweepRow:
        """Return the sweep with the id `prefix`, or the only one whose id begins with it.

        Raises
        ------
        UnknownSweepError
            If there is none, or several.
        """
        sweeps = {row.sweep_id: row for row in self.sweeps()}
        return sweeps[named_sweep(prefix, sweeps)]

    def tables(self, run_id: str) -> tuple[str, ...]:
        """Names of the run's tables of which there are rows."""
        return ()

    def rows(self, run_id: str, table: str) -> pa.Table:
        """Return the rows of a run's table, in order: the columns of the run folder's, NaN where there is no number."""
        from bt_framework.results.schemas import schema

        return schema(table).empty_table()

    def list(
        self, limit: int | None = None, strategy: str | None = None, status: Status | None = None
    ) -> list[RunRecord]:
        """Return the newest runs first, at most `limit`, of one strategy or status if asked."""
        wanted = {"strategy": strategy, "status": None if status is None else str(status)}
        parts = tuple(Compare(field, "==", value) for field, value in wanted.items() if value is not None)
        return self.select(RunQuery(And(parts) if parts else None, limit=limit))

    def get(self, prefix: str) -> RunRecord:
        """Return the run with the id `prefix`, or the only one whose id begins with it.

        Raises
        ------
        UnknownRunError
            If there is none, or several.
        """
        found = self.find(prefix, limit=6) if prefix else []
        if not found:
            raise UnknownRunError(f"no run has the id {prefix!r}. List them with: bt runs")
        if len(found) > 1 and found[0].run_id != prefix:
            ids = ", ".join(record.run_id for record in found[:5]) + (", ..." if len(found) > 5 else "")
            raise UnknownRunError(f"the id {prefix!r} must name one run, but begins several: {ids}.")
        return found[0]


class RunStore(RunReader):
    """A run store plugin: what the ``store`` group builds.

    A store knows the runs. Their tables stay in their folders; a store may keep some of them as rows besides, see
    `row_tables`. It is told of a run when it starts, after each slice and when it ends. Many processes use one store at
    once, and a process may be killed at any moment.

    Methods raise `StorageError`, which names the store, if it cannot be read or written.
    """

    row_tables: Sequence[str] = ()
    """The run's tables, of `bt_framework.results.run.TABLES`, that it keeps as rows."""

    @abstractmethod
    def put(self, record: RunRecord) -> None:
        """Insert a run, or replace what is known of it."""

    @abstractmethod
    def remove(self, run_id: str) -> None:
        """Forget a run and its rows, if there is one with this id; its folder stays."""

    @abstractmethod
    def put_sweep(self, sweep: SweepRow) -> None:
        """Insert a sweep, or replace what is known of it."""

    @abstractmethod
    def put_sweep_jobs(self, sweep_id: str, table: pa.Table) -> None:
        """Insert the jobs of a sweep that is known, or replace them; they stay when their runs are removed.

        Parameters
        ----------
        sweep_id : str
            Of the sweep.
        table : pyarrow.Table
            See `bt_framework.stores.sweeps.job_rows`.
        """

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep open, for a block in which many runs are made, what takes a while to open and to close: nothing."""
        yield

    def identical(self, identity: Identity) -> RunRecord | None:
        """Return the newest completed run of an identity, or None."""
        wanted = dataclasses.asdict(identity) | {"status": str(Status.COMPLETED)}
        where = And(tuple(Compare(name, "==", value) for name, value in wanted.items()))
        found = self.select(RunQuery(where, limit=1))
        return found[0] if found else None

    def put_rows(self, run_id: str, tables: Mapping[str, pa.Table]) -> None:
        """Insert rows of a run that is known, all or none; those whose position is there are replaced.

        Parameters
        ----------
        run_id : str
            Of the run.
        tables : mapping of str to pyarrow.Table
            Parts of some of `row_tables`, as `bt_framework.results.rows.table_rows` makes them.
        """
        raise StorageError(f"{type(self).__name__} keeps no rows of runs, was given those of {run_id}.")

    def edit(self, run_id: str, *, tags: Sequence[str] | None = None, note: str | None = None) -> RunRecord:
        """Replace the tags or the note of the run with this id, and return it as it is now.

        Its folder stays as it is: `bt_framework.results.folder` edits that.

        Raises
        ------
        UnknownRunError
            If there is none.
        """
        found = [r for r in self.find(run_id, limit=1) if r.run_id == run_id]
        if not found:
            raise UnknownRunError(f"no run has the id {run_id!r}. List them with: bt runs")
        changes: dict[str, Any] = {} if tags is None else {"tags": tuple(tags)}
        changes |= {} if note is None else {"note": note}
        record = dataclasses.replace(found[0], **changes)
        self.put(record)
        return record

    @hookimpl
    def before_run(self, run: RunContext) -> None:
        """Insert the run."""
        self._positions = dict.fromkeys(self.row_tables, 0)
        self.put(RunRecord.started(run))

    @hookimpl
    def on_slice(self, run: RunContext, batch: SliceBatch) -> None:
        """Keep the rows of a slice, all or none."""
        if not any(len(batch.tables[name]) for name in self.row_tables):
            return
        from bt_framework.results.rows import table_rows
        from bt_framework.results.schemas import to_arrow

        tables = {}
        for name, position in self._positions.items():
            records = batch.tables[name]
            if len(records):
                tables[name] = table_rows(to_arrow(name, records, run), run.run_id, position)
                self._positions[name] = position + len(records)
        self.put_rows(run.run_id, tables)

    @hookimpl
    def after_run(self, run: RunContext, summary: RunSummary) -> None:
        """Keep how the run ended."""
        self.put(RunFolder(run.run_dir).record())

    @hookimpl
    def on_run_error(self, run: RunContext, summary: RunSummary, error: BaseException) -> None:
        """Keep how the run ended."""
        self.put(RunFolder(run.run_dir).record())


def named_sweep(prefix: str, ids: Iterable[str]) -> str:
    """Return the one of `ids` that is, or begins with, `prefix`.

    Raises
    ------
    UnknownSweepError
        If there is none, or several.
    """
    found = sorted(i for i in ids if prefix and i.startswith(prefix))
    if prefix in found:
        return prefix
    if not found:
        raise UnknownSweepError(f"no sweep has the id {prefix!r}. List them with: bt sweep list")
    if len(found) > 1:
        raise UnknownSweepError(f"the id {prefix!r} must name one sweep, but begins {', '.join(found[:5])}.")
    return found[0]


def latest(record: RunRecord) -> RunRecord:
    """What is true now of a run that a store knows as `record`.

    A run still marked running whose process is gone is lost, unless its folder says how it ended: a process
    can be killed between its last two writes.
    """
    known = record.as_of_now()
    if known.status != Status.LOST:
        return known
    try:
        return RunFolder(record.run_dir).record()
    except StorageError:
        return known


def reindex(store: RunStore, runs_dir: Path) -> tuple[list[RunRecord], list[str]]:
    """Tell `store` of every run folder in `runs_dir`, and give it the rows that it keeps.

    Returns
    -------
    records : list of RunRecord
        What was put.
    problems : list of str
        One line per folder whose run.json or tables cannot be read.

    Raises
    ------
    StorageError
        If `runs_dir` or the store cannot be used.
    """
    try:
        folders = sorted(path.parent for path in runs_dir.glob(f"*/{RECORD_FILE}"))
    except OSError as error:
        raise StorageError(f"{runs_dir} cannot be read: {error.strerror}.") from error
    records, problems = [], []
    for path in folders:
        folder = RunFolder(path)
        try:
            record = folder.record()
        except StorageError as error:
            problems.append(str(error))
            continue
        store.put(record)
        records.append(record)
        try:
            copy_rows(store, record.run_id, folder)
        except DataError as error:
            problems.append(str(error))
    return records, problems


def copy_rows(store: RunStore, run_id: str, folder: RunFolder) -> dict[str, int]:
    """Give `store` the rows that it keeps of a run out of the run's folder, and return how many of each table.

    Raises
    ------
    DataError
        If a file of the folder cannot be read.
    StorageError
        If the store cannot be written.
    """
    from bt_framework.results.rows import table_rows

    copied = dict.fromkeys(store.row_tables, 0)
    for name in store.row_tables:
        for part in folder.parts(name):
            store.put_rows(run_id, {name: table_rows(part, run_id, copied[name])})
            copied[name] += part.num_rows
    return copied
