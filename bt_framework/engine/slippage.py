"""The slippage kernel of a run without a slippage model."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def none(market, asset, side, px, qty, p):
    """Return 0: takers are filled at the engine's price."""
    return 0.0
