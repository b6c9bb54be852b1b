"""From the text of both files to rows: parsing, trades, and the book as price levels.

Positions are indices into a text; -1 means "not understood". A text ends with a newline, and no number contains
one, so no walk leaves its line. Sides are numbered 0 for bids, 1 for asks; the ``key`` of a level is its price
in ten-thousandths of a dollar, of a bid its negative: a smaller key is a better price on either side.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel


class Status(IntEnum):
    """Why a scan returned. From `BAD_MESSAGE` on, the next line of both files is malformed."""

    DONE = 0
    ROWS_FULL = 1
    BOOK_FULL = 2
    PHASE = 3
    BAD_MESSAGE = 10
    BAD_VALUES = 11
    BAD_TIME = 12
    TIME_BACK = 13
    BAD_BOOK = 14
    BAD_LEVELS = 15


class Kind(IntEnum):
    """Second column of a message."""

    SUBMISSION = 1
    REDUCTION = 2
    DELETION = 3
    EXECUTION = 4
    HIDDEN_EXECUTION = 5
    CROSS = 6
    HALT = 7


class Drop(IntEnum):
    """Why a message became no event: the rows of the scans' array `drops`."""

    NO_CHANGE = 0
    HALT = 1
    CLOSED = 2
    EMPTY_CROSS = 3
    UNKNOWN_ORDER = 4
    KNOWN_ORDER = 5
    NOT_IN_BOOK = 6


STATE = np.dtype(
    [
        ("message_pos", "i8"),
        ("message_end", "i8"),
        ("book_pos", "i8"),
        ("book_end", "i8"),
        ("n_levels", "i8"),
        ("remove_beyond", "i8"),
        ("withhold", "i8"),
        ("midnight_ts", "i8"),
        ("feed_latency_ns", "i8"),
        ("tick_units", "i8"),
        ("line", "i8"),
        ("kind", "i8"),
        ("order_id", "i8"),
        ("qty", "i8"),
        ("units", "i8"),
        ("direction", "i8"),
        ("is_added", "i8"),
        ("n_rows", "i8"),
        ("rows_total", "i8"),
        ("first_ts", "i8"),
        ("last_ts", "i8"),
        ("closed", "i8"),
        ("fresh", "i8"),
        ("off_tick_prints", "i8"),
        ("n_orders", "i8"),
        ("free_order", "i8"),
        ("unused_order", "i8"),
        ("synthetic", "i8"),
        ("synthetic_at_start", "i8"),
        ("matched_by_price", "i8"),
        ("cut_orders", "i8"),
        ("repairs_in_book", "i8"),
    ]
)
"""Where a scan is, what it was asked for, and what it has counted.

``line`` counts the rows of the present pair; ``kind`` to ``direction`` are the columns of its last message, and
``is_added`` is 1 if that message adds an order; ``tick_units`` is the tick in ten-thousandths of a dollar, 0 until
the first price; ``closed`` is 1 from a halt to the resumption of trading, ``fresh`` while no level has been
shown yet. From ``n_orders`` on, see `_orders`.
"""

LEVEL = np.dtype([("key", "i8"), ("qty", "i8"), ("head", "i8"), ("tail", "i8"), ("line", "i8")])
"""A price level that the events have built up; ``head``, ``tail`` and ``line`` are for `_orders`."""

BIDS, ASKS = 0, 1
_NO_PRICE = 9_999_999_999
_NS_PER_S = 1_000_000_000
_S_PER_DAY = 86_400
_MAX_DIGITS = 18
_MAX_QTY = 1 << 40
_DOLLAR_UNITS = 10_000
_CENT_UNITS = 100
UNITS_PER_PX = 10_000.0

BOTH_CLOCKS = (1 << 31) | (1 << 30)
BUY, SELL = 1 << 29, 1 << 28
DEPTH, TRADE, SNAPSHOT = 1, 2, 4


@kernel
def _digits(text: Any, p: int) -> tuple[int, int]:
    """Digits at `p`: position after them, value; meaningless beyond `_MAX_DIGITS`."""
    value = np.int64(0)
    digit = np.int64(text[p]) - 48
    while 0 <= digit <= 9:
        value = value * 10 + digit
        p += 1
        digit = np.int64(text[p]) - 48
    return p, value


@kernel
def _int(text: Any, p: int) -> tuple[int, int]:
    """Whole number at `p`: position after it, value."""
    negative = text[p] == 45
    start = p + 1 if negative else p
    p, value = _digits(text, start)
    if p == start or p - start > _MAX_DIGITS:
        return -1, 0
    return p, -value if negative else value


