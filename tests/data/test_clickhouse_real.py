"""Real streams through ClickHouse: the same events, and the same run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bt_framework
from bt_framework.cli.main import main
from bt_framework.data.store import EventStore
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse

FILES = ("binance/btcusdt_20240808.gz", "binance/ethusdt_20240808.gz")

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real") / "store"


def test_a_run_on_events_of_clickhouse_is_the_run_on_their_files(
    shared_dir: Path, tmp_path: Path, store_dir: Path, clickhouse_url: str
) -> None:
    files = [str(shared_dir / "data" / name) for name in FILES]
    assert main(["db", "migrate", f"url={clickhouse_url}"]) == 0
    assert main(["db", "load", *files, f"url={clickhouse_url}", f"store_dir={store_dir}"]) == 0
    base = ["+strategy=ou_pairs", "console=plain", f"runs_dir={tmp_path / 'runs'}"]
    database = ["data=clickhouse", "data.symbols=[BTCUSDT,ETHUSDT]", f"data.url={clickhouse_url}"]
    others = [f"store_dir={tmp_path / 'other'}", *database]
    runs = [
        bt_framework.run(
            [*base, f"store_dir={store_dir}", "data=binance", f"data.files=[{','.join(files)}]"]
        ),
        bt_framework.run([*base, *others]),
        bt_framework.run([*base, *others, "data.keep=false"]),
    ]
    first, *rest = [run.record for run in runs]
    for record in rest:
        assert record.identity == first.identity
        assert record.result_hash == first.result_hash
        assert (record.data_grade, record.instruments, record.feeds) == (
            first.data_grade,
            first.instruments,
            first.feeds,
        )
    # The touch in the database is what the run saw.
    equity = runs[0].equity.to_pandas()
    with ClickHouse(address_of(clickhouse_url, "")) as db:
        for symbol, samples in equity.groupby("symbol"):
            touch = db.query(
                "SELECT ts, bid_px, ask_px FROM market_touch FINAL WHERE symbol = {s:String} AND clock = 'local' "
                "ORDER BY ts",
                {"s": symbol},
            )
            ts, bid, ask = (touch[name].to_numpy() for name in ("ts", "bid_px", "ask_px"))
            last = np.searchsorted(ts, samples["local_ts"].to_numpy(), side="right") - 1
            assert ((bid + ask) / 2)[last].tolist() == samples["mid_px"].tolist()


def test_single_orders_come_back_to_the_bit(
    shared_dir: Path, tmp_path: Path, store_dir: Path, clickhouse_url: str
) -> None:
    file = next((shared_dir / "data" / "cme").glob("*.mbo.dbn.zst"))
    assert main(["db", "migrate", f"url={clickhouse_url}"]) == 0
    assert main(["db", "load", str(file), f"url={clickhouse_url}", f"store_dir={store_dir}"]) == 0
    stored = [m for m in EventStore(store_dir).manifests() if m.reader == "databento"]
    assert stored
    for manifest in stored:
        data = ["data=clickhouse", f"data.symbols=[{manifest.symbol}]", f"data.url={clickhouse_url}"]
        ids = [f"data.feed_ids=[{manifest.content_hash}]"]
        assert main(["ingest", *data, *ids, f"store_dir={tmp_path}"]) == 0
        (back,) = [m for m in EventStore(tmp_path).manifests() if m.content_hash == manifest.content_hash]
        said = ("spec", "book_level", "report", "findings", "timing", "touch_low_px", "touch_high_px")
        assert [getattr(back, name) for name in said] == [getattr(manifest, name) for name in said]
