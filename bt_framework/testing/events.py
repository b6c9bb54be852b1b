"""Feeds written by hand, event by event, for tests that must know what happened when."""

from __future__ import annotations

from typing import Any

import numpy as np

from bt_framework.records import EVENT, EventFlag, EventKind, Side
from bt_framework.testing.feeds import START_TS
from bt_framework.units import NS_PER_MS

_BOTH = EventFlag.EXCH | EventFlag.LOCAL


class SmallFeed:
    """Collects events of one instrument; each method takes the exchange's time and returns the feed itself.

    Parameters
    ----------
    latency_ns : int
        From the exchange to us, the same for every event.

    Examples
    --------
    >>> feed = SmallFeed().book(0, bid_px=100.0, ask_px=101.0).trade(5_000_000, side=1, px=101.0, qty=0.5)
    >>> feed.events()["px"].tolist()
    [100.0, 101.0, 101.0]
    """

    def __init__(self, latency_ns: int = NS_PER_MS) -> None:
        self._latency_ns = latency_ns
        self._rows: list[tuple[Any, ...]] = []

    def level(self, at_ns: int, side: int, px: float, qty: float) -> SmallFeed:
        """Set the quantity of a price level; 0 takes it away."""
        return self._add(EventKind.DEPTH, at_ns, side, px, qty)

    def book(self, at_ns: int, *, bid_px: float, ask_px: float, qty: float = 1.0) -> SmallFeed:
        """Set one level on each side."""
        return self.level(at_ns, Side.BUY, bid_px, qty).level(at_ns, Side.SELL, ask_px, qty)

    def trade(self, at_ns: int, side: int, px: float, qty: float) -> SmallFeed:
        """Add a trade; `side` is the taker's."""
        return self._add(EventKind.TRADE, at_ns, side, px, qty)

    def clear(self, at_ns: int, side: int, px: float) -> SmallFeed:
        """Take away all levels of a side up to `px`."""
        return self._add(EventKind.DEPTH_CLEAR, at_ns, side, px, 0.0)

    def events(self) -> np.ndarray[Any, Any]:
        """Return what was collected as an EVENT array; times are `START_TS` and what was given.

        Raises
        ------
        ValueError
            If the times went back.
        """
        events = np.array(self._rows, EVENT)
        if np.any(np.diff(events["exch_ts"]) < 0):
            raise ValueError("events must be in order of time.")
        return events

    def _add(self, kind: EventKind, at_ns: int, side: int, px: float, qty: float) -> SmallFeed:
        flag = EventFlag.BUY if side > 0 else EventFlag.SELL
        exch_ts = START_TS + at_ns
        self._rows.append((int(_BOTH | flag | kind), exch_ts, exch_ts + self._latency_ns, px, qty, 0, 0, 0.0))
        return self
