"""LEAN's sample files become the books and trades that a plain reading of their text makes of them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hftbacktest import BacktestAsset, ROIVectorMarketDepthBacktest

from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.quotes import Quotes, build

pytestmark = pytest.mark.usefixtures("own_cache")

FX = {"oanda_eurusd_20140501": (24_179, 0, 0), "oanda_nzdusd_20140506": (49_798, 0, 0)}
OANDA_ROWS = {"eurusd": [24_179, 25_177, 44_864], "nzdusd": [29_799, 27_278, 49_798]}
FXCM = "fxcm_eurusd_20140502"
FXCM_ROWS, FXCM_CROSSED, FXCM_LOCKED = 96_406, 12_061, 13_004
IBM_QUOTES, IBM_TRADES, IBM_BARS = 109_067, 24_293, 11_676
NEW_YORK_NS = 4 * 3_600_000_000_000
DAY_NS = 86_400_000_000_000
MS = 1_000_000

Trade = tuple[int, int, float, float]


def fields(path: Path) -> list[list[str]]:
    """Lines of a zip file's only member, split at commas."""
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        return [line.split(",") for line in archive.read(name).decode().split()]


def read(*paths: Path, **options: object) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Quotes(files=list(map(str, paths)), **options)).feeds()  # type: ignore[arg-type]
    report = FeedReport()
    chunks = [np.zeros(0, EVENT), *(chunk.copy() for chunk in feed.chunks(report, lambda *_: None))]
    return np.concatenate(chunks), report


def books(events: np.ndarray) -> Iterator[tuple[int, dict[float, float], dict[float, float]]]:
    """Bids and asks, price to quantity, after the last row of each time: a book of its own."""
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    rows = [row for row in events.tolist() if row[0] & 0xFF == EventKind.DEPTH]
    for i, (ev, ts, _, px, qty, *_) in enumerate(rows):
        side = bids if ev & EventFlag.BUY else asks
        if qty > 0:
            side[px] = qty
        else:
            del side[px]
        if i + 1 == len(rows) or rows[i + 1][1] != ts:
            yield ts, dict(bids), dict(asks)


def midnight_ns(day: str) -> int:
    return int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def fx_path(shared_dir: Path, name: str) -> Path:
    return shared_dir / "data" / "fx" / f"lean_{name}_quote.zip"


@pytest.fixture
def ibm(shared_dir: Path) -> tuple[Path, Path]:
    folder = shared_dir / "data" / "equity"
    return folder / "lean_tick_ibm_20131007_quote.zip", folder / "lean_tick_ibm_20131007_trade.zip"


@pytest.mark.parametrize("name", [*FX, FXCM])
def test_the_book_is_each_rows_bid_and_ask(shared_dir, name):
    path = fx_path(shared_dir, name)
    n_rows, n_crossed, n_locked = FX.get(name, (FXCM_ROWS, FXCM_CROSSED, FXCM_LOCKED))
    midnight = midnight_ns(name[-8:]) + (5 * 3600 * 1_000 * MS if name == FXCM else 0)
    expected = {midnight + int(ms) * MS: (float(bid), float(ask)) for ms, bid, ask in fields(path)}
    events, report = read(path)
    assert report.rows_read == n_rows
    assert report.notes.get("crossed_quotes", 0) == n_crossed
    assert report.notes.get("locked_quotes", 0) == n_locked
    found = {ts: (bids, asks) for ts, bids, asks in books(events)}
    last = None
    for ts, (bid, ask) in expected.items():
        last = found.get(ts, last)
        assert last == ({bid: 1e6}, {ask: 1e6}), ts
    assert found.keys() <= expected.keys()
    assert set(report.dropped) <= {"unchanged best"}


def test_oandas_rows_never_lock_or_cross_the_book_in_between(shared_dir):
    for name in FX:
        events, _ = read(fx_path(shared_dir, name))
        bids: set[float] = set()
        asks: set[float] = set()
        both = False
        for ev, _, _, px, qty, *_ in events.tolist():
            side = bids if ev & EventFlag.BUY else asks
            (side.add if qty > 0 else side.discard)(px)
            both = both or bool(bids and asks)
            if both:
                assert bids
                assert asks
                assert max(bids) < min(asks)


