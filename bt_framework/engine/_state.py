"""The arrays that hold all of a run's state, so that the loop can return at any time and be called again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import from_dtype, int64

from bt_framework.jit import kernel_class
from bt_framework.records import EQUITY, FILL, INTENT, ORDER, REFUSAL, SIGNAL

MAX_OPEN_ORDERS = 256
MAX_INTENTS = 128
MAX_SIGNALS_PER_WAKE = 64
LOG_ROWS = 16_384
LOG_HEADROOM = 3 * (MAX_OPEN_ORDERS + MAX_INTENTS + MAX_SIGNALS_PER_WAKE)
"""Rows that one step can add to a log at most; the loop returns before a log has fewer left.

A step calls up to three kernels, and an update adds up to three rows for an order.
"""

CLOCK = np.dtype(
    [
        ("now_ts", "i8"),
        ("start_ts", "i8"),
        ("end_ts", "i8"),
        ("timer_ns", "i8"),
        ("next_timer_ts", "i8"),
        ("equity_ns", "i8"),
        ("next_equity_ts", "i8"),
        ("book_ts", "i8"),
        ("started", "i8"),
        ("engine_code", "i8"),
        ("wakes", "i8"),
        ("next_order_id", "i8"),
        ("signal_id", "i8"),
        ("open_orders", "i8"),
        ("intents", "i8"),
        ("signals", "i8"),
        ("orders", "i8"),
        ("fills", "i8"),
        ("refusals", "i8"),
        ("equity", "i8"),
        ("fault_order_id", "i8"),
    ]
)
"""Time, counters and lengths of the logs."""

CONTRACT = np.dtype(
    [
        ("tick_size", "f8"),
        ("lot_size", "f8"),
        ("contract_size", "f8"),
        ("low_ticks", "i8"),
        ("high_ticks", "i8"),
        ("maker_value_frac", "f8"),
        ("taker_value_frac", "f8"),
        ("maker_per_qty", "f8"),
        ("taker_per_qty", "f8"),
        ("per_fill", "f8"),
    ]
)
"""What the loop must know of an instrument. Prices outside ``low_ticks .. high_ticks`` are not in the book."""

LEDGER = np.dtype(
    [
        ("position_qty", "f8"),
        ("cash", "f8"),
        ("fees", "f8"),
        ("average_px", "f8"),
        ("realised_pnl", "f8"),
        ("mark_px", "f8"),
        ("open_buy_qty", "f8"),
        ("open_sell_qty", "f8"),
        ("unit_qty", "f8"),
        ("filled_qty", "f8"),
    ]
)
"""Our own books of one instrument."""

OPEN_ORDER = np.dtype(
    [
        ("order_id", "i8"),
        ("signal_id", "i8"),
        ("asset", "i8"),
        ("side", "i8"),
        ("order_type", "i8"),
        ("time_in_force", "i8"),
        ("tag", "i8"),
        ("accepted", "i8"),
        ("request", "i8"),
        ("sent_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("leaves_qty", "f8"),
        ("new_px", "f8"),
        ("new_qty", "f8"),
    ]
)
"""An order that is not finished. ``request`` is the `IntentKind` under way, or 0."""


class LoopArrays(NamedTuple):
    """All arrays of a run; see the records for their columns. ``clock`` has one row, ``scratch`` three int64."""

    clock: np.ndarray
    contracts: np.ndarray
    ledger: np.ndarray
    open_orders: np.ndarray
    intents: np.ndarray
    signals: np.ndarray
    orders: np.ndarray
    fills: np.ndarray
    refusals: np.ndarray
    equity: np.ndarray
    scratch: np.ndarray


_ROW_TYPES = {
    "clock": CLOCK,
    "contracts": CONTRACT,
    "ledger": LEDGER,
    "open_orders": OPEN_ORDER,
    "intents": INTENT,
    "signals": SIGNAL,
    "orders": ORDER,
    "fills": FILL,
    "refusals": REFUSAL,
    "equity": EQUITY,
}


@kernel_class(
    [(name, from_dtype(dtype)[::1]) for name, dtype in _ROW_TYPES.items()] + [("scratch", int64[::1])]
)
class LoopState:
    """`LoopArrays` inside compiled code: one pointer instead of the eighty words that a tuple of arrays is."""

    def __init__(self, arrays):
        self.clock = arrays.clock
        self.contracts = arrays.contracts
        self.ledger = arrays.ledger
        self.open_orders = arrays.open_orders
        self.intents = arrays.intents
        self.signals = arrays.signals
        self.orders = arrays.orders
        self.fills = arrays.fills
        self.refusals = arrays.refusals
        self.equity = arrays.equity
        self.scratch = arrays.scratch


def allocate(contracts: np.ndarray, log_rows: int = LOG_ROWS) -> LoopArrays:
    """Return zeroed arrays for the instruments `contracts`; `log_rows` bounds memory, not results."""
    rows = max(log_rows, LOG_HEADROOM + 2 * len(contracts))
    return LoopArrays(
        clock=np.zeros(1, CLOCK),
        contracts=contracts,
        ledger=np.zeros(len(contracts), LEDGER),
        open_orders=np.zeros(MAX_OPEN_ORDERS, OPEN_ORDER),
        intents=np.zeros(MAX_INTENTS, INTENT),
        signals=np.zeros(rows, SIGNAL),
        orders=np.zeros(rows, ORDER),
        fills=np.zeros(rows, FILL),
        refusals=np.zeros(rows, REFUSAL),
        equity=np.zeros(rows, EQUITY),
        scratch=np.zeros(3, np.int64),
    )


def contracts_of(rows: Sequence[dict[str, float]]) -> np.ndarray:
    """Return a `CONTRACT` array of shape (n_instruments,) from one mapping of its fields each."""
    contracts = np.zeros(len(rows), CONTRACT)
    for index, row in enumerate(rows):
        for name, value in row.items():
            contracts[index][name] = value
    return contracts
