"""From rows of quotes and trades, in two tracks, to one sequence of events.

The book has one level a side. Its rows for one update are in such an order that it is never locked or crossed in
between, and never without a side that it has before and after: the engine handles rows one by one, and fills
resting orders when a best price goes through them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

MAX_VENUES = 64
MAX_ROWS = 5
"""Most events that one update makes: a trade, and the old and the new level of each side."""

N_REASONS = 6

BOOK = np.dtype(
    [
        ("q", "i8"),
        ("t", "i8"),
        ("q_done", "i8"),
        ("t_done", "i8"),
        ("n_rows", "i8"),
        ("last_ts", "i8"),
        ("seq", "i8"),
        ("by_venue", "i8"),
        ("drop_older", "i8"),
        ("skip_suspicious", "i8"),
        ("skip_conditions", "i8"),
        ("feed_latency_ns", "i8"),
        ("default_qty", "f8"),
        ("bid_px", "f8"),
        ("bid_qty", "f8"),
        ("ask_px", "f8"),
        ("ask_qty", "f8"),
        ("last_px", "f8"),
        ("direction", "i8"),
        ("n_venues", "i8"),
        ("quotes", "i8"),
        ("trades", "i8"),
        ("crossed", "i8"),
        ("locked", "i8"),
        ("dropped_older", "i8"),
        ("sideless", "i8"),
    ]
)
"""``q`` and ``t`` are the next rows of each track, done if no more come; prices are 0 where the book has no side.

