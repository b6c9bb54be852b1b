"""Kernel of the order value limit."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through orders whose value is at most the limit."""
    s.value, s.limit = market.notional(intent.asset, intent.px, intent.qty), p.limit_notional
    return s.value <= s.limit
