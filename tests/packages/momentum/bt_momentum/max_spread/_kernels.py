"""Kernel of the spread limit."""

from __future__ import annotations

import math

from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through what is sent while the spread is within the limit; a one-sided book is too wide."""
    bid, ask = market.best_bid_px(intent.asset), market.best_ask_px(intent.asset)
    spread_bps = (ask - bid) / (ask + bid) * 2e4
    s.value, s.limit = math.inf if math.isnan(spread_bps) else spread_bps, p.limit_bps
    return s.value <= s.limit
