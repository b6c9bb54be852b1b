"""The research store: symbols, corporate actions, pairs, what tests said of them, and parameters, in one database.

SQLite in WAL mode by default, one file for many processes on one machine; PostgreSQL by URL, for a desk.
Times are instants in UTC, to the microsecond: timezone-aware datetimes in Python. What is written under the same key
replaces what was there, so that doing a piece of research again changes nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bt_framework.errors import DataError
from bt_framework.stores.relational._messages import RESEARCH
from bt_framework.stores.relational.address import RESEARCH_VARIABLE, sqlite_url
from bt_framework.stores.relational.database import Database
from bt_framework.stores.relational.statements import upsert

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection, Table
    from sqlalchemy.sql import Executable

FILE_NAME = "research.sqlite"
_ROWS_AT_ONCE = 1_000

P = TypeVar("P", bound="Parameters")


def pair_of(first: str, second: str) -> tuple[str, str, str]:
    """Return (pair_id, symbol_a, symbol_b) of two symbols: ``smaller_larger`` by plain string order.

    Raises
    ------
    DataError
        If one is empty, or both are the same.
    """
    if not first or not second or first == second:
        raise DataError(f"a pair must have two different symbols, was {first!r} and {second!r}.")
    symbol_a, symbol_b = sorted((first, second))
    return f"{symbol_a}_{symbol_b}", symbol_a, symbol_b


@dataclass(frozen=True)
class Parameters:
    """What was estimated over a window of a pair's bars, and from when on it was known.

    Attributes
    ----------
    source : str
        Of the bars.
    pair_id : str
        ``smaller_larger``.
    as_of : datetime
        When the last bar of the window had closed: the first moment at which the parameters were known.
    window_start, window_end : datetime
        Opening times of the window's first and last bar.
    interval_ns : int
        Of the bars.
    y_symbol : str
        The symbol that is explained; the other one is x: ``y = intercept + hedge_ratio * x + spread``.
    log_prices : bool
        Whether x and y are logarithms of prices.
    adjust : str
        How prices were adjusted for corporate actions: none, backward or point_in_time.
    dt_s : float
        Mean time between two observations, seconds.
    observations : int
        Bars in which both symbols have a price.
    """

    source: str
    pair_id: str
    as_of: datetime
    window_start: datetime
    window_end: datetime
    interval_ns: int
    y_symbol: str
    log_prices: bool
    adjust: str
    dt_s: float
    observations: int

    def __post_init__(self) -> None:
        """Refuse what is not finite: it could reach a position."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise DataError(f"{field.name} of the pair {self.pair_id} must be finite, was {value}.")


@dataclass(frozen=True)
class OuParams(Parameters):
    """The Ornstein-Uhlenbeck process of ``spread = y - intercept - hedge_ratio * x``.

    `theta` is 1/s, `mu`, `sigma` (per square root of a second) and `stationary_sd` are in units of y.
    """

    hedge_ratio: float
    intercept: float
    theta: float
    mu: float
    sigma: float
    stationary_sd: float
    half_life_s: float


@dataclass(frozen=True)
class KalmanParams(Parameters):
    """A Kalman filter of the hedge ratio after the window's last bar; see `bt_framework.stats.kalman`."""

    intercept: float
    hedge_ratio: float
    p00: float
    p01: float
    p11: float
    q_intercept: float
    q_slope: float
    r: float
    log_likelihood: float


@dataclass(frozen=True)
class Screen:
    """A finished screening.

    Attributes
    ----------
    screen_id : str
        Hash of the bars, the settings and the code of the statistics: equal for equal results.
    source : str
        Of the bars.
    finished_at : datetime
        With a time zone.
    settings : dict
        Those that decide the results.
    summary : dict
        How much was tested, refused and found.
    """

    screen_id: str
    source: str
    finished_at: datetime
    settings: dict[str, Any]
    summary: dict[str, Any]


