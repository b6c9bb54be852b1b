"""Kernel of the gross exposure limit."""

from __future__ import annotations

from bt_framework.engine.portfolio import only_reduces, within, worst_gross_exposure
from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through what keeps the worst case within the limit, or only reduces a position."""
    s.value, s.limit = worst_gross_exposure(market, account, intent), p.limit_notional
    return only_reduces(account, intent) or within(s.value, s.limit)
