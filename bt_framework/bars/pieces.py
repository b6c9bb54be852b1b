"""Bars in pieces that fit into memory, whoever keeps them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from bt_framework.bars._manifest import Span

MOST_SYMBOLS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Piece:
    """Bars of `symbols` that open in [`first_us`, `end_us`), us UTC; `last` if these symbols have no later ones."""

    symbols: tuple[str, ...]
    first_us: int
    end_us: int
    last: bool

    @property
    def start(self) -> datetime:
        """`first_us` as a time."""
        return _EPOCH + timedelta(microseconds=self.first_us)

    @property
    def end(self) -> datetime:
        """`end_us` as a time."""
        return _EPOCH + timedelta(microseconds=self.end_us)


def pieces(spans: Mapping[str, Span], rows: int) -> Iterator[Piece]:
    """Yield pieces of about `rows` bars: some symbols whole, or a part of a long one; by symbol, then by time.

    >>> spans = {"A": Span(10, 0, 9), "B": Span(10, 5, 14), "C": Span(30, 0, 59)}
    >>> [(p.symbols, p.first_us, p.end_us, p.last) for p in pieces(spans, 20)]
    [(('A', 'B'), 0, 15, True), (('C',), 0, 30, False), (('C',), 30, 60, True)]
    """
    held: dict[str, Span] = {}
    for symbol, span in spans.items():
        if held and (
            len(held) == MOST_SYMBOLS or sum(other.rows for other in held.values()) + span.rows > rows
        ):
            yield from _cut(held, rows)
            held = {}
        held[symbol] = span
    if held:
        yield from _cut(held, rows)


def _cut(spans: Mapping[str, Span], rows: int) -> Iterator[Piece]:
    first = min(span.first_us for span in spans.values())
    end = max(span.last_us for span in spans.values()) + 1
    count = min(max(1, math.ceil(sum(span.rows for span in spans.values()) / rows)), end - first)
    edges = [first + (end - first) * i // count for i in range(count + 1)]
    for start, stop in pairwise(edges):
        yield Piece(tuple(spans), start, stop, last=stop == end)
