"""Instruments that are used together: whether their clocks go alike and whether all of them are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bt_framework.data.finding import Finding, Severity
from bt_framework.units import NS_PER_MS, format_duration_ns

DRIFT_NS = NS_PER_MS
DRIFT_NOISES = 6.0
"""Clocks drift if the least feed latency goes up or down by more than this, and by so many times its own noise."""

LEAST_SPANS = 12
"""A drift is looked for in at least so many spans of time."""


@dataclass(frozen=True)
class Timing:
    """When one instrument's events came.

    Attributes
    ----------
    rhythm_ns : int
        Silence above which the feed has a gap.
    span_ns : int
        Length of the spans of `least_latency_ns`; their starts are whole multiples of it.
    least_latency_ns : tuple of (int, int)
        Start of a span, ns UTC, and the least feed latency in it; empty where the data has one clock only.
    """

    symbol: str
    first_local_ts: int
    last_local_ts: int
    rhythm_ns: int
    span_ns: int
    least_latency_ns: tuple[tuple[int, int], ...]


def check_together(timings: Sequence[Timing]) -> list[tuple[str, Finding]]:
    """Compare instruments of one run.

    A clock that drifts shows as a least feed latency that rises or falls steadily: in one feed, when the venue's clock
    and the receiver's go apart; between two, when what they have in common (often the receiver) does not explain it.
    An instrument is truncated where the others' data begin much earlier or end much later.

    Returns
    -------
    list of (str, Finding)
        Each with the symbol, or the two symbols, that it is about.
    """
    found = [
        (t.symbol, f) for t in timings for f in _drift(dict(t.least_latency_ns), t.span_ns, "the venue's")
    ]
    for one, other in combinations(timings, 2):
        differences, span_ns = _differences(one, other)
        found += [(f"{one.symbol}/{other.symbol}", f) for f in _drift(differences, span_ns, "the other's")]
    if len(timings) > 1:
        found += [(t.symbol, f) for t in timings for f in _truncated(t, timings)]
    return found


def _differences(one: Timing, other: Timing) -> tuple[dict[int, int], int]:
    """Least latency of `one` less that of `other` in spans that both have."""
    span_ns = max(one.span_ns, other.span_ns)
    first, second = (_coarser(timing, span_ns) for timing in (one, other))
    return {start: first[start] - second[start] for start in sorted(first.keys() & second.keys())}, span_ns


def _coarser(timing: Timing, span_ns: int) -> dict[int, int]:
    least: dict[int, int] = {}
    for start, latency_ns in timing.least_latency_ns:
        start = start // span_ns * span_ns
        least[start] = min(latency_ns, least.get(start, latency_ns))
    return least


def _drift(latency_ns: dict[int, int], span_ns: int, whose: str) -> Iterable[Finding]:
    """Compare the medians of the first, second and last third of a course of latencies."""
    if len(latency_ns) < LEAST_SPANS:
        return
    starts, latencies = (
        np.array(list(side), np.float64) for side in (latency_ns.keys(), latency_ns.values())
    )
    thirds = np.array_split(np.arange(len(starts)), 3)
    first, middle, last = (float(np.median(latencies[third])) for third in thirds)
    drift_ns = last - first
    apart_ns = float(np.median(starts[thirds[2]]) - np.median(starts[thirds[0]]))
    rest = latencies - drift_ns / apart_ns * (starts - starts[0])
    noise = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    steady = (middle - first) * (last - middle) > 0
    if steady and abs(drift_ns) > max(DRIFT_NS, DRIFT_NOISES * noise):
        length_ns = max(latency_ns) + span_ns - min(latency_ns)
        detail = (
            f"least feed latency goes from {_ns(first)} to {_ns(last)} against {whose} clock within "
            f"{_ns(length_ns)}, {1e6 * drift_ns / apart_ns:+.3g} ppm"
        )
        yield Finding("clock drift", Severity.WARN, 1, -1, detail)


def _truncated(timing: Timing, timings: Sequence[Timing]) -> Iterable[Finding]:
    from bt_framework.data._verdict import truncated

    whole = min(t.first_local_ts for t in timings), max(t.last_local_ts for t in timings)
    span = timing.first_local_ts, timing.last_local_ts
    return truncated(span, whole, timing.rhythm_ns, "others")


def _ns(ns: float) -> str:
    return format_duration_ns(int(float(f"{ns:.3g}")))
