"""Kernel of the order quantity limit."""

from __future__ import annotations

from bt_framework.engine.portfolio import within
from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through orders of at most the limit."""
    s.value, s.limit = intent.qty, p.limits[intent.asset]
    return within(s.value, s.limit)
