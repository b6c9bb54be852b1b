"""One pass over the events: their order, flags and values, the book that they make, and how that goes on.

The book is that of the receiver (rows flagged LOCAL), in ticks, without sizes, see `bt_framework.data._book`. It is
judged once all rows of one local time, a batch, are in.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bt_framework.data._book import (
    ASK,
    BID,
    COUNT,
    ENGINE,
    NONE,
    PER_GROUP,
    RAW,
    SLOTS,
    clear_side,
    drop_order,
    drop_side,
    empty_level,
    fill_level,
    join_level,
    leave_level,
    order_place,
    put_order,
)
from bt_framework.data._watch import follow_state, judge_px, note_latency, note_profile, note_silence
from bt_framework.jit import cached_kernel, kernel

EXCH, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
DEPTH, TRADE, CLEAR, SNAPSHOT, BBO = 1, 2, 3, 4, 5
ADD, CANCEL, MODIFY, FILL = 10, 11, 12, 13
CROSSED, LOCKED, HALF_EMPTY, FORMING = 0, 1, 2, 3
"""States of a book that are followed."""

TRADES, MIDS = 0, 1
"""Series of prices that are judged."""

UNKNOWN, KNOWN = -1, -2
"""Why an order has no place."""

SECOND_NS = 1_000_000_000
TIGHT_SHARE = 50
"""A touch is tight if its spread is at most 1 / 50 of its bid."""


STATS = np.dtype(
    [
        ("rows", "i8"),
        ("exch_rows", "i8"),
        ("local_rows", "i8"),
        ("first_exch_ts", "i8"),
        ("first_local_ts", "i8"),
        ("last_exch_ts", "i8"),
        ("last_local_ts", "i8"),
        ("exch_back", "i8"),
        ("exch_back_first", "i8"),
        ("exch_back_ns", "i8"),
        ("local_back", "i8"),
        ("local_back_first", "i8"),
        ("local_back_ns", "i8"),
        ("flagless", "i8"),
        ("flagless_first", "i8"),
        ("early", "i8"),
        ("early_first", "i8"),
        ("early_ns", "i8"),
        ("first_latency_ns", "i8"),
        ("const_latency_rows", "i8"),
        ("max_latency_ns", "i8"),
        ("latency_ns", "i8"),
        ("latency_bin", "i8"),
        ("local_times", "i8"),
        ("local_whole_s", "i8"),
        ("invalid", "i8"),
        ("invalid_first", "i8"),
        ("negative", "i8"),
        ("negative_first", "i8"),
        ("zero", "i8"),
        ("zero_first", "i8"),
        ("clears", "i8"),
        ("level_rows", "i8"),
        ("order_rows", "i8"),
        ("trade_rows", "i8"),
        ("unknown_ids", "i8"),
        ("unknown_ids_first", "i8"),
        ("known_ids", "i8"),
        ("known_ids_first", "i8"),
        ("live_exch", "i8"),
        ("live_local", "i8"),
        ("max_live", "i8"),
        ("deep_batches", "i8"),
        ("formed", "i8"),
        ("batch_ts", "i8"),
        ("batch_exch_ts", "i8"),
        ("batch_index", "i8"),
        ("batch_trades", "i8"),
        ("batch_latency_ns", "i8"),
        ("book_batches", "i8"),
        ("batches", "i8"),
        ("tight_batches", "i8"),
        ("low_ticks", "i8"),
        ("high_ticks", "i8"),
        ("tight_low_ticks", "i8"),
        ("tight_high_ticks", "i8"),
        ("trade_low_ticks", "i8"),
        ("trade_high_ticks", "i8"),
        ("episodes", "i8"),
        ("profile_since", "i8"),
        ("profile_width_ns", "i8"),
        ("pause_ns", "f8"),
        ("tick_size", "f8"),
    ]
)
"""What has been seen so far. Indices and times that were not seen yet are `NONE`."""


@kernel
def check_row(s: Any, row: Any, ev: Any) -> None:
    """Order, flags, latency and values of one row."""
    index = s.rows
    if ev & EXCH:
        if s.exch_rows == 0:
            s.first_exch_ts = row["exch_ts"]
        elif row["exch_ts"] < s.last_exch_ts:
            s.exch_back += 1
            s.exch_back_ns = max(s.exch_back_ns, s.last_exch_ts - row["exch_ts"])
            if s.exch_back_first == NONE:
                s.exch_back_first = index
        s.exch_rows += 1
        s.last_exch_ts = max(s.last_exch_ts, row["exch_ts"])
    if ev & LOCAL:
        if s.local_rows == 0:
            s.first_local_ts = row["local_ts"]
        elif row["local_ts"] < s.last_local_ts:
            s.local_back += 1
            s.local_back_ns = max(s.local_back_ns, s.last_local_ts - row["local_ts"])
            if s.local_back_first == NONE:
                s.local_back_first = index
        s.local_rows += 1
        s.last_local_ts = max(s.last_local_ts, row["local_ts"])
        if row["local_ts"] < row["exch_ts"]:
            s.early += 1
            s.early_ns = max(s.early_ns, row["exch_ts"] - row["local_ts"])
            if s.early_first == NONE:
                s.early_first = index
    if not ev & (EXCH | LOCAL):
        s.flagless += 1
        if s.flagless_first == NONE:
            s.flagless_first = index


@kernel
def check_values(s: Any, row: Any, kind: Any) -> bool:
    """Count a price or quantity that cannot be, or that says nothing; returns whether the row can act on a book."""
    px, qty = row["px"], row["qty"]
    if kind == CLEAR:
        usable = not math.isnan(px)
    elif kind not in (DEPTH, TRADE, SNAPSHOT, BBO, ADD, MODIFY, FILL):
        return bool(kind == CANCEL)
    else:
        usable = px > 0.0 and px < math.inf and qty > -math.inf and qty < math.inf
    if not usable:
        s.invalid += 1
        if s.invalid_first == NONE:
            s.invalid_first = s.rows
    elif qty < 0.0 and kind != CLEAR:
        s.negative += 1
        if s.negative_first == NONE:
            s.negative_first = s.rows
        return False
    elif qty == 0.0 and kind in (TRADE, ADD, MODIFY, FILL):
        s.zero += 1
        if s.zero_first == NONE:
            s.zero_first = s.rows
    return usable


@kernel
def replay_level(s: Any, row: Any, ev: Any, best: Any, tags: Any, groups: Any) -> None:
    """Let one LOCAL row that is about price levels, trades or a cleared book act on the book."""
    kind = ev & 0xFF
    side = BID if ev & BUY else ASK
    if kind in (DEPTH, SNAPSHOT):
        s.level_rows += 1
        tick = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
        if row["qty"] > 0.0:
            fill_level(best, tags, groups, side, tick)
        else:
            empty_level(best, tags, groups, side, tick)
    elif kind in (TRADE, BBO):
        tick = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
        s.trade_low_ticks = min(s.trade_low_ticks, tick) if s.trade_low_ticks != NONE else tick
        s.trade_high_ticks = max(s.trade_high_ticks, tick)
        s.batch_trades += 1
    elif kind == CLEAR:
        s.clears += 1
        both = not ev & (BUY | SELL)
        limit: Any = NONE
        if not both and s.order_rows == 0 and row["px"] > 0.0 and row["px"] < math.inf:
            limit = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
        if both or side == BID:
            clear_side(best, tags, groups, BID, limit)
        if both or side == ASK:
            clear_side(best, tags, groups, ASK, limit)


@kernel
def clear_orders(orders: Any, ev: Any) -> Any:
    """Take out the orders of the side that a row clears, or of both; returns how many are left."""
    both = not ev & (BUY | SELL)
    if both or ev & BUY:
        drop_side(orders, BID)
    if both or not ev & BUY:
        drop_side(orders, ASK)
    live = 0
    for i in range(len(orders)):
        live += orders[i]["live"]
    return live


@kernel
def act_on_orders(s: Any, row: Any, ev: Any, orders: Any) -> Any:
    """Let one row about an order act on the live orders of one clock; a cancelled order stays in its place.

    Returns
    -------
    int
        Where the order is. The engine stops where there is none: `UNKNOWN`, or `KNOWN` if one is added again.
    """
    order_id = np.int64(row["order_id"])
    place = order_place(orders, order_id)
    if ev & 0xFF != ADD:
        return place if place >= 0 else UNKNOWN
    if place >= 0:
        return KNOWN
    place = -1 - place
    tick = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
    put_order(orders, place, order_id, BID if ev & BUY else ASK, row["px"], tick)
    return place


@kernel
def count_wrong_id(s: Any, place: Any) -> None:
    """Count a row about an order that is not there, or is there already."""
    if place == UNKNOWN:
        s.unknown_ids += 1
        if s.unknown_ids_first == NONE:
            s.unknown_ids_first = s.rows
    else:
        s.known_ids += 1
        if s.known_ids_first == NONE:
            s.known_ids_first = s.rows


@kernel
def act_on_book(s: Any, row: Any, kind: Any, order: Any, book: Any) -> None:
    """Carry what a row says of a live order over to the receiver's book."""
    side, tick = order["side"], order["tick"]
    if kind == ADD:
        join_level(book, side, tick)
    elif kind == CANCEL:
        leave_level(book, side, tick)
    elif kind == MODIFY:
        order["px"] = row["px"]
        order["tick"] = np.int64(math.floor(row["px"] / s.tick_size + 0.5))
        if order["tick"] != tick:
            leave_level(book, side, tick)
            join_level(book, side, order["tick"])