``direction`` is 1 if the last change of the traded price was up, -1 if down, 0 before any.
"""

VENUE = np.dtype(
    [
        ("venue", "i8"),
        ("bid_px", "f8"),
        ("bid_qty", "f8"),
        ("bid_seq", "i8"),
        ("ask_px", "f8"),
        ("ask_qty", "f8"),
        ("ask_seq", "i8"),
    ]
)
"""Last quote of a venue, and which update of the file each side of it was; a price is 0 where it has none."""

DROPS = np.dtype([("count", "i8"), ("file", "i8"), ("line", "i8")])
"""Rows that became no event for a `Reason`, and where the first one was."""


class FoldStatus(IntEnum):
    """Why `fold` returned."""

    DONE = 0
    NEED_QUOTES = 1
    NEED_TRADES = 2
    ROWS_FULL = 3
    TOO_MANY_VENUES = 4


_EV_DEPTH, _EV_TRADE = 1, 2
_EV_BUY, _EV_SELL = 1 << 29, 1 << 28
_NONE_PX = 0.0
_FAR_PX = np.inf


@kernel
def taker_side(px: float, bid_px: float, ask_px: float, last_px: float, direction: int) -> int:
    """Side of the taker: 1 buy, -1 sell, 0 unknown.

    Quote rule: at or above the ask a buy, at or below the bid a sell. Between them, or if both hold (a locked
    book), the tick rule: the direction of the last change of the traded price, this one included (Lee and
    Ready, 1991, without their five-second delay).

    Parameters
    ----------
    px, bid_px, ask_px, last_px : float
        Quote currency; 0 where there is none.
    direction : int
        Direction of the last change before this trade.
    """
    buys = ask_px > 0.0 and px >= ask_px
    sells = bid_px > 0.0 and px <= bid_px
    if buys != sells:
        return 1 if buys else -1
    if last_px > 0.0 and px != last_px:
        return 1 if px > last_px else -1
    return direction


@kernel
def _emit(out: Any, book: Any, ts: int, ev: int, px: float, qty: float) -> None:
    event = out[book["n_rows"]]
    event["ev"] = np.uint64(ev)
    event["exch_ts"] = ts
    event["local_ts"] = ts + book["feed_latency_ns"]
    event["px"] = px
    event["qty"] = qty
    book["n_rows"] += 1


@kernel
def _drop(drops: Any, reason: int, row: Any) -> None:
    if drops[reason]["count"] == 0:
        drops[reason]["file"] = row["file"]
        drops[reason]["line"] = row["line"]
    drops[reason]["count"] += 1


@kernel
def _set_bid(out: Any, book: Any, ts: int, px: float, qty: float, again: bool) -> None:
    """Set the new bid, then take the old one away; `again` says it even if it has not changed."""
    old_px = book["bid_px"]
    if px > 0.0 and (again or px != old_px or qty != book["bid_qty"]):
        _emit(out, book, ts, _EV_DEPTH | _EV_BUY, px, qty)
    if old_px > 0.0 and px != old_px:
        _emit(out, book, ts, _EV_DEPTH | _EV_BUY, old_px, 0.0)
    book["bid_px"] = px
    book["bid_qty"] = qty


@kernel
def _set_ask(out: Any, book: Any, ts: int, px: float, qty: float, again: bool) -> None:
    """As `_set_bid`."""
    old_px = book["ask_px"]
    if px > 0.0 and (again or px != old_px or qty != book["ask_qty"]):
        _emit(out, book, ts, _EV_DEPTH | _EV_SELL, px, qty)
    if old_px > 0.0 and px != old_px:
        _emit(out, book, ts, _EV_DEPTH | _EV_SELL, old_px, 0.0)
    book["ask_px"] = px
    book["ask_qty"] = qty


@kernel
def move_book(
    out: Any, book: Any, ts: int, bid_px: float, bid_qty: float, ask_px: float, ask_qty: float
) -> None:
    """Rows from the book as it is to the one given; a side of price 0 is empty.

    If the new bid reaches the old ask, the ask moves first; otherwise the bid does, which the new ask may reach.
    A locked or crossed book has no order that is right, and the engine forgets the best price that the other
    side's met: it is taken away before it is set again, both sides whether they changed or not.
    """
    again = book["bid_px"] > 0.0 and book["ask_px"] > 0.0 and book["bid_px"] >= book["ask_px"]
    if again:
        if bid_px != book["bid_px"]:
            _set_bid(out, book, ts, 0.0, 0.0, False)
        if ask_px != book["ask_px"]:
            _set_ask(out, book, ts, 0.0, 0.0, False)
    if book["ask_px"] > 0.0 and bid_px >= book["ask_px"]:
        _set_ask(out, book, ts, ask_px, ask_qty, again)
        _set_bid(out, book, ts, bid_px, bid_qty, again)
    else:
        _set_bid(out, book, ts, bid_px, bid_qty, again)
        _set_ask(out, book, ts, ask_px, ask_qty, again)


@kernel
def _venue_of(venues: Any, book: Any, code: int) -> int:
    """Place of a venue, which is new at the end; -1 if there are too many."""
    n = book["n_venues"]
    for i in range(n):
        if venues[i]["venue"] == code:
            return i
    if n == len(venues):
        return -1
    venues[n]["venue"] = code
    book["n_venues"] = n + 1
    return n


@kernel
def _best(venues: Any, n: int) -> tuple[float, float, float, float]:
    """Best bid and ask of all venues, and the quantities there together; 0 where there is none."""
    bid_px, bid_qty, ask_px, ask_qty = _NONE_PX, 0.0, _FAR_PX, 0.0
    for i in range(n):
        v = venues[i]
        if v["bid_px"] > 0.0:
            if v["bid_px"] > bid_px:
                bid_px, bid_qty = v["bid_px"], v["bid_qty"]
            elif v["bid_px"] == bid_px:
                bid_qty += v["bid_qty"]
        if v["ask_px"] > 0.0:
            if v["ask_px"] < ask_px:
                ask_px, ask_qty = v["ask_px"], v["ask_qty"]
            elif v["ask_px"] == ask_px:
                ask_qty += v["ask_qty"]
    if ask_px == _FAR_PX:
        ask_px = _NONE_PX
    return bid_px, bid_qty, ask_px, ask_qty


@kernel
def _drop_oldest(venues: Any, n: int, bid_px: float, ask_px: float) -> bool:
    """Withdraw the oldest of the quotes at `bid_px` and `ask_px`; False if all of them are of one update."""
    oldest, newest, where, is_bid = np.int64(-1), np.int64(-1), 0, False
    for i in range(n):
        for side in range(2):
            px, seq = (
                (venues[i]["bid_px"], venues[i]["bid_seq"])
                if side == 0
                else (venues[i]["ask_px"], venues[i]["ask_seq"])
            )
            if px == (bid_px if side == 0 else ask_px):
                newest = max(newest, seq)
                if oldest < 0 or seq < oldest:
                    oldest, where, is_bid = seq, i, side == 0
    if oldest == newest:
        return False
    if is_bid:
        venues[where]["bid_px"] = 0.0
    else:
        venues[where]["ask_px"] = 0.0
    return True


@kernel
def _qty_of(px: float, qty: float, default_qty: float) -> tuple[float, float]:
    """Price and quantity of a side that a row speaks of; 0 and 0 if it is withdrawn."""
    if np.isnan(qty):
        qty = default_qty
    return (px, qty) if px > 0.0 and qty > 0.0 else (_NONE_PX, 0.0)


@kernel
def _quote(out: Any, book: Any, venues: Any, bid: Any, ask: Any) -> int:
    """Book after the sides that the rows `bid` and `ask` (often the same) speak of; -1 if it cannot be kept."""
    bid_px, bid_qty = book["bid_px"], book["bid_qty"]
    ask_px, ask_qty = book["ask_px"], book["ask_qty"]
    book["seq"] += 1
    where = 0
    if book["by_venue"]:
        where = _venue_of(venues, book, bid["venue"])
        if where < 0:
            return -1
    if bid["has"] & 1:
        bid_px, bid_qty = _qty_of(bid["bid_px"], bid["bid_qty"], book["default_qty"])
        venues[where]["bid_px"] = bid_px
        venues[where]["bid_qty"] = bid_qty
        venues[where]["bid_seq"] = book["seq"]
    if ask["has"] & 2:
        ask_px, ask_qty = _qty_of(ask["ask_px"], ask["ask_qty"], book["default_qty"])
        venues[where]["ask_px"] = ask_px
        venues[where]["ask_qty"] = ask_qty
        venues[where]["ask_seq"] = book["seq"]
    if book["by_venue"]:
        bid_px, bid_qty, ask_px, ask_qty = _best(venues, book["n_venues"])
    if bid_px > 0.0 and ask_px > 0.0:
        book["crossed"] += bid_px > ask_px
        book["locked"] += bid_px == ask_px
    while book["drop_older"] and bid_px > 0.0 and ask_px > 0.0 and bid_px >= ask_px:
        if not _drop_oldest(venues, book["n_venues"], bid_px, ask_px):
            break
        book["dropped_older"] += 1
        bid_px, bid_qty, ask_px, ask_qty = _best(venues, book["n_venues"])
    before = book["n_rows"]
    if (
        bid_px != book["bid_px"]
        or bid_qty != book["bid_qty"]
        or ask_px != book["ask_px"]
        or ask_qty != book["ask_qty"]
    ):
        move_book(out, book, ask["ts"], bid_px, bid_qty, ask_px, ask_qty)
    return np.int64(book["n_rows"] - before)


@kernel
def _trade(out: Any, book: Any, drops: Any, row: Any) -> None:
    if row["condition"] & book["skip_conditions"]:
        _drop(drops, 3, row)
        return
    px, qty = _qty_of(row["px"], row["qty"], book["default_qty"])
    if px == 0.0:
        _drop(drops, 4, row)
        return
    side = taker_side(px, book["bid_px"], book["ask_px"], book["last_px"], book["direction"])
    if book["last_px"] > 0.0 and px != book["last_px"]:
        book["direction"] = 1 if px > book["last_px"] else -1
    book["last_px"] = px
    book["trades"] += 1
    book["sideless"] += side == 0
    flag = _EV_BUY if side > 0 else _EV_SELL if side < 0 else 0
    _emit(out, book, row["ts"], _EV_TRADE | flag, px, qty)


@kernel
def _usable(book: Any, drops: Any, row: Any) -> bool:
    """Whether the row may become events; if not, it is counted."""
    if row["suspicious"] and book["skip_suspicious"]:
        _drop(drops, 2, row)
    elif row["has"] == 0:
        _drop(drops, 1, row)
    elif row["ts"] < book["last_ts"]:
        _drop(drops, 5, row)
    else:
        book["last_ts"] = row["ts"]
        return True
    return False


@kernel
def _are_one_update(book: Any, bid: Any, ask: Any) -> bool:
    """Whether a row with a bid alone and the next, with an ask alone, are two halves of one update."""
    return bool(
        ask["has"] == 2
        and ask["ts"] == bid["ts"]
        and ask["file"] == bid["file"]
        and not (ask["suspicious"] and book["skip_suspicious"])
        and not (book["by_venue"] and ask["venue"] != bid["venue"])
    )


@cached_kernel
def fold(quotes: Any, trades: Any, book_array: Any, venues: Any, drops: Any, out: Any) -> int:
    """Turn rows into events until a track is used up, the events are full or all is done.

    Where times are equal, trades come first: they happened on the book before, and the quote shows what they
    left of it.

    Parameters
    ----------
    quotes, trades : ROW arrays of shape (n_rows,)
        Each in the order of its files.
    book_array : BOOK array of shape (1,)
        Updated.
    venues : VENUE array of shape (MAX_VENUES,)
        Updated.
    drops : DROPS array of shape (N_REASONS,)
        Updated.
    out : EVENT array of shape (n_capacity,), n_capacity >= MAX_ROWS, zero but for what `fold` writes
        Events in order, without EXCH and LOCAL flags.

    Returns
    -------
    int
        A `FoldStatus`.
    """
    book = book_array[0]
    while True:
        if book["n_rows"] + MAX_ROWS > len(out):
            return 3
        q, t = book["q"], book["t"]
        if q == len(quotes) and not book["q_done"]:
            return 1
        if t == len(trades) and not book["t_done"]:
            return 2
        if t < len(trades) and (q == len(quotes) or trades[t]["ts"] <= quotes[q]["ts"]):
            book["t"] = t + 1
            if _usable(book, drops, trades[t]):
                _trade(out, book, drops, trades[t])
            continue
        if q == len(quotes):
            return 0
        row = quotes[q]
        last = row
        used = 1
        if row["has"] == 1:
            if q + 1 == len(quotes) and not book["q_done"]:
                return 1
            if q + 1 < len(quotes) and _are_one_update(book, row, quotes[q + 1]):
                last = quotes[q + 1]
                used = 2
        book["q"] = q + used
        if not _usable(book, drops, row):
            book["q"] = q + 1
            continue
        if row["has"] & 4:
            _trade(out, book, drops, row)
        if row["has"] & 3:
            book["quotes"] += used
            n_new = _quote(out, book, venues, row, last)
            if n_new < 0:
                return 4
            if n_new == 0:
                for i in range(q, q + used):
                    _drop(drops, 0, quotes[i])
