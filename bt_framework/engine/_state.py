"""The arrays that hold all of a run's state, so that the loop can return at any time and be called again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import float64, from_dtype, int64

from bt_framework.jit import kernel_class
from bt_framework.records import EQUITY, FILL, INTENT, ORDER, REFUSAL, RISK_EVENT, SIGNAL
from bt_framework.results.run import LOGS

MAX_OPEN_ORDERS = 256
MAX_INTENTS = 128
MAX_SIGNALS_PER_WAKE = 64
LOG_ROWS = 16_384
MAX_SWEPT_LEVELS = 128
"""Price levels that one order may be filled at in one go."""
LOG_HEADROOM = 3 * (MAX_OPEN_ORDERS + MAX_INTENTS + MAX_SIGNALS_PER_WAKE + 2 * MAX_SWEPT_LEVELS)
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
        ("risk_events", "i8"),
        ("equity", "i8"),
        ("booked_fills", "i8"),
        ("fault_order_id", "i8"),
        ("seen_levels", "i8"),
        ("losing_exits", "i8"),
        ("refused_value", "f8"),
        ("refused_limit", "f8"),
        ("capital", "f8"),
        ("cancel_below_id", "i8"),
        ("flattening", "i8"),
        ("flatten_rule", "i8"),
        ("volume_day", "i8"),
    ]
)
"""Time, counters, lengths of the logs, and what concerns the whole account.

Fills below ``booked_fills`` are in the ledger. ``seen_levels`` is how many levels of a book are shown, 0 for all.
``losing_exits`` counts exits at a loss since the last one at a profit. Working orders with an id below
``cancel_below_id`` are to be cancelled, and ``flattening`` is 1 until all positions are closed, because rule
``flatten_rule`` says so. ``volume_day`` is the UTC day that was last traded on, in days since 1970.
"""

CONTRACT = np.dtype(
    [
        ("tick_size", "f8"),
        ("lot_size", "f8"),
        ("contract_size", "f8"),
        ("low_ticks", "i8"),
        ("high_ticks", "i8"),
        ("inverse", "i8"),
        ("sweeps", "i8"),
        ("maker_per_qty", "f8"),
        ("taker_per_qty", "f8"),
        ("per_fill", "f8"),
        ("slack_qty", "f8"),
    ]
)
"""What the loop must know of an instrument. Prices outside ``low_ticks .. high_ticks`` are not in the book.

``sweeps`` is 1 if the exchange fills one order at several prices, ``slack_qty`` what orders are sent short of, see
`bt_framework.engine._sweep`.
"""

TIER = np.dtype([("min_volume", "f8"), ("maker_value_frac", "f8"), ("taker_value_frac", "f8")])
"""Fees from a traded volume on, quote currency, as fractions of the value."""

CONTROL = np.dtype(
    [
        ("action", "i8"),
        ("resume_after_ns", "i8"),
        ("active", "i8"),
        ("until_ts", "i8"),
        ("value", "f8"),
        ("limit", "f8"),
        ("day", "i8"),
        ("day_next_ts", "i8"),
        ("day_start_ts", "i8"),
        ("day_end_ts", "i8"),
        ("utc_offset_ns", "i8"),
    ]
)
"""A risk rule's circuit breaker and calendar.

`RiskAction`, whether it is active, and until when (0: not by time). ``value`` and ``limit`` are what the rule measured
and allowed when it last refused or was breached. ``day`` is the place of the local day in the rule's CALENDAR_DAY rows,
``day_next_ts`` when the next row begins.
"""

CALENDAR_DAY = np.dtype([("from_ts", "i8"), ("day_start_ts", "i8"), ("utc_offset_ns", "i8")])
"""From `from_ts` on, the local day that began at `day_start_ts`, and the local clock's offset."""

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
        ("engine_qty", "f8"),
        ("trip_pnl", "f8"),
        ("exits", "i8"),
        ("last_exit_ts", "i8"),
        ("last_exit_pnl", "f8"),
        ("closed_ts", "i8"),
    ]
)
"""Our own books of one instrument. Amounts are in settlement currency.

``trip_pnl`` is what the open position has realised so far, fees of all its fills included; an exit is a fill that
closes or reverses a position. ``engine_qty`` is the position as the engine books it: the last fill of each finished
order. ``closed_ts`` is when the risk engine last sent an order to close the position.
"""

