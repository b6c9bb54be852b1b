"""Kernels of the Bollinger strategy: a z-score by rolling windows or by a filter, bands, two legs."""

from __future__ import annotations

import math

import numpy as np

from bt_framework.engine.leg_kernels import (
    all_moved,
    all_updated,
    band_direction,
    close_legs,
    commit_pair,
    hedge_qty,
    record_refusal,
    sample_px,
    tick_noise,
    work_legs,
)
from bt_framework.engine.legs import legs_fields
from bt_framework.jit import kernel
from bt_framework.records import SignalKind
from bt_framework.stats.kalman import KALMAN, kalman_update

STATE = np.dtype(
    [
        ("kalman", KALMAN),
        *legs_fields(2),
        ("samples", "i8"),
        ("regressed", "i8"),
        ("regressed_ts", "i8"),
        ("fitted", "i8"),
        ("spread", "f8"),
    ]
)

_FLATTEN = int(SignalKind.FLATTEN)
_OLS = 1  # ordinal place in Hedge
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)


@kernel
def regress(y, x, count):
    """Slope of the regression of y on x and a constant over the first `count` values; NaN if x does not vary.

    The slope is cov(x, y) / var(x). Variation below the rounding of the values is none.
    """
    mean_x, mean_y = 0.0, 0.0
    for i in range(count):
        mean_x += x[i]
        mean_y += y[i]
    mean_x, mean_y = mean_x / count, mean_y / count
    s_xx, s_xy = 0.0, 0.0
    for i in range(count):
        s_xx += (x[i] - mean_x) ** 2
        s_xy += (x[i] - mean_x) * (y[i] - mean_y)
    if s_xx <= count * (_ROUNDING * mean_x) ** 2:
        return math.nan
    return s_xy / s_xx


@kernel
def spread_z(window, count, hedge_ratio, spread, noise):
    """Distance of `spread` from the mean of ``y - hedge_ratio * x`` over `count` samples, in their deviations.

    The deviation is the sample's, divided by count - 1; NaN if it is below `noise` or the rounding of the values, as
    that of collinear legs is. `window` holds y and x.
    """
    y, x = window
    mean = 0.0
    for i in range(count):
        mean += y[i] - hedge_ratio * x[i] - spread
    mean /= count
    squares = 0.0
    for i in range(count):
        squares += (y[i] - hedge_ratio * x[i] - spread - mean) ** 2
    sd = math.sqrt(squares / (count - 1))
    if not sd > max(noise, _ROUNDING * (abs(y[0]) + abs(hedge_ratio * x[0]))):
        return math.nan
    return -mean / sd


@kernel
def slow_due(market, s, p, by_update):
    """Whether this sample is one of the regression's: by the timer, or by the time since the last one."""
    if p.hedge_sample_ns == 0 or s.regressed == 0:
        return True
    if by_update is None:
        return market.is_due(p.hedge_sample_ns)
    return market.now_ts() - s.regressed_ts >= p.hedge_sample_ns


@kernel
def refresh_ratio(y, x, s, w, p):
    """Take in one sample of the regression; the hedge ratio is that of the last `hedge_window` of them."""
    at = s.regressed % p.hedge_window
    w[2, at], w[3, at] = y, x
    s.regressed += 1
    if s.regressed >= p.hedge_window:
        ratio = regress(w[2], w[3], p.hedge_window)
        s.fitted = 1 if math.isfinite(ratio) else 0
        if s.fitted == 1:
            s.hedge_ratio = ratio


@kernel
def rolling_z(market, prices, s, w, p, by_update):
    """Take in one sample of (y, x), refresh the hedge ratio if it is due; the z-score, NaN if there is none.

    ``refused`` becomes 1, once, if there is none although the windows are full: prices or spread do not vary.
    """
    y, x = prices
    at = s.samples % p.window
    w[0, at], w[1, at] = y, x
    s.samples += 1
    if p.hedge == _OLS and slow_due(market, s, p, by_update):
        refresh_ratio(y, x, s, w, p)
        s.regressed_ts = market.now_ts()
    s.spread = y - s.hedge_ratio * x
    if s.samples < p.window or (p.hedge == _OLS and s.regressed < p.hedge_window):
        return math.nan
    noise = tick_noise(market, s.hedge_ratio, p.log_prices)
    z = spread_z((w[0], w[1]), p.window, s.hedge_ratio, s.spread, noise) if s.fitted == 1 else math.nan
    if math.isnan(z) and s.samples >= p.warmup:
        s.refused = max(s.refused, 1)
    return z