@kernel
def follow_order(s: Any, row: Any, ev: Any, book: Any, orders: Any) -> None:
    """Let one row about an order act on the live orders of the clocks that it is flagged for, and on the book."""
    kind = ev & 0xFF
    exch_orders, local_orders = orders
    exch_place = local_place = 0
    if ev & EXCH:
        exch_place = act_on_orders(s, row, ev, exch_orders)
        if exch_place >= 0:
            s.live_exch += int(kind == ADD) - int(kind == CANCEL)
            if kind == CANCEL:
                drop_order(exch_orders, exch_place)
    if ev & LOCAL:
        local_place = act_on_orders(s, row, ev, local_orders)
        if local_place >= 0:
            act_on_book(s, row, kind, local_orders[local_place], book)
            s.live_local += int(kind == ADD) - int(kind == CANCEL)
            if kind == CANCEL:
                drop_order(local_orders, local_place)
    if exch_place < 0 or local_place < 0:
        count_wrong_id(s, min(exch_place, local_place))
    s.max_live = max(s.max_live, s.live_exch, s.live_local)


@kernel
def close_batch(s: Any, book: Any, watch: Any, end_ts: int, end_exch_ts: int) -> None:
    """All rows of one local time are in: judge the book as it is until `end_ts`."""
    best = book[0]
    states, episodes, _, series, windows, _, profile = watch
    if best[COUNT, BID] > 1 or best[COUNT, ASK] > 1:
        s.deep_batches += 1
    bid, ask = best[ENGINE, BID], best[ENGINE, ASK]
    if bid != NONE and ask != NONE:
        s.batches += 1
        s.low_ticks = min(s.low_ticks, bid) if s.low_ticks != NONE else bid
        s.high_ticks = max(s.high_ticks, ask)
        if (ask - bid) * TIGHT_SHARE <= bid:
            s.tight_batches += 1
            s.tight_low_ticks = min(s.tight_low_ticks, bid) if s.tight_low_ticks != NONE else bid
            s.tight_high_ticks = max(s.tight_high_ticks, ask)
            judge_px(series[MIDS], windows[MIDS], 0.5 * (bid + ask) * s.tick_size, s.tick_size, s.batch_index)
    bid, ask = best[RAW, BID], best[RAW, ASK]
    both = bid != NONE and ask != NONE
    half = (bid != NONE) != (ask != NONE)
    s.book_batches += both
    if both:
        s.formed = 1
    follow_state(s, states[CROSSED], episodes, CROSSED, both and bid > ask, end_ts, end_exch_ts)
    follow_state(s, states[LOCKED], episodes, LOCKED, both and bid == ask, end_ts, end_exch_ts)
    follow_state(s, states[HALF_EMPTY], episodes, HALF_EMPTY, half and s.formed != 0, end_ts, end_exch_ts)
    follow_state(s, states[FORMING], episodes, FORMING, half and s.formed == 0, end_ts, end_exch_ts)
    if s.batch_latency_ns != NONE:
        note_profile(s, profile)


