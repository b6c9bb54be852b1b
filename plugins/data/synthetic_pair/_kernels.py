"""The generator: one call fills an array with the next events of one leg.

Randomness is splitmix64 (Steele, Lea, Flood 2014): integers only, so a seed gives the same stream wherever it
runs. The paths have a stream of their own, which both legs draw alike: each leg is made alone, and they fit.
"""

from __future__ import annotations

import math

import numpy as np

from bt_framework.jit import cached_kernel, kernel

PARAMS = np.dtype(
    [
        ("end_ts", "i8"),
        ("path_step_ns", "i8"),
        ("latency_ns", "f8"),
        ("jitter_ns", "f8"),
        ("action_interval_ns", "f8"),
        ("trade_share", "f8"),
        ("phi", "f8"),
        ("mu", "f8"),
        ("stationary_sd", "f8"),
        ("spread_step", "f8"),
        ("walk_step", "f8"),
        ("log_constant", "f8"),
        ("walk_weight", "f8"),
        ("spread_weight", "f8"),
        ("tick_size", "f8"),
        ("ticks_per_unit", "f8"),
        ("lot_size", "f8"),
        ("lots_per_unit", "f8"),
        ("spread_ticks", "i8"),
        ("level_lots", "f8"),
        ("trade_lots", "f8"),
    ]
)
"""Of one leg. log fair price = log_constant + walk_weight * walk + spread_weight * spread.

``ticks_per_unit`` and ``lots_per_unit`` are 0 where they are no whole numbers."""

