"""What is wrong with a stream of events: found in the pass that stores them, kept in the manifest.

An engine that is fed reversed timestamps or rows without flags ends the run after a step and reports nothing;
crossed books and gaps bend results without a sign. The doctor refuses the first kind and grades the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from bt_framework.data.source import FeedReport
from bt_framework.data.specs import KnownSizes, Spec, contradicts, decimals_scale, inferred_size, resolve
from bt_framework.errors import DataError
from bt_framework.records import record
from bt_framework.units import NS_PER_MS, format_duration_ns

EARLY_TOLERANCE_NS = NS_PER_MS
"""Negative feed latency up to this is the resolution of a venue's clock: graded, not refused."""


class Severity(StrEnum):
    """How bad a finding is: ``fatal`` stops a run, ``warn`` lowers the grade, ``info`` is for the record."""

    FATAL = "fatal"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One kind of defect in one instrument's events.

    Attributes
    ----------
    count : int
        Rows, or episodes, that have it.
    first_index : int
        Row of the stored events where it is first seen; -1 where it has no place.
    """

    check: str
    severity: str
    count: int
    first_index: int
    detail: str


class Doctor:
    """Examines one instrument's events block by block; memory does not depend on their number.

    Parameters
    ----------
    known : KnownSizes
        Sizes that the prices and quantities are compared with.
    """

    def __init__(self, known: KnownSizes) -> None:
        from bt_framework.data import _scan

        self._known = known
        self._stats = record(_scan.STATS)
        for name in _scan.STATS.names or ():
            if name.endswith(("_first", "_ticks", "_ts", "_since")):
                self._stats[name] = _scan.NONE
        self._best = np.full((3, 2), _scan.NONE, np.int64)
        self._best[_scan.COUNT] = 0
        self._tags = np.full((2, _scan.SLOTS), _scan.NONE, np.int64)
        self._groups = np.zeros((2, _scan.SLOTS // _scan.PER_GROUP), np.int64)
        self._px_grid: Any = None
        self._qty_grid: Any = None
        self._max_px = 0.0

    def examine(self, rows: np.ndarray[Any, Any]) -> None:
        """Take in the next rows, an EVENT array of shape (n_rows,) in the engine's order."""
        from bt_framework.data import _scan

        if self._px_grid is None:
            self._max_px = _largest(rows["px"])
            self._px_grid = _new_grid(self._max_px, 10, self._known.tick_size)
            self._qty_grid = _new_grid(_largest(rows["qty"]), 8, self._known.lot_size)
        _scan.scan_grids(rows, self._px_grid, self._qty_grid, int(self._stats.rows))
        self._follow_tick()
        _scan.scan_rows(rows, self._stats, self._best, self._tags, self._groups)

    def _follow_tick(self) -> None:
        """Replay in the known tick, or in the one inferred so far."""
        from bt_framework.data import _scan

        tick_size = self._known.tick_size or inferred_size(self._px_grid)
        if self._known.tick_source == "catalogue" and contradicts(self._px_grid):
            tick_size = inferred_size(self._px_grid)
        before = float(self._stats.tick_size)
        if before > 0.0 and tick_size != before:
            _scan.rescale_book(self._stats, self._best, self._tags, self._groups, round(before / tick_size))
        self._stats.tick_size = tick_size

    def finish(self) -> None:
        """Close the last batch; nothing is examined after it."""
        from bt_framework.data import _scan

        _scan.finish_scan(self._stats, self._best)

    @property
    def stats(self) -> Any:
        """Record of `bt_framework.data._scan.STATS`."""
        return self._stats

    def spec(self, symbol: str) -> Spec:
        """Settle the instrument's sizes, see `bt_framework.data.specs.resolve`."""
        return resolve(symbol, self._known, self._px_grid, self._qty_grid, self._max_px)

    def book_level(self) -> str:
        """``"l3"`` if orders make the book, ``"l1"`` if no side ever had two levels, else ``"l2"``; ``"none"``: no book."""
        s = self._stats
        if s.order_rows:
            return "l3"
        if not s.level_rows:
            return "none"
        return "l2" if s.deep_batches else "l1"

    def touch_px(self) -> tuple[float, float]:
        """Lowest best bid and highest best ask, with the trades; NaN where there was neither book nor trade.

        A book that is still filling up has a wide touch for a moment: such moments do not count while nine
        tenths of the others are tight.
        """
        from bt_framework.data._scan import NONE

        s = self._stats
        tight = s.tight_batches * 10 >= s.batches * 9
        lows = [s.tight_low_ticks if tight else s.low_ticks, s.trade_low_ticks]
        highs = [s.tight_high_ticks if tight else s.high_ticks, s.trade_high_ticks]
        low = min((int(t) for t in lows if t != NONE), default=None)
        high = max((int(t) for t in highs if t != NONE), default=None)
        if low is None or high is None:
            return float("nan"), float("nan")
        tick_size = float(s.tick_size)
        return round(low * tick_size, 12), round(high * tick_size, 12)

    def findings(self, report: FeedReport, spec: Spec | None) -> list[Finding]:
        """Everything found, the worst first."""
        if self._stats.rows == 0:
            return [Finding("zero events", Severity.FATAL, 0, -1, "the source has no events")]
        found = [*self._order(), *self._values(), *_sequence(report), *self._sizes(spec)]
        rank = list(Severity)
        return sorted(found, key=lambda f: rank.index(Severity(f.severity)))

    def _order(self) -> Iterable[Finding]:
        s = self._stats
        for clock, count, first, back_ns in (
            ("exchange", s.exch_back, s.exch_back_first, s.exch_back_ns),
            ("local", s.local_back, s.local_back_first, s.local_back_ns),
        ):
            if count:
                detail = f"{clock} time goes back by up to {format_duration_ns(int(back_ns))}"
                yield Finding(f"{clock} time order", Severity.FATAL, int(count), int(first), detail)
        if s.flagless:
            detail = "rows carry neither the exchange nor the local flag"
            yield Finding("missing flags", Severity.FATAL, int(s.flagless), int(s.flagless_first), detail)
        for flag, count in (("exchange", s.exch_rows), ("local", s.local_rows)):
            if not count and s.flagless < s.rows:
                detail = f"no row carries the {flag} flag"
                yield Finding(f"missing {flag} flags", Severity.FATAL, int(s.rows), 0, detail)
        if s.early:
            severity = Severity.FATAL if s.early_ns > EARLY_TOLERANCE_NS else Severity.WARN
            detail = f"received up to {format_duration_ns(int(s.early_ns))} before it happened"
            if severity is Severity.FATAL:
                detail += (
                    "; correct the receiver's clock (data.clock_correction=true where the source has it)"
                )
            yield Finding("negative feed latency", severity, int(s.early), int(s.early_first), detail)

    def _values(self) -> Iterable[Finding]:
        s = self._stats
        if s.invalid:
            detail = "price or quantity is not a number, infinite or negative"
            yield Finding("invalid values", Severity.FATAL, int(s.invalid), int(s.invalid_first), detail)
        if s.crossed:
            span_ns = max(int(s.last_local_ts) - int(s.first_local_ts), 1)
            share = f"{100.0 * int(s.crossed_ns) / span_ns:.3g} % of the time"
            detail = f"best bid at or above best ask for {format_duration_ns(int(s.crossed_ns))}, {share}"
            yield Finding("crossed book", Severity.WARN, int(s.crossed), int(s.crossed_first), detail)

    def _sizes(self, spec: Spec | None) -> Iterable[Finding]:
        if spec is None:
            return
        for notice in spec.notices:
            yield Finding("inferred size", Severity.INFO, 1, -1, notice)
        for what, plural, grid, source, size in (
            ("tick", "prices", self._px_grid, spec.tick_source, spec.instrument.tick_size),
            ("lot", "quantities", self._qty_grid, spec.lot_source, spec.instrument.lot_size),
        ):
            inferred = source == "inferred"
            count = int(grid.off if inferred else grid.known_off)
            if count:
                first = int(grid.first_off if inferred else grid.known_first)
                detail = f"not whole multiples of the {what} size {size!r} ({source})"
                yield Finding(f"{plural} off {what}", Severity.WARN, count, first, detail)


