"""Kernel of the fixed share of the price."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def slippage_bps(market, asset, side, px, qty, p):
    """Return the instrument's share, bps of price, shape of ``p.bps``: (n_instruments,)."""
    return p.bps[asset]
