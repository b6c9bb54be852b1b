"""`bt db status` and `bt db migrate`: what they print, what they return, and what they leave alone."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from clickhouse_front import ClickhouseFront

from bt_framework.cli.main import main
from bt_framework.stores.clickhouse import schema
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse

OLD_INDEX = Path(__file__).parents[1] / "unit/stores/relational/old_index.sql"
SECRET = "w0rd-that-nobody-may-see"


@pytest.fixture(autouse=True)
def store_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place: no database is there or named."""
    for name in (
        "BT_CLICKHOUSE_URL",
        "BT_POSTGRES_URL",
        "BT_RESEARCH_URL",
        "BT_CLICKHOUSE_USER",
        "BT_CLICKHOUSE_PASSWORD",
        "BT_SECRETS_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def bt(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code and what `bt db` prints."""
    code = main(("db", *arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_status_of_an_empty_place_shows_what_would_be_where_and_makes_nothing(capsys, tmp_path, store_dir):
    code, out, _ = bt(capsys, "status")
    assert code == 0
    assert out.splitlines() == [
        f"{store_dir}/clickhouse: chDB, nothing there yet",
        f"{tmp_path}/runs/index.sqlite: SQLite, nothing there yet",
        f"{store_dir}/research.sqlite: SQLite, nothing there yet",
    ]
    assert list(tmp_path.iterdir()) == []


def test_migrate_makes_the_tables_once_and_status_shows_them(capsys, store_dir):
    code, out, _ = bt(capsys, "migrate")
    names = [f"applied {migration.name}" for migration in schema.migrations()]
    assert (code, out.splitlines()) == (0, [*names, f"up to date: {store_dir}/clickhouse"])
    code, out, _ = bt(capsys, "migrate")
    assert (code, out.splitlines()) == (0, [f"nothing to do: {store_dir}/clickhouse"])
    code, out, _ = bt(capsys, "status", f"url=chdb://{store_dir}/clickhouse")
    first, second = out.splitlines()
    head = schema.HEAD
    assert first.startswith(f"{store_dir}/clickhouse: chDB ")
    assert first.endswith(f", version {head} of {head}, current")
    assert second == "  its tables are empty"
    _, out, _ = bt(capsys, "status", "--json")
    clickhouse, index, research = json.loads(out)
    assert (clickhouse["version"], clickhouse["state"]) == (str(head), "current")
    assert clickhouse["rows"]["market_data"] == clickhouse["bytes"]["backtest_fills"] == 0
    assert index["version"] == research["version"] == ""


def feed(symbol: str, events: int, status: str) -> pa.Table:
    """A row of market_data_feeds."""
    row = {"feed_id": f"{symbol}-0123456789", "symbol": symbol, "reader": "test", "events": events}
    times = dict.fromkeys(("first_local_ts", "last_local_ts", "first_exch_ts"), 0)
    return pa.Table.from_pylist(
        [row | times | {"manifest": "{}", "status": status, "updated_at_ns": time.time_ns()}]
    )


def events(symbol: str, count: int) -> pa.Table:
    """Rows of market_data."""
    zeros = dict.fromkeys(("ev", "exch_ts", "local_ts", "order_id", "ival"), 0)
    floats = dict.fromkeys(("px", "qty", "fval"), 1.0)
    rows = [
        {"feed_id": f"{symbol}-0123456789", "symbol": symbol, "sequence": i} | zeros | floats
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows)


def test_status_shows_rows_and_feeds_that_are_half_loaded(capsys, clickhouse_url):
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        schema.migrate(db, schema.migrations()[:1])
        db.command("SYSTEM STOP MERGES market_data_feeds")
        states = (("AAA", 5, "complete"), ("BBB", 3, "loading"), ("CCC", 0, "loading"), ("DDD", 5, "loading"))
        for symbol, count, status in states:
            db.insert("market_data_feeds", feed(symbol, 5, "loading"))
            db.insert("market_data_feeds", feed(symbol, 5, status))
            db.insert("market_data", events(symbol, count))
            db.insert("market_data", events(symbol, count))
    code, out, _ = bt(capsys, "status", f"url={clickhouse_url}")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    names = ", ".join(migration.name for migration in schema.migrations()[1:])
    assert f"version 1 of {schema.HEAD}, lacks {names}: bt db migrate url={clickhouse_url}" in out
    assert lines[1] == ["table", "rows", "MB"]
    assert [line[0] for line in lines[2:4]] == ["market_data", "market_data_feeds"]
    assert lines[3][1] == "4"  # each was written twice
    assert [" ".join(line) for line in lines[4:]] == [
        "feeds: 1 complete of 4",
        "half-loaded: BBB BBB-0123, 3 of 5 events. Finish it: bt db load with the same files",
        "half-loaded: CCC CCC-0123, 0 of 5 events. Finish it: bt db load with the same files",
        "half-loaded: DDD DDD-0123, 5 of 5 events. Finish it: bt db load with the same files",
    ]
    _, out, _ = bt(capsys, "status", f"url={clickhouse_url}", "--json")
    (seen,) = json.loads(out)
    assert [(f["symbol"], f["loaded"], f["complete"]) for f in seen["feeds"]] == (
        [("AAA", 5, True), ("BBB", 3, False), ("CCC", 0, False), ("DDD", 5, False)]
    )


def test_status_goes_on_after_a_database_that_cannot_be_read(
    capsys, monkeypatch, clickhouse_front: ClickhouseFront
):
    url = clickhouse_front.url("desk", user="nobody", password=SECRET)
    monkeypatch.setenv("BT_CLICKHOUSE_URL", url)
    code, out, err = bt(capsys, "status")
    assert code == 2
    first, *others = out.splitlines()
    assert first.startswith(f"http://127.0.0.1:{clickhouse_front.port}/desk: ClickHouse, ClickHouse at http")
    assert "refused the user or password" in first
    assert [line.partition(": ")[2] for line in others] == ["SQLite, nothing there yet"] * 2
    assert SECRET not in out + err
    code, out, err = bt(capsys, "migrate")
    assert code == 2
    assert "refused the user or password" in err
    assert SECRET not in out + err


def test_the_advice_for_a_server_of_the_environment_names_no_url(capsys, monkeypatch, clickhouse_url):
    monkeypatch.setenv("BT_CLICKHOUSE_URL", clickhouse_url)
    _, out, _ = bt(capsys, "status")
    assert out.splitlines()[0].endswith("no tables yet: bt db migrate")


def test_a_folder_in_use_by_another_process_is_told(capsys, store_dir):
    script = (
        "import sys; from bt_framework.stores.clickhouse.address import address_of as a; "
        "from bt_framework.stores.clickhouse.connection import ClickHouse as C\n"
        "with C(a('', sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(store_dir)], stdin=-1, stdout=-1) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        for command in ("status", "migrate"):
            code, out, err = bt(capsys, command)
            assert code == 2
            assert f"is in use by process {other.pid}" in out + err
        other.kill()


def test_relational_databases_are_made_upgraded_and_shown_by_their_url(capsys, tmp_path):
    url = f"url=sqlite:///{tmp_path}/desk.sqlite"
    code, out, _ = bt(capsys, "migrate", url)
    assert code == 0
    assert out.splitlines()[-1] == f"up to date: {tmp_path}/desk.sqlite"
    _, out, _ = bt(capsys, "migrate", url)
    assert out.splitlines() == [f"nothing to do: {tmp_path}/desk.sqlite"]
    code, out, _ = bt(capsys, "status", url)
    first, second = out.splitlines()
    assert first.endswith(", current")
    assert second == "  its tables are empty"
    with sqlite3.connect(tmp_path / "desk.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    code, out, _ = bt(capsys, "status", url)
    assert code == 2
    assert "9999" in out


def test_tables_of_an_older_version_are_not_said_to_be_empty(capsys, tmp_path):
    path = tmp_path / "index.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_INDEX.read_text(encoding="utf-8"))
        connection.commit()
    code, out, _ = bt(capsys, "status", f"url=sqlite:///{path}")
    assert code == 0
    assert "made by an older version of bt: bt db migrate url=" in out
    assert "empty" not in out


def test_a_postgres_database_is_made_and_shown_without_its_password(capsys, monkeypatch, postgres_url):
    parts = urlsplit(postgres_url)
    bare = parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()
    monkeypatch.setenv("BT_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PGPASSWORD", str(parts.password))
    code, first, _ = bt(capsys, "status")
    assert code == 0
    assert first.splitlines()[-1].endswith(": PostgreSQL, nothing there yet")
    code, out, _ = bt(capsys, "migrate", f"url={bare}")
    assert code == 0
    assert out.splitlines()[-1].startswith("up to date: postgresql://")
    code, last, _ = bt(capsys, "status")
    assert code == 0
    assert last.splitlines()[-2].endswith(", current")
    assert f":{parts.password}@" not in first + out + last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("status", "urll=x"),
            "the key must be one of runs_dir, store_dir, url, was 'urll'. Did you mean 'url'?",
        ),
        (
            ("status", "url=ftp://x/y"),
            "url must be http(s)://host:port/database or chdb:///folder, was of another",
        ),
        (("migrate", f"url=http://ann:{SECRET}@db/bt"), "url must not hold a password"),
        (("migrate", f"url=postgresql://ann:{SECRET}@db/bt"), "url must hold no password"),
        (("migrate", "market_data_ttl_days=-1"), "market_data_ttl_days must be from 0 to 36500, was -1"),
        (("migrate", "market_data_ttl_days=x"), "market_data_ttl_days must be"),
        (
            ("migrate", "url=sqlite:////a/b.sqlite", "market_data_ttl_days=3"),
            "only ClickHouse has market_data",
        ),
    ],
)
def test_wrong_keys_are_told_and_nothing_is_made(capsys, tmp_path, arguments, message):
    code, out, err = bt(capsys, *arguments)
    assert code == 2
    assert message in err
    assert SECRET not in out + err
    assert list(tmp_path.iterdir()) == []


def test_market_data_may_be_let_go_after_some_days(capsys, store_dir):
    _, out, _ = bt(capsys, "migrate", "market_data_ttl_days=30")
    assert "applied market_data_ttl_days=30" in out.splitlines()
    with ClickHouse(address_of("", store_dir)) as db:
        assert "INTERVAL 30 DAY" in db.command("SHOW CREATE TABLE market_data").replace(
            "toIntervalDay(30)", "INTERVAL 30 DAY"
        )


@pytest.mark.parametrize("command", ["status", "migrate"])
def test_the_help_lists_the_keys(capsys, command):
    code, out, _ = bt(capsys, command, "--help")
    assert code == 0
    assert "url=" in out
    assert "store_dir=" in out
