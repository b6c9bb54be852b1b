"""Bars in ClickHouse: loaded once and whole, read as the bar store is read, through a server and in chDB."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bar_stores import DAY_NS, OPEN_US, bars_of, store_bars
from clickhouse_front import ClickhouseFront
from documentation import fences

from bt_framework.bars import closes
from bt_framework.bars.closes import BarRange
from bt_framework.bars.quotes import bar_feeds
from bt_framework.bars.schema import ACTION_SCHEMA, BAR_SCHEMA, BarFlag
from bt_framework.bars.store import BarStore
from bt_framework.bars.trading import TradedBars
from bt_framework.data.manifest import feed_key
from bt_framework.data.source import FeedReport
from bt_framework.errors import ConfigError, DataError, StorageError
from bt_framework.research.pipeline import ingest_bars
from bt_framework.stores.clickhouse import bars_loading
from bt_framework.stores.clickhouse.address import Address, address_of
from bt_framework.stores.clickhouse.bars import DatabaseBars
from bt_framework.stores.clickhouse.bars_loading import BarsLoaded, load_bars
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.schema import migrate
from bt_framework.stores.research import ResearchStore
from bt_framework.testing.bar_contracts import check_bar_source
from bt_plugins.bars.clickhouse import Clickhouse, build
from bt_plugins.bars.clickhouse._source import FILLED, REPLACED
from bt_plugins.bars.csv import Csv
from bt_plugins.bars.csv import build as build_csv

HOSTILE = [
    "x'; DROP TABLE bars; --",
    "'; SELECT 1 FORMAT Null; '",
    'a"b`c',
    "back\\slash\\'",
    "{source:String}",
    "%(source)s%s",
    "$1 ? \\N NULL",
    "né 日本 🐂",
    "a', 'b",
    "A]) OR 1=1 OR (1=[",
]
"""Names that would be statements, if they were not bound."""

ALWAYS = {"start": datetime(1700, 1, 1, tzinfo=UTC), "end": datetime(2260, 1, 1, tzinfo=UTC)}


TABLES = ("bars", "bars_actions", "bars_sources")


def emptied(address: Address) -> None:
    """Take everything out of the tables of bars, which are made if they are not there."""
    with ClickHouse(address) as db:
        migrate(db)
        for table in TABLES:
            db.command(f"TRUNCATE TABLE {table}")


@pytest.fixture(scope="module")
def database_name(clickhouse_front: ClickhouseFront) -> Iterator[str]:
    """A database of the server that the tests of this file share."""
    name = f"bars_{uuid.uuid4().hex[:12]}"
    yield name
    with clickhouse_front.client() as client:
        client.command(f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture
def server(clickhouse_front: ClickhouseFront, database_name: str) -> Address:
    """A server with empty tables."""
    clickhouse_front.heal()
    address = address_of(clickhouse_front.url(database_name), "")
    emptied(address)
    return address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of chDB."""
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(params=["server", "chdb"])
def database(request: pytest.FixtureRequest, folder: Path) -> Iterator[Address]:
    """A server with empty tables, and chDB, whose engine stays up for the test."""
    if request.param == "server":
        yield request.getfixturevalue("server")
        return
    address = address_of("", folder)
    with ClickHouse(address):
        emptied(address)
        yield address


@pytest.fixture
def store_dir(tmp_path: Path) -> Path:
    return tmp_path / "store"


def load(address: Address, store_dir: Path, *symbols: str, source: str = "test") -> BarsLoaded:
    with ClickHouse(address) as db:
        return load_bars(db, store_dir, source, symbols)


def everything(address: Address, source: str = "test", names: Sequence[str] = BAR_SCHEMA.names) -> pa.Table:
    bars = DatabaseBars(address)
    symbols = bars.symbols(source)
    bars.check(source, symbols)
    return bars.read(source, symbols=symbols, columns=names, **ALWAYS)


def rows_of(address: Address, sql: str) -> list[dict[str, Any]]:
    with ClickHouse(address) as db:
        return db.query(sql).to_pylist()


