"""Kernels of `bt_framework.data.csv_blocks`: from the text of many lines to columns of numbers.

What a kernel does not fully understand (a quote, an exponent, a number that a double may not hold exactly) is
left to Python, line by line. Text ends with a newline, and no field contains one, so no walk leaves the line.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from bt_framework.jit import cached_kernel, kernel


class Kind(IntEnum):
    """What a column holds. Kernels compare with the numbers."""

    SKIP = 0
    WHOLE = 1
    SECONDS = 2
    DECIMAL = 3
    OPTIONAL_DECIMAL = 4
    WORD = 5


class ParseStatus(IntEnum):
    """Why `parse_lines` returned."""

    DONE = 0
    FULL = 1
    NOT_UNDERSTOOD = 2


COLUMN = np.dtype([("kind", "i8"), ("first_word", "i8"), ("end_word", "i8")])
"""A column: its `Kind`, and for `Kind.WORD` which of all words are its own."""

CURSOR = np.dtype([("pos", "i8"), ("line_end", "i8"), ("line", "i8"), ("n_rows", "i8")])
"""``pos`` is the start of the line to go on with, ``line_end`` the position after the newline of a line that was
not understood, ``line`` the lines done, ``n_rows`` the rows filled."""

_COMMA, _NEWLINE, _RETURN, _QUOTE, _POINT = 44, 10, 13, 34, 46
_MAX_EXACT = 1 << 53
_POW10 = 10.0 ** np.arange(23)


@kernel
def _digits(text: Any, p: int, value: Any) -> tuple[int, Any]:
    """Digits at `p` appended to `value`: position after them, value; -1 beyond 18 digits."""
    digit = np.int64(text[p]) - 48
    while 0 <= digit <= 9:
        if value > 99_999_999_999_999_999:
            return -1, 0
        value = value * 10 + digit
        p += 1
        digit = np.int64(text[p]) - 48
    return p, value


@kernel
def _decimal(text: Any, p: int) -> tuple[int, float]:
    """Number >= 0 at `p`: position after it, value.

    A whole number up to 2**53 divided by 10**k with k <= 22 is correctly rounded, because both are exact.
    """
    start = p
    p, mantissa = _digits(text, p, 0)
    if p < 0 or p == start:
        return -1, 0.0
    n_decimals = 0
    if text[p] == _POINT:
        start = p + 1
        p, mantissa = _digits(text, start, mantissa)
        n_decimals = p - start
    if p < 0 or mantissa > _MAX_EXACT or n_decimals > 22:
        return -1, 0.0
    return p, mantissa / _POW10[n_decimals]


@kernel
def _seconds(text: Any, p: int) -> tuple[int, int]:
    """Seconds with up to 9 decimals at `p`: position after them, nanoseconds."""
    start = p
    p, value = _digits(text, p, 0)
    if p < 0 or p == start or value > 9_000_000_000:
        return -1, 0
    n_decimals = 0
    if text[p] == _POINT:
        start = p + 1
        p, value = _digits(text, start, value)
        n_decimals = p - start
    if p < 0 or n_decimals > 9:
        return -1, 0
    for _ in range(9 - n_decimals):
        value *= 10
    return p, value


@kernel
def _word(text: Any, p: int, words: Any, first: int, end: int) -> tuple[int, int]:
    """Which of ``words[first:end]`` is the field at `p`: position after it, place among them."""
    for k in range(first, end):
        n = 0
        while words[k, n] != 0 and text[p + n] == words[k, n]:
            n += 1
        if words[k, n] == 0 and (text[p + n] == _COMMA or text[p + n] == _NEWLINE or text[p + n] == _RETURN):
            return p + n, k - first
    return -1, 0


@kernel
def _skip(text: Any, p: int) -> int:
    if text[p] == _QUOTE:
        return -1
    while text[p] != _COMMA and text[p] != _NEWLINE and text[p] != _RETURN:
        p += 1
    return p


@kernel
def _line(text: Any, p: int, columns: Any, words: Any, whole: Any, decimal: Any, row: int) -> int:
    """One line into row `row`: position after its newline, -1 if it is not understood."""
    n_columns = len(columns)
    for c in range(n_columns):
        kind = columns[c]["kind"]
        value: Any = np.int64(0)
        number = np.nan
        if kind == 0:
            p = _skip(text, p)
        elif kind == 1:
            start = p
            p, value = _digits(text, p, 0)
            p = -1 if p == start else p
        elif kind == 2:
            p, value = _seconds(text, p)
        elif kind == 5:
            p, value = _word(text, p, words, columns[c]["first_word"], columns[c]["end_word"])
        elif kind == 3 or (text[p] != _COMMA and text[p] != _NEWLINE and text[p] != _RETURN):
            p, number = _decimal(text, p)
        if p < 0:
            return -1
        whole[c, row] = value
        decimal[c, row] = number
        if c < n_columns - 1:
            if text[p] != _COMMA:
                return -1
            p += 1
    if text[p] == _RETURN:
        p += 1
    return p + 1 if text[p] == _NEWLINE else -1


@cached_kernel
def parse_lines(
    text: Any, columns: Any, words: Any, whole: Any, decimal: Any, lines: Any, cursor: Any
) -> int:
    """Turn lines into rows until the text ends, the rows are full or a line is not understood.

    Parameters
    ----------
    text : uint8 array of shape (n_bytes,)
        Whole lines.
    columns : COLUMN array of shape (n_columns,)
    words : uint8 array of shape (n_words, longest + 1)
        Each ends in a zero.
    whole : int64 array of shape (n_columns, n_capacity)
        Whole numbers, nanoseconds and places of words; 0 elsewhere.
    decimal : float64 array of shape (n_columns, n_capacity)
        Decimals; NaN for an optional one that is empty.
    lines : int64 array of shape (n_capacity,)
        Number of each row's line.
    cursor : CURSOR array of shape (1,)
        Updated.

    Returns
    -------
    int
        A `ParseStatus`.
    """
    at = cursor[0]
    p = at["pos"]
    while p < len(text):
        if at["n_rows"] == len(lines):
            at["pos"] = p
            return 1
        end = _line(text, p, columns, words, whole, decimal, at["n_rows"])
        if end < 0:
            at["pos"] = p
            while text[p] != _NEWLINE:
                p += 1
            at["line_end"] = p + 1
            return 2
        at["line"] += 1
        lines[at["n_rows"]] = at["line"]
        at["n_rows"] += 1
        p = end
    at["pos"] = p
    return 0
