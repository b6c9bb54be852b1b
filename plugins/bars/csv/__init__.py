"""Reader of bars in CSV files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bt_framework.bars.config import BarRowsConfig
from bt_framework.config.schema import param
from bt_framework.errors import ConfigError

if TYPE_CHECKING:
    from bt_plugins.bars.csv._source import CsvBars


@dataclass
class Csv(BarRowsConfig):
    """Bars in CSV files, packed or not: a bar per row, or a column of closes per symbol.

    A file needs times and closes. Without one of the other prices it is the close, without volumes they are missing. A
    row whose close is empty or NaN is no bar. Columns of dividends and splits are corporate actions.
    """

    name: str = param("csv", "registry name; choose another with GROUP=NAME")
    names: list[str] = param([], "names of the columns, where the files have no line of them")
    delimiter: str = param(",", "between columns")

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter.isalnum():
            raise ConfigError(f"delimiter must be one character, no letter, was {self.delimiter!r}.")


def build(config: Csv) -> CsvBars:
    """Build the source."""
    from bt_plugins.bars.csv._source import CsvBars

    return CsvBars(config)