STATE = np.dtype(
    [
        ("path_rng", "u8"),
        ("book_rng", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("path_ts", "i8"),
        ("walk", "f8"),
        ("spread", "f8"),
        ("bid_ticks", "i8"),
        ("ask_ticks", "i8"),
        ("started", "i8"),
        ("events", "i8"),
    ]
)
"""Of one leg. ``bid_ticks`` and ``ask_ticks`` are the best prices as quoted; trades may have emptied them."""

BID = (1 << 31) | (1 << 30) | (1 << 29)
ASK = (1 << 31) | (1 << 30) | (1 << 28)
DEPTH, TRADE, SNAPSHOT = 1, 2, 4

GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
S_30, S_27, S_31, S_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
TO_UNIT = 1.0 / (1 << 53)


@kernel
def mixed(z):
    """splitmix64's output function of a uint64."""
    z = (z ^ (z >> S_30)) * MIX_1
    z = (z ^ (z >> S_27)) * MIX_2
    return z ^ (z >> S_31)


@kernel
def path_uniform(s):
    """Next number of the paths' stream, in (0, 1)."""
    s.path_rng = s.path_rng + GAMMA
    return (float(mixed(s.path_rng) >> S_11) + 0.5) * TO_UNIT


@kernel
def book_uniform(s):
    """Next number of the book's stream, in (0, 1)."""
    s.book_rng = s.book_rng + GAMMA
    return (float(mixed(s.book_rng) >> S_11) + 0.5) * TO_UNIT


@kernel
def random_lots(s, mean):
    """Whole lots >= 1, exponential with mean `mean`."""
    return 1 + int(-math.log(book_uniform(s)) * mean)


@kernel
def advance_path(s, p, ts):
    """Move walk and spread to the last grid point <= `ts`: exact Gaussian and AR(1) steps."""
    while s.path_ts + p.path_step_ns <= ts:
        radius = math.sqrt(-2.0 * math.log(path_uniform(s)))
        angle = 2.0 * math.pi * path_uniform(s)
        s.walk = s.walk + p.walk_step * (radius * math.cos(angle))
        s.spread = p.mu + p.phi * (s.spread - p.mu) + p.spread_step * (radius * math.sin(angle))
        s.path_ts = s.path_ts + p.path_step_ns


@kernel
def start_path(s, p):
    """Draw the first spread from its stationary distribution."""
    radius = math.sqrt(-2.0 * math.log(path_uniform(s)))
    s.spread = p.mu + p.stationary_sd * radius * math.cos(2.0 * math.pi * path_uniform(s))


@kernel
def fair_ticks(s, p):
    """Fair price in ticks, not rounded."""
    return math.exp(p.log_constant + p.walk_weight * s.walk + p.spread_weight * s.spread) / p.tick_size


@kernel
def emit(out, n, s, p, ev, ticks, lots):
    """Append one event at the state's times; returns the new count."""
    row = out[n]
    row["ev"] = ev
    row["exch_ts"] = s.exch_ts
    row["local_ts"] = s.local_ts
    row["px"] = ticks / p.ticks_per_unit if p.ticks_per_unit > 0.0 else ticks * p.tick_size
    row["qty"] = lots / p.lots_per_unit if p.lots_per_unit > 0.0 else lots * p.lot_size
    row["order_id"] = 0
    row["ival"] = 0
    row["fval"] = 0.0
    return n + 1


@kernel
def move_side(out, n, s, p, ev, lots, best, target, away):
    """Move one side's levels from `best` to `target`; `away` is -1 for bids, +1 for asks; returns the count.

    What leaves is deleted before what comes is added; a level that trades have emptied is filled up.
    """
    count = len(lots)
    shift = (target - best) * away
    for i in range(count):
        if lots[i] > 0 and (i < shift or i >= count + shift):
            n = emit(out, n, s, p, ev, best + away * i, 0)
    if shift > 0:
        for i in range(count):
            lots[i] = lots[i + shift] if i + shift < count else 0
    elif shift < 0:
        for i in range(count - 1, -1, -1):
            lots[i] = lots[i + shift] if i + shift >= 0 else 0
    for i in range(count):
        if lots[i] == 0:
            lots[i] = random_lots(s, p.level_lots)
            n = emit(out, n, s, p, ev, target + away * i, lots[i])
    return n


@kernel
def quote(out, n, s, p, bid_lots, ask_lots):
    """Let the book follow its fair price, and change the size of one level; returns the count.

    The side that the price moves away from goes last, so the book is not crossed between two events either.
    """
    bid = math.floor(fair_ticks(s, p) - 0.5 * p.spread_ticks + 0.5)
    bid = max(bid, len(bid_lots))
    ask = bid + p.spread_ticks
    if ask >= s.ask_ticks:
        n = move_side(out, n, s, p, ASK | DEPTH, ask_lots, s.ask_ticks, ask, 1)
        n = move_side(out, n, s, p, BID | DEPTH, bid_lots, s.bid_ticks, bid, -1)
    else:
        n = move_side(out, n, s, p, BID | DEPTH, bid_lots, s.bid_ticks, bid, -1)
        n = move_side(out, n, s, p, ASK | DEPTH, ask_lots, s.ask_ticks, ask, 1)
    s.bid_ticks = bid
    s.ask_ticks = ask
    i = int(book_uniform(s) * len(bid_lots))
    if book_uniform(s) < 0.5:
        bid_lots[i] = random_lots(s, p.level_lots)
        return emit(out, n, s, p, BID | DEPTH, bid - i, bid_lots[i])
    ask_lots[i] = random_lots(s, p.level_lots)
    return emit(out, n, s, p, ASK | DEPTH, ask + i, ask_lots[i])


@kernel
def take(out, n, s, p, lots, trade_ev, depth_ev, best, away):
    """Trade against the best level of one side, no more than it holds; returns the count."""
    for i in range(len(lots)):
        if lots[i] > 0:
            size = min(lots[i], random_lots(s, p.trade_lots))
            lots[i] -= size
            n = emit(out, n, s, p, trade_ev, best + away * i, size)
            return emit(out, n, s, p, depth_ev, best + away * i, lots[i])
    return n


@kernel
def trade(out, n, s, p, bid_lots, ask_lots):
    """One aggressor, more often towards where the fair price has left the quotes; returns the count."""
    drift = fair_ticks(s, p) - 0.5 * (s.bid_ticks + s.ask_ticks)
    buyer = book_uniform(s) < min(max(0.5 + 0.2 * drift, 0.05), 0.95)
    if buyer:
        return take(out, n, s, p, ask_lots, BID | TRADE, ASK | DEPTH, s.ask_ticks, 1)
    return take(out, n, s, p, bid_lots, ASK | TRADE, BID | DEPTH, s.bid_ticks, -1)


@kernel
def snapshot(out, n, s, p, bid_lots, ask_lots):
    """The whole book as it is at the start; returns the count."""
    s.bid_ticks = max(math.floor(fair_ticks(s, p) - 0.5 * p.spread_ticks + 0.5), len(bid_lots))
    s.ask_ticks = s.bid_ticks + p.spread_ticks
    for i in range(len(bid_lots)):
        bid_lots[i] = random_lots(s, p.level_lots)
        n = emit(out, n, s, p, BID | SNAPSHOT, s.bid_ticks - i, bid_lots[i])
    for i in range(len(ask_lots)):
        ask_lots[i] = random_lots(s, p.level_lots)
        n = emit(out, n, s, p, ASK | SNAPSHOT, s.ask_ticks + i, ask_lots[i])
    return n


@cached_kernel
def generate(out, s, p, bid_lots, ask_lots):
    """Fill `out` with the next events; returns how many, 0 at the end.

    Parameters
    ----------
    out : EVENT array of shape (n,), n >= 4 * n_levels + 2
    s, p : records of `STATE` and `PARAMS`
    bid_lots, ask_lots : int64 arrays of shape (n_levels,), lots at each level, best first
    """
    n = 0
    room = len(out) - 4 * len(bid_lots) - 2
    while n <= room and s.exch_ts < p.end_ts:
        if s.started == 0:
            start_path(s, p)
        advance_path(s, p, s.exch_ts)
        jitter = -math.log(book_uniform(s)) * p.jitter_ns
        s.local_ts = max(s.local_ts + 1, s.exch_ts + int(p.latency_ns + jitter))
        if s.started == 0:
            n = snapshot(out, n, s, p, bid_lots, ask_lots)
            s.started = 1
        elif book_uniform(s) < p.trade_share:
            n = trade(out, n, s, p, bid_lots, ask_lots)
        else:
            n = quote(out, n, s, p, bid_lots, ask_lots)
        s.exch_ts = s.exch_ts + 1 + int(-math.log(book_uniform(s)) * p.action_interval_ns)
    s.events = s.events + n
    return n
