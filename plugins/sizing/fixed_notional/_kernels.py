"""Kernel of the fixed value."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def unit_qty(market, account, asset, p, s):
    """Value / value of one unit at mid, base units; 0 while there is no mid."""
    px = market.mid_px(asset)
    return p.units[asset] / market.notional(asset, px, 1.0) if px > 0 else 0.0
