"""Kernels of the daily loss limit."""

from __future__ import annotations

from bt_framework.engine.portfolio import total_equity
from bt_framework.jit import kernel


@kernel
def loss_limit(p, base):
    """Smaller of the two limits that are set, settlement currency; `base` is what the fraction is of."""
    if p.limit_frac > 0 and (p.limit_notional == 0 or p.limit_frac * base < p.limit_notional):
        return p.limit_frac * base
    return p.limit_notional


@kernel
def watch(market, account, p, s):
    """Whether the loss since the first look at the local day has reached the limit; it is not forgiven in the day."""
    equity = total_equity(market, account)
    if s.day_seen_ts != s.day_start_ts:
        s.day_seen_ts, s.day_equity = s.day_start_ts, equity
    s.resumed = 0
    s.value, s.limit = s.day_equity - equity, loss_limit(p, account.capital())
    return s.value >= s.limit