def test_oandas_files_are_monotone_and_never_crossed(shared_dir):
    for pair, counts in OANDA_ROWS.items():
        for day, n_rows in zip(("01", "05", "06"), counts, strict=True):
            rows = fields(fx_path(shared_dir, f"oanda_{pair}_201405{day}"))
            times = [int(ms) for ms, _, _ in rows]
            assert len(rows) == n_rows
            assert times == sorted(times)
            assert all(float(bid) < float(ask) for _, bid, ask in rows)


def test_fxcms_clock_is_new_yorks_winter_time(shared_dir):
    """The payrolls of 2014-05-02 came out at 12:30 UTC, and the week ended at 21:00 UTC."""
    events, report = read(fx_path(shared_dir, FXCM))
    minutes = (events["exch_ts"] % DAY_NS) // (60 * 1_000 * MS)
    counts = np.bincount(minutes)
    assert int(np.argmax(counts)) in (12 * 60 + 30, 12 * 60 + 31)
    assert report.notes["time_zone"] == "UTC-05:00"
    assert 21 * 60 - 2 <= minutes[-1] < 21 * 60


def test_fxcm_is_refused_by_the_doctor_and_oanda_is_not(shared_dir, tmp_path):
    (feed,) = build(Quotes(files=[str(fx_path(shared_dir, FXCM))])).feeds()
    with pytest.raises(DataError, match="crossed book"):
        EventStore(tmp_path).load(feed)
    stored = EventStore(tmp_path).load(
        build(Quotes(files=[str(fx_path(shared_dir, name)) for name in list(FX)[:1]])).feeds()[0]
    )
    assert (stored.symbol, stored.spec.tick_size, stored.spec.lot_size) == ("EURUSD_OANDA", 0.00001, 1.0)


def test_ibm_is_stored_in_cents_and_shares_with_a_book_of_one_level(ibm, tmp_path):
    (feed,) = build(Quotes(files=list(map(str, ibm)))).feeds()
    stored = EventStore(tmp_path).load(feed)
    assert (stored.symbol, stored.spec.tick_size, stored.spec.lot_size) == ("IBM", 0.01, 1.0)
    assert stored.book_level == "l1"
    assert stored.report.notes["market"] == "us equity"
    events, _ = read(*ibm)
    assert stored.events == len(events)


