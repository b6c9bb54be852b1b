"""The index of runs in one SQLite file, next to the run folders."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError, StorageError
from bt_framework.results.record import RunRecord
from bt_framework.stores.base import RunQuery, RunStore, latest
from bt_framework.units import NS_PER_S

SCHEMA_VERSION = 1
_OBJECTS = ("table_runs", "index_runs_by_start")
_METRICS = (
    "pnl",
    "gross_pnl",
    "fees",
    "return_frac",
    "sharpe",
    "max_drawdown",
    "max_drawdown_frac",
    "trades",
    "round_trips",
    "fill_ratio",
    "maker_share",
    "turnover_notional",
    "turnover",
)
_NO_LIMIT = 2**62


@dataclass
class Sqlite(ComponentConfig):
    """The index of runs in one SQLite file; safe for many processes on one machine."""

    name: str = param("sqlite", "registry name")
    path: str = param("${runs_dir}/index.sqlite", "the file; on a local disk, network disks do not lock well")
    busy_timeout_ns: Duration = param("30s", "how long to wait for other processes", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if int(self.busy_timeout_ns) < 0:
            raise ConfigError(f"busy_timeout_ns must be >= 0, was {self.busy_timeout_ns}.")


def build(config: Sqlite) -> SqliteStore:
    """Return the store."""
    return SqliteStore(Path(config.path), int(config.busy_timeout_ns))


class SqliteStore(RunStore):
    """Runs in a SQLite file in WAL mode; it is created by the first run."""

    def __init__(self, path: Path, busy_timeout_ns: int = 30 * NS_PER_S) -> None:
        self.path = path.expanduser().absolute()
        self._timeout_s = busy_timeout_ns / NS_PER_S

    def put(self, record: RunRecord) -> None:
        """Insert a run, or replace what is known of it."""
        with self._connection() as connection:
            connection.execute(statement("put_run"), _row(record))

    def find(self, prefix: str, limit: int) -> list[RunRecord]:
        """Runs whose id begins with `prefix`."""
        return self._select("runs_by_prefix", {"prefix": prefix, "limit": limit})

    def select(self, query: RunQuery) -> list[RunRecord]:
        """Return the runs that `query` means."""
        values = {"strategy": None, "status": None, "limit": _NO_LIMIT}
        return query.of(self._select("list_runs", values))

    def remove(self, run_id: str) -> None:
        """Forget a run; its folder stays."""
        if self.path.exists():
            with self._connection() as connection:
                connection.execute(statement("remove_run"), {"run_id": run_id})

    def _select(self, query: str, values: Mapping[str, Any]) -> list[RunRecord]:
        if not self.path.exists():
            return []
        with self._connection() as connection:
            rows = connection.execute(statement(query), values).fetchall()
        where = f"row {{}} of {self.path}"
        return [latest(RunRecord.from_json(r[2], Path(r[1]), where.format(r[0]))) for r in rows]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction: no handle outlives it, so threads and forks share nothing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=self._timeout_s)) as connection:
                self._prepare(connection)
                with connection:
                    yield connection
        except OSError as error:
            raise StorageError(f"the index {self.path} cannot be opened: {error.strerror}.") from error
        except sqlite3.Error as error:
            raise StorageError(_explain(self.path, error)) from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Create what is missing; processes that come at once wait for each other."""
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"the index {self.path} must have schema version {SCHEMA_VERSION}, was {version}: "
                f"a newer version of this program made it. Upgrade, or choose another file: store.path=FILE."
            )
        # Waiting for the disk would cost each run 40 ms. A killed process cannot damage the file, only a power cut
        # can, and then it is rebuilt from the run folders.
        connection.execute("PRAGMA synchronous = OFF")
        if version == SCHEMA_VERSION:
            return
        self._enter_wal_mode(connection)
        connection.execute("BEGIN IMMEDIATE")
        for name in _OBJECTS:
            connection.execute(statement(name))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")
        connection.commit()

    def _enter_wal_mode(self, connection: sqlite3.Connection) -> None:
        """SQLite does not wait for others here, whatever the timeout."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


@lru_cache(maxsize=16)
def statement(name: str) -> str:
    """SQL of the file ``relational/{name}.sql``."""
    return (files("bt_sql") / "relational" / f"{name}.sql").read_text(encoding="utf-8")


def _row(record: RunRecord) -> dict[str, Any]:
    """Columns of the table ``runs``."""
    import orjson

    row: dict[str, Any] = {
        "run_id": record.run_id,
        "strategy": record.strategy,
        "symbols": orjson.dumps(record.symbols).decode(),
        "status": str(record.status),
        "error": record.error,
        "started_at_ns": record.started_at_ns,
        "finished_at_ns": record.finished_at_ns,
        "config_hash": record.identity.config_hash,
        "data_hash": record.identity.data_hash,
        "code_hash": record.identity.code_hash,
        "result_hash": record.result_hash,
        "seed": record.identity.seed,
        "run_dir": str(record.run_dir),
        "events": record.events,
        "capital": record.capital,
        "kernel_s": _number(record.kernel_s),
        "wall_s": _number(record.wall_s),
        "record": record.to_json().decode(),
    }
    for name in ("signals", "orders", "fills", "refusals"):
        row[f"count_{name}"] = record.counts.get(name)
    return row | {name: _number(record.metrics.get(name)) for name in _METRICS}


def _number(value: float | None) -> float | None:
    """`value` if it is finite, else null."""
    return value if value is not None and math.isfinite(value) else None


def _explain(path: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text:
        problem, fix = "is locked by another process", "Try again, or raise store.busy_timeout_ns."
    elif "readonly" in text or "unable to open" in text:
        problem, fix = "cannot be opened for writing", "Check the permissions, or set store.path=FILE."
    elif "full" in text or "I/O error" in text:
        problem, fix = "cannot be written", "Free space there, or set store.path=FILE."
    else:
        problem, fix = "is damaged", "Move it away and rebuild it with: bt runs reindex"
    return f"the index {path} {problem} ({text}). {fix}"
