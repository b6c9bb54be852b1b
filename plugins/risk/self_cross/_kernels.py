"""Kernel of the self-cross guard."""

from __future__ import annotations

import math

from bt_framework.jit import kernel
from bt_framework.records import IntentKind

_MODIFY = int(IntentKind.MODIFY)


@kernel
def nearest_opposite_px(account, intent):
    """Price of our working order that `intent` would meet first, its new price included; NaN if none works."""
    nearest = math.nan
    for index in range(account.order_count()):
        order = account.order(index)
        if order.asset == intent.asset and order.side == -intent.side:
            px = order.px
            if order.request == _MODIFY and (order.new_px - px) * intent.side < 0:
                px = order.new_px
            if math.isnan(nearest) or (px - nearest) * intent.side < 0:
                nearest = px
    return nearest


@kernel
def allow(market, account, intent, p, s):
    """Let through what is priced behind all of our working orders on the other side.

    An order whose cancel is under way still works. A market order is priced at the opposite touch.
    """
    s.value, s.limit = intent.px, nearest_opposite_px(account, intent)
    return math.isnan(s.limit) or (s.limit - s.value) * intent.side > 0.5 * market.tick_size(intent.asset)
