"""Runs as ClickHouse has them: what ``writer=clickhouse`` left there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bt_framework.results.record import RunRecord
from bt_framework.results.run import TABLES
from bt_framework.stores.base import RunQuery, RunReader, latest
from bt_framework.stores.clickhouse.schema import require
from bt_framework.stores.sweeps import JOB_COLUMNS, SWEEP_COLUMNS, SweepRow, jobs_table

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.stores.clickhouse.connection import ClickHouse

ROWS_OF = {name: "timeseries" if name == "equity" else name for name in TABLES}
"""What each table of a run is called after ``backtest_`` and ``whole_``."""

_SWEEP, _JOB = (", ".join(f"`{c.name}`" for c in columns) for columns in (SWEEP_COLUMNS, JOB_COLUMNS))
_NEWEST = "SELECT run_id, run_dir, record FROM backtest_runs FINAL"


class ClickHouseRuns(RunReader):
    """Runs in the tables ``backtest_...`` of a ClickHouse database; rows are seen in whole slices.

    Parameters
    ----------
    db : ClickHouse
        Whose tables must be those of this version.
    """

    def __init__(self, db: ClickHouse) -> None:
        require(db)
        self.db = db

    def find(self, prefix: str, limit: int) -> list[RunRecord]:
        """Runs whose id begins with `prefix`."""
        query = (
            f"{_NEWEST} WHERE startsWith(run_id, {{prefix:String}}) "
            "ORDER BY length(run_id), started_at_ns DESC, run_id LIMIT {limit:UInt64}"
        )
        return self._records(query, {"prefix": prefix, "limit": limit})

    def select(self, query: RunQuery) -> list[RunRecord]:
        """Return the runs that `query` means, chosen here: runs are few, and one rule decides everywhere."""
        return query.of(self._records(_NEWEST, {}))

    def sweeps(self) -> list[SweepRow]:
        """Return the sweeps, the newest first."""
        found = self.db.query(f"SELECT {_SWEEP} FROM sweeps FINAL ORDER BY started_at_ns DESC, sweep_id")
        return [SweepRow.of(row) for row in found.to_pylist()]

    def sweep_jobs(self, sweep_id: str) -> pa.Table:
        """Return the jobs of a sweep."""
        found = self.db.query(
            f"SELECT {_JOB} FROM sweep_jobs FINAL WHERE sweep_id = {{sweep_id:String}} ORDER BY job",
            {"sweep_id": sweep_id},
        )
        return jobs_table(found.to_pylist())

    def tables(self, run_id: str) -> tuple[str, ...]:
        """Names of the run's tables of which there are rows."""
        return tuple(name for name in TABLES if self._counts(name, run_id))

    def rows(self, run_id: str, table: str) -> pa.Table:
        """Return the rows of a run's table, in order."""
        from bt_framework.results.schemas import columns, schema

        names = ", ".join(f"`{column.name}`" for column in columns(table))
        found = self.db.query(
            f"SELECT {names} FROM whole_{ROWS_OF[table]} WHERE run_id = {{run_id:String}} ORDER BY sequence",
            {"run_id": run_id},
        )
        return found.cast(schema(table)) if found.num_rows else schema(table).empty_table()

    def _counts(self, table: str, run_id: str) -> int:
        query = f"SELECT count() AS n FROM whole_{ROWS_OF[table]} WHERE run_id = {{run_id:String}}"
        return int(self.db.query(query, {"run_id": run_id}).column("n")[0].as_py())

    def _records(self, query: str, parameters: dict[str, Any]) -> list[RunRecord]:
        return [
            latest(
                RunRecord.from_json(
                    row["record"], Path(row["run_dir"]), f"row {row['run_id']} of {self.db.address.name}"
                )
            )
            for row in self.db.query(query, parameters).to_pylist()
        ]
