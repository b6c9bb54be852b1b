"""Kernel of the net exposure limit."""

from __future__ import annotations

from bt_framework.engine.portfolio import within, worst_net_exposure
from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through what keeps the worst case within the limit on its side.

    An order that brings the net exposure back passes, since it is against the side that is beyond the limit. Closing
    one leg of a hedge increases the net exposure, and is no exception.
    """
    s.value, s.limit = worst_net_exposure(market, account, intent), p.limit_notional
    return within(s.value, s.limit)
