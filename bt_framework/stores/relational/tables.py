"""The whole schema, in types that every database has. Import this where it is used: it needs SQLAlchemy."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table

from bt_framework.stores.relational import HEAD
from bt_framework.stores.relational._metadata import METADATA
from bt_framework.stores.relational.research_tables import (
    COINTEGRATION_RESULTS,
    CORPORATE_ACTIONS,
    KALMAN_PARAMS,
    OU_PARAMS,
    PAIR_UNIVERSE,
    RESULT_NUMBERS,
    SCREENS,
    SYMBOLS,
)
from bt_framework.stores.relational.run_tables import METRICS, ROWS, RUN_TAGS, RUNS, SWEEPS

VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""One row: the version of the schema. The table is Alembic's, and not one of `METADATA`."""

__all__ = [
    "COINTEGRATION_RESULTS",
    "CORPORATE_ACTIONS",
    "HEAD",
    "KALMAN_PARAMS",
    "METADATA",
    "METRICS",
    "OU_PARAMS",
    "PAIR_UNIVERSE",
    "RESULT_NUMBERS",
    "ROWS",
    "RUNS",
    "RUN_TAGS",
    "SCREENS",
    "SWEEPS",
    "SYMBOLS",
    "VERSION",
]
