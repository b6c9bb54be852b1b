"""A strategy that does what the rows of its work array say, each at its time."""

from __future__ import annotations

from bt_framework.jit import kernel

LIMIT, MARKET, CANCEL, MODIFY = 1, 2, 3, 4
COLUMNS = 7
_AT_NS, _DO, _SIDE, _PX, _QTY, _TIF, _ORDER = 0, 1, 2, 3, 4, 5, 6


@kernel
def act(account, out, row):
    """Do one row: AT_NS since the start, DO, SIDE, PX, QTY, TIF, ORDER (place among the orders, from 1 on)."""
    do, side = int(row[_DO]), int(row[_SIDE])
    if do == LIMIT:
        out.limit_with(0, side, row[_PX], row[_QTY], 0, int(row[_TIF]))
    elif do == MARKET:
        out.market(0, side, row[_QTY], 0)
    else:
        for index in range(account.order_count()):
            order = account.order(index)
            if order.order_id == int(row[_ORDER]):
                if do == CANCEL:
                    out.cancel(order)
                else:
                    out.modify(order, row[_PX], row[_QTY])


@kernel
def on_timer(market, account, out, p, s, w):
    """Do the rows that are due; ``s.done`` of them have been done."""
    while s.done < w.shape[0] and market.now_ts() - p.start_ts >= w[s.done, _AT_NS]:
        act(account, out, w[s.done])
        s.done += 1


@kernel
def one(market, account, asset, p, s):
    """Size one."""
    return 1.0
