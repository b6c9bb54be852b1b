"""How one file is written: LEAN's, or as the configuration says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.errors import DataError
from bt_framework.units import NS_PER_S
from bt_plugins.data.quotes import TIME_UNITS_NS, Quotes
from bt_plugins.data.quotes._lean import QUOTE_TRACK, TRADE_TRACK, lean_file
from bt_plugins.data.quotes._rows import COLUMNS, Slot

_DATE = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")
_DATE_AT_END = re.compile(r"[_.-]?\d{4}-?\d{2}-?\d{2}$")
_EPOCH = date(1970, 1, 1)
_MOST_COLUMNS = 1 << 20


@dataclass(frozen=True)
class Layout:
    """What is needed to parse a file, and where its rows go.

    ``slots`` is an int64 array of shape (n_columns,), of `Slot`; ``has_header`` says whether the first line
    names the columns; ``track`` is `QUOTE_TRACK` or `TRADE_TRACK`.
    """

    path: Path
    symbol: str
    market: str
    track: str
    date: str
    time_zone: str
    unit_ns: int
    base_ns: int
    price_scale: float
    zero_is_absent: bool
    by_venue: bool
    has_header: bool
    min_columns: int
    max_columns: int
    slots: np.ndarray[Any, Any]

    def identity(self) -> dict[str, Any]:
        """What the file's name decides of its events."""
        return {"track": self.track, "date": self.date, "time_zone": self.time_zone}


def layout_of(config: Quotes, path: Path, first_line: bytes) -> Layout:
    """How `path` is written; `first_line` is its first line, which may name the columns.

    Raises
    ------
    DataError
        If the file is not LEAN's and no columns are given, or the columns given are not in it.
    """
    return _csv(config, path, first_line) if config.columns else _lean(config, path)


def _lean(config: Quotes, path: Path) -> Layout:
    found = lean_file(path)
    if found is None:
        raise DataError(
            f"{path} is no zip file of LEAN's with ticks or with bars of bids and asks. Give such files, or name"
            " the columns of CSV files in data.columns."
        )
    return Layout(
        path=path,
        symbol=found.symbol,
        market=found.market,
        track=found.track,
        date=found.date,
        time_zone=config.time_zone or found.time_zone,
        unit_ns=TIME_UNITS_NS["ms"],
        # A bar's close is known when the bar is over.
        base_ns=_midnight_ns(path, found.date) + found.bar_ns,
        price_scale=found.price_scale,
        zero_is_absent=Slot.EXCHANGE in found.slots.values(),
        by_venue=config.book == "venues" and Slot.EXCHANGE in found.slots.values(),
        has_header=False,
        min_columns=found.n_columns,
        max_columns=found.n_columns,
        slots=_slots(found.slots),
    )


def _csv(config: Quotes, path: Path, first_line: bytes) -> Layout:
    names = [
        name.strip().strip('"') for name in first_line.decode("utf-8-sig", "replace").split(config.delimiter)
    ]
    numbered = all(column.isdigit() for column in config.columns.values())
    slots: dict[int, Slot] = {}
    for key, column in config.columns.items():
        if numbered:
            slots[int(column)] = COLUMNS[key]
        elif column in names:
            slots[names.index(column)] = COLUMNS[key]
    found = set(slots.values())
    if Slot.TIME not in found or not found & {Slot.BID, Slot.ASK, Slot.PRICE}:
        raise DataError(
            f"{path} must have the columns of data.columns ({', '.join(config.columns.values())}), at least the"
            f" time and one price; its first line has {', '.join(names[:20])!r}."
        )
    day = _day_of(path) if config.time_from == "midnight" else ""
    return Layout(
        path=path,
        symbol=csv_symbol(path),
        market="",
        track=QUOTE_TRACK if found & {Slot.BID, Slot.ASK} else TRADE_TRACK,
        date=day,
        time_zone=config.time_zone or "UTC",
        unit_ns=TIME_UNITS_NS[config.time_unit],
        base_ns=_midnight_ns(path, day) if day else 0,
        price_scale=config.price_scale,
        zero_is_absent=False,
        by_venue=config.book != "best" and Slot.EXCHANGE in found,
        has_header=not numbered,
        min_columns=max(slots) + 1 if numbered else len(names),
        max_columns=_MOST_COLUMNS if numbered else len(names),
        slots=_slots(slots),
    )


def csv_symbol(path: Path) -> str:
    """Symbol of a CSV file: its name in capitals, less its endings and a date at its end."""
    stem = path.name.partition(".")[0]
    return (_DATE_AT_END.sub("", stem) or stem).upper()


def _slots(by_column: dict[int, Slot]) -> np.ndarray[Any, Any]:
    slots = np.zeros(max(by_column) + 1, np.int64)
    for column, slot in by_column.items():
        slots[column] = slot
    return slots


def _day_of(path: Path) -> str:
    found = _DATE.search(path.name)
    if found is None:
        raise DataError(
            f"{path} must have its day in its name, such as 2014-05-01, if data.time_from is midnight."
        )
    return "".join(found.groups())


def _midnight_ns(path: Path, day: str) -> int:
    """Midnight of YYYYMMDD as if in UTC, ns since 1970."""
    try:
        days = (date(int(day[:4]), int(day[4:6]), int(day[6:])) - _EPOCH).days
    except ValueError:
        raise DataError(f"{path} must have a day in its name, was {day}.") from None
    return days * 86_400 * NS_PER_S
