"""What the bar store knows of one source: the files that count, and the span of each symbol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from bt_framework.data._workspace import write_json
from bt_framework.errors import StorageError
from bt_framework.units import NS_PER_S

FORMAT = 1
NAME = "manifest.json"
DAY_NS = 86_400 * NS_PER_S
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@dataclass(frozen=True)
class Part:
    """One file of bars; ``path`` is relative to the source's folder."""

    path: str
    rows: int

    @property
    def day(self) -> date:
        """First day of its partition."""
        return date.fromisoformat(self.path[len("date=") : len("date=YYYY-MM-DD")])


@dataclass(frozen=True)
class Span:
    """How many bars a symbol has, and when its first and its last one open, us UTC."""

    rows: int
    first_us: int
    last_us: int

    def and_then(self, later: Span) -> Span:
        """Return the span of this one's bars and those that follow."""
        return Span(self.rows + later.rows, self.first_us, later.last_us)


@dataclass(frozen=True)
class SourceManifest:
    """One source's files as of one write; a file that is not in it does not count.

    Attributes
    ----------
    generation : int
        Raised by each write.
    parts : tuple of Part
        By partition, and in it by the order of writing.
    """

    interval_ns: int
    generation: int = 0
    parts: tuple[Part, ...] = ()
    symbols: dict[str, Span] = field(default_factory=dict)

    @staticmethod
    def read(folder: Path) -> SourceManifest | None:
        """Read the manifest in `folder`; None if there is none.

        Raises
        ------
        StorageError
            If it cannot be read or was written by a newer version.
        """
        path = folder / NAME
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw["format"] > FORMAT:
                raise StorageError(f"{path} was written by a newer version of bt. Use that one.")
            return SourceManifest(
                interval_ns=int(raw["interval_ns"]),
                generation=int(raw["generation"]),
                parts=tuple(Part(str(name), int(rows)) for name, rows in raw["parts"]),
                symbols={name: Span(*map(int, span)) for name, span in raw["symbols"].items()},
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"{path} cannot be read: {error}. Remove {folder} and ingest the source again."
            ) from error

    def write(self, folder: Path) -> None:
        """Write it into `folder`, at once."""
        spans = {name: list(asdict(span).values()) for name, span in sorted(self.symbols.items())}
        write_json(
            folder / NAME,
            {
                "format": FORMAT,
                "interval_ns": self.interval_ns,
                "generation": self.generation,
                "parts": [[part.path, part.rows] for part in self.parts],
                "symbols": spans,
            },
        )

    def between(self, start_us: int | None, end_us: int | None) -> list[Part]:
        """Parts whose partitions have times in [`start_us`, `end_us`)."""
        return [part for part in self.parts if self._overlaps(part.day, start_us, end_us)]

    def absent(self, start_us: int | None, end_us: int | None) -> list[date]:
        """Partitions in [`start_us`, `end_us`) that have no file; without a bound: the first or last bar's."""
        if not self.symbols:
            return []
        first_us = min(span.first_us for span in self.symbols.values()) if start_us is None else start_us
        last_us = max(span.last_us for span in self.symbols.values()) if end_us is None else end_us - 1
        if last_us < first_us:
            return []
        there = {part.day for part in self.parts}
        return [day for day in self._partitions(first_us, last_us) if day not in there]

    def _partitions(self, first_us: int, last_us: int) -> Iterator[date]:
        day, last = (_EPOCH + first_us * _US).date(), (_EPOCH + last_us * _US).date()
        if self.interval_ns >= DAY_NS:
            yield from (date(year, 1, 1) for year in range(day.year, last.year + 1))
        else:
            yield from (day + timedelta(days=i) for i in range((last - day).days + 1))

    def _overlaps(self, day: date, start_us: int | None, end_us: int | None) -> bool:
        after = date(day.year + 1, 1, 1) if self.interval_ns >= DAY_NS else day + timedelta(days=1)
        return (start_us is None or microseconds(after) > start_us) and (
            end_us is None or microseconds(day) < end_us
        )


def microseconds(time: date | datetime) -> int:
    """Us UTC of `time`; without a zone it is UTC, a day is its midnight."""
    if not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day, tzinfo=UTC)
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _US


def time_text(us: int) -> str:
    """`us` UTC for a message, as ``2024-01-02 09:30:00``."""
    time = _EPOCH + us * _US
    return f"{time:%Y-%m-%d %H:%M:%S}" + (f".{time.microsecond:06}" if time.microsecond else "")
