"""What risk rules ask about the whole account: kernels on the market and the account.

They work on the views of a run, on the stand-ins of `bt_framework.testing`, and in plain Python. The worst case is
that an intent and all that works on its side is filled; requests under way are working.
"""

from __future__ import annotations

import math

from bt_framework.jit import kernel

_MODIFY = 3
_TOLERANCE = 1e-12
"""Relative: sums of decimals are not exact."""


@kernel
def within(value, limit):
    """Whether `value` is at most `limit`, but for rounding; False if one of them is NaN."""
    return value <= limit + abs(limit) * _TOLERANCE


@kernel
def working_qty(account, intent):
    """Quantity that works on the side of `intent`, without the order that it modifies, base units."""
    working = account.open_qty(intent.asset, intent.side)
    if intent.kind == _MODIFY:  # a modify replaces the order's own working quantity
        for index in range(account.order_count()):
            order = account.order(index)
            if order.order_id == intent.order_id:
                working -= order.leaves_qty
    return working


@kernel
def only_reduces(account, intent):
    """Whether `intent`, with all that works on its side, is no more than the opposite position."""
    position = account.position_qty(intent.asset)
    if position * intent.side >= 0:
        return False
    return within(working_qty(account, intent) + intent.qty, abs(position))


@kernel
def worst_position_qty(account, intent, asset, side):
    """Position of `asset` if all that works on a side were filled, `intent` included; signed, base units."""
    working = account.open_qty(asset, side)
    if asset == intent.asset and side == intent.side:
        working = working_qty(account, intent) + intent.qty
    return account.position_qty(asset) + side * working


@kernel
def mark_px(market, account, asset):
    """Mid; while a side of the book is missing the last sampled mid, else the average entry price; 0 without any."""
    mid = market.mid_px(asset)
    if math.isfinite(mid):
        return mid
    last = account.mark_px(asset)
    return last if last > 0 else account.average_px(asset)


@kernel
def total_equity(market, account):
    """Capital + profit of all instruments, fees paid, at mid, settlement currency."""
    total = account.capital()
    for asset in range(market.count()):
        total += account.equity_at(asset, mark_px(market, account, asset))
    return total


@kernel
def settled_value(market, asset, px, qty):
    """Value of `qty` at `px`, settlement currency: base currency for an inverse contract; 0 at no price."""
    value = market.notional(asset, px, qty)
    if market.is_inverse(asset):
        return value / px if px > 0 else 0.0
    return value


@kernel
def intent_px(market, account, intent):
    """Price at which the intent's instrument is valued: `mark_px`, or the intent's own while there is none."""
    px = mark_px(market, account, intent.asset)
    return px if px > 0 else intent.px


@kernel
def worst_notional(market, account, intent):
    """Largest |position| x mid of the intent's instrument in the worst case, quote currency."""
    asset = intent.asset
    worst = abs(worst_position_qty(account, intent, asset, intent.side))
    return market.notional(asset, intent_px(market, account, intent), worst)


@kernel
def worst_gross_exposure(market, account, intent):
    """Largest sum of |position| x mid: of each instrument if all its buys or all its sells filled, quote currency."""
    total = 0.0
    for asset in range(market.count()):
        own = asset == intent.asset
        px = intent_px(market, account, intent) if own else mark_px(market, account, asset)
        long = abs(worst_position_qty(account, intent, asset, 1))
        short = abs(worst_position_qty(account, intent, asset, -1))
        total += market.notional(asset, px, max(long, short))
    return total


@kernel
def worst_net_exposure(market, account, intent):
    """Net exposure towards the intent's side if all buys, or all sells, of all instruments filled, quote currency.

    Positive where a buy makes the account long, or a sell makes it short.
    """
    total, side = 0.0, intent.side
    for asset in range(market.count()):
        own = asset == intent.asset
        px = intent_px(market, account, intent) if own else mark_px(market, account, asset)
        worst = worst_position_qty(account, intent, asset, side)
        total += market.notional(asset, px, abs(worst)) * (1.0 if worst * side > 0 else -1.0)
    return total
