"""What kernels see: the market and the account, read-only, and the intents that they may write.

The three are numba jitclasses; ``market``, ``account`` and ``out`` in every kernel signature. `bt_framework.testing`
has stand-ins with the same methods that need no engine.
"""

from __future__ import annotations

import math

from numba import boolean, from_dtype, int64

from bt_framework.engine._ledger import equity_at
from bt_framework.engine._levels import NO_ASK, NO_BID, level_ticks, shown_qty
from bt_framework.engine._native import ask_qty, best_ask_ticks, best_bid_ticks, bid_qty, feed_latency
from bt_framework.engine._state import CLOCK, CONTRACT, LEDGER, MAX_SIGNALS_PER_WAKE, OPEN_ORDER
from bt_framework.jit import kernel_class
from bt_framework.records import INTENT, SIGNAL

_NEW, _CANCEL, _MODIFY = 1, 2, 3
_LIMIT, _MARKET = 0, 1
_GTX, _IOC = 1, 3


@kernel_class(
    [
        ("_is_roi", boolean),
        ("_depths", int64[::1]),
        ("_clock", from_dtype(CLOCK)[::1]),
        ("_contracts", from_dtype(CONTRACT)[::1]),
        ("_engine", int64),
        ("_times", int64[::1]),
    ]
)
class MarketView:
    """The local market: order books as they have reached us, and the time.

    Prices are in quote currency, quantities in base units, times in ns UTC. A missing side of a book is NaN.
    """

    def __init__(self, is_roi, depths, clock, contracts, engine, times):
        self._is_roi = is_roi
        self._depths = depths
        self._clock = clock
        self._contracts = contracts
        self._engine = engine
        self._times = times

    def count(self):
        """Number of instruments."""
        return self._contracts.size

    def now_ts(self):
        """Simulated local time."""
        return self._clock[0].now_ts

    def end_ts(self):
        """When the run ends."""
        return self._clock[0].end_ts

    def is_due(self, interval_ns):
        """Whether a timer that fires every `interval_ns` from the start of the run on fires now."""
        since = self._clock[0].now_ts - self._clock[0].start_ts
        return since > 0 and since % interval_ns == 0

    def update_ts(self, asset):
        """When the book was last updated, local time; 0 before the first update."""
        times = self._times.ctypes.data
        if feed_latency(self._engine, self._is_roi, asset, times, times + 8) == 0:
            return 0
        return self._times[1]

    def tick_size(self, asset):
        """Price step."""
        return self._contracts[asset].tick_size

    def lot_size(self, asset):
        """Quantity step."""
        return self._contracts[asset].lot_size

    def contract_size(self, asset):
        """Base units per contract."""
        return self._contracts[asset].contract_size

    def is_inverse(self, asset):
        """Whether the contract pays in its base."""
        return self._contracts[asset].inverse != 0

    def notional(self, asset, px, qty):
        """Value of `qty` at `px`, quote currency."""
        contract = self._contracts[asset]
        return qty * contract.contract_size * (1.0 if contract.inverse != 0 else px)

    def best_bid_px(self, asset):
        """Best bid, or NaN."""
        ticks = best_bid_ticks(self._depths[asset], self._is_roi)
        return math.nan if ticks == NO_BID else ticks * self._contracts[asset].tick_size

    def best_ask_px(self, asset):
        """Best ask, or NaN."""
        ticks = best_ask_ticks(self._depths[asset], self._is_roi)
        return math.nan if ticks == NO_ASK else ticks * self._contracts[asset].tick_size

    def best_bid_qty(self, asset):
        """Quantity at the best bid, or NaN."""
        ticks = best_bid_ticks(self._depths[asset], self._is_roi)
        return math.nan if ticks == NO_BID else bid_qty(self._depths[asset], self._is_roi, ticks)

    def best_ask_qty(self, asset):
        """Quantity at the best ask, or NaN."""
        ticks = best_ask_ticks(self._depths[asset], self._is_roi)
        return math.nan if ticks == NO_ASK else ask_qty(self._depths[asset], self._is_roi, ticks)

    def bid_qty_at(self, asset, px):
        """Quantity bid at `px`; 0 beyond the levels that are shown."""
        ticks = int64(round(px / self._contracts[asset].tick_size))
        return shown_qty(self._depths[asset], self._is_roi, self._clock[0].seen_levels, 1, ticks)

    def ask_qty_at(self, asset, px):
        """Quantity offered at `px`; 0 beyond the levels that are shown."""
        ticks = int64(round(px / self._contracts[asset].tick_size))
        return shown_qty(self._depths[asset], self._is_roi, self._clock[0].seen_levels, -1, ticks)

    def bid_level_px(self, asset, level):
        """Price of the bid `level` steps of liquidity below the best, which is 0; NaN if there is none."""
        ticks = self._level_ticks(asset, 1, level)
        return math.nan if ticks == NO_BID else ticks * self._contracts[asset].tick_size

    def ask_level_px(self, asset, level):
        """Price of the ask `level` steps of liquidity above the best, which is 0; NaN if there is none."""
        ticks = self._level_ticks(asset, -1, level)
        return math.nan if ticks == NO_BID else ticks * self._contracts[asset].tick_size

    def _level_ticks(self, asset, side, level):
        """Ticks of a level, `NO_BID` if there is none or it is not shown."""
        if 0 < self._clock[0].seen_levels <= level:
            return NO_BID
        return level_ticks(self._depths[asset], self._is_roi, side, level)

    def mid_px(self, asset):
        """Mean of best bid and ask, or NaN."""
        return (self.best_bid_px(asset) + self.best_ask_px(asset)) / 2

    def micro_px(self, asset):
        """Microprice: best bid and ask weighted by the opposite quantity, or NaN."""
        bids, asks = self.best_bid_qty(asset), self.best_ask_qty(asset)
        return (self.best_bid_px(asset) * asks + self.best_ask_px(asset) * bids) / (bids + asks)


