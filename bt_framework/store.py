"""Stored runs for notebooks and reports, the same whichever database holds them.

>>> from bt_framework import store
>>> with store.open("runs") as desk:  # doctest: +SKIP
...     best = desk.runs(where="sharpe > 1 and strategy == ou_pairs", sort="-sharpe", limit=10).to_pandas()
...     fills = desk.get(best.run_id[0]).fills.to_pandas()
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bt_framework.errors import ConfigError, StorageError
from bt_framework.registry import unknown_name
from bt_framework.results.record import RunRecord
from bt_framework.results.result import RunResult
from bt_framework.results.rows import METRIC_COLUMNS, RUN_COLUMNS, metrics_row, run_row
from bt_framework.results.run import TABLES
from bt_framework.stores.base import RunQuery, RunReader
from bt_framework.stores.filters import Compare, parse_filter
from bt_framework.stores.sweeps import SWEEP_COLUMNS, SweepRow, arrow_field, arrow_table

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.stores.clickhouse.address import Address
    from bt_framework.stores.relational.database import Database

INDEX_FILE = "index.sqlite"
"""Where ``store=sqlite`` keeps the runs of a folder."""

_IDS_AT_ONCE = 100
_LEFT_OUT = ("record", "updated_at_ns")
_STATEMENT = re.compile(
    r"syntax error|incomplete input|does not exist|no such (column|table|function)|readonly database|"
    r"read-only transaction"
)
"""What databases say of a statement that is wrong, or that would write."""
_SHOWN = tuple(c for c in RUN_COLUMNS if c.name not in _LEFT_OUT)


def open(url: str | Path) -> Store:
    """Open a place that holds runs, to read.

    Parameters
    ----------
    url : str or Path
        A folder of runs, a SQLite file, ``sqlite:///FILE``, ``postgresql://host/database``,
        ``http(s)://host:port/database`` or ``chdb:///folder`` of ClickHouse; or ``postgres`` and ``clickhouse``, for
        the databases that runs write to unless their configuration says otherwise. User and password are found as
        they are for a run; they are no part of the URL.

    Raises
    ------
    ConfigError
        If it is no such URL.
    StorageError
        If there is nothing, or it cannot be read.
    """
    text = str(url)
    scheme = text.partition(":")[0] if "://" in text else ""
    if text == "clickhouse" or scheme in ("http", "https", "chdb"):
        from bt_framework.config.settings import default_store_dir
        from bt_framework.stores.clickhouse.address import address_of

        return _InClickHouse(address_of(text if scheme else "", default_store_dir()))
    if text == "postgres" or scheme.partition("+")[0] in ("postgresql", "postgres"):
        from bt_framework.stores.relational.postgres import PostgresStore

        return _Relational(PostgresStore(text if scheme else ""))
    if scheme not in ("", "sqlite"):
        forms = "a folder of runs, sqlite:///FILE, postgresql://..., http(s)://... or chdb:///..."
        raise ConfigError(f"a store must be {forms}, was of the kind {scheme}://.")
    from bt_framework.stores.relational.sqlite import SqliteStore

    return _Relational(SqliteStore(_index(Path(text.removeprefix("sqlite:///")))))


@dataclass(frozen=True)
class StoredRun(RunResult):
    """A run and its tables: read from the store where it keeps them as rows, else from the run's folder."""

    reader: RunReader = field(kw_only=True, repr=False, compare=False)

    def tables(self) -> tuple[str, ...]:
        """Names of the tables that there are rows of, here or in the folder."""
        return tuple(name for name in TABLES if name in self._kept or self._folder().files(name))

    def table(self, name: str) -> pa.Table:
        """Return one of the run's tables, with the columns of `bt_framework.results.schemas`.

        Raises
        ------
        ConfigError
            If there is no such table.
        StorageError
            If it is neither in the store nor in the run's folder.
        """
        if name not in TABLES:
            raise ConfigError(unknown_name("the table", name, TABLES))
        return self._table(name)

    @cached_property
    def _kept(self) -> tuple[str, ...]:
        """Tables of which the store has rows; asked once, since it costs a query for each."""
        return self.reader.tables(self.record.run_id)

    def _table(self, name: str) -> pa.Table:
        from bt_framework.results.schemas import schema

        if name in self._kept:
            return self.reader.rows(self.record.run_id, name)
        if self._folder().files(name):
            return self._folder().table(name)
        if self.record.counts.get(name, -1) == 0:
            return schema(name).empty_table()
        raise StorageError(
            f"{name} of {self.record.run_id} must be rows of the store or files of {self.record.run_dir}, was neither. "
            "Open it where the folder is, or let runs keep their rows: store.tables=[...] or writer=[clickhouse]."
        )


@dataclass(frozen=True)
class StoredSweep:
    """A sweep and what it has found; the table stays when runs are removed."""

    row: SweepRow
    reader: RunReader = field(repr=False, compare=False)

    @cached_property
    def table(self) -> pa.Table:
        """A row per job: what varied, `bt_framework.stores.sweeps.RESULT_COLUMNS`, and the run."""
        return self.reader.sweep_jobs(self.row.sweep_id)

    @cached_property
    def runs(self) -> pa.Table:
        """The rows of `Store.runs` for the sweep's runs that are still stored, in the order of the jobs."""
        ids = [run_id for run_id in dict.fromkeys(self.table["run_id"].to_pylist()) if run_id is not None]
        own = self.reader.select(RunQuery(Compare("sweep_id", "==", self.row.sweep_id)))
        found = {record.run_id: record for record in own}
        others = [run_id for run_id in ids if run_id not in found]  # that the sweep did not run itself
        for at in range(0, len(others), _IDS_AT_ONCE):
            some = Compare("run_id", "in", tuple(others[at : at + _IDS_AT_ONCE]))
            found |= {record.run_id: record for record in self.reader.select(RunQuery(some))}
        return _as_table(found[run_id] for run_id in ids if run_id in found)


