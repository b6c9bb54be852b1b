"""Who earned what: PnL, fees and slippage summed up by a key of the trades and fills."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from bt_framework.records import ATTRIBUTION, Tag
from bt_framework.results._legs import Contracts
from bt_framework.results.record import RunNames

_AMOUNTS = ("trades", "realised_pnl", "unrealised_pnl", "fees", "slippage")


class By(StrEnum):
    """What PnL is attributed to.

    A closed trade's PnL belongs to its exit, an open one's to its entry, and fees and slippage to the fill that caused
    them; with ``entry_tag`` and ``entry_signal`` all of a trade belongs to its entry.
    """

    SYMBOL = "symbol"
    TAG = "tag"
    SIGNAL = "signal"
    LIQUIDITY = "liquidity"
    ENTRY_TAG = "entry_tag"
    ENTRY_SIGNAL = "entry_signal"


@dataclass(frozen=True)
class _Keys:
    """Fields that hold the key: of closed trades, of open ones, of fills; without the last, fees are the trades'."""

    closed: str
    open: str
    fill: str | None = None


_KEYS = {
    By.SYMBOL: _Keys("asset", "asset", "asset"),
    By.TAG: _Keys("exit_tag", "entry_tag", "tag"),
    By.SIGNAL: _Keys("exit_signal_id", "entry_signal_id", "signal_id"),
    By.LIQUIDITY: _Keys("exit_maker", "entry_maker", "maker"),
    By.ENTRY_TAG: _Keys("entry_tag", "entry_tag"),
    By.ENTRY_SIGNAL: _Keys("entry_signal_id", "entry_signal_id"),
}


class Attribution:
    """Sums by one key."""

    def __init__(self, by: By, contracts: Contracts) -> None:
        self._by = by
        self._contracts = contracts
        self._sums: dict[int, np.ndarray] = {}

    def update(self, trades: np.ndarray, fills: np.ndarray) -> None:
        """Add TRADE rows and FILL rows."""
        keys = _KEYS[self._by]
        closed, still_open = trades[trades["open"] == 0], trades[trades["open"] != 0]
        self._add(closed[keys.closed], trades=np.ones(len(closed)), realised_pnl=closed["gross_pnl"])
        self._add(still_open[keys.open], unrealised_pnl=still_open["gross_pnl"])
        if keys.fill is None:
            self._add(trades[keys.open], fees=trades["fees"], slippage=trades["slippage"])
        else:
            self._add(fills[keys.fill], fees=fills["fee"], slippage=self._contracts.slippage(fills))

    def rows(self) -> np.ndarray:
        """Return the ATTRIBUTION rows, by key."""
        rows = np.zeros(len(self._sums), ATTRIBUTION)
        for row, key in zip(rows, sorted(self._sums), strict=True):
            row["key"] = key
            for name, amount in zip(_AMOUNTS, self._sums[key], strict=True):
                row[name] = amount
        rows["net_pnl"] = rows["realised_pnl"] + rows["unrealised_pnl"] - rows["fees"]
        return rows

    def _add(self, keys: np.ndarray, **amounts: np.ndarray) -> None:
        """Add amounts, arrays of the shape of `keys`, to the sums of their keys."""
        found, place = np.unique(keys, return_inverse=True)
        for name, values in amounts.items():
            column = _AMOUNTS.index(name)
            for key, amount in zip(found.tolist(), np.bincount(place, values, len(found)), strict=True):
                self._sums.setdefault(key, np.zeros(len(_AMOUNTS)))[column] += amount


def word_of(by: By, key: int, names: RunNames) -> str:
    """Return the word that stands for a key."""
    words: dict[By, Any] = {
        By.SYMBOL: lambda: names.instruments[key].symbol,
        By.LIQUIDITY: lambda: "maker" if key else "taker",
        By.TAG: lambda: Tag(key).name.lower(),
        By.ENTRY_TAG: lambda: Tag(key).name.lower(),
    }
    return str(words.get(by, lambda: key)())
