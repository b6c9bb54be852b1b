"""What goes on over time: states of the book, silences, latencies and prices that jump and come back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bt_framework.jit import kernel

NONE = -(1 << 63)
"""No such time or index."""

BINS = 66 * 8
"""Bins of a histogram of durations, eight to an octave, see `duration_bin`."""

LATENCIES, FIRST_OF_LATENCY, SILENCES = 0, 1, 2
"""Rows of the histograms."""

SILENCE_NS = 5_000_000_000
"""A silence is at least as long as this."""

WINDOW = 15
"""Prices that a price is compared with; at least half of them must be there."""

JUMP_FRAC = 5e-3
JUMP_TICKS = 10
JUMP_MADS = 15.0
"""A price has jumped if it is further from the median of those before it than a part of it, ticks, and their median
absolute deviations."""

EPISODES = 1 << 16
LONGEST_SILENCES = 256
PROFILE_BINS = 512
PROFILE_WIDTH_NS = 1_000_000_000

STATE = np.dtype(
    [("count", "i8"), ("first", "i8"), ("ns", "i8"), ("batches", "i8"), ("is_on", "i8"), ("row", "i8")]
)
"""How often, since when and for how long a state held; ``row`` is its current episode's, -1 if there is no room."""

EPISODE = np.dtype(
    [
        ("state", "i8"),
        ("index", "i8"),
        ("start_ts", "i8"),
        ("end_ts", "i8"),
        ("start_exch_ts", "i8"),
        ("end_exch_ts", "i8"),
        ("batches", "i8"),
        ("trades", "i8"),
    ]
)
"""One time that a state held, by both clocks."""

SILENCE = np.dtype(
    [("ns", "i8"), ("usual_ns", "f8"), ("index", "i8"), ("start_exch_ts", "i8"), ("end_exch_ts", "i8")]
)
"""A time without events; ``usual_ns`` is the mean pause before it."""

PAUSES = 32
"""Pauses that the mean pause looks back on: their weights fall by the factor e over so many."""

SERIES = np.dtype(
    [
        ("seen", "i8"),
        ("last_px", "f8"),
        ("odd_px", "f8"),
        ("odd_index", "i8"),
        ("count", "i8"),
        ("first", "i8"),
        ("worst_frac", "f8"),
    ]
)
"""A series of prices; ``odd_px`` has jumped and awaits the next one, unless ``odd_index`` is `NONE`."""


def new_watch() -> tuple[np.ndarray[Any, Any], ...]:
    """Return records for a new stream.

    Returns
    -------
    states : STATE array of shape (4,)
    episodes : EPISODE array of shape (EPISODES,), the first of all states
    silences : SILENCE array of shape (LONGEST_SILENCES,), the longest
    series : SERIES array of shape (2,)
    windows : float64 array of shape (2, WINDOW), the latest prices of each series
    histograms : int64 array of shape (3, BINS)
    profile : int64 array of shape (PROFILE_BINS,), ns
        Least feed latency in each of so many spans of time; `NONE` where there were no events.
    """
    states, series = np.zeros(4, STATE), np.zeros(2, SERIES)
    states["first"], states["row"] = NONE, -1
    series["odd_index"], series["first"] = NONE, NONE
    histograms = np.zeros((3, BINS), np.int64)
    histograms[FIRST_OF_LATENCY] = NONE
    return (
        states,
        np.zeros(EPISODES, EPISODE),
        np.zeros(LONGEST_SILENCES, SILENCE),
        series,
        np.zeros((2, WINDOW)),
        histograms,
        np.full(PROFILE_BINS, NONE, np.int64),
    )


@kernel
def duration_bin(ns: int) -> Any:
    """Bin of a duration, ns; 0 for those <= 0. The relative width of a bin is 1/8 to 1/16."""
    if ns <= 0:
        return 0
    mantissa, exponent = math.frexp(float(ns))
    return exponent * 8 + int(mantissa * 16.0) - 8


