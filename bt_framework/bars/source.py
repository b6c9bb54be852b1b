"""The contract of a source of bars: it yields tables as the vendor has them, and names corporate actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from bt_framework.bars.config import BarSourceConfig
from bt_framework.bars.schema import ACTION_SCHEMA

Progress = Callable[[int, int], None]
"""Called with (done, total) in a unit of the source's own; total is 0 where it is not known."""


class BarSource(ABC):
    """A source of bars: what the ``bars`` group builds."""

    config: BarSourceConfig

    @property
    def name(self) -> str:
        """Under which the bars are kept."""
        return self.config.source or self.config.name

    @cached_property
    def findings(self) -> Counter[str]:
        """What was read and is no bar, or should be there and is not, by reason; `tables` counts it anew."""
        return Counter()

    def use_store(self, store_dir: Path) -> None:  # noqa: B027 - most sources need no store
        """Hear where the stores are, before `tables`: for sources that read what earlier work has stored."""

    @abstractmethod
    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        """Yield tables of `BAR_SCHEMA` of bounded size, raw: ``adj_factor`` 1 and ``outlier_flag`` 0.

        Each symbol's bars come in order of time; a table may hold several symbols, and a symbol may come in several
        tables.

        Raises
        ------
        DataError
            If the input cannot be used. The message names file and line, or address.
        """

    def actions(self) -> pa.Table:
        """Return the corporate actions that the source itself knows, a table of `ACTION_SCHEMA`."""
        return ACTION_SCHEMA.empty_table()
