"""What the store knows of one ingested feed, and the key under which it knows it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bt_framework.data._workspace import write_json
from bt_framework.data.finding import Finding
from bt_framework.data.source import Feed, FeedReport
from bt_framework.data.timing import Timing
from bt_framework.errors import DataError
from bt_framework.results.run import Instrument

FORMAT = 4
"""Part of every key: raise it when the same input would be stored, or judged, in another way."""


@dataclass(frozen=True)
class InputFile:
    """An input file as it was when it was ingested; ``sha256`` is that of its content."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Part:
    """One archived symbol-day; ``path`` is relative to the store."""

    path: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    """One ingested feed. Prices are in quote currency, times in ns UTC; touch prices may be NaN."""

    key: str
    reader: str
    symbol: str
    content_hash: str
    events: int
    first_local_ts: int
    last_local_ts: int
    first_exch_ts: int
    spec: Instrument
    tick_source: str
    lot_source: str
    touch_low_px: float
    touch_high_px: float
    has_depth_clear: bool
    book_level: str
    report: FeedReport
    findings: tuple[Finding, ...]
    timing: Timing
    parts: tuple[Part, ...]
    inputs: tuple[InputFile, ...]
    ingested_at_ns: int

    def write(self, path: Path) -> None:
        """Write to `path`, all at once."""
        write_json(path, {"format": FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """Read from `path`; None if there is none, or one of another format."""
        try:
            stat = path.stat()
            return _read_manifest(path, (stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def feed_key(feed: Feed, inputs: tuple[InputFile, ...]) -> str:
    """SHA-256 over everything that decides the stored events and what is said of them."""
    identity = {
        "format": FORMAT,
        "identity": dict(feed.identity()),
        "symbol": feed.symbol,
        "tick_size": feed.tick_size,
        "lot_size": feed.lot_size,
        "ordered": feed.ordered,
        "clock_correction": feed.clock_correction,
        "base_latency_ns": feed.base_latency_ns,
        "inputs": [file.sha256 for file in inputs],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


class InputHashes:
    """Content hashes of input files, remembered by path, size and modification time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self, path: Path) -> InputFile:
        """Return the file's content hash; its content is read only if it is new or has changed.

        Raises
        ------
        DataError
            If the file is missing or cannot be read.
        """
        absolute = str(path.absolute())
        try:
            stat = path.stat()
            known = self.known(path)
            if known is not None:
                return known
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"data file {path} cannot be read: {error.strerror or error}.") from error
        described = InputFile(absolute, stat.st_size, stat.st_mtime_ns, digest)
        with contextlib.suppress(OSError):  # a store that can only be read still has the events
            write_json(self._memo(absolute), dataclasses.asdict(described))
        return described

    def known(self, path: Path) -> InputFile | None:
        """Return what is remembered of the file as it is now, or None."""
        absolute = str(path.absolute())
        found = _read_input(self._memo(absolute))
        if found is None or found.path != absolute:
            return None
        try:
            stat = path.stat()
        except OSError:
            return None
        return found if (found.size, found.mtime_ns) == (stat.st_size, stat.st_mtime_ns) else None

    def _memo(self, absolute: str) -> Path:
        return self._folder / f"{hashlib.sha256(absolute.encode()).hexdigest()[:32]}.json"


def refuse_changed(files: tuple[InputFile, ...]) -> None:
    """Check that no input has changed since it was described.

    Raises
    ------
    DataError
        Naming the file that has.
    """
    for file in files:
        try:
            stat = Path(file.path).stat()
            changed = (stat.st_size, stat.st_mtime_ns) != (file.size, file.mtime_ns)
        except OSError:
            changed = True
        if changed:
            raise DataError(
                f"data file {file.path} changed while it was read. Run again once it is complete."
            )


@lru_cache(maxsize=256)
def _read_manifest(path: Path, stamp: tuple[int, int, int]) -> Manifest | None:
    """Read a manifest; `stamp` is that of the file, whose content is remembered while it is the same."""
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if fields.pop("format") != FORMAT:
        return None
    fields["spec"] = Instrument(**fields["spec"])
    fields["report"] = FeedReport(**fields["report"])
    fields["findings"] = tuple(Finding(**finding) for finding in fields["findings"])
    least = fields["timing"]["least_latency_ns"]
    fields["timing"]["least_latency_ns"] = tuple((start, ns) for start, ns in least)
    fields["timing"] = Timing(**fields["timing"])
    fields["parts"] = tuple(Part(**part) for part in fields["parts"])
    fields["inputs"] = tuple(InputFile(**file) for file in fields["inputs"])
    return Manifest(**fields)


def _read_input(path: Path) -> InputFile | None:
    try:
        return InputFile(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
