"""What the scan and the slow path must agree on."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

_MS_BELOW = 100_000_000_000_000
_US_BELOW = 100_000_000_000_000_000


class Kind(IntEnum):
    """Kind of a message."""

    NONE = 0
    DEPTH = 1
    TRADE = 2
    AGG_TRADE = 3
    BOOK_TICKER = 4


class Market(IntEnum):
    """What the keys of a feed's messages say about the market."""

    UNKNOWN = 0
    FUTURES = 1
    SPOT = 2


def epoch_ns(time: int) -> int:
    """Nanoseconds of an exchange time in ms, us or ns since 1970, told by its size (from 1973 to 5138)."""
    if time < _MS_BELOW:
        return time * 1_000_000
    if time < _US_BELOW:
        return time * 1_000
    return time


def follow(state: Any, first_u: int, last_u: int, prev_u: int) -> None:
    """Compare a depth diff's sequence numbers with those of the one before.

    Futures: ``pu`` must be the last ``u``. Spot, without ``pu`` (`prev_u` is -1): ``U`` must be that + 1.
    """
    if state.last_u >= 0:
        skipped = prev_u - state.last_u if prev_u >= 0 else first_u - state.last_u - 1
        if skipped != 0:
            state.gaps += 1
            state.missing_updates += max(skipped, 0)
    state.last_u = last_u
