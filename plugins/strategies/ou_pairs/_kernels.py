"""Kernels of the pairs strategy: estimate, decide, work the legs."""

from __future__ import annotations

import math

import numpy as np

from bt_framework.engine.leg_kernels import (
    all_updated,
    close_legs,
    commit_pair,
    has_moved,
    record_refusal,
    sample_px,
    work_legs,
)
from bt_framework.engine.legs import legs_fields
from bt_framework.jit import kernel
from bt_framework.records import SignalKind
from bt_framework.stats.kalman import KALMAN, kalman_reset, kalman_update
from bt_framework.stats.ou import OU, ou_fit_spread
from bt_framework.stats.ou_bias import ou_unbias
from bt_plugins.strategies.ou_pairs._levels import LEVELS, set_levels

STATE = np.dtype(
    [
        ("kalman", KALMAN),
        ("fit", OU),
        *legs_fields(2),
        ("log_px_0", "f8", (2,)),
        ("samples", "i8"),
        ("ready", "i8"),
        ("mu", "f8"),
        ("stationary_sd", "f8"),
        *[(name, LEVELS[name]) for name in LEVELS.names or ()],
        ("first_ts", "i8"),
        ("entry_half_life_s", "f8"),
        ("least_sd", "f8"),
        ("news_from_ts", "i8"),
        ("in_filter", "i8"),
        ("path_samples", "i8"),
    ]
)
"""``least_sd`` is what rounding may leave of collinear legs, ``news_from_ts`` when the first bar closes that a stored
filter has not seen, ``in_filter`` whether this sample has been taken in before, ``path_samples`` how many samples there
are to follow of the path in `w`."""

PATH_FIELDS = 8
"""Of each sample in the path: both prices, hedge_ratio, mu, stationary_sd, half_life_s, ready, and whether the
estimates were refused. They lie one after the other behind the first two rows of `w`."""

_ENTER, _EXIT = int(SignalKind.ENTER), int(SignalKind.EXIT)
_STOP, _FLATTEN = int(SignalKind.STOP), int(SignalKind.FLATTEN)
_UNBIASED = 1  # ordinal place in Estimator
_NS_PER_S = 1e9
_ROUNDING_SD = 1e-12  # log price: what collinear legs leave is the rounding of logarithms, and that to ticks


@kernel
def decide(direction, z, ready, armed, levels):
    """What to do at a z-score.

    Parameters
    ----------
    direction : int
        Position in the spread: 1 long (first leg bought), -1 short, 0 none.
    z : float
        Spread's distance from its mean in stationary deviations; NaN changes nothing.
    ready, armed : int
        Whether the estimates allow entries, and whether z has been back since the last stop.
    levels : record
        entry_z, exit_z, stop_z.

    Returns
    -------
    (int, int)
        New direction, and the signal kind, 0 for no change.
    """
    if direction == 0:
        if ready != 0 and armed != 0 and levels.entry_z < abs(z) < levels.stop_z:
            return (-1 if z > 0 else 1), _ENTER
        return 0, 0
    distance = -direction * z
    if distance >= levels.stop_z:
        return 0, _STOP
    if distance <= levels.exit_z:
        return 0, _EXIT
    return direction, 0


@kernel
def estimate(prices, s, w, p, dt_s, optimal):
    """Take in one sample of log prices (y, x); refresh hedge ratio, OU estimates and thresholds when they are due.

    `dt_s` is the time between samples, seconds; `optimal` is 1 or None, which leaves out all but plain z-scores.
    """
    y, x = prices
    capacity = w.shape[1]
    at = s.samples % capacity
    w[0, at], w[1, at] = x, y
    s.samples += 1
    if s.in_filter == 0:
        noise = p.intercept_drift_sd**2, p.hedge_ratio_drift_sd**2, p.observation_sd**2
        kalman_update(s.kalman, x, y, noise[0], noise[1], noise[2])
    if s.samples < capacity or s.samples % p.reestimate_every != 0:
        return
    oldest = s.samples % capacity
    status = ou_fit_spread(s.fit, w[0], w[1], oldest, capacity, s.kalman.hedge_ratio, dt_s)
    if optimal is not None and p.estimator == _UNBIASED:
        status = ou_unbias(s.fit, dt_s)
    usable = status == 0 and s.fit.theta > 0 and s.fit.stationary_sd > s.least_sd
    if usable:
        s.hedge_ratio, s.mu, s.stationary_sd = s.kalman.hedge_ratio, s.fit.mu, s.fit.stationary_sd
        s.half_life_s = s.fit.half_life_s
        if optimal is not None:
            usable = set_levels(s, p)
    s.ready = 1 if usable and s.samples >= p.warmup else 0
    if not usable and s.samples >= p.warmup:
        s.refused = max(s.refused, 1)


@kernel
def begin(s, p, y, x):
    """Start at the first sample, of log prices y and x."""
    s.log_px_0[0], s.log_px_0[1], s.armed = y, x, 1
    prior_0, prior_1 = p.intercept_prior_sd**2, p.hedge_ratio_prior_sd**2
    kalman_reset(s.kalman, 0.0, p.hedge_ratio_prior, prior_0, prior_1)


