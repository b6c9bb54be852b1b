"""Which ClickHouse database a command means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bt_framework.config.schema import BaseConfig, param
from bt_framework.config.settings import default_store_dir
from bt_framework.errors import ConfigError
from bt_framework.stores.clickhouse.address import Address, address_of

TTL_DAYS_MAX = 36_500


@dataclass
class Place(BaseConfig):
    """A database by its URL, or that of a store's folder; commands add their own keys."""

    url: str = param(
        "",
        "http(s)://host:port/database or chdb:///folder; empty: $BT_CLICKHOUSE_URL, else chDB in the store's folder",
    )
    store_dir: str = param("", "folder of the event store; empty: $BT_STORE_DIR, else the user's data folder")

    def __post_init__(self) -> None:
        """Expand the folder."""
        super().__post_init__()
        self.store_dir = str(Path(self.store_dir or default_store_dir()).expanduser())

    @property
    def address(self) -> Address:
        """Where the database is."""
        return address_of(self.url, self.store_dir)


@dataclass
class Migration(Place):
    """What `bt db migrate` does."""

    market_data_ttl_days: int | None = param(
        None,
        "days that market data stays, counted from its own time; 0: for ever; null: as it is",
        unit="days",
    )

    def __post_init__(self) -> None:
        """Check the range."""
        super().__post_init__()
        days = self.market_data_ttl_days
        if days is not None and not 0 <= days <= TTL_DAYS_MAX:
            raise ConfigError(f"market_data_ttl_days must be from 0 to {TTL_DAYS_MAX}, was {days}.")
