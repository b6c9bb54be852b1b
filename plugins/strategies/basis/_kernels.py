"""Kernels of the basis strategy: basis, bands, two legs of one base quantity."""

from __future__ import annotations

import math

from bt_framework.engine.leg_kernels import (
    all_updated,
    band_direction,
    close_legs,
    commit_pair,
    record_refusal,
    sample_px,
    work_legs,
)
from bt_framework.jit import kernel
from bt_framework.records import SignalKind

_EXIT, _FLATTEN = int(SignalKind.EXIT), int(SignalKind.FLATTEN)
_BPS = 1e4
_NS_PER_YEAR = 365.25 * 86_400.0 * 1e9


@kernel
def basis_bps(spot_px, future_px, left_ns, annualised):
    """(future / spot - 1) in bps; if `annualised`, per year for the `left_ns` > 0 until the expiry."""
    basis = (future_px / spot_px - 1.0) * _BPS
    return basis * _NS_PER_YEAR / left_ns if annualised else basis


@kernel
def trade(views, s, p, basis):
    """Decide at a basis and commit to it."""
    market = views[0]
    z = p.fair_bps - basis
    if -s.stopped * z <= p.exit_bps:
        s.armed = 1
    if abs(z) <= p.entry_bps:
        s.refused = 0
    may_enter = s.armed != 0 and (z < 0 or p.short_spot)
    direction, kind = band_direction(s.direction, z, may_enter, (p.entry_bps, p.exit_bps, p.stop_bps))
    if kind != 0:
        # The same base quantity in both legs: values in the ratio of the prices.
        commit_pair(views, s, (direction, kind, z, basis), market.mid_px(1) / market.mid_px(0))


@kernel
def step(views, p, s, by_update):
    """Sample, decide, work the legs; `by_update` is 1, or None, which leaves its code out."""
    market, account, out = views
    spot_px, future_px = sample_px(market, 0, p), sample_px(market, 1, p)
    sampled = spot_px > 0 and future_px > 0
    if by_update is not None:
        sampled = sampled and all_updated(market, s)
    closing = p.flat_at_end and market.now_ts() >= market.end_ts() - max(p.flatten_before_ns, s.gap_ns)
    left_ns = p.expiry_ts - market.now_ts()
    if left_ns <= p.close_before_ns:
        if s.direction != 0:
            close_legs(market, out, s, _EXIT, math.nan, math.nan)
    elif sampled and not closing:
        trade(views, s, p, basis_bps(spot_px, future_px, left_ns, p.annualised))
        record_refusal(market, account, out, s)
    if closing and s.kind != _FLATTEN and s.kind != 0:
        close_legs(market, out, s, _FLATTEN, math.nan, math.nan)
    if s.kind != 0:
        work_legs(market, account, out, s, p)


@kernel
def on_timer(market, account, out, p, s, w):
    """Sample in fixed steps."""
    step((market, account, out), p, s, None)


@kernel
def on_book(market, account, out, p, s, w):
    """Sample when both instruments have been updated."""
    step((market, account, out), p, s, 1)
