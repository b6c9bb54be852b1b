"""Kernel of the volatility target."""

from __future__ import annotations

import math

from bt_framework.engine.portfolio import settled_value, total_equity
from bt_framework.engine.variance import sample_mid, variance_per_ns
from bt_framework.jit import kernel


@kernel
def unit_qty(market, account, asset, p, s):
    """Equity x target / volatility / value of one base unit at mid, base units.

    0 while there is no mid or no equity, and in the warm-up. A missing mid is left out of the returns.
    """
    px, equity = market.mid_px(asset), total_equity(market, account)
    sample_mid(px, market.now_ts(), asset, p, s)
    if not px > 0 or not equity > 0 or s.samples[asset] < p.warmup_samples:
        return 0.0
    moves = math.sqrt(variance_per_ns(asset, s) * p.period_ns)
    frac = p.max_equity_frac
    if moves * frac > p.target_frac:
        frac = p.target_frac / moves
    return equity * frac / settled_value(market, asset, px, 1.0)
