"""Bars as feeds: a print and quotes at the time of each close, which stand until the next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bt_framework.bars.closes import BarRange, BarReader, Closes, SymbolCloses
from bt_framework.bars.trading import TradedBars
from bt_framework.data.files import check_symbols_of
from bt_framework.data.source import Feed, FeedReport, Progress
from bt_framework.errors import DataError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.registry import unknown_name

READER_VERSION = 2
"""Part of the feeds' identity: raise it when the same bars give other events."""

TICK_FRAC = 1e-8
"""A tick is at most this part of the highest price: of 100,000 it rounds 0.0005 away."""
LEAST_TICK = -10
PART_LOT = 1e-6

_BOTH = int(EventFlag.EXCH | EventFlag.LOCAL)
_BID, _ASK = (_BOTH | int(flag) | int(EventKind.DEPTH) for flag in (EventFlag.BUY, EventFlag.SELL))
_CLEAR = _BOTH | int(EventKind.DEPTH_CLEAR)
_PRINT = _BOTH | int(EventKind.TRADE)
_Rows = np.ndarray[Any, Any]


def bar_feeds(
    reader: BarReader, chosen: BarRange, symbols: Sequence[str], config: TradedBars
) -> list[BarsFeed]:
    """One feed per symbol, in their order; of all that the source has if none is given.

    Raises
    ------
    ConfigError
        If a tick or lot size is for another symbol.
    DataError
        If there is no such source or symbol, or none of its bars can be traded.
    """
    known = reader.symbols(chosen.source)
    for symbol in symbols:
        if symbol not in known:
            raise DataError(unknown_name(f"data.symbols, a symbol of source {chosen.source}", symbol, known))
    wanted = symbols or known
    check_symbols_of({"tick_size": config.tick_size, "lot_size": config.lot_size}, wanted)
    feeds = []
    with reader.opened() as opened:
        for symbol in wanted:
            closes = SymbolCloses(reader, chosen, symbol, config)
            closes.look(opened)
            feeds.append(BarsFeed(closes, config))
    return feeds


class BarsFeed(Feed):
    """The closes of one symbol as events."""

    ordered = True

    def __init__(self, closes: SymbolCloses, config: TradedBars) -> None:
        self.config = config
        self.symbol = closes.symbol
        self._closes = closes
        summary = closes.summary
        lot_size = 1.0 if summary.whole_volumes else PART_LOT
        self.tick_size: float = config.tick_size.get(self.symbol, fine_tick(summary.high_px))
        self.lot_size: float = config.lot_size.get(self.symbol, lot_size)

    def identity(self) -> Mapping[str, Any]:
        """The bars that are traded, how many are not, and the options that decide the events."""
        config, summary = self.config, self._closes.summary
        return {
            "reader": "bars",
            "version": READER_VERSION,
            "source": self._closes.source,
            "bars": summary.content,
            "rows": summary.rows,
            "dropped": summary.dropped,
            "interval_ns": self._closes.interval_ns,
            "adjust": config.adjust.name,
            "slippage_bps": config.slippage_bps,
            "depth_qty": config.depth_qty,
            "prints": config.prints,
            "delay_ns": int(config.delay_ns),
        }

    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[_Rows]:
        """Yield the events of each block of bars.

        A run begins with the first event, where no timer wakes, and ends with the last, where nobody is woken. So that
        the first close and the last can be traded, an event without effect comes at the first bar's open, and the
        last bid once more an interval after the last close.
        """
        report.symbol = self.symbol
        report.notes["bar_interval_ns"] = self._closes.interval_ns
        report.notes["adjust"] = self.config.adjust.name
        quoter = Quoter(self.config, self.tick_size, self.lot_size)
        summary, interval_ns = self._closes.summary, self._closes.interval_ns
        yield quoter.bid_event(summary.first_ts - interval_ns)
        for closes in self._closes.checked_blocks(report):
            yield quoter.events(closes)
            progress(report.rows_read, summary.rows)
        report.notes.pop("parts_of_units", None)
        yield quoter.bid_event(summary.last_ts + interval_ns)


