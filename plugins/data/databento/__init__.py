"""Reader of Databento's DBN files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.config.schema import Duration, param
from bt_framework.data.source import FileConfig
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.databento._feed import DatabentoSource

BOOK_OPTIONS = ("l3", "l2")
AUCTION_OPTIONS = ("withhold", "keep")


@dataclass
class Databento(FileConfig):
    """Databento DBN files: schemas mbo, mbp-1, mbp-10, trades and definition.

    A file is zstd or plain, of DBN version 1 to 3. ``mbo`` becomes order events (L3), or with ``book=l2`` the
    depth that the orders add up to; ``mbp-1`` and ``mbp-10`` become depth; ``trades`` are trades only.
    Definition files among ``files`` tell tick and contract sizes. Files of one symbol are joined in time order.
    """

    name: str = param("databento", "registry name; choose another with GROUP=NAME")
    symbols: list[str] = param([], "symbols, or instrument ids, to take out of the files; empty: all")
    book: str = param("l3", "what mbo becomes: l3, orders; l2, depth")
    auction: str = param(
        "withhold", "withhold: no book while it is crossed, for the market is closed; keep: all"
    )
    tick_size: dict[str, float] = param({}, "by symbol; else from the definitions or the data", unit="quote")
    lot_size: dict[str, float] = param({}, "by symbol; else 1, what quantities are multiples of", unit="base")
    contract_size: dict[str, float] = param({}, "by symbol; else from the definitions, else 1", unit="base")
    clock_correction: bool = param(True, "shift receive times so that no feed latency is negative")
    base_latency_ns: Duration = param(0, "least feed latency after a clock correction", unit="ns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key in ("tick_size", "lot_size", "contract_size"):
            for symbol, size in getattr(self, key).items():
                if not size > 0:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0, was {size}.")
        if self.base_latency_ns < 0:  # type: ignore[operator]
            raise ConfigError(f"data.base_latency_ns must be >= 0, was {self.base_latency_ns}.")
        for key, options in (("book", BOOK_OPTIONS), ("auction", AUCTION_OPTIONS)):
            if getattr(self, key) not in options:
                raise ConfigError(
                    f"data.{key} must be one of {', '.join(options)}, was {getattr(self, key)!r}."
                )
        if len(set(self.symbols)) < len(self.symbols):
            raise ConfigError(f"data.symbols must differ from each other, was {self.symbols}.")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether the content begins as DBN does: its three letters, and a version."""
        return len(head) >= 8 and head[:3] == b"DBN" and 1 <= head[3] <= 3


def build(config: Databento) -> DatabentoSource:
    """Build the data source."""
    from bt_plugins.data.databento._feed import DatabentoSource

    return DatabentoSource(config)
