"""Reader of collected Binance streams."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.config.schema import Duration, param
from bt_framework.data.source import FileConfig
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.binance._feed import BinanceSource

BOOK_TICKER_OPTIONS = ("skip", "bbo")
TRADE_STREAM_OPTIONS = ("auto", "trade", "aggTrade")
MIN_CHUNK_BYTES = 1 << 16

_LINE = re.compile(rb'\d{13}(?:\d{3}|\d{6})? \{.*?"(?:stream|e|lastUpdateId)":')
_LINES_LOOKED_AT = 10


@dataclass
class Binance(FileConfig):
    """Raw Binance streams as collected: USD-M and COIN-M futures, and spot.

    A file is gzip, zstd or plain. Each line is the receive time (ns, us or ms since 1970, told by its
    digits), a space, and one message: of a combined stream (``{"stream":...,"data":{...}}``) or plain.
    Depth diffs, trades and order book snapshots become events. Files of one symbol are joined in time order.

    With ``book_ticker=bbo`` the book has one level that is sure, the best: each message of the book ticker
    clears what is better than it on its side and sets its price and quantity; depth messages are dropped.
    Mixing both would let the slower stream undo the faster one.
    """

    name: str = param("binance", "registry name; choose another with GROUP=NAME")
    files: list[str] = param([], "files of one or more symbols")
    symbols: list[str] = param([], "symbols in the order that strategies see them; empty: as in files")
    tick_size: dict[str, float] = param({}, "by symbol; else from the catalogue or the data", unit="quote")
    lot_size: dict[str, float] = param({}, "by symbol; else from the catalogue or the data", unit="base")
    clock_correction: bool = param(True, "shift receive times so that no feed latency is negative")
    base_latency_ns: Duration = param(0, "least feed latency after a clock correction", unit="ns")
    max_malformed_lines: int = param(0, "malformed lines to skip and count, per symbol; one more is an error")
    book_ticker: str = param("skip", "skip: depth diffs make the book; bbo: the book ticker makes it instead")
    trade_stream: str = param("auto", "trade, aggTrade, or auto: whichever comes first; the other is dropped")
    chunk_bytes: int = param(1 << 22, "text held in memory at a time, and the longest line", unit="bytes")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        self.symbols = [symbol.upper() for symbol in self.symbols]
        self.tick_size = {symbol.upper(): size for symbol, size in self.tick_size.items()}
        self.lot_size = {symbol.upper(): size for symbol, size in self.lot_size.items()}
        for key, sizes in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            for symbol, size in sizes.items():
                if not size > 0:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0, was {size}.")
        for key, least in (
            ("base_latency_ns", 0),
            ("max_malformed_lines", 0),
            ("chunk_bytes", MIN_CHUNK_BYTES),
        ):
            if getattr(self, key) < least:
                raise ConfigError(f"data.{key} must be >= {least}, was {getattr(self, key)}.")
        for key, options in (("book_ticker", BOOK_TICKER_OPTIONS), ("trade_stream", TRADE_STREAM_OPTIONS)):
            if getattr(self, key) not in options:
                raise ConfigError(
                    f"data.{key} must be one of {', '.join(options)}, was {getattr(self, key)!r}."
                )
        if len(set(self.symbols)) < len(self.symbols):
            raise ConfigError(f"data.symbols must differ from each other, was {self.symbols}.")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether one of the first lines is a receive time and a message of Binance's."""
        return any(_LINE.match(line) for line in head.split(b"\n", _LINES_LOOKED_AT)[:_LINES_LOOKED_AT])


def build(config: Binance) -> BinanceSource:
    """Build the data source."""
    from bt_plugins.data.binance._feed import BinanceSource

    return BinanceSource(config)
