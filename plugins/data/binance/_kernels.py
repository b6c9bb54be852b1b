"""One pass over the text of many lines, from bytes to rows.

Each line is walked as JSON, key by key, in any order of keys. What is not fully understood (a snapshot, an
unknown event, an escape, a number that a double may not hold exactly) is left to `_messages`, line by line.

Positions are indices into the text; -1 means "not understood". Text ends with a newline, and no token
contains one, so no walk leaves the line.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_plugins.data.binance._protocol import epoch_ns, follow


class ScanStatus(IntEnum):
    """Why `scan` returned."""

    DONE = 0
    ROWS_FULL = 1
    NOT_UNDERSTOOD = 2


STATE = np.dtype(
    [
        ("pos", "i8"),
        ("line_end", "i8"),
        ("line", "i8"),
        ("n_rows", "i8"),
        ("last_u", "i8"),
        ("last_exch_ts", "i8"),
        ("gaps", "i8"),
        ("duplicates", "i8"),
        ("missing_updates", "i8"),
        ("trade_stream", "i8"),
        ("bbo", "i8"),
        ("market", "i8"),
        ("not_market", "i8"),
        ("other_trades", "i8"),
        ("book_tickers", "i8"),
        ("depth_messages", "i8"),
        ("rows_total", "i8"),
    ]
)
"""Where a scan is and what it has counted.