@kernel
def innovation_z(y, x, s, p):
    """Take in one sample; the innovation over its standard deviation.

    The filter begins at the first sample with a covariance of zero, and drifts from then on. The hedge ratio is that
    after the sample, the innovation that before.
    """
    drift = p.drift / (1.0 - p.drift) if s.samples > 0 else 0.0
    innovation = kalman_update(s.kalman, x, y, drift, drift, p.observation_variance)
    s.samples += 1
    s.hedge_ratio, s.spread = s.kalman.hedge_ratio, innovation
    return innovation / math.sqrt(s.kalman.innovation_variance)


@kernel
def value_ratio(market, s, p):
    """Value of the second leg per value of the first: the hedge ratio itself if it is one of log prices."""
    if p.log_prices:
        return s.hedge_ratio
    return s.hedge_ratio * market.mid_px(1) / market.mid_px(0)


@kernel
def trade(views, s, p, z):
    """Decide at a z-score and commit to it; without a decision, let the second leg follow if that is wanted."""
    market = views[0]
    if -s.stopped * z <= p.exit_z:
        s.armed = 1
    if abs(z) <= p.entry_z:
        s.refused = 0
    may_enter = s.armed != 0 and s.samples >= p.warmup
    direction, kind = band_direction(s.direction, z, may_enter, (p.entry_z, p.exit_z, p.stop_z))
    if kind != 0:
        commit_pair(views, s, (direction, kind, z, s.spread), value_ratio(market, s, p))
    elif p.rebalance and s.direction != 0:
        px_0 = market.mid_px(0) * market.contract_size(0)
        px_1 = market.mid_px(1) * market.contract_size(1)
        ratio = value_ratio(market, s, p)
        target = -hedge_qty(s.target_qty[0], px_0, px_1, ratio, market.lot_size(1))
        if abs(target - s.target_qty[1]) > 0.5 * market.lot_size(1):
            s.target_qty[1], s.decided_ts = target, market.now_ts()


@kernel
def step(views, records, by_update, by_filter):
    """Sample, estimate, decide, work the legs; what a flag is None for is not compiled."""
    market, account, out = views
    p, s, w = records
    y, x = sample_px(market, 0, p), sample_px(market, 1, p)
    sampled = y > 0 and x > 0
    if by_update is not None:
        sampled = sampled and all_updated(market, s)
    closing = p.flat_at_end and market.now_ts() >= market.end_ts() - max(p.flatten_before_ns, s.gap_ns)
    if sampled:
        if p.log_prices:
            y, x = math.log(y), math.log(x)
        if by_filter is not None:
            z = innovation_z(y, x, s, p)
            if not all_moved(market, s, p):
                z = math.nan
                if s.samples >= p.warmup:
                    s.refused = max(s.refused, 1)
        else:
            z = rolling_z(market, (y, x), s, w, p, by_update)
        if not closing and not math.isnan(z):
            trade(views, s, p, z)
        if not closing:
            record_refusal(market, account, out, s)
    if closing and s.kind != _FLATTEN and s.kind != 0:
        close_legs(market, out, s, _FLATTEN, math.nan, math.nan)
    if s.kind != 0:
        work_legs(market, account, out, s, p)


@kernel
def on_timer_rolling(market, account, out, p, s, w):
    """Sample in fixed steps; z by rolling windows."""
    step((market, account, out), (p, s, w), None, None)


@kernel
def on_book_rolling(market, account, out, p, s, w):
    """Sample when both instruments have been updated; z by rolling windows."""
    step((market, account, out), (p, s, w), 1, None)


@kernel
def on_timer_filter(market, account, out, p, s, w):
    """Sample in fixed steps; z by the filter."""
    step((market, account, out), (p, s, w), None, 1)


@kernel
def on_book_filter(market, account, out, p, s, w):
    """Sample when both instruments have been updated; z by the filter."""
    step((market, account, out), (p, s, w), 1, 1)
