"""Kernels of the basket strategy: spread, z-score, units of the basket, legs."""

from __future__ import annotations

import math

import numpy as np

from bt_framework.engine.leg_kernels import (
    all_updated,
    band_direction,
    close_legs,
    record_refusal,
    sample_px,
    work_legs,
)
from bt_framework.engine.legs import legs_fields
from bt_framework.jit import kernel
from bt_framework.records import SignalKind

_ENTER, _EXIT = int(SignalKind.ENTER), int(SignalKind.EXIT)
_FLATTEN = int(SignalKind.FLATTEN)
_BANDS = 1  # ordinal place in Trading
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)


def state_dtype(count: int) -> np.dtype:
    """State of a basket of `count` legs.

    ``units`` is the position in baskets, ``noise`` the deviation of the spread that may come of rounding: half a tick
    of each leg, and the last digits of its terms.
    """
    return np.dtype(
        [*legs_fields(count), ("samples", "i8"), ("units", "f8"), ("spread", "f8"), ("noise", "f8")]
    )


@kernel
def basket_spread(market, s, p):
    """Set the spread, the sum of weight x price, and its noise; False if a price is missing."""
    spread, noise = 0.0, 0.0
    for asset in range(market.count()):
        px = sample_px(market, asset, p)
        if not px > 0:
            return False
        term = p.weights[asset] * (math.log(px) if p.log_prices else px)
        spread += term
        tick = market.tick_size(asset) / px if p.log_prices else market.tick_size(asset)
        noise += 0.5 * abs(p.weights[asset]) * tick + _ROUNDING * abs(term)
    s.spread, s.noise = spread, noise
    return True


@kernel
def window_z(values, latest, noise):
    """Distance of `latest` from the mean of `values`, in their standard deviations.

    The deviation is the sample's, divided by n - 1; NaN if it is not above `noise`.
    """
    mean = 0.0
    for value in values:
        mean += value - latest
    mean /= len(values)
    squares = 0.0
    for value in values:
        squares += (value - latest - mean) ** 2
    sd = math.sqrt(squares / (len(values) - 1))
    return -mean / sd if sd > noise else math.nan


@kernel
def linear_units(z, units, p):
    """Position for a z-score, in units of the basket: -z, within `max_units`; `units` if the change is too small."""
    wanted = max(-p.max_units, min(p.max_units, -z))
    return units if abs(wanted - units) < p.min_change_units else wanted


@kernel
def leg_qty(market, account, asset, units, p):
    """Quantity of a leg in `units` of the basket, whole lots.

    One unit holds ``unit_qty`` of the first instrument. Weights of prices are base units, weights of log prices values;
    prices include the contract sizes.
    """
    px_0 = market.mid_px(0) * market.contract_size(0)
    px = market.mid_px(asset) * market.contract_size(asset)
    value_0, value = p.weights[0], p.weights[asset]
    if not p.log_prices:
        value_0, value = value_0 * market.mid_px(0), value * market.mid_px(asset)
    lot = market.lot_size(asset)
    return round(units * account.unit_qty(0) * value / abs(value_0) * px_0 / px / lot) * lot


@kernel
def set_targets(market, account, s, units, p):
    """Target every leg of `units` of the basket; returns whether none of them rounds to nothing."""
    whole = True
    for asset in range(market.count()):
        target = leg_qty(market, account, asset, units, p)
        whole = whole and target != 0
        if abs(target - s.target_qty[asset]) > 0.5 * market.lot_size(asset):
            s.decided_ts = market.now_ts()
        s.target_qty[asset] = target
    s.units = units
    return whole


@kernel
def wanted_position(s, p, z):
    """Return (direction, signal kind or 0, units) for a z-score."""
    if p.trading == _BANDS:
        levels = (p.entry_z, p.exit_z, p.stop_z)
        direction, kind = band_direction(s.direction, z, s.armed != 0, levels)
        return direction, kind, s.units if kind == 0 else float(direction)
    units = linear_units(z, s.units, p)
    direction = 1 if units > 0 else -1 if units < 0 else 0
    kind = 0 if direction == s.direction else _ENTER if direction != 0 else _EXIT
    return direction, kind, units


@kernel
def trade(views, s, p, z):
    """Decide at a z-score and set the targets; a position of which a leg rounds to nothing is none."""
    market, account, out = views
    if -s.stopped * z <= p.exit_z:
        s.armed = 1
    direction, kind, units = wanted_position(s, p, z)
    if direction == 0 and kind != 0:
        s.units = 0.0
        close_legs(market, out, s, kind, z, s.spread)
    elif direction != 0 and (kind != 0 or units != s.units):
        if set_targets(market, account, s, units, p):
            s.refused = 0
            if kind != 0:
                s.direction, s.kind, s.decided_ts = direction, kind, market.now_ts()
                out.signal(kind, direction, z, s.spread, s.hedge_ratio, s.half_life_s)
            return
        if abs(units) >= 1:  # less than a unit may well round to nothing: that is no refusal
            s.refused = max(s.refused, 1)
        s.units = 0.0
        for asset in range(market.count()):
            s.target_qty[asset] = 0.0
        if s.direction != 0:
            close_legs(market, out, s, _EXIT, z, s.spread)


@kernel
def step(views, records, by_update):
    """Sample, decide, work the legs; `by_update` is 1, or None, which leaves its code out."""
    market, account, out = views
    p, s, w = records
    sampled = basket_spread(market, s, p)
    if by_update is not None:
        sampled = sampled and all_updated(market, s)
    closing = p.flat_at_end and market.now_ts() >= market.end_ts() - max(p.flatten_before_ns, s.gap_ns)
    if sampled:
        w[0, s.samples % p.window] = s.spread
        s.samples += 1
        if s.samples >= p.window:
            z = window_z(w[0], s.spread, s.noise)
            if math.isnan(z):
                s.refused = max(s.refused, 1)
            elif not closing:
                trade(views, s, p, z)
        if not closing:
            record_refusal(market, account, out, s)
    if closing and s.kind != _FLATTEN and s.kind != 0:
        close_legs(market, out, s, _FLATTEN, math.nan, math.nan)
    if s.kind != 0:
        work_legs(market, account, out, s, p)


@kernel
def on_timer(market, account, out, p, s, w):
    """Sample in fixed steps."""
    step((market, account, out), (p, s, w), None)


@kernel
def on_book(market, account, out, p, s, w):
    """Sample when all instruments have been updated."""
    step((market, account, out), (p, s, w), 1)
