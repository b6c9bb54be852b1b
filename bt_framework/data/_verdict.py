"""From what the scan has counted to findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bt_framework.data.finding import Finding, Severity
from bt_framework.data.source import FeedReport
from bt_framework.data.specs import Spec
from bt_framework.records import Rows
from bt_framework.units import NS_PER_MS, NS_PER_S, format_duration_ns

EARLY_TOLERANCE_NS = NS_PER_MS
"""Negative feed latency up to this is the resolution of a venue's clock: graded, not refused."""

CROSSED_FATAL_FRAC = 0.02
"""A book that is crossed after so many of its updates, or for so much of the time, is refused."""

IMPLAUSIBLE_NS = 10 * NS_PER_S
IMPLAUSIBLE_LEAST_NS = NS_PER_S
IMPLAUSIBLE_MEDIANS = 1_000
"""A feed latency is implausible above 10 s, or above this many medians if that is more than 1 s."""

AUCTION_NS = 60 * NS_PER_S
"""A book of a feed with trades that is crossed for so long without any is taken for an auction."""

SILENCE_P99S = 100
SILENCE_USUALS = 20
"""A silence is a gap if it is longer than 5 s, than so many 99th percentiles of the time between events, and than so
many times the mean of the pauses just before it (a market has quiet hours)."""

SESSION_BREAK_NS = 4 * 3_600 * NS_PER_S
SESSION_BREAKS_PER_DAY = 0.6
"""Silences of at least 4 h that come on so many of the days are a market that closes, not gaps."""

TRUNCATED_NS = 60 * NS_PER_S
TRUNCATED_FRAC = 0.01
"""A feed is truncated if it misses more than this, this part of the announced span, and any silence of its rhythm."""

_INVALID = "price or quantity is not a number or infinite, or the price is not above zero"
_UNKNOWN_ID = "orders are cancelled, changed or filled that are not in the book; the engine stops there"
_KNOWN_ID = "orders are added that are in the book already; the engine stops there"
_CROSSED_ORDERS = "orders that cross are not repaired; withhold auctions where the reader can"
_DAY_NS = 86_400 * NS_PER_S


def order(s: Any) -> Iterable[Finding]:
    """Time that goes back, flags that are missing, and latencies below zero."""
    for clock, count, first, back_ns in (
        ("exchange", s.exch_back, s.exch_back_first, s.exch_back_ns),
        ("local", s.local_back, s.local_back_first, s.local_back_ns),
    ):
        if count:
            detail = f"{clock} time goes back by up to {format_duration_ns(int(back_ns))}"
            yield _found(f"{clock} time order", Severity.FATAL, count, first, detail, count / s.rows)
    if s.flagless:
        detail = "rows carry neither the exchange nor the local flag"
        yield _found(
            "missing flags", Severity.FATAL, s.flagless, s.flagless_first, detail, s.flagless / s.rows
        )
    for flag, count in (("exchange", s.exch_rows), ("local", s.local_rows)):
        if not count and s.flagless < s.rows:
            yield _found(
                f"missing {flag} flags", Severity.FATAL, s.rows, 0, f"no row carries the {flag} flag", 1.0
            )
    if s.early:
        severity = Severity.FATAL if s.early_ns > EARLY_TOLERANCE_NS else Severity.WARN
        detail = f"received up to {format_duration_ns(int(s.early_ns))} before it happened"
        if severity is Severity.FATAL:
            detail += "; correct the receiver's clock (data.clock_correction=true where the source has it)"
        yield _found(
            "negative feed latency", severity, s.early, s.early_first, detail, s.early / s.local_rows
        )


