"""Readers take the same memory however long their input is."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bt_framework.data import csv_blocks
from bt_framework.data.source import FeedReport
from bt_framework.records import EVENT
from bt_plugins.data import bitstamp, bybit, npz, quotes, tardis
from bt_plugins.data.bitstamp import _orders
from bt_plugins.data.bybit import _book, _files

pytestmark = pytest.mark.usefixtures("own_cache")

T_S = 1_700_000_000
Make = Callable[[int], Iterator[str]]
"""Lines of a file in which so many times the same happens."""


def bitstamp_lines(count: int) -> Iterator[str]:
    yield "id,timestamp,exchange.timestamp,price,volume,action,direction"
    for i in range(count):
        for action in ("created", "deleted"):
            yield f"{i},{T_S * 1_000 + i},{T_S * 1_000},{230 + i % 9},100000000,{action},bid"


def bybit_lines(count: int) -> Iterator[str]:
    for i in range(count):
        levels = {"b": [["9", str(1 + i % 7)]], "a": [["10", str(1 + i % 5)]]}
        yield json.dumps(
            {
                "topic": "orderbook.500.XRPUSDT",
                "type": "delta" if i else "snapshot",
                "ts": T_S * 1_000 + i,
                "data": {"s": "XRPUSDT", **levels, "u": i + 1, "seq": i},
                "cts": T_S * 1_000 + i,
            }
        )


def quote_lines(count: int) -> Iterator[str]:
    for i in range(count):
        yield f"{T_S * 10**9 + i},{10 + i % 5},{1 + i % 7},{17 + i % 3},6"


def tardis_lines(count: int) -> Iterator[str]:
    yield "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
    for i in range(count):
        ts = T_S * 10**6 + i
        yield f"deribit,BTC-PERPETUAL,{ts},{ts + 10},{'false' if i else 'true'},bid,{6_400 + i % 90},{1 + i % 7}"


QUOTES = {
    "columns": {"time": "0", "bid": "1", "bid_size": "2", "ask": "3", "ask_size": "4"},
    "time_unit": "ns",
}
READERS: dict[str, tuple[Any, str, Make, dict[str, Any], int]] = {
    "bitstamp": (bitstamp.Bitstamp, "a.csv", bitstamp_lines, {"symbols": ["A"]}, 2),
    "bybit": (bybit.Bybit, "a.data", bybit_lines, {}, 2),
    "quotes": (quotes.Quotes, "a.csv", quote_lines, QUOTES, 1),
    "tardis": (tardis.Tardis, "a_incremental_book_L2.csv", tardis_lines, {}, 1),
}
BUILD = {"bitstamp": bitstamp.build, "bybit": bybit.build, "quotes": quotes.build, "tardis": tardis.build}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, chunks and what is remembered are small beside the files of these tests."""
    for module, name, value in (
        (csv_blocks, "_ROWS_PER_BLOCK", 256),
        (csv_blocks, "_BYTES_PER_BLOCK", 1 << 14),
        (_orders, "_REMEMBERED_IDS", 100),
        (_book, "_ROWS_PER_CHUNK", 256),
        (_files, "_BLOCK_BYTES", 1 << 14),
    ):
        monkeypatch.setattr(module, name, value)


def peak_bytes(feed: Any) -> tuple[int, int]:
    """Events of a feed, and the most memory that reading them took."""
    tracemalloc.start()
    events = sum(len(chunk) for chunk in feed.chunks(FeedReport(), lambda *_: None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return events, peak


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("name", READERS)
def test_six_times_the_lines_have_the_same_peak_of_memory(tmp_path: Path, name: str) -> None:
    config, file, make, options, events_a_time = READERS[name]

    def measured(count: int) -> int:
        (tmp_path / file).write_text("".join(f"{line}\n" for line in make(count)))
        (feed,) = BUILD[name](config(files=[str(tmp_path / file)], **options)).feeds()
        events, peak = peak_bytes(feed)
        assert events >= events_a_time * count
        return peak

    measured(100)  # so that nothing compiles while it is traced
    small, large = (2_000, 12_000) if name in ("bitstamp", "bybit") else (40_000, 240_000)
    assert measured(large) < 1.2 * measured(small)


def test_an_array_of_events_is_read_in_pieces(tmp_path: Path) -> None:
    def measured(count: int) -> int:
        np.save(tmp_path / "a.npy", np.zeros(count, EVENT))
        (feed,) = npz.build(npz.Npz(files=[str(tmp_path / "a.npy")])).feeds()
        events, peak = peak_bytes(feed)
        assert events == count
        return peak

    assert measured(600_000) < 1.1 * measured(100_000)


@pytest.mark.parametrize("book", ["l3", "l2"])
def test_orders_of_databento_take_the_memory_of_those_that_live(tmp_path: Path, book: str) -> None:
    pytest.importorskip("databento_dbn", reason="pip install 'bt-framework[databento]'")
    from dbn_files import order, write

    from bt_plugins.data.databento import Databento, build

    def measured(count: int) -> int:
        pairs = ((order("A", i + 1, t=2 * i), order("C", i + 1, t=2 * i + 1)) for i in range(count))
        path = write(tmp_path / "a.dbn", *(record for pair in pairs for record in pair))
        (feed,) = build(Databento(files=[str(path)], book=book)).feeds()
        events, peak = peak_bytes(feed)
        assert events >= 2 * count
        return peak

    measured(60_000)  # so that nothing compiles while it is traced: some kernels run for long inputs only
    assert measured(60_000) < 1.2 * measured(20_000)
