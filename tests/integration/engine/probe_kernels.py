"""A strategy that notes what it sees and does what the rows of its work array say."""

from __future__ import annotations

import numpy as np

from bt_framework.jit import kernel

NOTES = 256
STATE = np.dtype(
    [
        ("count", "i8"),
        ("ts", "i8", (NOTES,)),
        ("reason", "i8", (NOTES,)),
        ("bid_px", "f8", (NOTES,)),
        ("ask_px", "f8", (NOTES,)),
        ("position_qty", "f8", (NOTES,)),
        ("open_orders", "i8", (NOTES,)),
        ("equity", "f8", (NOTES,)),
    ]
)
PARAMS = np.dtype([("start_ts", "i8"), ("zero", "i8")])

TIMER, BOOK, ORDER = 1, 2, 3
LIMIT, MARKET, CANCEL, MODIFY, CANCEL_UNKNOWN, DIVIDE, OVERFLOW, FILL_UP = 1, 2, 3, 4, 5, 6, 7, 8
_REASON, _AT_NS, _ACTION, _ASSET, _SIDE, _PX, _QTY, _TIF, _ORDER_ID = 0, 1, 2, 3, 4, 5, 6, 7, 8


@kernel
def act(account, out, row, p):
    """Do one row."""
    action, asset, side = int(row[_ACTION]), int(row[_ASSET]), int(row[_SIDE])
    if action == LIMIT:
        out.limit_with(asset, side, row[_PX], row[_QTY], 0, int(row[_TIF]))
    elif action == MARKET:
        out.market(asset, side, row[_QTY], 0)
    elif action in (CANCEL, MODIFY):
        for index in range(account.order_count()):
            order = account.order(index)
            if order.order_id == int(row[_ORDER_ID]):
                if action == CANCEL:
                    out.cancel(order)
                else:
                    out.modify(order, row[_PX], row[_QTY])
    elif action == CANCEL_UNKNOWN:
        out.cancel(account.order(200))
    elif action == DIVIDE:
        p.start_ts // p.zero
    elif action == OVERFLOW:
        for _ in range(1_000):
            out.limit(asset, side, row[_PX], row[_QTY], 0)
    elif action == FILL_UP:
        for _ in range(int(row[_ORDER_ID])):
            out.limit(asset, side, row[_PX], row[_QTY], 0)


@kernel
def note(reason, market, account, out, p, s, w):
    """Note the wake-up, and do the rows that are due."""
    at = s.count % NOTES
    s.ts[at], s.reason[at] = market.now_ts(), reason
    s.bid_px[at], s.ask_px[at] = market.best_bid_px(0), market.best_ask_px(0)
    s.position_qty[at], s.open_orders[at] = account.position_qty(0), account.order_count()
    s.equity[at] = account.equity(0)
    s.count += 1
    for index in range(w.shape[0]):
        row = w[index]
        due = row[_ACTION] > 0 and market.now_ts() - p.start_ts >= row[_AT_NS]
        if due and (row[_REASON] == 0 or row[_REASON] == reason):
            act(account, out, row, p)
            row[_ACTION] = 0


@kernel
def on_timer(market, account, out, p, s, w):
    """Timer."""
    note(TIMER, market, account, out, p, s, w)


@kernel
def on_book(market, account, out, p, s, w):
    """Feed."""
    note(BOOK, market, account, out, p, s, w)


@kernel
def on_order(market, account, out, p, s, w):
    """Order updates."""
    note(ORDER, market, account, out, p, s, w)


@kernel
def allow_all(market, account, intent, p, s):
    """Let everything through."""
    return True


@kernel
def refuse_large(market, account, intent, p):
    """Refuse more than 5."""
    return intent.qty <= 5


@kernel
def one(market, account, asset, p, s):
    """Size one."""
    return 1.0
