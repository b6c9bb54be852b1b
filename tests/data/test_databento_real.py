"""Real DBN files: the events, replayed by a small book of their own, make the books that the files tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import numpy as np
import pytest
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from numba import njit

from bt_framework.data.doctor import Severity
from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.data.streams import decompressed_blocks
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.databento import Databento, build
from bt_plugins.data.databento._header import SCHEMAS
from bt_plugins.data.databento._select import record_dtype
from bt_plugins.data.databento._windows import FIRST_LEVEL_WORD, WORDS_PER_LEVEL

pytestmark = pytest.mark.usefixtures("own_cache")

MBO = "esh4-glbx-mdp3-20231225.mbo.dbn.zst"
MBP = "futures_mbp-1_2024-07-01T23-58_2024-07-02T00-02.dbn.zst"
TRADES = "futures_trades_2024-07-01T23-58_2024-07-02T00-02.dbn.zst"
DEFINITION = "futures_definition.dbn.zst"

RECORDS = {"A": 29_216, "C": 17_999, "M": 12_233, "F": 6_371, "T": 2_973}
SNAPSHOT_ORDERS = 8_725
OPEN_TS = 1_703_545_200_000_000_000
CLOSE_TS = OPEN_TS + 3_600_000_000_000  # midnight
BUY = int(EventFlag.BUY)
NOTHING_TOLD = {"fill of an unknown order": 7, "order that did not change": 63}


@pytest.fixture
def cme(shared_dir: Path) -> Path:
    return shared_dir / "data" / "cme"


def feed_of(*paths: Path, **options: Any) -> Any:
    (feed,) = build(Databento(files=[str(path) for path in paths], **options)).feeds()
    return feed


def read(*paths: Path, **options: Any) -> tuple[np.ndarray, FeedReport]:
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed_of(*paths, **options).chunks(report, lambda *_: None)]
    return np.concatenate(chunks), report


def library_records(path: Path) -> list[Any]:
    """The file as the library itself decodes it, record by record."""
    decoder = dbn.DBNDecoder(compression=dbn.Compression.ZSTD)
    decoder.write(path.read_bytes())
    return [record for record in decoder.decode() if not isinstance(record, dbn.Metadata)]


@dataclass
class OrderBook:
    """Orders by id, and by side and price the ids in their queue, first come first."""

    orders: dict[int, tuple[int, float, float]] = field(default_factory=dict)
    queues: dict[tuple[int, float], dict[int, float]] = field(default_factory=dict)

    def set(self, order_id: int, side: int, px: float, qty: float) -> None:
        before = self.orders.get(order_id)
        if before and (before[1] != px or qty > before[2]):
            self.remove(order_id)
        self.orders[order_id] = (side, px, qty)
        self.queues.setdefault((side, px), {})[order_id] = qty

    def remove(self, order_id: int) -> None:
        side, px, _ = self.orders.pop(order_id)
        queue = self.queues[side, px]
        del queue[order_id]
        if not queue:
            del self.queues[side, px]

    def levels(self) -> dict[tuple[int, float], float]:
        return {level: sum(queue.values()) for level, queue in self.queues.items()}

    def ordered(self) -> dict[tuple[int, float], list[tuple[int, float]]]:
        return {level: list(queue.items()) for level, queue in self.queues.items()}

    def best(self) -> tuple[float, float]:
        return best_of(self.queues)


def best_of(levels: Any) -> tuple[float, float]:
    bids = [px for side, px in levels if side > 0]
    asks = [px for side, px in levels if side < 0]
    return max(bids, default=-np.inf), min(asks, default=np.inf)


def apply_record(book: OrderBook, record: Any) -> bool:
    """Follow a record of the file; returns whether it says something that an order book can use."""
    action, order_id = str(record.action), record.order_id
    if action in "AM":
        side = 1 if str(record.side) == "B" else -1
        changes = book.orders.get(order_id) != (side, record.price / 1e9, record.size)
        book.set(order_id, side, record.price / 1e9, record.size)
        return changes
    if action == "C":
        assert record.size == book.orders[order_id][2]
        book.remove(order_id)
    return action != "F" or order_id in book.orders


def apply_event(book: OrderBook, event: Any) -> None:
    kind, order_id = int(event["ev"]) & 0xFF, int(event["order_id"])
    side = 1 if int(event["ev"]) & BUY else -1
    if kind == EventKind.ADD_ORDER:
        assert order_id not in book.orders
        book.set(order_id, side, float(event["px"]), float(event["qty"]))
    elif kind == EventKind.MODIFY_ORDER:
        assert book.orders[order_id][0] == side
        book.set(order_id, side, float(event["px"]), float(event["qty"]))
    elif kind == EventKind.CANCEL_ORDER:
        book.remove(order_id)
    elif kind == EventKind.FILL:
        assert book.orders[order_id][0] == side
    else:
        assert kind == EventKind.TRADE


KIND = {"A": EventKind.ADD_ORDER, "C": EventKind.CANCEL_ORDER, "F": EventKind.FILL}
KIND |= {"M": EventKind.MODIFY_ORDER, "T": EventKind.TRADE}


def test_the_file_is_the_one_that_its_facts_are_about(cme: Path) -> None:
    records = library_records(cme / MBO)
    assert Counter(str(record.action) for record in records) == RECORDS
    snapshot = [record for record in records if record.flags & dbn.F_SNAPSHOT]
    assert len({record.order_id for record in snapshot}) == len(snapshot) == SNAPSHOT_ORDERS
    assert records[: len(snapshot)] == snapshot
    assert CLOSE_TS - 1_000_000_000 < records[-1].ts_recv < CLOSE_TS


def test_every_record_of_an_order_book_is_one_event_and_both_make_the_same_book(cme: Path) -> None:
    """All records are kept: record by record the level that it is about agrees, and in the end every queue."""
    events, report = read(cme / MBO, auction="keep")
    truth, book = OrderBook(), OrderBook()
    crossed, last_crossed_ts, n_events = 0, 0, 0
    for record in library_records(cme / MBO):
        if apply_record(truth, record):
            event = events[n_events]
            n_events += 1
            apply_event(book, event)
            assert int(event["ev"]) & 0xFF == KIND[str(record.action)]
            level = (1 if str(record.side) == "B" else -1, record.price / 1e9)
            assert book.queues.get(level) == truth.queues.get(level)
            if not record.flags & dbn.F_SNAPSHOT:
                assert (event["exch_ts"], event["local_ts"]) == (record.ts_event, record.ts_recv)
        if record.flags & dbn.F_LAST:
            bid, ask = truth.best()
            if bid >= ask:
                crossed, last_crossed_ts = crossed + 1, record.ts_event
    assert n_events == len(events)
    assert book.ordered() == truth.ordered()
    assert (crossed, last_crossed_ts < OPEN_TS) == (891, True)
    assert (book.best(), len(book.orders)) == ((4_810.00, 4_810.25), 11_217)
    assert report.dropped == NOTHING_TOLD
    assert (report.symbol, report.rows_read) == ("ESH4", sum(RECORDS.values()))


def test_no_event_lies_in_the_auction_and_the_book_after_it_is_the_files(cme: Path) -> None:
    events, report = read(cme / MBO)
    assert report.notes["closed_phases"] == [[1_703_462_400_000_000_000, OPEN_TS]]
    assert events["exch_ts"].min() == OPEN_TS
    truth, book = OrderBook(), OrderBook()
    n_events = n_closed = 0
    opened = False
    for record in library_records(cme / MBO):
        useful = apply_record(truth, record)
        if not opened:
            n_closed += 1
            opened = (
                str(record.action) == "C" and record.ts_event == OPEN_TS and bool(record.flags & dbn.F_LAST)
            )
            if opened:
                for event in events[: len(truth.orders)]:
                    apply_event(book, event)
                n_events = len(truth.orders)
                assert set(events["ev"][:n_events] & 0xFF) == {EventKind.ADD_ORDER}
                assert book.ordered() == truth.ordered()
                assert book.best()[0] < book.best()[1]
        elif useful:
            apply_event(book, events[n_events])
            n_events += 1
        if opened and record.flags & dbn.F_LAST and n_events % 20 == 0:
            assert book.best() == truth.best()
            assert book.best()[0] < book.best()[1]
    assert n_events == len(events)
    assert book.ordered() == truth.ordered()
    assert report.dropped == NOTHING_TOLD | {"closed phase": n_closed - 7}
    trades = events["ev"] & 0xFF == EventKind.TRADE
    assert trades.sum() == RECORDS["T"] - 1  # less that of the opening


class DepthBook:
    """Quantity by side and price, of the events up to a local time."""

    def __init__(self, events: np.ndarray) -> None:
        self.levels: dict[tuple[int, float], float] = {}
        self._events = events
        self._done = 0

    def advance(self, local_ts: int) -> None:
        end = int(np.searchsorted(self._events["local_ts"], local_ts, side="right"))
        for event in self._events[self._done : end]:
            kind = int(event["ev"]) & 0xFF
            if kind == EventKind.TRADE:
                continue
            assert kind in (EventKind.DEPTH, EventKind.DEPTH_SNAPSHOT)
            level = (1 if int(event["ev"]) & BUY else -1, float(event["px"]))
            assert event["qty"] != self.levels.get(level, 0.0)
            if event["qty"] > 0:
                self.levels[level] = float(event["qty"])
            else:
                del self.levels[level]
        self._done = end


def ends_packet(records: list[Any], i: int) -> bool:
    """Whether no other record of the same time follows, and the book is whole again."""
    alone = i + 1 == len(records) or records[i + 1].ts_recv != records[i].ts_recv
    return alone and bool(records[i].flags & dbn.F_LAST)


@pytest.mark.parametrize("auction", ["keep", "withhold"])
def test_depth_of_orders_added_up_is_the_files_after_every_packet(cme: Path, auction: str) -> None:
    events, report = read(cme / MBO, book="l2", auction=auction)
    truth, depth = OrderBook(), DepthBook(events)
    records = library_records(cme / MBO)
    compared = 0
    for i, record in enumerate(records):
        apply_record(truth, record)
        if ends_packet(records, i):
            depth.advance(record.ts_recv)
            if auction == "withhold" and record.ts_recv < events["local_ts"][0]:
                continue
            compared += 1
            level = (1 if str(record.side) == "B" else -1, record.price / 1e9)
            assert depth.levels.get(level, 0.0) == sum(truth.queues.get(level, {}).values())
            if compared % 200 == 0 or i + 1 == len(records):
                assert depth.levels == truth.levels()
    assert compared > 40_000
    told = report.rows_read - sum(report.dropped.values())
    assert told == sum(RECORDS[action] for action in "ACMT") - 63 - report.dropped.get("closed phase", 0)


@njit
def _run(hbt: Any) -> Any:
    code = hbt.elapse(0)
    while code == 0:
        code = hbt.elapse(60_000_000_000)
    depth = hbt.depth(0)
    bid, ask = depth.best_bid, depth.best_ask
    return (
        code,
        bid,
        ask,
        depth.bid_qty_at_tick(depth.best_bid_tick),
        depth.ask_qty_at_tick(depth.best_ask_tick),
    )


@pytest.mark.parametrize("auction", ["keep", "withhold"])
def test_the_engine_takes_every_order_event_and_ends_with_the_files_book(
    cme: Path, tmp_path: Path, auction: str
) -> None:
    feed = feed_of(cme / MBO, auction=auction)
    chunks = ordered_chunks(feed, FeedReport(), lambda *_: None, tmp_path)
    events = np.concatenate([chunk.copy() for chunk in chunks])
    asset = BacktestAsset().data([events]).linear_asset(50.0).constant_order_latency(0, 0)
    asset.l3_fifo_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
    hbt = HashMapMarketDepthBacktest([asset.tick_size(0.25).lot_size(1.0)])
    code, bid, ask, bid_qty, ask_qty = _run(hbt)
    hbt.close()
    truth = OrderBook()
    for record in library_records(cme / MBO):
        apply_record(truth, record)
    levels = truth.levels()
    assert code == 1  # the end of the data
    assert (bid, ask) == (4_810.00, 4_810.25)
    assert (bid_qty, ask_qty) == (levels[1, bid], levels[-1, ask])


def test_the_window_of_one_level_is_the_files_after_every_packet(cme: Path) -> None:
    events, report = read(cme / MBP)
    depth = DepthBook(events)
    records = library_records(cme / MBP)
    compared = 0
    for i, record in enumerate(records):
        if ends_packet(records, i):
            depth.advance(record.ts_recv)
            level = record.levels[0]
            compared += 1
            assert depth.levels == {
                (1, level.bid_px / 1e9): level.bid_sz,
                (-1, level.ask_px / 1e9): level.ask_sz,
            }
    assert compared > 2_000
    assert (report.rows_read, report.dropped, report.notes["closed_phases"]) == (2_288, {}, [])


def test_trades_of_the_window_are_those_of_the_trades_file(cme: Path) -> None:
    of_window, _ = read(cme / MBP)
    alone, report = read(cme / TRADES)
    assert of_window[of_window["ev"] & 0xFF == EventKind.TRADE].tobytes() == alone.tobytes()
    assert (len(alone), report.rows_read, report.dropped) == (120, 120, {})
    first = alone[0]
    assert int(first["ev"]) == EventKind.TRADE | EventFlag.BUY  # it took the ask, 5,528.75
    assert (first["px"], first["qty"], int(first["exch_ts"])) == (5_528.75, 2.0, 1_719_878_281_218_218_853)


def test_a_definition_file_tells_tick_and_contract_size(cme: Path) -> None:
    feed = feed_of(cme / MBP, cme / DEFINITION)
    report = FeedReport()
    next(iter(feed.chunks(report, lambda *_: None)))
    found = feed.known_instrument(report)
    assert (found.symbol, found.tick_size, found.lot_size, found.contract_size) == ("ESU4", 0.25, 1.0, 50.0)
    assert (report.notes["currency"], report.notes["unit_of_measure"]) == ("USD", "IPNT")
    assert [path.name for path in feed.files] == [MBP]


@pytest.mark.parametrize("options", [{}, {"book": "l2"}, {"auction": "keep"}])
def test_the_doctor_lets_orders_and_their_depth_pass(cme: Path, tmp_path: Path, options: Any) -> None:
    stored = EventStore(tmp_path).load(feed_of(cme / MBO, **options))
    assert not [f for f in stored.findings if f.severity == Severity.FATAL]
    assert (stored.spec.symbol, stored.spec.tick_size, stored.spec.lot_size) == ("ESH4", 0.25, 1.0)
    if not options:
        assert 4_790 < stored.touch_low_px < 4_810 < stored.touch_high_px < 4_830


@pytest.mark.parametrize("name", [MBP, TRADES])
def test_the_doctor_lets_windows_and_trades_pass(cme: Path, tmp_path: Path, name: str) -> None:
    stored = EventStore(tmp_path).load(feed_of(cme / name, cme / DEFINITION))
    assert not [f for f in stored.findings if f.severity == Severity.FATAL]
    assert (stored.spec.tick_size, stored.spec.contract_size) == (0.25, 50.0)


def test_layouts_are_the_librarys(cme: Path) -> None:
    for schema, name in SCHEMAS.items():
        record_class = getattr(dbn, name)
        dtype = record_dtype(schema)
        assert dtype.itemsize == record_class.size_hint
        assert dtype.names == tuple(name for name, _ in record_class._dtypes)
        for version in (dbn.v1, dbn.v2):
            assert getattr(version, name).size_hint == dtype.itemsize
        if schema.startswith("mbp"):
            for k in range(10 if schema == "mbp-10" else 1):
                assert dtype.fields[f"bid_px_{k:02}"][1] == 8 * (FIRST_LEVEL_WORD + k * WORDS_PER_LEVEL)
                assert dtype.fields[f"ask_px_{k:02}"][1] == dtype.fields[f"bid_px_{k:02}"][1] + 8
                assert dtype.fields[f"bid_sz_{k:02}"][1] == dtype.fields[f"bid_px_{k:02}"][1] + 16
                assert dtype.fields[f"ask_sz_{k:02}"][1] == dtype.fields[f"bid_px_{k:02}"][1] + 20
    raw = b"".join(block for block, _ in decompressed_blocks(cme / MBO))
    mbo = np.frombuffer(raw[feed_of(cme / MBO).headers[0].n_bytes :], record_dtype("mbo"))
    last = library_records(cme / MBO)[-1]
    for name in ("order_id", "price", "size", "flags", "ts_event", "ts_recv", "instrument_id"):
        assert int(mbo[-1][name]) == int(getattr(last, name)), name


def test_only_its_own_files_are_recognised(shared_dir: Path) -> None:
    claimed = set()
    for path in sorted((shared_dir / "data").rglob("*")):
        if path.is_file():
            block, _ = next(iter(decompressed_blocks(path)))
            if Databento.recognise(path, block):
                claimed.add(path.name)
    assert claimed == {MBO, MBP, TRADES, DEFINITION}


def test_events_do_not_depend_on_the_size_of_blocks(cme: Path) -> None:
    from bt_plugins.data.databento._reader import Reader

    for name, options in ((MBO, {}), (MBO, {"book": "l2"}), (MBP, {})):
        feed = feed_of(cme / name, **options)
        whole, _ = read(cme / name, **options)
        for block_bytes in (1_000, 77_777):
            reader = Reader(feed.config, feed.symbol, feed.schema, FeedReport(), starts_closed=name == MBO)
            rows = [rows.copy() for rows, _ in reader.rows(feed.headers[0], block_bytes)]
            rows += [rows.copy() for rows in reader.last_rows()]
            assert np.concatenate(rows).tobytes() == whole.tobytes()
    assert EVENT.itemsize == 64