def clocks(s: Any, histograms: Rows, notes: Mapping[str, Any]) -> Iterable[Finding]:
    """What the two clocks say of each other."""
    from bt_framework.data._watch import FIRST_OF_LATENCY, LATENCIES, NONE, bin_start_ns

    counts = histograms[LATENCIES]
    if not counts.sum():
        return
    median_ns = percentile_ns(counts, 0.5)
    limit_ns = min(IMPLAUSIBLE_NS, max(IMPLAUSIBLE_LEAST_NS, IMPLAUSIBLE_MEDIANS * median_ns))
    above = np.array([bin_start_ns(i) >= limit_ns for i in range(len(counts))])
    count = int(counts[above].sum())
    if count and not notes.get("bar_interval_ns"):  # bars are published when their source says so
        firsts = histograms[FIRST_OF_LATENCY][above]
        detail = (
            f"received {_short(limit_ns)} or more, up to {_short(s.max_latency_ns)}, after it happened; the median is "
            f"{_short(median_ns)}"
        )
        frac = count / int(counts.sum())
        first = firsts[firsts != NONE].min()
        yield _found("implausible feed latency", Severity.WARN, count, first, detail, frac)
    if s.const_latency_rows == counts.sum() and s.local_rows > 1:
        latency_ns = int(s.first_latency_ns)
        told = "are the same" if latency_ns == 0 else f"differ by {format_duration_ns(latency_ns)} throughout"
        detail = f"exchange and local time {told}: feed latency is not in the data"
        yield _found("one clock", Severity.INFO, 1, -1, detail)
    if notes.get("bar_interval_ns"):
        interval = format_duration_ns(int(notes["bar_interval_ns"]))
        detail = f"bars of {interval}: no queue, and nothing is known of the market between two closes"
        yield _found("bars", Severity.INFO, 1, -1, detail)
    elif s.local_whole_s == s.local_times and s.last_local_ts - s.first_local_ts > 10 * NS_PER_S:
        detail = "local times are whole seconds: bars, or nearly"
        yield _found("clock of whole seconds", Severity.INFO, 1, -1, detail)
    if notes.get("clock") == "synthetic":
        yield _found("synthetic clock", Severity.INFO, 1, -1, "the times were made up by the reader")


def values(s: Any) -> Iterable[Finding]:
    """Prices, quantities and order ids that cannot be."""
    fatal, warn = Severity.FATAL, Severity.WARN
    for check, severity, count, first, detail in (
        ("invalid values", fatal, s.invalid, s.invalid_first, _INVALID),
        ("negative sizes", fatal, s.negative, s.negative_first, "quantities below zero"),
        ("zero sizes", warn, s.zero, s.zero_first, "trades or orders of no quantity"),
        ("unknown order ids", fatal, s.unknown_ids, s.unknown_ids_first, _UNKNOWN_ID),
        ("duplicate order ids", fatal, s.known_ids, s.known_ids_first, _KNOWN_ID),
    ):
        if count:
            yield _found(check, severity, count, first, detail, count / s.rows)
    if s.order_rows and s.level_rows:
        detail = "both orders and price levels; the engine follows one and passes over the other"
        yield _found("mixed book", Severity.WARN, min(s.order_rows, s.level_rows), -1, detail)


def book(s: Any, states: Rows, episodes: Rows, notes: Mapping[str, Any]) -> Iterable[Finding]:
    """A crossed, locked or half-empty book, and for how long; not while the market was closed."""
    from bt_framework.data._scan import CROSSED, FORMING, HALF_EMPTY, LOCKED

    span_ns = max(int(s.last_local_ts) - int(s.first_local_ts), 1)
    phases = closed_phases(notes)
    yield from _auctions(s, states, episodes, phases)
    for which, check, told in (
        (CROSSED, "crossed book", "best bid above best ask"),
        (LOCKED, "locked book", "best bid equal to best ask"),
        (HALF_EMPTY, "half-empty book", "one side has no level"),
        (FORMING, "half-empty book", "one side has no level"),
    ):
        if which == FORMING and s.formed:
            continue  # a book that fills up
        excused = _excused(s, which, episodes[: s.episodes], phases)
        count, ns, batches, first = _left(states[which], which, episodes[: s.episodes], excused)
        if count:
            by_time, by_update = ns / span_ns, batches / max(int(s.book_batches), 1)
            refused = which == CROSSED and max(by_time, by_update) >= CROSSED_FATAL_FRAC
            detail = f"{told} for {_short(ns)}, {100.0 * by_time:.3g} % of the time"
            if which == CROSSED:
                detail += f", after {100.0 * by_update:.3g} % of the updates"
            if refused:
                detail += "; " + (
                    _CROSSED_ORDERS if s.order_rows else "repair=true withholds what is crossed"
                )
            severity = Severity.FATAL if refused else Severity.WARN
            yield _found(check, severity, count, first, detail, max(by_time, by_update if refused else 0.0))


def _auctions(s: Any, states: Rows, episodes: Rows, phases: Rows) -> Iterable[Finding]:
    from bt_framework.data._scan import CROSSED

    if len(phases):
        length_ns = int((phases[:, 1] - phases[:, 0]).sum())
        detail = f"the market was closed for {_short(length_ns)}; nobody trades then"
        yield _found("auction phases", Severity.INFO, len(phases), -1, detail)
    crossed = episodes[: s.episodes][episodes["state"][: s.episodes] == CROSSED]
    found = crossed[_looks_like_auction(s, crossed) & (_overlap_ns(crossed, phases) == 0)]
    if len(found):
        length_ns = int((found["end_ts"] - found["start_ts"]).sum())
        detail = f"crossed for {_short(length_ns)} without a trade, as in an auction: nobody could trade, a run would"
        yield _found("auction phases", Severity.WARN, len(found), int(found["index"][0]), detail)


