"""What waits between a run and the thread that stores its rows."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from bt_framework.stores.clickhouse._parcels import Slice

LOADING_S = 1.0
"""Longest wait of a run's first record for its first slice: until then the run loads code, and would be slowed down."""


class SliceQueue:
    """A queue of slices that holds a bounded number of rows, those being stored included.

    Parameters
    ----------
    max_rows : int
        A slice with more is taken when nothing else is there.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows = 0
        self._waiting_rows = 0
        self._waiting: deque[tuple[Slice, float]] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Slice, wait_s: float | None) -> bool:
        """Add a slice; False if there was no room for it within `wait_s` (None: for ever)."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(item), wait_s):
                return False
            self._rows += item.size
            self._waiting_rows += item.size
            self._waiting.append((item, time.monotonic()))
            self._changed.notify_all()
            return True

    def take(self, batch_rows: int, interval_s: float) -> list[Slice]:
        """Wait for slices to store together, and return them; empty once the queue is closed and empty.

        They are due when they have `batch_rows` rows or when the first has waited for `interval_s`; if it has records,
        when something follows it or after `LOADING_S`. One with records is the last that is taken. Call `settle` when
        they are stored.
        """
        with self._changed:
            while not self._closed:
                due_s = self._due_s(batch_rows, interval_s)
                if due_s is not None and due_s <= 0:
                    break
                self._changed.wait(due_s)
            taken: list[Slice] = []
            rows = 0
            while self._waiting and (not taken or rows < batch_rows):
                item, _ = self._waiting.popleft()
                taken.append(item)
                rows += item.size
                if item.records:
                    break
            self._waiting_rows -= rows
            return taken

    def settle(self, slices: Sequence[Slice]) -> None:
        """Forget slices that were taken: their room is free."""
        with self._changed:
            self._rows -= sum(item.size for item in slices)
            self._changed.notify_all()

    def close(self) -> None:
        """Let `take` return what is left without waiting for more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_room(self, item: Slice) -> bool:
        return self._rows == 0 or self._rows + item.size <= self._max_rows

    def _due_s(self, batch_rows: int, interval_s: float) -> float | None:
        """Seconds until what waits is due; None if nothing waits."""
        if not self._waiting:
            return None
        first, since_s = self._waiting[0]
        if self._waiting_rows >= batch_rows or (first.records and len(self._waiting) > 1):
            return 0.0
        wait_s = min(interval_s, LOADING_S) if first.records else interval_s
        return since_s + wait_s - time.monotonic()
