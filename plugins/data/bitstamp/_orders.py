"""From what happened to orders to events of a book that is never crossed.

The stream shows an order that takes before the orders that it takes from have shrunk, so for a moment the orders
cross. A book that took it in would fill everything behind it. So an order that crosses waits outside until what it
crosses is gone, or it is; what is left of it then enters the book. Orders that are crossed for too long have gone
without a message: they are taken out.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from bt_framework.records import EventFlag, EventKind

BID, ASK = 0, 1
QTY_SCALE = 100_000_000
"""Volumes are whole hundred-millionths."""

_REMEMBERED_IDS = 1 << 16
_LEAST_HEAP = 64
_ROUNDING = 2
"""The two sides of a trade may differ by this much."""

_TAKER = "of an order that takes, outside the book"
_FLAGS = (int(EventFlag.BUY), int(EventFlag.SELL))

Emit = Callable[[int, float, int, int], None]
"""Called with ``ev``, price, volume and order id."""


class Action(IntEnum):
    """What happened to an order."""

    CREATED = 0
    CHANGED = 1
    DELETED = 2


@dataclass(slots=True)
class Order:
    """An order.

    Attributes
    ----------
    reported : int
        What is left of it by its own last message, in hundred-millionths.
    owed : int
        What it has taken by the messages of others, less what it has taken by its own. Both tell the same trades,
        in any order.
    """

    id: int
    side: int
    px: float
    reported: int
    since_ts: int
    owed: int = 0

    @property
    def volume(self) -> int:
        """What is left of it, by whoever knows more."""
        left = self.reported - max(self.owed, 0)
        return left if self.owed <= 0 or left > _ROUNDING else 0


@dataclass
class Counts:
    """What was found, apart from what was dropped."""

    takers: int = 0
    trades: int = 0
    traded_volume: int = 0
    taken_volume: int = 0
    stale_orders: int = 0


@dataclass
class Side:
    """One side of the book: volume by price, and its prices in a heap, best first, some of them gone."""

    sign: int
    volumes: dict[float, int] = field(default_factory=dict)
    heap: list[float] = field(default_factory=list)

    def add(self, px: float, volume: int) -> int:
        """Volume at the price after a change by `volume`."""
        if px not in self.volumes:
            if len(self.heap) > 2 * len(self.volumes) + _LEAST_HEAP:
                self.heap = [self.sign * held for held in self.volumes]
                heapq.heapify(self.heap)
            heapq.heappush(self.heap, self.sign * px)
        left = self.volumes.get(px, 0) + volume
        if left:
            self.volumes[px] = left
        else:
            del self.volumes[px]
        return left

    def best(self) -> float | None:
        """Best price; None if there is none."""
        while self.heap and self.sign * self.heap[0] not in self.volumes:
            heapq.heappop(self.heap)
        return self.sign * self.heap[0] if self.heap else None


class OrderBook:
    """Orders in the book, orders that wait outside, and the events that lead from one state to the next."""

    def __init__(self, emit: Emit, by_order: bool, stale_after_ns: int) -> None:
        self._emit = emit
        self._by_order = by_order
        self._stale_after_ns = stale_after_ns
        self._orders: dict[int, Order] = {}
        self._takers: dict[int, Order] = {}
        self._sides = (Side(-1), Side(1))
        self._gone: deque[int] = deque()
        self._gone_ids: set[int] = set()
        self.counts = Counts()

    def apply(self, ts: int, action: int, order: Order) -> str:
        """Take in one message of the stream.

        Parameters
        ----------
        ts : int
            Receive time, int64 ns UTC; not before that of the message before.
        action : int
            An `Action`.
        order : Order
            As the message says it.

        Returns
        -------
        str
            Why the message changes nothing; empty if it does.
        """
        self._retire(ts)
        if action == Action.CREATED:
            reason = self._created(order)
        elif action == Action.CHANGED:
            reason = self._changed(order)
        else:
            reason = self._deleted(order)
        if self._takers:
            self._admit()
        return reason

    def _created(self, order: Order) -> str:
        if order.id in self._orders or order.id in self._takers:
            return "created again"
        if order.id in self._gone_ids:
            return "created after its deletion"
        if not order.reported:
            return "created without volume"
        return self._enter(order)

    def _changed(self, order: Order) -> str:
        if order.id in self._gone_ids:
            return "changed after its deletion"
        taker = self._takers.get(order.id)
        if taker is not None:
            self._report(taker, order.reported)
            taker.px = order.px
            return _TAKER
        held = self._orders.get(order.id)
        if held is None:
            return "changed, never seen"
        if held.px != order.px:
            self._move(held, order)
            return ""
        before = held.volume
        unchanged = held.reported == order.reported
        traded = self._report(held, order.reported)
        if held.volume == before and not traded:
            return "changed nothing" if unchanged else "of a trade that others have told"
        self._resize(held, before, traded)
        return ""

    def _deleted(self, order: Order) -> str:
        if order.id in self._gone_ids:
            return "deleted again"
        held = self._orders.get(order.id)
        taker = self._takers.get(order.id)
        if held is not None:
            before = held.volume
            traded = self._report(held, order.reported)
            if traded:
                self._trade(held, traded)
            self._remove(held, before)
        elif taker is not None:
            self._report(taker, order.reported)
        self._forget(order.id)
        if held is None:
            return _TAKER if taker else "deleted, never seen"
        return ""

    def _report(self, order: Order, reported: int) -> int:
        """Note an order's own message; returns what a resting one has lost that no message of others has told."""
        lost = max(order.reported - reported, 0)
        order.reported = reported
        if order.id in self._takers:
            order.owed -= lost
            self.counts.taken_volume += lost
            return 0
        told = min(lost, order.owed)
        order.owed = order.owed - told if order.owed - told > _ROUNDING else 0
        self.counts.taken_volume += told
        return 0 if told and lost - told <= _ROUNDING else lost - told

    def _crosses(self, order: Order) -> bool:
        best = self._sides[1 - order.side].best()
        return best is not None and (order.px >= best if order.side == BID else order.px <= best)

    def _enter(self, order: Order) -> str:
        """Into the book, or outside if it crosses."""
        if not order.volume or self._crosses(order):
            self.counts.takers += 1
            self._takers[order.id] = order
            return _TAKER
        self._add(order)
        return ""

    def _admit(self) -> None:
        """Let in what is left of those that cross nobody any more."""
        for order in list(self._takers.values()):
            if order.volume and not self._crosses(order):
                del self._takers[order.id]
                order.owed = max(order.owed, 0)
                self._add(order)

    def _retire(self, ts: int) -> None:
        """Take out what has been crossed for too long; `_admit` then lets in who crossed it."""
        for taker in [o for o in self._takers.values() if ts - o.since_ts > self._stale_after_ns]:
            if not taker.volume:
                self._forget(taker.id)
                continue
            sign = 1 if taker.side == BID else -1
            for order in list(self._orders.values()):
                if order.side != taker.side and sign * (taker.px - order.px) >= 0:
                    self.counts.stale_orders += 1
                    self._remove(order, order.volume)
                    self._forget(order.id)

    def _move(self, held: Order, order: Order) -> None:
        """To another price; what it would cross there it has to take first."""
        before = held.volume
        self._report(held, order.reported)
        if self._by_order and held.volume and not self._crosses(order):
            self._sides[held.side].add(held.px, -before)
            held.px = order.px
            self._sides[held.side].add(held.px, held.volume)
            self._emit_order(EventKind.MODIFY_ORDER, held, held.volume)
        else:
            self._remove(held, before)
            held.px, held.since_ts = order.px, order.since_ts
            self._enter(held)

    def _add(self, order: Order) -> None:
        self._orders[order.id] = order
        left = self._sides[order.side].add(order.px, order.volume)
        self._emit_change(EventKind.ADD_ORDER, order, order.volume, left)

    def _resize(self, held: Order, before: int, traded: int) -> None:
        """The order was of volume `before`; `traded` of the difference has traded."""
        if traded:
            self._trade(held, traded)
        if not held.volume:
            self._remove(held, before)
            return
        left = self._sides[held.side].add(held.px, held.volume - before)
        self._emit_change(EventKind.MODIFY_ORDER, held, held.volume, left)

    def _remove(self, held: Order, volume: int) -> None:
        left = self._sides[held.side].add(held.px, -volume)
        del self._orders[held.id]
        self._emit_change(EventKind.CANCEL_ORDER, held, volume, left)

    def _trade(self, held: Order, volume: int) -> None:
        """A resting order loses `volume` to takers of the other side; those that wait have taken it."""
        self.counts.trades += 1
        self.counts.traded_volume += volume
        self._emit(EventKind.TRADE | _FLAGS[1 - held.side], held.px, volume, 0)
        if self._by_order:
            self._emit_order(EventKind.FILL, held, volume)
        sign = 1 if held.side == ASK else -1
        for taker in self._takers.values():
            if taker.side != held.side and sign * (taker.px - held.px) >= 0:
                taken = min(volume, taker.reported - taker.owed)
                taker.owed += taken
                volume -= taken

    def _emit_change(self, kind: int, order: Order, volume: int, level_volume: int) -> None:
        if self._by_order:
            self._emit_order(kind, order, volume)
        else:
            self._emit(EventKind.DEPTH | _FLAGS[order.side], order.px, level_volume, 0)

    def _emit_order(self, kind: int, order: Order, volume: int) -> None:
        self._emit(kind | _FLAGS[order.side], order.px, volume, order.id)

    def _forget(self, order_id: int) -> None:
        """The order is gone; of the last ones to go it is known that they are."""
        self._takers.pop(order_id, None)
        self._gone.append(order_id)
        self._gone_ids.add(order_id)
        if len(self._gone) > _REMEMBERED_IDS:
            self._gone_ids.discard(self._gone.popleft())
