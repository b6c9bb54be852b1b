"""Reader of Tardis.dev's CSV files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.config.schema import Duration, param
from bt_framework.data.source import FileConfig
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.tardis._feed import TardisSource

BOOK_OPTIONS = ("auto", "incremental", "snapshot", "quotes")


@dataclass
class Tardis(FileConfig):
    """CSV files of Tardis.dev: incremental_book_L2, book_snapshot_N, quotes (book_ticker) and trades.

    A file is gzip, zstd or plain, and told by its column names. The files of a symbol become one feed: trades and
    one book, in the order of their receive times. A snapshot in incremental_book_L2 replaces the book.
    """

    name: str = param("tardis", "registry name; choose another with GROUP=NAME")
    symbols: list[str] = param([], "symbols in the order that strategies see them; empty: as in files")
    tick_size: dict[str, float] = param({}, "by symbol; else inferred from the data", unit="quote")
    lot_size: dict[str, float] = param({}, "by symbol; else inferred from the data", unit="base")
    clock_correction: bool = param(True, "shift receive times so that no feed latency is negative")
    base_latency_ns: Duration = param(0, "least feed latency after a clock correction", unit="ns")
    max_malformed_lines: int = param(0, "malformed lines to skip and count, per symbol; one more is an error")
    book: str = param(
        "auto", "which files make the book: incremental, snapshot, quotes; auto: the first there is"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key, sizes in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            for symbol, size in sizes.items():
                if not size > 0:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0, was {size}.")
        for key in ("base_latency_ns", "max_malformed_lines"):
            if getattr(self, key) < 0:
                raise ConfigError(f"data.{key} must be >= 0, was {getattr(self, key)}.")
        if self.book not in BOOK_OPTIONS:
            raise ConfigError(f"data.book must be one of {', '.join(BOOK_OPTIONS)}, was {self.book!r}.")
        if len(set(self.symbols)) < len(self.symbols):
            raise ConfigError(f"data.symbols must differ from each other, was {self.symbols}.")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether the first line names the columns of a Tardis file."""
        from bt_plugins.data.tardis._formats import format_of

        return format_of(head.partition(b"\n")[0].decode(errors="replace").strip().split(",")) is not None


def build(config: Tardis) -> TardisSource:
    """Build the data source."""
    from bt_plugins.data.tardis._feed import TardisSource

    return TardisSource(config)
