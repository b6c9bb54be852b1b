"""Kernels of strategies that hold several legs: sample prices, close, and work the orders towards the targets.

`s` is a record with the fields of `bt_framework.engine.legs.legs_fields`, `p` one of a `LegsConfig`.
"""

from __future__ import annotations

import math

from bt_framework.jit import kernel
from bt_framework.records import Side, SignalKind, Tag

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_ENTER, _EXIT, _STOP = int(SignalKind.ENTER), int(SignalKind.EXIT), int(SignalKind.STOP)
_FLATTEN, _REFUSED = int(SignalKind.FLATTEN), int(SignalKind.REFUSED)
_CHASE = int(Tag.CHASE)
_MICRO, _TAKER = 1, 1  # ordinal places in PriceKind and Execution


@kernel
def sample_px(market, asset, p):
    """Price of an instrument, NaN while a side of its book is missing or the book is crossed."""
    bid_px, ask_px = market.best_bid_px(asset), market.best_ask_px(asset)
    if not ask_px > bid_px:
        return math.nan
    return market.micro_px(asset) if p.price == _MICRO else (bid_px + ask_px) / 2


@kernel
def all_updated(market, s):
    """Whether every instrument has been updated since the last sample; if so, this is the time of the next."""
    for asset in range(market.count()):
        if market.update_ts(asset) <= s.sampled_ts:
            return False
    now_ts = market.now_ts()
    if s.sampled_ts > 0:
        s.gap_ns = now_ts - s.sampled_ts
    s.sampled_ts = now_ts
    return True


@kernel
def has_moved(s, asset, px):
    """Whether an instrument has had another price than its first, `px` being that of this sample."""
    if s.moved[asset] == 0:
        if s.first_px[asset] == 0:
            s.first_px[asset] = px
        s.moved[asset] = 1 if px != s.first_px[asset] else 0
    return s.moved[asset] == 1


@kernel
def all_moved(market, s, p):
    """Whether every instrument has had another price than its first: no ratio can be learnt of a constant one.

    To be called at each sample.
    """
    moved = True
    for asset in range(len(s.moved)):
        if s.moved[asset] == 0:
            moved = has_moved(s, asset, sample_px(market, asset, p)) and moved
    return moved


@kernel
def tick_noise(market, hedge_ratio, log_prices):
    """Deviation of a pair's spread that may come of rounding prices to ticks: half a tick of each leg, as of a sum.

    In units of the spread, of prices or of their logarithms. Legs that are multiples of each other have less.
    """
    tick_0, tick_1 = market.tick_size(0), market.tick_size(1)
    if log_prices:
        tick_0, tick_1 = tick_0 / market.mid_px(0), tick_1 / market.mid_px(1)
    return 0.5 * math.sqrt(tick_0**2 + (hedge_ratio * tick_1) ** 2)


@kernel
def leg_done(market, account, s, asset):
    """Whether a leg is at its target."""
    return abs(s.target_qty[asset] - account.position_qty(asset)) < 0.5 * market.lot_size(asset)


@kernel
def legs_done(market, account, s):
    """How many legs are at their targets."""
    done = 0
    for asset in range(market.count()):
        if leg_done(market, account, s, asset):
            done += 1
    return done


@kernel
def close_legs(market, out, s, kind, z, spread):
    """Log a decision to be out, a `SignalKind`, and target nothing; a stop disarms."""
    for asset in range(market.count()):
        s.target_qty[asset] = 0.0
    if kind == _STOP:
        s.armed, s.stopped = 0, s.direction
    s.direction, s.kind, s.decided_ts = 0, kind, market.now_ts()
    out.signal(kind, 0, z, spread, s.hedge_ratio, s.half_life_s)


