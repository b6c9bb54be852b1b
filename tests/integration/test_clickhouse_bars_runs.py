"""Runs on bars of a database, and bars taken there and back, by the commands that people use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bar_stores import store_bars

import bt_framework
from bt_framework.assembly import Parts, load_feeds
from bt_framework.bars.store import BarStore
from bt_framework.cli.main import main
from bt_framework.config.compose import compose
from bt_framework.data.store import StoredFeed
from bt_framework.errors import ConfigError, DataError
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.bars_loading import load_bars
from bt_framework.stores.clickhouse.connection import ClickHouse

Said = Callable[..., tuple[int, str, str]]
TRADED = ["+strategy=bollinger_pairs", "sizing=fixed_qty", "sizing.qty=100", "risk=[]", "console=json"]
PAIR = ["data.symbols=[YYY,XXX]", "data.slippage_bps=2"]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function that runs a command: exit code, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def store_dir(tmp_path: Path) -> Path:
    """A store with daily bars of a pair."""
    return stored_pair(tmp_path)


@pytest.fixture(scope="module")
def loaded_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a store, whose bars are in its chDB too."""
    folder = stored_pair(tmp_path_factory.mktemp("loaded"))
    with ClickHouse(address_of("", folder)) as db:
        load_bars(db, folder, "test")
    return folder


def stored_pair(parent: Path) -> Path:
    rng = np.random.default_rng(11)
    x = 80.0 + np.cumsum(0.3 * rng.normal(size=200))
    spread = np.zeros(200)
    for i in range(1, 200):
        spread[i] = 0.8 * spread[i - 1] + 0.6 * rng.normal()
    folder = parent / "store"
    factor = np.repeat([0.5, 1.0], 100)
    volume = rng.integers(1, 1_000, 200)
    closes = {"YYY": np.round(1.5 * x + spread, 3), "XXX": np.round(x, 3)}
    store_bars(folder, closes, adj_factor=factor, volume=volume)
    return folder


def overrides(store_dir: Path, *keys: str) -> list[str]:
    return [*TRADED, *PAIR, f"store_dir={store_dir}", f"runs_dir={store_dir / 'runs'}", *keys]


def feeds(store_dir: Path, *keys: str) -> list[StoredFeed]:
    """The events that a run would have."""
    composition = compose(overrides(store_dir, *keys))
    return load_feeds(Parts.of(composition), composition.settings, lambda _: None)


def contents(found: list[StoredFeed]) -> list[Any]:
    return [(f.content_hash, f.spec, f.events, f.report.notes, f.report.dropped) for f in found]


def test_a_run_on_bars_of_a_server_is_that_on_the_bars_of_the_store(
    store_dir: Path, tmp_path: Path, clickhouse_url: str, said: Said
) -> None:
    assert said("db", "migrate", f"url={clickhouse_url}")[0] == 0
    code, out, err = said("db", "load", "bars=test", f"url={clickhouse_url}", f"store_dir={store_dir}")
    assert (code, err) == (0, "")
    assert "test: 2 symbols, 400 bars; 2 loaded" in out
    of_server = ["data=clickhouse", "data.bars=test", f"data.url={clickhouse_url}"]
    found = [
        bt_framework.run(overrides(folder, *keys))
        for folder, keys in ((store_dir, ["data=bars", "data.source=test"]), (tmp_path / "other", of_server))
    ]
    hashes = [
        (r.record.identity.config_hash, r.record.identity.data_hash, r.result_hash, r.fills.num_rows)
        for r in found
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0][-1] > 20


def test_bars_of_chdb_in_the_store_need_no_address_and_can_stay_out_of_the_event_store(
    store_dir: Path, tmp_path: Path, said: Said
) -> None:
    assert said("db", "load", "bars=test", f"store_dir={store_dir}")[0] == 0
    chosen = ["data.start=2020-02-01", "data.end=2020-07-01"]
    of_database = ["data=clickhouse", "data.bars=test", *chosen]
    expected = contents(feeds(store_dir, "data=bars", "data.source=test", *chosen))
    assert contents(feeds(store_dir, *of_database)) == expected
    url = f"data.url=chdb://{store_dir / 'clickhouse'}"
    for keep in ("true", "false"):
        other = tmp_path / f"other_{keep}"
        assert contents(feeds(other, *of_database, url, f"data.keep={keep}")) == expected
        assert (other / "objects").exists() == (keep == "true")


def test_bars_go_from_one_store_through_a_database_into_another(
    store_dir: Path, tmp_path: Path, clickhouse_url: str, said: Said
) -> None:
    rows = "".join(f"2024-01-{day:02d},{100 + day},{2 if day == 5 else ''}\n" for day in range(1, 9))
    (tmp_path / "AAA.csv").write_text("time,close,split\n" + rows)
    here = [f"store_dir={store_dir}"]
    assert said("validate", "bars=csv", f"bars.files=[{tmp_path}/AAA.csv]", "bars.source=mine", *here)[0] == 0
    assert said("db", "migrate", f"url={clickhouse_url}")[0] == 0
    assert said("db", "load", "bars=mine", f"url={clickhouse_url}", *here)[0] == 0
    taken = ["bars=clickhouse", "bars.database_source=mine", f"bars.url={clickhouse_url}"]
    code, out, _ = said("validate", *taken, f"store_dir={tmp_path / 'other'}")
    assert (code, "source mine: bars of 24h" in out) == (0, True)
    first, second = (BarStore(folder / "bars").read("mine") for folder in (store_dir, tmp_path / "other"))
    assert second.equals(first)
    assert set(first["adj_factor"].to_pylist()) == {0.5, 1.0}


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (["data.bars=tst"], DataError, r"a source of bars in .* must be one of test, was 'tst'"),
        (["data.symbols=[YYY,ZZZ]"], DataError, r"a symbol of source test in .* must be one of XXX, YYY"),
        (["data.start=2031-01-01"], DataError, r"source test has no bar of YYY that can be traded"),
        (
            ["data.where='px > 1'"],
            ConfigError,
            r"data.where is for events, and must be left out with data.bars",
        ),
        (
            ["data.bars=''"],
            ConfigError,
            r"data.slippage_bps is for bars, and must be left out without data.bars",
        ),
        (["data.tick_size={ZZZ:1}"], ConfigError, r"data.tick_size's symbols must be one of XXX, YYY"),
    ],
)
def test_bars_that_cannot_be_traded_are_refused(
    loaded_dir: Path, keys: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        feeds(loaded_dir, "data=clickhouse", "data.bars=test", *keys)


def test_a_load_of_bars_that_are_not_there_says_which_are(store_dir: Path, said: Said) -> None:
    code, _, err = said("db", "load", "bars=tst", f"store_dir={store_dir}")
    assert code == 2
    assert "a source of bars must be one of test, was 'tst'" in err
    code, _, err = said("db", "load", "bars=test", "symbols=[QQQ]", f"store_dir={store_dir}")
    assert code == 2
    assert "symbols, a symbol of source test must be one of XXX, YYY, was 'QQQ'" in err
