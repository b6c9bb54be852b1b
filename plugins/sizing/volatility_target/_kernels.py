"""Kernels of the volatility target."""

from __future__ import annotations

import math

from bt_framework.engine.portfolio import settled_value, total_equity
from bt_framework.jit import kernel

_LN2 = math.log(2.0)


@kernel
def sample(px, now_ts, asset, p, s):
    """Add a mid to the average of an instrument, if the time has come.

    ``s.squares / s.weight`` is the exponentially weighted mean of (log-return)^2 / time between the mids, per ns; the
    weight of a return after a time t is 2^(-t / half_life_ns) of what it was.
    """
    passed_ns = now_ts - s.last_ts[asset]
    if passed_ns < p.sample_ns:
        return
    if s.last_px[asset] > 0:
        keep = math.exp(-_LN2 * passed_ns / p.half_life_ns)
        log_return = math.log(px / s.last_px[asset])
        s.squares[asset] = keep * s.squares[asset] + (1.0 - keep) * log_return * log_return / passed_ns
        s.weight[asset] = keep * s.weight[asset] + (1.0 - keep)
        s.samples[asset] += 1
    s.last_px[asset], s.last_ts[asset] = px, now_ts


@kernel
def volatility(asset, p, s):
    """Standard deviation of the log-return over ``p.period_ns``."""
    return math.sqrt(s.squares[asset] / s.weight[asset] * p.period_ns)


@kernel
def unit_qty(market, account, asset, p, s):
    """Equity x target / volatility / value of one base unit at mid, base units.

    0 while there is no mid or no equity, and in the warm-up. A missing mid is left out of the returns.
    """
    px, equity = market.mid_px(asset), total_equity(market, account)
    if px > 0:
        sample(px, market.now_ts(), asset, p, s)
    if not px > 0 or not equity > 0 or s.samples[asset] < p.warmup_samples:
        return 0.0
    moves = volatility(asset, p, s)
    frac = p.max_equity_frac
    if moves * frac > p.target_frac:
        frac = p.target_frac / moves
    return equity * frac / settled_value(market, asset, px, 1.0)
