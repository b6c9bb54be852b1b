"""Hostile text through everything that reaches SQL: it is a value that comes back, or it is refused in words."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_records import made

from bt_framework import store
from bt_framework.cli.main import main
from bt_framework.config._overrides import quoted
from bt_framework.config.compose import compose_part
from bt_framework.config.plain import from_overrides
from bt_framework.data.store import EventStore
from bt_framework.errors import BtError, ConfigError, DataError, StorageError
from bt_framework.registry import Kind
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import metrics_row, run_row, table_rows
from bt_framework.results.run import TABLES, RunContext, Status
from bt_framework.results.schemas import to_arrow
from bt_framework.stores.base import RunQuery, RunReader, RunStore
from bt_framework.stores.clickhouse import schema
from bt_framework.stores.clickhouse._parcels import Slice, parts_of
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.bars import DatabaseBars
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.loading import load_feed
from bt_framework.stores.clickhouse.runs import ClickHouseRuns
from bt_framework.stores.clickhouse.settings import Place
from bt_framework.stores.filters import And, Compare
from bt_framework.stores.relational.postgres import PostgresStore
from bt_framework.stores.relational.sqlite import SqliteStore
from bt_framework.testing.feeds import ArrayFeed, clean_events
from bt_framework.testing.store_contracts import sample_run, sample_tables
from bt_plugins.data.clickhouse import Clickhouse, build

HOSTILE = (
    "x'; DROP TABLE canary; --",
    "$$; DROP TABLE canary; $$",
    "' UNION SELECT * FROM canary --",
    "A]) OR 1=1 OR (1=[ /* --",
    'a"b`c',
    "back\\slash\\'\\",
    "{run_id:String} {v:String}",
    "%(run_id)s%s%",
    ":run_id :v ::text",
    "$1 ? \\N NULL",
    "né 日本 🐂 \u202e",
    "two\n; DROP TABLE canary\n\t lines",
    "zero\0byte",
    "long " + "L" * 5_000,
)
PATHS = ("../../x", "${oc.env:HOME}", "%2e%2e/x?y#z")
NO_UNICODE = "half a \ud800 pair"
TEXT_FIELDS = ("strategy", "note", "tag", "symbol", "git_commit", "error", "host")
TABLES_OF_WORDS = {name: sample_tables(2)[name] for name in ("orders", "refusals")}
"""Rows whose columns name instruments and rules."""

ORDINARY = made(1, finished_at_ns=1, status=Status.COMPLETED)

_MAKE_CANARY = "CREATE TABLE canary (x INTEGER)"
_FILL_CANARY = "INSERT INTO canary VALUES (1), (2), (3)"


def unless_refused(action: Callable[[], Any], text: str) -> Any:
    """What `action` returns, None if it is refused in words; anything else that it raises names the text."""
    try:
        return action()
    except BtError:
        return None
    except Exception as error:
        error.add_note(f"the text was {text[:60]!r}")
        raise


class Runs:
    """A database with runs, and with a table that no statement of ours knows."""

    def __init__(self, url: str, reader: RunReader, put: Callable[[RunRecord, RunContext], None]) -> None:
        self.url, self.reader, self.put = url, reader, put
        with store.open(url) as opened:
            self.before = opened.runs(sort="run_id").column("run_id").to_pylist()

    def assert_untouched(self, more: int = 0) -> None:
        """Look that the canary lives, and how many runs there are more than before."""
        with store.open(self.url) as opened:
            assert opened.sql("SELECT count(*) AS n FROM canary").column("n").to_pylist() == [3]
            assert opened.sql("SELECT count(*) AS n FROM backtest_runs").column("n").to_pylist() == [
                len(self.before) + more
            ]


def relational(kept: Any, url: str) -> Runs:
    """A place in SQLite or PostgreSQL, with one run."""

    def put(record: RunRecord, run: RunContext) -> None:
        kept.put(record)
        tables = {name: to_arrow(name, rows, run) for name, rows in TABLES_OF_WORDS.items()}
        kept.put_rows(run.run_id, {name: table_rows(rows, run.run_id, 0) for name, rows in tables.items()})

    kept.put(ORDINARY)
    return Runs(url, kept, put)


def clickhouse(db: ClickHouse, url: str) -> Runs:
    """A place in ClickHouse, with one run."""

    def put(record: RunRecord, run: RunContext) -> None:
        rows = (("backtest_runs", run_row(record)), ("backtest_metrics", metrics_row(record)))
        totals = dict.fromkeys(TABLES, 0) | {name: len(rows) for name, rows in TABLES_OF_WORDS.items()}
        for part in parts_of(run.run_id, [Slice(0, TABLES_OF_WORDS, totals, 1, 1, records=rows)], run):
            db.insert(part.table, part.rows, token=part.token)

    schema.migrate(db)
    db.command(f"{_MAKE_CANARY} ENGINE = MergeTree ORDER BY x")
    db.command(_FILL_CANARY)
    put(ORDINARY, sample_run(Path("runs"), ORDINARY.run_id))
    return Runs(url, ClickHouseRuns(db), put)


@pytest.fixture(scope="module")
def front_url(clickhouse_front) -> Iterator[str]:
    """An empty database of the shared server."""
    clickhouse_front.heal()
    database = f"test_{uuid.uuid4().hex[:12]}"
    with clickhouse_front.client() as client:
        client.command(f"CREATE DATABASE {database}")
        yield clickhouse_front.url(database)
        client.command(f"DROP DATABASE {database} SYNC")


@pytest.fixture(scope="module", params=["sqlite", "postgres", "clickhouse"])
def place(request, tmp_path_factory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("hostile")
    if request.param == "sqlite":
        found = relational(
            SqliteStore(folder / "i.sqlite", row_tables=TABLES), f"sqlite:///{folder}/i.sqlite"
        )
        with closing(sqlite3.connect(folder / "i.sqlite", isolation_level=None)) as connection:
            connection.execute(_MAKE_CANARY)
            connection.execute(_FILL_CANARY)
        yield found
    elif request.param == "postgres":
        import psycopg

        server = request.getfixturevalue("postgres_server")
        url = server.url(server.new_database())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BT_POSTGRES_URL", url)
            found = relational(PostgresStore(), "postgres")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(_MAKE_CANARY)
                connection.execute(_FILL_CANARY)
            yield found
    else:
        url = request.getfixturevalue("front_url")
        with ClickHouse(address_of(url, folder)) as db:
            yield clickhouse(db, url)


def hostile_record(text: str) -> RunRecord:
    """A run whose every text is hostile; its id names a folder, so it has no zero byte."""
    texts = dict.fromkeys(("strategy", "error", "note", "git_commit"), text)
    process = dataclasses.replace(made(1).process, host=text)
    sets = {"tags": (text,), "symbols": (text,), "status": Status.COMPLETED, "finished_at_ns": 1}
    return made(2, run_id=text.replace("\0", ""), run_dir=Path("runs"), process=process, **texts, **sets)


def hostile_run(text: str) -> RunContext:
    """The same run for its tables, whose words are hostile too."""
    run = sample_run(Path("runs"), text.replace("\0", ""), rules=(text,))
    named = [dataclasses.replace(one, symbol=f"{text}{i}") for i, one in enumerate(run.instruments)]
    return dataclasses.replace(run, instruments=tuple(named))


def plain(table: Any) -> str:
    """Values as text; a zero has no sign in SQLite, and null is NaN."""
    return repr(table.to_pydict()).replace("-0.0", "0.0")


def check_runs(place: Runs, texts: Sequence[str] = HOSTILE) -> None:
    """Put hostile runs, and find each of them again as it was."""
    accepted = 0
    for text in texts:
        record, run = hostile_record(text), hostile_run(text)
        if unless_refused(lambda a=record, b=run: place.put(a, b) or True, text) is None:
            assert "\0" in text
            continue
        accepted += 1
        assert repr(place.reader.get(record.run_id)) == repr(record)
        for name, rows in TABLES_OF_WORDS.items():
            assert plain(place.reader.rows(record.run_id, name)) == plain(to_arrow(name, rows, run)), (
                text,
                name,
            )
        equal = [(field, text) for field in TEXT_FIELDS] + [("run_id", record.run_id)]
        query = unless_refused(lambda e=equal: RunQuery(And(tuple(Compare(f, "==", v) for f, v in e))), text)
        assert query is None or [r.run_id for r in place.reader.select(query)] == [record.run_id]
    place.assert_untouched(more=accepted)


def check_questions(place: Runs, texts: Sequence[str] = HOSTILE) -> None:
    """Ask hostile questions: of the filter, the order, ids, and a value of one's own SQL."""
    value = "{v:String}" if place.url.startswith(("http", "chdb")) else "CAST(:v AS TEXT)"
    with store.open(place.url) as opened:
        for text in texts:
            filters = (text, f"strategy=={text}", f"strategy=='{text}'", f'note=="{text}"', f"{text}>1")
            for where in (*filters, f"sharpe>{text}", f"started>={text}", f"tag in ['{text}']"):
                unless_refused(lambda w=where: opened.runs(where=w), where)
            for action in (
                lambda t: opened.runs(sort=f"-{t}"),
                lambda t: opened.compare([f"{t} is no run"]),
                lambda t: opened.get(ORDINARY.run_id).table(t),
                lambda t: opened.sql(t),
                lambda t: opened.sql(f"SELECT count(*) FROM backtest_runs WHERE run_id = '{t}'"),
                lambda t: place.reader.rows(f"{t} is no run", "fills"),
            ):
                unless_refused(lambda a=action, t=text: a(t), text)
            found = unless_refused(lambda t=text: opened.sql(f"SELECT {value} AS v", {"v": t}), text)
            assert "\0" in text if found is None else found["v"].to_pylist() == [text]
            assert not unless_refused(lambda t=text: place.reader.tables(f"{t} is no run"), text)


