"""What the parser, the book and the reader must agree on."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Slot(IntEnum):
    """What a column of a file holds."""

    UNUSED = 0
    TIME = 1
    BID = 2
    BID_SIZE = 3
    ASK = 4
    ASK_SIZE = 5
    PRICE = 6
    SIZE = 7
    EXCHANGE = 8
    CONDITION = 9
    SUSPICIOUS = 10


COLUMNS = {slot.name.lower(): slot for slot in list(Slot)[Slot.TIME : Slot.EXCHANGE + 1]}
"""The columns that a configuration may name."""


class Has(IntEnum):
    """Bits of a row's ``has``: what it says something of."""

    BID = 1
    ASK = 2
    TRADE = 4


ROW = np.dtype(
    [
        ("ts", "i8"),
        ("file", "i8"),
        ("line", "i8"),
        ("has", "i8"),
        ("venue", "i8"),
        ("condition", "i8"),
        ("suspicious", "i8"),
        ("bid_px", "f8"),
        ("bid_qty", "f8"),
        ("ask_px", "f8"),
        ("ask_qty", "f8"),
        ("px", "f8"),
        ("qty", "f8"),
    ]
)
"""A line of a file. ``ts`` is int64 ns UTC; ``venue`` is the exchange's letters as one number, 0 where there are none.

A quantity is NaN where the line has none. A side whose price or quantity is 0 is withdrawn.
"""


class Problem(IntEnum):
    """Why a line cannot be read."""

    NONE = 0
    COLUMNS = 1
    TIME = 2
    NUMBER = 3
    EXCHANGE = 4
    CONDITION = 5


class Reason(IntEnum):
    """Why a row that can be read becomes no event."""

    UNCHANGED = 0
    EMPTY = 1
    SUSPICIOUS = 2
    CONDITION = 3
    NO_QTY = 4
    BACKWARDS = 5


REASON_TEXTS = {
    Reason.UNCHANGED: "unchanged best",
    Reason.EMPTY: "neither quote nor trade",
    Reason.SUSPICIOUS: "suspicious",
    Reason.CONDITION: "sale condition",
    Reason.NO_QTY: "trade without price or quantity",
    Reason.BACKWARDS: "time before an earlier row's",
}
