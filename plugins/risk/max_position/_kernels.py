"""Kernel of the position limit."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def worst_position_qty(position_qty, working_qty, side, qty):
    """Position if `qty` and all that is working on the same side filled, base units, signed."""
    return position_qty + side * (working_qty + qty)


@kernel
def allow(market, account, intent, p):
    """Let through what keeps the worst case within the limit, or only reduces the position.

    The position is valued at mid (at the order's price while there is no mid). An order whose whole quantity, with
    what is working on its side, is no more than the opposite position cannot increase it and always passes.
    """
    asset, side = intent.asset, intent.side
    position = account.position_qty(asset)
    working = account.open_qty(asset, side)
    if intent.kind == 3:  # a modify replaces the order's own working quantity
        for index in range(account.order_count()):
            order = account.order(index)
            if order.order_id == intent.order_id:
                working -= order.leaves_qty
    if position * side < 0 and working + intent.qty <= abs(position) * (1 + 1e-12):
        return True
    mid = market.mid_px(asset)
    px = mid if mid > 0 else intent.px
    worst = worst_position_qty(position, working, side, intent.qty)
    return abs(worst) * px * market.contract_size(asset) <= p.limit_notional
