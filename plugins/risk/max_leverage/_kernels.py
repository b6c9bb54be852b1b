"""Kernels of the leverage limit."""

from __future__ import annotations

import math

from bt_framework.engine.portfolio import (
    intent_px,
    mark_px,
    only_reduces,
    settled_value,
    total_equity,
    within,
    worst_position_qty,
)
from bt_framework.jit import kernel


@kernel
def leverage(exposure, equity):
    """Gross exposure / equity; without equity infinite if there is exposure."""
    if equity > 0:
        return exposure / equity
    return math.inf if exposure > 0 else 0.0


@kernel
def worst_gross(market, account, intent):
    """Sum of |position| x mid in the worst case, settlement currency."""
    total = 0.0
    for asset in range(market.count()):
        own = asset == intent.asset
        px = intent_px(market, account, intent) if own else mark_px(market, account, asset)
        long = abs(worst_position_qty(account, intent, asset, 1))
        short = abs(worst_position_qty(account, intent, asset, -1))
        total += settled_value(market, asset, px, max(long, short))
    return total


@kernel
def gross(market, account):
    """Sum of |position| x mid, settlement currency."""
    total = 0.0
    for asset in range(market.count()):
        qty = abs(account.position_qty(asset))
        total += settled_value(market, asset, mark_px(market, account, asset), qty)
    return total


@kernel
def allow(market, account, intent, p, s):
    """Let through what keeps the worst case within the limit, or only reduces a position."""
    worst = worst_gross(market, account, intent)
    s.value, s.limit = leverage(worst, total_equity(market, account)), p.limit_leverage
    return only_reduces(account, intent) or within(s.value, s.limit)


@kernel
def watch(market, account, p, s):
    """Whether the leverage of the positions is beyond the limit."""
    s.value = leverage(gross(market, account), total_equity(market, account))
    s.limit = p.limit_leverage
    return not within(s.value, s.limit)
