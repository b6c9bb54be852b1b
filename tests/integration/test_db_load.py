"""`bt db load` as people use it: files, symbols of the store, a load that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from bt_framework.cli.main import main
from bt_framework.data.store import EventStore
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.testing.feeds import ArrayFeed, clean_events

SLOW_LOAD = """
import sys
from bt_framework.cli.main import main
from bt_framework.stores.clickhouse import loading
loading.ROWS_AT_ONCE = 1_000
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def url(migrated_clickhouse_url: str) -> str:
    return migrated_clickhouse_url


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}_20240101.npy" for name in ("ausdt", "busdt")]
    for seed, path in enumerate(paths):
        np.save(path, clean_events(100, seed))
    return paths


def count(url: str, symbol: str) -> int:
    with ClickHouse(address_of(url, "")) as db:
        found = db.query(
            "SELECT toInt64(count()) AS n FROM market_data WHERE symbol = {s:String}", {"s": symbol}
        )
    return int(found["n"][0].as_py())


def test_files_are_recognised_ingested_and_loaded_once(tmp_path, url, files, capsys):
    command = ["db", "load", *map(str, files), f"url={url}", f"store_dir={tmp_path / 'store'}"]
    assert main(command) == 0
    said = capsys.readouterr()
    events = [len(np.load(path)) for path in files]
    assert [count(url, symbol) for symbol in ("AUSDT", "BUSDT")] == events
    assert "events sent in" in said.err
    lines = [line.split() for line in said.out.splitlines()]
    (row,) = [words for words in lines if words[:1] == ["AUSDT"] and "npz" in words]
    assert row[3:5] == [f"{events[0]:,}"] * 2
    assert main(command) == 0
    assert "events sent in" not in capsys.readouterr().err
    assert count(url, "AUSDT") == events[0]


def test_what_is_in_the_store_is_loaded_by_symbol(tmp_path, url, capsys):
    store = EventStore(tmp_path / "store")
    for name in ("CUSDT", "DUSDT"):
        store.load(ArrayFeed(clean_events(50), name))
    keys = [f"url={url}", f"store_dir={store.root}"]
    assert main(["db", "load", "symbols=[CUSDT]", *keys]) == 0
    assert (count(url, "CUSDT") > 0, count(url, "DUSDT")) == (True, 0)
    assert main(["db", "load", "symbols=[NONE]", *keys]) == 2
    assert "must be one of CUSDT, DUSDT, was 'NONE'" in capsys.readouterr().err
    assert main(["db", "load", "symbols=[CUSDT]", "reader=binance", *keys]) == 2
    assert "reader must be one of array, was 'binance'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "must be told what to load: files or folders"),
        (["nowhere.gz"], "'nowhere.gz' must be a folder or file that exists"),
        (["data=synthetic_pair", "symbols=[A]"], "symbols and reader choose what is in the event store"),
        (["bars=etf", "file.gz"], "with bars, only symbols, url and store_dir may be given"),
        (["symbols=[A]", "url=http://127.0.0.1:1/bt"], "cannot be reached"),
        (["symbols=[A]", "url=http://u:hunter2@127.0.0.1:1/bt"], "must not hold a password"),
    ],
)
def test_what_cannot_be_loaded_is_said(tmp_path, url, capsys, arguments, message):
    place = [] if any(a.startswith("url=") for a in arguments) else [f"url={url}"]
    assert main(["db", "load", *arguments, *place, f"store_dir={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "hunter2" not in said


def test_tables_that_are_missing_are_said_before_anything_is_read(tmp_path, clickhouse_url, files, capsys):
    command = ["db", "load", *map(str, files), f"url={clickhouse_url}", f"store_dir={tmp_path / 'store'}"]
    assert main(command) == 2
    assert "Make them: bt db migrate" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_load_that_is_killed_goes_on_and_no_event_is_there_twice(tmp_path, url, clickhouse_front, how):
    store, symbol = EventStore(tmp_path / "store"), f"K{uuid.uuid4().hex[:6]}"
    feed = store.load(ArrayFeed(clean_events(2_000), symbol))
    arguments = ["db", "load", f"symbols=[{symbol}]", f"url={url}", f"store_dir={store.root}"]
    clickhouse_front.heal()
    clickhouse_front.fail("slow", match="`market_data` (", skip=3, times=1, delay_s=5.0)
    load = subprocess.Popen(
        [sys.executable, "-c", SLOW_LOAD, *arguments], env=os.environ, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 60.0
    while len(clickhouse_front.requests("`market_data` (")) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    load.send_signal(how)
    _, said = load.communicate(timeout=60)
    assert load.returncode == (-9 if how == signal.SIGKILL else 130)
    assert b"Traceback" not in said
    clickhouse_front.heal()
    assert 3_000 <= count(url, symbol) < feed.events
    assert main(arguments) == 0
    assert count(url, symbol) == feed.events