@kernel_class(
    [
        ("_clock", from_dtype(CLOCK)[::1]),
        ("_contracts", from_dtype(CONTRACT)[::1]),
        ("_ledger", from_dtype(LEDGER)[::1]),
        ("_open_orders", from_dtype(OPEN_ORDER)[::1]),
    ]
)
class AccountView:
    """Our own books: what has been filled, and which orders are working."""

    def __init__(self, clock, contracts, ledger, open_orders):
        self._clock = clock
        self._contracts = contracts
        self._ledger = ledger
        self._open_orders = open_orders

    def position_qty(self, asset):
        """Position, signed, base units."""
        return self._ledger[asset].position_qty

    def average_px(self, asset):
        """Average entry price of the position, or 0."""
        return self._ledger[asset].average_px

    def unit_qty(self, asset):
        """Quantity that the sizing rule gives to one unit of a position now."""
        return self._ledger[asset].unit_qty

    def open_qty(self, asset, side):
        """Quantity of our working orders on a side (1 buy, -1 sell), requests under way included."""
        return self._ledger[asset].open_buy_qty if side > 0 else self._ledger[asset].open_sell_qty

    def order_count(self):
        """Number of working orders, of all instruments."""
        return self._clock[0].open_orders

    def order(self, index):
        """Working order `index`, oldest first: a record `OPEN_ORDER` with asset, side, px, leaves_qty, request, tag."""
        return self._open_orders[index]

    def equity(self, asset):
        """Cash + position at the last mark - fees, settlement currency, since the start."""
        return self.equity_at(asset, self._ledger[asset].mark_px)

    def equity_at(self, asset, px):
        """Cash + position at `px` - fees, settlement currency, since the start."""
        return equity_at(self._ledger[asset], self._contracts[asset], px)

    def mark_px(self, asset):
        """Mid when equity was last sampled, or 0."""
        return self._ledger[asset].mark_px

    def realised_pnl(self, asset):
        """Realised by average cost since the start, before fees, settlement currency."""
        return self._ledger[asset].realised_pnl

    def fees(self, asset):
        """Fees paid since the start, settlement currency."""
        return self._ledger[asset].fees

    def capital(self):
        """Capital at the start."""
        return self._clock[0].capital

    def exits(self, asset):
        """Number of fills that have closed or reversed a position."""
        return self._ledger[asset].exits

    def last_exit_ts(self, asset):
        """When a position was last closed or reversed, ns UTC; 0 if never."""
        return self._ledger[asset].last_exit_ts

    def last_exit_pnl(self, asset):
        """What the position that was last closed or reversed had brought, fees paid, settlement currency."""
        return self._ledger[asset].last_exit_pnl

    def losing_exits(self):
        """Exits at a loss since the last one at a profit, of all instruments."""
        return self._clock[0].losing_exits


