"""Samples of Tardis.dev's files: the events rebuild every row of them, and equal those of hftbacktest's converter."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hftbacktest.data.utils import tardis

from bt_framework.data.doctor import Severity
from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.tardis import Tardis, build

TRADES = "nautilus_bitmex_trades_XBTUSD.csv"
INCREMENTAL = "nautilus_deribit_incremental_book_L2_BTC-PERPETUAL.csv"
SNAPSHOT = "nautilus_binance-futures_book_snapshot_5_BTCUSDT.csv"


@pytest.fixture
def crypto_dir(shared_dir: Path) -> Path:
    return shared_dir / "data" / "crypto"


def read(*paths: Path, **options: object) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Tardis(files=[str(path) for path in paths], **options)).feeds()  # type: ignore[arg-type]
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_trades_equal_the_converters(crypto_dir: Path, tmp_path: Path) -> None:
    path = crypto_dir / TRADES
    expected = tardis.convert([str(path)], buffer_size=1_000)
    (feed,) = build(Tardis(files=[str(path)])).feeds()
    report = FeedReport()
    chunks = [chunk.copy() for chunk in ordered_chunks(feed, report, lambda *_: None, tmp_path)]
    assert np.concatenate(chunks).tobytes() == expected.tobytes()
    assert (report.symbol, report.rows_read, report.dropped) == ("XBTUSD", 10, {})
    assert report.notes["contract"] == "inverse"


def test_a_whole_feed_equals_the_converters(crypto_dir: Path, tmp_path: Path) -> None:
    """The snapshot of the sample with updates and trades after it, all of different times.

    The converter tells files by a word of their path, and clears the book before the first snapshot, where there is
    nothing to clear: left out here.
    """
    book = (crypto_dir / INCREMENTAL).read_text().strip().splitlines()
    exch_us, local_us = (int(text) for text in book[1].split(",")[2:4])
    rng = np.random.default_rng(5)
    trades = ["exchange,symbol,timestamp,local_timestamp,id,side,price,amount"]
    ranks = np.argsort(np.argsort(np.arange(400) + rng.uniform(-15, 15, 400)))
    for k in range(1, 400):
        at = f"deribit,BTC-PERPETUAL,{exch_us + 7 * k},{local_us + 7 * (ranks[k] + 1)}"
        px, qty = 6400 + rng.integers(0, 90) / 2, int(rng.integers(0, 5)) * 10
        if k % 5 == 0:
            trades.append(f"{at},id{k},{['buy', 'sell'][k % 2]},{px},{qty + 10}")
        else:
            book.append(f"{at},false,{'ask' if px > 6421 else 'bid'},{px},{qty}")
    book[16:] = sorted(book[16:], key=lambda line: int(line.split(",")[3]))
    trades[1:] = sorted(trades[1:], key=lambda line: int(line.split(",")[3]))
    paths = [tmp_path / "a_trades.csv", tmp_path / "a_incremental_book_L2.csv"]
    for path, lines in zip(paths, (trades, book), strict=True):
        path.write_text("\n".join(lines) + "\n")
    expected = tardis.convert([str(path) for path in paths], buffer_size=10_000, ss_buffer_size=1_000)
    expected = expected[(expected["ev"] & 0xFF) != EventKind.DEPTH_CLEAR]
    (feed,) = build(Tardis(files=[str(path) for path in reversed(paths)])).feeds()
    chunks = [chunk.copy() for chunk in ordered_chunks(feed, FeedReport(), lambda *_: None, tmp_path)]
    events = np.concatenate(chunks)
    assert len(events) > 414  # the two clocks disagree about the order of some
    for name in EVENT.names or ():
        np.testing.assert_array_equal(events[name], expected[name], err_msg=name)


def test_a_snapshot_at_the_end_of_a_file_is_not_lost(crypto_dir: Path) -> None:
    rows, report = read(crypto_dir / INCREMENTAL)
    lines = table(crypto_dir / INCREMENTAL)
    assert rows["px"].tolist() == [float(line["price"]) for line in lines]
    assert rows["qty"].tolist() == [float(line["amount"]) for line in lines]
    assert set(rows["ev"]) == {EventKind.DEPTH_SNAPSHOT | EventFlag.SELL}
    assert set(rows["exch_ts"]) == {int(lines[0]["timestamp"]) * 1_000}
    assert set(rows["local_ts"]) == {int(lines[0]["local_timestamp"]) * 1_000}
    assert (report.symbol, report.rows_read, report.notes["snapshots"]) == ("BTC-PERPETUAL", 15, 1)


def test_the_book_after_each_row_is_the_row(crypto_dir: Path) -> None:
    rows, report = read(crypto_dir / SNAPSHOT)
    lines = table(crypto_dir / SNAPSHOT)
    book: dict[tuple[bool, float], float] = {}
    at = 0
    for line in lines:
        local_ts = int(line["local_timestamp"]) * 1_000
        while at < len(rows) and rows["local_ts"][at] <= local_ts:
            assert rows["exch_ts"][at] == int(line["timestamp"]) * 1_000
            book[(bool(int(rows["ev"][at]) & EventFlag.BUY), float(rows["px"][at]))] = rows["qty"][at]
            at += 1
        wanted = {
            (side == "bids", float(line[f"{side}[{level}].price"])): float(line[f"{side}[{level}].amount"])
            for side in ("bids", "asks")
            for level in range(5)
        }
        assert {key: qty for key, qty in book.items() if qty} == wanted
    assert at == len(rows) == 25
    assert (report.symbol, report.rows_read) == ("BTCUSDT", 10)


@pytest.mark.parametrize("name", [TRADES, INCREMENTAL, SNAPSHOT])
def test_the_store_takes_it_and_the_doctor_finds_nothing_fatal(
    crypto_dir: Path, tmp_path: Path, name: str
) -> None:
    (feed,) = build(Tardis(files=[str(crypto_dir / name)])).feeds()
    stored = EventStore(tmp_path).load(feed)
    assert Severity.FATAL not in {finding.severity for finding in stored.findings}
    assert stored.events > 0


def test_only_its_own_files_are_recognised(shared_dir: Path) -> None:
    files = [path for path in (shared_dir / "data").rglob("*") if path.is_file()]
    own = {path.name for path in files if Tardis.recognise(path, path.read_bytes()[:65_536])}
    assert own == {TRADES, INCREMENTAL, SNAPSHOT}
