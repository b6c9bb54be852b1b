"""Reader of collected Bitstamp orders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bt_framework.config.schema import Duration, param
from bt_framework.data.source import FileConfig
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.bitstamp._feed import BitstampSource

BOOK_OPTIONS = ("l3", "l2")


@dataclass
class Bitstamp(FileConfig):
    """Orders of Bitstamp as the R package obAnalytics collects them: created, changed, deleted.

    A file is xz, gzip, zstd or plain CSV. It has no trades: what an order loses without being deleted by its owner
    has traded. ``symbols`` names each file's symbol; without it, it is the word of capitals in the file's name.
    Files of the same symbol are joined in time order.
    """

    name: str = param("bitstamp", "registry name; choose another with GROUP=NAME")
    symbols: list[str] = param([], "symbol of each file; empty: taken from the file names")
    tick_size: dict[str, float] = param({}, "by symbol; else inferred from the data", unit="quote")
    lot_size: dict[str, float] = param({}, "by symbol; else inferred from the data", unit="base")
    book: str = param("l3", "l3: every order; l2: the sum of each price level")
    feed_latency_ns: Duration = param(0, "exchange time is this much before the receive time", unit="ns")
    stale_after_ns: Duration = param(
        "5s", "orders that others cross for longer are taken for gone", unit="ns"
    )
    max_malformed_lines: int = param(0, "malformed lines to skip and count, per symbol; one more is an error")

    symbol_of_each_file: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.symbols and len(self.symbols) != len(self.files):
            raise ConfigError(
                f"data.symbols must name the symbol of each file, was {len(self.symbols)} symbols for"
                f" {len(self.files)} files."
            )
        for key, sizes in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            for symbol, size in sizes.items():
                if not size > 0:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0, was {size}.")
        for key in ("feed_latency_ns", "stale_after_ns", "max_malformed_lines"):
            if getattr(self, key) < 0:
                raise ConfigError(f"data.{key} must be >= 0, was {getattr(self, key)}.")
        if self.book not in BOOK_OPTIONS:
            raise ConfigError(f"data.book must be one of {', '.join(BOOK_OPTIONS)}, was {self.book!r}.")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether the first line names the columns."""
        from bt_plugins.data.bitstamp._feed import has_columns

        return has_columns(head.partition(b"\n")[0].decode(errors="replace").strip().split(","))


def build(config: Bitstamp) -> BitstampSource:
    """Build the data source."""
    from bt_plugins.data.bitstamp._feed import BitstampSource

    return BitstampSource(config)
