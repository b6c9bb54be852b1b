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
def not_bool(market, account, intent, p, s):
    """Answer with a number."""
    return 1.0


@kernel
def refuses_without_a_value(market, account, intent, p, s):
    """Refuse everything and say nothing."""
    return False


@kernel
def breaches_without_a_value(market, account, p, s):
    """Say that the limit is breached, and not what it is."""
    s.value = 1.0
    return True


@kernel
def writes_the_intent(market, account, intent, p, s):
    """Make an order smaller."""
    intent.qty = 0.5 * intent.qty
    return True


@kernel
def writes_its_params(market, account, p, s):
    """Move the limit."""
    p.resume_after_ns += 1
    return False


@kernel
def moves_an_order(market, account, p, s):
    """Write to an order."""
    if account.order_count() > 0:
        order = account.order(0)
        order.px = 1.0
    return False


@kernel
def negative(market, account, asset, p, s):
    """Answer with a negative number."""
    return -1.0
