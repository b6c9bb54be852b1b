"""Giving back the pages of events that a run has passed, so that resident memory does not grow with its length."""

from __future__ import annotations

import mmap
from bisect import bisect_right

import numpy as np

_STEP_BYTES = 16 << 20
"""Pages are given back this many bytes at a time: short runs never do, long ones seldom."""


_SMALL_BYTES = 32 << 20
"""Mappings up to this size are kept: the next run wants them again, and other threads do now."""


class PassedPages:
    """The mapped part of one event array that lies behind the simulated time.

    The pages stay in the system's cache: who still needs them, a run in another thread on the same mapping say, gets
    them back without a read.
    For small arrays, those that are not mapped, and on systems without ``madvise``, nothing is done.

    Parameters
    ----------
    events : EVENT array of shape (n_events,)
        In time order.
    time : str
        The field that says when a row is passed.
    """

    def __init__(self, events: np.ndarray, time: str = "local_ts") -> None:
        mapping = getattr(events, "_mmap", None)
        can_give_back = hasattr(mmap, "MADV_DONTNEED") and events.nbytes > _SMALL_BYTES
        self._mapping: mmap.mmap | None = mapping if can_give_back else None
        self._first_byte = getattr(events, "offset", 0) % mmap.ALLOCATIONGRANULARITY
        self._row_bytes = events.dtype.itemsize
        self._local_ts = events.view(np.ndarray)[time]  # each row of a memmap is slow to look at
        self._rows = 0
        self._released = 0

    def release(self, now_ts: int) -> int:
        """Give back what is earlier than the local time `now_ts`, ns UTC; returns the bytes given back so far.

        Rows for the exchange alone can be out of local order by moments, which moves the border by as little.
        """
        if self._mapping is None:
            return 0
        # bisect looks at some twenty rows; numpy's searchsorted would copy the column.
        self._rows = bisect_right(self._local_ts, now_ts, self._rows)
        passed = self._first_byte + self._rows * self._row_bytes
        passed -= passed % mmap.PAGESIZE
        if passed - self._released >= _STEP_BYTES:
            self._mapping.madvise(mmap.MADV_DONTNEED, self._released, passed - self._released)
            self._released = passed
        return self._released
