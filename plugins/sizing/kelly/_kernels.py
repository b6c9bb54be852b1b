"""Kernels of the Kelly sizing."""

from __future__ import annotations

import math

from bt_framework.engine.portfolio import settled_value, total_equity
from bt_framework.jit import kernel

_LN2 = math.log(2.0)


@kernel
def unit_frac(p, s):
    """Value of a unit / equity: a part of mean / variance, capped; ``p.start_frac`` while there are too few samples.

    Mean and variance are those of the profit of a unit / its value: configured, or the account's own.
    """
    if p.sd_frac > 0:
        mean, variance = p.mean_frac, p.sd_frac * p.sd_frac
    elif s.samples < p.warmup_samples:
        return min(p.start_frac, p.max_equity_frac)
    else:
        mean, variance = s.mean_frac, s.variance
    if not mean > 0 or not variance > 0:
        return p.min_frac
    return max(p.min_frac, min(p.fraction * mean / variance, p.max_equity_frac))


@kernel
def add_profit(profit_frac, passed_ns, p, s):
    """Add the profit of an interval / value of a unit to the weighted mean and variance.

    The weight of a profit after a time t is 2^(-t / half_life_ns) of what it was.
    """
    s.weight = s.weight * math.exp(-_LN2 * passed_ns / p.half_life_ns) + 1.0
    off = profit_frac - s.mean_frac
    s.mean_frac += off / s.weight
    s.variance = (1.0 - 1.0 / s.weight) * (s.variance + off * off / s.weight)
    s.samples += 1


@kernel
def follow(equity, now_ts, p, s):
    """Take the account's profit since the last sample, if the time has come, and set the value of a unit anew.

    An interval without a profit or a loss does not count: it would make mean and variance smaller alike.
    """
    passed_ns = now_ts - s.last_ts
    if s.last_ts > 0 and passed_ns < p.sample_ns:
        return
    if s.unit_value > 0 and equity != s.last_equity:
        add_profit((equity - s.last_equity) / s.unit_value, passed_ns, p, s)
    s.last_ts, s.last_equity = now_ts, equity
    s.unit_value = equity * unit_frac(p, s) if equity > 0 else 0.0


@kernel
def unit_qty(market, account, asset, p, s):
    """Value of a unit / value of one base unit at mid, base units; 0 while there is no mid or no equity."""
    px = market.mid_px(asset)
    follow(total_equity(market, account), market.now_ts(), p, s)
    return s.unit_value / settled_value(market, asset, px, 1.0) if px > 0 else 0.0
