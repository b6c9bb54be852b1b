"""Kernel of the order value limit."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p):
    """Let through orders whose price x quantity x contract size is at most the limit."""
    return intent.px * intent.qty * market.contract_size(intent.asset) <= p.limit_notional
