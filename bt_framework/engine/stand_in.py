"""A market for tests of kernels: the methods of `MarketView` over an array of quotes, without an engine."""

from __future__ import annotations

import math

import numpy as np
from numba import from_dtype

from bt_framework.engine._state import CLOCK
from bt_framework.jit import kernel_class

QUOTE = np.dtype(
    [
        ("tick_size", "f8"),
        ("lot_size", "f8"),
        ("contract_size", "f8"),
        ("inverse", "i8"),
        ("bid_px", "f8"),
        ("ask_px", "f8"),
        ("bid_qty", "f8"),
        ("ask_qty", "f8"),
        ("update_ts", "i8"),
    ]
)
"""One level a side; NaN for a side that is missing."""


@kernel_class([("_clock", from_dtype(CLOCK)[::1]), ("_quotes", from_dtype(QUOTE)[::1])])
class MarketStandIn:
    """A market of one level a side, with the methods of `bt_framework.engine.view.MarketView`."""

    def __init__(self, clock, quotes):
        self._clock = clock
        self._quotes = quotes

    def count(self):
        """Number of instruments."""
        return self._quotes.size

    def now_ts(self):
        """Simulated local time."""
        return self._clock[0].now_ts

    def end_ts(self):
        """When the run ends."""
        return self._clock[0].end_ts

    def is_due(self, interval_ns):
        """Whether a timer that fires every `interval_ns` from the start on fires now."""
        since = self._clock[0].now_ts - self._clock[0].start_ts
        return since > 0 and since % interval_ns == 0

    def update_ts(self, asset):
        """When the book was last updated, local time; 0 before the first update."""
        return self._quotes[asset].update_ts

    def tick_size(self, asset):
        """Price step."""
        return self._quotes[asset].tick_size

    def lot_size(self, asset):
        """Quantity step."""
        return self._quotes[asset].lot_size

    def contract_size(self, asset):
        """Base units per contract."""
        return self._quotes[asset].contract_size

    def is_inverse(self, asset):
        """Whether the contract pays in its base."""
        return self._quotes[asset].inverse != 0

    def notional(self, asset, px, qty):
        """Value of `qty` at `px`, quote currency."""
        row = self._quotes[asset]
        return qty * row.contract_size * (1.0 if row.inverse != 0 else px)

    def bid_level_px(self, asset, level):
        """Price of a bid level; there is only the best."""
        return self._quotes[asset].bid_px if level == 0 else math.nan

    def ask_level_px(self, asset, level):
        """Price of an ask level; there is only the best."""
        return self._quotes[asset].ask_px if level == 0 else math.nan

    def best_bid_px(self, asset):
        """Best bid, or NaN."""
        return self._quotes[asset].bid_px

    def best_ask_px(self, asset):
        """Best ask, or NaN."""
        return self._quotes[asset].ask_px

    def best_bid_qty(self, asset):
        """Quantity at the best bid, or NaN."""
        return self._quotes[asset].bid_qty

    def best_ask_qty(self, asset):
        """Quantity at the best ask, or NaN."""
        return self._quotes[asset].ask_qty

    def bid_qty_at(self, asset, px):
        """Quantity bid at `px`."""
        row = self._quotes[asset]
        return row.bid_qty if abs(px - row.bid_px) < 0.5 * row.tick_size else 0.0

    def ask_qty_at(self, asset, px):
        """Quantity offered at `px`."""
        row = self._quotes[asset]
        return row.ask_qty if abs(px - row.ask_px) < 0.5 * row.tick_size else 0.0

    def mid_px(self, asset):
        """Mean of best bid and ask, or NaN."""
        return (self._quotes[asset].bid_px + self._quotes[asset].ask_px) / 2

    def micro_px(self, asset):
        """Microprice: best bid and ask weighted by the opposite quantity, or NaN."""
        row = self._quotes[asset]
        return (row.bid_px * row.ask_qty + row.ask_px * row.bid_qty) / (row.bid_qty + row.ask_qty)