@kernel
def _ns_of_day(text: Any, p: int) -> tuple[int, int]:
    """Seconds after midnight with up to nine decimals at `p`: position after them, nanoseconds."""
    p, seconds = _int(text, p)
    if p < 0 or seconds < 0 or seconds > _S_PER_DAY:
        return -1, 0
    ns = np.int64(0)
    if text[p] == 46:
        start = p + 1
        p, ns = _int(text, start)
        if p < 0 or ns < 0 or p - start > 9:
            return -1, 0
        for _ in range(9 - (p - start)):
            ns *= 10
    return p, seconds * _NS_PER_S + ns


@kernel
def _line_end(text: Any, p: int) -> int:
    """Position after the end of the line, which must be at `p`."""
    if text[p] == 13:
        p += 1
    return p + 1 if text[p] == 10 else -1


@kernel
def _read_message(text: Any, p: int, state: Any) -> tuple[int, int, int]:
    """Message at `p`: position after its line, ns after midnight, and `Status.DONE` or what is wrong."""
    p, ns_of_day = _ns_of_day(text, p)
    if p < 0:
        return p, 0, 12
    values = (np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0))
    for _ in range(5):
        if text[p] != 44:
            return -1, 0, 10
        p, value = _int(text, p + 1)
        if p < 0:
            return p, 0, 10
        values = (values[1], values[2], values[3], values[4], value)
    p = _line_end(text, p)
    if p < 0:
        return p, 0, 10
    (state["kind"], state["order_id"], state["qty"], state["units"], state["direction"]) = values
    return p, ns_of_day, 0 if _is_possible(state) else 11


@kernel
def _is_possible(state: Any) -> bool:
    """Whether the values of a message can be those of its kind."""
    kind, units = state["kind"], state["units"]
    if kind == 7:
        return bool(-1 <= units <= 1)
    if kind < 1 or kind > 6 or units <= 0 or units >= _NO_PRICE or state["qty"] > _MAX_QTY:
        return False
    if kind == 6:
        return bool(state["qty"] >= 0)
    if kind <= 4 and state["order_id"] <= 0:
        return False
    return bool(state["qty"] > 0 and (state["direction"] == 1 or state["direction"] == -1))


@kernel
def _read_levels(text: Any, p: int, quotes: Any, n_quotes: Any) -> tuple[int, int]:
    """Row of the book at `p`: position after its line, and `Status.DONE` or what is wrong."""
    n_levels = quotes.shape[1]
    n_quotes[BIDS] = n_quotes[ASKS] = 0
    sound = True
    for level in range(n_levels):
        for side in (ASKS, BIDS):
            # As `_int`, written out: nine tenths of the text are these numbers.
            negative = text[p] == 45
            start = p + 1 if negative else p
            p, units = _digits(text, start)
            if p == start or p - start > _MAX_DIGITS or text[p] != 44:
                return -1, 14
            start = p + 1
            p, qty = _digits(text, start)
            if p == start or p - start > _MAX_DIGITS:
                return -1, 14
            key = units if side == ASKS else -units
            if units == _NO_PRICE and qty == 0 and negative == (side == BIDS):
                pass
            elif (
                n_quotes[side] < level
                or negative
                or not (0 < qty <= _MAX_QTY and 0 < units < _NO_PRICE)
                or (level > 0 and key <= quotes[side, level - 1, 0])
            ):
                sound = False
            else:
                quotes[side, level, 0] = key
                quotes[side, level, 1] = qty
                n_quotes[side] += 1
            if side == ASKS or level + 1 < n_levels:
                if text[p] != 44:
                    return -1, 14
                p += 1
    p = _line_end(text, p)
    if p < 0:
        return p, 14
    return p, 0 if sound else 15


@kernel
def read_pair(texts: Any, quotes: Any, n_quotes: Any, state: Any) -> int:
    """Read the next line of both texts, and go on to the one after if both are sound; return a `Status`."""
    message_pos, ns_of_day, status = _read_message(texts[0], state["message_pos"], state)
    if status != 0:
        return status
    ts = state["midnight_ts"] + ns_of_day
    if ts < state["last_ts"]:
        return 13
    book_pos, status = _read_levels(texts[1], state["book_pos"], quotes, n_quotes)
    if status != 0:
        return status
    state["last_ts"] = ts
    if state["first_ts"] == 0:
        state["first_ts"] = ts
    state["message_pos"] = message_pos
    state["book_pos"] = book_pos
    state["line"] += 1
    if state["tick_units"] == 0:
        least = min(
            quotes[ASKS, 0, 0] if n_quotes[ASKS] else _NO_PRICE,
            -quotes[BIDS, 0, 0] if n_quotes[BIDS] else _NO_PRICE,
        )
        state["tick_units"] = _CENT_UNITS if least >= _DOLLAR_UNITS else 1
    return 0


