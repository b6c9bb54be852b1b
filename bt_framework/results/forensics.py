"""What a run's orders and fills come to: trades, lives of orders, and who earned what.

Everything is computed from the run's folder, in one pass along time and in bounded memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bt_framework.records import FILL, ORDER
from bt_framework.results._aligned import aligned
from bt_framework.results._attribution import Attribution, By, word_of
from bt_framework.results._legs import Contracts
from bt_framework.results._lives import ENDS, lives
from bt_framework.results.folder import RunFolder
from bt_framework.results.record import RunNames
from bt_framework.results.schemas import RECORDS, schema, to_arrow
from bt_framework.results.trades import CostMethod, trade_book

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["By", "attribution", "order_lives", "trades", "whole"]


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
    sums = Attribution(by, Contracts(names.instruments))
    for rows, fills in _trades(folder, names, method):
        sums.update(rows, fills)
    table = sums.rows()
    words = tuple(word_of(by, key, names) for key in table["key"].tolist())
    table["key"] = np.arange(len(table))
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
