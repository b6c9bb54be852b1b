"""The pairs strategy as a plain hftbacktest script, for comparison: nothing of the framework is imported.

What it shares with the built-in strategy ``ou_pairs`` is the description of its decisions, not a line of code: it
wakes every 100 ms with `elapse`, keeps at most one order per leg, counts in whole lots, takes its position from
the engine, and tells the time of a fill from the exchange's time and the constant response latency.

::

    python benchmarks/by_hand/ou_pairs.py BTC.npy ETH.npy --tick-size 0.1 0.01 --lot-size 0.001 0.001
"""

from __future__ import annotations

import argparse
import json
import math
from typing import NamedTuple

import numpy as np
from hftbacktest import (
    BUY,
    CANCELED,
    EXPIRED,
    FILLED,
    GTX,
    LIMIT,
    MARKET,
    NONE,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    Recorder,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.order import IOC, REJECTED
from numba import njit

ENTER, EXIT, STOP, FLATTEN = 1, 2, 3, 4
LOCAL_EVENT = 1 << 30

FILL = np.dtype(
    [
        ("local_ts", "i8"),
        ("exch_ts", "i8"),
        ("leg", "i8"),
        ("side", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("maker", "i8"),
    ]
)


class Setup(NamedTuple):
    """What the strategy and its limits are set to; times in ns, thresholds in stationary deviations."""

    start_ts: int
    end_ts: int
    step_ns: int = 100_000_000
    response_ns: int = 250_000
    record_every: int = 1
    window: int = 600
    warmup: int = 600
    refit_every: int = 10
    beta_mean: float = 1.0
    beta_sd: float = 1.0
    alpha_sd: float = 1e-3
    beta_walk_sd: float = 1e-5
    alpha_walk_sd: float = 1e-7
    noise_sd: float = 1e-4
    entry_z: float = 2.0
    exit_z: float = 0.5
    stop_z: float = 5.0
    taker: bool = False
    chase_ns: int = 2_000_000_000
    flatten_ns: int = 5_000_000_000
    notional: float = 10_000.0
    max_position_notional: float = 50_000.0
    max_order_notional: float = 25_000.0


@njit
def filter_step(belief, x, y, setup):
    """Kalman filter of y = alpha + beta x; `belief` is (alpha, beta, var alpha, covariance, var beta)."""
    alpha, beta, aa, ab, bb = belief
    aa += setup.alpha_walk_sd**2
    bb += setup.beta_walk_sd**2
    cov_a, cov_b = aa + ab * x, ab + bb * x
    total = cov_a + cov_b * x + setup.noise_sd**2
    surprise = y - alpha - beta * x
    alpha += cov_a * surprise / total
    beta += cov_b * surprise / total
    return alpha, beta, aa - cov_a * cov_a / total, ab - cov_a * cov_b / total, bb - cov_b * cov_b / total


@njit
def fit_spread(spread):
    """Mean and stationary deviation of a first-order autoregression; a deviation of 0 if it does not revert.

    Plain loops, for the sake of the compiler: array expressions take it a second longer.
    """
    n = len(spread) - 1
    past_mean, then_mean = 0.0, 0.0
    for i in range(n):
        past_mean += spread[i] / n
        then_mean += spread[i + 1] / n
    past_past, past_then, then_then = 0.0, 0.0, 0.0
    for i in range(n):
        past, then = spread[i] - past_mean, spread[i + 1] - then_mean
        past_past += past * past
        past_then += past * then
        then_then += then * then
    if past_past <= 0.0:
        return 0.0, 0.0
    phi = past_then / past_past
    if not 0.0 < phi < 1.0:
        return 0.0, 0.0
    variance = (then_then - phi * past_then) / n
    if variance <= 0.0:
        return 0.0, 0.0
    return (then_mean - phi * past_mean) / (1.0 - phi), math.sqrt(variance / (1.0 - phi * phi))


@njit
def note_fill(hbt, leg, order_id, response_ns, fills, count):
    """Look at the leg's order: log it if it has filled. Returns (the order's id, 0 once it is finished; fills)."""
    order = hbt.orders(leg).get(order_id)
    if order is None:
        return 0, count
    if order.status == FILLED:
        row = fills[count]
        row.exch_ts, row.local_ts = order.exch_timestamp, order.exch_timestamp + response_ns
        row.leg, row.side, row.maker = leg, order.side, order.arr[0].maker
        row.px, row.qty = order.exec_price, order.qty  # orders fill whole or not at all
        count += 1
    if (
        order.status == FILLED
        or order.status == CANCELED
        or order.status == EXPIRED
        or order.status == REJECTED
    ):
        hbt.clear_inactive_orders(leg)
        return 0, count
    return order_id, count


@njit
def allowed(position, mid, side, px, qty, setup):
    """The two limits: value of the order, and of the position after it; what only reduces may always pass."""
    if px * qty > setup.max_order_notional:
        return False
    if position * side < 0 and qty <= abs(position) * (1 + 1e-12):
        return True
    return abs(position + side * qty) * mid <= setup.max_position_notional


@njit
def work_leg(hbt, leg, missing_lots, take, order_id, next_id, setup):
    """Move a leg towards its target by one request at most; returns the id of the leg's order, 0 for none."""
    depth = hbt.depth(leg)
    buy = missing_lots > 0
    touch_tick = depth.best_bid_tick if buy else depth.best_ask_tick
    if order_id != 0:
        order = hbt.orders(leg).get(order_id)
        if order is not None and order.req == NONE:
            good = not take and order.order_type == LIMIT and order.price_tick == touch_tick
            good = good and (order.side == BUY) == buy
            if not good or round(order.qty / depth.lot_size) > abs(missing_lots):
                hbt.cancel(leg, order_id, False)
        return order_id
    if missing_lots == 0:
        return 0
    bid, ask = depth.best_bid, depth.best_ask
    px = (ask if buy else bid) if take else (bid if buy else ask)
    qty = abs(missing_lots) * depth.lot_size
    mid = (bid + ask) / 2
    if not (bid > 0 and ask > 0) or not allowed(hbt.position(leg), mid, 1 if buy else -1, px, qty, setup):
        return 0
    time_in_force, order_type = (IOC, MARKET) if take else (GTX, LIMIT)
    if buy:
        hbt.submit_buy_order(leg, next_id, px, qty, time_in_force, order_type, False)
    else:
        hbt.submit_sell_order(leg, next_id, px, qty, time_in_force, order_type, False)
    return next_id


@njit
def target_lots(hbt, direction, beta, notional):
    """Lots of both legs for a position in the spread, the second hedged by value."""
    y, x = hbt.depth(0), hbt.depth(1)
    y_mid, x_mid = (y.best_bid + y.best_ask) / 2, (x.best_bid + x.best_ask) / 2
    y_lots = math.floor(notional / y_mid / y.lot_size + 1e-9)
    x_lots = round(beta * y_lots * y.lot_size * y_mid / x_mid / x.lot_size)
    return direction * y_lots, -direction * x_lots


@njit
def decide(direction, z, can_enter, setup):
    """New direction in the spread, and why it changes (0: it does not)."""
    if direction == 0:
        if can_enter and setup.entry_z < abs(z) < setup.stop_z:
            return (-1 if z > 0 else 1), ENTER
        return 0, 0
    against = -direction * z
    if against >= setup.stop_z:
        return 0, STOP
    return (0, EXIT) if against <= setup.exit_z else (direction, 0)


@njit
def trade(hbt, recorder, fills, setup):
    """Run the strategy from start to end; returns the number of fills."""
    xs, ys, spread = np.zeros(setup.window), np.zeros(setup.window), np.zeros(setup.window)
    belief = (0.0, setup.beta_mean, setup.alpha_sd**2, 0.0, setup.beta_sd**2)
    samples, fitted_beta, mean, deviation, can_enter, rearmed = 0, 0.0, 0.0, 0.0, False, True
    x_0, y_0 = 0.0, 0.0
    direction, why, decided_ts = 0, 0, 0
    want = np.zeros(2, np.int64)
    missing = np.zeros(2, np.int64)
    live = np.zeros(2, np.int64)
    next_id, count, steps = 1, 0, 0

    ended = hbt.elapse(0) != 0
    if not ended and hbt.current_timestamp < setup.start_ts:
        ended = hbt.elapse(setup.start_ts - hbt.current_timestamp) != 0
    recorder.record(hbt)
    while not ended:
        now = hbt.current_timestamp
        ended = hbt.elapse(min(setup.step_ns, setup.end_ts - now)) != 0
        for leg in range(2):
            if live[leg] != 0:
                live[leg], count = note_fill(hbt, leg, live[leg], setup.response_ns, fills, count)
        now = hbt.current_timestamp
        if ended or now >= setup.end_ts:
            break
        closing = now >= setup.end_ts - setup.flatten_ns
        y_book, x_book = hbt.depth(0), hbt.depth(1)
        if y_book.best_ask > y_book.best_bid and x_book.best_ask > x_book.best_bid:
            y = math.log((y_book.best_bid + y_book.best_ask) / 2)
            x = math.log((x_book.best_bid + x_book.best_ask) / 2)
            if samples == 0:
                x_0, y_0 = x, y
            x, y = x - x_0, y - y_0
            xs[samples % setup.window], ys[samples % setup.window] = x, y
            samples += 1
            belief = filter_step(belief, x, y, setup)
            if samples >= setup.window and samples % setup.refit_every == 0:
                for age in range(setup.window):
                    at = (samples + age) % setup.window
                    spread[age] = ys[at] - belief[1] * xs[at]
                new_mean, new_deviation = fit_spread(spread)
                can_enter = new_deviation > 0.0 and samples >= setup.warmup
                if new_deviation > 0.0:
                    fitted_beta, mean, deviation = belief[1], new_mean, new_deviation
            if deviation > 0.0 and not closing:
                z = (y - fitted_beta * x - mean) / deviation
                rearmed = rearmed or abs(z) <= setup.exit_z
                to, reason = decide(direction, z, can_enter and rearmed, setup)
                lots = target_lots(hbt, to, fitted_beta, setup.notional) if to != 0 else (0, 0)
                if reason != 0 and (to == 0 or (lots[0] != 0 and lots[1] != 0)):
                    want[0], want[1] = lots
                    direction, why, decided_ts = to, reason, now
                    rearmed = rearmed and reason != STOP
        if closing and why != 0 and why != FLATTEN:
            want[:] = 0
            direction, why, decided_ts = 0, FLATTEN, now
        if why != 0:
            for leg in range(2):
                missing[leg] = want[leg] - round(hbt.position(leg) / hbt.depth(leg).lot_size)
            waited = now - decided_ts
            one_legged = (missing[0] == 0) != (missing[1] == 0)
            if direction != 0 and one_legged and waited >= 3 * setup.chase_ns + setup.step_ns:
                missing -= want
                want[:] = 0
                direction, why, decided_ts, waited, rearmed = 0, STOP, now, 0, False
            late = waited >= setup.chase_ns
            for leg in range(2):
                chase = late and missing[leg] != 0 and (direction == 0 or missing[1 - leg] == 0)
                take = setup.taker or why in (STOP, FLATTEN) or chase
                order_id = work_leg(hbt, leg, missing[leg], take, live[leg], next_id, setup)
                if order_id == next_id:
                    next_id += 1
                live[leg] = order_id
        steps += 1
        if steps % setup.record_every == 0:
            recorder.record(hbt)
    recorder.record(hbt)
    return count


class Venue(NamedTuple):
    """The exchange: latencies in ns, fees as fractions of value, price bounds for the vector book (None: hash map)."""

    tick_size: tuple[float, ...] = (0.1, 0.01)
    lot_size: tuple[float, ...] = (0.001, 0.001)
    low_px: tuple[float, ...] | None = None
    high_px: tuple[float, ...] | None = None
    entry_ns: int = 250_000
    response_ns: int = 250_000
    queue: str = "risk_averse"
    exponent: float = 3.0
    maker_frac: float = 2e-4
    taker_frac: float = 5e-4


def build_engine(events, venue):
    """Return the backtest of both legs. Keep `events` alive as long as it: it holds bare pointers to them."""
    assets = []
    for leg, data in enumerate(events):
        asset = BacktestAsset().data([data]).linear_asset(1.0)
        asset.constant_order_latency(venue.entry_ns, venue.response_ns)
        if venue.queue == "risk_averse":
            asset.risk_adverse_queue_model()
        elif venue.queue == "log_prob":
            asset.log_prob_queue_model()
        else:
            asset.power_prob_queue_model(venue.exponent)
        asset.no_partial_fill_exchange().trading_value_fee_model(venue.maker_frac, venue.taker_frac)
        asset.tick_size(venue.tick_size[leg]).lot_size(venue.lot_size[leg]).last_trades_capacity(0)
        if venue.low_px is not None and venue.high_px is not None:
            asset.roi_lb(venue.low_px[leg]).roi_ub(venue.high_px[leg])
        assets.append(asset)
    return (
        HashMapMarketDepthBacktest(assets) if venue.low_px is None else ROIVectorMarketDepthBacktest(assets)
    )


def common_time(events):
    """First and last local time that both legs have data for, ns."""
    local_ts = [data["local_ts"][(data["ev"] & LOCAL_EVENT) != 0] for data in events]
    return max(int(ts.min()) for ts in local_ts), min(int(ts.max()) for ts in local_ts)


def backtest(events, venue, **settings):
    """Run it once; returns (fills, recorder). `settings` are fields of `Setup`."""
    start_ts, end_ts = common_time(events)
    setup = Setup(start_ts, end_ts, response_ns=venue.response_ns, **settings)
    recorder = Recorder(2, (end_ts - start_ts) // setup.step_ns // setup.record_every + 8)
    fills = np.zeros(100_000, FILL).view(np.recarray)
    hbt = build_engine(events, venue)
    count = trade(hbt, recorder.recorder, fills, setup)
    hbt.close()
    return fills[:count], recorder


def _arguments():
    parser = argparse.ArgumentParser(description="The pairs strategy as a plain hftbacktest script.")
    parser.add_argument("files", nargs=2, help="events of both legs, .npy")
    parser.add_argument("--tick-size", nargs=2, type=float, default=[0.1, 0.01])
    parser.add_argument("--lot-size", nargs=2, type=float, default=[0.001, 0.001])
    parser.add_argument(
        "--low-px", nargs=2, type=float, help="lower bounds of the vector book; default: hash map"
    )
    parser.add_argument("--high-px", nargs=2, type=float, help="upper bounds of the vector book")
    return parser.parse_args()


def main():
    """Run over two files and print what came of it as JSON, fills included."""
    args = _arguments()
    events = [np.load(file) for file in args.files]
    bounds = (args.low_px and tuple(args.low_px), args.high_px and tuple(args.high_px))
    fills, recorder = backtest(events, Venue(tuple(args.tick_size), tuple(args.lot_size), *bounds))
    equity = 0.0
    for leg in range(2):
        last = recorder.get(leg)[-1]
        equity += float(last["balance"] + last["position"] * last["price"] - last["fee"])
    rows = [dict(zip(FILL.names, row.tolist(), strict=True)) for row in np.asarray(fills)]
    print(json.dumps({"fills": len(rows), "pnl": equity, "events": sum(map(len, events)), "rows": rows}))


if __name__ == "__main__":
    main()
