"""Kernels of the pairs strategy: estimate, decide, work the legs."""

from __future__ import annotations

import math

import numpy as np

from bt_framework.jit import kernel
from bt_framework.records import Side, SignalKind, Tag
from bt_framework.stats.kalman import KALMAN, kalman_reset, kalman_update
from bt_framework.stats.ou import OU, ou_fit_spread

STATE = np.dtype(
    [
        ("kalman", KALMAN),
        ("fit", OU),
        ("log_px_0", "f8", (2,)),
        ("samples", "i8"),
        ("ready", "i8"),
        ("armed", "i8"),
        ("hedge_ratio", "f8"),
        ("mu", "f8"),
        ("stationary_sd", "f8"),
        ("half_life_s", "f8"),
        ("direction", "i8"),
        ("kind", "i8"),
        ("decided_ts", "i8"),
        ("target_qty", "f8", (2,)),
    ]
)

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_ENTER, _EXIT = int(SignalKind.ENTER), int(SignalKind.EXIT)
_STOP, _FLATTEN = int(SignalKind.STOP), int(SignalKind.FLATTEN)
_CHASE = int(Tag.CHASE)
_MICRO, _TAKER = 1, 1  # ordinal places in PriceKind and Execution
_NS_PER_S = 1e9


@kernel
def decide(direction, z, ready, armed, p):
    """What to do at a z-score.

    Parameters
    ----------
    direction : int
        Position in the spread: 1 long (first leg bought), -1 short, 0 none.
    z : float
        Spread's distance from its mean in stationary deviations; NaN changes nothing.
    ready, armed : int
        Whether the estimates allow entries, and whether z has been back since the last stop.
    p : record
        entry_z, exit_z, stop_z.

    Returns
    -------
    (int, int)
        New direction, and the signal kind, 0 for no change.
    """
    if direction == 0:
        if ready != 0 and armed != 0 and p.entry_z < abs(z) < p.stop_z:
            return (-1 if z > 0 else 1), _ENTER
        return 0, 0
    distance = -direction * z
    if distance >= p.stop_z:
        return 0, _STOP
    if distance <= p.exit_z:
        return 0, _EXIT
    return direction, 0


@kernel
def hedge_qty(qty, px, hedge_px, hedge_ratio, lot_size):
    """Quantity of the second leg, whole lots, signed as `qty` x `hedge_ratio`.

    A log-price hedge ratio is a ratio of values: hedge_ratio x qty x px / hedge_px. Both prices include the
    contract size.
    """
    return round(hedge_ratio * qty * px / hedge_px / lot_size) * lot_size


@kernel
def is_late(waited_ns, direction, other_leg_done, p):
    """Whether to stop resting and take: after `chase_after_ns`, if the other leg is done or we want out."""
    return waited_ns >= p.chase_after_ns and (direction == 0 or other_leg_done)


@kernel
def estimate(y, x, s, w, p):
    """Take in one sample of log prices; refresh hedge ratio and OU estimates when they are due."""
    capacity = w.shape[1]
    at = s.samples % capacity
    w[0, at], w[1, at] = x, y
    s.samples += 1
    kalman_update(s.kalman, x, y, p.intercept_drift_sd**2, p.hedge_ratio_drift_sd**2, p.observation_sd**2)
    if s.samples < capacity or s.samples % p.reestimate_every != 0:
        return
    oldest = s.samples % capacity
    status = ou_fit_spread(s.fit, w[0], w[1], oldest, capacity, s.kalman.hedge_ratio, p.sample_ns / _NS_PER_S)
    usable = status == 0 and s.fit.theta > 0 and s.fit.stationary_sd > 0
    s.ready = 1 if usable and s.samples >= p.warmup else 0
    if usable:
        s.hedge_ratio, s.mu, s.stationary_sd = s.kalman.hedge_ratio, s.fit.mu, s.fit.stationary_sd
        s.half_life_s = s.fit.half_life_s


@kernel
def sample_px(market, asset, p):
    """Price of an instrument, NaN while a side of its book is missing or the book is crossed."""
    if not market.best_ask_px(asset) > market.best_bid_px(asset):
        return math.nan
    return market.micro_px(asset) if p.price == _MICRO else market.mid_px(asset)


@kernel
def leg_done(market, account, s, asset):
    """Whether a leg is at its target."""
    return abs(s.target_qty[asset] - account.position_qty(asset)) < 0.5 * market.lot_size(asset)


