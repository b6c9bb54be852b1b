"""The rules of the exchange that fills in parts, in plain Python and whole lots: written for comparison with fills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NONE_BELOW, NONE_ABOVE = -(10**9), 10**9
MARKET_TICKS = 100
GTC, GTX, FOK, IOC = range(4)


class Part(NamedTuple):
    """Something that was filled: lots of an order at a price in ticks."""

    ts: int
    order: int
    ticks: int
    lots: int
    maker: bool


@dataclass
class Book:
    """Levels in lots by ticks, and the touch.

    A level that crosses the other side stays behind it; and below ``low_bid`` and above ``high_ask`` nothing is looked
    for: they are the furthest levels since the side was last empty.
    """

    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    best_bid: int = NONE_BELOW
    best_ask: int = NONE_ABOVE
    low_bid: int = NONE_ABOVE
    high_ask: int = NONE_BELOW

    def below(self, ticks: int) -> int:
        """Next bid under `ticks`."""
        return max((t for t in self.bids if self.low_bid <= t < ticks), default=NONE_BELOW)

    def above(self, ticks: int) -> int:
        """Next ask over `ticks`."""
        return min((t for t in self.asks if ticks < t <= self.high_ask), default=NONE_ABOVE)

    def touch_after(self, side: int, ticks: int) -> None:
        """Look for a side's touch beyond `ticks`."""
        if side > 0:
            self.best_bid = self.below(ticks)
            self.low_bid = NONE_ABOVE if self.best_bid == NONE_BELOW else self.low_bid
        else:
            self.best_ask = self.above(ticks)
            self.high_ask = NONE_BELOW if self.best_ask == NONE_ABOVE else self.high_ask

    def set(self, side: int, ticks: int, lots: int) -> None:
        """Change a level."""
        levels = self.bids if side > 0 else self.asks
        levels.pop(ticks, None)
        if not lots:
            if ticks == (self.best_bid if side > 0 else self.best_ask):
                self.touch_after(side, ticks)
            return
        levels[ticks] = lots
        if side > 0:
            self.low_bid = min(self.low_bid, ticks)
            if ticks > self.best_bid:
                self.best_bid = ticks
                if self.best_ask <= ticks:
                    self.best_ask = self.above(ticks)
        else:
            self.high_ask = max(self.high_ask, ticks)
            if ticks < self.best_ask:
                self.best_ask = ticks
                if self.best_bid >= ticks:
                    self.best_bid = self.below(ticks)

    def clear(self, side: int, ticks: int | None) -> None:
        """Take the levels from the touch to `ticks` away, or the whole side; the tick after `ticks` is skipped."""
        levels = self.bids if side > 0 else self.asks
        for t in list(levels):
            between = ticks is not None and (
                ticks <= t <= self.best_bid if side > 0 else self.best_ask <= t <= ticks
            )
            if ticks is None or between:
                del levels[t]
        self.touch_after(side, NONE_BELOW if ticks is None else ticks - side)


@dataclass
class Resting:
    """An order in the book; ``ahead`` is what the others have in front of it."""

    order: int
    side: int
    ticks: int
    lots: int
    ahead: int