@kernel
def put(rows: Any, state: Any, ev: int, units: int, qty: int) -> None:
    """Append a row at the present time."""
    row = rows[state["n_rows"]]
    row["ev"] = np.uint64(BOTH_CLOCKS | ev)
    row["exch_ts"] = state["last_ts"]
    row["local_ts"] = state["last_ts"] + state["feed_latency_ns"]
    row["px"] = units / UNITS_PER_PX
    row["qty"] = qty
    row["order_id"] = np.uint64(0)
    row["fval"] = 0.0
    state["n_rows"] += 1


@kernel
def put_trade(rows: Any, state: Any) -> None:
    """Append an execution, of the taker's side; a cross has none, and fills nobody.

    A price between two ticks becomes the tick that the taker had to pass before it: the engine would round it up,
    to orders that such a trade does not reach. The printed price is then in ``fval``.
    """
    ev, units = TRADE, state["units"]
    off_units = units % state["tick_units"]
    if state["kind"] != 6 and state["direction"] == 1:
        ev |= SELL
        px_units = units + (state["tick_units"] - off_units if off_units else 0)
    else:
        ev |= BUY if state["kind"] != 6 else 0
        px_units = units - off_units
    put(rows, state, ev, px_units, state["qty"])
    if off_units:
        rows[state["n_rows"] - 1]["fval"] = units / UNITS_PER_PX
        state["off_tick_prints"] += 1


@kernel
def is_print(state: Any, hidden: bool) -> bool:
    """Whether a message becomes a trade; while the book is hidden, only one that fills nobody does."""
    kind = state["kind"]
    return bool((kind == 6 and state["qty"] > 0) or ((kind == 4 or kind == 5) and not hidden))


@kernel
def follow_phase(state: Any) -> int:
    """Take in a trading halt message: 1 if trading stops here, -1 if it resumes, else 0."""
    if state["kind"] != 7:
        return 0
    if state["units"] == -1 and not state["closed"]:
        state["closed"] = 1
        return 1
    if state["units"] == 1 and state["closed"]:
        state["closed"] = 0
        return -1
    return 0


@kernel
def count_drop(drops: Any, reason: int, line: int) -> None:
    """Count a message that became no event; the first line of each reason is kept."""
    if drops[reason, 0] == 0:
        drops[reason, 1] = line
    drops[reason, 0] += 1


@kernel
def reason_of(state: Any, hidden: bool) -> int:
    """The `Drop` of a message without rows that is not at odds with the book."""
    if state["kind"] == 7:
        return 1
    if state["kind"] == 6:
        return 3
    return 2 if hidden else 0


@kernel
def is_covered(key: int, quotes: Any, state: Any) -> bool:
    """Whether the row of the book says what there is at `key`: it does as far as its last level.

    A row with fewer levels than the file has room for says it of all prices.
    """
    if len(quotes) < state["n_levels"] or state["remove_beyond"]:
        return True
    return bool(key <= quotes[len(quotes) - 1, 0])


@kernel
def _is_unchanged(levels: Any, n_held: int, quotes: Any, state: Any) -> bool:
    n_quotes = len(quotes)
    if n_held < n_quotes:
        return False
    for i in range(n_quotes):
        level = levels[n_held - 1 - i]
        if level["key"] != quotes[i, 0] or level["qty"] != quotes[i, 1]:
            return False
    return n_held == n_quotes or not is_covered(levels[n_held - 1 - n_quotes]["key"], quotes, state)


@kernel
def _put_level(rows: Any, state: Any, side: int, key: int, qty: int) -> None:
    kind = SNAPSHOT if state["fresh"] else DEPTH
    if side == BIDS:
        put(rows, state, kind | BUY, -key, qty)
    else:
        put(rows, state, kind | SELL, key, qty)


@kernel
def _remove_gone(book: Any, side: int, quotes: Any, rows: Any, state: Any) -> int:
    """Put a zero for each level that the row of the book would show and does not.

    Returns how many of the best levels the row covers.
    """
    levels, n_held = book[0][side], book[1][side]
    n_covered = i = 0
    while n_covered < n_held:
        key = levels[n_held - 1 - n_covered]["key"]
        if not is_covered(key, quotes, state):
            break
        while i < len(quotes) and quotes[i, 0] < key:
            i += 1
        if i == len(quotes) or quotes[i, 0] != key:
            _put_level(rows, state, side, key, 0)
        n_covered += 1
    return n_covered


