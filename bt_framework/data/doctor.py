"""What is wrong with a stream of events: found in the pass that stores them, kept in the manifest.

An engine that is fed reversed timestamps or rows without flags ends the run after a step and reports nothing;
crossed books and gaps bend results without a sign. The doctor refuses the first kind and grades the second.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bt_framework.data.finding import Finding, Severity, grade, line, refuse_fatal
from bt_framework.data.source import FeedReport
from bt_framework.data.specs import KnownSizes, Spec, contradicts, decimals_scale, inferred_size, resolve
from bt_framework.data.timing import Timing
from bt_framework.records import record

__all__ = ["Doctor", "Finding", "Severity", "grade", "line", "refuse_fatal"]

_FIRST_ORDERS = 1 << 12


class Doctor:
    """Examines one instrument's events block by block; memory does not depend on their number.

    Parameters
    ----------
    known : KnownSizes
        Sizes that the prices and quantities are compared with.

    Attributes
    ----------
    book : tuple of arrays
        The receiver's book as it is now, see `bt_framework.data._scan.scan_rows`.
    orders : tuple of two arrays
        Orders that are live now, as the exchange and as the receiver knows them.
    """

    def __init__(self, known: KnownSizes) -> None:
        from bt_framework.data import _book, _scan, _watch

        self._known = known
        self._stats = record(_scan.STATS, first_latency_ns=_book.NONE, batch_latency_ns=_book.NONE)
        for name in _scan.STATS.names or ():
            if name.endswith(("_first", "_ticks", "_ts", "_since")):
                self._stats[name] = _book.NONE
        self.book = new_book()
        self.orders = tuple(np.zeros(_FIRST_ORDERS, _book.ORDER) for _ in range(2))
        self._watch = _watch.new_watch()
        self._px_grid: Any = None
        self._qty_grid: Any = None
        self._max_px = 0.0

    def examine(self, rows: np.ndarray[Any, Any]) -> None:
        """Take in the next rows, an EVENT array of shape (n_rows,) in the engine's order."""
        from bt_framework.data import _grid, _scan

        if self._px_grid is None:
            self._max_px = _largest(rows["px"])
            self._px_grid = _new_grid(self._max_px, 10, self._known.tick_size)
            self._qty_grid = _new_grid(_largest(rows["qty"]), 8, self._known.lot_size)
        _grid.scan_grids(rows, self._px_grid, self._qty_grid, int(self._stats.rows))
        self._follow_tick()
        self._make_room(rows)
        _scan.scan_rows(rows, self._stats, self.book, self.orders, self._watch)

    def _make_room(self, rows: np.ndarray[Any, Any]) -> None:
        """Keep the tables of live orders half empty."""
        from bt_framework.data import _book, _scan

        added = int(((rows["ev"] & np.uint64(0xFF)) == _scan.ADD).sum())
        live = max(int(self._stats.live_exch), int(self._stats.live_local))
        self.orders = tuple(_book.with_room(orders, live + added) for orders in self.orders)

    def _follow_tick(self) -> None:
        """Replay in the known tick, or in the one inferred so far."""
        from bt_framework.data import _book, _scan

        tick_size = self._known.tick_size or inferred_size(self._px_grid)
        if self._known.tick_source == "catalogue" and contradicts(self._px_grid):
            tick_size = inferred_size(self._px_grid)
        before = float(self._stats.tick_size)
        if before > 0.0 and tick_size != before:
            _scan.rescale_book(self._stats, self.book, round(before / tick_size))
            if self._stats.order_rows:
                for orders in self.orders:
                    _book.rebuild_book(orders, self.book, tick_size)
        self._stats.tick_size = tick_size

    def finish(self) -> None:
        """Close the last batch; nothing is examined after it."""
        from bt_framework.data import _scan

        _scan.finish_scan(self._stats, self.book, self._watch)

    @property
    def stats(self) -> Any:
        """Record of `bt_framework.data._scan.STATS`."""
        return self._stats

    def spec(self, symbol: str) -> Spec:
        """Settle the instrument's sizes, see `bt_framework.data.specs.resolve`."""
        return resolve(symbol, self._known, self._px_grid, self._qty_grid, self._max_px)

    def book_level(self) -> str:
        """``"l3"``: orders make the book; ``"l2"``: levels do; ``"l1"``: never two on a side; ``"none"``: no book."""
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
        from bt_framework.data._book import NONE

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
        from bt_framework.data import _verdict

        s = self._stats
        if s.rows == 0:
            return [Finding("zero events", Severity.FATAL, 0, -1, "the source has no events")]
        states, episodes, silences, series, _, histograms, _ = self._watch
        notes = report.notes
        found = [
            *_verdict.order(s),
            *_verdict.clocks(s, histograms, notes),
            *_verdict.values(s),
            *_verdict.book(s, states, episodes, notes),
            *_verdict.spikes(s, series),
            *_verdict.rhythm(s, histograms, silences, notes),
            *_verdict.sequence(report),
            *_verdict.sizes(spec, self._px_grid, self._qty_grid),
        ]
        return _verdict.sort_worst_first(found)

    def timing(self, symbol: str) -> Timing:
        """When the events came, for `bt_framework.data.timing.check_together`."""
        from bt_framework.data._verdict import gap_limit_ns
        from bt_framework.data._watch import NONE

        s, profile = self._stats, self._watch[6]
        least: list[tuple[int, int]] = []
        if s.profile_since != NONE and s.const_latency_rows != s.local_rows:
            starts = int(s.profile_since) + np.arange(len(profile)) * int(s.profile_width_ns)
            seen = profile != NONE
            least = list(zip(starts[seen].tolist(), profile[seen].tolist(), strict=True))
        return Timing(
            symbol,
            int(s.first_local_ts),
            int(s.last_local_ts),
            rhythm_ns=int(gap_limit_ns(self._watch[5])),
            span_ns=int(s.profile_width_ns),
            least_latency_ns=tuple(least),
        )


def new_book() -> tuple[np.ndarray[Any, Any], ...]:
    """Return the arrays of an empty book, see `bt_framework.data._scan.scan_rows`."""
    from bt_framework.data import _book

    best = np.full((3, 2), _book.NONE, np.int64)
    best[_book.COUNT] = 0
    tags = np.full((2, _book.SLOTS), _book.NONE, np.int64)
    groups = np.zeros((2, _book.SLOTS // _book.PER_GROUP), np.int64)
    return best, tags, groups, np.zeros((2, _book.SLOTS), np.int32)


def _largest(values: np.ndarray[Any, Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else 0.0


def _new_grid(max_value: float, decimals: int, known_size: float | None) -> Any:
    from bt_framework.data._grid import GRID, NONE

    scale = decimals_scale(max_value, decimals)
    return record(GRID, scale=scale, known_size=known_size or 0.0, first_off=NONE, known_first=NONE)
