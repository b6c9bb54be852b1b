"""Kernels of risk parity."""

from __future__ import annotations

import math

from bt_framework.engine.portfolio import settled_value, total_equity
from bt_framework.engine.variance import sample_mid, variance_per_ns
from bt_framework.jit import kernel


@kernel
def share(market, asset, p, s):
    """Part of the whole that an instrument's unit is, sqrt(budget) / sd over the sum of those of all.

    0 until each instrument has ``p.warmup_samples`` returns and has moved: without risk it could not bear its part.
    """
    own, total = 0.0, 0.0
    for turn in range(-1, market.count()):
        other = asset if turn < 0 else turn
        if s.samples[other] < p.warmup_samples or not s.squares[other] > 0:
            return 0.0
        if turn < 0:
            own = variance_per_ns(asset, s)
        else:  # as a ratio, which is no NaN however small the variances are
            total += math.sqrt(p.budget[other] / p.budget[asset] * (own / variance_per_ns(other, s)))
    return 1.0 / total


@kernel
def unit_qty(market, account, asset, p, s):
    """Equity x part of it / value of one base unit at mid, base units.

    0 while there is no mid or no equity, and in the warm-up. All mids are sampled at the first question of a time.
    """
    now_ts = market.now_ts()
    if now_ts != s.seen_ts:
        for other in range(market.count()):
            sample_mid(market.mid_px(other), now_ts, other, p, s)
        s.seen_ts = now_ts
    px, equity = market.mid_px(asset), total_equity(market, account)
    if not px > 0 or not equity > 0:
        return 0.0
    frac = min(p.gross_frac * share(market, asset, p, s), p.max_equity_frac)
    return equity * frac / settled_value(market, asset, px, 1.0)
