"""What the scan and the slow path must agree on."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

_FIRST_S = 1_000_000_000
_LAST_S = 9_223_372_036


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
    """Nanoseconds of a time in ms, us or ns since 1970, told by its size; -1 if not in 2001 to 2262."""
    per_s = 1_000
    for _ in range(3):
        if _FIRST_S * per_s <= time < _LAST_S * per_s:
            return time * (1_000_000_000 // per_s)
        per_s *= 1_000
    return -1


def follow(state: Any, first_u: int, last_u: int, prev_u: int) -> None:
    """Compare a depth diff's sequence numbers with those of the one before.

    Futures: ``pu`` must be the last ``u``. Spot, without ``pu`` (`prev_u` is -1): ``U`` must be that + 1. A diff that
    ends where an earlier one did, or before, is a duplicate.
    """
    if last_u <= state["last_u"]:
        state["duplicates"] += 1
    elif state["last_u"] >= 0:
        skipped = prev_u - state["last_u"] if prev_u >= 0 else first_u - state["last_u"] - 1
        if skipped != 0:
            state["gaps"] += 1
            state["missing_updates"] += max(skipped, 0)
    state["last_u"] = last_u
