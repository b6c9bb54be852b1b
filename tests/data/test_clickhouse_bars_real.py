"""Real bars through ClickHouse: AAPL with its dividends and splits, 1980 to 2018."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from bt_framework.bars.closes import BarRange
from bt_framework.bars.quotes import bar_feeds
from bt_framework.bars.schema import BAR_SCHEMA
from bt_framework.bars.store import BarStore
from bt_framework.bars.trading import TradedBars
from bt_framework.data.store import EventStore
from bt_framework.research.pipeline import ingest_bars
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.bars import DatabaseBars
from bt_framework.stores.clickhouse.bars_loading import load_bars
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.schema import migrate
from bt_plugins.bars.clickhouse import Clickhouse
from bt_plugins.bars.clickhouse import build as build_clickhouse
from bt_plugins.bars.csv import Csv, build


def test_a_share_of_38_years_is_the_same_in_the_store_the_database_and_the_events(
    shared_dir: Path, tmp_path: Path, clickhouse_url: str
) -> None:
    path = shared_dir / "data" / "corporate_actions" / "quandl_WIKI-AAPL.csv.gz"
    columns = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
    source = build(Csv(files=[str(path)], symbols=["AAPL"], columns=columns, source="wiki"))
    ingest_bars(source, tmp_path, lambda *_: None)
    store = BarStore(tmp_path / "bars")
    bars = store.read("wiki")
    assert bars.num_rows > 9_000
    assert len(np.unique(bars["adj_factor"].to_numpy())) > 50
    address = address_of(clickhouse_url, "")
    with ClickHouse(address) as db:
        migrate(db)
        assert load_bars(db, tmp_path, "wiki").inserted == bars.num_rows
        assert load_bars(db, tmp_path, "wiki").inserted == 0
        counted = db.query("SELECT count() AS n, sum(close * adj_factor) AS s FROM bars_current").to_pylist()
    expected = float((bars["close"].to_numpy() * bars["adj_factor"].to_numpy()).sum())
    assert counted[0]["n"] == bars.num_rows
    assert abs(counted[0]["s"] / expected - 1) < 1e-12
    there = DatabaseBars(address)
    ever = {"start": datetime(1900, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
    assert there.read("wiki", symbols=["AAPL"], columns=BAR_SCHEMA.names, **ever).equals(bars)
    hashes = set()
    for folder, reader in (("a", store), ("b", there)):
        (feed,) = bar_feeds(reader, BarRange("wiki"), ["AAPL"], TradedBars())
        feed.keep = False
        hashes.add(EventStore(tmp_path / folder).load(feed).content_hash)
    assert len(hashes) == 1
    again = build_clickhouse(Clickhouse(url=clickhouse_url, database_source="wiki"))
    ingest_bars(again, tmp_path / "other", lambda *_: None)
    assert BarStore(tmp_path / "other" / "bars").read("wiki").equals(bars)
