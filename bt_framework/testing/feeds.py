"""Small feeds for tests: arrays as a feed, and clean events to start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.units import NS_PER_MS

START_TS = 1_704_067_200_000_000_000
"""2024-01-01, ns UTC."""

_BOTH = EventFlag.EXCH | EventFlag.LOCAL


class ArrayFeed(Feed):
    """Events from memory.

    Parameters
    ----------
    events : EVENT array of shape (n_events,)
        In the engine's order, with flags.
    chunk_rows : int
        Rows per chunk; all chunks share one buffer, as those of a reader may.
    **options
        Attributes of `Feed`, and ``report``: attributes of `FeedReport` to report.
    """

    ordered = True

    def __init__(
        self, events: np.ndarray[Any, Any], symbol: str = "TEST", chunk_rows: int = 1_000, **options: Any
    ) -> None:
        self.events = events
        self.symbol = symbol
        self.chunk_rows = chunk_rows
        self.streamed = 0
        self._report: Mapping[str, Any] = options.pop("report", {})
        for key, value in options.items():
            setattr(self, key, value)

    def identity(self) -> Mapping[str, Any]:
        """Reader and content."""
        import hashlib

        return {"reader": "array", "content": hashlib.sha256(self.events.tobytes()).hexdigest()}

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the events; ``streamed`` counts the calls."""
        self.streamed += 1
        report.symbol = self.symbol
        for key, value in self._report.items():
            setattr(report, key, value)
        buffer = np.empty(self.chunk_rows, EVENT)
        for start in range(0, len(self.events), self.chunk_rows):
            rows = self.events[start : start + self.chunk_rows]
            buffer[: len(rows)] = rows
            report.rows_read += len(rows)
            progress(report.rows_read, len(self.events))
            yield buffer[: len(rows)]
            buffer[:] = 0


def clean_events(
    steps: int, seed: int = 0, tick_size: float = 0.1, start_ts: int = START_TS, step_ns: int = NS_PER_MS
) -> np.ndarray[Any, Any]:
    """Events without a defect: a book of two levels a side around a random walk, and trades at its touch.

    Parameters
    ----------
    steps : int
        Changes of the book, each some rows of one time.

    Returns
    -------
    events : EVENT array
        Ordered by both clocks, every row flagged for both, feed latency 1 to 2 ms, prices on `tick_size`,
        quantities on 0.001.
    """
    rng = np.random.default_rng(seed)
    per_unit = round(1.0 / tick_size)
    rows: list[tuple[int, int, int, float, float, int, int, float]] = []
    mid, ts, local_ts = 10_000, start_ts, start_ts

    def add(kind: EventKind, side: EventFlag, tick: int, qty: float) -> None:
        rows.append((int(_BOTH | side | kind), ts, local_ts, tick / per_unit, qty, 0, 0, 0.0))

    def quote(kind: EventKind, centre: int) -> None:
        for away in (1, 2):
            add(kind, EventFlag.BUY, centre - away, int(rng.integers(1, 9_000)) / 1_000)
            add(kind, EventFlag.SELL, centre + away, int(rng.integers(1, 9_000)) / 1_000)

    for step in range(steps):
        ts += step_ns
        local_ts = max(local_ts + 1, ts + NS_PER_MS + int(rng.integers(NS_PER_MS)))
        if step == 0:
            quote(EventKind.DEPTH_SNAPSHOT, mid)
        elif rng.random() < 0.2:
            side = EventFlag.BUY if rng.random() < 0.5 else EventFlag.SELL
            add(EventKind.TRADE, side, mid + (1 if side == EventFlag.BUY else -1), 0.001)
        else:
            for away in (1, 2):
                add(EventKind.DEPTH, EventFlag.BUY, mid - away, 0.0)
                add(EventKind.DEPTH, EventFlag.SELL, mid + away, 0.0)
            mid += int(rng.integers(-1, 2))
            quote(EventKind.DEPTH, mid)
    return np.array(rows, EVENT)
