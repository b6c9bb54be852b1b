"""The tables of a run, for readers: documented Arrow schemas, and the way from the loop's records into them.

Times are int64 ns UTC, prices in quote currency, quantities in base units. Enum members are lower-case words
in dictionary columns; null is "does not apply".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bt_framework import records
from bt_framework.errors import ConfigError, RunError
from bt_framework.records import (
    Direction,
    IntentKind,
    OrderEvent,
    OrderStatus,
    OrderType,
    RefusalReason,
    RiskAction,
    RiskEvent,
    Side,
    SignalKind,
    Tag,
    TimeInForce,
)
from bt_framework.registry import unknown_name
from bt_framework.results.arrays import number_array, text_array
from bt_framework.results.run import TABLES, Instrument

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS = {
    "signals": records.SIGNAL,
    "orders": records.ORDER,
    "fills": records.FILL,
    "refusals": records.REFUSAL,
    "risk_events": records.RISK_EVENT,
    "equity": records.EQUITY,
    "trades": records.TRADE,
    "order_lives": records.ORDER_LIFE,
    "attribution": records.ATTRIBUTION,
}
"""Record of each table."""


class Names(Protocol):
    """Where the words of a run's numbers come from: a run context, or `bt_framework.results.record.RunNames`."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """In the order of ``asset``."""

    @property
    def rules(self) -> Sequence[str]:
        """Names of the risk rules in chain order."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name, doc, unit : str
        As in the file, and what it means; `unit` is empty for words and counts.
    source : str
        Field of the record.
    words : Enum class, "symbols", "rules", "keys" or None
        What the record's numbers stand for; None keeps them.
    optional : bool
        Whether a number without a word is null; otherwise it is an error.
    boolean : bool
        Whether the record's number is a truth value.
    """

    name: str
    doc: str
    unit: str = ""
    source: str = ""
    words: type[IntEnum] | str | None = None
    optional: bool = False
    boolean: bool = False

    @property
    def field(self) -> str:
        """Field of the record."""
        return self.source or self.name


