"""Events that clear a book, written so that hftbacktest's price vector understands them.

Asked to clear its asks up to a price, the vector of hftbacktest 2.4.4 counts the last level from the wrong end of its
range: too low by the length of the range, so that nothing is cleared. A price higher by that length clears exactly what
was meant, but the vector takes its asks for gone then. The clear itself, once more, finds the best one of those that
are left; and a level that is put at the vector's last tick and taken away again says how far it has to look. None of
these rows touches an order or a queue: orders do not reach the last tick, see `bt_framework.engine.session`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from bt_framework.errors import StorageError
from bt_framework.features import FeatureCache, Input, feature
from bt_framework.records import EVENT, EventFlag, EventKind

MOST_ROWS = 1 << 18
"""A clear later than this is left alone: the rows before it are copied, and looked at one by one."""

_BUY, _SELL = int(EventFlag.BUY), int(EventFlag.SELL)
_SIDES = _BUY | _SELL
_DEPTH, _CLEAR, _SNAPSHOT = int(EventKind.DEPTH), int(EventKind.DEPTH_CLEAR), int(EventKind.DEPTH_SNAPSHOT)
_CHUNK_ROWS, _TAIL_ROWS = 1 << 16, 1 << 12
_NONE = 2**62
_NEAR_TICKS = 64
"""How far the next level usually is, at most."""


class Range(NamedTuple):
    """Of a price vector, in ticks; both ends belong to it."""

    tick_size: float
    lot_size: float
    low_ticks: int
    high_ticks: int


class _Side:
    """One side of a book as the engine keeps it. Levels are ticks, of bids with the sign changed: lower is better."""

    def __init__(self) -> None:
        self.qty: dict[int, float] = {}
        self.best, self.furthest = _NONE, -_NONE

    def after(self, level: int) -> int:
        """Return the next level that is worse than `level`, as far as the engine looks."""
        near = min(level + _NEAR_TICKS, self.furthest)
        found = next((worse for worse in range(level + 1, near + 1) if worse in self.qty), None)
        return min(self.within(near + 1, self.furthest), default=_NONE) if found is None else found

    def within(self, best: int, furthest: int) -> list[int]:
        """Return the levels from one to another."""
        return [level for level in self.qty if best <= level <= furthest]

    def find_best(self, level: int) -> None:
        """Make the next one after `level` the best; a side without one has no furthest level either."""
        self.best = self.after(level)
        if self.best == _NONE:
            self.furthest = -_NONE

    def put(self, level: int, qty: float, other: _Side) -> None:
        """Set the quantity of a level; one that crosses the other side hides what is behind it there."""
        if qty == 0:
            self.qty.pop(level, None)
            if level == self.best:
                self.find_best(level)
            return
        self.qty[level] = qty
        self.furthest = max(self.furthest, level)
        if level < self.best:
            self.best = level
            if other.best <= -level:
                other.best = other.after(-level)

    def clear(self, limit: int | None) -> None:
        """Empty it up to a level, or all of it."""
        if limit is None:
            self.qty, self.best, self.furthest = {}, _NONE, -_NONE
            return
        for level in self.within(self.best, limit):
            del self.qty[level]
        self.find_best(limit + 1)  # the engine looks from the second level on


class _Book:
    """A book of the exchange or of ours, as the hash map has it."""

    def __init__(self, reach: Range) -> None:
        self._reach = reach
        self.asks, self._bids = _Side(), _Side()

    def apply(self, ev: int, px: float, qty: float) -> None:
        """Apply a row."""
        kind, reach = ev & 0xFF, self._reach
        if kind == _CLEAR:
            ticks = _nearest(px / reach.tick_size) if ev & _SIDES and math.isfinite(px) else None
            if ev & _BUY or not ev & _SIDES:
                self._bids.clear(None if ticks is None else -ticks)
            if ev & _SELL or not ev & _SIDES:
                self.asks.clear(ticks)
        elif kind in (_DEPTH, _SNAPSHOT) and ev & _SIDES:
            ticks = _nearest(px / reach.tick_size)
            qty = qty if _nearest(qty / reach.lot_size) else 0.0
            if ev & _BUY:
                self._bids.put(-ticks, qty, self.asks)
            else:
                self.asks.put(ticks, qty, self._bids)

    def differs(self, ev: int) -> bool:
        """Whether the vector has another best price after it was told of a row that clears levels.

        The hash map looks no further than at what it takes for the furthest level, and beyond the vector's range; the
        vector does not look at the first tick in the direction that it searches.
        """
        low, high = self._reach.low_ticks, self._reach.high_ticks
        side, first, last = (self.asks, low, high) if ev & _SELL else (self._bids, -high, -low)
        if side.best == _NONE:
            return bool(side.within(first, last))
        return not first < side.best <= last or bool(side.within(side.furthest + 1, last))


def _nearest(value: float) -> int:
    """Round as the engine does: half a tick, too, up."""
    return math.floor(value + 0.5)


def rewritten(events: np.ndarray, reach: Range) -> np.ndarray | None:
    """Return a copy of `events` with their clears as a vector of that range understands them; None if it cannot."""
    books = {int(flag): _Book(reach) for flag in (EventFlag.EXCH, EventFlag.LOCAL)}
    pieces: list[np.ndarray] = []
    start = 0
    rows = zip(*(events[name].tolist() for name in ("ev", "px", "qty")), strict=True)
    for index, (ev, px, qty) in enumerate(rows):
        concerned = {flag: book for flag, book in books.items() if ev & flag}
        try:
            for book in concerned.values():
                book.apply(ev, px, qty)
        except (ValueError, OverflowError):  # a level at a price that is none
            return None
        if not _clears_levels(ev, px):
            continue
        if any(book.differs(ev) for book in concerned.values()):
            return None
        if ev & _SELL and px / reach.tick_size > reach.low_ticks - 0.5:
            pieces += [events[start:index], _in_words(events[index], concerned, reach)]
            start = index + 1
    whole: np.ndarray = np.concatenate([*pieces, events[start:]])
    return whole


def _clears_levels(ev: int, px: float) -> bool:
    """Whether a row clears a side up to a price."""
    return ev & 0xFF == _CLEAR and ev & _SIDES in (_BUY, _SELL) and math.isfinite(px)


def _in_words(clear: np.void, books: Mapping[int, _Book], reach: Range) -> np.ndarray:
    """Return the rows that say to a vector what one that clears asks says to a hash map."""
    last_px = reach.high_ticks * reach.tick_size
    px = float(clear["px"]) + (reach.high_ticks - reach.low_ticks) * reach.tick_size
    rows = [(clear["ev"], px, clear["qty"]), (clear["ev"], clear["px"], clear["qty"])]
    for flag, book in books.items():
        if book.asks.best != _NONE:
            there = book.asks.qty.get(reach.high_ticks)
            quantities = [reach.lot_size, 0.0] if there is None else [there]
            rows += [(flag | _SELL | _DEPTH, last_px, qty) for qty in quantities]
    found = np.repeat(np.array([clear], EVENT), len(rows))
    found["ev"], found["px"], found["qty"] = zip(*rows, strict=True)
    return found


@feature("vector_clears")
def vector_clears(inputs: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Rows to have instead of the first ones of ``events``, and how many those are: -1 if there are no such rows.

    Parameters are the fields of `Range`. Of ``rows``, each number is eight bytes of an EVENT.
    """
    events = inputs["events"].view(np.ndarray)
    replaced = _separable(events, _last_clear(events) + 1)
    rows = rewritten(events[:replaced], Range(**params)) if replaced <= MOST_ROWS else None
    if rows is None:
        return {"rows": np.empty((0, 8)), "replaced": np.array([-1.0])}
    return {"rows": rows.view(np.float64).reshape(-1, 8), "replaced": np.array([float(replaced)])}


