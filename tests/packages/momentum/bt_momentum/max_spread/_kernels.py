"""Kernel of the spread limit."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p):
    """Let through what is sent while the spread is within the limit; a one-sided book is too wide."""
    bid, ask = market.best_bid_px(intent.asset), market.best_ask_px(intent.asset)
    return (ask - bid) / (ask + bid) * 2e4 <= p.limit_bps
