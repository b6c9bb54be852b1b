"""Both relational stores keep the contract of run stores, and a store that does not is told so."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bt_framework.errors import StorageError
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import table_rows
from bt_framework.results.run import TABLES
from bt_framework.results.schemas import to_arrow
from bt_framework.stores.relational.postgres import PostgresStore
from bt_framework.stores.relational.sqlite import SqliteStore
from bt_framework.testing.store_contracts import check_run_store, sample_run, sample_tables


@pytest.mark.parametrize("row_tables", [(), TABLES], ids=["no_rows", "all_rows"])
def test_sqlite_keeps_the_contract(tmp_path, row_tables):
    check_run_store(SqliteStore(tmp_path / "index.sqlite", row_tables=row_tables), tmp_path / "runs")


def test_postgres_keeps_the_contract(tmp_path, postgres_url, monkeypatch):
    monkeypatch.setenv("BT_POSTGRES_URL", postgres_url)
    check_run_store(PostgresStore(), tmp_path / "runs")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_slice_of_which_one_table_is_refused_leaves_nothing(tmp_path, kind, request, monkeypatch):
    if kind == "postgres":
        monkeypatch.setenv("BT_POSTGRES_URL", request.getfixturevalue("postgres_url"))
    store = PostgresStore() if kind == "postgres" else SqliteStore(tmp_path / "x", row_tables=TABLES)
    run = sample_run(tmp_path)
    store.put(RunRecord.started(run))
    parts = {n: table_rows(to_arrow(n, r, run), run.run_id, 0) for n, r in sample_tables(5).items()}
    wrong = pa.array([0, 1, 2, 3, -1], pa.int64())
    parts["fills"] = parts["fills"].set_column(1, parts["fills"].schema.field(1), wrong)
    with pytest.raises(StorageError, match="ck_backtest_fills_sequence"):
        store.put_rows(run.run_id, parts)
    assert store.tables(run.run_id) == ()


class Forgetful(SqliteStore):
    """Keeps no second part of a run's rows."""

    def put_rows(self, run_id, tables):
        first = {name: rows for name, rows in tables.items() if rows["sequence"][0].as_py() == 0}
        super().put_rows(run_id, first)


class CaseBlind(SqliteStore):
    """Finds runs whatever the case of their id."""

    def find(self, prefix, limit):
        return super().find(prefix.lower(), limit)


class Impatient(SqliteStore):
    """Takes every run that says that it is running for one that is."""

    def select(self, query):
        return [r for r in super().select(query) if r.status != "lost"]


class Tidy(SqliteStore):
    """Forgets what a sweep has found when a run of it goes."""

    def remove(self, run_id):
        super().remove(run_id)
        with self.database.writing() as connection:
            connection.exec_driver_sql("DELETE FROM sweep_jobs WHERE run_id = ?", (run_id,))


class Rounding(SqliteStore):
    """Keeps what varied with a few digits."""

    def put_sweep_jobs(self, sweep_id, table):
        at = table.column_names.index("strategy.entry_z")
        rounded = pc.round(table["strategy.entry_z"], 3)
        super().put_sweep_jobs(sweep_id, table.set_column(at, table.schema.field(at), rounded))


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (Forgetful, "signals must have 30 rows, had 11"),
        (CaseBlind, "must be looked for as it is written"),
        (Impatient, "a run that is put again must be there once"),
        (Tidy, "the jobs of a sweep must outlive their runs"),
        (Rounding, "the jobs of a sweep must come back to the bit"),
    ],
)
def test_a_store_that_breaks_the_contract_is_told_how(tmp_path, broken, text):
    with pytest.raises(AssertionError, match=text):
        check_run_store(broken(tmp_path / "index.sqlite", row_tables=TABLES), tmp_path / "runs")