def _last_clear(events: np.ndarray) -> int:
    """Place of the last row that clears a side up to a price, -1 if there is none."""
    for start in range((len(events) - 1) // _CHUNK_ROWS * _CHUNK_ROWS, -1, -_CHUNK_ROWS):
        chunk = events[start : start + _CHUNK_ROWS]
        for index in np.flatnonzero((chunk["ev"] & 0xFF) == _CLEAR)[::-1]:
            if _clears_levels(int(chunk["ev"][index]), float(chunk["px"][index])):
                return start + int(index)
    return -1


def _separable(events: np.ndarray, rows: int) -> int:
    """Return after how many rows, at least `rows`, the events may be cut: there, or at their end.

    hftbacktest drops a piece of data as soon as nobody reads it: the exchange must not be through with the second one
    before our side has begun with it.
    """
    head, rest = events[max(rows - _TAIL_ROWS, 0) : rows], events[rows:][-_TAIL_ROWS:]
    local_ts = head["local_ts"][(head["ev"] & int(EventFlag.LOCAL)) != 0]
    exch_ts = rest["exch_ts"][(rest["ev"] & int(EventFlag.EXCH)) != 0]
    apart = len(local_ts) and len(exch_ts) and exch_ts[-1] > local_ts[-1]
    return rows if rows == 0 or apart else len(events)


def for_vector(cache: FeatureCache, events: Input, reach: Range) -> Sequence[np.ndarray] | None:
    """Return events for a price vector, in one or two pieces; None if it cannot be told of a clear, or that is late.

    Parameters
    ----------
    cache : FeatureCache
        Where the first rows are kept.
    events : Input
        EVENT array.
    reach : Range
        Of the vector.
    """
    inputs, params = {"events": events}, reach._asdict()
    found: Mapping[str, np.ndarray] | None = None
    with suppress(StorageError):  # of a store that is read-only: each run makes them
        found = cache.load(vector_clears, inputs, params)
    if found is None:
        found = vector_clears.compute({"events": events.open()}, params)
    replaced = int(found["replaced"][0])
    if replaced < 0:
        return None
    rest = events.open()[replaced:]
    head = found["rows"].view(EVENT).reshape(-1)
    return [piece for piece in (head, rest) if len(piece)]