class Matcher:
    """An exchange with the risk-averse queue."""

    def __init__(self) -> None:
        self.book = Book()
        self.resting: dict[int, Resting] = {}
        self.parts: list[Part] = []
        self.ends: dict[int, str] = {}

    def depth(self, ts: int, side: int, ticks: int, lots: int) -> None:
        """A level has changed."""
        bid, ask = self.book.best_bid, self.book.best_ask
        self.book.set(side, ticks, lots)
        for order in self.resting.values():
            if (order.side, order.ticks) == (side, ticks):
                order.ahead = min(order.ahead, lots)
        if side > 0 and self.book.best_bid > bid:
            reached = self.reached(-1, bid, self.book.best_bid)
        elif side < 0 and self.book.best_ask < ask:
            reached = self.reached(1, ask, self.book.best_ask)
        else:
            reached = []
        for order in reached:
            self.make(ts, order, order.lots)

    def reached(self, side: int, touch: int, ticks: int) -> list[Resting]:
        """Orders of a side at prices from beyond the other side's `touch` to `ticks`.

        With few of them against the way, the engine looks at all orders instead of all prices: those that rest on the
        wrong side of a book that has been cleared are then found as well.
        """
        few = abs(touch) == NONE_ABOVE or len(self.resting) < (touch - ticks) * side
        return [
            order
            for order in self.resting.values()
            if order.side == side
            and (order.ticks - ticks) * side >= 0
            and (few or (touch - order.ticks) * side > 0)
        ]

    def trade(self, ts: int, side: int, ticks: int, lots: int) -> None:
        """Somebody has taken; `side` is the taker's."""
        for order in self.reached(-side, self.book.best_bid if side > 0 else self.book.best_ask, ticks):
            if order.ticks != ticks:
                self.make(ts, order, order.lots)
                continue
            order.ahead -= lots
            if order.ahead < 0:
                self.make(ts, order, min(order.lots, -order.ahead))
                order.ahead = 0

    def make(self, ts: int, order: Resting, lots: int) -> None:
        """Fill a resting order."""
        self.parts.append(Part(ts, order.order, order.ticks, lots, True))
        order.lots -= lots
        if not order.lots:
            del self.resting[order.order]
            self.ends[order.order] = "filled"

    def new(self, ts: int, order: Resting, tif: int, *, market: bool) -> None:
        """Take in an order."""
        touch = self.book.best_ask if order.side > 0 else self.book.best_bid
        crosses = (order.ticks - touch) * order.side >= 0
        if not market and not crosses:
            if tif in (FOK, IOC):
                self.ends[order.order] = "expired"
                return
            levels = self.book.bids if order.side > 0 else self.book.asks
            order.ahead = levels.get(order.ticks, 0)
            self.resting[order.order] = order
            return
        limit = touch + order.side * (MARKET_TICKS - (order.side > 0)) if market else order.ticks
        tif = IOC if market else tif
        if tif == GTX or (tif == FOK and sum(lots for _, lots in self.reachable(order, limit)) < order.lots):
            self.ends[order.order] = "expired"
            return
        for ticks, lots in list(self.reachable(order, limit)):
            if order.lots and not (tif == GTC and ticks == limit):
                self.take(ts, order, ticks, min(lots, order.lots))
        if order.lots and tif == GTC:
            self.take(ts, order, limit, order.lots)
        self.ends[order.order] = "expired" if order.lots else "filled"

    def reachable(self, order: Resting, limit: int) -> Iterator[tuple[int, int]]:
        """Levels from the touch to a limit, best first."""
        if order.side > 0:
            found = [t for t in sorted(self.book.asks) if self.book.best_ask <= t <= limit]
            yield from ((t, self.book.asks[t]) for t in found)
        else:
            found = [t for t in sorted(self.book.bids, reverse=True) if limit <= t <= self.book.best_bid]
            yield from ((t, self.book.bids[t]) for t in found)

    def take(self, ts: int, order: Resting, ticks: int, lots: int) -> None:
        """Fill an arriving order."""
        self.parts.append(Part(ts, order.order, ticks, lots, False))
        order.lots -= lots

    def cancel(self, order: int) -> None:
        """Cancel what rests."""
        if self.resting.pop(order, None):
            self.ends[order] = "cancelled"


def merged(parts: Sequence[Part]) -> list[Part]:
    """Parts of an order at one time and price as one."""
    total: dict[tuple[int, int, int, bool], int] = {}
    for part in parts:
        key = (part.ts, part.order, part.ticks, part.maker)
        total[key] = total.get(key, 0) + part.lots
    return sorted(Part(ts, order, ticks, lots, maker) for (ts, order, ticks, maker), lots in total.items())
