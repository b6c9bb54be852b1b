"""Trades by average cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bt_framework.records import Rows
from bt_framework.results._extremes import Extremes
from bt_framework.results._leg_book import LegBook
from bt_framework.results._legs import LEG
from bt_framework.results.run import Instrument


class AverageCost(LegBook):
    """A `bt_framework.results.trades.TradeBook`.

    The position of an instrument is one leg: that of the fill that opened it, at the average price, with the fees and
    slippage of all that has been added.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        super().__init__(instruments)
        self._open = [_rows(np.zeros(1, LEG))[0] for _ in instruments]
        self._last_fill_ts = np.zeros(len(instruments), np.int64)

    def _open_legs(self) -> tuple[Rows, np.ndarray]:
        entries = _legs([position for position in self._open if position["lots"] > 0])
        return entries, entries["lots"]

    def _follow(self, asset: int, new: Rows, samples: Rows) -> tuple[Rows, Rows, np.ndarray]:
        """(entries, exits, lots) that `new` legs close; the position goes on from there."""
        extremes, times = Extremes(samples["mid_px"]), samples["local_ts"]
        # What the position has seen until each fill, and from the last one to the end.
        since = np.concatenate(([self._last_fill_ts[asset]], new["local_ts"]))
        until = np.concatenate((new["local_ts"], [np.iinfo(np.int64).max]))
        first, end = np.searchsorted(times, since, side="right"), np.searchsorted(times, until, side="left")
        low, high = (px.tolist() for px in extremes.between(first, end))
        position, inverse = self._open[asset], bool(self._contracts.inverse[asset])
        entries, exits, lots = [], [], []
        for index, leg in enumerate(_rows(new)):
            _see(position, low[index], high[index])
            if position["lots"] == 0 or position["side"] == leg["side"]:
                _add(position, leg, leg["lots"], inverse)
                continue
            closed = min(position["lots"], leg["lots"])
            entries.append(position.copy())
            exits.append(leg)
            lots.append(closed)
            _take(position, closed)
            if leg["lots"] > closed:
                _add(position, leg, leg["lots"] - closed, inverse)
        _see(position, low[-1], high[-1])
        if len(new):
            self._last_fill_ts[asset] = new["local_ts"][-1]
        return _legs(entries), _legs(exits), np.array(lots, np.int64)


_Row = dict[str, Any]
"""A LEG as Python's own numbers, which one by one are much faster than numpy's."""


def _rows(legs: np.ndarray) -> list[_Row]:
    names = LEG.names or ()
    return [dict(zip(names, values, strict=True)) for values in legs.tolist()]


def _legs(rows: list[_Row]) -> np.ndarray:
    return np.array([tuple(row.values()) for row in rows], LEG)


def _see(position: _Row, low_px: float, high_px: float) -> None:
    """Take prices into the extremes of the position."""
    position["low_px"] = min(position["low_px"], low_px)
    position["high_px"] = max(position["high_px"], high_px)


def _add(position: _Row, leg: _Row, lots: int, inverse: bool) -> None:
    """Add `lots` of `leg` to the position, or open one; the average price of an inverse contract is harmonic."""
    held, frac = position["lots"], lots / leg["lots"]
    if held == 0:
        position.update(leg)
    elif inverse:
        position["px"] = (held + lots) / (held / position["px"] + lots / leg["px"])
    else:
        position["px"] = (held * position["px"] + lots * leg["px"]) / (held + lots)
    for name in ("fee", "slippage"):
        position[name] = (position[name] if held else 0.0) + leg[name] * frac
    position["lots"] = held + lots
    _see(position, leg["px"], leg["px"])


def _take(position: _Row, lots: int) -> None:
    """Take `lots` from the position, with their part of fees and slippage."""
    rest_frac = 1 - lots / position["lots"]
    for name in ("fee", "slippage"):
        position[name] *= rest_frac
    position["lots"] -= lots
