"""Order latencies taken to move with the feed's: when the feed is slow, so are orders."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.engine.latency import CHUNK_ROWS, LatencySpan, LatencyTable, latency_rows
from bt_framework.engine.models import LatencyModel
from bt_framework.errors import ConfigError, DataError
from bt_framework.records import EventFlag
from bt_plugins.latency._shared import Disturbances, model_of

_BOTH = np.uint64(EventFlag.EXCH | EventFlag.LOCAL)


@dataclass
class FromFeed(ComponentConfig):
    """Keys of latencies that follow the feed's."""

    entry_multiplier: float = param(1.0, "entry latency per feed latency")
    entry_offset_ns: Duration = param(0, "added to it", unit="ns")
    response_multiplier: float = param(1.0, "response latency per feed latency")
    response_offset_ns: Duration = param(0, "added to it", unit="ns")
    step_ns: Duration = param("1s", "the last event of each step of time gives the feed latency", unit="ns")


@dataclass
class FeedDerived(Disturbances, FromFeed):
    """Entry and response latency follow the feed's latency: multiplier times it, and an offset."""

    name: str = param("feed_derived", "registry name")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.check_not_negative("entry_multiplier", "response_multiplier")
        if self.step_ns <= 0:
            raise ConfigError(f"step_ns must be > 0, was {self.step_ns}.")


@dataclass(frozen=True)
class FeedTable(LatencyTable):
    """A row for the last event of every step of time. Negative latencies are taken as none.

    Attributes
    ----------
    entry, response : (float, int)
        Multiplier and offset, ns.
    """

    entry: tuple[float, int]
    response: tuple[float, int]
    step_ns: int

    def identity(self, span: LatencySpan) -> Mapping[str, Any]:
        """Parameters and the feed."""
        return {"model": "feed_derived", **asdict(self), "events": span.feed.content_hash}

    def chunks(self, span: LatencySpan) -> Iterator[np.ndarray]:
        """Yield a row per step that has an event, over the run and a step on either side."""
        events = span.feed.open()
        local_ts = events["local_ts"]
        first = bisect_left(local_ts, (span.start_ts // self.step_ns - 1) * self.step_ns)
        last = bisect_right(local_ts, (span.end_ts // self.step_ns + 2) * self.step_ns - 1)
        kept = np.zeros((0, 2), np.int64)
        for start in range(first, last, CHUNK_ROWS):
            chunk = events[start : min(start + CHUNK_ROWS, last)]
            both = (chunk["ev"] & _BOTH) == _BOTH
            times = np.stack([chunk["local_ts"][both], chunk["exch_ts"][both]], axis=1)
            times = np.concatenate([kept, times])
            step = times[:, 0] // self.step_ns
            ends = np.flatnonzero(np.diff(step))
            yield self._rows(times[ends])
            kept = times[-1:]
        if not len(kept):
            raise DataError(
                f"the feed of {span.symbol} has no event in the run that both sides see: its latency is not known. "
                "Choose another latency model."
            )
        yield self._rows(kept)

    def _rows(self, times: np.ndarray) -> np.ndarray:
        feed_ns = times[:, 0] - times[:, 1]
        entry_ns, response_ns = (
            np.maximum(multiplier * feed_ns + offset_ns, 0).astype(np.int64)
            for multiplier, offset_ns in (self.entry, self.response)
        )
        return latency_rows(times[:, 0], entry_ns, response_ns)


def build(config: FeedDerived) -> LatencyModel:
    """Return the latency model."""
    table = FeedTable(
        (float(config.entry_multiplier), int(config.entry_offset_ns)),
        (float(config.response_multiplier), int(config.response_offset_ns)),
        int(config.step_ns),
    )
    return model_of(config, table=table)