def _looks_like_auction(s: Any, crossed: Rows) -> Rows:
    long = crossed["end_ts"] - crossed["start_ts"] >= AUCTION_NS
    return long & (crossed["trades"] == 0) & bool(s.trade_rows)


def _excused(s: Any, which: int, episodes: Rows, phases: Rows) -> Rows:
    """Time of each episode that fell into a closed market or an auction, ns."""
    from bt_framework.data._scan import CROSSED

    length_ns = episodes["end_ts"] - episodes["start_ts"]
    excused = np.minimum(_overlap_ns(episodes, phases), length_ns)
    if which == CROSSED:
        excused = np.where(_looks_like_auction(s, episodes), length_ns, excused)
    return excused


def _left(state: Any, which: int, episodes: Rows, excused_ns: Rows) -> tuple[int, int, int, int]:
    """Count, time (ns), batches and first row of a state, less what is excused."""
    own = episodes["state"] == which
    length_ns = episodes["end_ts"] - episodes["start_ts"]
    whole = own & (excused_ns >= length_ns) & (excused_ns > 0)
    rest = episodes["index"][own & ~whole]
    first = int(rest[0]) if len(rest) else int(state["first"])
    in_phase = np.floor(episodes["batches"][own] * excused_ns[own] / np.maximum(length_ns[own], 1))
    return (
        int(state["count"]) - int(whole.sum()),
        int(state["ns"]) - int(excused_ns[own].sum()),
        int(state["batches"]) - int(in_phase.sum()),
        first,
    )


def closed_phases(notes: Mapping[str, Any]) -> Rows:
    """Phases that the reader says the market was closed in: int64 array of shape (n_phases, 2), exchange time."""
    phases = np.array(notes.get("closed_phases") or [], np.int64).reshape(-1, 2)
    return phases[np.argsort(phases[:, 0], kind="stable")]


def _overlap_ns(spans: Rows, phases: Rows) -> Rows:
    """Time that each span has in common with the phases, by exchange time."""
    total = np.zeros(len(spans), np.int64)
    for start_ts, end_ts in phases.tolist():
        start, end = (np.maximum(spans["start_exch_ts"], start_ts), np.minimum(spans["end_exch_ts"], end_ts))
        total += np.maximum(end - start, 0)
    return total


def rhythm(s: Any, histograms: Rows, silences: Rows, notes: Mapping[str, Any]) -> Iterable[Finding]:
    """Silences that are long for this feed, and a start or end that is not the announced one."""
    limit_ns = gap_limit_ns(histograms)
    gaps = silences[silences["ns"] >= np.maximum(limit_ns, SILENCE_USUALS * silences["usual_ns"])]
    gaps = gaps[_overlap_ns(gaps, closed_phases(notes)) < gaps["ns"] - limit_ns]
    days = int(s.last_local_ts) // _DAY_NS - int(s.first_local_ts) // _DAY_NS
    breaks = gaps["ns"] >= SESSION_BREAK_NS
    if days and breaks.sum() >= SESSION_BREAKS_PER_DAY * days:
        detail = f"the market closes for up to {_short(int(gaps['ns'].max()))}"
        yield _found("session breaks", Severity.INFO, breaks.sum(), gaps["index"][breaks].min(), detail)
        gaps = gaps[~breaks]
    if len(gaps):
        span_ns = max(int(s.last_local_ts) - int(s.first_local_ts), 1)
        longest = gaps[np.argmax(gaps["ns"])]
        detail = (
            f"silent for {_short(int(gaps['ns'].sum()))}, at most {_short(int(longest['ns']))} until row "
            f"{int(longest['index']):,}; 99 % of its pauses are below {_short(limit_ns / SILENCE_P99S)}"
        )
        frac = int(gaps["ns"].sum()) / span_ns
        yield _found("gaps", Severity.WARN, len(gaps), gaps["index"].min(), detail, frac)
    announced = notes.get("announced_span")
    if announced:
        spans = ((int(s.first_local_ts), int(s.last_local_ts)), (int(announced[0]), int(announced[1])))
        yield from truncated(*spans, limit_ns, "the file announces")


