"""Both relational stores keep the contract of run stores, and a store that does not is told so."""

from __future__ import annotations

import pytest

from bt_framework.results.run import TABLES
from bt_framework.stores.relational.postgres import PostgresStore
from bt_framework.stores.relational.sqlite import SqliteStore
from bt_framework.testing.store_contracts import check_run_store


@pytest.mark.parametrize("row_tables", [(), TABLES], ids=["no_rows", "all_rows"])
def test_sqlite_keeps_the_contract(tmp_path, row_tables):
    check_run_store(SqliteStore(tmp_path / "index.sqlite", row_tables=row_tables), tmp_path / "runs")


def test_postgres_keeps_the_contract(tmp_path, postgres_url, monkeypatch):
    monkeypatch.setenv("BT_POSTGRES_URL", postgres_url)
    check_run_store(PostgresStore(), tmp_path / "runs")


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


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (Forgetful, "signals must have 30 rows, had 11"),
        (CaseBlind, "must be looked for as it is written"),
        (Impatient, "a run that is put again must be there once"),
    ],
)
def test_a_store_that_breaks_the_contract_is_told_how(tmp_path, broken, text):
    with pytest.raises(AssertionError, match=text):
        check_run_store(broken(tmp_path / "index.sqlite", row_tables=TABLES), tmp_path / "runs")