@kernel
def band_direction(direction, z, may_enter, levels):
    """What to do at a distance from where a spread should be.

    Parameters
    ----------
    direction : int
        Position in the spread: 1 long, -1 short, 0 none.
    z : float
        Distance in any unit; NaN changes nothing.
    may_enter : bool
        Whether entries are allowed.
    levels : (float, float, float)
        Enter beyond the first, on the other side of zero than the position; leave within the second, which may be as
        large as the first; give up beyond the third, of which 0 is none.

    Returns
    -------
    (int, int)
        New direction, and the signal kind, 0 for no change; a reversal is an entry.
    """
    entry, leave, stop = levels
    if math.isnan(z):
        return direction, 0
    distance = -direction * z
    if direction != 0 and 0 < stop <= distance:
        return 0, _STOP
    wanted = 0
    if may_enter and abs(z) > entry and (stop == 0 or abs(z) < stop):
        wanted = -1 if z > 0 else 1
    elif direction != 0 and distance > leave:
        wanted = direction
    if wanted == direction:
        return direction, 0
    return wanted, (_ENTER if wanted != 0 else _EXIT)


@kernel
def hedge_qty(qty, px, hedge_px, value_ratio, lot_size):
    """Quantity of the second leg, whole lots, signed as `qty` x `value_ratio`.

    `value_ratio` is the value held of the second leg per value of the first, which is what a hedge ratio of log prices
    is: value_ratio x qty x px / hedge_px. Both prices include the contract size.
    """
    return round(value_ratio * qty * px / hedge_px / lot_size) * lot_size


@kernel
def commit_pair(views, s, decision, value_ratio):
    """Log a decision on a spread and set both legs' targets; an entry of which a leg rounds to nothing is none.

    Parameters
    ----------
    views : (market, account, out)
    s : record
        ``refused`` becomes 1, once, if a leg rounds to nothing; a position in the other direction is closed.
    decision : (int, int, float, float)
        Direction (1: the first leg is bought), `SignalKind`, z, spread.
    value_ratio : float
        See `hedge_qty`; finite.
    """
    market, account, out = views
    direction, kind, z, spread = decision
    if direction == 0:
        close_legs(market, out, s, kind, z, spread)
        return
    lot = market.lot_size(0)
    target_0 = direction * math.floor(account.unit_qty(0) / lot + 1e-9) * lot
    px_0 = market.mid_px(0) * market.contract_size(0)
    px_1 = market.mid_px(1) * market.contract_size(1)
    target_1 = -hedge_qty(target_0, px_0, px_1, value_ratio, market.lot_size(1))
    if target_0 == 0 or target_1 == 0:
        s.refused = max(s.refused, 1)
        if s.direction != 0:
            close_legs(market, out, s, _EXIT, z, spread)
        return
    s.target_qty[0], s.target_qty[1] = target_0, target_1
    s.direction, s.kind, s.decided_ts = direction, kind, market.now_ts()
    out.signal(kind, direction, z, spread, s.hedge_ratio, s.half_life_s)


@kernel
def record_refusal(market, account, out, s):
    """Log once, while flat, that there are no estimates to enter on; orders never carry the id of such a signal."""
    if s.refused != 1 or s.direction != 0 or account.order_count() > 0:
        return
    if legs_done(market, account, s) == market.count():
        s.refused = 2
        out.signal(_REFUSED, 0, math.nan, math.nan, s.hedge_ratio, math.nan)


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
def is_late(waited_ns, direction, other_leg_done, p):
    """Whether to stop resting and take: after `chase_after_ns`, if another leg is done or we want out."""
    return waited_ns >= p.chase_after_ns and (direction == 0 or other_leg_done)


@kernel
def work_legs(market, account, out, s, p):
    """Work all legs; take with legs that lag, and give up a position of which a leg stays missing."""
    count = market.count()
    done = legs_done(market, account, s)
    if done == count and account.order_count() == 0:
        return
    waited_ns = market.now_ts() - s.decided_ts
    if s.direction != 0 and 0 < done < count and waited_ns >= 3 * p.chase_after_ns + p.sample_ns:
        # Chasing did not help either (risk refuses it, say): a part of the legs is no position to keep.
        close_legs(market, out, s, _STOP, math.nan, math.nan)
    for asset in range(count):
        take = 0
        if s.kind == _STOP or s.kind == _FLATTEN or p.execution == _TAKER:
            take = s.kind
        elif not leg_done(market, account, s, asset) and is_late(waited_ns, s.direction, done > 0, p):
            take = _CHASE
        work_leg(market, account, out, s, asset, take)
