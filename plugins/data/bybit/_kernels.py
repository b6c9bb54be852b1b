"""Levels of a message, from text to numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel

_QUOTE, _COMMA, _POINT, _OPEN, _CLOSE = 34, 44, 46, 91, 93
_MAX_EXACT = 1 << 53
_POW10 = 10.0 ** np.arange(19)


@kernel
def _quoted_decimal(text: Any, p: int, end: int) -> tuple[int, float]:
    """Number between quotes at `p`: position after it, value; -1 if it is not understood.

    A whole number up to 2**53 divided by 10**k with k <= 18 is correctly rounded, because both are exact.
    """
    if p >= end or text[p] != _QUOTE:
        return -1, 0.0
    p += 1
    mantissa = np.int64(0)
    n_digits = 0
    n_decimals = -1
    while p < end and text[p] != _QUOTE:
        digit = np.int64(text[p]) - 48
        if text[p] == _POINT and n_decimals < 0:
            n_decimals = 0
        elif 0 <= digit <= 9 and n_digits < 18:
            mantissa = mantissa * 10 + digit
            n_digits += 1
            if n_decimals >= 0:
                n_decimals += 1
        else:
            return -1, 0.0
        p += 1
    if p >= end or n_digits == 0 or mantissa > _MAX_EXACT:
        return -1, 0.0
    return p + 1, mantissa / _POW10[max(n_decimals, 0)]


@cached_kernel
def parse_levels(text: Any, start: int, end: int, rows: Any) -> bool:
    """Put ``[["px","qty"],...]`` into `rows`.

    Parameters
    ----------
    text : uint8 array of shape (n_bytes,)
    start, end : int
        Where the list begins and ends in it.
    rows : EVENT array of shape (n_levels,)
        ``px`` and ``qty`` are written.

    Returns
    -------
    bool
        False if the text is anything else, or has another number of levels, or a price of 0: nothing is to be
        made of `rows` then.
    """
    if len(rows) == 0:
        return bool(end == start + 2)
    p = start + 1
    for i in range(len(rows)):
        if p >= end or text[p] != _OPEN:
            return False
        p, px = _quoted_decimal(text, p + 1, end)
        if p < 0 or p >= end or text[p] != _COMMA:
            return False
        p, qty = _quoted_decimal(text, p + 1, end)
        if p < 0 or p + 1 >= end or text[p] != _CLOSE or px == 0.0:
            return False
        if text[p + 1] != (_CLOSE if i == len(rows) - 1 else _COMMA):
            return False
        rows[i]["px"] = px
        rows[i]["qty"] = qty
        p += 2
    return bool(p == end)