@kernel
def work_leg(market, account, out, s, asset, take):
    """Bring one leg to its target: keep a good order, cancel a bad one, send one when none is left.

    `take` is 0 to rest at the touch, else the tag of the market order to send.
    """
    lot, tick = market.lot_size(asset), market.tick_size(asset)
    missing = s.target_qty[asset] - account.position_qty(asset)
    side = _BUY if missing > 0 else _SELL
    touch = market.best_bid_px(asset) if side > 0 else market.best_ask_px(asset)
    working = False
    for index in range(account.order_count()):
        order = account.order(index)
        if order.asset == asset:
            working = True
            fits = order.side == side and order.leaves_qty <= abs(missing) + 0.5 * lot
            resting = take == 0 and order.order_type == 0 and abs(order.px - touch) < 0.5 * tick
            if order.request == 0 and not (fits and resting):
                out.cancel(order)
    if working or abs(missing) < 0.5 * lot:
        return
    if take == 0:
        if touch > 0:  # NaN while a side of the book is missing
            out.limit(asset, side, touch, abs(missing), s.kind)
    else:
        out.market(asset, side, abs(missing), take)


@kernel
def commit(market, account, out, s, direction, kind, z, spread):
    """Log a decision and set the legs' targets, unless the size rounds to nothing."""
    target_0, target_1 = 0.0, 0.0
    if direction != 0:
        lot = market.lot_size(0)
        target_0 = direction * math.floor(account.unit_qty(0) / lot + 1e-9) * lot
        px_0 = market.mid_px(0) * market.contract_size(0)
        px_1 = market.mid_px(1) * market.contract_size(1)
        target_1 = -hedge_qty(target_0, px_0, px_1, s.hedge_ratio, market.lot_size(1))
        if target_0 == 0 or target_1 == 0:
            return
    s.target_qty[0], s.target_qty[1] = target_0, target_1
    s.direction, s.kind, s.decided_ts = direction, kind, market.now_ts()
    if kind == _STOP:
        s.armed = 0
    out.signal(kind, direction, z, spread, s.hedge_ratio, s.half_life_s)


@kernel
def work_legs(market, account, out, s, p):
    """Work both legs; take with a leg that lags, and give up a pair that stays one-legged."""
    done_0, done_1 = leg_done(market, account, s, 0), leg_done(market, account, s, 1)
    waited_ns = market.now_ts() - s.decided_ts
    if s.direction != 0 and done_0 != done_1 and waited_ns >= 3 * p.chase_after_ns + p.sample_ns:
        # Chasing did not help either (risk refuses it, say): half a pair is no position to keep.
        commit(market, account, out, s, 0, _STOP, math.nan, math.nan)
        done_0, done_1 = leg_done(market, account, s, 0), leg_done(market, account, s, 1)
    for asset in range(2):
        done, other_done = (done_0, done_1) if asset == 0 else (done_1, done_0)
        take = 0
        if s.kind == _STOP or s.kind == _FLATTEN or p.execution == _TAKER:
            take = s.kind
        elif not done and is_late(waited_ns, s.direction, other_done, p):
            take = _CHASE
        work_leg(market, account, out, s, asset, take)


@kernel
def on_timer(market, account, out, p, s, w):
    """Sample, estimate, decide, work the legs."""
    px_0, px_1 = sample_px(market, 0, p), sample_px(market, 1, p)
    closing = p.flat_at_end and market.now_ts() >= market.end_ts() - p.flatten_before_ns
    if px_0 > 0 and px_1 > 0:
        y, x = math.log(px_0), math.log(px_1)
        if s.samples == 0:
            s.log_px_0[0], s.log_px_0[1], s.armed = y, x, 1
            prior_0, prior_1 = p.intercept_prior_sd**2, p.hedge_ratio_prior_sd**2
            kalman_reset(s.kalman, 0.0, p.hedge_ratio_prior, prior_0, prior_1)
        y, x = y - s.log_px_0[0], x - s.log_px_0[1]
        estimate(y, x, s, w, p)
        if s.stationary_sd > 0 and not closing:
            spread = y - s.hedge_ratio * x
            z = (spread - s.mu) / s.stationary_sd
            if abs(z) <= p.exit_z:
                s.armed = 1
            direction, kind = decide(s.direction, z, s.ready, s.armed, p)
            if kind != 0:
                commit(market, account, out, s, direction, kind, z, spread)
    if closing and s.kind != _FLATTEN and s.kind != 0:
        commit(market, account, out, s, 0, _FLATTEN, math.nan, math.nan)
    if s.kind != 0:
        work_legs(market, account, out, s, p)
