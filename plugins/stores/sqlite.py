"""The index of runs in one SQLite file, next to the run folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError
from bt_framework.stores.relational.runs import known_tables
from bt_framework.stores.relational.sqlite import SqliteStore


@dataclass
class Sqlite(ComponentConfig):
    """The index of runs in one SQLite file; safe for many processes on one machine."""

    name: str = param("sqlite", "registry name")
    path: str = param("${runs_dir}/index.sqlite", "the file; on a local disk, network disks do not lock well")
    busy_timeout_ns: Duration = param("30s", "how long to wait for other processes", unit="ns")
    tables: list[str] = param(
        [], "the run's tables that are also kept as rows, such as [fills, trades]; [] for none"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if int(self.busy_timeout_ns) < 0:
            raise ConfigError(f"busy_timeout_ns must be >= 0, was {self.busy_timeout_ns}.")
        known_tables(self.tables)


def build(config: Sqlite) -> SqliteStore:
    """Return the store."""
    return SqliteStore(Path(config.path), int(config.busy_timeout_ns), config.tables)
