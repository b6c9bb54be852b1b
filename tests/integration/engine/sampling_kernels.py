"""A strategy that notes what is due and which books are new at each wake-up."""

from __future__ import annotations

import numpy as np

from bt_framework.jit import kernel

NOTES = 128
STATE = np.dtype(
    [
        ("count", "i8"),
        ("ts", "i8", (NOTES,)),
        ("reason", "i8", (NOTES,)),
        ("is_due", "i8", (NOTES, 3)),
        ("update_ts", "i8", (NOTES, 2)),
    ]
)
TIMER, BOOK = 1, 2


@kernel
def note(reason, market, p, s):
    """Ask about three intervals and two books."""
    at = s.count % NOTES
    s.ts[at], s.reason[at] = market.now_ts(), reason
    for place in range(3):
        s.is_due[at, place] = 1 if market.is_due(p.interval_ns[place]) else 0
    for asset in range(market.count()):
        s.update_ts[at, asset] = market.update_ts(asset)
    s.count += 1


@kernel
def on_timer(market, account, out, p, s, w):
    """Timer."""
    note(TIMER, market, p, s)


@kernel
def on_book(market, account, out, p, s, w):
    """Feed."""
    note(BOOK, market, p, s)
