"""Fills as the two ends of trades, and the trades that pairs of them make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bt_framework.records import TRADE, Direction, Rows
from bt_framework.results._extremes import Extremes
from bt_framework.results.run import Instrument

LEG = np.dtype(
    [
        ("place", "i8"),
        ("local_ts", "i8"),
        ("asset", "i8"),
        ("order_id", "i8"),
        ("signal_id", "i8"),
        ("side", "i8"),
        ("tag", "i8"),
        ("maker", "i8"),
        ("px", "f8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("lots", "i8"),
        ("left", "i8"),
        ("low_px", "f8"),
        ("high_px", "f8"),
    ]
)
"""A fill: its place among all fills, how many lots it was and how many of them are not matched yet.

``low_px`` and ``high_px`` are the lowest and highest price since.
"""


class Contracts:
    """What fills are valued with: arrays of shape (n_instruments,).

    Attributes
    ----------
    lot_size, contract_size : float64
    inverse : bool
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self.lot_size = np.array([i.lot_size for i in instruments], np.float64)
        self.contract_size = np.array([i.contract_size for i in instruments], np.float64)
        self.inverse = np.array([i.inverse for i in instruments], bool)

    def pnl(
        self, asset: np.ndarray, signed_qty: np.ndarray, entry_px: np.ndarray, exit_px: np.ndarray
    ) -> np.ndarray:
        """What a position earns between two prices, settlement currency.

        Linear: qty x (exit - entry) x contract size; inverse: qty x (1 / entry - 1 / exit) x contract size.
        """
        inverse = self.inverse[asset]
        linear = exit_px - entry_px
        with np.errstate(divide="ignore", invalid="ignore"):
            per_unit = np.where(inverse, 1 / entry_px - 1 / exit_px, linear)
        return signed_qty * per_unit * self.contract_size[asset]  # type: ignore[no-any-return]

    def slippage(self, fills: Rows) -> np.ndarray:
        """What the slippage model added to the price of each fill, settlement currency; not negative."""
        clean_px = fills["px"] / (1 + fills["side"] * fills["slippage_bps"] * 1e-4)
        return self.pnl(fills["asset"], fills["side"] * fills["qty"], clean_px, fills["px"])


def legs_of(fills: Rows, contracts: Contracts, first_place: int) -> Rows:
    """Return the LEG array of `fills`, none of them matched; `first_place` is the place of the first."""
    legs = np.zeros(len(fills), LEG)
    for name in ("local_ts", "asset", "order_id", "signal_id", "side", "tag", "maker", "px", "fee"):
        legs[name] = fills[name]
    legs["place"] = first_place + np.arange(len(fills))
    legs["lots"] = legs["left"] = np.rint(fills["qty"] / contracts.lot_size[fills["asset"]])
    legs["slippage"] = contracts.slippage(fills)
    legs["low_px"] = legs["high_px"] = legs["px"]
    return legs


def trades_of(entries: Rows, exits: Rows, lots: np.ndarray, contracts: Contracts) -> Rows:
    """Return the TRADE rows of matched legs.

    Parameters
    ----------
    entries, exits : LEG arrays of shape (n_trades,)
        ``low_px`` and ``high_px`` of an entry are those until the exit. Fees and slippage of a leg go to its trades
        in proportion to their lots.
    lots : int64 array of shape (n_trades,)
        Lots that the trade has of both.
    """
    trades = np.zeros(len(entries), TRADE)
    asset, side = entries["asset"], entries["side"]
    qty = lots * contracts.lot_size[asset]
    trades["entry_ts"], trades["exit_ts"] = entries["local_ts"], exits["local_ts"]
    trades["duration_ns"] = trades["exit_ts"] - trades["entry_ts"]
    trades["asset"], trades["qty"] = asset, qty
    trades["direction"] = np.where(side > 0, Direction.LONG, Direction.SHORT)
    for name in ("order_id", "signal_id", "tag", "maker", "px"):
        trades[f"entry_{name}"], trades[f"exit_{name}"] = entries[name], exits[name]
    trades["gross_pnl"] = contracts.pnl(asset, side * qty, entries["px"], exits["px"])
    entry_frac, exit_frac = lots / entries["lots"], lots / exits["lots"]
    trades["fees"] = entries["fee"] * entry_frac + exits["fee"] * exit_frac
    trades["slippage"] = entries["slippage"] * entry_frac + exits["slippage"] * exit_frac
    trades["net_pnl"] = trades["gross_pnl"] - trades["fees"]
    low = np.fmin(np.fmin(entries["low_px"], entries["px"]), exits["px"])
    high = np.fmax(np.fmax(entries["high_px"], entries["px"]), exits["px"])
    worst, best = np.where(side > 0, low, high), np.where(side > 0, high, low)
    trades["mae"] = contracts.pnl(asset, side * qty, entries["px"], worst) + 0.0  # no -0.0
    trades["mfe"] = contracts.pnl(asset, side * qty, entries["px"], best) + 0.0
    return trades


def widen(legs: Rows, until_ts: np.ndarray | int, samples: np.ndarray, extremes: Extremes) -> None:
    """Take into the legs' extremes the samples after them and before `until_ts`.

    Parameters
    ----------
    legs : LEG array of shape (n_legs,)
    until_ts : int64 array of shape (n_legs,), or one for all; ns UTC
    samples : int64 array of shape (n_samples,)
        Their times; `extremes` is of their prices.
    """
    first = np.searchsorted(samples, legs["local_ts"], side="right")
    end = np.searchsorted(samples, np.broadcast_to(until_ts, len(legs)), side="left")
    low, high = extremes.between(first, end)
    legs["low_px"] = np.fmin(legs["low_px"], low)
    legs["high_px"] = np.fmax(legs["high_px"], high)
