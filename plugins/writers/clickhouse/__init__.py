"""Rows of a run in ClickHouse, while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bt_framework.config.schema import ComponentConfig, Duration, param
from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name
from bt_framework.stores.clickhouse.address import address_of

if TYPE_CHECKING:
    from bt_plugins.writers.clickhouse._writer import ClickhouseWriter

_ON_ERROR = ("spool", "fail")


@dataclass
class Clickhouse(ComponentConfig):
    """The run's tables as rows in ClickHouse, sent in batches while the run goes on.

    What the database cannot take waits in the store's folder for ``bt db flush``, and the run goes on.
    """

    name: str = param("clickhouse", "registry name")
    url: str = param(
        "",
        "http(s)://host:port/database or chdb:///folder; empty: $BT_CLICKHOUSE_URL, else chDB in store_dir",
    )
    batch_rows: int = param(200_000, "rows that are sent together")
    flush_interval_ns: Duration = param("2s", "wall time until rows are sent, however few", unit="ns")
    queue_rows: int = param(1_000_000, "rows that may wait in memory")
    queue_wait_ns: Duration = param(
        "5s", "how long the run waits for room in the queue before rows go to the spool", unit="ns"
    )
    max_retries: int = param(3, "tries after the first, where another may help")
    backoff_ns: Duration = param(
        "100ms", "wait before the first of them; each next is twice as long", unit="ns"
    )
    max_backoff_ns: Duration = param("5s", "longest wait between two tries", unit="ns")
    retry_after_ns: Duration = param("30s", "how long a database that failed is left alone", unit="ns")
    timeout_ns: Duration = param("10s", "how long to wait for an answer of the database", unit="ns")
    on_error: str = param("spool", f"what to do if the database cannot be used: {' or '.join(_ON_ERROR)}")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        address_of(self.url, ".")
        for key in ("batch_rows", "queue_rows"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} must be >= 1, was {getattr(self, key)}.")
        if not 0 <= self.max_retries <= 20:
            raise ConfigError(f"max_retries must be from 0 to 20, was {self.max_retries}.")
        for key in ("flush_interval_ns", "queue_wait_ns", "backoff_ns", "max_backoff_ns", "retry_after_ns"):
            if getattr(self, key) < 0:
                raise ConfigError(f"{key} must be >= 0, was {getattr(self, key)}.")
        if int(self.timeout_ns) <= 0:
            raise ConfigError(f"timeout_ns must be > 0, was {self.timeout_ns}.")
        if self.on_error not in _ON_ERROR:
            raise ConfigError(unknown_name("on_error", self.on_error, _ON_ERROR))


def build(config: Clickhouse) -> ClickhouseWriter:
    """Return the writer.

    Raises
    ------
    ConfigError
        If a package that it needs is not installed.
    """
    from importlib.util import find_spec

    needed = ["clickhouse_connect", "tenacity", *(["chdb"] if address_of(config.url, ".").embedded else [])]
    for name in needed:
        if find_spec(name) is None:
            raise ConfigError(
                f"writer=clickhouse needs {name}, which is not installed. Install it: "
                "pip install 'bt-framework[clickhouse]'"
            )
    from bt_plugins.writers.clickhouse._writer import ClickhouseWriter

    return ClickhouseWriter(config)
