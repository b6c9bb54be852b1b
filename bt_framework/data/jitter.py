"""A stored feed whose events arrive a random moment later, in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.data.shift import ShiftedFeed
from bt_framework.data.source import FeedReport, Progress
from bt_framework.engine.jitter import key_of

if TYPE_CHECKING:
    from bt_framework.data.store import StoredFeed
    from bt_framework.engine.jitter import Ints, Jitter

_SPAN_STEPS = 1 << 16


class JitteredFeed(ShiftedFeed):
    """Feed of the events of `stored` with `offset_ns` and then `jitter` added to ``local_ts``.

    The delay depends on the local time, and later events never arrive earlier: events that would overtake wait for
    those before them, as on one connection. So rows stay where they are, and memory is bounded.
    """

    def __init__(self, stored: StoredFeed, offset_ns: int, jitter: Jitter, seed: int) -> None:
        super().__init__(stored, offset_ns)
        self._jitter = jitter
        self._seed = seed
        self._key = key_of({"feed": self.symbol, "seed": seed})

    def identity(self) -> Mapping[str, Any]:
        """The events, and how they are delayed."""
        delay = {"jitter": dict(self._jitter.identity()), "seed": self._seed}
        return {**super().identity(), "reader": "jittered", **delay}

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
        """Yield delayed copies; gaps and drops are those of the original."""
        for chunk in super().chunks(report, progress):
            chunk["local_ts"] = self.delayed(chunk["local_ts"])
            yield chunk

    def delayed(self, local_ts: Ints) -> Ints:
        """When what arrived at `local_ts` arrives now, ns UTC; times in any order."""
        order = np.argsort(local_ts, kind="stable")
        times, step_ns = local_ts[order], self._jitter.step_ns
        arrived = np.empty_like(times)
        start = 0
        while start < len(times):
            stop = int(np.searchsorted(times, times[start] + _SPAN_STEPS * step_ns))
            part = times[start:stop]
            first = int(part[0] // step_ns)
            places = self._jitter.arrivals(self._key, first, int(part[-1] // step_ns) + 2)
            index = part // step_ns - first
            after_ns = part - (first + index) * step_ns
            here, there = places[index], places[index + 1]
            whole, rest = np.divmod(there - here, step_ns)
            # Rounded up, so that nothing arrives before it did.
            arrived[start:stop] = here + whole * after_ns - (-rest * after_ns) // step_ns
            start = stop
        delayed = np.empty_like(local_ts)
        delayed[order] = arrived
        return delayed
