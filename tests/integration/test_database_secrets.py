"""Passwords of databases: whatever goes well or wrong, they are in nothing that is printed or kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_front import ClickhouseFront, make_certificate
from postgres_server import PostgresServer

from bt_framework.cli.main import main
from bt_framework.stores.clickhouse import schema
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse

OF_CLICKHOUSE = "clickhouse-Pw/7f3a91:@"
OF_POSTGRES = "postgres-Pw-5c20d8"
MARKS = ("Pw/7f3a91", "Pw%2F7f3a91", "Pw-5c20d8")
"""What no text may hold: the passwords without what may be written in another way."""

_VARIABLES = ("BT_CLICKHOUSE_URL", "BT_CLICKHOUSE_USER", "BT_CLICKHOUSE_PASSWORD", "BT_SECRETS_FILE")
_VARIABLES += ("BT_POSTGRES_URL", "BT_RESEARCH_URL", "PGUSER", "PGPASSWORD")


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty place, where errors show their tracebacks."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("BT_TRACEBACK", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseFront]:
    """A ClickHouse server with TLS and a user."""
    folder = tmp_path_factory.mktemp("desk")
    users = {"default": ("", 0), "ann": (OF_CLICKHOUSE, 0)}
    with ClickhouseFront(folder / "front", users=users, tls=make_certificate(folder)) as front:
        yield front


@pytest.fixture(scope="module")
def postgres(postgres_server: PostgresServer) -> str:
    """URL of a database of a user of its own."""
    name = f"ann_{uuid.uuid4().hex[:8]}"
    postgres_server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{OF_POSTGRES}'")
    postgres_server.execute(f"CREATE DATABASE {name} OWNER {name}")
    return postgres_server.url(name, user=name, password=OF_POSTGRES)


def assert_no_secret(text: str) -> None:
    assert not [mark for mark in MARKS if mark in text], text


def url_of(
    front: ClickhouseFront, database: str, password: str = OF_CLICKHOUSE, options: str | None = None
) -> str:
    """URL with user and password; the certificate is trusted unless `options` say otherwise."""
    return front.url(database, user="ann", password=password) + (
        trusting(front) if options is None else options
    )


def trusting(front: ClickhouseFront) -> str:
    assert front.tls is not None
    return f"?ca_cert={front.tls[0]}"


def test_no_failure_of_clickhouse_shows_the_password(desk, tmp_path, monkeypatch, capsys):
    cases = {
        url_of(desk, "bt", OF_CLICKHOUSE + "x"): "refused the user or password",
        url_of(desk, "bt", options=""): "cannot be trusted",
        url_of(desk, "bt", options=f"?ca_cert={tmp_path}/none"): "ca_cert of",
        url_of(desk, "bt", options="?verify=maybe"): "must be true or false",
        url_of(desk, "no-name"): "must be a name of letters",
        url_of(desk, "bt").replace(str(desk.port), "1"): "cannot be reached",
        url_of(desk, "bt").replace("https", "ftp"): "was of another form",
        url_of(desk, "bt").replace(str(desk.port), "99999999"): "with a port up to 65535",
    }
    for url, message in cases.items():
        monkeypatch.setenv("BT_CLICKHOUSE_URL", url)
        assert main(["db", "migrate"]) == 2
        said = "".join(capsys.readouterr())
        assert message in said
        assert_no_secret(said)


def test_no_failure_of_postgresql_shows_the_password(postgres, monkeypatch, capsys):
    cases = {
        f"{postgres}?connect_timeout=2&password={OF_POSTGRES}x": "refuses the user",
        f"{postgres}?sslmode=require": "cannot be reached",
        f"{postgres}_gone": "is not there as expected",
        "postgresql://ann:" + OF_POSTGRES + "@127.0.0.1:1/x": "cannot be reached",
        postgres.replace("postgresql", "mysql"): "must be sqlite or postgresql",
    }
    for url, message in cases.items():
        monkeypatch.setenv("BT_POSTGRES_URL", url)
        assert main(["runs", "store=postgres"]) == 2
        said = "".join(capsys.readouterr())
        assert message in said
        assert_no_secret(said)


def test_a_secrets_file_that_others_may_read_is_refused(desk, tmp_path, monkeypatch, capsys):
    file = tmp_path / "secrets.toml"
    file.write_text(f'[clickhouse]\nuser = "ann"\npassword = "{OF_CLICKHOUSE}"\n')
    monkeypatch.setenv("BT_SECRETS_FILE", str(file))
    monkeypatch.setenv("BT_CLICKHOUSE_URL", desk.url("bt") + trusting(desk))
    for mode, code in ((0o640, 2), (0o604, 2), (0o600, 0)):
        file.chmod(mode)
        assert main(["db", "status", "--json"]) == code
        said = "".join(capsys.readouterr())
        assert ("chmod 600" in said) == (code == 2)
        assert_no_secret(said)


def test_a_run_into_both_databases_leaves_no_password_anywhere(
    desk, postgres, postgres_server, tmp_path, monkeypatch
):
    monkeypatch.setenv("BT_CLICKHOUSE_URL", url_of(desk, "runs"))
    address = address_of("", "")
    with ClickHouse(address) as db:
        schema.migrate(db)
    monkeypatch.setenv("BT_POSTGRES_URL", postgres)
    monkeypatch.setenv("BT_RESEARCH_URL", postgres)
    run = ["+strategy=ou_pairs", "data.duration_ns=2min", "store=postgres", "writer=[parquet,clickhouse]"]
    desk.heal()
    desk.fail("error", match="backtest_fills", times=1, code=243)  # so that rows wait in the spool
    said = [bt(*run, "writer.clickhouse.retry_after_ns=1h"), bt("db", "status")]
    waiting = [path.read_bytes() for path in (tmp_path / "store" / "spool").rglob("*") if path.is_file()]
    assert any(b"PAR1" in content for content in waiting)
    said += [bt("db", "flush"), bt("runs", "store=postgres", "--json")]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.json", "config.yaml"} <= {path.name for path in files}
    kept = [path.read_bytes().decode("latin-1") for path in files]
    with ClickHouse(address) as db:
        tables = "SELECT name FROM system.tables WHERE database = 'runs' AND engine LIKE '%MergeTree'"
        names = db.query(tables)["name"].to_pylist()
        kept += [str(db.query(f"SELECT * FROM {name}").to_pylist()) for name in names]
    assert "backtest_fills" in names
    kept += [*rows_of(postgres), (postgres_server.folder / "log").read_text(), json.dumps(desk.requests())]
    kept += [content.decode("latin-1") for content in waiting]
    assert "ou_pairs" in "".join(kept)
    for text in (*said, *kept):
        assert_no_secret(text)


def bt(*words: str) -> str:
    """Run the command line in a process of its own, and return all that it prints."""
    command = [sys.executable, "-W", "ignore", "-m", "bt_framework", *words]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows_of(url: str) -> Iterator[str]:
    """All rows of all tables of a PostgreSQL database, as text."""
    import psycopg

    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert ("backtest_runs",) in tables
        for (table,) in tables:
            yield str(connection.execute(f"SELECT * FROM {table}").fetchall())
