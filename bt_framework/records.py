"""The fixed records of the loop and of its logs.

Every field is eight bytes wide, so that no record has padding and equal rows are equal bytes. Times are
int64 ns UTC, prices in quote currency, quantities in base units. Enum members are stored as their numbers;
`bt_framework.results.schemas` turns them into words.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np

Rows: TypeAlias = Any
"""A structured array or a field of one. Type checkers know nothing of fields, and take long over guessing."""

EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)
"""hftbacktest's 64-byte feed event."""


class EventFlag(IntEnum):
    """Bits of ``ev`` above the kind."""

    EXCH = 1 << 31
    LOCAL = 1 << 30
    BUY = 1 << 29
    SELL = 1 << 28


class EventKind(IntEnum):
    """Low byte of ``ev``."""

    DEPTH = 1
    TRADE = 2
    DEPTH_CLEAR = 3
    DEPTH_SNAPSHOT = 4
    DEPTH_BBO = 5
    ADD_ORDER = 10
    CANCEL_ORDER = 11
    MODIFY_ORDER = 12
    FILL = 13


class Side(IntEnum):
    """Side of an order or fill; its sign is that of the position change."""

    BUY = 1
    SELL = -1


class OrderType(IntEnum):
    """Order types, numbered as the engine does."""

    LIMIT = 0
    MARKET = 1


class TimeInForce(IntEnum):
    """Time in force, numbered as the engine does. GTX is post-only."""

    GTC = 0
    GTX = 1
    FOK = 2
    IOC = 3


class IntentKind(IntEnum):
    """What a strategy asks for."""

    NEW = 1
    CANCEL = 2
    MODIFY = 3


class OrderEvent(IntEnum):
    """A step in the life of an order, one row of the orders table each."""

    SUBMITTED = 1
    ACCEPTED = 2
    PARTIALLY_FILLED = 3
    FILLED = 4
    CANCEL_REQUESTED = 5
    CANCELLED = 6
    MODIFY_REQUESTED = 7
    MODIFIED = 8
    EXPIRED = 9
    REJECTED = 10
    REQUEST_REJECTED = 11


class Tag(IntEnum):
    """Why an order was sent; the first four are numbered as the `SignalKind` that they follow.

    RISK orders are the risk engine's own: they flatten.
    """

    NONE = 0
    ENTRY = 1
    EXIT = 2
    STOP = 3
    FLATTEN = 4
    CHASE = 5
    QUOTE = 6
    RISK = 7


class SignalKind(IntEnum):
    """What a strategy's signal asks for. REFUSED asks for nothing: there are no estimates to enter on."""

    ENTER = 1
    EXIT = 2
    STOP = 3
    FLATTEN = 4
    QUOTE = 5
    REFUSED = 6


class RefusalReason(IntEnum):
    """Why an intent was not sent. `RULE` and `HALTED` refusals name the rule in the row's ``rule``."""

    RULE = 1
    OFF_TICK = 2
    OFF_LOT = 3
    NOT_POSITIVE_QTY = 4
    OUTSIDE_PRICE_RANGE = 5
    UNKNOWN_ORDER = 6
    REQUEST_IN_FLIGHT = 7
    TOO_MANY_ORDERS = 8
    UNKNOWN_KIND = 9
    NO_MARKET = 10
    QTY_NOT_MODIFIABLE = 11
    HALTED = 12
    UNKNOWN_ASSET = 13
    NOT_MODIFIABLE = 14


class RiskAction(IntEnum):
    """What happens when a risk rule is breached."""

    REFUSE = 0
    CANCEL_ALL = 1
    FLATTEN_AND_HALT = 2
    HALT_FOR_DAY = 3


class RiskEvent(IntEnum):
    """A row of the risk events."""

    BREACH = 1
    RESUME = 2
    FLAT = 3


class Direction(IntEnum):
    """Of a trade; its sign is that of the position."""

    LONG = 1
    SHORT = -1


class OrderStatus(IntEnum):
    """Where an order's life has led to. PENDING orders have no answer yet."""

    PENDING = 1
    WORKING = 2
    FILLED = 3
    CANCELLED = 4
    EXPIRED = 5
    REJECTED = 6