@kernel
def _set_levels(book: Any, side: int, quotes: Any, n_covered: int, rows: Any, state: Any) -> None:
    """Put the levels of the row that are new or changed, and replace the best `n_covered` by the row."""
    levels, n_held = book[0][side], book[1][side]
    j = 0
    for i in range(len(quotes)):
        key, qty = quotes[i, 0], quotes[i, 1]
        while j < n_covered and levels[n_held - 1 - j]["key"] < key:
            j += 1
        known = j < n_covered and levels[n_held - 1 - j]["key"] == key
        if not known or levels[n_held - 1 - j]["qty"] != qty:
            _put_level(rows, state, side, key, qty)
    n_held += len(quotes) - n_covered
    for i in range(len(quotes)):
        levels[n_held - 1 - i]["key"] = quotes[i, 0]
        levels[n_held - 1 - i]["qty"] = quotes[i, 1]
    book[1][side] = n_held


@kernel
def _follow_book(book: Any, sides: Any, rows: Any, state: Any) -> None:
    """Make the levels those of the row; what goes is put before what comes, so that no two sides cross."""
    n_bids = n_asks = -1
    if not _is_unchanged(book[0][BIDS], book[1][BIDS], sides[BIDS], state):
        n_bids = _remove_gone(book, BIDS, sides[BIDS], rows, state)
    if not _is_unchanged(book[0][ASKS], book[1][ASKS], sides[ASKS], state):
        n_asks = _remove_gone(book, ASKS, sides[ASKS], rows, state)
    if n_bids >= 0:
        _set_levels(book, BIDS, sides[BIDS], n_bids, rows, state)
    if n_asks >= 0:
        _set_levels(book, ASKS, sides[ASKS], n_asks, rows, state)
    state["fresh"] = 0


@kernel
def _take_away(book: Any, rows: Any, state: Any) -> None:
    levels, held = book
    for side in (BIDS, ASKS):
        for i in range(held[side] - 1, -1, -1):
            _put_level(rows, state, side, levels[side, i]["key"], 0)
        held[side] = 0
    state["fresh"] = 1


@kernel
def _take_pair(book: Any, sides: Any, rows: Any, drops: Any, state: Any) -> int:
    """Put the rows of one message and its row of the book; return 1 or -1 where a phase begins or ends."""
    n_before = state["n_rows"]
    phase = follow_phase(state)
    hidden = state["closed"] and state["withhold"]
    if phase == 1 and hidden:
        _take_away(book, rows, state)
    if is_print(state, hidden):
        put_trade(rows, state)
    if not hidden:
        _follow_book(book, sides, rows, state)
    if state["n_rows"] == n_before:
        count_drop(drops, reason_of(state, hidden), state["line"])
    return phase


@cached_kernel
def scan_levels(texts: Any, book: Any, rows: Any, drops: Any, state_array: Any) -> int:
    """Turn pairs of lines into rows of price levels until either text ends or something needs attention.

    Parameters
    ----------
    texts : tuple of two uint8 arrays, (messages, book)
        Whole lines up to ``message_end`` and ``book_end``.
    book : (LEVEL array of shape (2, n_capacity), int64 array of shape (2,))
        The levels held of each side, the best one last, and how many; updated.
    rows : EVENT array of shape (n_capacity,), zero but for what scans write
        Rows in order, of both clocks.
    drops : int64 array of shape (len(Drop), 2)
        Count and first line of each reason; updated.
    state_array : STATE array of shape (1,)
        Updated: both positions are those of the lines to go on with, ``n_rows`` the rows filled.

    Returns
    -------
    int
        A `Status`; `Status.PHASE` after a message with which trading stopped or resumed.
    """
    state = state_array[0]
    n_levels = state["n_levels"]
    quotes = np.zeros((2, n_levels, 2), np.int64)
    n_quotes = np.zeros(2, np.int64)
    while state["message_pos"] < state["message_end"] and state["book_pos"] < state["book_end"]:
        n_held = max(book[1][BIDS], book[1][ASKS])
        if n_held + n_levels > book[0].shape[1]:
            return 2
        if state["n_rows"] + 2 * n_held + 2 * n_levels + 1 > len(rows):
            return 1
        status = read_pair(texts, quotes, n_quotes, state)
        if status != 0:
            return status
        sides = (quotes[BIDS, : n_quotes[BIDS]], quotes[ASKS, : n_quotes[ASKS]])
        if _take_pair(book, sides, rows, drops, state) != 0:
            return 3
    return 0


@cached_kernel
def take_levels_away(book: Any, rows: Any, state_array: Any) -> None:
    """Put a zero for each level held, at the time of the last message; see `scan_levels` for the arguments.

    `rows` must have room for all of them.
    """
    _take_away(book, rows, state_array[0])
