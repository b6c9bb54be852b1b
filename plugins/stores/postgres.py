"""The runs of a desk in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name
from bt_framework.results.run import TABLES
from bt_framework.stores.relational.runs import known_tables
from bt_framework.units import NS_PER_S

if TYPE_CHECKING:
    from bt_framework.stores.relational.postgres import PostgresStore

_ON_ERROR = ("fail", "warn")


@dataclass
class Postgres(ComponentConfig):
    """The runs of a desk in one PostgreSQL database, with the rows of their tables."""

    name: str = param("postgres", "registry name")
    url: str = param("", "postgresql://host/database, without a password; empty: $BT_POSTGRES_URL")
    tables: list[str] = param(list(TABLES), "the run's tables that are kept as rows; [] for none")
    on_error: str = param("fail", f"what happens if a run cannot be stored: one of {', '.join(_ON_ERROR)}")
    connect_timeout_ns: Duration = param("10s", "how long to wait for the server", unit="ns")
    busy_timeout_ns: Duration = param("30s", "how long to wait for locks of others", unit="ns")
    statement_timeout_ns: Duration = param("5min", "longest time of a statement; 0: no limit", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.on_error not in _ON_ERROR:
            raise ConfigError(unknown_name("on_error", self.on_error, _ON_ERROR))
        for key, least in (("connect_timeout_ns", 1), ("busy_timeout_ns", 1), ("statement_timeout_ns", 0)):
            if int(getattr(self, key)) < least:
                raise ConfigError(f"{key} must be >= {least}, was {getattr(self, key)}.")
        known_tables(self.tables)


def build(config: Postgres) -> PostgresStore:
    """Return the store."""
    from bt_framework.stores.relational.database import Limits
    from bt_framework.stores.relational.postgres import PostgresStore

    limits = Limits(
        busy_s=int(config.busy_timeout_ns) / NS_PER_S,
        connect_s=int(config.connect_timeout_ns) / NS_PER_S,
        statement_s=int(config.statement_timeout_ns) / NS_PER_S,
    )
    return PostgresStore(config.url, config.tables, limits=limits, on_error=config.on_error)
