"""Bars of the bar store as feeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bt_framework.bars.closes import BarRange
from bt_framework.bars.quotes import BarsFeed, bar_feeds
from bt_framework.bars.store import BarStore
from bt_framework.data.source import DataSource
from bt_framework.errors import ConfigError
from bt_plugins.data.bars import Bars


class BarsSource(DataSource):
    """Symbols of one source of the bar store."""

    def __init__(self, config: Bars) -> None:
        self.config = config
        self._store: BarStore | None = None

    def use_store(self, store_dir: Path) -> None:
        """Take the bars from there."""
        self._store = BarStore(store_dir / "bars")

    def feeds(self) -> Sequence[BarsFeed]:
        """One feed per symbol.

        Raises
        ------
        ConfigError
            If no source is named, or a tick or lot size is for another symbol.
        DataError
            If the store does not have the source or a symbol, or none of its bars can be traded.
        """
        config, store = self.config, self._store
        assert store is not None, "use_store comes first"
        if not config.source:
            known = ", ".join(store.sources()) or "none; bt validate bars=NAME stores bars"
            raise ConfigError(f"data.source must name a source of bars, was ''. There are: {known}.")
        return bar_feeds(store, BarRange(config.source, *config.range_ns()), config.symbols, config)
