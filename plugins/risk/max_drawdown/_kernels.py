"""Kernels of the drawdown limit."""

from __future__ import annotations

from bt_framework.engine.portfolio import total_equity
from bt_framework.jit import kernel


@kernel
def drawdown_limit(p, peak_equity):
    """Smaller of the two limits that are set, settlement currency."""
    if p.limit_frac > 0 and (p.limit_notional == 0 or p.limit_frac * peak_equity < p.limit_notional):
        return p.limit_frac * peak_equity
    return p.limit_notional


@kernel
def watch(market, account, p, s):
    """Whether the fall from the peak of the equity has reached the limit."""
    equity = total_equity(market, account)
    if s.resumed:
        s.resumed, s.peak_equity = 0, equity
    s.peak_equity = max(s.peak_equity, equity)
    s.value, s.limit = s.peak_equity - equity, drawdown_limit(p, s.peak_equity)
    return s.value >= s.limit
