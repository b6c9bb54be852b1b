"""Kernel of the part of the equity."""

from __future__ import annotations

from bt_framework.engine.portfolio import settled_value, total_equity
from bt_framework.jit import kernel


@kernel
def unit_qty(market, account, asset, p, s):
    """Equity x fraction / value of one base unit at mid, base units; 0 while there is no mid or no equity."""
    px, equity = market.mid_px(asset), total_equity(market, account)
    return p.equity_frac * equity / settled_value(market, asset, px, 1.0) if px > 0 and equity > 0 else 0.0
