"""A stored feed as it would have been received elsewhere: every local time later, or earlier, by a constant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.results.run import Instrument

if TYPE_CHECKING:
    from bt_framework.data.store import StoredFeed

_CHUNK_ROWS = 1 << 16


class ShiftedFeed(Feed):
    """Feed of the events of `stored` with `offset_ns` added to ``local_ts``.

    A constant changes neither the order of the local nor that of the exchange events, so the rows stay where they
    are. The doctor refuses an offset that lets events arrive before they have happened.
    """

    ordered = True

    def __init__(self, stored: StoredFeed, offset_ns: int) -> None:
        self._stored = stored
        self._offset_ns = offset_ns
        self.symbol = stored.symbol
        self.tick_size = stored.spec.tick_size
        self.lot_size = stored.spec.lot_size
        self.keep = stored.held is None

    def identity(self) -> Mapping[str, Any]:
        """The events that are shifted, and by how much."""
        return {"reader": "shifted", "events": self._stored.content_hash, "offset_ns": self._offset_ns}

    def known_instrument(self, report: FeedReport) -> Instrument:
        """Sizes of the original."""
        return self._stored.spec

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
        """Yield shifted copies; gaps and drops are those of the original."""
        source = self._stored.report
        report.symbol, report.rows_read = self.symbol, self._stored.events
        report.dropped, report.gaps = dict(source.dropped), source.gaps
        report.missing_updates, report.first_problem = source.missing_updates, source.first_problem
        report.duplicates, report.first_dropped = source.duplicates, dict(source.first_dropped)
        report.notes = {**source.notes, "feed_offset_ns": self._offset_ns}
        events = self._stored.open()
        for start in range(0, len(events), _CHUNK_ROWS):
            chunk = events[start : start + _CHUNK_ROWS].copy()
            chunk["local_ts"] += self._offset_ns
            yield chunk
            progress(start + len(chunk), len(events))
