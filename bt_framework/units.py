"""Durations in configuration: whole nanoseconds, or text with a unit such as ``250us``."""

from __future__ import annotations

import re
from decimal import Decimal

from bt_framework.errors import ConfigError

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_NS_PER_UNIT = {
    "ns": 1,
    "us": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3_600 * NS_PER_S,
    "d": 86_400 * NS_PER_S,
}
_DURATION = re.compile(r"\s*([+-]?\d[\d_]*(?:\.\d+)?)\s*([a-z]*)\s*")


def parse_duration_ns(value: int | str, name: str) -> int:
    """Whole nanoseconds of `value`.

    Parameters
    ----------
    value : int or str
        Nanoseconds, or a number with a unit: ns, us, ms, s, min, h, d.
    name : str
        What is being parsed, for the message.

    Raises
    ------
    ConfigError
        If a text has no unit, an unknown one, or is finer than a nanosecond.

    Examples
    --------
    >>> parse_duration_ns("250us", "latency.entry_ns"), parse_duration_ns(1_000, "latency.entry_ns")
    (250000, 1000)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    units = ", ".join(_NS_PER_UNIT)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(
            f"{name} must be a duration, was {value!r}. Write whole nanoseconds or a number with a unit ({units}), "
            "for example 250us."
        )
    number, unit = match.groups()
    if unit not in _NS_PER_UNIT:
        problem = f"has the unknown unit {unit!r}" if unit else "has no unit"
        raise ConfigError(f"{name} {problem}, was {value!r}. Write one of {units}, for example 250us.")
    ns = Decimal(number.replace("_", "")) * _NS_PER_UNIT[unit]
    if ns != ns.to_integral_value():
        raise ConfigError(f"{name} must be a whole number of nanoseconds, was {value!r}.")
    return int(ns)


def format_duration_ns(ns: int) -> str:
    """`ns` with the largest unit that keeps it readable.

    >>> format_duration_ns(250_000), format_duration_ns(90 * NS_PER_S), format_duration_ns(0)
    ('250us', '90s', '0ns')
    """
    for unit, size in (
        ("h", 3_600 * NS_PER_S),
        ("min", 60 * NS_PER_S),
        ("s", NS_PER_S),
        ("ms", NS_PER_MS),
        ("us", NS_PER_US),
    ):
        if abs(ns) >= size and ns % size == 0:
            return f"{ns // size}{unit}"
    for unit, size in (("s", NS_PER_S), ("ms", NS_PER_MS), ("us", NS_PER_US)):
        if abs(ns) >= size:
            return f"{ns / size:.3f}{unit}"
    return f"{ns}ns"


_BYTES_PER_UNIT = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES_PER_UNIT |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"\s*(\d[\d_]*(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_size_bytes(value: int | str, name: str) -> int:
    """Bytes of `value`, a number with a unit such as ``4GB`` or ``512MiB``; `name` is the key, for the message.

    Raises
    ------
    ConfigError
        If it is no size.
    """
    match = _SIZE.fullmatch(str(value))
    if match is None or match[2] not in _BYTES_PER_UNIT:
        units = ", ".join(unit for unit in _BYTES_PER_UNIT if unit)
        raise ConfigError(f"{name} must be a size, was {value!r}. Write a number with a unit ({units}): 4GB.")
    return int(Decimal(match[1].replace("_", "")) * _BYTES_PER_UNIT[match[2]])