@kernel
def open_batch(s: Any, row: Any, watch: Any) -> None:
    """The first row of a local time is here."""
    if s.batch_ts != NONE:
        note_silence(s, watch[5], watch[2], row)
    s.local_times += 1
    s.local_whole_s += row["local_ts"] % SECOND_NS == 0
    s.batch_ts = row["local_ts"]
    s.batch_exch_ts = row["exch_ts"]
    s.batch_index = s.rows
    s.batch_trades = 0
    s.batch_latency_ns = NONE


@kernel
def scan_local(s: Any, row: Any, kind: Any, histograms: Any, series: Any, windows: Any) -> None:
    """What a LOCAL row of valid values says of the latency and of prices."""
    latency_ns = row["local_ts"] - row["exch_ts"]
    note_latency(s, histograms, latency_ns)
    if s.batch_latency_ns == NONE or latency_ns < s.batch_latency_ns:
        s.batch_latency_ns = latency_ns
    if kind == TRADE:
        s.trade_rows += 1
        judge_px(series[TRADES], windows[TRADES], row["px"], s.tick_size, s.rows)


@cached_kernel
def scan_rows(rows: Any, s: Any, book: Any, orders: Any, watch: Any) -> None:
    """Check the rows and replay the book.

    Parameters
    ----------
    rows : EVENT array of shape (n_rows,)
    s : record of `STATS`
    book : tuple of arrays: ``best`` int64 (3, 2), ticks, [ENGINE | RAW | COUNT, BID | ASK]; ``tags`` int64 (2, SLOTS),
        the tick that each slot holds; ``groups`` int64 (2, SLOTS // PER_GROUP), filled slots of each group; ``counts``
        int32 (2, SLOTS), orders of each slot
    orders : tuple of `bt_framework.data._book.ORDER` arrays, at most half full after these rows: live orders as the
        exchange and as the receiver knows them
    watch : tuple of arrays, see `bt_framework.data._watch.new_watch`
    """
    best, tags, groups, _ = book
    _, _, _, series, windows, histograms, _ = watch
    for i in range(len(rows)):
        row = rows[i]
        ev = np.int64(row["ev"])
        kind = ev & 0xFF
        check_row(s, row, ev)
        usable = check_values(s, row, kind)
        if ev & LOCAL and row["local_ts"] != s.batch_ts:
            if s.batch_ts != NONE:
                close_batch(s, book, watch, row["local_ts"], row["exch_ts"])
            open_batch(s, row, watch)
        if kind >= ADD:
            s.order_rows += 1
            if usable and kind <= FILL:
                follow_order(s, row, ev, book, orders)
        if kind == CLEAR and s.order_rows:
            if ev & EXCH:
                s.live_exch = clear_orders(orders[0], ev)
            if ev & LOCAL:
                s.live_local = clear_orders(orders[1], ev)
        if ev & LOCAL and usable:
            scan_local(s, row, kind, histograms, series, windows)
            if kind < ADD:
                replay_level(s, row, ev, best, tags, groups)
        s.rows += 1