def add_actions(store_dir: Path, rows: Sequence[tuple[str, date, str, float]], source: str = "test") -> None:
    research = ResearchStore.in_folder(store_dir)
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, ACTION_SCHEMA, strict=True)]
    table = pa.table(arrays, schema=ACTION_SCHEMA)
    research.add_actions(table, source=source, replacing={row[0] for row in rows})


def test_bars_read_back_are_those_of_the_bar_store_to_the_bit(database: Address, store_dir: Path) -> None:
    rng = np.random.default_rng(3)
    price = np.exp(rng.normal(4, 1, 50))
    price[[3, 7]] = np.nan
    columns = {"volume": np.where(price > 90, np.nan, price), "adj_factor": rng.random(50) + 0.1}
    flags = rng.integers(0, 16, 50)
    # 1871 and 2200: beyond what ClickHouse's times say they hold.
    at = np.sort(np.r_[-54_421, rng.choice(9_000, 48, replace=False), 65_000])
    store = store_bars(store_dir, {"AAA": price, "ZZZ": price[::-1]}, at=at, outlier_flag=flags, **columns)
    loaded = load(database, store_dir)
    assert (loaded.symbols, loaded.bars, loaded.loaded, loaded.inserted) == (2, 100, ("AAA", "ZZZ"), 100)
    assert everything(database).equals(store.read("test"))
    assert everything(database, names=["close", "symbol"]).equals(
        store.read("test", columns=["close", "symbol"])
    )
    bars = DatabaseBars(database)
    assert (bars.sources(), bars.spans("test"), bars.interval_ns("test")) == (
        ["test"],
        store.spans("test"),
        DAY_NS,
    )
    cut = {"start": datetime(2020, 1, 5, tzinfo=UTC), "end": datetime(2031, 1, 1, tzinfo=UTC)}
    assert bars.read("test", symbols=["ZZZ"], columns=["datetime"], **cut).equals(
        store.read("test", symbols=["ZZZ"], columns=["datetime"], **cut)
    )


def test_any_name_of_a_symbol_is_a_name_and_no_statement(database: Address, store_dir: Path) -> None:
    store = store_bars(store_dir, {name: [1.0 + i, 2.0] for i, name in enumerate(HOSTILE)}, source="odd.one")
    add_actions(store_dir, [(name, date(2020, 1, 2), "dividend", 0.5) for name in HOSTILE], "odd.one")
    assert load(database, store_dir, source="odd.one").bars == 2 * len(HOSTILE)
    assert everything(database, "odd.one").equals(store.read("odd.one"))
    with DatabaseBars(database).opened() as bars:
        for name in HOSTILE:
            assert bars.read("odd.one", symbols=[name], columns=["symbol"], **ALWAYS).num_rows == 2
            assert bars.actions("odd.one", [name])["symbol"].to_pylist() == [name]
    source = reader(database, database_source="odd.one", symbols=HOSTILE)
    assert set(check_bar_source(source)["symbol"].to_pylist()) == set(HOSTILE)


def test_a_hostile_name_of_a_source_or_symbol_finds_nothing(database: Address, store_dir: Path) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0]})
    load(database, store_dir)
    before = everything(database)
    with DatabaseBars(database).opened() as bars, ClickHouse(database) as db:
        for text in HOSTILE:
            with pytest.raises(DataError, match=r"a source of bars in .* must be one of test"):
                bars.symbols(text)
            with pytest.raises(DataError, match=r"a symbol of source test in .* must be one of AAA"):
                bars.actions("test", [text])
            with pytest.raises(ConfigError, match="a column of bars"):
                bars.read("test", symbols=["AAA"], columns=[text], **ALWAYS)
            with pytest.raises(ConfigError, match="the name of a source of bars must be letters"):
                load_bars(db, store_dir, text)
            with pytest.raises(DataError, match="a symbol of source test must be one of AAA"):
                load_bars(db, store_dir, "test", [text])
            with pytest.raises(ConfigError, match="ISO-8601"):
                Clickhouse(database_source="test", start=text)
    assert everything(database).equals(before)