_NS, _QUOTE, _BASE, _SETTLED = "ns UTC", "quote currency", "base units", "settlement currency"
_LOCAL_TS = Column("local_ts", "time at our side", _NS)
_EXCH_TS = Column("exch_ts", "time at the exchange; 0 where the exchange has not seen it yet", _NS)
_SYMBOL = Column("symbol", "instrument", source="asset", words="symbols")
_ORDER_ID = Column("order_id", "id of the order, from 1 in order of the requests")
_SIGNAL_ID = Column("signal_id", "signal that the order acts on; 0 is none")
_SIDE = Column("side", "buy or sell", words=Side)
_TAG = Column("tag", "why the strategy sent the order", words=Tag)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "signals": (
        _LOCAL_TS,
        Column("signal_id", "id of the signal; orders carry it"),
        Column("kind", "what the signal asks for", words=SignalKind),
        Column("direction", "1 buys the spread, -1 sells it, 0 neither"),
        Column("z", "deviation of the spread from its mean", "stationary standard deviations"),
        Column("spread", "the spread, as the strategy defines it"),
        Column("hedge_ratio", "second leg per first leg, as the strategy defines it"),
        Column("half_life_s", "half-life of the spread's reversion", "s"),
    ),
    "orders": (
        _LOCAL_TS,
        _EXCH_TS,
        _ORDER_ID,
        _SIGNAL_ID,
        _SYMBOL,
        Column("event", "step in the order's life that this row is", words=OrderEvent),
        _SIDE,
        Column("order_type", "limit or market", words=OrderType),
        Column("time_in_force", "gtc, gtx (post-only), fok or ioc", words=TimeInForce),
        _TAG,
        Column("px", "limit price; for a market order the touch when it was sent", _QUOTE),
        Column("qty", "order quantity", _BASE),
        Column("leaves_qty", "quantity not filled after this step", _BASE),
        Column(
            "queue_ahead_qty",
            "estimated queue in front of an order when it came to rest: what our book shows at its price; else NaN",
            _BASE,
        ),
    ),
    "fills": (
        _LOCAL_TS,
        _EXCH_TS,
        _ORDER_ID,
        _SIGNAL_ID,
        _SYMBOL,
        _SIDE,
        _TAG,
        Column("maker", "whether the order rested in the book", boolean=True),
        Column("px", "price of the fill, slippage included", _QUOTE),
        Column("qty", "quantity filled", _BASE),
        Column("slippage_bps", "part of the price that the slippage model added", "bps of the price"),
        Column("fee", "fee paid; negative is a rebate", _SETTLED),
        Column("position_qty", "position after the fill; negative is short", _BASE),
        Column("realised_pnl", "realised by this fill, by average cost, before fees", _SETTLED),
    ),
    "refusals": (
        _LOCAL_TS,
        Column("symbol", "instrument", source="asset", words="symbols", optional=True),
        _ORDER_ID,
        _SIGNAL_ID,
        Column("kind", "what the strategy asked for", words=IntentKind, optional=True),
        Column("side", "buy or sell; null for a cancel", words=Side, optional=True),
        Column("tag", "why the strategy asked", words=Tag, optional=True),
        Column("reason", "why it was refused", words=RefusalReason),
        Column("rule", "risk rule that refused; null if the broker did", words="rules", optional=True),
        Column("px", "price asked for", _QUOTE),
        Column("qty", "quantity asked for", _BASE),
        Column("value", "what the rule measured, in its unit; NaN if the broker refused"),
        Column("limit", "what the rule allows, in its unit; NaN if the broker refused"),
    ),
    "risk_events": (
        _LOCAL_TS,
        Column("rule", "risk rule", words="rules"),
        Column("event", "breach, resume, or flat: all positions are closed after a breach", words=RiskEvent),
        Column("action", "what the rule's breach leads to", words=RiskAction),
        Column("until_ts", "when trading may resume; 0 if not by time", _NS),
        Column("value", "what the rule measured, in its unit"),
        Column("limit", "what the rule allows, in its unit"),
    ),
    "equity": (
        _LOCAL_TS,
        _SYMBOL,
        Column("mid_px", "mid price at which the position is valued", _QUOTE),
        Column("position_qty", "position; negative is short", _BASE),
        Column("cash", "received for sales minus paid for purchases, since the start", _SETTLED),
        Column("fees", "fees paid since the start", _SETTLED),
        Column("equity", "cash + position value - fees: profit since the start", _SETTLED),
    ),
    "trades": (
        Column("entry_ts", "when it was opened, at our side", _NS),
        Column("exit_ts", "when it was closed, at our side; of an open trade the last sample", _NS),
        _SYMBOL,
        Column("direction", "long or short", words=Direction),
        Column("open", "whether it is still open: its exit is then the last sample's mid", boolean=True),
        Column("entry_order_id", "order that opened it"),
        Column("exit_order_id", "order that closed it; 0 if open"),
        Column("entry_signal_id", "signal of the entry; 0 is none"),
        Column("exit_signal_id", "signal of the exit; 0 is none"),
        Column("entry_tag", "why it was opened", words=Tag),
        Column("exit_tag", "why it was closed", words=Tag),
        Column("entry_maker", "whether the entry rested in the book", boolean=True),
        Column("exit_maker", "whether the exit rested in the book", boolean=True),
        Column("qty", "quantity", _BASE),
        Column("entry_px", "price of the entry, slippage included", _QUOTE),
        Column("exit_px", "price of the exit, slippage included", _QUOTE),
        Column("gross_pnl", "earned from entry to exit, before fees", _SETTLED),
        Column("fees", "its part of the fees of both fills", _SETTLED),
        Column("net_pnl", "gross_pnl - fees", _SETTLED),
        Column("slippage", "its part of what the slippage model cost; gross_pnl includes it", _SETTLED),
        Column("mae", "maximum adverse excursion: the lowest gross PnL on the way, at most 0", _SETTLED),
        Column("mfe", "maximum favourable excursion: the highest gross PnL on the way, at least 0", _SETTLED),
        Column("duration_ns", "exit_ts - entry_ts", "ns"),
    ),
    "order_lives": (
        _ORDER_ID,
        _SIGNAL_ID,
        _SYMBOL,
        _SIDE,
        Column("order_type", "limit or market", words=OrderType),
        Column("time_in_force", "gtc, gtx (post-only), fok or ioc", words=TimeInForce),
        _TAG,
        Column(
            "status", "how it ended; pending has no answer yet, working is in the book", words=OrderStatus
        ),
        Column("px", "price as sent; for a market order the touch then", _QUOTE),
        Column("qty", "quantity as sent", _BASE),
        Column("last_px", "price after the last modification", _QUOTE),
        Column("last_qty", "quantity after the last modification", _BASE),
        Column("modifications", "modifications that the exchange made"),
        Column("refused_requests", "cancels and modifications that the exchange refused"),
        Column("created_ts", "when the strategy asked for it, at our side", _NS),
        Column("sent_ts", "when it was sent, at our side: in a simulation the same instant", _NS),
        Column("accepted_exch_ts", "when it came to rest, at the exchange; 0 if it never did", _NS),
        Column("accepted_local_ts", "when we heard of it; 0 if it never rested", _NS),
        Column(
            "queue_ahead_qty", "estimated queue in front of it when it first came to rest; else NaN", _BASE
        ),
        Column("first_fill_exch_ts", "first fill at the exchange; 0 if none", _NS),
        Column("first_fill_local_ts", "when we heard of the first fill; 0 if none", _NS),
        Column("last_fill_exch_ts", "last fill at the exchange; 0 if none", _NS),
        Column("last_fill_local_ts", "when we heard of the last fill; 0 if none", _NS),
        Column("cancel_requested_ts", "when a cancel was last sent, at our side; 0 if none", _NS),
        Column("ended_exch_ts", "when it ended as `status` says, at the exchange; 0 if it goes on", _NS),
        Column("ended_local_ts", "when we heard of the end; 0 if it goes on", _NS),
        Column("fills", "fills; one at each price"),
        Column("filled_qty", "quantity filled", _BASE),
        Column("average_px", "average price of the fills, slippage included; NaN if none", _QUOTE),
        Column("maker_share", "part of the filled quantity that rested in the book; NaN if none"),
        Column("fees", "fees of its fills; negative is a rebate", _SETTLED),
    ),
    "attribution": (
        Column("key", "tag, signal, symbol, or maker and taker", words="keys"),
        Column("trades", "closed trades"),
        Column("realised_pnl", "gross PnL of closed trades", _SETTLED),
        Column("unrealised_pnl", "gross PnL of open trades, at the last sample's mid", _SETTLED),
        Column("fees", "fees; negative is a rebate", _SETTLED),
        Column("slippage", "what the slippage model cost; realised and unrealised PnL include it", _SETTLED),
        Column("net_pnl", "realised_pnl + unrealised_pnl - fees", _SETTLED),
    ),
}
"""Columns of each table, in file order: `TABLES` and what `bt_framework.results.forensics` makes of them."""


