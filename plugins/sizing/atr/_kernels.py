"""Kernels of the average true range sizing."""

from __future__ import annotations

from bt_framework.engine.portfolio import settled_value, total_equity
from bt_framework.jit import kernel


@kernel
def true_range_px(high_px, low_px, close_px):
    """Largest of high - low and the distances of both from the close before, which is 0 for the first bar."""
    if not close_px > 0:
        return high_px - low_px
    return max(high_px, close_px) - min(low_px, close_px)


@kernel
def close_bar(asset, p, s):
    """Add the bar under way to the average: the mean of the first ``p.bars``, then Wilder's average."""
    range_px = true_range_px(s.high_px[asset], s.low_px[asset], s.close_px[asset])
    s.closed_bars[asset] += 1
    span = min(s.closed_bars[asset], p.bars)
    s.atr_px[asset] += (range_px - s.atr_px[asset]) / span
    s.close_px[asset] = s.last_px[asset]


@kernel
def follow(px, now_ts, asset, p, s):
    """Add a mid to the bar of its time. Bars begin at whole multiples of ``p.bar_ns``; one without a mid is none."""
    bar = now_ts // p.bar_ns
    if s.last_px[asset] == 0 or bar != s.bar[asset]:
        if s.last_px[asset] > 0:
            close_bar(asset, p, s)
        s.bar[asset], s.high_px[asset], s.low_px[asset] = bar, px, px
    s.high_px[asset], s.low_px[asset] = max(s.high_px[asset], px), min(s.low_px[asset], px)
    s.last_px[asset] = px


@kernel
def unit_qty(market, account, asset, p, s):
    """Equity x risk / (multiple x average true range / mid x value of one base unit at mid), base units.

    0 while there is no mid or no equity, and until ``p.bars`` bars are closed.
    """
    px, equity = market.mid_px(asset), total_equity(market, account)
    if px > 0:
        follow(px, market.now_ts(), asset, p, s)
    if not px > 0 or not equity > 0 or s.closed_bars[asset] < p.bars:
        return 0.0
    move = p.atr_multiple * s.atr_px[asset] / px
    frac = p.max_equity_frac
    if move * frac > p.risk_frac:
        frac = p.risk_frac / move
    return equity * frac / settled_value(market, asset, px, 1.0)
