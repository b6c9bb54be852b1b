"""Pages of events that a run has passed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bt_framework.engine._mappings import PassedPages
from bt_framework.engine.latency import LATENCY_ROW
from bt_framework.records import EVENT

ROWS = 1_000_000
MIB = 1 << 20

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")


@pytest.fixture
def mapped(tmp_path: Path) -> np.ndarray:
    """Events of 61 MiB, one a nanosecond, mapped and read once."""
    path = tmp_path / "events.npy"
    events = np.zeros(ROWS, EVENT)
    events["local_ts"] = np.arange(ROWS)
    np.save(path, events)
    found = np.load(path, mmap_mode="r")
    assert found["local_ts"][-1] == ROWS - 1
    assert found["px"].sum() == 0
    return found


def resident_bytes(events: np.ndarray) -> int:
    """Bytes of the mapping that are in this process, as the system counts them."""
    first = f"{events.ctypes.data - events.offset:x}-"
    lines = Path("/proc/self/smaps").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(first))
    size = next(line for line in lines[start:] if line.startswith("Rss:"))
    return int(size.split()[1]) * 1024


@needs_proc
def test_pages_behind_the_time_are_given_back_and_the_others_kept(mapped: np.ndarray) -> None:
    before = resident_bytes(mapped)
    released = PassedPages(mapped).release(ROWS // 2)
    assert released == pytest.approx(ROWS // 2 * 64, abs=8192)
    assert before - resident_bytes(mapped) == pytest.approx(released, abs=2 * MIB)


@needs_proc
def test_what_was_given_back_can_be_read_again(mapped: np.ndarray) -> None:
    PassedPages(mapped).release(ROWS)
    assert resident_bytes(mapped) < 2 * MIB
    np.testing.assert_array_equal(mapped["local_ts"], np.arange(ROWS))


@needs_proc
def test_pages_are_given_back_in_large_steps_only(mapped: np.ndarray) -> None:
    pages = PassedPages(mapped)
    released = [pages.release(now_ts) for now_ts in range(0, ROWS, 10_000)]
    assert 2 <= len(set(released) - {0}) <= 4
    assert released == sorted(released)


def test_events_in_memory_are_left_alone() -> None:
    assert PassedPages(np.zeros(ROWS, EVENT)).release(ROWS) == 0


@needs_proc
def test_rows_of_a_latency_table_are_given_back_by_the_time_of_their_requests(tmp_path: Path) -> None:
    rows = np.zeros(2 * ROWS, LATENCY_ROW)
    rows["req_ts"] = np.arange(2 * ROWS)
    rows.tofile(tmp_path / "table.rows")
    found = np.memmap(tmp_path / "table.rows", LATENCY_ROW, mode="r")
    assert PassedPages(found, time="req_ts").release(ROWS * 3 // 2) == pytest.approx(ROWS * 48, abs=8192)
