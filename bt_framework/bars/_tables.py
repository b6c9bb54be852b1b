"""Checks of tables of bars before they are stored, and their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bt_framework.bars._manifest import Span, time_text
from bt_framework.bars.schema import BAR_SCHEMA
from bt_framework.errors import DataError

VALUES = ("open", "high", "low", "close", "volume")
_NS_RANGE_US = (1 << 63) // 1_000 - 1
"""Times beyond it are no int64 nanoseconds."""
_SYMBOL = r"^[^\pC\pZ]([^\pC\p{Zl}\p{Zp}]{0,98}[^\pC\pZ])?$"
"""No control characters, line breaks or space around it: it is shown on terminals, and names files."""


def checked(table: pa.Table, source: str) -> pa.Table:
    """Return `table` with the types of `BAR_SCHEMA`; NaN becomes null.

    Raises
    ------
    DataError
        If a column is absent or unknown or has another type, a value that must be there is not, a number is
        infinite, a factor is not positive, or a time is out of range. The message names the symbol.
    """
    if table.schema.names != BAR_SCHEMA.names:
        raise DataError(
            f"bars of {source} must have the columns {', '.join(BAR_SCHEMA.names)}, were"
            f" {', '.join(table.schema.names)}."
        )
    columns = []
    for field, column in zip(BAR_SCHEMA, table.columns, strict=True):
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"bars of {source}: column {field.name} must be {field.type}: {error}."
            ) from error
        if not field.nullable and column.null_count:
            _refuse(table, pc.is_null(column), source, f"{field.name} must be given")
        if field.name in VALUES:
            column = pc.if_else(pc.is_nan(column), None, column)
        if pa.types.is_floating(field.type):
            _refuse(table, pc.is_inf(column), source, f"{field.name} must be finite")
        columns.append(column)
    bars = pa.table(columns, schema=BAR_SCHEMA)
    factors = bars["adj_factor"]
    _refuse(bars, pc.invert(pc.greater(factors, 0.0)), source, "adj_factor must be > 0")
    names = bars["symbol"].unique()
    unusual = pc.is_in(
        bars["symbol"], value_set=names.filter(pc.invert(pc.match_substring_regex(names, _SYMBOL)))
    )
    _refuse(bars, unusual, source, "symbol must be 1 to 100 printable characters without space around them")
    outside = pc.greater(pc.abs(pc.cast(bars["datetime"], pa.int64())), _NS_RANGE_US)
    _refuse(bars, outside, source, "datetime must lie between 1677 and 2262")
    return bars


def _refuse(table: pa.Table, wrong: Any, source: str, rule: str) -> None:
    """Raise if any row is `wrong`; the message names the first of them."""
    at = pc.index(wrong, True).as_py()
    if at >= 0:
        symbol, time = table["symbol"][at].as_py(), table["datetime"].cast(pa.int64())[at].as_py()
        when = "no time" if time is None else f"{np.datetime64(time, 'us')}"
        name = symbol if symbol and symbol.isprintable() else repr(symbol)
        raise DataError(f"bars of {source}: {rule}, was not for {name} at {when} (row {at}).")


def times_us(table: pa.Table) -> np.ndarray[Any, Any]:
    """Int64 array of shape (n_rows,): when each bar opens, us UTC."""
    return table["datetime"].cast(pa.int64()).to_numpy()  # type: ignore[no-any-return]


def symbol_ranks(table: pa.Table) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Codes of the symbols, int64 of shape (n_rows,), whose order is that of the names; and the names, sorted."""
    encoded = table["symbol"].combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    ranks = np.empty(len(names), np.int64)
    ranks[order] = np.arange(len(names))
    return ranks[encoded.indices.to_numpy()], [names[i] for i in order]


def by_symbol(table: pa.Table) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield each symbol and its rows, as they come."""
    if not table.num_rows:
        return
    ranks, names = symbol_ranks(table)
    order = np.argsort(ranks, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(ranks[order]) != 0])
    yield from zip(names, np.split(order, first[1:]), strict=True)


def in_order(table: pa.Table) -> pa.Table:
    """Return the rows by symbol and time."""
    if table.num_rows < 2:
        return table
    ranks, _ = symbol_ranks(table)
    times = times_us(table)
    later = (ranks[1:] > ranks[:-1]) | ((ranks[1:] == ranks[:-1]) & (times[1:] > times[:-1]))
    return table if later.all() else table.take(np.lexsort((times, ranks)))


def spans(table: pa.Table, source: str) -> dict[str, Span]:
    """Span of each symbol in `table`, whose rows for one symbol come in order of time.

    Raises
    ------
    DataError
        If two bars of a symbol have one time, or one comes after a later one.
    """
    if not table.num_rows:
        return {}
    ranks, names = symbol_ranks(table)
    order = np.argsort(ranks, kind="stable")
    ranks, times = ranks[order], times_us(table)[order]
    same = ranks[1:] == ranks[:-1]
    wrong = np.flatnonzero(same & (times[1:] <= times[:-1]))
    if len(wrong):
        at = int(wrong[0])
        symbol, before, now = names[ranks[at]], int(times[at]), int(times[at + 1])
        if before == now:
            raise DataError(
                f"bars of {source}: {symbol} has two bars at {time_text(now)}. Remove one of them."
            )
        raise DataError(
            f"bars of {source}: {symbol} has the bar of {time_text(now)} after that of {time_text(before)}. Sort"
            " the bars by time."
        )
    first = np.flatnonzero(np.r_[True, ~same])
    last = np.r_[first[1:], len(ranks)] - 1
    return {
        name: Span(int(e - b + 1), int(times[b]), int(times[e]))
        for name, b, e in zip(names, first, last, strict=True)
    }