``line`` counts whole lines; ``line_end`` is the position after the newline of a line that is not understood
or does not fit; ``last_u`` is -1 before the first depth diff; ``trade_stream`` is the `Kind` that is used, 0
until one is seen; ``bbo`` is 1 if the book ticker makes the book; ``market`` is a `Market`.
"""

_MESSAGE = np.dtype(
    [
        ("has", "i8"),
        ("kind", "i8"),
        ("local_ts", "i8"),
        ("T", "i8"),
        ("E", "i8"),
        ("U", "i8"),
        ("u", "i8"),
        ("pu", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("bid_px", "f8"),
        ("bid_qty", "f8"),
        ("ask_px", "f8"),
        ("ask_qty", "f8"),
        ("buyer_is_maker", "i8"),
        ("market", "i8"),
        ("n_bids", "i8"),
        ("n_asks", "i8"),
    ]
)

_T, _E, _U, _u, _PU, _P, _Q, _M = 1, 2, 4, 8, 16, 32, 64, 128
_BIDS, _ASKS, _BID_PX, _BID_QTY, _ASK_PX, _ASK_QTY, _X, _S = 256, 512, 1024, 2048, 4096, 8192, 16384, 32768

_EV_TRADE, _EV_DEPTH, _EV_CLEAR = 2, 1, 3
_EV_BUY, _EV_SELL = 1 << 29, 1 << 28

_POW10 = 10.0 ** np.arange(23)
_MAX_EXACT = 1 << 53
_MAX_NS = np.iinfo(np.int64).max
_MAX_TENTH = _MAX_NS // 10 - 1
_PU_KEY = 1  # no letter is

_epoch_ns = kernel(epoch_ns)
_follow = kernel(follow)


@kernel
def _skip_spaces(text: Any, p: int) -> int:
    while text[p] == 32:
        p += 1
    return p


@kernel
def _uint(text: Any, p: int) -> tuple[int, int]:
    """Whole number of at most 18 digits at `p`: position after it, value."""
    start = p
    value = 0
    digit = np.int64(text[p]) - 48
    while 0 <= digit <= 9:
        if value > _MAX_TENTH:
            return -1, 0
        value = value * 10 + digit
        p += 1
        digit = np.int64(text[p]) - 48
    n_digits = p - start
    if n_digits == 0 or n_digits > 18 or (n_digits > 1 and text[start] == 48):
        return -1, 0
    return p, value


@kernel
def _decimal(text: Any, p: int) -> tuple[int, float]:
    """Quoted decimal number at `p`: position after it, value.

    A whole number up to 2**53 divided by 10**k with k <= 22 is correctly rounded, because both are exact.
    """
    if text[p] != 34:
        return -1, 0.0
    p += 1
    start = p
    mantissa = 0
    digit = np.int64(text[p]) - 48
    while 0 <= digit <= 9:
        if mantissa > _MAX_EXACT:
            return -1, 0.0
        mantissa = mantissa * 10 + digit
        p += 1
        digit = np.int64(text[p]) - 48
    n_digits = p - start
    n_decimals = 0
    if text[p] == 46:
        p += 1
        start = p
        digit = np.int64(text[p]) - 48
        while 0 <= digit <= 9:
            if mantissa > _MAX_EXACT:
                return -1, 0.0
            mantissa = mantissa * 10 + digit
            p += 1
            digit = np.int64(text[p]) - 48
        n_decimals = p - start
    if n_digits == 0 or n_digits + n_decimals > 18 or mantissa > _MAX_EXACT or text[p] != 34:
        return -1, 0.0
    return p + 1, mantissa / _POW10[n_decimals]


@kernel
def _skip_string(text: Any, p: int) -> int:
    """Position after the string at `p`; escapes and letters beyond ASCII are not understood."""
    p += 1
    while text[p] != 34:
        if text[p] < 32 or text[p] == 92 or text[p] > 126:
            return -1
        p += 1
    return p + 1


@kernel
def _is_true(text: Any, p: int) -> bool:
    return bool(text[p] == 116 and text[p + 1] == 114 and text[p + 2] == 117 and text[p + 3] == 101)


@kernel
def _is_false(text: Any, p: int) -> bool:
    return bool(text[p] == 102 and text[p + 1] == 97 and text[p + 2] == 108 and text[p + 3] == 115) and bool(
        text[p + 4] == 101
    )


@kernel
def _skip_scalar(text: Any, p: int) -> int:
    """Position after a string, whole number, true or false at `p`; other values are not understood."""
    if text[p] == 34:
        return _skip_string(text, p)
    if _is_true(text, p):
        return p + 4
    if _is_false(text, p):
        return p + 5
    p, _ = _uint(text, p)
    return p


@kernel
def _levels(text: Any, p: int, rows: Any, n_rows: int) -> tuple[int, int]:
    """Prices and quantities of ``[["px","qty"],...]`` at `p`, into `rows`: position after it, rows now.

    Rows that do not fit are counted and not written.
    """
    p = _skip_spaces(text, p + 1)
    if text[p] == 93:
        return p + 1, n_rows
    while True:
        if text[p] != 91:
            return -1, n_rows
        p, px = _decimal(text, p + 1)
        if p < 0 or text[p] != 44:
            return -1, n_rows
        p, qty = _decimal(text, _skip_spaces(text, p + 1))
        if p < 0 or text[p] != 93:
            return -1, n_rows
        p += 1
        if n_rows < len(rows):
            rows[n_rows]["px"] = px
            rows[n_rows]["qty"] = qty
        n_rows += 1
        if text[p] == 93:
            return p + 1, n_rows
        if text[p] != 44:
            return -1, n_rows
        p = _skip_spaces(text, p + 1)


@kernel
def _is_word(text: Any, p: int, word: Any) -> bool:
    """Whether the string at `p` is `word`."""
    if text[p] != 34:
        return False
    for i in range(len(word)):
        if text[p + 1 + i] != word[i]:
            return False
    return bool(text[p + 1 + len(word)] == 34)


_DEPTH_UPDATE = np.frombuffer(b"depthUpdate", np.uint8)
_TRADE_WORD = np.frombuffer(b"trade", np.uint8)
_AGG_TRADE_WORD = np.frombuffer(b"aggTrade", np.uint8)
_BOOK_TICKER_WORD = np.frombuffer(b"bookTicker", np.uint8)
_MARKET_WORD = np.frombuffer(b"MARKET", np.uint8)
_DATA_WORD = np.frombuffer(b"data", np.uint8)
_STREAM_WORD = np.frombuffer(b"stream", np.uint8)


@kernel
def _event_kind(text: Any, p: int) -> int:
    if _is_word(text, p, _BOOK_TICKER_WORD):
        return 4
    if _is_word(text, p, _TRADE_WORD):
        return 2
    if _is_word(text, p, _DEPTH_UPDATE):
        return 1
    if _is_word(text, p, _AGG_TRADE_WORD):
        return 3
    return 0


@kernel
def _integer_member(text: Any, p: int, key: int, message: Any) -> int:
    """Value of T, E, U or u."""
    p, value = _uint(text, p)
    if key == 84:
        message["T"] = value
        message["has"] |= _T
    elif key == 69:
        message["E"] = value
        message["has"] |= _E
    elif key == 85:
        message["U"] = value
        message["has"] |= _U
    else:
        message["u"] = value
        message["has"] |= _u
    return p


@kernel
def _decimal_member(text: Any, p: int, key: int, message: Any) -> int:
    """Value of p, q, b, B, a or A, where it is a quoted decimal."""
    p, value = _decimal(text, p)
    if key == 112:
        message["px"] = value
        message["has"] |= _P
    elif key == 113:
        message["qty"] = value
        message["has"] |= _Q
    elif key == 98:
        message["bid_px"] = value
        message["has"] |= _BID_PX
    elif key == 66:
        message["bid_qty"] = value
        message["has"] |= _BID_QTY
    elif key == 97:
        message["ask_px"] = value
        message["has"] |= _ASK_PX
    else:
        message["ask_qty"] = value
        message["has"] |= _ASK_QTY
    return p


@kernel
def _levels_member(text: Any, p: int, key: int, message: Any, rows: Any) -> int:
    """Value of b or a, where it is a list of levels; bids come first in the rows, so also in the text."""
    if key == 98:
        if message["has"] & (_BIDS | _ASKS):
            return -1
        p, n_rows = _levels(text, p, rows, 0)
        message["n_bids"] = n_rows
        message["has"] |= _BIDS
        return p
    if message["has"] & _ASKS or not message["has"] & _BIDS:
        return -1
    p, n_rows = _levels(text, p, rows, message["n_bids"])
    message["n_asks"] = n_rows - message["n_bids"]
    message["has"] |= _ASKS
    return p


@kernel
def _member(text: Any, p: int, key: int, message: Any, rows: Any, symbol: Any) -> int:
    """Value of a key of one letter: position after it."""
    c = text[p]
    if key == 84 or key == 69 or key == 85 or key == 117:  # T E U u
        return _integer_member(text, p, key, message)
    if key == 112 or key == 113 or key == 66 or key == 65:  # p q B A
        return _decimal_member(text, p, key, message)
    if key == 98 or key == 97:  # b a; order numbers in spot trades
        if c == 91:
            return _levels_member(text, p, key, message, rows)
        if c == 34:
            return _decimal_member(text, p, key, message)
        return -1 if message["has"] & (_BIDS | _ASKS | _BID_PX | _ASK_PX) else _skip_scalar(text, p)
    if key == 101:  # e
        message["kind"] = _event_kind(text, p)
        return _skip_string(text, p) if message["kind"] else -1
    if key == 115:  # s
        if not _is_word(text, p, symbol):
            return -1
        message["has"] |= _S
    elif key == 88:  # X
        message["market"] = _is_word(text, p, _MARKET_WORD)
        message["has"] |= _X
    elif key == 109 and (c == 116 or c == 102):  # m
        message["buyer_is_maker"] = _is_true(text, p)
        message["has"] |= _M
    return _skip_scalar(text, p)


@kernel
def _walk(text: Any, p: int, message: Any, rows: Any, symbol: Any) -> int:
    """Walk the object at `p` and the one under its key ``data``: position after it."""
    if text[p] != 123:
        return -1
    depth = 1
    p += 1
    while True:
        p = _skip_spaces(text, p)
        if text[p] != 34 or text[p + 1] < 48 or text[p + 1] == 92 or text[p + 1] > 126:
            return -1
        key = np.int64(0)
        if text[p + 2] == 34:
            key = np.int64(text[p + 1])
            p += 3
        elif text[p + 1] == 112 and text[p + 2] == 117 and text[p + 3] == 34:
            key = _PU_KEY
            p += 4
        elif _is_word(text, p, _DATA_WORD):
            if depth != 1 or text[p + 6] != 58:
                return -1
            p = _skip_spaces(text, p + 7)
            if text[p] != 123:
                return -1
            p += 1
            depth = 2
            continue
        elif _is_word(text, p, _STREAM_WORD) or text[p + 3] == 34:
            p = _skip_string(text, p)
        else:
            return -1
        if p < 0 or text[p] != 58:
            return -1
        p = _skip_spaces(text, p + 1)
        if key == _PU_KEY:
            p, message["pu"] = _uint(text, p)
            message["has"] |= _PU
        elif key:
            p = _member(text, p, key, message, rows, symbol)
        else:
            p = _skip_scalar(text, p)
        if p < 0:
            return -1
        p = _skip_spaces(text, p)
        while text[p] == 125:
            depth -= 1
            p = _skip_spaces(text, p + 1)
            if depth == 0:
                return p
        if text[p] != 44:
            return -1
        p += 1


@kernel
def _set_rows(rows: Any, start: int, stop: int, ev: int, exch_ts: int, local_ts: int) -> None:
    for i in range(start, stop):
        rows[i]["ev"] = np.uint64(ev)
        rows[i]["exch_ts"] = exch_ts
        rows[i]["local_ts"] = local_ts


@kernel
def _depth_rows(message: Any, state: Any, rows: Any) -> int:
    """Rows of a depth diff; -1 if it lacks a key."""
    needed = _U | _u | _BIDS | _ASKS
    if message["has"] & needed != needed or not message["has"] & (_T | _E):
        return -1
    n_bids, n_rows = message["n_bids"], message["n_bids"] + message["n_asks"]
    if n_rows > len(rows):
        return n_rows
    exch_ts = _epoch_ns(message["T"] if message["has"] & _T else message["E"])
    if exch_ts < 0:
        return -1
    state["market"] = 1 if message["has"] & _PU else 2
    _follow(state, message["U"], message["u"], message["pu"] if message["has"] & _PU else -1)
    if state["bbo"]:
        state["depth_messages"] += 1
        return 0
    state["last_exch_ts"] = exch_ts
    _set_rows(rows, 0, n_bids, _EV_DEPTH | _EV_BUY, exch_ts, message["local_ts"])
    _set_rows(rows, n_bids, n_rows, _EV_DEPTH | _EV_SELL, exch_ts, message["local_ts"])
    return n_rows


@kernel
def _trade_rows(message: Any, state: Any, rows: Any) -> int:
    """Row of a trade; none if it is of the unused stream or no MARKET trade; -1 if it lacks a key."""
    needed = _T | _P | _Q | _M
    if message["has"] & needed != needed:
        return -1
    exch_ts = _epoch_ns(message["T"])
    if exch_ts < 0:
        return -1
    if len(rows) < 1:
        return 1
    if state["trade_stream"] == 0:
        state["trade_stream"] = message["kind"]
    if state["market"] == 0 and message["kind"] == 2:
        state["market"] = 1 if message["has"] & _X else 2
    if state["trade_stream"] != message["kind"]:
        state["other_trades"] += 1
        return 0
    if not message["market"]:
        state["not_market"] += 1
        return 0
    state["last_exch_ts"] = exch_ts
    ev = _EV_TRADE | (_EV_SELL if message["buyer_is_maker"] else _EV_BUY)
    _set_rows(rows, 0, 1, ev, exch_ts, message["local_ts"])
    rows[0]["px"] = message["px"]
    rows[0]["qty"] = message["qty"]
    return 1


@kernel
def _book_ticker_rows(message: Any, state: Any, rows: Any) -> int:
    """Per side a row that clears up to the best price and one that sets it; -1 if a key is missing.

    A side without quantity has no price, and no rows.
    """
    needed = _BID_PX | _BID_QTY | _ASK_PX | _ASK_QTY
    if message["has"] & needed != needed:
        return -1
    if not state["bbo"]:
        state["book_tickers"] += 1
        return 0
    if not message["has"] & _T:
        return -1
    if len(rows) < 4:
        return 4
    exch_ts = _epoch_ns(message["T"])
    if exch_ts < 0:
        return -1
    state["last_exch_ts"] = exch_ts
    n_rows = 0
    for side in range(2):
        px, qty = (
            (message["bid_px"], message["bid_qty"]) if side == 0 else (message["ask_px"], message["ask_qty"])
        )
        if qty > 0.0:
            flag = _EV_BUY if side == 0 else _EV_SELL
            _set_rows(rows, n_rows, n_rows + 1, _EV_CLEAR | flag, exch_ts, message["local_ts"])
            _set_rows(rows, n_rows + 1, n_rows + 2, _EV_DEPTH | flag, exch_ts, message["local_ts"])
            rows[n_rows]["px"] = rows[n_rows + 1]["px"] = px
            rows[n_rows]["qty"] = 0.0
            rows[n_rows + 1]["qty"] = qty
            n_rows += 2
    return n_rows


@kernel
def _message_rows(message: Any, state: Any, rows: Any) -> int:
    """Rows of a message that was walked: how many, more than fit if they do not fit, -1 if not understood."""
    if not message["has"] & _S:
        return -1
    if message["kind"] == 1:
        return _depth_rows(message, state, rows)
    if message["kind"] == 2 or message["kind"] == 3:
        return _trade_rows(message, state, rows)
    # Spot's book ticker does not say what it is.
    if message["kind"] == 4 or message["has"] & _u:
        return _book_ticker_rows(message, state, rows)
    return -1


@kernel
def _receive_ns(text: Any, p: int) -> tuple[int, int]:
    """Receive time at `p`, in ns (19 digits), us (16) or ms (13): position after it and the space, value."""
    start = p
    value = 0
    digit = np.int64(text[p]) - 48
    while 0 <= digit <= 9:
        if value > _MAX_TENTH:
            return -1, 0
        value = value * 10 + digit
        p += 1
        digit = np.int64(text[p]) - 48
    if text[p] != 32:
        return -1, 0
    n_digits = p - start
    if n_digits == 19 and value > 0:
        return p + 1, value
    if n_digits == 16 and value <= _MAX_NS // 1_000:
        return p + 1, value * 1_000
    if n_digits == 13 and value <= _MAX_NS // 1_000_000:
        return p + 1, value * 1_000_000
    return -1, 0


@cached_kernel
def scan(text: Any, end: int, symbol: Any, rows: Any, state_array: Any) -> int:
    """Turn lines into rows until the text ends, the rows are full or a line is not understood.

    Parameters
    ----------
    text : uint8 array of shape (n_bytes,), n_bytes >= end + 8
        Whole lines up to `end`.
    symbol : uint8 array of shape (n_letters,)
        What ``s`` must be.
    rows : EVENT array of shape (n_capacity,), zero but for what `scan` writes
        Rows in order of arrival, without EXCH and LOCAL flags.
    state_array : STATE array of shape (1,)
        Updated: ``pos`` is the start of the line to go on with, ``n_rows`` the rows filled.

    Returns
    -------
    int
        A `ScanStatus`.
    """
    state = state_array[0]
    messages = np.zeros(1, _MESSAGE)
    p = state["pos"]
    while p < end:
        start = p
        message = messages[0]  # in the loop: a record alone does not keep its array
        message["has"] = message["kind"] = message["n_bids"] = message["n_asks"] = 0
        message["market"] = 1
        free = rows[state["n_rows"] :]
        p, message["local_ts"] = _receive_ns(text, p)
        if p >= 0:
            p = _walk(text, p, message, free, symbol)
        if p >= 0 and text[p] == 13:
            p += 1
        n_new = _message_rows(message, state, free) if p >= 0 and text[p] == 10 else -1
        if n_new < 0 or n_new > len(free):
            state["pos"] = p = start
            while text[p] != 10:
                p += 1
            state["line_end"] = p + 1
            return 2 if n_new < 0 else 1
        p += 1
        state["n_rows"] += n_new
        state["rows_total"] += n_new
        state["line"] += 1
    state["pos"] = p
    return 0
