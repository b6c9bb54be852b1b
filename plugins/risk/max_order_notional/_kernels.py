"""Kernel of the order value limit."""

from __future__ import annotations

from bt_framework.engine.portfolio import within
from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through orders whose value is at most the limit; a sell below the market is filled at the market."""
    mid = market.mid_px(intent.asset)
    px = mid if mid > intent.px else intent.px
    s.value, s.limit = market.notional(intent.asset, px, intent.qty), p.limits[intent.asset]
    return within(s.value, s.limit)
