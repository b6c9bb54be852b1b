"""Bars that a ClickHouse database has, for another bar store or for cleaning them in another way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bt_framework.bars.config import BarSourceConfig
from bt_framework.config.schema import param
from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.bars.clickhouse._source import ClickhouseBars


@dataclass
class Clickhouse(BarSourceConfig):
    """Bars that bt db load has put into ClickHouse, with their corporate actions.

    They come as traded. What cleaning has made up, filled and replaced bars, is left out: it is made again by the rules
    of this source.
    """

    name: str = param("clickhouse", "registry name; choose another with GROUP=NAME")
    url: str = param("", "database; empty: $BT_CLICKHOUSE_URL, else chDB in the store's folder")
    database_source: str = param("", "name of the bars in the database")
    symbols: list[str] = param([], "instruments; empty: all of the source")
    start: str | None = param(None, "bars that open from here on, ISO-8601; null: the first")
    end: str | None = param(None, "bars that open before this, ISO-8601; null: the last")

    def __post_init__(self) -> None:
        """Check symbols and times."""
        super().__post_init__()
        if len(set(self.symbols)) != len(self.symbols):
            raise ConfigError(f"symbols must differ from each other, was {self.symbols}.")
        start_ts, end_ts = self.range_ns()
        if start_ts is not None and end_ts is not None and start_ts >= end_ts:
            raise ConfigError(f"end must be later than start ({self.start}), was {self.end}.")

    def range_ns(self) -> tuple[int | None, int | None]:
        """`start` and `end`, ns UTC; None where not given."""
        start_ts = None if self.start is None else parse_time_ns(self.start, "start")
        end_ts = None if self.end is None else parse_time_ns(self.end, "end")
        return start_ts, end_ts


def build(config: Clickhouse) -> ClickhouseBars:
    """Build the source."""
    from bt_plugins.bars.clickhouse._source import ClickhouseBars

    return ClickhouseBars(config)
