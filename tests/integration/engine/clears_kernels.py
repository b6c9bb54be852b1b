"""A strategy that notes all levels of the book whenever it changes, and sends orders at given times."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def on_book(market, account, out, p, s, w):
    """Send what is due of the first rows (AT_NS, SIDE, PX, TIF), and note the book in the next free one."""
    while s.sent < p.orders and market.now_ts() - p.start_ts >= w[s.sent, 0]:
        row = w[s.sent]
        out.limit_with(0, int(row[1]), row[2], 1.0, 0, int(row[3]))
        s.sent += 1
    row = w[int(p.orders) + s.noted]
    row[0], row[1], row[2] = market.now_ts() - p.start_ts, market.best_bid_px(0), market.best_ask_px(0)
    row[3] = account.position_qty(0)
    for level in range(p.levels):
        px = (p.low_ticks + level) * market.tick_size(0)
        row[4 + 2 * level], row[5 + 2 * level] = market.bid_qty_at(0, px), market.ask_qty_at(0, px)
    s.noted += 1


@kernel
def one(market, account, asset, p, s):
    """Size one."""
    return 1.0