class ResearchStore:
    """The research database at `url`; it is created by the first write.

    Methods raise `StorageError`, which names the database, if it cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, RESEARCH)

    @classmethod
    def in_folder(cls, store_dir: str | Path) -> ResearchStore:
        """Return the store at $BT_RESEARCH_URL if a desk shares one, else in ``research.sqlite`` of `store_dir`."""
        return cls(os.environ.get(RESEARCH_VARIABLE) or sqlite_url(Path(store_dir) / FILE_NAME))

    @property
    def database(self) -> Database:
        """Where it is kept, for its version and for queries of one's own."""
        return self._database

    @property
    def name(self) -> str:
        """The database for people: its file, or its URL without the password."""
        return self._database.name

    def register_symbols(self, symbols: Iterable[str], source: str) -> list[str]:
        """Keep `symbols` of `source`; return those that were not known."""
        with self._writing() as connection:
            return _register(connection, source, symbols)

    def symbols(self, source: str | None = None) -> list[str]:
        """Return the symbols of `source`, or of all sources, sorted."""
        table = _tables().SYMBOLS
        query = table.select().order_by(table.c.symbol)
        if source is not None:
            query = query.where(table.c.source == source)
        return sorted({row.symbol for row in self._read(query)})

    def add_actions(self, actions: pa.Table, *, source: str, replacing: Collection[str] = ()) -> int:
        """Keep corporate actions, a table of `ACTION_SCHEMA`, and register their symbols; return how many.

        Of one ex-date, dividends are added up and splits multiplied. All that the symbols `replacing` had before goes.
        """
        merged: dict[tuple[Any, ...], float] = {}
        for row in actions.to_pylist():
            key = (row["symbol"], row["ex_date"], row["kind"])
            if key not in merged:
                merged[key] = row["value"]
            elif row["kind"] == "split":
                merged[key] *= row["value"]
            else:
                merged[key] += row["value"]
        names = ("symbol", "ex_date", "kind")
        rows = [
            {"source": source, **dict(zip(names, key, strict=True)), "value": v} for key, v in merged.items()
        ]
        with self._writing() as connection:
            _register(connection, source, {row["symbol"] for row in rows})
            if replacing:
                _drop_actions(connection, source, replacing)
            _put(connection, _tables().CORPORATE_ACTIONS, rows)
        return len(rows)

    def actions(self, symbols: Iterable[str] | None = None, *, source: str) -> pa.Table:
        """Return the corporate actions of `symbols`, or of all, by symbol and ex-date: a table of `ACTION_SCHEMA`."""
        import pyarrow as pa

        from bt_framework.bars.schema import ACTION_SCHEMA

        table = _tables().CORPORATE_ACTIONS
        query = table.select().where(table.c.source == source)
        wanted = None if symbols is None else set(symbols)
        rows = [r._mapping for r in self._read(query.order_by(table.c.symbol, table.c.ex_date, table.c.kind))]
        kept = [row for row in rows if wanted is None or row["symbol"] in wanted]
        return pa.Table.from_pylist(
            [{k: row[k] for k in ACTION_SCHEMA.names} for row in kept], schema=ACTION_SCHEMA
        )

    def put_universe(self, pairs: Iterable[tuple[str, str]], source: str) -> list[str]:
        """Keep pairs of symbols and register their symbols; return the pair ids, in the order given.

        Raises
        ------
        DataError
            If two different pairs have one id, as A_B with C and A with B_C have.
        """
        named = [pair_of(*pair) for pair in pairs]
        with self._writing() as connection:
            _register(connection, source, {symbol for _, *both in named for symbol in both})
            _put_pairs(connection, source, named)
        return [pair_id for pair_id, *_ in named]

    def universe(self, source: str | None = None) -> list[tuple[str, str, str]]:
        """Return (pair_id, symbol_a, symbol_b) of the pairs of `source`, or of all sources, by id."""
        table = _tables().PAIR_UNIVERSE
        query = table.select().order_by(table.c.pair_id, table.c.source)
        if source is not None:
            query = query.where(table.c.source == source)
        return [(row.pair_id, row.symbol_a, row.symbol_b) for row in self._read(query)]

    def put_ou_params(self, params: Iterable[OuParams]) -> None:
        """Keep parameters of pairs in the universe."""
        self._put_params(_tables().OU_PARAMS, params)

    def put_kalman_params(self, params: Iterable[KalmanParams]) -> None:
        """Keep parameters of pairs in the universe."""
        self._put_params(_tables().KALMAN_PARAMS, params)

    def ou_params(self, pair_id: str, as_of: datetime, **narrower: Any) -> OuParams | None:
        """Return the newest parameters that were known at `as_of`, or None.

        Parameters
        ----------
        pair_id : str
            ``smaller_larger``.
        as_of : datetime
            With a time zone.
        **narrower
            Values of other columns that are asked for: source, interval_ns, y_symbol, log_prices, adjust.
        """
        return self._newest(_tables().OU_PARAMS, OuParams, pair_id, as_of, narrower)

    def kalman_params(self, pair_id: str, as_of: datetime, **narrower: Any) -> KalmanParams | None:
        """Return the newest parameters that were known at `as_of`, or None; see `ou_params`."""
        return self._newest(_tables().KALMAN_PARAMS, KalmanParams, pair_id, as_of, narrower)

    def put_results(self, screen: Screen, batches: Iterable[Sequence[Mapping[str, Any]]]) -> None:
        """Keep a finished screening and its rows, all at once, in the place of what is known of it.

        Parameters
        ----------
        screen : Screen
            What it was.
        batches : iterable of lists of mappings
            The columns of ``cointegration_results`` without ``screen_id``; of pairs in the universe.
        """
        tables = _tables()
        results, screens = tables.COINTEGRATION_RESULTS, tables.SCREENS
        row = asdict(screen) | {"settings": _json(screen.settings), "summary": _json(screen.summary)}
        with self._writing() as connection:
            connection.execute(results.delete().where(results.c.screen_id == screen.screen_id))
            _put(connection, screens, [row])
            for batch in batches:
                _put(connection, results, [{**r, "screen_id": screen.screen_id} for r in batch])

    def screens(self, source: str | None = None, screen_id: str | None = None) -> list[Screen]:
        """Return finished screenings, newest first: those of `source`, or the one with `screen_id`."""
        table = _tables().SCREENS
        query = table.select().order_by(table.c.finished_at.desc(), table.c.screen_id)
        if source is not None:
            query = query.where(table.c.source == source)
        if screen_id is not None:
            query = query.where(table.c.screen_id == screen_id)
        rows = [_plain(row) for row in self._read(query)]
        return [
            Screen(**row | {"settings": json.loads(row["settings"]), "summary": json.loads(row["summary"])})
            for row in rows
        ]

    def results(
        self,
        screen_id: str,
        *,
        pair_id: str | None = None,
        window_end: datetime | None = None,
        found_only: bool = False,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return rows of a screening, smallest p-value first, refused tests last.

        Parameters
        ----------
        screen_id : str
            Of a finished one.
        pair_id : str, optional
            Only this pair's.
        window_end : datetime, optional
            Only those of the window whose last bar opens then.
        found_only : bool
            Only discoveries, by Benjamini and Hochberg or by Storey.
        limit : int, optional
            How many at most.
        """
        table = _tables().COINTEGRATION_RESULTS
        query = table.select().where(table.c.screen_id == screen_id)
        if pair_id is not None:
            query = query.where(table.c.pair_id == pair_id)
        if window_end is not None:
            query = query.where(table.c.window_end == window_end)
        if found_only:
            query = query.where(table.c.found_bh | table.c.found_storey)
        order = (table.c.p_value.is_(None), table.c.p_value, table.c.pair_id, table.c.window_end)
        return [_plain(row) for row in self._read(query.order_by(*order).limit(limit))]

    def _put_params(self, table: Table, params: Iterable[Parameters]) -> None:
        with self._writing() as connection:
            _put(connection, table, [asdict(p) for p in params])

    def _newest(
        self, table: Table, kind: type[P], pair_id: str, as_of: datetime, narrower: Mapping[str, Any]
    ) -> P | None:
        query = table.select().where(table.c.pair_id == pair_id, table.c.as_of <= as_of)
        for key, value in narrower.items():
            query = query.where(table.c[key] == value)
        # Of several with one time, the choice does not depend on the order of writing.
        order = [table.c.as_of.desc(), *(c for c in table.primary_key.columns if c.name != "as_of")]
        rows = self._read(query.order_by(*order).limit(1))
        return kind(**_plain(rows[0])) if rows else None

    def _read(self, query: Executable) -> Sequence[Any]:
        """Rows of `query`; none where there is no database yet."""
        with self._database.reading() as connection:
            return [] if connection is None else connection.execute(query).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._database.writing() as connection:
            yield connection


def _tables() -> Any:
    """Import the tables when they are needed: SQLAlchemy takes a while."""
    from bt_framework.stores.relational import tables

    return tables


def _plain(row: Any) -> dict[str, Any]:
    """Return a row as a dict with plain names; SQLAlchemy's are a kind of str that not everything takes."""
    return {str(name): value for name, value in row._mapping.items()}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _register(connection: Connection, source: str, symbols: Iterable[str]) -> list[str]:
    """Insert the symbols that are not known, and return them."""
    table = _tables().SYMBOLS
    known = {r.symbol for r in connection.execute(table.select().where(table.c.source == source))}
    new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in known]
    seen = datetime.now(UTC)
    _put(connection, table, [{"source": source, "symbol": s, "first_seen": seen} for s in new])
    return new


