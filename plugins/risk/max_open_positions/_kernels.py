"""Kernel of the open position limit."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def is_open(account, asset):
    """Whether an instrument has a position, or an order that may open one."""
    working = account.open_qty(asset, 1) + account.open_qty(asset, -1)
    return account.position_qty(asset) != 0 or working > 0


@kernel
def allow(market, account, intent, p, s):
    """Let through what is in an open instrument, or leaves the number of open ones within the limit."""
    count = 1
    for asset in range(market.count()):
        if asset != intent.asset and is_open(account, asset):
            count += 1
    s.value, s.limit = count, p.limit_positions
    return is_open(account, intent.asset) or s.value <= s.limit
