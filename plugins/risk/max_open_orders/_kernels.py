"""Kernel of the working order limit."""

from __future__ import annotations

from bt_framework.jit import kernel
from bt_framework.records import IntentKind

_MODIFY = int(IntentKind.MODIFY)


@kernel
def working_orders(account, asset):
    """Count the working orders of an instrument, requests under way included."""
    count = 0
    for index in range(account.order_count()):
        if account.order(index).asset == asset:
            count += 1
    return count


@kernel
def allow(market, account, intent, p, s):
    """Let through what leaves the number of working orders within both limits; a modify does not change it."""
    if intent.kind == _MODIFY:
        return True
    s.value, s.limit = account.order_count() + 1.0, p.limit_orders
    if s.value > s.limit:
        return False
    s.value, s.limit = working_orders(account, intent.asset) + 1.0, p.limits[intent.asset]
    return s.value <= s.limit
