"""Round-trip trades from fills, while a run goes on or afterwards, in bounded memory.

Both methods give the same total: what the closed trades earned, plus what the open ones are worth at the last
sample's mid, less all fees, is the equity.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import numpy as np

from bt_framework.results._average_cost import AverageCost
from bt_framework.results._fifo import Fifo
from bt_framework.results.run import Instrument


class CostMethod(StrEnum):
    """Which purchase a sale belongs to."""

    FIFO = "fifo"
    AVERAGE_COST = "average_cost"


class TradeBook(Protocol):
    """Turns fills into trades, slice by slice; the slices never change a trade."""

    def update(self, fills: np.ndarray, equity: np.ndarray) -> np.ndarray:
        """Return the TRADE rows that these fills close, in order of the fills.

        Parameters
        ----------
        fills : FILL array of shape (n_fills,)
        equity : EQUITY array of shape (n_samples,)
            Rows of the same stretch of time.
        """

    def close(self) -> np.ndarray:
        """Return the TRADE rows of what is open, marked at the last sample's mid."""


def trade_book(instruments: Sequence[Instrument], method: CostMethod = CostMethod.FIFO) -> TradeBook:
    """Return an empty book.

    ``fifo``
        A fill closes what has been open for the longest time; a trade is a quantity that one fill opened and
        another closed.
    ``average_cost``
        A fill closes a part of the whole position at its average price, as the ledger books it. The entry is the
        fill that opened the position; its fees are the position's, in proportion to the quantity.
    """
    return Fifo(instruments) if method == CostMethod.FIFO else AverageCost(instruments)
