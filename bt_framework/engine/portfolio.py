"""What risk rules ask about the whole account: kernels on the market and the account.

They work on the views of a run, on the stand-ins of `bt_framework.testing`, and in plain Python.
"""

from __future__ import annotations

import math

from bt_framework.jit import kernel

_MODIFY = 3


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
    return working_qty(account, intent) + intent.qty <= abs(position) * (1 + 1e-12)


@kernel
def mark_px(market, account, asset):
    """Mid, or the last sampled mid while a side of the book is missing; 0 before there was one."""
    mid = market.mid_px(asset)
    return mid if math.isfinite(mid) else account.mark_px(asset)


@kernel
def total_equity(market, account):
    """Capital + profit of all instruments, fees paid, at mid, settlement currency."""
    total = account.capital()
    for asset in range(market.count()):
        total += account.equity_at(asset, mark_px(market, account, asset))
    return total


@kernel
def net_notional(market, account, asset):
    """Signed value of a position at mid, quote currency."""
    position = account.position_qty(asset)
    value = market.notional(asset, mark_px(market, account, asset), abs(position))
    return value if position > 0 else -value


@kernel
def gross_exposure(market, account):
    """Sum of the values of all positions, long and short alike, quote currency."""
    total = 0.0
    for asset in range(market.count()):
        total += abs(net_notional(market, account, asset))
    return total


@kernel
def net_exposure(market, account):
    """Value of long positions less that of short ones, quote currency."""
    total = 0.0
    for asset in range(market.count()):
        total += net_notional(market, account, asset)
    return total


@kernel
def worst_notional(market, account, intent):
    """Largest |position| x mid of the intent's instrument if it and all that works on its side filled, quote currency.

    While there is no mid the price of the intent counts.
    """
    asset = intent.asset
    mid = market.mid_px(asset)
    px = mid if mid > 0 else intent.px
    worst = account.position_qty(asset) + intent.side * (working_qty(account, intent) + intent.qty)
    return market.notional(asset, px, abs(worst))
