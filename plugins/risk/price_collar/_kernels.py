"""Kernel of the price collar."""

from __future__ import annotations

import math

from bt_framework.engine.portfolio import within
from bt_framework.jit import kernel

_TICK_TOLERANCE = 1e-6
"""Prices are ticks but for rounding."""


@kernel
def allow(market, account, intent, p, s):
    """Let through what is priced within both bands; nothing while there is no mid, from which all is infinitely far.

    A market order is priced at the opposite touch.
    """
    mid = market.mid_px(intent.asset)
    away = abs(intent.px - mid) if mid > 0 else math.inf
    if p.limit_ticks > 0:
        s.value, s.limit = away / market.tick_size(intent.asset), p.limit_ticks
        if not s.value <= s.limit + _TICK_TOLERANCE:
            return False
    if p.limit_bps > 0:
        s.value, s.limit = (away / mid * 1e4 if mid > 0 else math.inf), p.limit_bps
        return within(s.value, s.limit)
    return True
