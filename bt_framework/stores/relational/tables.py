"""The whole schema, in types that every database has. Import this where it is used: it needs SQLAlchemy."""

from __future__ import annotations

from bt_framework.stores.relational import HEAD
from bt_framework.stores.relational._metadata import METADATA, VERSION
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
from bt_framework.stores.relational.row_tables import ROWS
from bt_framework.stores.relational.run_tables import METRICS, RUN_TAGS, RUNS, SWEEP_JOBS, SWEEPS

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
    "SWEEP_JOBS",
    "SYMBOLS",
    "VERSION",
]
