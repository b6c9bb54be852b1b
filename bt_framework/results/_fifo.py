"""Trades by first in, first out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bt_framework.records import Rows
from bt_framework.results._extremes import Extremes
from bt_framework.results._leg_book import LegBook
from bt_framework.results._legs import LEG, widen
from bt_framework.results.run import Instrument


class Fifo(LegBook):
    """A `bt_framework.results.trades.TradeBook`.

    The n-th lot bought and the n-th lot sold of an instrument are the two ends of a trade, whichever came first. So
    trades lie between neighbouring ends of all fills on one scale of lots: nothing is matched one by one.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        super().__init__(instruments)
        self._open = [np.empty(0, LEG) for _ in instruments]

    def _open_legs(self) -> tuple[Rows, np.ndarray]:
        entries = np.concatenate(self._open)
        return entries, entries["left"]

    def _follow(self, asset: int, new: Rows, samples: Rows) -> tuple[Rows, Rows, np.ndarray]:
        """(entries, exits, lots) that `new` legs close; what stays open is kept."""
        legs = np.concatenate((self._open[asset], new))
        if len(legs) == 0:
            return legs, legs, np.empty(0, np.int64)
        extremes, times = Extremes(samples["mid_px"]), samples["local_ts"]
        bought, sold = (np.flatnonzero(legs["side"] == side) for side in (1, -1))
        ends_bought, ends_sold = (np.cumsum(legs["left"][places]) for places in (bought, sold))
        matched = min((int(ends[-1]) if len(ends) else 0) for ends in (ends_bought, ends_sold))
        ends = np.union1d(ends_bought, ends_sold)
        ends = ends[ends <= matched]
        starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
        buys = bought[np.searchsorted(ends_bought, starts, side="right")]
        sells = sold[np.searchsorted(ends_sold, starts, side="right")]
        entries, exits = legs[np.minimum(buys, sells)], legs[np.maximum(buys, sells)]
        widen(entries, exits["local_ts"], times, extremes)
        rest = [
            _unmatched(legs[places], side_ends, matched)
            for places, side_ends in ((bought, ends_bought), (sold, ends_sold))
        ]
        self._open[asset] = np.concatenate(rest)
        widen(self._open[asset], np.iinfo(np.int64).max, times, extremes)
        return entries, exits, ends - starts


def _unmatched(legs: Rows, ends: np.ndarray, matched: int) -> Rows:
    """Legs of one side of which lots are left behind the first `matched` ones."""
    some = ends > matched
    rest = legs[some]
    rest["left"] = np.minimum(rest["left"], ends[some] - matched)
    return rest
