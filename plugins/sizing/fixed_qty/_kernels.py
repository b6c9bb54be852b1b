"""Kernel of the fixed quantity."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def unit_qty(market, account, asset, p, s):
    """Return the configured quantity."""
    return p.units[asset]
