"""Price levels, packets and closed phases: what order books and price windows have in common.

Levels are an array of shape (2, capacity), bids first, sorted with the best last, so that changes near the
touch move little.
"""

from __future__ import annotations

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_framework.records import EventFlag, EventKind
from bt_plugins.data.databento._protocol import (
    MAX_PHASES,
    PX_UNITS,
    Drop,
    Evidence,
    Flag,
    Status,
)

_BUY, _SELL = int(EventFlag.BUY), int(EventFlag.SELL)
_DEPTH, _TRADE, _CLEAR = int(EventKind.DEPTH), int(EventKind.TRADE), int(EventKind.DEPTH_CLEAR)
_SNAPSHOT = int(EventKind.DEPTH_SNAPSHOT)
_BID, _ASK, _TRADE_ACTION = 66, 65, 84  # ord of B, A, T


@kernel
def side_flag(side):
    """BUY for 1, SELL for -1, no flag for 0."""
    if side > 0:
        return _BUY
    return _SELL if side < 0 else 0


@kernel
def side_of(letter):
    """1 for B (bid, or buyer), -1 for A (ask, or seller), 0 for neither."""
    if letter == _BID:
        return 1
    return -1 if letter == _ASK else 0


@kernel
def write(rows, state, kind, side, px, qty):
    """Append an event at the state's times. `px` in 1e-9 of the quote currency, `side` 1, -1 or 0."""
    n = state["n_rows"]
    row = rows[n]
    row["ev"] = np.uint64(kind | side_flag(side))
    row["exch_ts"] = state["exch_ts"]
    row["local_ts"] = state["local_ts"]
    row["px"] = px / PX_UNITS
    row["qty"] = qty
    row["order_id"] = np.uint64(0)
    row["ival"] = 0
    row["fval"] = 0.0
    state["n_rows"] = n + 1


@kernel
def drop(drops, reason, number, state):
    """Count a record that becomes no event, the `number`-th of its file."""
    if drops[reason]["count"] == 0:
        drops[reason]["first"] = number
    drops[reason]["count"] += 1
    state["packet_dropped"] += 1


@kernel
def drop_packet(drops, state):
    """Count the packet's records, but for those that were dropped already."""
    if drops[Drop.CLOSED]["count"] == 0:
        drops[Drop.CLOSED]["first"] = state["packet_first"]
    drops[Drop.CLOSED]["count"] += state["packet_records"] - state["packet_dropped"]


@kernel
def begin_record(record, number, state):
    """Take over a record's times, count it to its packet, and follow the source's own warning of gaps.

    The book in a snapshot is that of its receive time; the event time is that of an older change. Records come
    in the order of the venue's sequence, so a time before the last one is raised to it.
    """
    exch_ts, local_ts = record["ts_event"], record["ts_recv"]
    if record["flags"] & Flag.SNAPSHOT or exch_ts < 0 or local_ts < 0:
        exch_ts = local_ts = max(exch_ts, local_ts)
    if exch_ts < state["exch_ts"]:
        state["raised"] += 1
    state["exch_ts"] = max(state["exch_ts"], exch_ts)
    state["local_ts"] = max(state["local_ts"], local_ts)
    if state["packet_records"] == 0:
        state["packet_first"] = number
    state["packet_records"] += 1
    bad_book = 1 if record["flags"] & Flag.MAYBE_BAD_BOOK else 0
    if bad_book > state["bad_book"]:
        state["gaps"] += 1
    state["bad_book"] = bad_book


@kernel
def trade(record, rows, state):
    """Write a trade; one without an aggressor, as in an auction, carries no side."""
    side = side_of(record["side"])
    if side == 0:
        state["trades_without_side"] += 1
    state["packet_trades"] += 1
    write(rows, state, _TRADE, side, record["price"], float(record["size"]))


@kernel
def count_of(state, s):
    """Levels of side `s`, 0 for bids and 1 for asks; emptied ones stay until their packet ends."""
    return state["n_bids"] if s == 0 else state["n_asks"]


@kernel
def set_count(state, s, n):
    """Set what `count_of` returns."""
    if s == 0:
        state["n_bids"] = n
    else:
        state["n_asks"] = n


@kernel
def place_of(levels, s, n, key):
    """First of the `n` levels of side `s` whose key is not below `key`."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if levels[s, middle]["key"] < key:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def level_at(levels, s, px, state):
    """Index of the level of side `s` at `px`, made if there is none; it counts as touched by its user."""
    key = px if s == 0 else -px
    n = count_of(state, s)
    i = place_of(levels, s, n, key)
    if i == n or levels[s, i]["key"] != key:
        for j in range(n, i, -1):
            levels[s, j] = levels[s, j - 1]
        levels[s, i]["key"] = key
        levels[s, i]["qty"] = 0
        levels[s, i]["told_qty"] = 0
        set_count(state, s, n + 1)
    return i


@kernel
def change(levels, touched, side, px, qty, state):
    """Add `qty`, which may be negative, to the level of `side` (1 or -1) at `px`."""
    s = 0 if side > 0 else 1
    i = level_at(levels, s, px, state)
    levels[s, i]["qty"] += qty
    if not state["all_touched"]:
        touched[state["n_touched"], 0] = s
        touched[state["n_touched"], 1] = levels[s, i]["key"]
        state["n_touched"] += 1


@kernel
def empty_levels(levels, state):
    """Set every level's quantity to zero."""
    for s in range(2):
        for i in range(count_of(state, s)):
            levels[s, i]["qty"] = 0
    state["all_touched"] = 1