INTENT = np.dtype(
    [
        ("kind", "i8"),
        ("asset", "i8"),
        ("side", "i8"),
        ("order_type", "i8"),
        ("time_in_force", "i8"),
        ("order_id", "i8"),
        ("signal_id", "i8"),
        ("tag", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
    ]
)
"""A request of a strategy, before risk."""

ORDER = np.dtype(
    [
        ("local_ts", "i8"),
        ("exch_ts", "i8"),
        ("order_id", "i8"),
        ("signal_id", "i8"),
        ("asset", "i8"),
        ("event", "i8"),
        ("side", "i8"),
        ("order_type", "i8"),
        ("time_in_force", "i8"),
        ("tag", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("leaves_qty", "f8"),
        ("queue_ahead_qty", "f8"),
    ]
)
"""One step in the life of an order. ``exch_ts`` is 0 where the exchange has not seen it.

``queue_ahead_qty`` is, on ACCEPTED and MODIFIED rows of resting orders, what our book shows at the order's price when
the answer arrives: the estimated queue in front of it. NaN on other rows.
"""

FILL = np.dtype(
    [
        ("local_ts", "i8"),
        ("exch_ts", "i8"),
        ("order_id", "i8"),
        ("signal_id", "i8"),
        ("asset", "i8"),
        ("side", "i8"),
        ("tag", "i8"),
        ("maker", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("slippage_bps", "f8"),
        ("fee", "f8"),
        ("position_qty", "f8"),
        ("realised_pnl", "f8"),
    ]
)
"""An execution. ``px`` is what was paid: the engine's price, made worse by ``slippage_bps`` of a slippage model.

``position_qty`` is after it; ``realised_pnl`` is what it realised, by average cost, before fees.
"""

REFUSAL = np.dtype(
    [
        ("local_ts", "i8"),
        ("asset", "i8"),
        ("order_id", "i8"),
        ("signal_id", "i8"),
        ("kind", "i8"),
        ("side", "i8"),
        ("tag", "i8"),
        ("reason", "i8"),
        ("rule", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("value", "f8"),
        ("limit", "f8"),
    ]
)
"""An intent that risk (``rule`` = place in the chain) or the broker (``rule`` = -1) refused.

``value`` and ``limit`` are what the rule measured and allows; NaN for the broker.
"""

RISK_EVENT = np.dtype(
    [
        ("local_ts", "i8"),
        ("rule", "i8"),
        ("event", "i8"),
        ("action", "i8"),
        ("until_ts", "i8"),
        ("value", "f8"),
        ("limit", "f8"),
    ]
)
"""A circuit breaker at work: ``rule`` = place in the chain, ``until_ts`` = when trading may resume, else 0."""

SIGNAL = np.dtype(
    [
        ("local_ts", "i8"),
        ("signal_id", "i8"),
        ("kind", "i8"),
        ("direction", "i8"),
        ("z", "f8"),
        ("spread", "f8"),
        ("hedge_ratio", "f8"),
        ("half_life_s", "f8"),
    ]
)
"""A decision of a strategy. Orders carry its ``signal_id``; what a strategy has no notion of is NaN."""

EQUITY = np.dtype(
    [
        ("local_ts", "i8"),
        ("asset", "i8"),
        ("mid_px", "f8"),
        ("position_qty", "f8"),
        ("cash", "f8"),
        ("fees", "f8"),
        ("equity", "f8"),
    ]
)
"""Per sample and asset: cash + position_qty x mid_px x contract size - fees = equity (change since the start)."""

TRADE = np.dtype(
    [
        ("entry_ts", "i8"),
        ("exit_ts", "i8"),
        ("asset", "i8"),
        ("direction", "i8"),
        ("open", "i8"),
        ("entry_order_id", "i8"),
        ("exit_order_id", "i8"),
        ("entry_signal_id", "i8"),
        ("exit_signal_id", "i8"),
        ("entry_tag", "i8"),
        ("exit_tag", "i8"),
        ("entry_maker", "i8"),
        ("exit_maker", "i8"),
        ("qty", "f8"),
        ("entry_px", "f8"),
        ("exit_px", "f8"),
        ("gross_pnl", "f8"),
        ("fees", "f8"),
        ("net_pnl", "f8"),
        ("slippage", "f8"),
        ("mae", "f8"),
        ("mfe", "f8"),
        ("duration_ns", "i8"),
    ]
)
"""A round trip: a quantity that was opened by one fill and closed by another; see `bt_framework.results.trades`.

``open`` is 1 for what no fill has closed: its exit is the last sample's mid.
"""

ORDER_LIFE = np.dtype(
    [
        ("order_id", "i8"),
        ("signal_id", "i8"),
        ("asset", "i8"),
        ("side", "i8"),
        ("order_type", "i8"),
        ("time_in_force", "i8"),
        ("tag", "i8"),
        ("status", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("last_px", "f8"),
        ("last_qty", "f8"),
        ("modifications", "i8"),
        ("refused_requests", "i8"),
        ("created_ts", "i8"),
        ("sent_ts", "i8"),
        ("accepted_exch_ts", "i8"),
        ("accepted_local_ts", "i8"),
        ("queue_ahead_qty", "f8"),
        ("first_fill_exch_ts", "i8"),
        ("first_fill_local_ts", "i8"),
        ("last_fill_exch_ts", "i8"),
        ("last_fill_local_ts", "i8"),
        ("cancel_requested_ts", "i8"),
        ("ended_exch_ts", "i8"),
        ("ended_local_ts", "i8"),
        ("fills", "i8"),
        ("filled_qty", "f8"),
        ("average_px", "f8"),
        ("maker_share", "f8"),
        ("fees", "f8"),
    ]
)
"""All steps of one order. A time is 0 where the step was not taken."""

ATTRIBUTION = np.dtype(
    [
        ("key", "i8"),
        ("trades", "i8"),
        ("realised_pnl", "f8"),
        ("unrealised_pnl", "f8"),
        ("fees", "f8"),
        ("slippage", "f8"),
        ("net_pnl", "f8"),
    ]
)
"""What one tag, signal, instrument, or side of the market has earned."""


def record(dtype: np.dtype, **values: object) -> np.record:
    """One writable record of `dtype`, zero but for `values`; kernels read it as ``p.name`` with and without JIT."""
    array = np.zeros(1, dtype)
    for name, value in values.items():
        array[name] = value
    return array.view(np.recarray)[0]  # type: ignore[no-any-return]