def _sequence(report: FeedReport) -> Iterable[Finding]:
    if report.gaps:
        detail = f"{report.missing_updates:,} updates are missing; the book may be stale after each"
        yield Finding("sequence gaps", Severity.WARN, report.gaps, -1, detail)
    for reason, count in report.dropped.items():
        if count:
            severity = Severity.WARN if reason == "malformed" else Severity.INFO
            detail = f"{reason}" + (f"; first: {report.first_problem}" if report.first_problem else "")
            yield Finding("dropped rows", severity, count, -1, detail)


def _largest(values: np.ndarray[Any, Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else 0.0


def _new_grid(max_value: float, decimals: int, known_size: float | None) -> Any:
    from bt_framework.data._scan import GRID, NONE

    scale = decimals_scale(max_value, decimals)
    return record(GRID, scale=scale, known_size=known_size or 0.0, first_off=NONE, known_first=NONE)


def grade(findings: Iterable[Finding]) -> str:
    """``"fatal"``, ``"warn"`` or ``"ok"``: the worst of `findings`."""
    severities = {f.severity for f in findings}
    if Severity.FATAL in severities:
        return "fatal"
    return "warn" if Severity.WARN in severities else "ok"


def line(symbol: str, findings: Sequence[Finding]) -> str:
    """One line for people: the grade, and what lowered it."""
    told = [f"{f.check} {f.count:,}" for f in findings if f.severity != Severity.INFO]
    return f"{symbol}: {grade(findings)}" + (f" ({', '.join(told)})" if told else "")


def refuse_fatal(symbol: str, findings: Sequence[Finding]) -> None:
    """Stop if anything is fatal.

    Raises
    ------
    DataError
        The message lists the fatal findings.
    """
    fatal = [f for f in findings if f.severity == Severity.FATAL]
    if fatal:
        listed = "".join(f"\n  {f.check}: {f.count:,}{_place(f)}, {f.detail}" for f in fatal)
        raise DataError(f"{symbol}: the events cannot be used:{listed}")


def _place(finding: Finding) -> str:
    return f" from row {finding.first_index:,}" if finding.first_index >= 0 else ""