@kernel
def best_key(levels, s, state):
    """Key of the best level of side `s` that has a quantity, and whether there is one."""
    for i in range(count_of(state, s) - 1, -1, -1):
        if levels[s, i]["qty"] > 0:
            return levels[s, i]["key"], True
    return np.int64(0), False


@kernel
def is_crossed(levels, state):
    """Whether the best bid is at or above the best ask."""
    bid, has_bid = best_key(levels, 0, state)
    ask, has_ask = best_key(levels, 1, state)
    return has_bid and has_ask and bid >= -ask


@kernel
def tell_level(levels, s, i, rows, kind, state):
    """Write a level's quantity."""
    level = levels[s, i]
    side = 1 if s == 0 else -1
    write(rows, state, kind, side, side * level["key"], float(level["qty"]))
    level["told_qty"] = level["qty"]


@kernel
def tell_changes(levels, touched, rows, state):
    """Write every changed level: what shrinks first, so that the book does not cross on the way."""
    for growing in range(2):
        for s in range(2):
            if state["all_touched"]:
                for i in range(count_of(state, s)):
                    grows = levels[s, i]["qty"] > levels[s, i]["told_qty"]
                    if levels[s, i]["qty"] != levels[s, i]["told_qty"] and grows == growing:
                        tell_level(levels, s, i, rows, _DEPTH, state)
        if not state["all_touched"]:
            for t in range(state["n_touched"]):
                s = touched[t, 0]
                i = place_of(levels, s, count_of(state, s), touched[t, 1])
                grows = levels[s, i]["qty"] > levels[s, i]["told_qty"]
                if levels[s, i]["qty"] != levels[s, i]["told_qty"] and grows == growing:
                    tell_level(levels, s, i, rows, _DEPTH, state)


@kernel
def take_away(levels, rows, state):
    """Write that there is no book."""
    if state["orders"]:
        if state["n_bids"] or state["n_asks"]:
            write(rows, state, _CLEAR, 0, 0, 0.0)
        return
    for s in range(2):
        side = 1 if s == 0 else -1
        for i in range(count_of(state, s)):
            if levels[s, i]["told_qty"] > 0:
                write(rows, state, _DEPTH, side, side * levels[s, i]["key"], 0.0)
                levels[s, i]["told_qty"] = 0


@kernel
def remove_empty(levels, touched, state):
    """Remove the levels that the packet has emptied."""
    if state["all_touched"]:
        for s in range(2):
            kept = 0
            for i in range(count_of(state, s)):
                if levels[s, i]["qty"] > 0:
                    levels[s, kept] = levels[s, i]
                    kept += 1
            set_count(state, s, kept)
    else:
        for t in range(state["n_touched"]):
            s = touched[t, 0]
            n = count_of(state, s)
            i = place_of(levels, s, n, touched[t, 1])
            if i < n and levels[s, i]["key"] == touched[t, 1] and levels[s, i]["qty"] <= 0:
                for j in range(i, n - 1):
                    levels[s, j] = levels[s, j + 1]
                set_count(state, s, n - 1)
    state["n_touched"] = 0
    state["all_touched"] = 0


@kernel
def follow_phase(levels, phases, state):
    """Begin or end a closed phase, as the book and the trades say at the end of a packet.

    It begins where the book is locked or crossed, and ends where, after a trade in it, the book no longer is.
    """
    crossed = is_crossed(levels, state)
    if state["evidence"] == Evidence.NONE:
        if state["packet_trades"]:
            state["evidence"] = Evidence.TRADED
        elif crossed:
            state["evidence"] = Evidence.CROSSED
    phase = min(state["n_phases"], MAX_PHASES) - 1
    if state["closed"]:
        if state["packet_trades"]:
            state["traded"] = 1
        if state["traded"] and not crossed:
            state["closed"] = 0
        if state["n_phases"] <= MAX_PHASES:
            phases[phase, 1] = state["exch_ts"]
    elif crossed:
        state["closed"] = 1
        state["traded"] = 0
        state["n_phases"] += 1
        if state["n_phases"] <= MAX_PHASES:
            phases[phase + 1, 0] = phases[phase + 1, 1] = state["exch_ts"]


@kernel
def end_packet(levels, touched, rows, phases, drops, state):
    """Settle a packet; returns a `Status`.

    In a phase that is withheld its rows are taken back; the packet that begins one takes the book away, and
    after the one that ends it the caller writes the book as it then is (PHASE_ENDED).
    """
    was_closed = state["closed"]
    follow_phase(levels, phases, state)
    withheld = state["withhold"] and (was_closed or state["closed"])
    if withheld:
        state["n_rows"] = state["packet_row"]
        drop_packet(drops, state)
        if not was_closed:
            take_away(levels, rows, state)
    elif not state["orders"]:
        tell_changes(levels, touched, rows, state)
    remove_empty(levels, touched, state)
    state["rows_total"] += state["n_rows"] - state["packet_row"]
    state["packet_row"] = state["n_rows"]
    state["packet_records"] = 0
    state["packet_dropped"] = 0
    state["packet_trades"] = 0
    if withheld and not state["closed"]:
        return Status.PHASE_ENDED
    return Status.DONE


@cached_kernel
def tell_book(levels, rows, states):
    """Write every level as a snapshot; returns the number of rows."""
    state = states[0]
    state["n_rows"] = 0
    for s in range(2):
        for i in range(count_of(state, s) - 1, -1, -1):
            tell_level(levels, s, i, rows, _SNAPSHOT, state)
    return state["n_rows"]