def gap_limit_ns(histograms: Rows) -> float:
    """Silence of a feed above which it is a gap, ns."""
    from bt_framework.data._watch import SILENCE_NS, SILENCES

    return max(float(SILENCE_NS), SILENCE_P99S * percentile_ns(histograms[SILENCES], 0.99))


def truncated(
    span: tuple[int, int], whole: tuple[int, int], limit_ns: float, by_whom: str
) -> Iterable[Finding]:
    """A feed's first and last time against those that there should be, ns UTC."""
    allowed_ns = max(TRUNCATED_NS, TRUNCATED_FRAC * (whole[1] - whole[0]), limit_ns)
    late_ns, early_ns = span[0] - whole[0], whole[1] - span[1]
    missing = [
        f"{what} {_short(ns)} {when} than {by_whom}"
        for what, when, ns in (("starts", "later", late_ns), ("ends", "earlier", early_ns))
        if ns > allowed_ns
    ]
    if missing:
        frac = sum(ns for ns in (late_ns, early_ns) if ns > allowed_ns) / max(whole[1] - whole[0], 1)
        yield _found("truncated day", Severity.WARN, len(missing), -1, " and ".join(missing), frac)


def spikes(s: Any, series: Rows) -> Iterable[Finding]:
    """Prices that jump and are back at once."""
    for which, what in enumerate(("trade", "mid")):
        count = int(series[which]["count"])
        if count:
            detail = (
                f"one {what} price up to {100.0 * float(series[which]['worst_frac']):.3g} % off, then back"
            )
            total = int(s.trade_rows) if what == "trade" else int(s.batches)
            yield _found(
                f"{what} price spikes", Severity.WARN, count, series[which]["first"], detail, count / total
            )


def sequence(report: FeedReport) -> Iterable[Finding]:
    """What the reader has counted."""
    if report.gaps:
        detail = f"{report.missing_updates:,} updates are missing; the book may be stale after each"
        yield _found("sequence gaps", Severity.WARN, report.gaps, -1, detail)
    if report.duplicates:
        detail = "updates that are there twice, by the venue's sequence numbers"
        yield _found("duplicate updates", Severity.WARN, report.duplicates, -1, detail)
    for reason, count in report.dropped.items():
        if count:
            severity = Severity.WARN if reason == "malformed" else Severity.INFO
            where = report.first_dropped.get(reason) or report.first_problem
            yield _found(
                "dropped rows", severity, count, -1, f"{reason}" + (f"; first: {where}" if where else "")
            )
    if "partial" in report.notes:
        yield _found("partial feed", Severity.WARN, 1, -1, report.notes["partial"])
    repairs = report.notes.get("repairs")
    if repairs:
        detail = ", ".join(f"{check} {count:,}" for check, count in repairs.items())
        yield _found("repaired", Severity.INFO, sum(repairs.values()), -1, detail)


def sizes(spec: Spec | None, px_grid: Any, qty_grid: Any) -> Iterable[Finding]:
    """Prices and quantities off their grids."""
    if spec is None:
        return
    for notice in spec.notices:
        yield _found("inferred size", Severity.INFO, 1, -1, notice)
    for what, plural, grid, source, size in (
        ("tick", "prices", px_grid, spec.tick_source, spec.instrument.tick_size),
        ("lot", "quantities", qty_grid, spec.lot_source, spec.instrument.lot_size),
    ):
        inferred = source == "inferred"
        count = int(grid.off if inferred else grid.known_off)
        if count:
            first = int(grid.first_off if inferred else grid.known_first)
            detail = f"not whole multiples of the {what} size {size!r} ({source})"
            yield _found(
                f"{plural} off {what}", Severity.WARN, count, first, detail, count / int(grid.values)
            )


def percentile_ns(counts: Rows, part: float) -> float:
    """Duration below which a part of a histogram lies, ns; the start of its bin."""
    from bt_framework.data._watch import bin_start_ns

    total = np.cumsum(counts)
    return bin_start_ns(int(np.searchsorted(total, part * total[-1]))) if total[-1] else 0.0


def sort_worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """By severity; otherwise as they come."""
    rank: Sequence[Severity] = list(Severity)
    return sorted(findings, key=lambda f: rank.index(Severity(f.severity)))


def _found(check: str, severity: Severity, count: Any, first: Any, detail: str, frac: float = 0.0) -> Finding:
    return Finding(check, severity, int(count), int(first), detail, round(float(frac), 9))


def _short(ns: float) -> str:
    """A duration for people: three digits."""
    return format_duration_ns(int(float(f"{ns:.3g}")))
