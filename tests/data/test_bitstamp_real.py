"""Five hours of Bitstamp's orders: the events rebuild the book of the file, and the engine agrees."""

from __future__ import annotations

import lzma
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bt_framework.data.doctor import Severity
from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.bitstamp import Bitstamp, build

NAME = "obAnalytics_bitstamp_BTCUSD_20150501_orders.csv.xz"
KIND = np.uint64(0xFF)

Orders = dict[int, tuple[str, float, float]]


@pytest.fixture
def real_file(shared_dir: Path) -> Path:
    return shared_dir / "data" / "crypto" / NAME


def read(path: Path, **options: object) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Bitstamp(files=[str(path)], **options)).feeds()  # type: ignore[arg-type]
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def replayed(orders: Orders, row: np.void) -> None:
    """Let an event act on the orders; nothing may be there twice, or be touched that is not there."""
    kind, order_id, side = (
        int(row["ev"]) & 0xFF,
        int(row["order_id"]),
        "bid" if int(row["ev"]) & EventFlag.BUY else "ask",
    )
    px, qty = float(row["px"]), float(row["qty"])
    if kind == EventKind.ADD_ORDER:
        assert order_id not in orders
        assert qty > 0.0
        orders[order_id] = (side, px, qty)
    elif kind == EventKind.CANCEL_ORDER:
        assert orders.pop(order_id) == (side, px, qty)
    elif kind == EventKind.MODIFY_ORDER:
        assert orders[order_id][0] == side
        assert qty > 0.0
        orders[order_id] = (side, px, qty)
    elif kind == EventKind.FILL:
        assert orders[order_id][:2] == (side, px)
        assert 0.0 < qty <= orders[order_id][2]
    else:
        assert (kind, order_id) == (EventKind.TRADE, 0)


def is_crossed(orders: Orders) -> bool:
    bids = [px for side, px, _ in orders.values() if side == "bid"]
    asks = [px for side, px, _ in orders.values() if side == "ask"]
    return bool(bids and asks) and max(bids) >= min(asks)


def test_the_book_of_the_events_is_the_files_wherever_that_is_not_crossed(real_file: Path) -> None:
    rows, report = read(real_file)
    lines = [line.split(",") for line in lzma.decompress(real_file.read_bytes()).decode().splitlines()[1:]]
    truth, seen = Orders(), Orders()
    gone: set[int] = set()
    at = episodes = agreed = waiting = 0
    was_crossed = False
    for i, (text_id, ms, _, px, volume, action, side) in enumerate(lines):
        order_id = int(text_id)
        if action == "deleted":
            truth.pop(order_id, None)
            gone.add(order_id)
        elif order_id not in gone and (action == "created" or order_id in truth):
            truth[order_id] = (side, float(px), int(volume) / 1e8)
        crossed = (was_crossed or action != "deleted") and is_crossed(truth)  # no deletion begins a crossing
        episodes += crossed and not was_crossed
        was_crossed = crossed
        if i + 1 < len(lines) and lines[i + 1][1] == ms:
            continue
        while at < len(rows) and rows["local_ts"][at] <= int(ms) * 1_000_000:
            replayed(seen, rows[at])
            at += 1
        assert action == "deleted" or not is_crossed(seen)
        if crossed:
            continue
        if seen == truth:
            agreed += 1
            continue
        waiting += 1
        for order_id in seen.keys() | truth.keys():  # one side of a trade is told, the other not yet
            assert seen.get(order_id, truth[order_id])[:2] == truth[order_id][:2]
            assert seen.get(order_id, (0, 0, 0.0))[2] <= truth[order_id][2]
    assert at == len(rows)
    assert (len(lines), report.rows_read, len({line[0] for line in lines})) == (50_414, 50_414, 25_076)
    assert episodes == 378
    assert (agreed, waiting) == (49_225, 94)
    assert seen == truth
    assert len(seen) == 179


def test_the_counts_are_those_of_the_file(real_file: Path) -> None:
    rows, report = read(real_file)
    kinds = Counter((rows["ev"] & KIND).tolist())
    assert kinds == {
        EventKind.TRADE: 561,
        EventKind.FILL: 561,
        EventKind.ADD_ORDER: 24_624,
        EventKind.CANCEL_ORDER: 24_445,
        EventKind.MODIFY_ORDER: 303,
    }
    assert report.dropped == {
        "deleted, never seen": 187,
        "changed, never seen": 4,
        "created after its deletion": 5,
        "changed after its deletion": 1,
        "deleted again": 21,
        "of an order that takes, outside the book": 864,
        "of a trade that others have told": 43,
    }
    notes = report.notes
    assert (notes["exchange_time_steps_back"], notes["receive_time_steps_back"]) == (16_278, 0)
    assert notes["creation_age_ns"] == [276_000_000, 1_288_000_000]
    assert notes["stale_orders"] == 0
    # Those who took and those who were taken from tell the same trades; a few makers are older than the file.
    assert notes["traded_qty"] == pytest.approx(notes["taken_qty"], rel=0.01)
    assert report.symbol == "BTCUSD"