def test_a_repeated_load_sends_nothing(
    server: Address, store_dir: Path, clickhouse_front: ClickhouseFront
) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0], "BBB": [3.0, 4.0]})
    load(server, store_dir)
    clickhouse_front.heal()
    again = load(server, store_dir)
    assert (again.inserted, again.loaded) == (0, ())
    assert again.line == "test: 2 symbols, 4 bars; 0 loaded, 2 already there"
    assert not clickhouse_front.requests("INSERT")
    assert not clickhouse_front.requests("DELETE")
    assert rows_of(server, "SELECT count() AS n FROM bars") == [{"n": 4}]


def test_a_history_that_has_changed_takes_the_place_of_the_one_before(
    database: Address, store_dir: Path
) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0, 3.0], "BBB": [5.0]})
    add_actions(store_dir, [("AAA", date(2020, 1, 2), "split", 2.0)])
    load(database, store_dir)
    # Other prices, a day that is gone, a day that has come; and later back to what it was.
    for at, price, factor in (([0, 2, 3], [1.5, 3.0, 4.0], 0.5), ([0, 1, 2], [1.0, 2.0, 3.0], 1.0)):
        store = store_bars(store_dir, {"AAA": price}, at=at, adj_factor=np.full(3, factor))
        done = load(database, store_dir)
        assert (done.loaded, done.inserted) == (("AAA",), 3)
        assert everything(database).equals(store.read("test"))
        assert rows_of(database, "SELECT count() AS n FROM bars FINAL") == [{"n": 4}]
        assert rows_of(database, "SELECT count() AS n FROM bars_actions FINAL") == [{"n": 1}]


def test_actions_that_have_changed_are_loaded_though_no_bar_has(database: Address, store_dir: Path) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0]})
    add_actions(store_dir, [("AAA", date(2020, 1, 2), "split", 2.0)])
    load(database, store_dir)
    add_actions(store_dir, [("AAA", date(2020, 1, 2), "dividend", 0.25)])
    assert load(database, store_dir).loaded == ("AAA",)
    assert DatabaseBars(database).actions("test", ["AAA"]).to_pylist() == [
        {"symbol": "AAA", "ex_date": date(2020, 1, 2), "kind": "dividend", "value": 0.25}
    ]


def test_symbols_that_are_not_asked_for_stay_as_they_are(server: Address, store_dir: Path) -> None:
    store_bars(store_dir, {"AAA": [1.0], "BBB": [2.0]})
    load(server, store_dir)
    store_bars(store_dir, {"AAA": [1.5], "BBB": [2.5]})
    done = load(server, store_dir, "BBB")
    assert done.line == "test: 1 symbols, 1 bars; 1 loaded, 1 others stay as they were"
    assert everything(server)["close"].to_pylist() == [1.0, 2.5]
    with pytest.raises(DataError, match="a symbol of source test must be one of AAA, BBB, was 'CCC'"):
        load(server, store_dir, "CCC")


def test_bars_of_another_interval_are_refused_beside_those_that_stay(
    server: Address, store_dir: Path
) -> None:
    store_bars(store_dir, {"AAA": [1.0], "BBB": [2.0]})
    load(server, store_dir)
    BarStore(store_dir / "bars").remove("test")
    store_bars(store_dir, {"AAA": [1.0, 2.0]}, interval_ns=60_000_000_000)
    with pytest.raises(DataError, match=r"has bars of 24h of BBB in source test, those to load are of 1min"):
        load(server, store_dir)
    store_bars(store_dir, {"BBB": [1.0, 2.0]}, interval_ns=60_000_000_000)
    load(server, store_dir)
    assert DatabaseBars(server).interval_ns("test") == 60_000_000_000


