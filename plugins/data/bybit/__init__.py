"""Reader of Bybit's archives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bt_framework.config.schema import Duration, param
from bt_framework.data.source import FileConfig
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.data.bybit._feed import BybitSource


@dataclass
class Bybit(FileConfig):
    """Archives of Bybit: order books (``*_ob500.data.zip``, any depth) and trades (``.csv.gz``).

    Each line of an order book is a message of the stream, a snapshot or a delta. The files of a symbol become one
    feed. A file of spot trades does not name its symbol: it is taken from the file's name, up to ``_``.
    """

    name: str = param("bybit", "registry name; choose another with GROUP=NAME")
    symbols: list[str] = param([], "symbols in the order that strategies see them; empty: as in files")
    tick_size: dict[str, float] = param({}, "by symbol; else inferred from the data", unit="quote")
    lot_size: dict[str, float] = param({}, "by symbol; else inferred from the data", unit="base")
    feed_latency_ns: Duration = param(0, "from the venue's gateway to the receiver", unit="ns")
    clock_correction: bool = param(True, "shift receive times so that no feed latency is negative")
    base_latency_ns: Duration = param(0, "least feed latency after a clock correction", unit="ns")
    max_malformed_lines: int = param(0, "malformed lines to skip and count, per symbol; one more is an error")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for key, sizes in (("tick_size", self.tick_size), ("lot_size", self.lot_size)):
            for symbol, size in sizes.items():
                if not size > 0:
                    raise ConfigError(f"data.{key}.{symbol} must be > 0, was {size}.")
        for key in ("feed_latency_ns", "base_latency_ns", "max_malformed_lines"):
            if getattr(self, key) < 0:
                raise ConfigError(f"data.{key} must be >= 0, was {getattr(self, key)}.")
        if len(set(self.symbols)) < len(self.symbols):
            raise ConfigError(f"data.symbols must differ from each other, was {self.symbols}.")

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether the first line is an order book message, or names the columns of a file of trades."""
        from bt_plugins.data.bybit._files import content_of, zip_head

        return content_of(zip_head(path) if head.startswith(b"PK") else head) is not None


def build(config: Bybit) -> BybitSource:
    """Build the data source."""
    from bt_plugins.data.bybit._feed import BybitSource

    return BybitSource(config)