@kernel_class(
    [
        ("_clock", from_dtype(CLOCK)[::1]),
        ("_intents", from_dtype(INTENT)[::1]),
        ("_signals", from_dtype(SIGNAL)[::1]),
        ("_first_signal", int64),
    ]
)
class Intents:
    """What a strategy asks for. Nothing is sent before risk has approved it."""

    def __init__(self, clock, intents, signals):
        self._clock = clock
        self._intents = intents
        self._signals = signals
        self._first_signal = 0

    def begin(self):
        """Start a wake-up with no intents."""
        self._clock[0].intents = 0
        self._first_signal = self._clock[0].signals

    def _next(self):
        count = self._clock[0].intents
        if count >= self._intents.size:
            raise IndexError("more intents in one wake-up than the buffer holds")
        self._clock[0].intents = count + 1
        return self._intents[count]

    def _new(self, asset, side, qty, tag):
        row = self._next()
        row.kind, row.asset, row.side, row.tag = _NEW, asset, side, tag
        row.order_id, row.signal_id, row.qty = self._clock[0].next_order_id, self._clock[0].signal_id, qty
        self._clock[0].next_order_id += 1
        return row

    def limit(self, asset, side, px, qty, tag):
        """Post-only limit order; returns its order id."""
        row = self._new(asset, side, qty, tag)
        row.order_type, row.time_in_force, row.px = _LIMIT, _GTX, px
        return row.order_id

    def limit_with(self, asset, side, px, qty, tag, time_in_force):
        """Limit order with a `TimeInForce`; returns its order id."""
        row = self._new(asset, side, qty, tag)
        row.order_type, row.time_in_force, row.px = _LIMIT, time_in_force, px
        return row.order_id

    def market(self, asset, side, qty, tag):
        """Market order; returns its order id. Its ``px``, as risk sees it, is the opposite touch."""
        row = self._new(asset, side, qty, tag)
        row.order_type, row.time_in_force, row.px = _MARKET, _IOC, math.nan
        return row.order_id

    def cancel(self, order):
        """Cancel a working order (a record that `AccountView.order` gave)."""
        row = self._next()
        row.kind, row.asset, row.side, row.tag = _CANCEL, order.asset, order.side, order.tag
        row.order_id, row.signal_id = order.order_id, order.signal_id
        row.order_type, row.time_in_force = order.order_type, order.time_in_force
        row.px, row.qty = order.px, order.leaves_qty

    def modify(self, order, px, qty):
        """Ask for another price of a working order, or at its price for less; other quantities are refused."""
        row = self._next()
        row.kind, row.asset, row.side, row.tag = _MODIFY, order.asset, order.side, order.tag
        row.order_id, row.signal_id = order.order_id, order.signal_id
        row.order_type, row.time_in_force = order.order_type, order.time_in_force
        row.px, row.qty = px, qty

    def signal(self, kind, direction, z, spread, hedge_ratio, half_life_s):
        """Log a decision; orders written from now on carry its id, which is returned."""
        at = self._clock[0].signals
        if at - self._first_signal >= MAX_SIGNALS_PER_WAKE:
            raise IndexError("more signals in one wake-up than the buffer holds")
        self._clock[0].signals = at + 1
        self._clock[0].signal_id += 1
        row = self._signals[at]
        row.local_ts, row.signal_id, row.kind = self._clock[0].now_ts, self._clock[0].signal_id, kind
        row.direction, row.z, row.spread = direction, z, spread
        row.hedge_ratio, row.half_life_s = hedge_ratio, half_life_s
        return row.signal_id