@lru_cache(maxsize=len(COLUMNS))
def schema(table: str) -> pa.Schema:
    """Arrow schema of `table`; each field's metadata has ``description`` and, where it has one, ``unit``.

    Raises
    ------
    ConfigError
        If there is no such table.
    """
    import pyarrow as pa

    return pa.schema([_arrow_field(table, column) for column in columns(table)], metadata={"table": table})


def columns(table: str) -> tuple[Column, ...]:
    """Columns of `table`.

    Raises
    ------
    ConfigError
        If there is no such table.
    """
    if table not in COLUMNS:
        raise ConfigError(unknown_name("table", table, TABLES))
    return COLUMNS[table]


def to_arrow(table: str, rows: np.ndarray, run: Names) -> pa.Table:
    """Convert the loop's records.

    Parameters
    ----------
    table : str
        One of `COLUMNS`.
    rows : record array of shape (n_rows,)
        Of the table's record; may be overwritten afterwards.
    run : Names
        For the names of instruments and rules.

    Raises
    ------
    RunError
        If a number has no word in a column that always has one, such as a tag that is none.
    """
    import pyarrow as pa

    arrays = []
    for column in columns(table):
        values = rows[column.field]
        if column.words is None:
            arrays.append(number_array(values != 0 if column.boolean else values))
        else:
            arrays.append(_dictionary_array(table, column, values, run))
    return pa.Table.from_arrays(arrays, schema=schema(table))


def to_records(table: pa.Table, run: Names) -> np.ndarray:
    """Convert a table back into the loop's records, bit by bit.

    What was null comes back as 0, and a missing rule as -1.

    Parameters
    ----------
    table : pyarrow.Table
        As `to_arrow` made it; ``table`` in its schema's metadata says which one it is.
    run : Names
        For the names of instruments and rules.

    Returns
    -------
    record array of shape (n_rows,)
    """
    name = table.schema.metadata[b"table"].decode()
    rows = np.zeros(table.num_rows, RECORDS[name])
    for column in columns(name):
        values = table.column(column.name).combine_chunks()
        if column.words is None:
            rows[column.field] = values.to_numpy(zero_copy_only=False)
            continue
        missing = -1 if column.words == "rules" else 0
        number_of = {word: number for number, word in _vocabulary(column, run)}
        numbers = np.array([number_of[word] for word in values.dictionary.to_pylist()] + [missing], np.int64)
        rows[column.field] = numbers[
            values.indices.fill_null(len(numbers) - 1).to_numpy(zero_copy_only=False)
        ]
    return rows


def _arrow_field(table: str, column: Column) -> pa.Field:
    import pyarrow as pa

    metadata = {"description": column.doc} | ({"unit": column.unit} if column.unit else {})
    if column.boolean:
        type_ = pa.bool_()
    elif column.words is not None:
        type_ = pa.dictionary(pa.int32(), pa.string())
    else:
        type_ = pa.from_numpy_dtype(RECORDS[table][column.field])
    return pa.field(column.name, type_, nullable=column.optional, metadata=metadata)


def _vocabulary(column: Column, run: Names) -> list[tuple[int, str]]:
    """(number, word) of a column, in the order of its dictionary."""
    words: Sequence[Any]
    if isinstance(column.words, str):
        words = (
            [i.symbol for i in run.instruments] if column.words == "symbols" else getattr(run, column.words)
        )
        return list(enumerate(words))
    assert column.words is not None
    return [(int(member), member.name.lower()) for member in column.words]


def _dictionary_array(table: str, column: Column, values: np.ndarray, run: Names) -> pa.DictionaryArray:
    import pyarrow as pa

    vocabulary = _vocabulary(column, run)
    indices = np.full(len(values), -1, np.int32)
    for index, (number, _) in enumerate(vocabulary):
        indices[values == number] = index
    unknown = indices < 0
    if unknown.any() and not column.optional:
        known = ", ".join(f"{number} ({word})" for number, word in vocabulary)
        raise RunError(f"{table}.{column.field} must be one of {known}, was {int(values[unknown][0])}.")
    words = text_array([word for _, word in vocabulary])
    return pa.DictionaryArray.from_arrays(number_array(np.maximum(indices, 0), unknown), words)
