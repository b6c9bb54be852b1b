"""Trades by first in, first out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bt_framework.results._extremes import Extremes
from bt_framework.results._legs import LEG, Contracts, legs_of, trades_of, widen
from bt_framework.results.run import Instrument


class Fifo:
    """A `bt_framework.results.trades.TradeBook`.

    The n-th lot bought and the n-th lot sold of an instrument are the two ends of a trade, whichever came first. So
    trades lie between neighbouring ends of all fills on one scale of lots: nothing is matched one by one.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._contracts = Contracts(instruments)
        self._open = [np.empty(0, LEG) for _ in instruments]
        self._mid_px = np.full(len(instruments), np.nan)
        self._last_ts = 0
        self._places = 0

    def update(self, fills: np.ndarray, equity: np.ndarray) -> np.ndarray:
        """Return the trades that these fills close."""
        legs = legs_of(fills, self._contracts, self._places)
        self._places += len(fills)
        parts = [
            self._match(asset, legs[legs["asset"] == asset], equity[equity["asset"] == asset])
            for asset in range(len(self._open))
        ]
        if len(equity):
            self._last_ts = int(equity["local_ts"][-1])
        entries, exits, lots = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.lexsort((entries["place"], exits["place"]))
        return trades_of(entries[order], exits[order], lots[order], self._contracts)

    def close(self) -> np.ndarray:
        """Return the open lots as trades."""
        entries = np.concatenate(self._open)
        exits = np.zeros(len(entries), LEG)
        exits["local_ts"] = np.maximum(entries["local_ts"], self._last_ts)
        exits["px"], exits["lots"] = self._mid_px[entries["asset"]], 1
        trades = trades_of(entries, exits, entries["left"], self._contracts)
        trades["open"] = 1
        return trades

    def _match(
        self, asset: int, new: np.ndarray, samples: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(entries, exits, lots) that `new` legs close; what stays open is kept."""
        legs = np.concatenate((self._open[asset], new))
        if len(samples):
            self._mid_px[asset] = samples["mid_px"][-1]
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


def _unmatched(legs: np.ndarray, ends: np.ndarray, matched: int) -> np.ndarray:
    """Legs of one side of which lots are left behind the first `matched` ones."""
    some = ends > matched
    rest = legs[some]
    rest["left"] = np.minimum(rest["left"], ends[some] - matched)
    return rest
