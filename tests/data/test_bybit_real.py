"""A real order book archive: the book that its events make is that of its messages, at each of them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bt_framework.data.doctor import Severity
from bt_framework.data.source import FeedReport
from bt_framework.data.store import EventStore
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_plugins.data.bybit import Bybit, build

NAME = "nautilus_xrpusdt-ob500.data.zip"


@pytest.fixture
def archive(shared_dir: Path) -> Path:
    return shared_dir / "data" / "crypto" / NAME


def messages_of(path: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(path) as file:
        (name,) = file.namelist()
        return [json.loads(line) for line in file.read(name).splitlines()]


def read(path: Path, **options: object) -> tuple[np.ndarray, FeedReport]:
    (feed,) = build(Bybit(files=[str(path)], **options)).feeds()  # type: ignore[arg-type]
    report = FeedReport()
    chunks = [chunk.copy() for chunk in feed.chunks(report, lambda *_: None)]
    return np.concatenate([np.zeros(0, EVENT), *chunks]), report


def test_the_book_after_each_message_is_the_venues(archive: Path) -> None:
    rows, report = read(archive)
    messages = messages_of(archive)
    assert (report.symbol, report.rows_read, len(messages)) == ("XRPUSDT", 50, 50)
    assert (report.dropped, report.gaps, report.missing_updates) == ({}, 0, 0)
    truth: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    seen: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    at = 0
    for message in messages:
        for side in "ba":
            if message["type"] == "snapshot":
                truth[side].clear()
            truth[side].update({float(px): float(qty) for px, qty in message["data"][side]})
            truth[side] = {px: qty for px, qty in truth[side].items() if qty}
        local_ts = message["ts"] * 1_000_000
        while at < len(rows) and rows["local_ts"][at] == local_ts:
            assert rows["exch_ts"][at] == message["cts"] * 1_000_000
            side = "b" if int(rows["ev"][at]) & EventFlag.BUY else "a"
            seen[side][float(rows["px"][at])] = float(rows["qty"][at])
            at += 1
        seen = {side: {px: qty for px, qty in levels.items() if qty} for side, levels in seen.items()}
        assert seen == truth
        assert max(seen["b"]) < min(seen["a"])
    assert at == len(rows) == sum(len(m["data"]["b"]) + len(m["data"]["a"]) for m in messages)
    kinds = np.unique(rows["ev"] & np.uint64(0xFF), return_counts=True)
    assert dict(zip(*map(np.ndarray.tolist, kinds), strict=True)) == {
        EventKind.DEPTH: 2_966,
        EventKind.DEPTH_SNAPSHOT: 1_000,
    }


def test_a_message_that_is_missing_is_a_gap_until_the_next_snapshot(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        lines = file.read(file.namelist()[0]).splitlines(keepends=True)
    (tmp_path / "holes.data").write_bytes(b"".join(lines[:10] + lines[12:20] + lines[21:40] + lines))
    _, report = read(tmp_path / "holes.data")
    assert (report.gaps, report.missing_updates, report.dropped) == (2, 3, {})
    cts = [message["cts"] * 1_000_000 for message in messages_of(archive)]
    assert report.notes["stale_phases"] == [[cts[9], cts[0]]]


def test_the_store_takes_it_and_the_doctor_finds_nothing_fatal(archive: Path, tmp_path: Path) -> None:
    (feed,) = build(Bybit(files=[str(archive)])).feeds()
    stored = EventStore(tmp_path).load(feed)
    assert Severity.FATAL not in {finding.severity for finding in stored.findings}
    assert (stored.spec.tick_size, stored.spec.lot_size) == (0.0001, 1.0)
    assert stored.report.notes["clock_shift_ns"] == 0


def test_only_its_own_files_are_recognised(shared_dir: Path) -> None:
    files = [path for path in (shared_dir / "data").rglob("*") if path.is_file()]
    assert [path.name for path in files if Bybit.recognise(path, path.read_bytes()[:65_536])] == [NAME]