def bin_start_ns(index: int) -> float:
    """Least duration of a bin, ns; 0.0 for bin 0."""
    return math.ldexp((index % 8 + 8) / 16.0, index // 8) if index else 0.0


@kernel
def note_latency(s: Any, histograms: Any, latency_ns: int) -> None:
    """Count the feed latency of a row."""
    if latency_ns != s.latency_ns:
        s.latency_ns = latency_ns
        s.latency_bin = duration_bin(latency_ns)
    index = s.latency_bin
    histograms[LATENCIES, index] += 1
    if histograms[FIRST_OF_LATENCY, index] == NONE:
        histograms[FIRST_OF_LATENCY, index] = s.rows
        if s.first_latency_ns == NONE:
            s.first_latency_ns = latency_ns
    s.const_latency_rows += latency_ns == s.first_latency_ns
    s.max_latency_ns = max(s.max_latency_ns, latency_ns)


@kernel
def note_silence(s: Any, histograms: Any, silences: Any, row: Any) -> None:
    """Count the time since the last batch, and keep it if it is one of the longest."""
    ns = row["local_ts"] - s.batch_ts
    histograms[SILENCES, duration_bin(ns)] += 1
    usual_ns = s.pause_ns
    s.pause_ns += (ns - usual_ns) / PAUSES
    if ns < SILENCE_NS:
        return
    place = 0
    for i in range(len(silences)):
        if silences[i]["ns"] < silences[place]["ns"]:
            place = i
    if ns > silences[place]["ns"]:
        silences[place]["ns"] = ns
        silences[place]["usual_ns"] = usual_ns
        silences[place]["index"] = s.rows
        silences[place]["start_exch_ts"] = s.batch_exch_ts
        silences[place]["end_exch_ts"] = row["exch_ts"]


@kernel
def follow_state(
    s: Any, state: Any, episodes: Any, which: int, holds: bool, end_ts: int, end_exch_ts: int
) -> None:
    """Note whether a state of the book holds for the batch, and until `end_ts`."""
    if not holds:
        state["is_on"] = 0
        return
    if not state["is_on"]:
        state["is_on"] = 1
        state["count"] += 1
        if state["first"] == NONE:
            state["first"] = s.batch_index
        state["row"] = -1
        if s.episodes < len(episodes):
            state["row"] = s.episodes
            new = episodes[s.episodes]
            new["state"] = which
            new["index"] = s.batch_index
            new["start_ts"] = s.batch_ts
            new["start_exch_ts"] = s.batch_exch_ts
            s.episodes += 1
    state["ns"] += end_ts - s.batch_ts
    state["batches"] += 1
    if state["row"] >= 0:
        episode = episodes[state["row"]]
        episode["end_ts"] = end_ts
        episode["end_exch_ts"] = end_exch_ts
        episode["batches"] += 1
        episode["trades"] += s.batch_trades


@kernel
def jump_limit_px(window: Any, seen: int, tick_size: float) -> Any:
    """Median of the prices in a window, and how far from it a price has jumped, both in quote currency."""
    prices = window[: min(seen, WINDOW)]
    median = np.median(prices)
    deviation = np.median(np.abs(prices - median))
    return median, max(JUMP_FRAC * median, JUMP_TICKS * tick_size, JUMP_MADS * deviation)


@kernel
def push_px(series: Any, window: Any, px: float) -> None:
    """Take a price into a series."""
    window[series["seen"] % WINDOW] = px
    series["seen"] += 1
    series["last_px"] = px


@kernel
def judge_px(series: Any, window: Any, px: float, tick_size: float, index: int) -> None:
    """Compare a price with those before it (a Hampel filter; nothing later is looked at).

    A price that has jumped is kept aside. If the next one is near it, the market has moved there; if that is back
    where the others were, it was a spike, which counts.
    """
    last_px = series["last_px"]
    near_px = max(JUMP_FRAC * last_px, JUMP_TICKS * tick_size)
    if series["odd_index"] != NONE:
        if abs(px - last_px) <= near_px:
            series["count"] += 1
            if series["first"] == NONE:
                series["first"] = series["odd_index"]
            series["worst_frac"] = max(series["worst_frac"], abs(series["odd_px"] - last_px) / last_px)
        else:
            series["seen"] = 0
            push_px(series, window, series["odd_px"])
        series["odd_index"] = NONE
    elif 2 * series["seen"] >= WINDOW and abs(px - last_px) > near_px:
        median, limit_px = jump_limit_px(window, series["seen"], tick_size)
        if abs(px - median) > limit_px:
            series["odd_px"] = px
            series["odd_index"] = index
            return
    push_px(series, window, px)


@kernel
def note_profile(s: Any, profile: Any) -> None:
    """Enter a batch's least feed latency; spans become twice as long when there are too many."""
    if s.profile_since == NONE:
        s.profile_width_ns = PROFILE_WIDTH_NS
        s.profile_since = s.batch_ts // PROFILE_WIDTH_NS * PROFILE_WIDTH_NS
    index = (s.batch_ts - s.profile_since) // s.profile_width_ns
    while index >= PROFILE_BINS:
        wider_ns = 2 * s.profile_width_ns
        since = s.profile_since // wider_ns * wider_ns
        shift = (s.profile_since - since) // s.profile_width_ns
        for i in range(PROFILE_BINS):
            least = profile[i]
            profile[i] = NONE
            j = (i + shift) // 2
            if least != NONE and (profile[j] == NONE or least < profile[j]):
                profile[j] = least
        s.profile_since, s.profile_width_ns = since, wider_ns
        index = (s.batch_ts - since) // wider_ns
    if index >= 0 and (profile[index] == NONE or s.batch_latency_ns < profile[index]):
        profile[index] = s.batch_latency_ns
