"""The best bid and ask of a feed over time, as the exchange had them and as we knew them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np

from bt_framework.records import EventFlag, record

TOUCH = np.dtype([("sequence", "i8"), ("ts", "i8"), ("bid_px", "f8"), ("ask_px", "f8")])
"""A change of the touch: after which event of the feed, when, ns UTC by the clock asked for, and to what, quote
currency; NaN for an empty side."""

_FIRST_ORDERS = 1 << 12


class Clock(StrEnum):
    """Whose time, and whose book."""

    EXCHANGE = "exchange"
    LOCAL = "local"


class TouchReplay:
    """Replays a feed's events by one clock, block by block; memory does not depend on their number.

    The touch is hftbacktest's: where levels cross, the latest wins. It is written when it has changed once all rows
    of one time are in; a price is its tick times the tick size, as the engine has it.

    Parameters
    ----------
    clock : Clock
    tick_size : float
        Quote currency.

    Examples
    --------
    >>> from bt_framework.testing.events import SmallFeed
    >>> events = SmallFeed().book(0, bid_px=100.0, ask_px=101.0).level(5, 1, 100.0, 0.0).events()
    >>> replay = TouchReplay(Clock.EXCHANGE, 0.5)
    >>> replay.update(events)[["bid_px", "ask_px"]].tolist(), replay.finish()[["bid_px", "ask_px"]].tolist()
    ([(100.0, 101.0)], [(nan, 101.0)])
    """

    def __init__(self, clock: Clock, tick_size: float) -> None:
        from bt_framework.data import _book, _scan
        from bt_framework.data.doctor import new_book
        from bt_framework.stores.clickhouse._touch import LAST

        self._flag = int(EventFlag.EXCH if clock is Clock.EXCHANGE else EventFlag.LOCAL)
        self._stats: Any = record(_scan.STATS, tick_size=tick_size)
        self._stats.trade_low_ticks = _book.NONE
        self._book = new_book()
        self._orders = np.zeros(_FIRST_ORDERS, _book.ORDER)
        self._last: Any = record(LAST, ts=_book.NONE, bid=_book.NONE, ask=_book.NONE)

    def update(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Take in the next rows, an EVENT array of shape (n_rows,) in the engine's order.

        Returns
        -------
        TOUCH array of shape (n_changes,)
            Those before the time of the last row.
        """
        from bt_framework.data import _book, _scan
        from bt_framework.stores.clickhouse._touch import follow_touch

        added = int(((rows["ev"] & np.uint64(0xFF)) == _scan.ADD).sum())
        self._orders = _book.with_room(self._orders, int(self._stats.live_local) + added)
        out = np.empty(len(rows), TOUCH)
        arguments = self._stats, self._book, self._orders, self._last, out
        return out[: int(follow_touch(rows, self._flag, *arguments))]

    def finish(self) -> np.ndarray[Any, Any]:
        """The change that the last rows made, if any: a TOUCH array of shape (0,) or (1,)."""
        from bt_framework.stores.clickhouse._touch import finish_touch

        out = np.empty(1, TOUCH)
        return out[: int(finish_touch(self._stats, self._book, self._last, out))]
