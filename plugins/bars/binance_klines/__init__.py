"""Reader of Binance's public archives of klines, as at data.binance.vision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from bt_framework.bars.config import BarSourceConfig
from bt_framework.config.schema import param

if TYPE_CHECKING:
    from bt_plugins.bars.binance_klines._source import KlineBars


class Gaps(Enum):
    """What to do where bars are missing."""

    refuse = "refuse"
    keep = "keep"


@dataclass
class BinanceKlines(BarSourceConfig):
    """Binance's public archives of klines, monthly and daily: zip files, or the CSV files in them.

    Symbol and interval are in the file names, as BTCUSDT-1m-2024-08.zip. Times are milliseconds, or microseconds as in
    spot archives since 2025. A CHECKSUM file beside an archive is compared with it.
    """

    name: str = param("binance_klines", "registry name; choose another with GROUP=NAME")
    files: list[str] = param([], "archives, folders of them, or patterns such as klines/BTCUSDT-1m-*.zip")
    gaps: Gaps = param(Gaps.refuse, "refuse, or keep and count, where bars are missing between two others")


def build(config: BinanceKlines) -> KlineBars:
    """Build the source."""
    from bt_plugins.bars.binance_klines._source import KlineBars

    return KlineBars(config)
