"""The probe, and a strategy that asks for whatever it can think of, to see what risk lets through."""

from __future__ import annotations

import numpy as np
from probe_kernels import ORDER, TIMER, note
from probe_kernels import PARAMS as PROBE_PARAMS
from probe_kernels import STATE as PROBE_STATE

from bt_framework.jit import kernel

PARAMS = np.dtype(
    PROBE_PARAMS.descr
    + [
        ("intents", "i8"),
        ("max_lots", "i8"),
        ("far_ticks", "i8"),
        ("buy_share", "f8"),
        ("market_share", "f8"),
        ("modify_share", "f8"),
        ("cancel_share", "f8"),
    ]
)
STATE = np.dtype(PROBE_STATE.descr + [("draw", "i8")])
_TIFS = 4


@kernel
def draw(s):
    """Next random number from 0 up to 1."""
    s.draw = (s.draw * 1_103_515_245 + 12_345) % 2_147_483_648
    return s.draw / 2_147_483_648


@kernel
def new_px(market, asset, side, p, s):
    """Price of a limit order, up to `far_ticks` from the touch on either side of it."""
    touch = market.best_bid_px(asset) if side > 0 else market.best_ask_px(asset)
    return touch + round((2 * draw(s) - 1) * p.far_ticks) * market.tick_size(asset)


@kernel
def ask(market, account, out, p, s):
    """Send random orders, modifies and cancels."""
    for _ in range(p.intents):
        asset = int(draw(s) * market.count())
        side = 1 if draw(s) < p.buy_share else -1
        qty = (1 + int(draw(s) * p.max_lots)) * market.lot_size(asset)
        kind = draw(s)
        if not market.mid_px(asset) > 0:
            continue
        if kind < p.market_share:
            out.market(asset, side, qty, 1)
        elif kind < p.market_share + p.modify_share + p.cancel_share:
            if account.order_count() > 0:
                order = account.order(int(draw(s) * account.order_count()))
                if kind < p.market_share + p.modify_share:
                    out.modify(order, new_px(market, order.asset, order.side, p, s), order.leaves_qty)
                else:
                    out.cancel(order)
        else:
            out.limit_with(asset, side, new_px(market, asset, side, p, s), qty, 1, int(draw(s) * _TIFS))


@kernel
def on_timer(market, account, out, p, s, w):
    """Note the wake-up, do the script, and ask for `intents` more."""
    note(TIMER, market, account, out, p, s, w)
    ask(market, account, out, p, s)


@kernel
def on_order(market, account, out, p, s, w):
    """Note the wake-up, do the script."""
    note(ORDER, market, account, out, p, s, w)