def test_a_load_that_broke_off_goes_on_and_nothing_counts_before(
    server: Address, store_dir: Path, clickhouse_front: ClickhouseFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars_loading, "ROWS_AT_ONCE", 25)
    store = store_bars(store_dir, {"AAA": np.arange(1.0, 101.0), "BBB": [2.0]})
    clickhouse_front.fail("error", match="INSERT INTO", skip=2, code=243)
    with pytest.raises(StorageError, match="is out of disk space"):
        load(server, store_dir)
    with pytest.raises(DataError, match=r"bars of source test in .* are half-loaded: 50 so far"):
        everything(server)
    clickhouse_front.heal()
    done = load(server, store_dir)
    assert (done.inserted, done.loaded) == (51, ("AAA", "BBB"))
    assert everything(server).equals(store.read("test"))
    assert rows_of(server, "SELECT count() AS n FROM bars") == [{"n": 101}]


def test_a_symbol_that_is_half_loaded_is_refused_with_what_finishes_it(
    server: Address, store_dir: Path, clickhouse_front: ClickhouseFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars_loading, "ROWS_AT_ONCE", 25)
    store_bars(store_dir, {"AAA": [1.0], "BBB": np.arange(1.0, 101.0)})
    clickhouse_front.fail("error", match="INSERT INTO", skip=3, code=241)
    with pytest.raises(StorageError, match="is out of memory"):
        load(server, store_dir)
    source = reader(server, database_source="test", symbols=["BBB"])
    with pytest.raises(
        DataError,
        match=r"bars of BBB of source test in .* are half-loaded: 25 so far, .* bt db load bars=test",
    ):
        list(source.tables(lambda *_: None))
    assert len(check_bar_source(reader(server, database_source="test", symbols=["AAA"]))) == 1


def test_while_a_symbol_is_replaced_the_old_bars_are_read(
    server: Address, store_dir: Path, clickhouse_front: ClickhouseFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars_loading, "ROWS_AT_ONCE", 25)
    store = store_bars(store_dir, {"AAA": np.arange(1.0, 101.0)})
    load(server, store_dir)
    old = store.read("test")
    store_bars(store_dir, {"AAA": np.arange(2.0, 102.0)})
    clickhouse_front.fail("error", match="INSERT INTO", skip=3, code=243)
    with pytest.raises(StorageError):
        load(server, store_dir)
    assert everything(server).equals(old)
    clickhouse_front.heal()
    load(server, store_dir)
    assert everything(server).equals(store.read("test"))


@pytest.mark.parametrize(
    "fault", [{"kind": "status"}, {"kind": "no_answer"}, {"kind": "cut", "after_bytes": 200}], ids=str
)
def test_a_connection_that_drops_costs_no_bar_and_doubles_none(
    server: Address, store_dir: Path, clickhouse_front: ClickhouseFront, fault: dict[str, Any]
) -> None:
    store = store_bars(store_dir, {"AAA": np.arange(1.0, 101.0)})
    clickhouse_front.fail(match="INSERT INTO", times=2, **fault)
    assert load(server, store_dir).bars == 100
    assert everything(server).equals(store.read("test"))
    assert not clickhouse_front.faults()


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status"}, {"kind": "drop", "after_bytes": 300}, {"kind": "error_midway", "code": 210}],
    ids=str,
)
def test_a_read_whose_connection_drops_is_repeated(
    server: Address, store_dir: Path, clickhouse_front: ClickhouseFront, fault: dict[str, Any]
) -> None:
    store = store_bars(store_dir, {"AAA": np.arange(1.0, 2_001.0)})
    load(server, store_dir)
    clickhouse_front.fail(match="SELECT symbol, datetime", times=2, **fault)
    assert everything(server).equals(store.read("test"))
    assert not clickhouse_front.faults()


