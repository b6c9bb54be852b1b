"""The kernels of a strategy in plain Python: each calls it back."""

from __future__ import annotations

from bt_framework.engine._native import call_back
from bt_framework.jit import kernel


@kernel
def on_timer(market, account, out, p, s, w):
    """Wake the strategy on its timer."""
    if call_back(p.address, 1) != 0:
        raise RuntimeError("the strategy raised")


@kernel
def on_book(market, account, out, p, s, w):
    """Wake the strategy on a feed update."""
    if call_back(p.address, 2) != 0:
        raise RuntimeError("the strategy raised")


@kernel
def on_order(market, account, out, p, s, w):
    """Wake the strategy on an order response."""
    if call_back(p.address, 3) != 0:
        raise RuntimeError("the strategy raised")
