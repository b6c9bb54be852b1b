"""Kernels of `bt_framework.stores.clickhouse.touch`: the doctor's book, by one clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from bt_framework.data._book import ASK, BID, ENGINE, NONE, drop_order
from bt_framework.data._scan import (
    ADD,
    CANCEL,
    CLEAR,
    EXCH,
    FILL,
    act_on_book,
    act_on_orders,
    check_values,
    clear_orders,
    replay_level,
)
from bt_framework.jit import cached_kernel, kernel

LAST = np.dtype([("ts", "i8"), ("sequence", "i8"), ("bid", "i8"), ("ask", "i8")])
"""Time and position of the row that was taken in last, and the touch that was written last, ticks."""


@kernel
def write_change(s: Any, best: Any, last: Any, out: Any, n_out: int) -> Any:
    """Write the touch at ``last.ts`` if it is not the one before; returns the rows written."""
    bid, ask = best[ENGINE, BID], best[ENGINE, ASK]
    if bid == last.bid and ask == last.ask:
        return n_out
    last.bid, last.ask = bid, ask
    out[n_out]["sequence"] = last.sequence
    out[n_out]["ts"] = last.ts
    out[n_out]["bid_px"] = bid * s.tick_size if bid != NONE else np.nan
    out[n_out]["ask_px"] = ask * s.tick_size if ask != NONE else np.nan
    return n_out + 1


@kernel
def follow_orders(s: Any, row: Any, ev: Any, book: Any, orders: Any) -> None:
    """Let one row about an order act on the live orders and the book; what the engine refuses does nothing."""
    kind = ev & 0xFF
    place = act_on_orders(s, row, ev, orders)
    if place < 0:
        return
    act_on_book(s, row, kind, orders[place], book)
    s.live_local += int(kind == ADD) - int(kind == CANCEL)
    if kind == CANCEL:
        drop_order(orders, place)


@cached_kernel
def follow_touch(rows: Any, flag: int, s: Any, book: Any, orders: Any, last: Any, out: Any) -> Any:
    """Replay the rows of one clock and write each change of the touch, once all rows of its time are in.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
    flag : int
        EXCH or LOCAL: whose rows, and whose times.
    s : record of `bt_framework.data._scan.STATS`
        With ``tick_size``, quote currency.
    book : tuple of arrays, see `bt_framework.data._scan.scan_rows`
    orders : `bt_framework.data._book.ORDER` array, at most half full after these rows
    last : record of `LAST`
    out : array of `touch.TOUCH`, of shape (n_rows,) or longer

    Returns
    -------
    int
        Rows written.
    """
    best, tags, groups, _ = book
    n_out = 0
    for i in range(len(rows)):
        row = rows[i]
        ev = np.int64(row["ev"])
        if not ev & flag:
            continue
        ts = row["exch_ts"] if flag == EXCH else row["local_ts"]
        if ts != last.ts:
            if last.ts != NONE:
                n_out = write_change(s, best, last, out, n_out)
            last.ts = ts
        last.sequence = s.rows + i
        kind = ev & 0xFF
        if not check_values(s, row, kind):
            continue
        if ADD <= kind <= FILL:
            s.order_rows += 1
            follow_orders(s, row, ev, book, orders)
        elif kind < ADD:
            if kind == CLEAR and s.order_rows:
                s.live_local = clear_orders(orders, ev)
            replay_level(s, row, ev, best, tags, groups)
    s.rows += len(rows)
    return n_out


@cached_kernel
def finish_touch(s: Any, book: Any, last: Any, out: Any) -> Any:
    """Write the touch after the last row, if it has changed; returns the rows written."""
    return write_change(s, book[0], last, out, 0) if last.ts != NONE else 0