def test_a_server_that_is_gone_is_said_to_be(
    tmp_path: Path, store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bt_framework.stores.clickhouse import retrying

    monkeypatch.setattr(retrying, "_FIRST_WAIT_S", 0.001)
    with ClickhouseFront(tmp_path / "front") as front:
        address = address_of(front.url("bt"), "")
    with pytest.raises(StorageError, match="cannot be reached: the connection was refused"):
        DatabaseBars(address).sources()


def test_a_server_without_tables_is_said_to_have_none(clickhouse_url: str, store_dir: Path) -> None:
    store_bars(store_dir, {"AAA": [1.0]})
    address = address_of(clickhouse_url, "")
    with pytest.raises(StorageError, match=r"has no tables of bt.* bt db migrate"):
        load(address, store_dir)
    with pytest.raises(StorageError, match=r"has no tables of bt.* bt db migrate"):
        DatabaseBars(address).symbols("test")


def test_bars_that_are_gone_from_the_table_are_missed_and_loaded_again(
    server: Address, store_dir: Path
) -> None:
    store = store_bars(store_dir, {"AAA": [1.0, 2.0, 3.0]})
    load(server, store_dir)
    with ClickHouse(server) as db:
        db.command("DELETE FROM bars WHERE close = 2.0")
    with pytest.raises(DataError, match=r"bars of AAA .* there are 2 of 3.* bt db load bars=test"):
        everything(server)
    assert load(server, store_dir).inserted == 3
    assert everything(server).equals(store.read("test"))


def test_two_loads_of_a_source_at_once_leave_each_bar_once(
    server: Address, store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars_loading, "ROWS_AT_ONCE", 200)
    store = store_bars(store_dir, {f"S{i}": np.arange(1.0, 101.0) for i in range(8)})
    failed: list[BaseException] = []

    def work() -> None:
        try:
            load(server, store_dir)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert everything(server).equals(store.read("test"))


def test_bars_that_change_while_they_are_loaded_do_not_count(
    server: Address, store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0]})
    calls: list[int] = []

    def change(done: int, total: int) -> None:
        if not calls:
            store_bars(store_dir, {"AAA": [1.0, 2.5]})
        calls.append(done)

    with ClickHouse(server) as db:
        with pytest.raises(DataError, match="bars of AAA in source test changed while they were loaded"):
            load_bars(db, store_dir, "test", progress=change)
        assert load_bars(db, store_dir, "test", progress=lambda *_: None).loaded == ("AAA",)
    assert everything(server)["close"].to_pylist() == [1.0, 2.5]


def test_a_load_that_is_killed_in_chdb_goes_on(store_dir: Path, tmp_path: Path) -> None:
    store = store_bars(store_dir, {"AAA": np.arange(1.0, 101.0)})
    address = address_of("", tmp_path / "killed")
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from bt_framework.stores.clickhouse import bars_loading\n"
        "from bt_framework.stores.clickhouse.address import address_of\n"
        "from bt_framework.stores.clickhouse.connection import ClickHouse\n"
        "bars_loading.ROWS_AT_ONCE = 25\n"
        "def progress(done, total):\n"
        "    if done == 175:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "with ClickHouse(address_of('', sys.argv[1])) as db:\n"
        "    bars_loading.load_bars(db, Path(sys.argv[2]), 'test', progress=progress)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "killed"), str(store_dir)])
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match=r"bars of source test in .* are half-loaded: 50 so far"):
        DatabaseBars(address).symbols("test")
    assert load(address, store_dir).bars == 100
    assert everything(address).equals(store.read("test"))


def test_bars_that_are_taken_away_while_they_are_loaded_do_not_count(
    server: Address, store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars_loading, "ROWS_AT_ONCE", 25)
    store_bars(store_dir, {"AAA": np.arange(1.0, 101.0)})

    def take_away(done: int, total: int) -> None:
        if done == 175:
            with ClickHouse(server) as other:
                other.command("TRUNCATE TABLE bars")

    with (
        ClickHouse(server) as db,
        pytest.raises(StorageError, match="has 50 of 100 bars of AAA that were sent"),
    ):
        load_bars(db, store_dir, "test", progress=take_away)
    with pytest.raises(DataError, match="are half-loaded"):
        DatabaseBars(server).symbols("test")


def test_a_load_counts_though_the_clock_is_behind_that_of_the_one_before(
    server: Address, store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0]})
    load(server, store_dir)
    store = store_bars(store_dir, {"AAA": [1.0, 2.5]})
    monkeypatch.setattr(bars_loading, "time", SimpleNamespace(time_ns=lambda: 5))
    load(server, store_dir)
    assert everything(server).equals(store.read("test"))