class Quoter:
    """Turns closes into events: what the quotes were before is its state.

    Where a quote moves, the book is cleared and both come anew. All rows of one bar have the same time, so nobody sees
    the empty book.
    """

    def __init__(self, config: TradedBars, tick_size: float, lot_size: float) -> None:
        self._config = config
        self._tick_size = tick_size
        self._lot_size = lot_size
        self._per_unit = round(1.0 / tick_size) if tick_size < 1.0 else 0
        if abs(self._per_unit * tick_size - 1.0) > 1e-9:
            self._per_unit = 0
        self._bid, self._ask, self._close = 0, 0, 0
        self._direction = 1

    def events(self, closes: Closes) -> _Rows:
        """Events of some bars: an EVENT array of shape (n_events,), up to four of each bar."""
        bid, ask, close = self._ticks(closes.px)
        before_bid, before_ask, before_close = (
            np.concatenate(([before], now[:-1]))
            for before, now in ((self._bid, bid), (self._ask, ask), (self._close, close))
        )
        qty = np.rint(closes.qty / self._lot_size) * self._lot_size
        printed = (qty > 0.0) & self._config.prints
        moved = (bid != before_bid) | (ask != before_ask)
        silent = ~(printed | moved)
        direction = self._directions(close - before_close)
        side = np.where(direction > 0, int(EventFlag.BUY), int(EventFlag.SELL))
        depth = self._config.depth_qty
        columns = (
            (_PRINT | side, close, qty, printed),
            (_CLEAR, 0, 0.0, moved & (before_bid > 0)),
            (_BID, bid, depth, moved | silent),
            (_ASK, ask, depth, moved),
        )
        rows = np.zeros((len(bid), len(columns)), EVENT)
        wanted = np.zeros(rows.shape, bool)
        for place, (ev, ticks, quantity, holds) in enumerate(columns):
            rows["ev"][:, place] = ev
            rows["px"][:, place] = self._px(ticks) if place != 1 else 0.0
            rows["qty"][:, place] = quantity
            wanted[:, place] = holds
        rows["exch_ts"] = closes.ts[:, None]
        rows["local_ts"] = closes.ts[:, None] + int(self._config.delay_ns)
        self._bid, self._ask, self._close = int(bid[-1]), int(ask[-1]), int(close[-1])
        self._direction = int(direction[-1])
        return rows[wanted]  # type: ignore[no-any-return]

    def bid_event(self, exch_ts: int) -> _Rows:
        """The bid as it is at `exch_ts`; before the first close, that a level that is not there has no size."""
        rows = np.zeros(1, EVENT)
        rows["ev"], rows["exch_ts"], rows["local_ts"] = _BID, exch_ts, exch_ts + int(self._config.delay_ns)
        rows["px"] = self._px(np.array([max(self._bid, 1)]))
        rows["qty"] = self._config.depth_qty if self._bid else 0.0
        return rows

    def _ticks(self, px: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
        """Bid, ask and close of each bar; at least a tick lies between bid and ask."""
        part = self._config.slippage_bps * 1e-4
        bid, ask, close = (
            np.rint(px * f / self._tick_size).astype(np.int64) for f in (1 - part, 1 + part, 1)
        )
        bid = np.maximum(bid, 1)
        return bid, np.maximum(ask, bid + 1), np.maximum(close, 1)

    def _px(self, ticks: Any) -> Any:
        """Prices: decimals exactly where the tick is one over a whole number."""
        return ticks / self._per_unit if self._per_unit else ticks * self._tick_size

    def _directions(self, changes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Direction of the last change of the close, 1 or -1: the tick rule for the taker's side of a print."""
        signs = np.concatenate(([self._direction], np.sign(changes)))
        last_change = np.maximum.accumulate(np.where(signs != 0, np.arange(len(signs)), 0))
        return signs[last_change][1:]  # type: ignore[no-any-return]


def fine_tick(high_px: float) -> float:
    """Largest power of ten that is at most `TICK_FRAC` of the highest price.

    A finer one would give prices of more ticks than an engine in float64 tells apart.

    >>> fine_tick(650.0), fine_tick(0.9)
    (1e-06, 1e-09)
    """
    return float(f"1e{max(LEAST_TICK, math.floor(math.log10(high_px * TICK_FRAC)))}")
