"""Kernels of the market maker: pure functions decide, `on_timer` reads the market and writes intents."""

from __future__ import annotations

import math

from bt_framework.jit import kernel
from bt_framework.records import Side, SignalKind, Tag

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_QUOTE_TAG, _QUOTE_SIGNAL = int(Tag.QUOTE), int(SignalKind.QUOTE)


@kernel
def quote_px(mid_px, side, inventory_units, p):
    """Price of a quote before rounding: mid x (1 - side x half spread - skew x inventory), quote currency."""
    return mid_px * (1.0 - (side * p.half_spread_bps + p.skew_bps * inventory_units) * 1e-4)


@kernel
def passive_px(px, side, tick_size, best_bid_px, best_ask_px):
    """`px` on the tick grid, away from mid, and behind the opposite touch so that post-only is not refused."""
    if side > 0:
        return min(math.floor(px / tick_size + 1e-9) * tick_size, best_ask_px - tick_size)
    return max(math.ceil(px / tick_size - 1e-9) * tick_size, best_bid_px + tick_size)


@kernel
def on_timer(market, account, out, p, s, w):
    """Cancel quotes that are not where they should be, and quote the sides that have none."""
    s.wakes += 1
    for asset in range(market.count()):
        bid, ask, unit = market.best_bid_px(asset), market.best_ask_px(asset), account.unit_qty(asset)
        lot, tick = market.lot_size(asset), market.tick_size(asset)
        qty = math.floor(unit / lot + 1e-9) * lot
        if not (ask > bid) or qty <= 0:
            continue
        inventory = account.position_qty(asset) / qty
        for side in (_BUY, _SELL):
            wanted = passive_px(quote_px((bid + ask) / 2, side, inventory, p), side, tick, bid, ask)
            quoted = False
            for index in range(account.order_count()):
                order = account.order(index)
                if order.asset == asset and order.side == side:
                    quoted = True
                    if order.request == 0 and abs(order.px - wanted) > 0.5 * tick:
                        out.cancel(order)
            if not quoted and side * inventory < p.max_units:
                out.signal(_QUOTE_SIGNAL, side, math.nan, math.nan, math.nan, math.nan)
                out.limit(asset, side, wanted, qty, _QUOTE_TAG)
