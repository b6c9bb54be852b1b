"""Reader of LOBSTER's message and order book files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.config.schema import Duration, param
from bt_framework.data.source import FileConfig
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.lobster._feed import LobsterSource

OPTIONS = {"book": ("l2", "l3"), "auction": ("withhold", "keep"), "beyond": ("keep", "remove")}
MIN_CHUNK_BYTES = 1 << 10


@dataclass
class Lobster(FileConfig):
    """LOBSTER's message and order book files, any number of levels, in pairs: loose or in a zip file.

    Row k of the order book is the book after message k. With ``book=l2`` the differences of successive rows
    become events, with ``book=l3`` the messages do, by order. Executions become trades; times are those of
    New York. Of a pair of loose files it is enough to name one. Days of one symbol are joined in time order.
    """

    name: str = param("lobster", "registry name; choose another with GROUP=NAME")
    files: list[str] = param([], "files of one or more symbols: zip, or one or both CSV files of each pair")
    symbols: list[str] = param([], "symbols in the order that strategies see them; empty: as in files")
    book: str = param("l2", "l2: price levels, or l3: orders with their numbers")
    beyond: str = param(
        "keep", "levels that leave those of the file: keep as last seen until seen again, or remove"
    )
    auction: str = param("withhold", "withhold the book while trading is halted, or keep it")
    feed_latency_ns: Duration = param(0, "local time less exchange time; the files have one clock", unit="ns")
    tick_size: dict[str, float] = param(
        {}, "by symbol; else 0.01, or 0.0001 where the first price is below 1 dollar", unit="quote"
    )
    lot_size: dict[str, float] = param({}, "by symbol; else 1 share", unit="base")
    max_malformed_lines: int = param(0, "malformed rows to skip and count, per symbol; one more is an error")
    chunk_bytes: int = param(
        1 << 20, "text of either file held in memory at a time, and its longest line", unit="bytes"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key, sizes in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            for symbol, size in sizes.items():
                if not size > 0:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0, was {size}.")
        for symbol, size in self.tick_size.items():
            if round(size * 10_000) / 10_000 != size:
                raise ConfigError(
                    f"data.tick_size.{symbol} must be whole ten-thousandths of a dollar, was {size}."
                )
        for key, least in (
            ("feed_latency_ns", 0),
            ("max_malformed_lines", 0),
            ("chunk_bytes", MIN_CHUNK_BYTES),
        ):
            if getattr(self, key) < least:
                raise ConfigError(f"data.{key} must be >= {least}, was {getattr(self, key)}.")
        for key, options in OPTIONS.items():
            if getattr(self, key) not in options:
                raise ConfigError(
                    f"data.{key} must be one of {', '.join(options)}, was {getattr(self, key)!r}."
                )
        if len(set(self.symbols)) < len(self.symbols):
            raise ConfigError(f"data.symbols must differ from each other, was {self.symbols}.")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether `path` is a file of a pair, or a zip file with one."""
        from bt_plugins.data.lobster._pairs import recognise

        return recognise(path, head)


def build(config: Lobster) -> LobsterSource:
    """Build the data source."""
    from bt_plugins.data.lobster._feed import LobsterSource

    return LobsterSource(config)
