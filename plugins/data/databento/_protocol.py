"""What the kernels and the reader must agree on."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

UNDEFINED_PX = 2**63 - 1
UNDEFINED_SIZE = 2**32 - 1
PX_UNITS = 1e9
"""Prices are whole 1e-9 of the quote currency: divided by this, they are the nearest double."""

MAX_PHASES = 1_000


class Status(IntEnum):
    """Why a replay returned."""

    DONE = 0
    PHASE_ENDED = 1


class Drop(IntEnum):
    """Why a record became no event: index into the drops."""

    CLOSED = 0
    UNKNOWN_CANCEL = 1
    UNKNOWN_FILL = 2
    FILL = 3
    NO_PX = 4
    NO_SIZE = 5
    NO_SIDE = 6
    UNKNOWN_ACTION = 7
    UNCHANGED = 8


DROP_REASONS = (
    "closed phase",
    "cancel of an unknown order",
    "fill of an unknown order",
    "fill, told by its trade",
    "undefined price",
    "undefined or zero size",
    "order without a side",
    "unknown action",
    "order that did not change",
)


class Evidence(IntEnum):
    """What a probe has met first: a crossed book says that the data begin in a closed phase, a trade not."""

    NONE = 0
    CROSSED = 1
    TRADED = 2


class Flag(IntEnum):
    """Bits of a record's flags."""

    LAST = 128
    SNAPSHOT = 32
    MAYBE_BAD_BOOK = 4


DROP = np.dtype([("count", "i8"), ("first", "i8")])
"""Records dropped, by `Drop`, and the number of the first in its file."""

ORDER = np.dtype(
    [("order_id", "i8"), ("side", "i8"), ("px", "i8"), ("qty", "i8"), ("rank", "i8"), ("mark", "i8")]
)
"""A slot of the open-addressing table of live orders.

``side`` is 1 for bids, -1 for asks, 0 for an empty slot; ``px`` in 1e-9; ``rank`` orders by priority;
``mark`` is the last snapshot that had the order.
"""

LEVEL = np.dtype([("key", "i8"), ("qty", "i8"), ("told_qty", "i8")])
"""A price level. ``key`` is the price of bids and minus that of asks; ``told_qty`` is what events have said."""

STATE = np.dtype(
    [
        ("pos", "i8"),
        ("n_rows", "i8"),
        ("packet_row", "i8"),
        ("packet_records", "i8"),
        ("packet_dropped", "i8"),
        ("packet_first", "i8"),
        ("packet_trades", "i8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("raised", "i8"),
        ("orders", "i8"),
        ("withhold", "i8"),
        ("in_snapshot", "i8"),
        ("snapshots", "i8"),
        ("closed", "i8"),
        ("traded", "i8"),
        ("evidence", "i8"),
        ("n_phases", "i8"),
        ("n_orders", "i8"),
        ("n_bids", "i8"),
        ("n_asks", "i8"),
        ("n_touched", "i8"),
        ("all_touched", "i8"),
        ("last_rank", "i8"),
        ("bad_book", "i8"),
        ("gaps", "i8"),
        ("trades_without_side", "i8"),
        ("rows_total", "i8"),
    ]
)
"""Where a replay is and what it has counted.

A packet is what the venue did at once: rows from ``packet_row`` on are its own and can still be taken back.
``exch_ts`` and ``local_ts`` never fall; ``raised`` counts records whose exchange time was raised for that.
``orders`` is 1 if order events are written and 0 for depth. ``closed`` is 1 in a closed phase, ``traded`` if
it has had a trade. ``touched`` lists changed levels, unless ``all_touched``. ``gaps`` counts stretches that
the source marks as possibly incomplete, ``bad_book`` is 1 inside one.
"""
