"""A strategy that notes each wake-up and sends the market orders that its work array lists, by the bar's number."""

from __future__ import annotations

import numpy as np

from bt_framework.jit import kernel

NOTES = 64
STATE = np.dtype(
    [
        ("count", "i8"),
        ("ts", "i8", (NOTES,)),
        ("reason", "i8", (NOTES,)),
        ("mid_px", "f8", (NOTES, 2)),
        ("update_ts", "i8", (NOTES, 2)),
    ]
)
TIMER, BOOK = 1, 2
REASON, BAR, ASSET, SIDE, QTY = 0, 1, 2, 3, 4


@kernel
def note(reason, market, out, p, s, w):
    """Note the time and what the market says, and send what is due."""
    at = s.count % NOTES
    s.ts[at], s.reason[at] = market.now_ts(), reason
    for asset in range(market.count()):
        s.mid_px[at, asset], s.update_ts[at, asset] = market.mid_px(asset), market.update_ts(asset)
    s.count += 1
    bar = (market.now_ts() - p.first_ts) / p.interval_ns
    for index in range(w.shape[0]):
        row = w[index]
        if row[REASON] == reason and row[BAR] == bar:
            out.market(int(row[ASSET]), int(row[SIDE]), row[QTY], 0)


@kernel
def on_timer(market, account, out, p, s, w):
    """Timer."""
    note(TIMER, market, out, p, s, w)


@kernel
def on_book(market, account, out, p, s, w):
    """Feed."""
    note(BOOK, market, out, p, s, w)
