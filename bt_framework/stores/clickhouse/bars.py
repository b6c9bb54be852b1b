"""Bars in ClickHouse, read as the bar store is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from bt_framework.bars._manifest import Span, microseconds
from bt_framework.errors import ConfigError, DataError
from bt_framework.registry import unknown_name
from bt_framework.stores.clickhouse import _bar_tables as tables
from bt_framework.stores.clickhouse._bar_tables import Selection, SymbolLoad
from bt_framework.stores.clickhouse.address import Address
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.retrying import patiently
from bt_framework.stores.clickhouse.schema import require

if TYPE_CHECKING:
    import pyarrow as pa


class DatabaseBars:
    """The bars of a database.

    What counts in it is looked up once for each source: all reads give bars of the same loads, or fail.

    Parameters
    ----------
    address : Address
        Of the database; connected to for each read, unless it is `opened`.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._db: ClickHouse | None = None
        self._known: dict[str, dict[str, SymbolLoad]] = {}

    @contextmanager
    def opened(self) -> Iterator[DatabaseBars]:
        """Yield it with a connection for several reads, for one thread."""
        if self._db is not None:
            yield self
            return
        bars = DatabaseBars(self.address)
        bars._known = self._known
        with patiently(lambda: ClickHouse(self.address)) as bars._db:
            yield bars

    @contextmanager
    def _connected(self) -> Iterator[ClickHouse]:
        with self.opened() as bars:
            assert bars._db is not None
            yield bars._db

    def sources(self) -> list[str]:
        """Names of the sources, sorted."""
        with self._connected() as db:
            require(db)
            return tables.sources(db)

    def symbols(self, source: str) -> list[str]:
        """Symbols of `source`, sorted; DataError if there is no such source."""
        return list(self._loads(source))

    def spans(self, source: str) -> dict[str, Span]:
        """How many bars each symbol of `source` has, and its first and last."""
        return {symbol: load.span for symbol, load in self._loads(source).items()}

    def interval_ns(self, source: str) -> int:
        """From one bar of `source` to the next."""
        return next(iter(self._loads(source).values())).interval_ns

    def read(
        self,
        source: str,
        *,
        symbols: Sequence[str],
        start: datetime,
        end: datetime,
        columns: Sequence[str],
    ) -> pa.Table:
        """Return bars that open in [`start`, `end`), by symbol and time.

        The whole table is asked for again if the connection is lost.

        Raises
        ------
        DataError
            If the source or a symbol is unknown.
        StorageError
            If the database does not answer.
        """
        from bt_framework.bars.schema import BAR_SCHEMA

        for name in columns:
            if name not in BAR_SCHEMA.names:
                raise ConfigError(unknown_name("a column of bars", name, BAR_SCHEMA.names))
        wanted = [self._load(source, symbol) for symbol in symbols]
        chosen = Selection(
            source,
            tuple(symbols),
            tuple(load.load_id for load in wanted),
            microseconds(start),
            microseconds(end),
        )
        with self._connected() as db:
            return tables.bars(db, chosen, columns)

    def actions(self, source: str, symbols: Sequence[str]) -> pa.Table:
        """Corporate actions of `symbols` that were loaded with their bars: a table of `ACTION_SCHEMA`."""
        wanted = [self._load(source, symbol) for symbol in symbols]
        with self._connected() as db:
            return tables.actions(db, source, wanted)

    def require(self, source: str, symbol: str) -> None:
        """Refuse a symbol that is not there.

        Raises
        ------
        DataError
            Lists those that are, or says how to finish the load of it that was begun.
        """
        self._load(source, symbol)

    def check(self, source: str, symbols: Sequence[str]) -> None:
        """Refuse symbols that have not as many bars as their loads had.

        Raises
        ------
        DataError
            Names a symbol and what loads it again.
        """
        wanted = [self._load(source, symbol) for symbol in symbols]
        with self._connected() as db:
            found = tables.counts(db, source, symbols)
        for load in wanted:
            there = found.get((load.symbol, load.load_id), 0)
            if there != load.bars:
                raise DataError(
                    f"{self._of(source, load.symbol)} are damaged, or were replaced just now: there are {there:,} of"
                    f" {load.bars:,}. Run again; if that does not help, {self._remedy(source)}"
                )

    def _load(self, source: str, symbol: str) -> SymbolLoad:
        known = self._loads(source)
        if symbol not in known:
            self._refuse_half_loaded(source, symbol)
            raise DataError(
                f"{unknown_name(f'a symbol of source {source} in {self.address.name}', symbol, known)}"
            )
        return known[symbol]

    def _loads(self, source: str) -> dict[str, SymbolLoad]:
        if source not in self._known:
            with self._connected() as db:
                require(db)
                found = tables.loads(db, source)
                if not found:
                    raise DataError(self._unknown(db, source))
            self._known[source] = found
        return self._known[source]

    def _unknown(self, db: ClickHouse, source: str) -> str:
        """Why there is no load of `source`, and what helps."""
        begun, there = tables.begun(db, source), tables.sources(db)
        if begun:
            return (
                f"bars of source {source} in {self.address.name} are half-loaded: {begun:,} so far, of a load that has"
                f" not been finished; {self._remedy(source)}"
            )
        if not there:
            return f"{self.address.name} has no bars, asked for source {source!r}; {self._remedy('SOURCE')}"
        what = f"a source of bars in {self.address.name}"
        return f"{unknown_name(what, source, there)} To have another one, {self._remedy('SOURCE')}"

    def _refuse_half_loaded(self, source: str, symbol: str) -> None:
        with self._connected() as db:
            there = tables.counts(db, source, [symbol])
        if there:
            raise DataError(
                f"{self._of(source, symbol)} are half-loaded: {sum(there.values()):,} so far, of a load that has not"
                f" been finished; {self._remedy(source)}"
            )

    def _of(self, source: str, symbol: str) -> str:
        return f"bars of {symbol} of source {source} in {self.address.name}"

    def _remedy(self, source: str) -> str:
        return f"load them from the bar store: bt db load bars={source}{self.address.argument}"
