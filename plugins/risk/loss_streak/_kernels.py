"""Kernel of the loss streak."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def watch(market, account, p, s):
    """Whether as many exits in a row as the limit were at a loss, not counting those before trading resumed."""
    losing = account.losing_exits()
    if s.resumed:
        s.resumed, s.forgiven = 0, losing
    if losing < s.forgiven:  # a profit has ended the streak
        s.forgiven = 0
    s.value, s.limit = losing - s.forgiven, p.limit_exits
    return s.value >= s.limit