def test_progress_goes_over_both_passes_to_the_end(server: Address, store_dir: Path) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0], "BBB": [3.0]})
    with ClickHouse(server) as db:
        for done in ([3, 6, 6], [3, 6]):
            calls: list[tuple[int, int]] = []
            load_bars(db, store_dir, "test", progress=lambda *call, calls=calls: calls.append(call))  # type: ignore[misc]
            assert calls == [(bars, 6) for bars in done]


def test_the_view_of_bars_that_count_has_those_and_no_others(server: Address, store_dir: Path) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0, 3.0]})
    load(server, store_dir)
    with ClickHouse(server) as db:
        db.insert("bars", db.query("SELECT * REPLACE ('another' AS load_id, 9.0 AS close) FROM bars LIMIT 1"))
        view = db.query("SELECT * FROM bars_current ORDER BY source, symbol, datetime")
        (documented,) = [sql for page, sql in fences("sql") if "FROM bars_current" in sql]
        months = db.query(documented.replace("'synthetic'", "'test'")).to_pylist()
    assert view.column_names == ["source", "symbol", "interval_ns", *BAR_SCHEMA.names[1:]]
    assert view["close"].to_pylist() == [1.0, 2.0, 3.0]
    assert [row["close"] for row in months] == [3.0]
    assert set(view["interval_ns"].to_pylist()) == {DAY_NS}


def events_and_key(where: Any, symbols: Sequence[str], chosen: BarRange, config: TradedBars) -> list[Any]:
    found = []
    for feed in bar_feeds(where, chosen, symbols, config):
        report = FeedReport()
        rows = np.concatenate([c.copy() for c in feed.chunks(report, lambda *_: None)])
        found.append((feed_key(feed, ()), feed.tick_size, feed.lot_size, report, rows.tobytes()))
    return found


@pytest.mark.parametrize("block_rows", [40, 1 << 17])
def test_bars_of_a_database_make_the_events_that_those_of_the_store_make(
    database: Address, store_dir: Path, monkeypatch: pytest.MonkeyPatch, block_rows: int
) -> None:
    rng = np.random.default_rng(8)
    price = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, 120))), 2)
    price[rng.random(120) < 0.05] = np.nan
    columns = {"volume": rng.integers(0, 99, 120) / 2, "adj_factor": np.repeat([0.25, 0.5, 1.0], 40)}
    flags = np.where(rng.random(120) < 0.1, int(BarFlag.FILLED), 0)
    store = store_bars(
        store_dir,
        {"AAA": price, "O'B": price[::-1]},
        at=np.cumsum(rng.integers(1, 9, 120)),
        outlier_flag=flags,
        **columns,
    )
    load(database, store_dir)
    monkeypatch.setattr(closes, "BLOCK_ROWS", block_rows)
    start_ts = 1_000 * OPEN_US + 40 * DAY_NS
    for chosen in (BarRange("test"), BarRange("test", start_ts, start_ts + 300 * DAY_NS)):
        config = TradedBars(slippage_bps=3.0)
        expected = events_and_key(store, ["O'B", "AAA"], chosen, config)
        assert events_and_key(DatabaseBars(database), ["O'B", "AAA"], chosen, config) == expected


def reader(address: Address, **keys: Any) -> Any:
    source = build(Clickhouse(url=address.url, **keys))
    source.use_store(Path("nowhere"))
    return source