@kernel
def learn(s, w, p, prices, steps, optimal):
    """Take in one sample.

    Parameters
    ----------
    s, w, p
        As kernels have them.
    prices : (float, float)
        Of the first instrument and the second.
    steps : (float, float, float)
        Tick sizes of both, and the time between samples, seconds.
    optimal : int or None
        See `estimate`.
    """
    y, x = math.log(prices[0]) - s.log_px_0[0], math.log(prices[1]) - s.log_px_0[1]
    # What rounding to ticks leaves of the spread of legs that are multiples of each other.
    noise = math.hypot(steps[0] / prices[0], s.kalman.hedge_ratio * steps[1] / prices[1])
    s.least_sd = max(_ROUNDING_SD, 0.5 * noise)
    moved_0 = has_moved(s, 0, prices[0])
    moved_1 = has_moved(s, 1, prices[1])
    if not (moved_0 and moved_1):
        s.least_sd = math.inf
    estimate((y, x), s, w, p, steps[2], optimal)


@kernel
def path_at(w, sample, name):
    """A field of a sample in the path."""
    place = sample * PATH_FIELDS + name
    return w[2 + place // w.shape[1], place % w.shape[1]]


@kernel
def follow_path(s, w, prices):
    """Take the estimates of this sample from the path; False if the path is of other prices or at its end.

    All samples so far were those of the path, and its estimates at a sample depend on no later one.
    """
    at = s.samples
    if at >= s.path_samples or path_at(w, at, 0) != prices[0] or path_at(w, at, 1) != prices[1]:
        return False
    s.samples += 1
    s.hedge_ratio, s.mu, s.stationary_sd = path_at(w, at, 2), path_at(w, at, 3), path_at(w, at, 4)
    s.half_life_s, s.ready = path_at(w, at, 5), int(path_at(w, at, 6))
    if path_at(w, at, 7) > 0:
        s.refused = max(s.refused, 1)
    return True


@kernel
def leave_path(s, w, p, steps):
    """Learn from the samples so far what the path has saved learning, to go on without it."""
    samples, refused = s.samples, s.refused
    s.samples, s.path_samples = 0, 0
    for at in range(samples):
        learn(s, w, p, (path_at(w, at, 0), path_at(w, at, 1)), steps, None)
    s.refused = refused


@kernel
def mean_step_s(now_ts, s, w):
    """Note when this sample is taken; the mean time between samples of the window that it completes, seconds."""
    capacity = w.shape[1]
    if s.samples == 0:
        s.first_ts = now_ts
    w[2, s.samples % capacity] = (now_ts - s.first_ts) / _NS_PER_S
    oldest_s = w[2, (s.samples + 1) % capacity]
    return (w[2, s.samples % capacity] - oldest_s) / (capacity - 1)


@kernel
def trade(market, account, out, p, s, spread):
    """Decide at a spread, and commit to it."""
    z = (spread - s.mu) / s.stationary_sd
    if abs(z) <= s.exit_z or (s.exit_z < 0 and s.stopped * z >= 0):
        s.armed = 1
    if s.ready != 0 and abs(z) <= s.entry_z:
        s.refused = 0
    direction, kind = decide(s.direction, z, s.ready, s.armed, s)
    held_s = (market.now_ts() - s.decided_ts) / _NS_PER_S
    if s.direction != 0 and kind == 0 and 0 < p.time_stop_half_lives * s.entry_half_life_s <= held_s:
        direction, kind = 0, _STOP
    if kind != 0:
        commit_pair((market, account, out), s, (direction, kind, z, spread), s.hedge_ratio)
    if kind == _ENTER:
        s.entry_half_life_s = s.half_life_s


@kernel
def step(views, records, by_update, optimal):
    """Sample, estimate, decide, work the legs; what `by_update` and `optimal` are None for is not compiled."""
    market, account, out = views
    p, s, w = records
    px_0, px_1 = sample_px(market, 0, p), sample_px(market, 1, p)
    sampled = px_0 > 0 and px_1 > 0
    if by_update is not None:
        sampled = sampled and all_updated(market, s)
    closing = p.flat_at_end and market.now_ts() >= market.end_ts() - max(p.flatten_before_ns, s.gap_ns)
    if sampled:
        y, x = math.log(px_0), math.log(px_1)
        if s.armed == 0 and s.samples == 0:  # a state that was stored goes on instead
            begin(s, p, y, x)
        y, x = y - s.log_px_0[0], x - s.log_px_0[1]
        dt_s = p.sample_ns / _NS_PER_S
        if by_update is not None:
            dt_s = mean_step_s(market.now_ts(), s, w)
        s.in_filter = 1 if market.now_ts() < s.news_from_ts else 0
        steps = (market.tick_size(0), market.tick_size(1), dt_s)
        followed = False
        if by_update is None and optimal is None and s.path_samples > 0:
            followed = follow_path(s, w, (px_0, px_1))
            if not followed:
                leave_path(s, w, p, steps)
        if not followed:
            learn(s, w, p, (px_0, px_1), steps, optimal)
        if s.stationary_sd > 0 and not closing:
            trade(market, account, out, p, s, y - s.hedge_ratio * x)
        if not closing:
            record_refusal(market, account, out, s)
    if closing and s.kind != _FLATTEN and s.kind != 0:
        close_legs(market, out, s, _FLATTEN, math.nan, math.nan)
    if s.kind != 0:
        work_legs(market, account, out, s, p)


@kernel
def on_timer(market, account, out, p, s, w):
    """Sample in fixed steps; thresholds in z."""
    step((market, account, out), (p, s, w), None, None)


@kernel
def on_book(market, account, out, p, s, w):
    """Sample when both instruments have been updated; thresholds in z."""
    step((market, account, out), (p, s, w), 1, None)


@kernel
def on_timer_optimal(market, account, out, p, s, w):
    """Sample in fixed steps; thresholds follow the estimates."""
    step((market, account, out), (p, s, w), None, 1)


@kernel
def on_book_optimal(market, account, out, p, s, w):
    """Sample when both instruments have been updated; thresholds follow the estimates."""
    step((market, account, out), (p, s, w), 1, 1)
