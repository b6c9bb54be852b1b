"""Data that are chosen by pair and day: what a sweep over pairs or days varies, whatever the source.

``pair`` and ``date`` are short for other keys. They become symbols, files or times as soon as the configuration is
made, and are empty from then on: a run asked for by its day is identical to the one that names that day's files.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from bt_framework.config.schema import ComponentConfig, param
from bt_framework.errors import ConfigError

OF_SYMBOL = ("symbol", "symbol_lower")
OF_DAY = ("date", "yyyy", "mm", "dd")
MOST_DAYS = 10_000

_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_DAY = re.compile(r"((?:1[789]|2[01])\d{2})(-?)(\d{2})\2(\d{2})", re.ASCII)
_UNFIT = re.compile(r"^[.~]|^$|[/\\{}\s]")


@dataclass
class PairAndDate(ComponentConfig):
    """Base of the configuration of sources of which a pair and days can be chosen; they have a key ``symbols`` too."""

    pair: str = param(
        "", "two symbols instead of data.symbols: FIRST-SECOND, or FIRST:SECOND where they have dashes"
    )
    date: str = param("", "day, such as 2024-08-08, or days FIRST..LAST, UTC")

    def __post_init__(self) -> None:
        """Let the pair be the symbols."""
        super().__post_init__()
        if not self.pair:
            return
        given = getattr(self, "symbols", None)
        if given is not None and given != _default_symbols(type(self)):
            raise ConfigError(
                f"data.pair must be left out with data.symbols, was {self.pair!r}. Leave one of them out."
            )
        self.symbols = list(symbols_of_pair(self.pair))
        self.pair = ""


def _default_symbols(config_class: type[ComponentConfig]) -> list[str]:
    (field,) = (f for f in fields(config_class) if f.name == "symbols")
    return [] if field.default_factory is MISSING else list(field.default_factory())


def symbols_of_pair(pair: str) -> tuple[str, str]:
    """Return both symbols of a pair.

    >>> symbols_of_pair("BTCUSDT-ETHUSDT"), symbols_of_pair("BTC-PERPETUAL:ETH-PERPETUAL")
    (('BTCUSDT', 'ETHUSDT'), ('BTC-PERPETUAL', 'ETH-PERPETUAL'))

    Raises
    ------
    ConfigError
        If they are not two, or equal.
    """
    symbols = pair.split(":" if ":" in pair else "-")
    if len(symbols) != 2 or not all(symbols):
        raise ConfigError(
            f"data.pair must be two symbols, FIRST-SECOND, or FIRST:SECOND where they have dashes, was {pair!r}."
        )
    first, second = symbols
    if first.upper() == second.upper():
        raise ConfigError(f"data.pair must be two different symbols, was {pair!r}.")
    return first, second


@dataclass(frozen=True)
class Day:
    """A day; `dashes` if it was written so."""

    day: datetime.date
    dashes: bool = True

    @property
    def midnight_ts(self) -> int:
        """When it begins, ns UTC."""
        return (self.day - datetime.date(1970, 1, 1)).days * 86_400 * 1_000_000_000

    @property
    def values(self) -> dict[str, str]:
        """What the placeholders of a day stand for."""
        yyyy, mm, dd = self.day.isoformat().split("-")
        return {"date": ("-" if self.dashes else "").join((yyyy, mm, dd)), "yyyy": yyyy, "mm": mm, "dd": dd}


def days_of(text: str) -> list[Day]:
    """Return the days that ``data.date`` means.

    >>> [day.values["date"] for day in days_of("20240830..20240901")]
    ['20240830', '20240831', '20240901']

    Raises
    ------
    ConfigError
        If it is no day, or the last one is before the first, or they are more than `MOST_DAYS`.
    """
    first, dots, last = text.partition("..")
    start = _day_of(first, text)
    end = _day_of(last, text).day if dots else start.day
    count = (end - start.day).days + 1
    if not 1 <= count <= MOST_DAYS:
        raise ConfigError(f"data.date must be FIRST..LAST, at most {MOST_DAYS:,} days, was {text!r}.")
    return [Day(start.day + datetime.timedelta(days=n), start.dashes) for n in range(count)]


def _day_of(part: str, text: str) -> Day:
    match = _DAY.fullmatch(part)
    try:
        if match:
            return Day(datetime.date(int(match[1]), int(match[3]), int(match[4])), bool(match[2]))
    except ValueError:
        pass
    raise ConfigError(
        f"data.date must be a day such as 2024-08-08 or 20240808, or days FIRST..LAST, was {text!r}."
    )


def times_of(date: str, start: str | None, end: str | None) -> tuple[str | None, str | None]:
    """Return ``data.start`` and ``data.end`` of the days that ``data.date`` means, from midnight to midnight.

    Raises
    ------
    ConfigError
        If a time is given too.
    """
    if not date:
        return start, end
    for key, given in (("start", start), ("end", end)):
        if given is not None:
            raise ConfigError(
                f"data.{key} must be left out with data.date, was {given}. Leave one of them out."
            )
    days = days_of(date)
    return days[0].day.isoformat(), (days[-1].day + datetime.timedelta(days=1)).isoformat()


def has_placeholders(files: Sequence[str], names: Collection[str] = (*OF_SYMBOL, *OF_DAY)) -> bool:
    """Whether the name of a file has one of the placeholders in `names`."""
    return any(name in names for text in files for name in _PLACEHOLDER.findall(text))


def filled_files(files: Sequence[str], symbols: Sequence[str], date: str) -> list[tuple[str, str]]:
    """Fill in the placeholders of ``data.files``.

    Returns
    -------
    list of (str, str)
        Symbol, empty where the name of the file does not say it, and path: of each symbol the days in order, of each
        day the files as they are listed.

    Raises
    ------
    ConfigError
        If a placeholder is unknown or has no value, a value has no placeholder, or a file is not there.
    """
    _check_placeholders(files, symbols, date)
    days = [day.values for day in days_of(date)] if date else [{}]
    found: dict[str, str] = {}
    for symbol in symbols or [""]:
        for day in days:
            values = {**day, "symbol": symbol, "symbol_lower": symbol.lower()}
            for text in files:
                path = _PLACEHOLDER.sub(lambda match, values=values: values[match[1]], text)  # type: ignore[misc]
                found.setdefault(path, symbol if has_placeholders([text], OF_SYMBOL) else "")
                if path != text and not Path(path).expanduser().exists():
                    asked = " ".join(filter(None, (symbol, day.get("date"))))
                    raise ConfigError(
                        f"{path} does not exist, which {text} in data.files is for {asked}. Fetch it, or leave "
                        f"{asked} out."
                    )
    return [(symbol, path) for path, symbol in found.items()]


def _check_placeholders(files: Sequence[str], symbols: Sequence[str], date: str) -> None:
    known = ", ".join(f"{{{name}}}" for name in (*OF_SYMBOL, *OF_DAY))
    for name in (name for text in files for name in _PLACEHOLDER.findall(text)):
        if name not in OF_SYMBOL and name not in OF_DAY:
            raise ConfigError(f"a placeholder in data.files must be one of {known}, was {{{name}}}.")
    if date and not has_placeholders(files, OF_DAY):
        raise ConfigError(
            f"data.date needs {{date}}, or {{yyyy}}, {{mm}} and {{dd}}, in the names of data.files, was {list(files)}."
        )
    if not date and has_placeholders(files, OF_DAY):
        raise ConfigError(f"data.date must say the day that data.files={list(files)} asks for, was empty.")
    if not symbols and has_placeholders(files, OF_SYMBOL):
        raise ConfigError(
            f"data.pair or data.symbols must say the symbols that data.files={list(files)} asks for, was empty."
        )
    for symbol in symbols if has_placeholders(files, OF_SYMBOL) else ():
        if _UNFIT.search(symbol) or not symbol.isprintable():
            raise ConfigError(
                "a symbol in the name of a file must be without slashes, braces and blanks, and not begin with . or ~, "
                f"was {symbol!r}."
            )
