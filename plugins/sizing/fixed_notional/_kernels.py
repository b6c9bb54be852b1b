"""Kernel of the fixed value."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def unit_qty(market, account, asset, p):
    """Value / (mid x contract size), base units; 0 while there is no mid."""
    px = market.mid_px(asset)
    return p.notional / (px * market.contract_size(asset)) if px > 0 else 0.0
