"""What a sweep may choose for each key: listed values, numbers in steps, or any number of an interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bt_framework.errors import ConfigError
from bt_framework.sweep.plan import Job

_NEARLY_ALL = 1 - 1e-9
"""Part of an interval that stands for its end, which does not belong to it."""


class Dimension(Protocol):
    """What one key may be."""

    def at(self, fraction: float) -> str:
        """Return the value at `fraction` of the way, 0 <= fraction < 1, as an override writes it."""

    def checked(self) -> tuple[str, ...]:
        """Return values by which all are judged before the first job."""


@dataclass(frozen=True)
class Choices:
    """Listed values, as overrides write them; each is as likely as the others."""

    values: tuple[str, ...]

    def at(self, fraction: float) -> str:
        """Return the value at `fraction` of the list."""
        return self.values[int(fraction * len(self.values))]

    def checked(self) -> tuple[str, ...]:
        """Return all of them."""
        return self.values


@dataclass(frozen=True)
class Steps(Choices):
    """Numbers at equal distances `step`, rising or falling, from `first` on; `whole` if they are integers."""

    first: float
    step: float
    whole: bool = False

    def checked(self) -> tuple[str, ...]:
        """Return both ends."""
        return (self.values[0], self.values[-1])


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` up to `high`, which is left out.

    Attributes
    ----------
    log : bool
        Whether equal ratios are equally likely, instead of equal differences.
    whole : bool
        Whether they are integers; `high` is then one of them.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, fraction: float) -> str:
        """Return the number at `fraction` of the way."""
        low, high = self.low, self.high + 1 if self.whole else self.high
        if self.log:
            value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
        else:
            value = low + fraction * (high - low)
        # Rounding must not leave the interval.
        value = min(max(value, low), self.high if self.whole else math.nextafter(high, low))
        return self.text(value)

    def text(self, value: float) -> str:
        """Return `value` as an override writes it."""
        return str(math.floor(value)) if self.whole else repr(float(value))

    def checked(self) -> tuple[str, ...]:
        """Return both ends."""
        return (self.at(0.0), self.at(_NEARLY_ALL))


@dataclass(frozen=True)
class Space:
    """What each key may be, in the order of the command line."""

    dimensions: Mapping[str, Dimension]

    def job(self, number: int, fractions: Mapping[str, float]) -> Job:
        """Return the job at `fractions` of the way along each key."""
        return Job(number, {key: d.at(fractions[key]) for key, d in self.dimensions.items()})

    def checks(self) -> Iterator[tuple[Job, ...]]:
        """Yield jobs by which the space is judged: each group stands for one value, right if one of them is.

        A value meets the first and the last values of the other keys, since what is wrong with some may be right with
        others.
        """
        ends = [{key: d.checked()[index] for key, d in self.dimensions.items()} for index in (0, -1)]
        yield (Job(0, ends[0]),) if ends[0] == ends[1] else (Job(0, ends[0]), Job(0, ends[1]))
        for key, dimension in self.dimensions.items():
            for value in dict.fromkeys(dimension.checked()):
                yield tuple(Job(0, {**end, key: value}) for end in ends)

    def plain(self) -> dict[str, dict[str, Any]]:
        """Return the space as plain data, for a plan."""
        return {
            key: {"kind": _NAMES[type(d)], **dataclasses.asdict(d)}  # type: ignore[call-overload]
            for key, d in self.dimensions.items()
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Mapping[str, Any]]) -> Space:
        """Return the space that `plain` describes."""
        dimensions = {}
        for key, described in plain.items():
            values = {name: value for name, value in described.items() if name != "kind"}
            if "values" in values:
                values["values"] = tuple(values["values"])
            dimensions[key] = _KINDS[described["kind"]](**values)
        return cls(dimensions)


_KINDS: dict[str, type[Any]] = {"choices": Choices, "steps": Steps, "interval": Interval}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def interval(key: str, low: float, high: float, *, log: bool = False, whole: bool = False) -> Interval:
    """Return an interval of `key`.

    Raises
    ------
    ConfigError
        If it is empty, not finite, or has no logarithms.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{key} must vary between finite numbers, was interval({low:g},{high:g}).")
    if not low < high:
        raise ConfigError(f"{key} must have an interval that rises, was interval({low:g},{high:g}).")
    if log and low <= 0:
        raise ConfigError(f"{key} must be above 0 on a log scale, was interval({low:g},{high:g}).")
    return Interval(low, high, log, whole)
