"""Events and bars that are kept in ClickHouse."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, fields
from typing import TYPE_CHECKING, Any

from bt_framework.bars.trading import TradedBars
from bt_framework.config.schema import param
from bt_framework.config.settings import parse_time_ns
from bt_framework.data.batches import PairAndDate, times_of
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_framework.data.source import DataSource

LEAST_ID_DIGITS = 6
_OF_EVENTS = ("where", "feed_ids", "reader", "chunk_rows")


@dataclass
class _Chosen(PairAndDate):
    """Which rows of which database."""

    url: str = param(
        "",
        "http(s)://host:port/database or chdb:///folder; empty: $BT_CLICKHOUSE_URL, else chDB in the store's folder",
    )
    symbols: list[str] = param([], "instruments in the strategy's order")
    start: str | None = param(None, "received from here on (bars: that open), ISO-8601; null: the first")
    end: str | None = param(None, "received before this (bars: that open), ISO-8601; null: the last")
    where: str = param("", "filter of events, such as: kind = trade or qty >= 0.5; empty: all")
    feed_ids: list[str] = param(
        [], "feeds, by the beginning of their id, where a symbol has several of one time"
    )
    reader: str = param("", "feeds of this reader only; empty: of any")
    keep: bool = param(True, "whether events go into the event store; false: into memory, for this run only")
    chunk_rows: int = param(4_000_000, "events that one query asks for", unit="rows")
    bars: str = param("", "source of bars to trade at their closes; empty: events of market_data")


@dataclass
class Clickhouse(TradedBars, _Chosen):
    """Events of ClickHouse's market_data as `bt db load` has stored them, to the bit; or bars, with ``bars``.

    Feeds of one symbol whose times follow each other are joined. The keys after ``bars`` are for bars.
    """

    name: str = param("clickhouse", "registry name; choose another with GROUP=NAME")

    def __post_init__(self) -> None:
        """Check symbols, times and sizes."""
        super().__post_init__()
        if len(set(self.symbols)) != len(self.symbols):
            raise ConfigError(f"data.symbols must differ from each other, was {self.symbols}.")
        self.start, self.end = times_of(self.date, self.start, self.end)
        self.date = ""
        start_ts, end_ts = self.range_ns()
        if start_ts is not None and end_ts is not None and start_ts >= end_ts:
            raise ConfigError(f"data.end must be later than data.start ({self.start}), was {self.end}.")
        self._refuse_idle_keys()
        if self.chunk_rows < 1:
            raise ConfigError(f"data.chunk_rows must be >= 1, was {self.chunk_rows}.")
        for feed_id in self.feed_ids:
            if len(feed_id) < LEAST_ID_DIGITS or set(feed_id) - set("0123456789abcdef"):
                raise ConfigError(
                    f"data.feed_ids must be ids of feeds or at least their first {LEAST_ID_DIGITS} digits, was "
                    f"{feed_id!r}. bt db status --json lists them."
                )

    def _refuse_idle_keys(self) -> None:
        """Refuse keys of events with bars, and of bars without, which would do nothing."""
        of_bars = tuple(f.name for f in fields(TradedBars) if f.name != "name")
        for f in fields(self):
            idle = f.name in (_OF_EVENTS if self.bars else of_bars)
            if idle and getattr(self, f.name) != _default(f):
                raise ConfigError(
                    f"data.{f.name} is for {'events' if self.bars else 'bars'}, and must be left out "
                    f"{'with' if self.bars else 'without'} data.bars, was {getattr(self, f.name)}."
                )

    def range_ns(self) -> tuple[int | None, int | None]:
        """`start` and `end`, ns UTC; None where not given."""
        start_ts = None if self.start is None else parse_time_ns(self.start, "data.start")
        end_ts = None if self.end is None else parse_time_ns(self.end, "data.end")
        return start_ts, end_ts


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def build(config: Clickhouse) -> DataSource:
    """Return the source."""
    if config.bars:
        from bt_plugins.data.clickhouse._bars import BarsOfDatabase

        return BarsOfDatabase(config)
    from bt_plugins.data.clickhouse._source import EventsOfDatabase

    return EventsOfDatabase(config)
