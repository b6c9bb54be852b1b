"""Bars of a database as feeds: the events that the same bars of the bar store make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bt_framework.bars.closes import BarRange
from bt_framework.bars.quotes import BarsFeed, bar_feeds
from bt_framework.data.source import DataSource
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.bars import DatabaseBars
from bt_plugins.data.clickhouse import Clickhouse


class BarsOfDatabase(DataSource):
    """Symbols of one source of bars."""

    def __init__(self, config: Clickhouse) -> None:
        self.config = config
        self._store_dir = Path()

    def use_store(self, store_dir: Path) -> None:
        """Without a URL, the database is in there."""
        self._store_dir = store_dir

    def feeds(self) -> Sequence[BarsFeed]:
        """One feed per symbol.

        Raises
        ------
        ConfigError
            If the URL is none, or a tick or lot size is for another symbol.
        DataError
            If the database does not have the source or a symbol, only a part of it, or none of its bars can be traded.
        StorageError
            If it cannot be reached, or has other tables.
        """
        config = self.config
        bars = DatabaseBars(address_of(config.url, self._store_dir))
        with bars.opened() as opened:
            wanted = config.symbols or opened.symbols(config.bars)
            opened.check(config.bars, wanted)
            feeds = bar_feeds(bars, BarRange(config.bars, *config.range_ns()), wanted, config)
        for feed in feeds:
            feed.keep = config.keep
        return feeds