def test_hostile_questions_about_runs_change_nothing(place):
    check_questions(place)
    place.assert_untouched()


def test_hostile_runs_come_back_as_they_were_or_are_refused(place):
    check_runs(place)
    for text in HOSTILE if isinstance(place.reader, RunStore) else ():
        run_id = hostile_record(text).run_id
        unless_refused(lambda i=run_id, t=text: place.reader.edit(i, tags=[f"{t}2"], note=f"{t}3"), text)
        place.reader.remove(run_id)
    if isinstance(place.reader, RunStore):
        place.assert_untouched()


def test_chdb_takes_hostile_text_as_values_as_a_server_does(tmp_path):
    """In a process of its own: there is one folder of chDB per process. It would run several statements at once."""
    tests = Path(__file__).parents[1]
    script = f"import sys; sys.path[:0] = [{str(tests)!r}, {str(Path(__file__).parent)!r}]\n"
    script += "from test_hostile_databases import check_chdb; check_chdb(sys.argv[1])"
    command = [sys.executable, "-c", script, str(tmp_path / "chdb")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("untouched\n"), done.stdout + done.stderr


def check_chdb(folder: str) -> None:
    """What the test above runs."""
    url = f"chdb://{folder}"
    with ClickHouse(address_of(url, folder)) as db:
        place = clickhouse(db, url)
        check_questions(place, HOSTILE[:8])
        place.assert_untouched()
        feed = stored_feed(Path(folder).parent)
        load_feed(db, feed, lambda done, total: None)
        check_data(url, feed, HOSTILE[:8])
        check_runs(place)
    print("untouched")


URLS = (
    "{text}",
    "{text}://x",
    "sqlite:///{folder}/{text}",
    "postgresql://{port}/{text}",
    "postgresql://{text}@{port}/x",
    "postgresql://{text}/x",
    "postgresql://{port}/x?options={text}",
    "postgresql://{port}/x?{text}=1",
    "postgresql://{port}/x?sslmode={text}",
    "http://{port}/{text}",
    "http://{text}/x",
    "http://{text}@{port}/x",
    "http://{port}/x?{text}=1",
    "https://{port}/x?ca_cert={text}",
    "https://{port}/x?verify={text}",
    "chdb://{text}",
    "chdb://{folder}/x?database={text}",
)


@pytest.mark.parametrize("form", URLS)
def test_hostile_addresses_are_refused_in_words(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("BT_CLICKHOUSE_USER", "BT_CLICKHOUSE_PASSWORD", "BT_SECRETS_FILE"):
        monkeypatch.delenv(name, raising=False)
    for text in HOSTILE + PATHS:
        if form in ("postgresql://{text}/x", "http://{text}/x") and len(text) > 1_000:
            continue  # no more than a name that is looked up
        with pytest.raises(BtError):
            store.open(form.format(text=text, folder=tmp_path, port="127.0.0.1:1")).runs()
    assert list(tmp_path.rglob("*")) == []


def stored_feed(folder: Path) -> Any:
    """A few events in an event store."""
    return EventStore(folder / "store").load(ArrayFeed(clean_events(40), "AAA"))


def check_data(url: str, feed: Any, texts: Sequence[str] = HOSTILE) -> None:
    """Hostile keys of data=clickhouse, of events and of bars: refused, or nothing is found."""
    for text in texts:
        keys = {name: text for name in ("url", "start", "end", "where", "bars")}
        chosen = [{name: value} for name, value in keys.items()]
        chosen += [{"symbols": [text], "reader": text}, {"feed_ids": [text]}, {"where": f"qty > '{text}'"}]
        chosen += [{"where": f"{text} = 1"}, {"where": f"qty in ({text})"}, {"where": f"abs({text}) > 1"}]
        for values in chosen:
            with pytest.raises(BtError):
                build(Clickhouse(**({"url": url, "symbols": ["AAA"]} | values))).feeds()
    (whole,) = build(Clickhouse(url=url, symbols=["AAA"])).feeds()
    assert whole.content_hash == feed.content_hash


@pytest.fixture(scope="module")
def loaded(front_url, tmp_path_factory) -> Any:
    """A feed that the database has."""
    feed = stored_feed(tmp_path_factory.mktemp("loaded"))
    with ClickHouse(address_of(front_url, "")) as db:
        schema.migrate(db)
        load_feed(db, feed, lambda done, total: None)
    return feed


def test_hostile_keys_of_data_find_nothing(front_url, loaded, clickhouse_front):
    clickhouse_front.heal()
    check_data(front_url, loaded)
    assert not clickhouse_front.requests("DROP TABLE canary")
    with DatabaseBars(address_of(front_url, "")).opened() as bars:
        for text in HOSTILE:
            with pytest.raises(DataError, match="has no bars"):
                bars.symbols(text)


def test_times_beyond_those_of_64_bits_are_no_bounds(front_url, loaded, tmp_path):
    times = loaded.open()["local_ts"]
    middle = str(np.datetime64(int(times[20]), "ns"))[:26]
    cut = datetime.fromisoformat(f"{middle}+00:00")
    assert cut.year == 2024
    for keys in ({"start": "0001-01-01", "end": middle}, {"start": middle, "end": "9999-12-31"}):
        (feed,) = build(Clickhouse(url=front_url, symbols=["AAA"], **keys)).feeds()
        found = EventStore(tmp_path).load(feed).open()["local_ts"]
        at = int(np.datetime64(middle, "ns").astype(np.int64))
        expected = times[times < at] if keys["end"] == middle else times[times >= at]
        assert sorted(found) == sorted(expected)


COMMANDS = (
    "runs TEXT",
    "runs note=='TEXT'",
    "runs --sort TEXT",
    "runs --strategy TEXT",
    "runs show TEXT",
    "runs tag RUN --add TEXT",
    "runs note RUN TEXT",
    "runs rm TEXT --yes",
    "runs store.path=QUOTED",
    "runs store=postgres store.url=QUOTED",
    "metrics TEXT",
    "db status url=QUOTED",
    "db migrate url=QUOTED",
    "db migrate market_data_ttl_days=QUOTED",
    "db flush url=QUOTED",
    "db load TEXT",
    "db load symbols=[QUOTED]",
    "db load bars=QUOTED",
    "data export TEXT --output x.parquet",
    "data export AAA --output x.parquet --start TEXT",
    "data export data=clickhouse data.symbols=[QUOTED] --output x.parquet",
    "validate bars=clickhouse bars.database_source=QUOTED",
    "+strategy=market_maker data=clickhouse data.symbols=[AAA] data.where=QUOTED",
    "+strategy=market_maker tags=[QUOTED] writer=[clickhouse] writer.clickhouse.url=QUOTED",
)


def test_commands_take_hostile_arguments_as_values_or_refuse_them(
    front_url, loaded, tmp_path, monkeypatch, capsys, clickhouse_front
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("BT_CLICKHOUSE_URL", front_url)
    kept = SqliteStore(tmp_path / "runs" / "index.sqlite")
    kept.put(made(1))
    clickhouse_front.heal()
    text = HOSTILE[0]
    words = {"TEXT": text, "QUOTED": quoted(text), "RUN": ORDINARY.run_id}
    for command in COMMANDS:
        arguments = command.split(" ")
        for name, value in words.items():
            arguments = [a.replace(name, value) for a in arguments]
        code = main(arguments)
        said = capsys.readouterr()
        listed = command in ("runs note=='TEXT'", "runs --strategy TEXT", "runs note RUN TEXT")
        assert code in ((0, 2) if listed or "store.path" in command else (2,)), (command, said)
        assert "Traceback" not in said.out + said.err
    assert [r.run_id for r in kept.list()] == [ORDINARY.run_id]
    assert kept.list()[0].note in (made(1).note, text)
    assert not [r for r in clickhouse_front.requests("DROP") if "canary" in r["statement"]]


def test_a_path_that_is_too_long_is_told_without_a_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    long = "L" * 300
    for action in (lambda: store.open(long), lambda: SqliteStore(tmp_path / long).list()):
        with pytest.raises(StorageError, match="File name too long"):
            action()
    for arguments in (
        ["runs", f"runs_dir={long}"],
        ["db", "load", long],
        ["db", "flush", f"store_dir={long}"],
    ):
        assert main(arguments) == 2
        assert "File name too long" in capsys.readouterr().err


def test_text_that_is_no_unicode_is_refused():
    forms = ("{}", "postgresql://h/{}", "http://h/{}", "http://{}@h/x", "https://h/x?ca_cert={}")
    for form in forms:
        with pytest.raises(BtError):
            store.open(form.format(NO_UNICODE)).runs()
    with pytest.raises(ConfigError, match="must be text in UTF-8"):
        compose_part(Kind.STORE, [f"runs_dir='{NO_UNICODE}'"])
    with pytest.raises(ConfigError, match="must be text in UTF-8"):
        from_overrides(Place, [f"url='{NO_UNICODE}'"])