def test_a_source_of_bars_keeps_the_contract(database: Address, store_dir: Path) -> None:
    rng = np.random.default_rng(5)
    flags = np.zeros(60, int)
    flags[[4, 5]] = int(BarFlag.FILLED)
    flags[6] = int(BarFlag.FILLED | BarFlag.INTERPOLATED)
    flags[[9, 10, 11]] = int(BarFlag.OUTLIER | BarFlag.REPLACED)
    flags[12] = int(BarFlag.OUTLIER)
    price = rng.random(60) + 1
    store = store_bars(
        store_dir, {"AAA": price, "BBB": price}, outlier_flag=flags, adj_factor=np.full(60, 0.5)
    )
    add_actions(store_dir, [("AAA", date(2020, 1, 5), "split", 2.0)])
    load(database, store_dir)
    source = reader(database, database_source="test")
    bars = check_bar_source(source)
    kept = (flags == 0) | (flags == int(BarFlag.OUTLIER))
    assert bars["close"].to_pylist() == 2 * price[kept].tolist()
    assert source.findings == {FILLED: 6, REPLACED: 6}
    assert (source.name, source.actions()["value"].to_pylist()) == ("test", [2.0])
    assert reader(database, database_source="test", source="mine").name == "mine"
    part = reader(database, database_source="test", symbols=["BBB"], start="2020-01-03", end="2020-01-05")
    assert check_bar_source(part)["datetime"].to_pylist() == [
        datetime(2020, 1, 3, tzinfo=UTC),
        datetime(2020, 1, 4, tzinfo=UTC),
    ]
    assert part.actions().num_rows == 0
    assert store.spans("test")["AAA"].rows == 60


def test_tables_of_a_source_are_small_however_many_bars_there_are(
    server: Address, store_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bt_plugins.bars.clickhouse import _source

    monkeypatch.setattr(_source, "ROWS_PER_TABLE", 100)
    store = store_bars(store_dir, {f"S{i}": np.arange(1.0, 331.0) for i in range(3)})
    store.append("test", bars_of("TINY", [1.0, 2.0]), interval_ns=DAY_NS)
    load(server, store_dir)
    tables = list(reader(server, database_source="test").tables(lambda *_: None))
    assert max(table.num_rows for table in tables) <= 100
    assert pa.concat_tables(tables).combine_chunks().equals(store.read("test"))


def test_bars_taken_into_another_store_are_those_that_were_loaded(
    database: Address, store_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "prices.csv"
    days = [f"2024-01-{day:02d}" for day in range(1, 9)]
    rows = [f"{day},AAA,{100 + i},{10 * i},,{0.5 if i == 2 else ''}" for i, day in enumerate(days[:4])]
    rows += [f"{day},AAA,{50 + i},,{2 if i == 0 else ''}," for i, day in enumerate(days[4:])]
    path.write_text("\n".join(["time,symbol,close,volume,split,dividend", *rows]))
    ingest_bars(build_csv(Csv(files=[str(path)], source="test")), store_dir, lambda *_: None)
    first = BarStore(store_dir / "bars").read("test")
    assert len(set(first["adj_factor"].to_pylist())) == 3
    load(database, store_dir)
    report = ingest_bars(reader(database, database_source="test"), tmp_path / "other", lambda *_: None)
    assert [row.actions for row in report.symbols] == [2]
    assert BarStore(tmp_path / "other" / "bars").read("test").equals(first)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (
            {},
            ConfigError,
            r"bars.database_source must name a source of bars in .*, was ''. There are: test\.",
        ),
        ({"database_source": "tst"}, DataError, r"a source of bars in .* must be one of test, was 'tst'"),
        (
            {"database_source": "test", "symbols": ["AAB"]},
            DataError,
            r"a symbol of source test in .* must be one of AAA, was 'AAB'",
        ),
        (
            {"database_source": "test", "start": "2021-01-01"},
            DataError,
            r"no bars between start \(2021-01-01\) and end \(the last\): they open from 2020-01-01 .* to 2020-01-02",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    server: Address, store_dir: Path, keys: dict[str, Any], error: type[Exception], message: str
) -> None:
    store_bars(store_dir, {"AAA": [1.0, 2.0]})
    load(server, store_dir)
    with pytest.raises(error, match=message):
        list(reader(server, **keys).tables(lambda *_: None))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"symbols": ["A", "A"]}, "symbols must differ from each other"),
        ({"start": "x"}, "start must be an ISO-8601 time"),
        ({"start": "2020-01-02", "end": "2020-01-02"}, "end must be later than start"),
    ],
)
def test_a_bad_key_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Clickhouse(**keys)
