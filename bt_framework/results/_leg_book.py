"""What books of trades share: fills in, instrument by instrument, and what is open at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from bt_framework.records import Rows
from bt_framework.results._legs import LEG, Contracts, legs_of, trades_of
from bt_framework.results.run import Instrument


class LegBook(ABC):
    """Base of the `bt_framework.results.trades.TradeBook` classes; a subclass says what a fill closes."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._contracts = Contracts(instruments)
        self._mid_px = np.full(len(instruments), np.nan)
        self._last_ts = 0
        self._places = 0

    @abstractmethod
    def _follow(self, asset: int, new: Rows, samples: Rows) -> tuple[Rows, Rows, np.ndarray]:
        """Take the `new` legs and equity `samples` of one instrument; return (entries, exits, lots) that are closed."""

    @abstractmethod
    def _open_legs(self) -> tuple[Rows, np.ndarray]:
        """Return the open legs of all instruments, and how many lots of each."""

    def update(self, fills: Rows, equity: Rows) -> Rows:
        """Return the trades that these fills close."""
        legs = legs_of(fills, self._contracts, self._places)
        self._places += len(fills)
        parts = []
        for asset in range(len(self._mid_px)):
            samples = equity[equity["asset"] == asset]
            parts.append(self._follow(asset, legs[legs["asset"] == asset], samples))
            if len(samples):
                self._mid_px[asset] = samples["mid_px"][-1]
        if len(equity):
            self._last_ts = int(equity["local_ts"][-1])
        entries, exits, lots = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.lexsort((entries["place"], exits["place"]))
        return trades_of(entries[order], exits[order], lots[order], self._contracts)

    def close(self) -> Rows:
        """Return what is open as trades."""
        entries, lots = self._open_legs()
        exits = np.zeros(len(entries), LEG)
        exits["local_ts"] = np.maximum(entries["local_ts"], self._last_ts)
        exits["px"], exits["lots"] = self._mid_px[entries["asset"]], 1
        trades = trades_of(entries, exits, lots, self._contracts)
        trades["open"] = 1
        return trades
