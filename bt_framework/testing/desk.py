"""What kernels are given, without an engine: quotes, positions and working orders as a test sets them.

`Desk.market` has the methods of `bt_framework.engine.view.MarketView` over an array of quotes; account and intents
are the real ones, which need no engine. All work in compiled form and, with ``NUMBA_DISABLE_JIT=1``, in plain form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bt_framework.engine._state import (
    CLOCK,
    LEDGER,
    MAX_INTENTS,
    MAX_OPEN_ORDERS,
    OPEN_ORDER,
    contracts_of,
)
from bt_framework.engine.stand_in import QUOTE, MarketStandIn
from bt_framework.engine.view import AccountView, Intents
from bt_framework.jit import PlainForms
from bt_framework.records import INTENT, SIGNAL, OrderType, TimeInForce
from bt_framework.results.run import Instrument
from bt_framework.testing.feeds import START_TS

_SIGNAL_ROWS = 4_096


class Desk:
    """Market, account and intents of a test.

    Parameters
    ----------
    instruments : sequence of Instrument
        In the order that kernels see them.
    end_s : float
        When the run ends, seconds after its start.
    capital : float
        At the start, settlement currency.
    plain : bool
        Whether the three are plain Python, as strategies in plain Python are given them.

    Attributes
    ----------
    market, account, out
        For kernels.
    quotes, ledger, open_orders : record arrays
        What they read: of `QUOTE` and LEDGER per instrument, and the working orders.

    Examples
    --------
    >>> desk = Desk([Instrument("TEST", 0.5, 0.01)])
    >>> desk.quote(0, bid_px=99.5, ask_px=100.5)
    >>> float(desk.quotes[0]["bid_px"])
    99.5
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        end_s: float = 3_600.0,
        capital: float = 100_000.0,
        *,
        plain: bool = False,
    ) -> None:
        rows = [
            {
                "tick_size": i.tick_size,
                "lot_size": i.lot_size,
                "contract_size": i.contract_size,
                "inverse": i.inverse,
            }
            for i in instruments
        ]
        self.clock = np.zeros(1, CLOCK)
        self.clock[0]["next_order_id"] = 1
        self.clock[0]["start_ts"] = self.clock[0]["now_ts"] = START_TS
        self.clock[0]["end_ts"] = START_TS + round(end_s * 1e9)
        self.clock[0]["capital"] = capital
        self.quotes = np.zeros(len(rows), QUOTE)
        for quote, row in zip(self.quotes, rows, strict=True):
            for name, value in row.items():
                quote[name] = value
            for name in ("bid_px", "ask_px", "bid_qty", "ask_qty"):
                quote[name] = math.nan
        self.ledger = np.zeros(len(rows), LEDGER)
        self.open_orders = np.zeros(MAX_OPEN_ORDERS, OPEN_ORDER)
        self._intents = np.zeros(MAX_INTENTS, INTENT)
        self._signals = np.zeros(_SIGNAL_ROWS, SIGNAL)
        arrays = [self.clock, contracts_of(rows), self.ledger, self.open_orders, self.quotes]
        arrays += [self._intents, self._signals]
        # Outside of compiled code, ``row.name`` needs record arrays.
        is_compiled = hasattr(MarketStandIn, "class_type") and not plain
        self._views = [a if is_compiled else a.view(np.recarray) for a in arrays]
        forms = PlainForms()
        market, account, out = (
            forms.class_of(c) if plain and hasattr(c, "class_type") else c
            for c in (MarketStandIn, AccountView, Intents)
        )
        clock, contracts, ledger, open_orders, quotes, intents, signals = self._views
        self.market = market(clock, quotes)
        self.account = account(clock, contracts, ledger, open_orders)
        self.out = out(clock, intents, signals)

    def quote(
        self, asset: int, *, bid_px: float, ask_px: float, bid_qty: float = 1.0, ask_qty: float = 1.0
    ) -> None:
        """Set an instrument's market, as of now; NaN takes a side away."""
        row = self.quotes[asset]
        row["bid_px"], row["ask_px"], row["bid_qty"], row["ask_qty"] = bid_px, ask_px, bid_qty, ask_qty
        row["update_ts"] = self.clock[0]["now_ts"]

    def hold(self, asset: int, position_qty: float, *, unit_qty: float = 1.0) -> None:
        """Set an instrument's position and what the sizing rule gives to one unit."""
        self.ledger[asset]["position_qty"], self.ledger[asset]["unit_qty"] = position_qty, unit_qty

    def work(self, asset: int, side: int, px: float, qty: float, **values: int) -> int:
        """Add a working order, with `values` of OPEN_ORDER set; returns its id."""
        count = int(self.clock[0]["open_orders"])
        row = self.open_orders[count]
        row["order_id"] = self.clock[0]["next_order_id"]
        row["asset"], row["side"], row["px"], row["qty"], row["leaves_qty"] = asset, side, px, qty, qty
        row["order_type"], row["time_in_force"], row["accepted"] = OrderType.LIMIT, TimeInForce.GTX, 1
        for name, value in values.items():
            row[name] = value
        self.clock[0]["open_orders"] = count + 1
        self.clock[0]["next_order_id"] += 1
        self.ledger[asset]["open_buy_qty" if side > 0 else "open_sell_qty"] += qty
        return int(row["order_id"])

    def forget_orders(self) -> None:
        """Take all working orders away."""
        self.clock[0]["open_orders"] = 0
        self.ledger["open_buy_qty"] = self.ledger["open_sell_qty"] = 0.0

    def at(self, seconds: float) -> None:
        """Set the time, seconds after the start."""
        self.clock[0]["now_ts"] = self.clock[0]["start_ts"] + round(seconds * 1e9)

    def begin(self) -> None:
        """Begin a wake-up: no intents, no signals."""
        self.clock[0]["intents"] = self.clock[0]["signals"] = 0

    @property
    def intents(self) -> np.ndarray[Any, Any]:
        """What has been asked for since `begin`, an INTENT array."""
        return self._intents[: int(self.clock[0]["intents"])]

    @property
    def signals(self) -> np.ndarray[Any, Any]:
        """What has been signalled since `begin`, a SIGNAL array."""
        return self._signals[: int(self.clock[0]["signals"])]

    def snapshot(self) -> Mapping[str, Any]:
        """Content of all that a kernel may only read."""
        read_only = {"quotes": self.quotes, "ledger": self.ledger, "open_orders": self.open_orders}
        own = [n for n in CLOCK.names or () if n not in ("intents", "signals", "next_order_id", "signal_id")]
        return {**{k: v.tobytes() for k, v in read_only.items()}, "clock": self.clock[own].tolist()}
