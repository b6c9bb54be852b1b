"""What LOBSTER's files mean, apart from the reader: rows of the book, and books that replay events."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bt_framework.records import EventFlag, EventKind

NO_PRICE = 9_999_999_999
BUY, SELL = int(EventFlag.BUY), int(EventFlag.SELL)


@dataclass
class Truth:
    """The files as Arrow reads them: ``ts`` int64 ns UTC, ``columns`` (n, 5) and ``book`` (n, 4 * levels)."""

    ts: np.ndarray
    columns: np.ndarray
    book: np.ndarray

    def rows(self) -> Iterator[list[list[tuple[int, int]]]]:
        """Bids and asks of each row, as (price, size) from the best on."""
        for row in self.book.tolist():
            asks = [level for level in zip(row[0::4], row[1::4], strict=True) if level[0] != NO_PRICE]
            bids = [level for level in zip(row[2::4], row[3::4], strict=True) if level[0] != -NO_PRICE]
            yield [bids, asks]


@dataclass
class Levels:
    """Levels of one side, best first under `sign` times the price in ten-thousandths of a dollar."""

    sign: int
    qty: dict[int, int] = field(default_factory=dict)
    keys: list[int] = field(default_factory=list)

    def set(self, px: int, qty: int) -> None:
        key = self.sign * px
        if qty and px not in self.qty:
            insort(self.keys, key)
        if qty:
            self.qty[px] = qty
        elif px in self.qty:
            del self.qty[px], self.keys[bisect_left(self.keys, key)]

    def starts_with(self, levels: list[tuple[int, int]], n_most: int) -> bool:
        """Whether `levels` are the best of this side, and all of it if they are fewer than `n_most`."""
        if len(levels) < n_most and len(self.keys) > len(levels):
            return False
        keys = [self.sign * px for px, _ in levels]
        return self.keys[: len(keys)] == keys and all(self.qty[px] == qty for px, qty in levels)


class Replay:
    """A book of price levels or of orders, fed with events one by one."""

    def __init__(self) -> None:
        self.sides = [Levels(-1), Levels(1)]
        self.orders: dict[int, list[int]] = {}
        self.queues: dict[tuple[int, int], list[int]] = {}
        self.fills_at_front = Counter[bool]()

    def take(self, event: np.void) -> None:
        kind, side = int(event["ev"]) & 0xFF, 0 if int(event["ev"]) & BUY else 1
        px, qty, order_id = round(float(event["px"]) * 10_000), int(event["qty"]), int(event["order_id"])
        if kind in (EventKind.DEPTH, EventKind.DEPTH_SNAPSHOT):
            self.sides[side].set(px, qty)
        elif kind == EventKind.ADD_ORDER:
            assert order_id not in self.orders
            assert qty > 0
            self.orders[order_id] = [side, px, qty]
            self.queues.setdefault((side, px), []).append(order_id)
            self._change(side, px, qty)
        elif kind == EventKind.FILL:
            assert self.orders[order_id][:2] == [side, px]
            assert 0 < qty <= self.orders[order_id][2]
            self.fills_at_front[self.queues[side, px][0] == order_id] += 1
        else:
            assert kind in (EventKind.CANCEL_ORDER, EventKind.MODIFY_ORDER)
            order = self.orders[order_id]
            left = qty if kind == EventKind.MODIFY_ORDER else 0
            assert order[:2] == [side, px]
            assert left < order[2]
            self._change(side, px, left - order[2])
            order[2] = left
            if not left:
                del self.orders[order_id]
                self.queues[side, px].remove(order_id)

    def _change(self, side: int, px: int, by: int) -> None:
        self.sides[side].set(px, self.sides[side].qty.get(px, 0) + by)

    def touch(self) -> tuple[int, int]:
        bids, asks = self.sides
        return (-bids.keys[0] if bids.keys else 0, asks.keys[0] if asks.keys else NO_PRICE)


def expected_print(truth: Truth, k: int) -> tuple[int, float, int]:
    """Side flag, price on the tick that the taker passed before, and size of message k."""
    _, _, qty, px, direction = (int(value) for value in truth.columns[k])
    if direction == 1:
        return SELL, -(-px // 100) / 100, qty
    return BUY, px // 100 / 100, qty


def follow(truth: Truth, events: np.ndarray) -> Replay:
    """Feed the events to a replay; each row of the book must be reached with events of its message's time.

    Returns the replay after the last event.
    """
    replay = Replay()
    n_levels = truth.book.shape[1] // 4
    times, kinds = truth.ts.tolist(), truth.columns[:, 0].tolist()
    event_times = events["exch_ts"].tolist()
    position = 0
    for k, row in enumerate(truth.rows()):
        if kinds[k] in (4, 5):
            event = events[position]
            assert int(event["ev"]) & 0xFF == EventKind.TRADE
            side = int(event["ev"]) & (BUY | SELL)
            assert (side, float(event["px"]), int(event["qty"])) == expected_print(truth, k)
            assert event_times[position] == times[k]
            position += 1
        while not all(replay.sides[i].starts_with(row[i], n_levels) for i in (0, 1)):
            assert event_times[position] == times[k], k
            replay.take(events[position])
            bid, ask = replay.touch()
            assert bid < ask
            position += 1
    assert position == len(events)
    return replay


class Market:
    """An exchange of one instrument that writes what LOBSTER would, with random orders of a seed.

    Parameters
    ----------
    n_levels : int
        Of the book file; messages that act further away are left out, as LOBSTER does.
    """

    def __init__(self, seed: int, n_levels: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._n_levels = n_levels
        self._last_id = 0
        self.queues: list[dict[int, list[list[int]]]] = [{}, {}]
        self.ns = 34_200_000_000_000
        self.messages: list[tuple[int, int, int, int, int, int]] = []
        self.book: list[list[int]] = []

    def _prices(self, side: int) -> list[int]:
        return sorted(self.queues[side], reverse=side == 0)

    def row(self) -> list[int]:
        sides = []
        for side in (1, 0):
            levels = [(px, sum(o[1] for o in self.queues[side][px])) for px in self._prices(side)]
            empty = (NO_PRICE if side else -NO_PRICE, 0)
            sides.append([*levels, *[empty] * self._n_levels][: self._n_levels])
        return [value for ask, bid in zip(*sides, strict=True) for value in (*ask, *bid)]

    def write(self, kind: int, order_id: int, qty: int, px: int, direction: int) -> None:
        """A message and the row after it, if it is a print or a halt, or the row has changed."""
        row = self.row()
        self.ns += int(self._rng.integers(0, 3)) * 1_234_567
        if kind >= 5 or not self.book or row != self.book[-1]:
            self.messages.append((self.ns, kind, order_id, qty, px, direction))
            self.book.append(row)

    def step(self) -> None:
        """One thing that happens."""
        what = str(self._rng.choice(["add", "add", "add", "reduce", "delete", "execute", "hidden"]))
        side = int(self._rng.integers(2))
        direction, prices = 1 - 2 * side, self._prices(side)
        if what == "add" or not prices:
            other = self._prices(1 - side)
            far = int(self._rng.integers(1, 9)) * 100
            px = (other[0] - direction * far) if other else 1_000_000 - direction * far
            self._last_id += 1
            order = [self._last_id, int(self._rng.integers(1, 5)) * 10]
            self.queues[side].setdefault(px, []).append(order)
            self.write(1, *order, px, direction)
            return
        if what == "hidden":
            self.write(5, 0, 7, prices[0] + 50 * direction, direction)
            return
        px = prices[0] if what == "execute" else int(self._rng.choice(prices))
        queue = self.queues[side][px]
        order = queue[0] if what == "execute" else queue[int(self._rng.integers(len(queue)))]
        if what == "reduce" and order[1] == 1:
            what = "delete"
        most = order[1] if what == "execute" else order[1] - 1
        qty = order[1] if what == "delete" else int(self._rng.integers(1, most + 1))
        order[1] -= qty
        if not order[1]:
            queue.remove(order)
        if not queue:
            del self.queues[side][px]
        self.write({"reduce": 2, "delete": 3, "execute": 4}[what], order[0], qty, px, direction)

    def halt(self, units: int) -> None:
        self.write(7, 0, 0, units, -1)

    def texts(self) -> tuple[str, str]:
        """Message file and order book file."""
        messages = [
            f"{ns // 10**9}.{ns % 10**9:09d},{','.join(map(str, values))}\n" for ns, *values in self.messages
        ]
        return "".join(messages), "".join(f"{','.join(map(str, row))}\n" for row in self.book)

    def truth(self, midnight_ts: int) -> Truth:
        table = np.array(self.messages, np.int64)
        return Truth(midnight_ts + table[:, 0], table[:, 1:], np.array(self.book, np.int64))
