"""The streaming order is that of hftbacktest's own functions on the whole input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hftbacktest.data import correct_event_order, correct_local_timestamp, validate_event_order
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bt_framework.data.ordering import ordered_chunks
from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.errors import StorageError
from bt_framework.records import EVENT, EventFlag


class RowsFeed(Feed):
    """Rows that are given, in chunks of the sizes that are given, in one buffer that is reused."""

    def __init__(self, rows: np.ndarray, sizes: list[int], **attributes: Any) -> None:
        self.rows = rows
        self.sizes = sizes
        for name, value in attributes.items():
            setattr(self, name, value)

    def identity(self) -> Mapping[str, Any]:
        return {"reader": "rows"}

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
        buffer = np.zeros(max(len(self.rows), 1), EVENT)
        start = turn = 0
        while start < len(self.rows):
            n = self.sizes[turn % len(self.sizes)]
            part = self.rows[start : start + n]
            buffer[: len(part)] = part
            yield buffer[: len(part)]
            buffer[: len(part)] = np.zeros((), EVENT)
            start += n
            turn += 1


def raw_rows(times: list[tuple[int, int]], seed: int = 0) -> np.ndarray:
    """Depth rows at the (exch_ts, local_ts) given, each with a price of its own."""
    rows = np.zeros(len(times), EVENT)
    rng = np.random.default_rng(seed)
    rows["ev"] = 1 | np.where(rng.random(len(times)) < 0.5, EventFlag.BUY, EventFlag.SELL)
    rows["exch_ts"] = [exch_ts for exch_ts, _ in times]
    rows["local_ts"] = [local_ts for _, local_ts in times]
    rows["px"] = 100 + np.arange(len(times))
    rows["qty"] = rng.integers(0, 5, len(times))
    return rows


def whole_input(rows: np.ndarray, *, correct_clocks: bool = True, base_latency_ns: int = 0) -> np.ndarray:
    """What hftbacktest makes of all rows at once."""
    rows = rows.copy()
    if correct_clocks:
        rows = correct_local_timestamp(rows, base_latency_ns)
    # Its merge reads one index past the end, which must be there and valid.
    by_exch = np.append(np.argsort(rows["exch_ts"], kind="mergesort"), 0)
    by_local = np.append(np.argsort(rows["local_ts"], kind="mergesort"), 0)
    events = correct_event_order(rows, by_exch, by_local)
    validate_event_order(events)
    return events


def streamed(feed: Feed, folder: Path, chunk_rows: int) -> tuple[np.ndarray, FeedReport]:
    report = FeedReport()
    chunks = [c.copy() for c in ordered_chunks(feed, report, lambda *_: None, folder, chunk_rows)]
    return np.concatenate([np.empty(0, EVENT), *chunks]), report


few_times = st.tuples(st.integers(0, 6), st.integers(0, 6))
jittered = st.tuples(st.integers(0, 40), st.integers(-30, 60))


@st.composite
def drifting(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Times that mostly grow, with steps back on both clocks, as a real feed's do."""
    times, now = [], 10**9
    for step, (back, latency) in draw(
        st.lists(
            st.tuples(st.integers(0, 8), st.tuples(st.integers(0, 20), st.integers(-5, 15))), max_size=120
        )
    ):
        now += step
        times.append((now - back, now + latency))
    return times


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="hftbacktest's own functions need the JIT")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.one_of(st.lists(few_times, max_size=60), st.lists(jittered, max_size=60), drifting()),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    chunk_rows=st.one_of(st.integers(1, 8), st.sampled_from([32, 1000])),
    base_latency_ns=st.sampled_from([0, 1, 1000]),
    correct_clocks=st.booleans(),
)
def test_any_chunking_gives_the_order_of_the_whole_input(
    times: list[tuple[int, int]],
    sizes: list[int],
    chunk_rows: int,
    base_latency_ns: int,
    correct_clocks: bool,
    tmp_path: Path,
) -> None:
    rows = raw_rows(times)
    feed = RowsFeed(rows, sizes, clock_correction=correct_clocks, base_latency_ns=base_latency_ns)
    events, report = streamed(feed, tmp_path, chunk_rows)
    if not times:
        assert len(events) == 0
        return
    expected = whole_input(rows, correct_clocks=correct_clocks, base_latency_ns=base_latency_ns)
    assert events.tobytes() == expected.tobytes()
    latency = int((rows["local_ts"] - rows["exch_ts"]).min())
    assert report.notes["min_feed_latency_ns"] == latency
    assert report.notes["clock_shift_ns"] == (
        base_latency_ns - latency if correct_clocks and latency < 0 else 0
    )


def test_the_report_says_how_far_each_clock_steps_back(tmp_path: Path) -> None:
    rows = raw_rows([(10, 100), (30, 90), (25, 120), (40, 110), (12, 130)])
    _, report = streamed(RowsFeed(rows, [2]), tmp_path, 2)
    assert report.notes["exch_disorder_ns"] == 28
    assert report.notes["local_disorder_ns"] == 10


def test_a_row_late_on_the_exchange_side_is_written_twice(tmp_path: Path) -> None:
    rows = raw_rows([(10, 20), (12, 21), (11, 22)])
    events, _ = streamed(RowsFeed(rows, [1]), tmp_path, 1)
    both = EventFlag.EXCH | EventFlag.LOCAL
    flags = [EventFlag.EXCH, EventFlag.LOCAL]
    assert [int(e) & both for e in events["ev"]] == [both, flags[0], both, flags[1]]
    assert events["px"].tolist() == [100.0, 102.0, 101.0, 102.0]


def test_ordered_feeds_pass_through_untouched(tmp_path: Path) -> None:
    rows = raw_rows([(30, 5), (10, 4), (20, 3)])
    events, report = streamed(RowsFeed(rows, [2], ordered=True), tmp_path, 1)
    assert events.tobytes() == rows.tobytes()
    assert report.notes == {}


@pytest.mark.parametrize("stop_after", [0, 1])
def test_the_temporary_file_is_gone_after_an_early_stop(tmp_path: Path, stop_after: int) -> None:
    rows = raw_rows([(t, t + 5) for t in range(100)])
    chunks = ordered_chunks(RowsFeed(rows, [7]), FeedReport(), lambda *_: None, tmp_path, 10)
    for _ in range(stop_after):
        next(chunks)
    chunks.close()
    assert os.listdir(tmp_path) == []


def test_the_temporary_file_is_gone_after_an_error_in_the_feed(tmp_path: Path) -> None:
    class Broken(RowsFeed):
        def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
            yield from super().chunks(report, progress)
            raise OSError("the input broke")

    rows = raw_rows([(t, t + 5) for t in range(100)])
    with pytest.raises(OSError, match="the input broke"):
        streamed(Broken(rows, [7]), tmp_path, 10)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    rows = raw_rows([(t, t + 5) for t in range(100)])
    missing = tmp_path / "missing"
    with pytest.raises(StorageError, match=f"^{missing}: cannot write the temporary file"):
        streamed(RowsFeed(rows, [7]), missing, 10)


def test_an_input_that_fits_one_chunk_writes_no_file(tmp_path: Path) -> None:
    rows = raw_rows([(t, t + 5) for t in range(100)])
    events, _ = streamed(RowsFeed(rows, [7]), tmp_path / "missing", 100)
    assert len(events) == 100
