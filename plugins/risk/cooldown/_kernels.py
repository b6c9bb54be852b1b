"""Kernel of the pause after an exit."""

from __future__ import annotations

from bt_framework.engine.portfolio import only_reduces
from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through what comes later than the pause after the instrument's last exit, or only reduces its position."""
    last_ts = account.last_exit_ts(intent.asset)
    if last_ts == 0:
        return True
    s.value = market.now_ts() - last_ts
    s.limit = p.after_loss_ns if account.last_exit_pnl(intent.asset) < 0 else p.after_exit_ns
    return s.value >= s.limit or only_reduces(account, intent)
