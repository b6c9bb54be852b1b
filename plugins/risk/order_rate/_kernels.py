"""Kernel of the order rate limit."""

from __future__ import annotations

from bt_framework.jit import kernel


@kernel
def allow(market, account, intent, p, s):
    """Let through what finds a token.

    ``s.used`` is how many tokens are missing from the bucket; time brings them back.
    """
    back = (market.now_ts() - s.used_ts) * 1e-9 * p.rate_per_s
    s.used, s.used_ts = max(0.0, s.used - back), market.now_ts()
    s.value, s.limit = s.used + 1.0, p.burst
    if s.value > s.limit + 1e-9:
        return False
    s.used += 1.0
    return True
