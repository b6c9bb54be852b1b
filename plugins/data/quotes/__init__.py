"""Reader of files of best quotes and trades."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bt_framework.config.schema import Duration, param
from bt_framework.data.source import FileConfig
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.quotes._feed import QuotesSource

BOOK_OPTIONS = ("auto", "best", "venues")
CROSSED_OPTIONS = ("drop_older", "keep")
SUSPICIOUS_OPTIONS = ("skip", "keep")
TIME_UNITS_NS = {"text": 0, "s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
TIME_FROM_OPTIONS = ("epoch", "midnight")
MIN_CHUNK_BYTES = 1 << 10
NOT_ON_THE_BOOK = (
    "cash",
    "next_day",
    "seller",
    "derivatively_priced",
    "sold",
    "out_of_sequence",
    "stock_option",
    "average_price",
    "official_close",
    "prior_reference_price",
    "official_open",
)
"""Sale conditions of prints that say nothing of the market at their time, or repeat another print."""


@dataclass
class Quotes(FileConfig):
    """Best bids and asks, and trades: zip files of QuantConnect LEAN, or CSV files whose columns you name.

    Without ``columns`` the files are LEAN's: FX tick quotes, US equity tick quotes and trades, second bars of
    bid and ask. The book has one level a side; trades get the taker's side by the quote rule, else the tick rule.
    """

    name: str = param("quotes", "registry name; choose another with GROUP=NAME")
    symbols: list[str] = param([], "symbol of each file; empty: taken from the file names")
    tick_size: dict[str, float] = param({}, "by symbol; else from the market or the data", unit="quote")
    lot_size: dict[str, float] = param({}, "by symbol; else from the market or the data", unit="base")
    default_qty: float = param(1_000_000.0, "quantity where the file has none, as FX quotes", unit="base")
    feed_latency_ns: Duration = param(0, "from the time in the file to its arrival", unit="ns")
    book: str = param("auto", "best: a row is the best quote; venues: a venue's; auto: venues if so named")
    crossed_venues: str = param("drop_older", "drop_older or keep, where venues' quotes lock or cross")
    suspicious: str = param("skip", "skip or keep what the file flags as suspicious")
    skip_conditions: list[str] = param(list(NOT_ON_THE_BOOK), "sale conditions of trades to skip (LEAN)")
    columns: dict[str, str] = param(
        {}, "CSV: name or number (from 0) of time, bid, bid_size, ask, ask_size, price, size, exchange"
    )
    delimiter: str = param(",", "CSV: between columns")
    time_unit: str = param("ms", "CSV: s, ms, us, ns, or text for dates and times")
    time_from: str = param("epoch", "CSV: epoch, or midnight of the day in the file's name")
    time_zone: str = param("", "UTC, UTC-05:00 or a name; empty: the market's in LEAN's files, UTC in CSV")
    price_scale: float = param(1.0, "CSV: power of ten that prices are multiplied by")
    max_malformed_lines: int = param(0, "malformed lines to skip and count, per symbol; one more is an error")
    chunk_bytes: int = param(1 << 18, "text parsed at a time, and the longest line", unit="bytes")

    symbol_of_each_file: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        from bt_plugins.data.quotes._lean import CONDITIONS
        from bt_plugins.data.quotes._rows import COLUMNS

        if self.symbols and len(self.symbols) != len(self.files):
            raise ConfigError(
                f"data.symbols must name the symbol of each file, was {len(self.symbols)} symbols for"
                f" {len(self.files)} files."
            )
        for key, sizes in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            for symbol, size in sizes.items():
                if not size > 0:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0, was {size}.")
        for key, least in (
            ("feed_latency_ns", 0),
            ("max_malformed_lines", 0),
            ("chunk_bytes", MIN_CHUNK_BYTES),
        ):
            if getattr(self, key) < least:
                raise ConfigError(f"data.{key} must be >= {least}, was {getattr(self, key)}.")
        if not self.default_qty > 0:
            raise ConfigError(f"data.default_qty must be > 0, was {self.default_qty}.")
        for key, options in (
            ("book", BOOK_OPTIONS),
            ("crossed_venues", CROSSED_OPTIONS),
            ("suspicious", SUSPICIOUS_OPTIONS),
            ("time_unit", tuple(TIME_UNITS_NS)),
            ("time_from", TIME_FROM_OPTIONS),
        ):
            _check_option(key, getattr(self, key), options)
        for name in self.skip_conditions:
            _check_option("skip_conditions", name, tuple(CONDITIONS))
        for name in self.columns:
            _check_option("columns", name, tuple(COLUMNS))
        self._check_csv()

    def _check_csv(self) -> None:
        if self.columns and ("time" not in self.columns or not self.columns.keys() & {"bid", "ask", "price"}):
            raise ConfigError(
                "data.columns must name time and at least one of bid, ask and price, was"
                f" {', '.join(self.columns)}."
            )
        if self.columns and self.book == "venues" and "exchange" not in self.columns:
            raise ConfigError("data.columns must name exchange if data.book is venues.")
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter.isalnum():
            raise ConfigError(f"data.delimiter must be one character, no letter, was {self.delimiter!r}.")
        if self.price_scale not in [10.0**k for k in range(13)]:
            raise ConfigError(f"data.price_scale must be a power of ten up to 1e12, was {self.price_scale}.")
        if self.time_from == "midnight" and self.time_unit == "text":
            raise ConfigError("data.time_unit must be s, ms, us or ns if data.time_from is midnight.")
        if self.time_zone:
            from bt_plugins.data.quotes._zones import zone_of

            zone_of(self.time_zone)

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether `path` is one of LEAN's zip files; a CSV file of unknown columns is nobody's."""
        from bt_plugins.data.quotes._lean import lean_file

        return path.suffix == ".zip" and lean_file(path) is not None


def _check_option(key: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        from bt_framework.registry import unknown_name

        raise ConfigError(unknown_name(f"data.{key}", value, options))


def build(config: Quotes) -> QuotesSource:
    """Build the data source."""
    from bt_plugins.data.quotes._feed import QuotesSource

    return QuotesSource(config)