@cached_kernel
def finish_scan(s: Any, book: Any, watch: Any) -> None:
    """Close the last batch."""
    if s.batch_ts != NONE:
        close_batch(s, book, watch, s.batch_ts, s.batch_exch_ts)


@cached_kernel
def rescale_book(s: Any, book: Any, ratio: int) -> None:
    """The tick has become `ratio` times finer: move every level and every extreme.

    Late in a stream some levels may have been rounded to the coarser tick: then the book starts anew.
    """
    best, tags, groups, _ = book
    late = s.rows >= 1_000
    for side in range(2):
        levels = tags[side][tags[side] != NONE]
        tags[side, :] = NONE
        groups[side, :] = 0
        best[COUNT, side] = 0
        for view in range(2):
            if late:
                best[view, side] = NONE
            elif best[view, side] != NONE:
                best[view, side] *= ratio
        for j in range(0 if late else len(levels)):
            tick = levels[j] * ratio
            slot = tick & (SLOTS - 1)
            if tags[side, slot] == NONE:
                groups[side, slot // PER_GROUP] += 1
                best[COUNT, side] += 1
            tags[side, slot] = tick
    if s.low_ticks != NONE:
        s.low_ticks *= ratio
        s.high_ticks *= ratio
    if s.tight_low_ticks != NONE:
        s.tight_low_ticks *= ratio
        s.tight_high_ticks *= ratio
    if s.trade_low_ticks != NONE:
        s.trade_low_ticks *= ratio
        s.trade_high_ticks *= ratio
