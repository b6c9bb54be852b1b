"""Reader of bars in Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bt_framework.bars.config import BarRowsConfig
from bt_framework.config.schema import param

if TYPE_CHECKING:
    from bt_plugins.bars.parquet._source import ParquetBars


@dataclass
class Parquet(BarRowsConfig):
    """Bars in Parquet files: a bar per row, or a column of closes per symbol; streamed, unless newest comes first.

    A file needs times and closes. Without one of the other prices it is the close, without volumes they are missing. A
    row whose close is null or NaN is no bar. Columns of dividends and splits are corporate actions.
    """

    name: str = param("parquet", "registry name; choose another with GROUP=NAME")


def build(config: Parquet) -> ParquetBars:
    """Build the source."""
    from bt_plugins.bars.parquet._source import ParquetBars

    return ParquetBars(config)
