"""What the tables of bars hold: loads of symbols, and their rows.

A load is one symbol's bars and corporate actions as they were in the bar store at one time, named by a hash of them. It
counts from the moment at which `bars_sources` names it; rows of other loads are never read. So a symbol that is being
loaded or replaced is seen as it was before, or as it is after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bt_framework.bars._manifest import Span
from bt_framework.bars.pieces import MOST_SYMBOLS
from bt_framework.stores.clickhouse.retrying import patiently

if TYPE_CHECKING:
    import pyarrow as pa

    from bt_framework.stores.clickhouse.connection import ClickHouse

_SOURCES = "SELECT DISTINCT source FROM bars_sources FINAL ORDER BY source"
_BEGUN = "SELECT count() AS bars FROM bars WHERE source = {source:String}"
_LOADS = (
    "SELECT symbol, interval_ns, load_id, bars, actions, updated_at_ns, toUnixTimestamp64Micro(first_datetime) AS"
    " first_us, toUnixTimestamp64Micro(last_datetime) AS last_us FROM bars_sources FINAL"
    " WHERE source = {source:String} ORDER BY symbol"
)
_COUNTS = (
    "SELECT symbol, load_id, count() AS bars FROM bars FINAL"
    " WHERE source = {source:String} AND symbol IN {symbols:Array(String)} GROUP BY symbol, load_id"
)
_ROWS = (
    " FROM bars FINAL WHERE source = {source:String} AND symbol IN {symbols:Array(String)}"
    " AND load_id IN {load_ids:Array(String)}"
    " AND datetime >= fromUnixTimestamp64Micro({first_us:Int64}, 'UTC')"
    " AND datetime < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')"
)
_BAR_ROWS = f"{_ROWS} ORDER BY source, symbol, load_id, datetime"
_ACTIONS = (
    "SELECT symbol, ex_date, kind, value FROM bars_actions FINAL WHERE source = {source:String}"
    " AND symbol IN {symbols:Array(String)} AND load_id IN {load_ids:Array(String)} ORDER BY symbol, ex_date, kind"
)


@dataclass(frozen=True)
class SymbolLoad:
    """One load of a symbol that counts.

    Attributes
    ----------
    load_id : str
        Hash of its bars and actions.
    bars, actions : int
        How many there are.
    updated_at_ns : int
        When it began to count, ns UTC.
    """

    symbol: str
    interval_ns: int
    load_id: str
    bars: int
    actions: int
    updated_at_ns: int
    first_us: int
    last_us: int

    @property
    def span(self) -> Span:
        """How many bars, and when the first and the last one open."""
        return Span(self.bars, self.first_us, self.last_us)


@dataclass(frozen=True)
class Selection:
    """Bars of some loads that open in [`first_us`, `end_us`), us UTC."""

    source: str
    symbols: tuple[str, ...]
    load_ids: tuple[str, ...]
    first_us: int
    end_us: int

    def values(self) -> dict[str, Any]:
        """Values that the statements bind."""
        return {
            "source": self.source,
            "symbols": list(self.symbols),
            "load_ids": list(self.load_ids),
            "first_us": self.first_us,
            "end_us": self.end_us,
        }


def sources(db: ClickHouse) -> list[str]:
    """Names of the sources that have a load, sorted."""
    return patiently(lambda: db.query(_SOURCES)).column("source").to_pylist()  # type: ignore[no-any-return]


def loads(db: ClickHouse, source: str) -> dict[str, SymbolLoad]:
    """The load of each symbol of `source`, by symbol."""
    rows = patiently(lambda: db.query(_LOADS, {"source": source})).to_pylist()
    return {row["symbol"]: SymbolLoad(**row) for row in rows}


def begun(db: ClickHouse, source: str) -> int:
    """How many bars of `source` there are, whether they count or not."""
    return int(patiently(lambda: db.query(_BEGUN, {"source": source}))["bars"][0].as_py())


def counts(db: ClickHouse, source: str, symbols: Iterable[str]) -> dict[tuple[str, str], int]:
    """How many bars there are of `symbols` by (symbol, load_id), of loads that count and of others."""
    found: dict[tuple[str, str], int] = {}
    for some in batches(symbols):
        values = {"source": source, "symbols": some}
        rows = patiently(lambda values=values: db.query(_COUNTS, values)).to_pylist()  # type: ignore[misc]
        found |= {(row["symbol"], row["load_id"]): row["bars"] for row in rows}
    return found


def bars(db: ClickHouse, chosen: Selection, names: Sequence[str]) -> pa.Table:
    """Columns `names` of `BAR_SCHEMA` of the chosen bars, by symbol and time."""
    import pyarrow as pa

    from bt_framework.bars.schema import BAR_SCHEMA

    columns = ", ".join(BAR_SCHEMA.field(name).name for name in names)
    table = patiently(lambda: db.query(f"SELECT {columns}{_BAR_ROWS}", chosen.values()))
    return table.cast(pa.schema([BAR_SCHEMA.field(name) for name in names]))


def count(db: ClickHouse, chosen: Selection) -> int:
    """How many bars are chosen."""
    table = patiently(lambda: db.query(f"SELECT count() AS bars{_ROWS}", chosen.values()))
    return int(table["bars"][0].as_py())


def actions(db: ClickHouse, source: str, wanted: Sequence[SymbolLoad]) -> pa.Table:
    """Corporate actions of loads: a table of `ACTION_SCHEMA`, by symbol and ex-date."""
    import pyarrow as pa

    from bt_framework.bars.schema import ACTION_SCHEMA

    tables = [ACTION_SCHEMA.empty_table()]
    by_symbol = {load.symbol: load.load_id for load in wanted}
    for some in batches(by_symbol):
        values = {"source": source, "symbols": some, "load_ids": [by_symbol[symbol] for symbol in some]}
        table = patiently(lambda values=values: db.query(_ACTIONS, values))  # type: ignore[misc]
        tables.append(table.cast(ACTION_SCHEMA))
    return pa.concat_tables(tables)


def batches(symbols: Iterable[str]) -> Iterator[list[str]]:
    """Yield as many symbols as one statement takes: they are part of its address."""
    names = list(symbols)
    for start in range(0, len(names), MOST_SYMBOLS):
        yield names[start : start + MOST_SYMBOLS]
