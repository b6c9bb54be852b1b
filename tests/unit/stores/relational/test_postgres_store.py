"""The desk's store: when the database is away, what is said of it, and that no password is."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import numpy as np
import postgres_server as postgres
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bt_framework.errors import BtError, ConfigError, StorageError
from bt_framework.results import folder as folders
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import table_rows
from bt_framework.results.run import TABLES, Instrument, RunSummary, SliceBatch, Status
from bt_framework.results.schemas import to_arrow, to_records
from bt_framework.stores.base import reindex
from bt_framework.stores.relational.address import postgres_url as checked_url
from bt_framework.stores.relational.database import Database, Limits
from bt_framework.stores.relational.postgres import PostgresStore
from bt_framework.testing.store_contracts import sample_run, sample_tables
from bt_plugins.stores.postgres import Postgres, build
from bt_plugins.writers.parquet import Parquet, ParquetWriter


@pytest.fixture
def server(postgres_server, monkeypatch) -> postgres.PostgresServer:
    """The shared server with a database for the store; it runs again at the end."""
    url = postgres_server.url(postgres_server.new_database())
    monkeypatch.setenv("BT_POSTGRES_URL", url)
    yield postgres_server
    if postgres_server.process.poll() is not None:
        postgres_server.start()


class Run:
    """A run that a Parquet writer and a store hear of, as the runner tells them."""

    def __init__(self, folder: Path, store: PostgresStore, run_id: str = "20240801-120000-abc123") -> None:
        self.context = sample_run(folder, run_id)
        self.writer, self.store = ParquetWriter(Parquet()), store
        self.tables = sample_tables(40)

    def begin(self) -> Run:
        folders.start(self.context)
        self.writer.before_run(self.context)
        self.store.before_run(self.context)
        return self

    def slice(self, first: int, last: int) -> None:
        batch = SliceBatch({n: rows[first:last] for n, rows in self.tables.items()}, 1, 1, 0.1, {})
        self.writer.on_slice(self.context, batch)
        self.store.on_slice(self.context, batch)

    def end(self) -> None:
        summary = RunSummary(Status.COMPLETED, 1, "f" * 64, dict.fromkeys(TABLES, 40), {"pnl": 1.0})
        self.writer.after_run(self.context, summary)
        folders.finish(self.context, summary)
        self.store.after_run(self.context, summary)

    def assert_whole(self) -> None:
        """Look that the store has the run with all its rows."""
        store = PostgresStore()
        assert store.get(self.context.run_id).status == Status.COMPLETED
        for name in TABLES:
            found = to_records(store.rows(self.context.run_id, name), self.context)
            assert found.tobytes() == self.tables[name].tobytes(), name


def test_a_run_does_not_stop_for_a_server_that_is_away_for_a_while(server, tmp_path, capsys):
    run = Run(tmp_path, PostgresStore(limits=Limits(connect_s=2))).begin()
    run.slice(0, 10)
    server.stop()
    run.slice(10, 20)
    run.slice(20, 30)
    server.start()
    run.slice(30, 40)
    run.end()
    run.assert_whole()
    warnings = capsys.readouterr().err
    assert warnings.count("bt: warning:") == 1
    assert "cannot be reached" in warnings
    assert "The run goes on." in warnings


def test_a_run_whose_server_stays_away_fails_at_its_end_and_is_brought_in_later(server, tmp_path):
    run = Run(tmp_path, PostgresStore(limits=Limits(connect_s=2))).begin()
    run.slice(0, 10)
    server.stop()
    run.slice(10, 40)
    with pytest.raises(
        StorageError, match=rf"cannot be reached .* The run is safe in {run.context.run_dir}; .*reindex"
    ):
        run.end()
    run.store.on_run_error(run.context, None, StorageError(""))  # says it once
    server.start()
    records, problems = reindex(PostgresStore(), tmp_path)
    assert ([r.run_id for r in records], problems) == ([run.context.run_id], [])
    run.assert_whole()


def test_a_store_that_only_warns_lets_the_run_complete_without_a_server(server, tmp_path, capsys):
    server.stop()
    run = Run(tmp_path, PostgresStore(limits=Limits(connect_s=2), on_error="warn")).begin()
    run.slice(0, 40)
    run.end()
    first, last = capsys.readouterr().err.splitlines()
    assert "cannot be reached" in first
    assert last.endswith(f"bring it in with: bt runs reindex store=postgres runs_dir={tmp_path}")
    server.start()
    reindex(PostgresStore(), tmp_path)
    run.assert_whole()


def test_a_store_that_may_fail_refuses_to_begin_without_a_server(server, tmp_path):
    server.stop()
    with pytest.raises(
        StorageError, match=r"the index postgresql://bt_tests@127.0.0.1:\d+/test_\d+ cannot be reached"
    ):
        Run(tmp_path, PostgresStore(limits=Limits(connect_s=2))).begin()


def test_rows_that_neither_the_database_nor_the_folder_has_are_missed_aloud(server, tmp_path):
    run = Run(tmp_path, PostgresStore(limits=Limits(connect_s=2))).begin()
    server.stop()
    run.slice(0, 40)
    server.start()
    folders.finish(run.context, RunSummary(Status.COMPLETED, 1, "f", {}, {}))
    with pytest.raises(
        StorageError, match=r"must get 40 rows of signals, of which the run's folder has 0: .*writer="
    ):
        run.store.after_run(run.context, None)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
EDGES = st.floats() | st.sampled_from([np.nan, 5e-324, -5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0])


@pytest.fixture(scope="module")
def store(postgres_server) -> PostgresStore:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BT_POSTGRES_URL", postgres_server.url(postgres_server.new_database()))
        return PostgresStore()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        NAMES | st.sampled_from(["\\.", "\\N", '"', "a,b", "\r\n", "NULL", " "]), min_size=2, max_size=2
    ),
    numbers=st.lists(EDGES, min_size=1, max_size=20),
)
def test_any_number_and_any_name_come_back_to_the_bit(store, names, numbers):
    run = sample_run(Path("/runs"), instruments=tuple(Instrument(name, 0.1, 0.1) for name in names))
    rows = np.zeros(len(numbers), sample_tables(1)["equity"].dtype)
    rows["equity"], rows["cash"] = numbers, numbers[::-1]
    rows["asset"] = np.arange(len(rows)) % 2
    rows["local_ts"] = np.iinfo(np.int64).min + np.arange(len(rows))
    store.put(RunRecord.started(run))
    store.put_rows(run.run_id, {"equity": table_rows(to_arrow("equity", rows, run), run.run_id, 0)})
    found = store.rows(run.run_id, "equity")
    with store.database.reading() as connection:
        nulls = connection.exec_driver_sql("SELECT count(*) - count(equity) FROM backtest_equity").scalar()
        assert nulls == np.count_nonzero(np.isnan(numbers))
    assert found["symbol"].to_pylist() == [names[i % 2] for i in range(len(rows))]
    store.remove(run.run_id)
    for name, values in (("equity", numbers), ("cash", numbers[::-1])):
        back = found[name].to_numpy()
        expected = np.where(np.isnan(values), np.nan, values)
        assert back.tobytes() == expected.tobytes()


SECRET = "tell-Nobody-7b1f"


def everything_said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error)


def test_no_failure_tells_the_password(postgres_server, monkeypatch, tmp_path):
    port = postgres_server.port
    addresses = {
        postgres_server.url("postgres", password=SECRET): "refuses the user",
        postgres_server.url("nowhere"): "is not there as expected",
        f"postgresql://x:{SECRET}@127.0.0.1:1/base": "cannot be reached",
        f"postgresql://x:{SECRET}@127.0.0.1:{port}/base?sslmode=require&password={SECRET}": "cannot be reached",
        f"postgresql://x:{SECRET}@no.such.host.invalid/base": "cannot be reached",
        f"postgresql://x:{SECRET}@127.0.0.1:notaport/base": "must be a URL",
        f"mysql://x:{SECRET}@127.0.0.1/base": "must be sqlite or postgresql",
        f"sqlite:///{tmp_path}/x": "must begin with postgresql://",
    }
    for address, text in addresses.items():
        monkeypatch.setenv("BT_POSTGRES_URL", address)
        with pytest.raises(BtError) as caught:
            PostgresStore(limits=Limits(connect_s=2)).put(RunRecord.started(sample_run(tmp_path)))
        assert text in str(caught.value)
        for secret in (SECRET, postgres.PASSWORD):
            assert secret not in everything_said(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            f"postgresql://x:{SECRET}@host/base",
            "store.url must hold no password: .* ~/.pgpass or .PGPASSWORD",
        ),
        (f"postgresql://host/base?password={SECRET}", "store.url must hold no password"),
        ("postgresql://host/base?passfile=/etc/passwd", "may have the options host, .*, was 'passfile'"),
        ("postgresql+pg8000://host/base", "must be sqlite or postgresql, was|needs a driver|must begin"),
        ("http://host/base", "must be sqlite or postgresql, was 'http'"),
        (
            "",
            r"store.url must be the address of a PostgreSQL database, was empty\. Write .* or set .BT_POSTGRES_URL",
        ),
    ],
)
def test_an_address_of_the_configuration_is_refused_with_a_reason(monkeypatch, url, text):
    monkeypatch.delenv("BT_POSTGRES_URL", raising=False)
    with pytest.raises(ConfigError, match=text) as caught:
        build(Postgres(url=url)).list()
    assert SECRET not in everything_said(caught.value)


def test_user_and_password_come_from_libpqs_own_places(postgres_server, monkeypatch, tmp_path):
    database = postgres_server.new_database()
    monkeypatch.delenv("BT_POSTGRES_URL", raising=False)
    secrets = tmp_path / "pgpass"
    secrets.write_text(f"127.0.0.1:{postgres_server.port}:{database}:{postgres.USER}:{postgres.PASSWORD}\n")
    secrets.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(secrets))
    monkeypatch.setenv("PGUSER", postgres.USER)
    store = build(Postgres(url=f"postgresql://127.0.0.1:{postgres_server.port}/{database}"))
    store.put(RunRecord.started(sample_run(tmp_path)))
    assert len(store.list()) == 1
    assert store.database.name == f"postgresql://127.0.0.1:{postgres_server.port}/{database}"


def test_a_missing_driver_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        ConfigError, match=r"needs a driver that is not installed. .*pip install 'bt-framework\[postgres"
    ):
        PostgresStore("postgresql://host/base").list()


def test_a_statement_that_takes_too_long_is_stopped(postgres_url):
    from sqlalchemy import text

    database = Database(postgres_url, limits=Limits(statement_s=0.05))
    with (
        pytest.raises(StorageError, match=r"takes too long .*statement timeout"),
        database.writing() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(20)"))


def test_a_lock_of_somebody_else_is_not_waited_for_for_ever(postgres_url, tmp_path):
    from sqlalchemy import text

    first, second = (Database(postgres_url, limits=Limits(busy_s=0.05)) for _ in range(2))
    with first.writing() as connection:
        connection.execute(text("LOCK TABLE backtest_runs"))
        with pytest.raises(StorageError, match="is locked by another process"), second.writing() as other:
            other.execute(text("DELETE FROM backtest_runs"))


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("on_error", "wran", "on_error .*warn"),
        ("connect_timeout_ns", 0, "connect_timeout_ns must be >= 1, was 0"),
        ("statement_timeout_ns", -1, "statement_timeout_ns must be >= 0, was -1"),
        ("tables", ["fils"], "fils.*fills"),
    ],
)
def test_a_key_out_of_range_is_refused(key, value, text):
    with pytest.raises(ConfigError, match=text):
        Postgres(**{key: value})


def test_an_address_may_ask_for_tls():
    url = "postgresql://someone@host:5433/base?sslmode=verify-full&sslrootcert=/ca.pem"
    assert checked_url(url) == url