def test_price_levels_are_the_sums_of_the_orders(real_file: Path) -> None:
    orders, by_order = Orders(), read(real_file)[0]
    by_level = read(real_file, book="l2")[0]
    assert set((by_level["ev"] & KIND).tolist()) == {EventKind.DEPTH, EventKind.TRADE}
    is_trade = by_level["ev"] & KIND == EventKind.TRADE
    assert by_level[is_trade].tobytes() == by_order[by_order["ev"] & KIND == EventKind.TRADE].tobytes()
    at = 0
    for ts in by_level["local_ts"][::4_999].tolist():
        for row in by_order[at : np.searchsorted(by_order["local_ts"], ts, "right")]:
            replayed(orders, row)
            at += 1
        levels: dict[tuple[str, float], float] = {}
        for row in by_level[(by_level["local_ts"] <= ts) & ~is_trade]:
            levels[("bid" if int(row["ev"]) & EventFlag.BUY else "ask", float(row["px"]))] = float(row["qty"])
        sums: Counter[tuple[str, float]] = Counter()
        for side, px, qty in orders.values():
            sums[(side, px)] += round(qty * 1e8)
        assert {key: round(qty * 1e8) for key, qty in levels.items() if qty} == sums


def test_the_exchange_time_is_the_receive_time_less_the_latency(real_file: Path, tmp_path: Path) -> None:
    (feed,) = build(Bitstamp(files=[str(real_file)], feed_latency_ns="280ms")).feeds()
    report = FeedReport()
    events = np.concatenate([c.copy() for c in ordered_chunks(feed, report, lambda *_: None, tmp_path)])
    assert (events["local_ts"] - events["exch_ts"] == 280_000_000).all()
    assert report.notes["exch_disorder_ns"] == report.notes["local_disorder_ns"] == 0
    assert events["local_ts"].min() == 1_430_438_404_518 * 1_000_000


def test_the_engine_shows_the_same_best_prices_to_the_end(real_file: Path, tmp_path: Path) -> None:
    import hftbacktest as hbt

    (feed,) = build(Bitstamp(files=[str(real_file)])).feeds()
    chunks = ordered_chunks(feed, FeedReport(), lambda *_: None, tmp_path)
    events = np.concatenate([chunk.copy() for chunk in chunks])
    asset = (
        hbt.BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(0.01)
        .lot_size(1e-8)
        .last_trades_capacity(100)
    )
    engine = hbt.HashMapMarketDepthBacktest([asset])
    orders, at = Orders(), 0
    hour = 3_600_000_000_000
    start = int(events["local_ts"][0])
    for ts in range(start, int(events["local_ts"][-1]), hour // 20):
        engine.elapse(ts - engine.current_timestamp if at else 0)
        while at < len(events) and events["local_ts"][at] <= ts:
            replayed(orders, events[at])
            at += 1
        depth = engine.depth(0)
        bids = [px for side, px, _ in orders.values() if side == "bid"]
        asks = [px for side, px, _ in orders.values() if side == "ask"]
        if bids and asks:
            assert depth.best_bid == pytest.approx(max(bids), abs=1e-6)
            assert depth.best_ask == pytest.approx(min(asks), abs=1e-6)
    assert at > 50_000
    assert engine.elapse(hour) == 1  # the end of the data, and no error before
    engine.close()


@pytest.mark.parametrize("book", ["l3", "l2"])
def test_the_store_takes_it_and_the_doctor_finds_nothing_fatal(
    real_file: Path, tmp_path: Path, book: str
) -> None:
    (feed,) = build(Bitstamp(files=[str(real_file)], book=book)).feeds()
    stored = EventStore(tmp_path).load(feed)
    assert Severity.FATAL not in {finding.severity for finding in stored.findings}
    assert "crossed book" not in {finding.check for finding in stored.findings}
    assert (stored.spec.tick_size, stored.spec.lot_size) == (0.01, 1e-8)


def test_only_its_own_files_are_recognised(shared_dir: Path) -> None:
    files = [path for path in (shared_dir / "data").rglob("*") if path.is_file()]
    own = []
    for path in files:
        head = path.read_bytes()
        head = (lzma.decompress(head) if path.suffix == ".xz" else head)[:65_536]
        own += [path.name] if Bitstamp.recognise(path, head) else []
    assert own == [NAME]
