"""LOBSTER's sample files: their events, replayed by books of the test's own, make each row of the book files."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from lobster_files import Truth, follow
from numba import njit
from pyarrow import csv

from bt_framework.data.doctor import Severity
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.lobster import Lobster, build

pytestmark = pytest.mark.usefixtures("own_cache")

FACTS = {
    "GOOG_10": (147_916, 7_765, 492_509),
    "GOOG_5": (112_673, 7_765, 492_509),
    "GOOG_1": (49_482, 7_765, 492_509),
    "AMZN_1": (57_515, 8_974, 613_248),
}
GOOG_10_EQUAL_TIMES = 8_537
MIDNIGHT_TS = int(datetime(2012, 6, 21, tzinfo=ZoneInfo("America/New_York")).timestamp()) * 10**9
BOTH_CLOCKS = int(EventFlag.EXCH | EventFlag.LOCAL)


def sample(shared_dir: Path, name: str) -> Path:
    symbol, levels = name.split("_")
    return shared_dir / "data" / "lobster" / f"LOBSTER_SampleFile_{symbol}_2012-06-21_{levels}.zip"


def truth_of(path: Path) -> Truth:
    options = csv.ReadOptions(autogenerate_column_names=True)
    times = csv.ConvertOptions(column_types={"f0": pa.string()})
    with zipfile.ZipFile(path) as archive:
        texts = {
            part: archive.read(name)
            for name in archive.namelist()
            for part in ("message", "orderbook")
            if part in name
        }
    messages = csv.read_csv(io.BytesIO(texts["message"]), options, convert_options=times)
    book = csv.read_csv(io.BytesIO(texts["orderbook"]), options)
    ns = [int(Decimal(text) * 10**9) for text in messages["f0"].to_pylist()]
    return Truth(
        MIDNIGHT_TS + np.array(ns),
        np.column_stack([messages[f"f{i}"].to_numpy() for i in range(1, 6)]),
        np.column_stack([column.to_numpy() for column in book.columns]),
    )


@pytest.fixture(scope="module", params=[pytest.param("GOOG_10", marks=pytest.mark.long), *list(FACTS)[1:]])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def truth(shared_dir: Path, name: str) -> Truth:
    return truth_of(sample(shared_dir, name))


def read(path: Path, **options: Any) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Lobster(files=[str(path)], **options)).feeds()
    assert feed.ordered
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def test_the_samples_hold_what_is_known_of_them(name: str, truth: Truth) -> None:
    n_rows, n_executions, volume = FACTS[name]
    visible = truth.columns[:, 0] == 4
    assert (len(truth.ts), len(truth.book)) == (n_rows, n_rows)
    assert (visible.sum(), truth.columns[visible, 2].sum()) == (n_executions, volume)
    if name == "GOOG_10":
        assert (np.diff(truth.ts) == 0).sum() == GOOG_10_EQUAL_TIMES


@pytest.mark.parametrize("beyond", ["keep", "remove"])
def test_each_row_of_the_book_is_the_levels_after_its_message(
    shared_dir: Path, name: str, truth: Truth, beyond: str
) -> None:
    events, report = read(sample(shared_dir, name), beyond=beyond)
    replay = follow(truth, events)
    n_levels = truth.book.shape[1] // 4
    held = [len(side.qty) for side in replay.sides]
    assert (held == [n_levels] * 2) == (beyond == "remove")
    assert report.rows_read == FACTS[name][0]
    assert report.dropped == {}
    assert report.notes["closed_phases"] == []


def test_each_row_of_the_book_is_the_sum_over_orders_after_its_message(
    shared_dir: Path, name: str, truth: Truth
) -> None:
    events, report = read(sample(shared_dir, name), book="l3")
    replay = follow(truth, events)
    assert set(report.dropped) <= {"unknown order"}
    assert report.dropped["unknown order"] < 0.03 * len(truth.ts)
    if name == "GOOG_10":
        assert (report.dropped["unknown order"], report.notes["repairs_in_book"]) == (360, 455)
    fills = events[(events["ev"] & 0xFF) == EventKind.FILL]
    # The first message of GOOG executes an order that no row has shown before.
    assert len(fills) == FACTS[name][1] - (name != "AMZN_1")
    front = replay.fills_at_front[True] / len(fills)
    assert front > (0.98 if name == "GOOG_10" else 0.9)
    notes = report.notes
    assert notes["synthetic_at_start"] == truth.book.shape[1] // 2
    assert notes["repairs_in_book"] <= notes["cut_orders"] + notes["synthetic_later"]
    synthetic = events[((events["ev"] & 0xFF) == EventKind.ADD_ORDER) & (events["order_id"] >= 1 << 62)]
    assert len(synthetic) == notes["synthetic_at_start"] + notes["synthetic_later"]


def test_times_are_exact_and_on_both_clocks(shared_dir: Path, name: str, truth: Truth) -> None:
    events, _ = read(sample(shared_dir, name), feed_latency_ns="250us")
    trades = events[(events["ev"] & 0xFF) == EventKind.TRADE]
    assert (events["ev"] & BOTH_CLOCKS == BOTH_CLOCKS).all()
    np.testing.assert_array_equal(trades["exch_ts"], truth.ts[np.isin(truth.columns[:, 0], (4, 5))])
    np.testing.assert_array_equal(events["local_ts"], events["exch_ts"] + 250_000)
    start = datetime.fromtimestamp(int(events["exch_ts"][0]) // 10**9, ZoneInfo("UTC"))
    assert start == datetime(2012, 6, 21, 13, 30, tzinfo=ZoneInfo("UTC"))
    assert timedelta(microseconds=int(np.ptp(events["exch_ts"])) / 1_000) < timedelta(hours=6.5)


def test_visible_executions_are_the_same_at_every_depth(shared_dir: Path) -> None:
    prints = []
    for name in ("GOOG_1", "GOOG_5", "GOOG_10"):
        events, _ = read(sample(shared_dir, name))
        trades = events[(events["ev"] & 0xFF) == EventKind.TRADE]
        prints.append(trades.tobytes())
    assert prints[0] == prints[1] == prints[2]


def test_prints_between_ticks_keep_their_price_beside_the_tick(shared_dir: Path) -> None:
    path = sample(shared_dir, "GOOG_10")
    events, report = read(path)
    truth = truth_of(path)
    off = events[events["fval"] != 0]
    assert len(off) == report.notes["off_tick_prints"] == 50
    hidden = truth.columns[(truth.columns[:, 3] % 100 != 0)]
    assert set(hidden[:, 0]) == {5}
    np.testing.assert_array_equal(off["fval"], hidden[:, 3] / 10_000)


@pytest.mark.parametrize("book", ["l2", "l3"])
def test_a_sample_is_ingested_and_the_doctor_has_nothing_against_it(
    shared_dir: Path, tmp_path: Path, book: str
) -> None:
    (feed,) = build(Lobster(files=[str(sample(shared_dir, "GOOG_10"))], book=book)).feeds()
    stored = EventStore(tmp_path).load(feed)
    assert [f for f in stored.findings if f.severity != Severity.INFO] == []
    assert (stored.symbol, stored.spec.tick_size, stored.spec.lot_size) == ("GOOG", 0.01, 1.0)
    events, _ = read(sample(shared_dir, "GOOG_10"), book=book)
    assert stored.open().tobytes() == events.tobytes()


@njit
def _run(hbt: Any) -> Any:
    code = hbt.elapse(0)
    while code == 0:
        code = hbt.elapse(60_000_000_000)
    depth = hbt.depth(0)
    qty = (depth.bid_qty_at_tick(depth.best_bid_tick), depth.ask_qty_at_tick(depth.best_ask_tick))
    return code, depth.best_bid_tick, qty[0], depth.best_ask_tick, qty[1]


@pytest.mark.parametrize("book", ["l2", "l3"])
def test_the_engine_takes_every_event_and_ends_with_the_files_last_row(
    shared_dir: Path, name: str, truth: Truth, book: str
) -> None:
    events, _ = read(sample(shared_dir, name), book=book)
    asset = BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(0, 0)
    asset = asset.l3_fifo_queue_model() if book == "l3" else asset.risk_adverse_queue_model()
    asset.no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0).tick_size(0.01).lot_size(1.0)
    hbt = HashMapMarketDepthBacktest([asset])
    code, bid_ticks, bid_qty, ask_ticks, ask_qty = _run(hbt)
    hbt.close()
    assert code == 1  # the end of the data
    ask, ask_size, bid, bid_size = truth.book[-1, :4]
    assert (bid_ticks * 100, bid_qty, ask_ticks * 100, ask_qty) == (bid, bid_size, ask, ask_size)