@pytest.mark.parametrize("suspicious", ["skip", "keep"])
def test_ibms_best_quotes_close_the_second_bars_of_the_same_vendor(ibm, shared_dir, suspicious):
    """Every bar's closing bid and ask, with its size, is the book at the end of that second."""
    bars = fields(shared_dir / "data" / "equity" / "lean_second_ibm_20131007_quote.zip")
    events, _ = read(*ibm, suspicious=suspicious)
    midnight = midnight_ns("20131007") + NEW_YORK_NS
    second = {ts // 1_000_000_000: (bids, asks) for ts, bids, asks in books(events)}
    last, differ = None, []
    by_time = {midnight // 1_000_000_000 + int(bar[0]) // 1_000: bar for bar in bars}
    for s in range(min(by_time), max(by_time) + 1):
        last = second.get(s, last)
        if s in by_time:
            bar = by_time[s]
            closing = (
                {int(bar[4]) / 10_000: float(bar[5])},
                {int(bar[9]) / 10_000: float(bar[10])},
            )
            differ += [bar[0]] if last != closing else []
    # At 10:46:32 the quotes cross. The file's last tick is flagged as suspicious, and not in the last bar.
    assert len(bars) == IBM_BARS
    assert differ == ["38792000"] + ([bars[-1][0]] if suspicious == "keep" else [])


def test_ibms_trades_have_the_takers_side_of_a_plain_reading(ibm):
    quotes, trades = (fields(path) for path in ibm)
    skipped = (
        0x2 | 0x4 | 0x8 | 0x200 | 0x800 | 0x4000 | 0x40000 | 0x100000 | 0x1000000 | 0x2000000 | 0x4000000
    )
    midnight = midnight_ns("20131007") + NEW_YORK_NS
    expected: list[Trade] = []
    bid = ask = last_px = j = direction = 0
    for ms, px, qty, _, condition, suspicious in trades:
        while j < len(quotes) and int(quotes[j][0]) < int(ms):
            if quotes[j][7] == "0":
                bid, ask = int(quotes[j][1]) or bid, int(quotes[j][3]) or ask
            j += 1
        if int(condition, 16) & skipped or suspicious != "0":
            continue
        price = int(px)
        change = (price > last_px) - (price < last_px) if last_px else 0
        direction = change or direction
        at_ask, at_bid = bool(ask) and price >= ask, bool(bid) and price <= bid
        side = 1 if at_ask and not at_bid else -1 if at_bid and not at_ask else direction
        last_px = price
        expected.append((midnight + int(ms) * MS, side, price / 10_000, float(qty)))
    events, report = read(*ibm)
    found = [
        (ts, bool(ev & EventFlag.BUY) - bool(ev & EventFlag.SELL), px, qty)
        for ev, ts, _, px, qty, *_ in events.tolist()
        if ev & 0xFF == EventKind.TRADE
    ]
    assert found == expected
    assert len(trades) == IBM_TRADES == len(expected) + report.dropped["sale condition"]
    assert report.notes["trades_without_side"] == 1
    assert abs(sum(side for _, side, _, _ in found)) < 0.1 * len(found)


def test_ibms_rows_are_accounted_for(ibm):
    events, report = read(*ibm)
    for path, n_rows in zip(ibm, (IBM_QUOTES, IBM_TRADES), strict=True):
        times = [int(row[0]) for row in fields(path)]
        assert (len(times), times) == (n_rows, sorted(times))
    assert report.rows_read == IBM_QUOTES + IBM_TRADES
    assert report.dropped == {"unchanged best": 16_083, "suspicious": 1, "sale condition": 73}
    assert report.notes["quote_rows"] == IBM_QUOTES - 1
    assert report.first_dropped["suspicious"].endswith(f"quote.zip line {IBM_QUOTES:d}")
    assert np.all(np.diff(events["exch_ts"]) >= 0)
    kept, kept_report = read(*ibm, suspicious="keep", skip_conditions=[])
    assert kept_report.dropped.keys() == {"unchanged best"}
    assert ((kept["ev"] & 0xFF) == EventKind.TRADE).sum() == IBM_TRADES


def test_the_best_of_ibms_venues_is_that_of_a_plain_reading(ibm):
    """Read as each venue's quote, the same file gives the best over venues, sizes summed."""
    events, report = read(ibm[0], book="venues", crossed_venues="keep")
    bids: dict[str, tuple[int, int]] = {}
    asks: dict[str, tuple[int, int]] = {}
    midnight = midnight_ns("20131007") + NEW_YORK_NS
    rows = fields(ibm[0])
    expected = {}
    for ms, bid, bid_qty, ask, ask_qty, venue, _, suspicious in rows:
        if suspicious != "0":
            continue
        if int(bid):
            bids[venue] = int(bid), int(bid_qty)
        if int(ask):
            asks[venue] = int(ask), int(ask_qty)
        best_bid = max((px for px, _ in bids.values()), default=0)
        best_ask = min((px for px, _ in asks.values()), default=0)
        expected[midnight + int(ms) * MS] = (
            {best_bid / 10_000: float(sum(q for px, q in bids.values() if px == best_bid))} if bids else {},
            {best_ask / 10_000: float(sum(q for px, q in asks.values() if px == best_ask))} if asks else {},
        )
    found = {ts: (b, a) for ts, b, a in books(events)}
    last = None
    for ts, book in expected.items():
        last = found.get(ts, last)
        assert last == book, ts
    assert report.notes["crossed_quotes"] > 50_000


def test_quotes_of_venues_that_cross_withdraw_the_older(ibm):
    events, report = read(ibm[0], book="venues")
    assert report.notes["withdrawn_venue_quotes"] > 0
    assert all(max(bids) < min(asks) for _, bids, asks in books(events) if bids and asks)


def test_second_bars_are_known_when_they_are_over(shared_dir):
    path = shared_dir / "data" / "equity" / "lean_second_ibm_20131007_quote.zip"
    bars = fields(path)
    events, report = read(path)
    midnight = midnight_ns("20131007") + NEW_YORK_NS
    expected = {
        midnight + (int(bar[0]) + 1000) * MS: (
            {int(bar[4]) / 10_000: float(bar[5])},
            {int(bar[9]) / 10_000: float(bar[10])},
        )
        for bar in bars
    }
    found = {ts: (bids, asks) for ts, bids, asks in books(events)}
    last = None
    for ts, book in expected.items():
        last = found.get(ts, last)
        assert last == book
    assert (report.symbol, report.rows_read) == ("IBM_SECOND", IBM_BARS)


@pytest.mark.parametrize("name", [*FX, FXCM, "ibm"])
def test_hftbacktest_shows_the_same_best_prices(shared_dir, tmp_path, ibm, name):
    """At the end of every minute, in its fast book; where the quotes cross it cannot."""
    paths = ibm if name == "ibm" else (fx_path(shared_dir, name),)
    (feed,) = build(Quotes(files=list(map(str, paths)))).feeds()
    chunks = ordered_chunks(feed, FeedReport(), lambda *_: None, tmp_path)
    events = np.concatenate([chunk.copy() for chunk in chunks])
    tick, low, high = (0.01, 100.0, 300.0) if name == "ibm" else (0.00001, 0.5, 2.0)
    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tick)
        .lot_size(1.0)
        .roi_lb(low)
        .roi_ub(high)
    )
    engine = ROIVectorMarketDepthBacktest([asset])
    own = list(books(events))
    engine.elapse(0)
    minute_ns = 60 * 1_000 * MS
    index, compared = 0, 0
    while engine.elapse(minute_ns) == 0:
        now = engine.current_timestamp
        while index + 1 < len(own) and own[index + 1][0] <= now:
            index += 1
        _, bids, asks = own[index]
        if max(bids) < min(asks):
            depth = engine.depth(0)
            assert depth.best_bid == pytest.approx(max(bids), abs=tick / 10)
            assert depth.best_ask == pytest.approx(min(asks), abs=tick / 10)
            assert depth.bid_qty_at_tick(depth.best_bid_tick) == bids[max(bids)]
            assert depth.ask_qty_at_tick(depth.best_ask_tick) == asks[min(asks)]
            compared += 1
    assert compared > 800
    engine.close()


