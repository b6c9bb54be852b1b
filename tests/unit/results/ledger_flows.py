"""Random fills of an account, booked by the ledger's own kernels, compiled or plain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bt_framework.engine._broker import book_fill_row
from bt_framework.engine._ledger import equity_at
from bt_framework.engine._state import TIER, LoopArrays, LoopState, Sizes, allocate, contracts_of
from bt_framework.jit import PlainForms, cached_kernel, kernel
from bt_framework.records import Tag
from bt_framework.results.run import Instrument

SPOT = Instrument("SPOT", 0.01, 0.001)
FUTURE = Instrument("FUTURE", 0.25, 1.0, 50.0)
COIN = Instrument("COIN", 0.5, 1.0, 100.0, inverse=True)
ACCOUNTS = ((SPOT,), (COIN,), (SPOT, FUTURE), (FUTURE, COIN, SPOT))
_MIDDLE_PX = {"SPOT": 60_000.0, "FUTURE": 4_810.0, "COIN": 60_000.0}


@kernel
def book_all(a, bps, mids, sampled):
    """Book every fill, and write a sample after those that are `sampled`."""
    samples = 0
    for index in range(a.fills.size):
        book_fill_row(a, a.fills[index], bps[index])
        if sampled[index]:
            for asset in range(a.ledger.size):
                books, row = a.ledger[asset], a.equity[samples]
                samples += 1
                row.local_ts, row.asset = a.fills[index].local_ts, asset
                row.mid_px = mids[index, asset]
                row.position_qty, row.cash, row.fees = books.position_qty, books.cash, books.fees
                row.equity = equity_at(books, a.contracts[asset], row.mid_px)
    return samples


@cached_kernel
def book_compiled(arrays, bps, mids, sampled):
    """Call `book_all` as the loop calls its kernels."""
    return book_all(LoopState(arrays), bps, mids, sampled)


def book_plain(arrays: LoopArrays, bps: Any, mids: Any, sampled: Any) -> int:
    """Call `book_all` as it was written."""
    records = LoopArrays(*(array.view(np.recarray) if array.dtype.names else array for array in arrays))
    return int(PlainForms().of(book_all)(records, bps, mids, sampled))


@dataclass
class Flow:
    """What the ledger made of random fills."""

    instruments: tuple[Instrument, ...]
    fills: np.ndarray[Any, Any]
    equity: np.ndarray[Any, Any]
    ledger: np.ndarray[Any, Any]

    @property
    def notional(self) -> float:
        """Value traded, settlement currency."""
        total = 0.0
        for fill in self.fills:
            contract = self.instruments[fill["asset"]]
            value = fill["qty"] * contract.contract_size
            total += value / fill["px"] if contract.inverse else value * fill["px"]
        return total

    @property
    def last_equity(self) -> float:
        """Equity of the last sample, all instruments together."""
        return float(self.equity["equity"][-len(self.instruments) :].sum())


def random_flow(
    seed: int, instruments: tuple[Instrument, ...], n_fills: int, *, flat: bool, compiled: bool
) -> Flow:
    """Book `n_fills` random fills; with `flat`, one more per instrument closes what is open.

    Without the JIT there is only the plain form.
    """
    rng = np.random.default_rng(seed)
    contracts = contracts_of(
        [
            {
                "tick_size": i.tick_size,
                "lot_size": i.lot_size,
                "contract_size": i.contract_size,
                "inverse": i.inverse,
                "maker_per_qty": rng.choice([0.0, -0.001]),
                "taker_per_qty": rng.choice([0.0, 0.02]),
                "per_fill": rng.choice([0.0, 0.05]),
            }
            for i in instruments
        ]
    )
    tiers = np.zeros((len(instruments), 2), TIER)
    tiers["maker_value_frac"], tiers["taker_value_frac"] = [-1e-4, -2e-4], [5e-4, 3e-4]
    tiers["min_volume"] = [0.0, 1e6]
    n_closing = len(instruments) if flat else 0
    arrays = allocate(contracts, tiers, Sizes(n_fills + n_closing, 0, 2))
    fills = np.zeros(n_fills + n_closing, arrays.fills.dtype)
    lots = rng.integers(1, rng.choice([2, 20, 5_000]) + 1, len(fills))
    fills["asset"] = rng.integers(0, len(instruments), len(fills))
    fills["side"] = rng.choice([-1, 1], len(fills))
    for asset in range(n_closing):
        own = fills["asset"][:-n_closing] == asset
        held = int((fills["side"][:-n_closing] * lots[:-n_closing])[own].sum())
        place = n_fills + asset
        fills["asset"][place], fills["side"][place], lots[place] = asset, -np.sign(held) or 1, abs(held)
    keep = lots > 0
    fills, lots = fills[keep], lots[keep]
    fills["local_ts"] = 10**18 + np.cumsum(rng.integers(0, 3, len(fills))) * 1_000
    fills["exch_ts"] = fills["local_ts"] - 500
    fills["order_id"], fills["signal_id"] = np.arange(1, len(fills) + 1), rng.integers(0, 5, len(fills))
    fills["tag"], fills["maker"] = (
        rng.choice([int(t) for t in Tag], len(fills)),
        rng.integers(0, 2, len(fills)),
    )
    ticks = np.array([i.tick_size for i in instruments])
    middle = np.array([_MIDDLE_PX[i.symbol] for i in instruments])
    mids = middle * np.exp(np.cumsum(rng.normal(0, 0.005, (len(fills), len(instruments))), axis=0))
    own_mid = mids[np.arange(len(fills)), fills["asset"]]
    own_tick = ticks[fills["asset"]]
    fills["px"] = np.rint(own_mid * (1 + rng.normal(0, 0.002, len(fills))) / own_tick) * own_tick
    # As decimals are read: 3 x 0.001 is not 0.003.
    fills["qty"] = np.round(lots * np.array([i.lot_size for i in instruments])[fills["asset"]], 6)
    bps = np.where(fills["maker"] == 1, 0.0, rng.choice([0.0, 1.5]))
    sampled = rng.random(len(fills)) < 0.5
    sampled[-1] = True
    arrays = arrays._replace(fills=fills, equity=np.zeros(len(fills) * len(instruments), arrays.equity.dtype))
    book = book_compiled if compiled and hasattr(book_all, "py_func") else book_plain
    samples = book(arrays, bps, mids, sampled)
    return Flow(instruments, arrays.fills, arrays.equity[:samples], arrays.ledger)