EXCH_FEED = np.dtype(
    [
        ("address", "i8"),
        ("rows", "i8"),
        ("next_row", "i8"),
        ("first_level", "i8"),
        ("best_bid_ticks", "i8"),
        ("best_ask_ticks", "i8"),
        ("low_bid_ticks", "i8"),
        ("high_ask_ticks", "i8"),
    ]
)
"""An instrument's mapped events, how far its exchange's book has been followed, where that book begins, its touch.

Of an empty side, the touch is one tick beyond the far end of the book's range, the furthest level beyond the near end.
"""

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
    """All arrays of a run; see the records for their columns.

    ``clock`` has one row, ``scratch`` three int64. ``tiers`` has the shape (n_instruments, n_tiers), ``volume`` is the
    value traded on each of the last days, a ring. ``exch_*`` are the exchange's own books, see
    `bt_framework.engine._sweep`.
    """

    clock: np.ndarray
    contracts: np.ndarray
    ledger: np.ndarray
    open_orders: np.ndarray
    intents: np.ndarray
    signals: np.ndarray
    orders: np.ndarray
    fills: np.ndarray
    refusals: np.ndarray
    risk_events: np.ndarray
    equity: np.ndarray
    controls: np.ndarray
    exch_feeds: np.ndarray
    tiers: np.ndarray
    volume: np.ndarray
    exch_qty: np.ndarray
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
    "risk_events": RISK_EVENT,
    "equity": EQUITY,
    "controls": CONTROL,
    "exch_feeds": EXCH_FEED,
}


@kernel_class(
    [(name, from_dtype(dtype)[::1]) for name, dtype in _ROW_TYPES.items()]
    + [
        ("tiers", from_dtype(TIER)[:, ::1]),
        ("volume", float64[::1]),
        ("exch_qty", float64[::1]),
        ("scratch", int64[::1]),
    ]
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
        self.risk_events = arrays.risk_events
        self.equity = arrays.equity
        self.controls = arrays.controls
        self.exch_feeds = arrays.exch_feeds
        self.tiers = arrays.tiers
        self.volume = arrays.volume
        self.exch_qty = arrays.exch_qty
        self.scratch = arrays.scratch


@dataclass(frozen=True)
class Sizes:
    """Lengths of the arrays that depend on the composition.

    Attributes
    ----------
    log_rows : int
        Rows of each log; bounds memory, not results.
    rules : int
        Risk rules.
    volume_days : int
        Days over which the traded volume is summed.
    exch_levels : int
        Price levels of all exchange books together.
    """

    log_rows: int = LOG_ROWS
    rules: int = 0
    volume_days: int = 1
    exch_levels: int = 0


def allocate(contracts: np.ndarray, tiers: np.ndarray, sizes: Sizes) -> LoopArrays:
    """Return zeroed arrays for the instruments `contracts` with the fees `tiers`."""
    rows = max(sizes.log_rows, LOG_HEADROOM + 2 * len(contracts))
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
        risk_events=np.zeros(rows, RISK_EVENT),
        equity=np.zeros(rows, EQUITY),
        controls=np.zeros(sizes.rules, CONTROL),
        exch_feeds=np.zeros(len(contracts), EXCH_FEED),
        tiers=tiers,
        volume=np.zeros(sizes.volume_days),
        exch_qty=np.zeros(sizes.exch_levels),
        scratch=np.zeros(3, np.int64),
    )


def log_row_bytes() -> int:
    """Return what one row of every log takes."""
    return sum(_ROW_TYPES[name].itemsize for name in LOGS)


def contracts_of(rows: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Return a `CONTRACT` array of shape (n_instruments,) from one mapping of its fields each."""
    contracts = np.zeros(len(rows), CONTRACT)
    for index, row in enumerate(rows):
        for name, value in row.items():
            contracts[index][name] = value
    return contracts
