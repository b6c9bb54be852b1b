"""Kernels that break their contracts, each in one way."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def writes_params(market, account, out, p, s, w):
    """Write to p."""
    p.a = 1


@kernel
def writes_orders(market, account, out, p, s, w):
    """Write to an order."""
    if account.order_count() > 0:
        order = account.order(0)
        order.px = 1.0


@kernel
def bad_asset(market, account, out, p, s, w):
    """Ask for an instrument that is not there."""
    out.limit(7, 1, 1.0, 1.0, 0)


@kernel
def bad_qty(market, account, out, p, s, w):
    """Ask for nothing."""
    out.limit(0, 1, 1.0, 0.0, 0)


@kernel
def not_bool(market, account, intent, p):
    """Answer with a number."""
    return 1.0


@kernel
def negative(market, account, asset, p):
    """Answer with a negative number."""
    return -1.0
