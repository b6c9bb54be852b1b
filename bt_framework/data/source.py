"""The contract of a data source: it names feeds, and each feed streams one instrument's events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bt_framework.config.schema import param
from bt_framework.data.batches import OF_SYMBOL, PairAndDate, filled_files, has_placeholders
from bt_framework.errors import ConfigError
from bt_framework.results.run import Instrument

Progress = Callable[[int, int], None]
"""Called with (bytes or rows done, total); total is 0 where it is not known."""


@dataclass
class FeedReport:
    """What a feed found while it streamed: filled in by the feed, kept in the store's manifest.

    Attributes
    ----------
    symbol : str
        As the data says it; empty until known.
    rows_read : int
        Input lines or records.
    dropped : dict of str to int
        Rows that became no event, by reason (``"malformed"``, ``"not MARKET trade"``, ...), see `drop`.
    first_dropped : dict of str to str
        Where the first row of each reason was, for people (``"line 17 of a.csv"``).
    gaps : int
        Breaks in the venue's sequence numbers.
    missing_updates : int
        Sequence numbers that the breaks skipped.
    duplicates : int
        Updates that came again, by the venue's sequence numbers.
    first_problem : str
        Where the first dropped or broken row was, for people.
    notes : dict
        Anything else worth keeping, such as the clock correction. ``contract`` = ``"inverse"`` marks contracts that
        pay in their base; runs refuse them. The doctor reads ``closed_phases`` ([[start, end], ...], exchange time:
        nobody could trade), ``announced_span`` ([start, end], local time that the file says it covers) and ``clock`` =
        ``"synthetic"`` (the reader made the times up), ``bar_interval_ns`` (the events are bars of that length), and
        ``partial`` (how the events are less than the whole feed, for people).
    """

    symbol: str = ""
    rows_read: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    first_dropped: dict[str, str] = field(default_factory=dict)
    gaps: int = 0
    missing_updates: int = 0
    duplicates: int = 0
    first_problem: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    def drop(self, reason: str, where: str = "", count: int = 1) -> None:
        """Count `count` rows that became no event, for `reason`; the first `where` of each reason is kept."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count
            if where:
                self.first_dropped.setdefault(reason, where)


HEAD_BYTES = 1 << 16
"""How much of a file, decompressed, `FileConfig.recognise` is shown."""


@dataclass
class FileConfig(PairAndDate):
    """Base of the configuration of sources that read files.

    `bt ingest FOLDER` asks every such source of the registry which files are its own. The names of files may have
    placeholders, ``{symbol}`` and ``{date}`` among them, which are filled in at once.

    Attributes
    ----------
    symbol_of_each_file : bool
        Whether ``symbols`` has an entry for each file; otherwise one for each feed.
    """

    files: list[str] = param([], "files of one or more symbols")

    symbol_of_each_file: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Fill in the placeholders."""
        paired = self.pair
        super().__post_init__()
        if not (paired or self.date or has_placeholders(self.files)):
            return
        named = has_placeholders(self.files, OF_SYMBOL)
        if paired and self.symbol_of_each_file and not named:
            raise ConfigError(
                f"data.pair needs file names with {{symbol}} in data.files, was {self.files}. Give one, or "
                "data.symbols."
            )
        filled = filled_files(self.files, getattr(self, "symbols", []), self.date)
        self.files = [path for _, path in filled]
        if self.symbol_of_each_file and named:
            self.symbols = [symbol for symbol, _ in filled]
        self.date = ""

    @classmethod
    def recognise(cls, path: Path, head: bytes) -> bool:
        """Whether `path` is a file of this format.

        Parameters
        ----------
        path : Path
            The file; its name may tell, and containers such as zip files may be opened.
        head : bytes
            First `HEAD_BYTES` of the content, gzip, xz and zstd already undone.
        """
        return False


class Feed(ABC):
    """One instrument's events.

    Attributes
    ----------
    symbol : str
        The symbol the user asked for, or empty to take the one in the data.
    files : tuple of Path
        Input files in time order; empty for generated data.
    tick_size, lot_size : float or None
        From the configuration; None to take them from the catalogue or to infer them.
    ordered : bool
        True if chunks already carry EXCH and LOCAL flags in the engine's order. If False, chunks hold raw rows in
        order of arrival with the kind and side in ``ev`` only, and the store corrects clocks and orders them.
    clock_correction : bool
        For raw rows: shift ``local_ts`` so that no feed latency is negative (as hftbacktest's converter does).
    base_latency_ns : int
        Added to the shift.
    keep : bool
        False to hold the events in memory for one run and write no file.
    content_hash : str
        SHA-256 that the events must have, where the source knows it; else empty.
    """

    symbol: str = ""
    files: tuple[Path, ...] = ()
    tick_size: float | None = None
    lot_size: float | None = None
    ordered: bool = False
    clock_correction: bool = True
    base_latency_ns: int = 0
    keep: bool = True
    content_hash: str = ""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Everything but file contents that decides the events: reader, its version, options. JSON types only."""

    def known_instrument(self, report: FeedReport) -> Instrument | None:
        """Sizes from the source's catalogue, given what `report` says of symbol and venue; None to infer them.

        Called once the first chunk has been read, and with the stored report if the store has the events.
        """
        return None

    @abstractmethod
    def chunks(self, report: FeedReport, progress: Progress) -> Iterator[np.ndarray]:
        """Yield EVENT arrays of bounded size; each may be overwritten once the next is asked for.

        Raises
        ------
        DataError
            If the input cannot be used. The message names file and line.
        """


class DataSource(ABC):
    """A data source plugin: what the ``data`` group builds."""

    def use_store(self, store_dir: Path) -> None:  # noqa: B027 - most sources need no store
        """Hear where the stores are, before `feeds`: for sources that read what earlier work has stored."""

    @abstractmethod
    def feeds(self) -> Sequence[Feed]:
        """One feed per instrument, in the order that strategies see them."""
