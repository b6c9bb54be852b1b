"""Kernel of the position limit."""

from __future__ import annotations

from bt_framework.engine.portfolio import only_reduces, within, worst_notional
from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through what keeps the worst case within the limit, or only reduces the position.

    The position is valued at mid (at the order's price while there is no mid). An order whose whole quantity, with
    what is working on its side, is no more than the opposite position cannot increase it and always passes.
    """
    s.value, s.limit = worst_notional(market, account, intent), p.limits[intent.asset]
    return only_reduces(account, intent) or within(s.value, s.limit)