class Store(ABC):
    """Runs in one place; a context manager. Nothing is changed through it.

    Attributes
    ----------
    name : str
        Of the place, for people.
    """

    name: str
    _reader: RunReader

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - only ClickHouse holds a connection
        """Let go of the database."""

    def runs(self, where: str = "", sort: str = "-started_at_ns", limit: int | None = None) -> pa.Table:
        """Return a row per run: the columns of ``backtest_runs`` (without the record) and of ``backtest_metrics``.

        Parameters
        ----------
        where : str
            As in ``bt runs FILTER``, see `bt_framework.stores.filters`; empty for all runs.
        sort : str
            Column, with ``-`` before it for the largest first. Runs without a value come last.
        limit : int, optional
            How many at most.

        Raises
        ------
        ConfigError
            If the filter or the column is none.
        """
        query = RunQuery(
            where=parse_filter(where) if where else None,
            order_by=sort.removeprefix("-"),
            descending=sort.startswith("-"),
            limit=limit,
        )
        return _as_table(self._reader.select(query))

    def compare(self, run_ids: Sequence[str]) -> pa.Table:
        """Return the rows of `runs` for these runs, or beginnings of their ids, in this order."""
        return _as_table([self._reader.get(run_id) for run_id in run_ids])

    def get(self, run_id: str) -> StoredRun:
        """Return the run with this id, or the only one whose id begins with it.

        Raises
        ------
        UnknownRunError
            If there is none, or several.
        """
        return StoredRun(self._reader.get(run_id), reader=self._reader)

    def sweeps(self) -> pa.Table:
        """Return a row per sweep, the newest first: `bt_framework.stores.sweeps.SWEEP_COLUMNS`."""
        rows = [sweep.row() for sweep in self._reader.sweeps()]
        return arrow_table(SWEEP_COLUMNS, [[row[column.name] for row in rows] for column in SWEEP_COLUMNS])

    def sweep(self, sweep_id: str) -> StoredSweep:
        """Return the sweep with this id, or the only one whose id begins with it.

        Raises
        ------
        UnknownSweepError
            If there is none, or several.
        """
        return StoredSweep(self._reader.sweep(sweep_id), self._reader)

    @abstractmethod
    def sql(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Return the rows of one SELECT in the database's own language; what would change something is refused.

        Parameters
        ----------
        query : str
            Values are written ``:name``, for ClickHouse ``{name:Type}``.
        parameters : mapping, optional
            The values, which are bound.
        """


class _Relational(Store):
    """Runs in SQLite or PostgreSQL."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._database: Database = reader.database
        self.name = self._database.name

    def sql(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        import pyarrow as pa
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        with self._database.reading() as connection:
            if connection is None:
                raise StorageError(f"{self.name} has no tables yet. Run something into it first.")
            if self._database.is_sqlite:
                connection.exec_driver_sql("PRAGMA query_only = ON")
            else:
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                # Statements that are prepared are single ones: none can end the transaction and go on.
                connection.connection.driver_connection.prepare_threshold = 0  # type: ignore[union-attr]
            try:
                found = connection.execute(text(query), dict(parameters or {}))
                names, rows = list(found.keys()), found.all()
            except DBAPIError as error:
                said = str(error.orig).strip().partition("\n")[0]
                if not _STATEMENT.search(said):
                    raise
                raise StorageError(
                    f"{self.name} cannot read the statement ({said}). It is only read from."
                ) from None
        return pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})


class _InClickHouse(Store):
    """Runs in ClickHouse."""

    def __init__(self, address: Address) -> None:
        from bt_framework.stores.clickhouse.connection import ClickHouse
        from bt_framework.stores.clickhouse.report import is_chdb
        from bt_framework.stores.clickhouse.runs import ClickHouseRuns

        if address.folder is not None and not is_chdb(address.folder):
            raise StorageError(
                f"there is no chDB in {address.folder}. Name a folder that has one; writer=clickhouse makes one."
            )
        self.name = address.name
        self._db = ClickHouse(address)
        try:
            self._reader = ClickHouseRuns(self._db)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def sql(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        return self._db.query(query, parameters, read_only=True)


def _index(path: Path) -> Path:
    """The SQLite file that `path`, a file or a folder of runs, means."""
    try:
        file = path / INDEX_FILE if path.is_dir() else path
        is_there = file.is_file()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from None
    if not is_there:
        raise StorageError(
            f"there is no {file}. Name a folder of runs or its index; a folder without one gets it by: "
            "bt runs reindex runs_dir=FOLDER"
        )
    return file


def _as_table(records: Iterable[RunRecord]) -> pa.Table:
    import pyarrow as pa

    rows = [{**run_row(r), "status": str(r.status), **metrics_row(r)} for r in records]
    columns = (*_SHOWN, *METRIC_COLUMNS)
    return pa.Table.from_pylist(rows, schema=pa.schema([arrow_field(c) for c in columns]))