def test_nzdusd_and_eurusd_are_two_feeds_on_one_clock(shared_dir, tmp_path):
    files = sorted((shared_dir / "data" / "fx").glob("lean_oanda_*.zip"), reverse=True)
    feeds = build(Quotes(files=list(map(str, files)))).feeds()
    assert [feed.symbol for feed in feeds] == ["NZDUSD_OANDA", "EURUSD_OANDA"]
    for feed in feeds:
        assert [path.name[-18:-10] for path in feed.files] == ["20140501", "20140505", "20140506"]
        stored = EventStore(tmp_path).load(feed)
        assert stored.report.rows_read == sum(len(fields(path)) for path in feed.files)
        assert stored.report.dropped.keys() <= {"unchanged best"}


def test_every_shared_file_is_claimed_by_the_right_reader_or_by_none(shared_dir):
    """No two readers claim one file; what has no reader is named."""
    from bt_framework.data.recognise import recognise
    from bt_framework.data.source import FileConfig
    from bt_framework.plugin_manager import discover
    from bt_framework.registry import Kind

    components = [c for c in discover().registry.components() if c.kind is Kind.DATA]
    readers = {c.name: c.config_class for c in components if issubclass(c.config_class, FileConfig)}
    root = shared_dir / "data"
    found = recognise([root], readers)
    assert found.ambiguous == []
    unknown = {str(path.relative_to(root)) for path, _ in found.unknown}
    assert unknown >= {"INDEX.md", "bars/flox_btcusdt_1m.csv", "equity/lean_second_ibm_20131007_trade.zip"}
    quotes = {path.name for path in found.by_reader["quotes"]}
    assert len(quotes) == 10
    assert quotes == {path.name for path in found.by_reader["quotes"] if path.parent.name in ("fx", "equity")}
    assert {path.parent.name for path in found.by_reader["binance"]} == {"binance"}