def _put_pairs(connection: Connection, source: str, named: Sequence[tuple[str, str, str]]) -> None:
    table = _tables().PAIR_UNIVERSE
    old = connection.execute(table.select().where(table.c.source == source))
    known = {row.pair_id: (row.symbol_a, row.symbol_b) for row in old}
    refuse_one_id_for_two([*((pair_id, *symbols) for pair_id, symbols in known.items()), *named])
    seen = datetime.now(UTC)
    rows = []
    for pair_id, symbol_a, symbol_b in named:
        if pair_id not in known:
            row = {"source": source, "pair_id": pair_id, "symbol_a": symbol_a, "symbol_b": symbol_b}
            rows.append(row | {"first_seen": seen})
    _put(connection, table, rows)


def refuse_one_id_for_two(named: Iterable[tuple[str, str, str]]) -> None:
    """Refuse pairs, each of id and symbols, of which two different ones have one id.

    Raises
    ------
    DataError
        Names both.
    """
    known: dict[str, tuple[str, ...]] = {}
    for pair_id, *symbols in named:
        if known.setdefault(pair_id, tuple(symbols)) != tuple(symbols):
            raise DataError(
                f"the pair id {pair_id!r} must name one pair, was that of {' and '.join(known[pair_id])} and of "
                f"{' and '.join(symbols)}. Rename a symbol."
            )


def _drop_actions(connection: Connection, source: str, symbols: Iterable[str]) -> None:
    from sqlalchemy import bindparam

    table = _tables().CORPORATE_ACTIONS
    statement = table.delete().where(table.c.source == source, table.c.symbol == bindparam("of"))
    connection.execute(statement, [{"of": symbol} for symbol in symbols])


def _put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert `rows`; those whose key is there replace it."""
    statement = upsert(table, connection.dialect.name)
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        connection.execute(statement, [dict(row) for row in rows[at : at + _ROWS_AT_ONCE]])
