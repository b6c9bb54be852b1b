"""Tables of the research store, in types that every database has. Import this where it is used: it needs SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
)

SCHEMA_VERSION = 1


class UtcDateTime(TypeDecorator[datetime]):
    """An instant to the microsecond: a timestamp with time zone, or UTC as text where there is no such type."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return `value` in UTC; one without a time zone is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time must have a time zone, was {value.isoformat()}.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return `value` as an instant in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_NAME = Text().with_variant(Text(collation="C"), "postgresql")
"""Names are compared by code points everywhere, as Python and SQLite compare them: pairs depend on the order."""


def _name(key: str) -> Column[str]:
    return Column(key, _NAME, nullable=False)


def _time(key: str) -> Column[datetime]:
    return Column(key, UtcDateTime(), nullable=False)


def _number(key: str) -> Column[float]:
    """Return a column whose null is what could not be estimated."""
    return Column(key, Double())


def _symbol_of(column: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["source", column], ["symbols.source", "symbols.symbol"])


def _pair_of_universe() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["source", "pair_id"], ["pair_universe.source", "pair_universe.pair_id"])


METADATA = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_1_name)s",
        "pk": "pk_%(table_name)s",
    }
)

SCHEMA = Table("research_schema", METADATA, Column("version", Integer(), primary_key=True))
"""One row: the version of the tables."""

SYMBOLS = Table(
    "symbols",
    METADATA,
    _name("source"),
    _name("symbol"),
    _time("first_seen"),
    PrimaryKeyConstraint("source", "symbol"),
)
"""Every symbol that a source of bars has brought."""

CORPORATE_ACTIONS = Table(
    "corporate_actions",
    METADATA,
    _name("source"),
    _name("symbol"),
    Column("ex_date", Date(), nullable=False),
    _name("kind"),
    Column("value", Double(), nullable=False),
    PrimaryKeyConstraint("source", "symbol", "ex_date", "kind"),
    _symbol_of("symbol"),
    CheckConstraint("kind IN ('split', 'dividend')", name="kind"),
)
"""Splits (new shares per old one) and dividends (cash per share), one row per ex-date and kind."""

PAIR_UNIVERSE = Table(
    "pair_universe",
    METADATA,
    _name("source"),
    _name("pair_id"),
    _name("symbol_a"),
    _name("symbol_b"),
    _time("first_seen"),
    PrimaryKeyConstraint("source", "pair_id"),
    _symbol_of("symbol_a"),
    _symbol_of("symbol_b"),
    CheckConstraint("symbol_a < symbol_b", name="order"),
    CheckConstraint("pair_id = symbol_a || '_' || symbol_b", name="pair_id"),
)
"""Every pair that was ever tested or followed."""

SCREENS = Table(
    "screens",
    METADATA,
    Column("screen_id", _NAME, primary_key=True),
    _name("source"),
    _time("finished_at"),
    Column("settings", Text(), nullable=False),
    Column("summary", Text(), nullable=False),
    Index("ix_screens_source", "source", "finished_at"),
)
"""One row per finished screening: its settings and a summary, JSON both."""

_ENGLE_GRANGER = ("t", "p", "hedge_ratio", "intercept", "half_life_bars", "hurst")
_JOHANSEN = ("eigenvalue", "trace", "trace_p", "max", "max_p")
RESULT_NUMBERS = (
    *(f"ab_{name}" for name in _ENGLE_GRANGER),
    *(f"ba_{name}" for name in _ENGLE_GRANGER),
    "johansen_hedge_ratio",
    *(f"{name}_{rank}" for name in _JOHANSEN for rank in (0, 1)),
    "trend_trace_0",
    "trend_trace_p_0",
    "p_value",
    "p_bh",
    "q_storey",
)
"""Of a test: ``ab_`` is symbol_a explained by symbol_b, ``ba_`` the other way around; the number is Johansen's null.

Johansen's tests have an unrestricted constant, ``trend_trace_0`` is that with a restricted trend.
"""

COINTEGRATION_RESULTS = Table(
    "cointegration_results",
    METADATA,
    _name("screen_id"),
    _name("source"),
    _name("pair_id"),
    _time("window_start"),
    _time("window_end"),
    _time("as_of"),
    Column("interval_ns", BigInteger(), nullable=False),
    Column("observations", BigInteger(), nullable=False),
    _name("status"),
    *map(_number, RESULT_NUMBERS),
    Column("found_bh", Boolean(), nullable=False),
    Column("found_storey", Boolean(), nullable=False),
    PrimaryKeyConstraint("screen_id", "pair_id", "window_end"),
    ForeignKeyConstraint(["screen_id"], ["screens.screen_id"], ondelete="CASCADE"),
    _pair_of_universe(),
    Index("ix_cointegration_results_pair", "pair_id", "window_end"),
    Index("ix_cointegration_results_p", "screen_id", "p_value"),
)
"""One row per pair and test date of a screening; a test that was refused has a status and nulls."""


def _parameters(name: str, *columns: Column[Any]) -> Table:
    """Return a table of parameters that were estimated over a window and are known from `as_of` on."""
    return Table(
        name,
        METADATA,
        _name("source"),
        _name("pair_id"),
        _time("as_of"),
        _time("window_start"),
        _time("window_end"),
        Column("interval_ns", BigInteger(), nullable=False),
        _name("y_symbol"),
        Column("log_prices", Boolean(), nullable=False),
        _name("adjust"),
        Column("dt_s", Double(), nullable=False),
        Column("observations", BigInteger(), nullable=False),
        *columns,
        PrimaryKeyConstraint("source", "pair_id", "interval_ns", "y_symbol", "log_prices", "adjust", "as_of"),
        _pair_of_universe(),
        Index(f"ix_{name}_pair", "pair_id", "as_of"),
    )


OU_PARAMS = _parameters(
    "ou_params",
    *map(_number, ("hedge_ratio", "intercept", "theta", "mu", "sigma", "stationary_sd", "half_life_s")),
)
"""Ornstein-Uhlenbeck processes of spreads."""

KALMAN_PARAMS = _parameters(
    "kalman_params",
    *map(_number, ("intercept", "hedge_ratio", "p00", "p01", "p11")),
    *map(_number, ("q_intercept", "q_slope", "r", "log_likelihood")),
)
"""Kalman filters of hedge ratios as they stood at the end of a window, with their variances."""
