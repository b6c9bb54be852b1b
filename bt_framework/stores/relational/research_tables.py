"""Tables of research: symbols, pairs, what tests said of them, and parameters."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from bt_framework.stores.relational._metadata import METADATA, WORD, name, number, time


def _symbol_of(column: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["source", column], ["symbols.source", "symbols.symbol"])


def _pair_of_universe() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["source", "pair_id"], ["pair_universe.source", "pair_universe.pair_id"])


SYMBOLS = Table(
    "symbols",
    METADATA,
    name("source"),
    name("symbol"),
    time("first_seen"),
    PrimaryKeyConstraint("source", "symbol"),
)
"""Every symbol that a source of bars has brought."""

CORPORATE_ACTIONS = Table(
    "corporate_actions",
    METADATA,
    name("source"),
    name("symbol"),
    Column("ex_date", Date(), nullable=False),
    name("kind"),
    Column("value", Double(), nullable=False),
    PrimaryKeyConstraint("source", "symbol", "ex_date", "kind"),
    _symbol_of("symbol"),
    CheckConstraint("kind IN ('split', 'dividend')", name="kind"),
)
"""Splits (new shares per old one) and dividends (cash per share), one row per ex-date and kind."""

PAIR_UNIVERSE = Table(
    "pair_universe",
    METADATA,
    name("source"),
    name("pair_id"),
    name("symbol_a"),
    name("symbol_b"),
    time("first_seen"),
    PrimaryKeyConstraint("source", "pair_id"),
    _symbol_of("symbol_a"),
    _symbol_of("symbol_b"),
    CheckConstraint("symbol_a < symbol_b", name="order"),
    CheckConstraint("pair_id = symbol_a || '_' || symbol_b", name="pair_id"),
    Index("uq_pair_universe_symbols", "source", "symbol_a", "symbol_b", unique=True),
)
"""Every pair that was ever tested or followed."""

SCREENS = Table(
    "screens",
    METADATA,
    Column("screen_id", WORD, primary_key=True),
    name("source"),
    time("finished_at"),
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
    name("screen_id"),
    name("source"),
    name("pair_id"),
    time("window_start"),
    time("window_end"),
    time("as_of"),
    Column("interval_ns", BigInteger(), nullable=False),
    Column("observations", BigInteger(), nullable=False),
    name("status"),
    *map(number, RESULT_NUMBERS),
    Column("found_bh", Boolean(), nullable=False),
    Column("found_storey", Boolean(), nullable=False),
    PrimaryKeyConstraint("screen_id", "pair_id", "window_end"),
    ForeignKeyConstraint(["screen_id"], ["screens.screen_id"], ondelete="CASCADE"),
    _pair_of_universe(),
    Index("ix_cointegration_results_pair", "pair_id", "window_end"),
    Index("ix_cointegration_results_p", "screen_id", "p_value"),
)
"""One row per pair and test date of a screening; a test that was refused has a status and nulls."""


def _parameters(table: str, *columns: Column[Any]) -> Table:
    """Return a table of parameters that were estimated over a window and are known from `as_of` on."""
    return Table(
        table,
        METADATA,
        name("source"),
        name("pair_id"),
        time("as_of"),
        time("window_start"),
        time("window_end"),
        Column("interval_ns", BigInteger(), nullable=False),
        name("y_symbol"),
        Column("log_prices", Boolean(), nullable=False),
        name("adjust"),
        Column("dt_s", Double(), nullable=False),
        Column("observations", BigInteger(), nullable=False),
        *columns,
        PrimaryKeyConstraint("source", "pair_id", "interval_ns", "y_symbol", "log_prices", "adjust", "as_of"),
        _pair_of_universe(),
        Index(f"ix_{table}_pair", "pair_id", "as_of"),
    )


OU_PARAMS = _parameters(
    "ou_params",
    *map(number, ("hedge_ratio", "intercept", "theta", "mu", "sigma", "stationary_sd", "half_life_s")),
)
"""Ornstein-Uhlenbeck processes of spreads."""

KALMAN_PARAMS = _parameters(
    "kalman_params",
    *map(number, ("intercept", "hedge_ratio", "p00", "p01", "p11")),
    *map(number, ("q_intercept", "q_slope", "r", "log_likelihood")),
)
"""Kalman filters of hedge ratios as they stood at the end of a window, with their variances."""
