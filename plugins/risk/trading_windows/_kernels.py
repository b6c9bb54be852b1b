"""Kernels of the trading windows."""

from __future__ import annotations

from bt_framework.jit import kernel

_NS_PER_HOUR = 3_600_000_000_000
_NS_PER_DAY = 24 * _NS_PER_HOUR
_NS_PER_WEEK = 7 * _NS_PER_DAY


@kernel
def week_ns(now_ts, utc_offset_ns):
    """Local time since Monday 00:00, ns; 1970-01-01 was a Thursday."""
    return (now_ts + utc_offset_ns + 3 * _NS_PER_DAY) % _NS_PER_WEEK


@kernel
def watch(market, account, p, s):
    """Whether the local time is in no window; ``s.limit`` is when the next one begins, hours since Monday 00:00."""
    now = week_ns(market.now_ts(), s.utc_offset_ns)
    s.value = now / _NS_PER_HOUR
    wait_ns = _NS_PER_WEEK
    for index in range(p.windows_ns.shape[0]):
        begin, end = p.windows_ns[index, 0], p.windows_ns[index, 1]
        if begin <= now < end:
            return False
        if begin < end:
            wait_ns = min(wait_ns, (begin - now) % _NS_PER_WEEK)
    s.limit = ((now + wait_ns) % _NS_PER_WEEK) / _NS_PER_HOUR
    return True
