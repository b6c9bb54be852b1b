"""Real collected streams become the events that hftbacktest's converter makes of them, event by event."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hftbacktest.data.utils import binancefutures

from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.records import EVENT
from bt_plugins.data.binance import Binance, build

pytestmark = pytest.mark.usefixtures("own_cache")

FACTS = {"btcusdt": ("BTCUSDT", 491_973, 93_954, 66_089), "ethusdt": ("ETHUSDT", 452_115, 74_655, 53_992)}
BTC_CLOCK_SHIFT_NS = 1_272_156_851
SPAN_S = (1_723_161_255, 1_723_161_600)
"""2024-08-08 23:54:15 to 24:00:00 UTC."""
SIZES = {"BTCUSDT": (0.1, 0.001), "ETHUSDT": (0.01, 0.001)}


@pytest.fixture(params=list(FACTS))
def real_file(request: pytest.FixtureRequest, shared_dir: Path) -> Path:
    return shared_dir / "data" / "binance" / f"{request.param}_20240808.gz"


def ingest(
    path: Path, spool_dir: Path, chunk_rows: int = 1 << 16, **options: object
) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Binance(files=[str(path)], **options)).feeds()  # type: ignore[arg-type]
    report = FeedReport()
    chunks = ordered_chunks(feed, report, lambda *_: None, spool_dir, chunk_rows)
    return np.concatenate([np.zeros(0, EVENT), *(chunk.copy() for chunk in chunks)]), report


@pytest.mark.parametrize("chunk_rows", [1 << 16, 10_007])
def test_events_equal_the_converters(
    real_file: Path, tmp_path: Path, chunk_rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    symbol, n_events, n_lines, n_book_tickers = FACTS[real_file.name[:7]]
    expected = binancefutures.convert(str(real_file), buffer_size=1_000_000)
    events, report = ingest(real_file, tmp_path, chunk_rows)
    assert len(events) == n_events
    for name in EVENT.names or ():
        np.testing.assert_array_equal(events[name], expected[name], err_msg=name)
    assert (report.symbol, report.rows_read) == (symbol, n_lines)
    assert report.dropped == {"bookTicker": n_book_tickers}
    if symbol == "BTCUSDT":
        assert report.notes["clock_shift_ns"] == BTC_CLOCK_SHIFT_NS
    assert f"by {report.notes['clock_shift_ns']}" in capsys.readouterr().out


def test_the_pair_is_of_six_minutes_and_has_the_ticks_that_binance_lists(
    shared_dir: Path, tmp_path: Path
) -> None:
    files = [shared_dir / "data" / "binance" / f"{name}_20240808.gz" for name in FACTS]
    for path in files:
        first, last = (int(lines_of(path)[place][:19]) for place in (0, -1))
        assert (first // 10**9, last // 10**9) == (SPAN_S[0], SPAN_S[1] - 1)
    feeds = EventStore(tmp_path).load_all(build(Binance(files=[str(path) for path in files])).feeds())
    assert {f.symbol: (f.spec.tick_size, f.spec.lot_size) for f in feeds} == SIZES


def test_clocks_are_left_alone_if_asked(real_file: Path, tmp_path: Path) -> None:
    corrected, report = ingest(real_file, tmp_path)
    raw, raw_report = ingest(real_file, tmp_path, clock_correction=False)
    assert raw_report.notes["clock_shift_ns"] == 0
    assert raw_report.notes["min_feed_latency_ns"] == -report.notes["clock_shift_ns"] < 0
    assert (raw["local_ts"] - raw["exch_ts"]).min() == raw_report.notes["min_feed_latency_ns"]
    assert (corrected["local_ts"] - corrected["exch_ts"]).min() == 0


def lines_of(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def plain_count(lines: list[bytes]) -> tuple[int, int]:
    """Gaps and missing updates of futures diffs, counted the slow way."""
    gaps = missing = 0
    last_u = None
    for line in lines:
        data = json.loads(line.split(b" ", 1)[1]).get("data", {})
        if data.get("e") != "depthUpdate":
            continue
        if last_u is not None and data["pu"] != last_u:
            gaps += 1
            missing += max(data["pu"] - last_u, 0)
        last_u = data["u"]
    return gaps, missing


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_gaps_are_those_of_a_plain_count(real_file: Path, tmp_path: Path, seed: int | None) -> None:
    lines = lines_of(real_file)
    if seed is not None:
        keep = np.random.default_rng(seed).random(len(lines)) > 0.02
        lines = [line for line, kept in zip(lines, keep, strict=True) if kept]
    (tmp_path / "some.txt").write_bytes(b"".join(lines))
    _, report = ingest(tmp_path / "some.txt", tmp_path)
    gaps, missing = plain_count(lines)
    assert (report.gaps, report.missing_updates) == (gaps, missing)
    assert (gaps > 50) == (seed is not None)


def test_a_file_cut_in_two_gives_the_same_events(real_file: Path, tmp_path: Path) -> None:
    lines = lines_of(real_file)
    half = len(lines) // 2
    (tmp_path / "second").write_bytes(gzip.compress(b"".join(lines[half:]), 1))
    (tmp_path / "first").write_bytes(b"".join(lines[:half]))
    whole, _ = ingest(real_file, tmp_path)
    (feed,) = build(Binance(files=[str(tmp_path / "second"), str(tmp_path / "first")])).feeds()
    report = FeedReport()
    chunks = [c.copy() for c in ordered_chunks(feed, report, lambda *_: None, tmp_path)]
    assert np.concatenate(chunks).tobytes() == whole.tobytes()
    assert (report.gaps, report.rows_read) == (0, len(lines))


def test_two_threads_at_once_give_what_one_gives(shared_dir: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    files = [shared_dir / "data" / "binance" / f"{name}_20240808.gz" for name in FACTS]
    alone = [ingest(path, tmp_path)[0].tobytes() for path in files]
    with ThreadPoolExecutor(2) as pool:
        together = [f.result()[0].tobytes() for f in [pool.submit(ingest, path, tmp_path) for path in files]]
    assert together == alone


def test_the_slow_path_agrees_with_the_scan(real_file: Path, tmp_path: Path) -> None:
    lines = lines_of(real_file)[:4_000]
    (tmp_path / "fast.txt").write_bytes(b"".join(lines))
    # A nested member of no meaning is enough for the scan to hand every line back.
    (tmp_path / "slow.txt").write_bytes(b"".join(line[:20] + b'{"x":{},' + line[21:] for line in lines))
    fast, fast_report = ingest(tmp_path / "fast.txt", tmp_path)
    slow, slow_report = ingest(tmp_path / "slow.txt", tmp_path)
    assert slow.tobytes() == fast.tobytes()
    assert slow_report == fast_report
