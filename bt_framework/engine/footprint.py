"""What a run allocates for itself, known before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from bt_framework.engine._state import LOG_ROWS, log_row_bytes
from bt_framework.engine.book import BookChoice, range_ticks
from bt_framework.results.run import Instrument

_VECTOR_BYTES = 32
"""Of a tick in a price vector: two sides, for the exchange and for us."""
_COPY_BYTES = 16
"""Of a tick in the copy of an exchange's book that is followed: two sides."""


def buffer_bytes(instruments: Sequence[Instrument], books: Sequence[BookChoice], *, follows: bool) -> int:
    """Return an upper limit of what the engine and the logs of a run take.

    Mapped events and compiled code are shared by all runs, and are not in it.

    Parameters
    ----------
    instruments, books : sequence
        Of each instrument, its form of book.
    follows : bool
        Whether the exchange's books are followed, because it fills orders in parts.
    """
    total = LOG_ROWS * log_row_bytes()
    for instrument, book in zip(instruments, books, strict=True):
        if book.low_px is not None:
            total += _VECTOR_BYTES * _ticks(instrument, (book.low_px, book.high_px or 0.0))
        if follows and book.range_px is not None:
            total += _COPY_BYTES * _ticks(instrument, book.range_px)
    return total


def _ticks(instrument: Instrument, range_px: tuple[float, float]) -> int:
    low_ticks, high_ticks = range_ticks(instrument, range_px)
    return high_ticks - low_ticks + 1
