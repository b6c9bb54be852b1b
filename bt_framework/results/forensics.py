"""What a run's orders and fills come to: trades, lives of orders, and who earned what.

Everything is computed from the run's folder, in one pass along time and in bounded memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.records import ATTRIBUTION, FILL, ORDER, Tag
from bt_framework.results._aligned import aligned
from bt_framework.results._legs import Contracts
from bt_framework.results._lives import ENDS, lives
from bt_framework.results.folder import RunFolder
from bt_framework.results.record import RunNames
from bt_framework.results.schemas import RECORDS, schema, to_arrow
from bt_framework.results.trades import CostMethod, trade_book

if TYPE_CHECKING:
    import pyarrow as pa

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


def trades(folder: RunFolder, method: CostMethod = CostMethod.FIFO) -> Iterator[pa.Table]:
    """Yield the run's trades, closed ones in order of their exits, then the open ones.

    Raises
    ------
    StorageError
        If the run's files cannot be read.
    """
    names = folder.record().names()
    for rows, _ in _trades(folder, names, method):
        if len(rows):
            yield to_arrow("trades", rows, names)


def order_lives(folder: RunFolder) -> Iterator[pa.Table]:
    """Yield the lives of the run's orders as they end, each part by order id; those that go on come last.

    Raises
    ------
    StorageError
        If the run's files cannot be read.
    """
    names = folder.record().names()
    contracts = Contracts(names.instruments)
    orders: np.ndarray = np.empty(0, ORDER)
    fills: np.ndarray = np.empty(0, FILL)
    for part in aligned(folder, ("orders", "fills"), names):
        orders, fills = np.concatenate((orders, part["orders"])), np.concatenate((fills, part["fills"]))
        ended = np.unique(orders["order_id"][np.isin(orders["event"], list(ENDS))])
        steps, booked = np.isin(orders["order_id"], ended), np.isin(fills["order_id"], ended)
        if len(ended):
            yield to_arrow("order_lives", lives(orders[steps], fills[booked], contracts), names)
        orders, fills = orders[~steps], fills[~booked]
    if len(orders):
        yield to_arrow("order_lives", lives(orders, fills, contracts), names)


def attribution(folder: RunFolder, by: By, method: CostMethod = CostMethod.FIFO) -> pa.Table:
    """Attribute the run's PnL; the sum over the rows is the equity of the last sample.

    Parameters
    ----------
    folder : RunFolder
    by : By
        What to.
    method : CostMethod
        Which trades; it moves PnL from one row to another and leaves the sum.

    Raises
    ------
    StorageError
        If the run's files cannot be read.
    """
    names = folder.record().names()
    keys, contracts = _KEYS[by], Contracts(names.instruments)
    sums: dict[int, np.ndarray] = {}
    for rows, fills in _trades(folder, names, method):
        closed, open_ = rows[rows["open"] == 0], rows[rows["open"] != 0]
        _add(sums, closed[keys.closed], trades=np.ones(len(closed)), realised_pnl=closed["gross_pnl"])
        _add(sums, open_[keys.open], unrealised_pnl=open_["gross_pnl"])
        if keys.fill is None:
            _add(sums, rows[keys.open], fees=rows["fees"], slippage=rows["slippage"])
        else:
            _add(sums, fills[keys.fill], fees=fills["fee"], slippage=contracts.slippage(fills))
    table = np.zeros(len(sums), ATTRIBUTION)
    table["key"] = np.arange(len(sums))
    for row, key in zip(table, sorted(sums), strict=True):
        for name, amount in zip(_AMOUNTS, sums[key], strict=True):
            row[name] = amount
    table["net_pnl"] = table["realised_pnl"] + table["unrealised_pnl"] - table["fees"]
    words = tuple(_word(by, key, names) for key in sorted(sums))
    return to_arrow("attribution", table, dataclasses.replace(names, keys=words))


def whole(table: str, parts: Iterator[pa.Table]) -> pa.Table:
    """Join what `trades` or `order_lives` yields."""
    import pyarrow as pa

    return pa.concat_tables([schema(table).empty_table(), *parts]).unify_dictionaries()


def _trades(
    folder: RunFolder, names: RunNames, method: CostMethod
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (trades, fills) along time; the open trades come last, without fills."""
    book = trade_book(names.instruments, method)
    for part in aligned(folder, ("fills", "equity"), names):
        yield book.update(part["fills"], part["equity"]), part["fills"]
    yield book.close(), np.empty(0, RECORDS["fills"])


def _add(sums: dict[int, np.ndarray], keys: np.ndarray, **amounts: np.ndarray) -> None:
    """Add amounts, arrays of the shape of `keys`, to the sums of their keys."""
    found, place = np.unique(keys, return_inverse=True)
    for name, values in amounts.items():
        column = _AMOUNTS.index(name)
        for key, amount in zip(found.tolist(), np.bincount(place, values, len(found)), strict=True):
            sums.setdefault(key, np.zeros(len(_AMOUNTS)))[column] += amount


def _word(by: By, key: int, names: RunNames) -> str:
    words: dict[By, Any] = {
        By.SYMBOL: lambda: names.instruments[key].symbol,
        By.LIQUIDITY: lambda: "maker" if key else "taker",
        By.TAG: lambda: Tag(key).name.lower(),
        By.ENTRY_TAG: lambda: Tag(key).name.lower(),
    }
    return str(words.get(by, lambda: key)())
