"""What a command line varies: Hydra's grammar of sweeps, read into a space."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep

from bt_framework.config import _overrides
from bt_framework.errors import ConfigError
from bt_framework.sweep.plan import is_conduct
from bt_framework.sweep.space import Choices, Dimension, Space, Steps, interval

_TAGS = frozenset({"log"})
_MOST_VALUES = 1_000_000

Options = Callable[[str], list[str]]


@dataclass(frozen=True)
class Varied:
    """The overrides of a sweep, parted.

    Attributes
    ----------
    fixed : list of str
        Those that all jobs share.
    overrides : mapping of str to Override
        Those that give several values, by key with its ``+`` signs, in the order of the command line.
    options : callable
        Returns the names of a group's options.
    """

    fixed: list[str]
    overrides: Mapping[str, Override]
    options: Options

    def ends(self) -> tuple[list[str], list[str]]:
        """Return overrides of two jobs, whether or not they belong to the sweep: all first values, all last ones.

        Raises
        ------
        ConfigError
            If a key has no values.
        """
        ends = {key: _ends(key, o, self.options) for key, o in self.overrides.items()}
        first, last = ([f"{key}={values[i]}" for key, values in ends.items()] for i in (0, -1))
        return [*self.fixed, *first], [*self.fixed, *last]

    def counts(self) -> dict[str, int]:
        """Return how many values each key lists, without making them; intervals are left out."""
        counted = {key: _count(key, o, self.options) for key, o in self.overrides.items()}
        return {key: count for key, count in counted.items() if count is not None}

    def space(self) -> Space:
        """Return what each key may be.

        Raises
        ------
        ConfigError
            If a key has no values, a wrong interval, or a tag that means nothing.
        """
        return Space({key: _dimension(key, o, self.options) for key, o in self.overrides.items()})


def split(overrides: Sequence[str], options: Options) -> Varied:
    """Part `overrides` into those that all jobs share, and those that give several values.

    Raises
    ------
    ConfigError
        If one cannot be read, is refused, or varies a key that another one sets.
    """
    fixed: list[str] = []
    varied: dict[str, Override] = {}
    keys: set[str] = set()
    for override, text in zip(_overrides.parse(overrides), overrides, strict=True):
        key = override.get_key_element()
        if not override.is_sweep_override():
            if not _overrides.is_hydra(override) or override.key_or_group == "hydra.searchpath":
                fixed.append(text)
                keys.add(key.lstrip("+"))
            continue
        if is_conduct(text):
            raise ConfigError(
                f"{text}: {key} says how jobs are carried out, and is one for all of them. Give one value."
            )
        if key in varied:
            raise ConfigError(f"{text}: {key} varies already ({varied[key].input_line}). Give it once.")
        varied[key] = override
    for key, override in varied.items():
        if key.lstrip("+") in keys:
            raise ConfigError(f"{override.input_line}: {key} is set by another override too. Give it once.")
    return Varied(fixed, varied, options)


def _ends(key: str, override: Override, options: Options) -> Sequence[str]:
    value = override.value()
    if isinstance(value, RangeSweep):
        numbers = _checked_range(key, override, value)
        return [_step_text(numbers, index) for index in (0, numbers.count - 1)]
    if isinstance(value, IntervalSweep):
        return _dimension(key, override, options).checked()
    return _listed(key, override, options)


def _count(key: str, override: Override, options: Options) -> int | None:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return None
    if isinstance(value, RangeSweep):
        return _checked_range(key, override, value).count
    return len(_listed(key, override, options))


def _dimension(key: str, override: Override, options: Options) -> Dimension:
    value = override.value()
    tags: set[str] = set(getattr(value, "tags", ()))
    for tag in sorted(tags - _TAGS):
        raise ConfigError(f"{override.input_line}: the tag {tag!r} means nothing here. The tags are log.")
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        whole = isinstance(value.start, int)
        return interval(key, value.start, value.end, log="log" in tags, whole=whole)
    if tags:
        raise ConfigError(
            f"{override.input_line}: the tag log is for an interval. Write tag(log,interval(A,B))."
        )
    if not isinstance(value, RangeSweep):
        return Choices(tuple(_listed(key, override, options)))
    numbers = _checked_range(key, override, value)
    if numbers.count > _MOST_VALUES:
        raise ConfigError(
            f"{key} must have at most {_MOST_VALUES:,} values, has {numbers.count:,}. Write interval(A,B), or "
            "int(interval(A,B)) for whole numbers."
        )
    texts = [_step_text(numbers, index) for index in range(numbers.count)]
    if value.shuffle:
        return Choices(tuple(_shuffled(texts, override)))
    return Steps(tuple(texts), float(numbers.start), float(numbers.step), numbers.whole)


@dataclass(frozen=True)
class _Range:
    """Numbers start + step x i, as they are written: 1.9 is not 1.9000000000000001."""

    start: Decimal
    step: Decimal
    count: int
    whole: bool


def _checked_range(key: str, override: Override, value: RangeSweep) -> _Range:
    given = (value.start, value.stop, value.step)
    if not all(n is not None and math.isfinite(n) for n in given):
        raise ConfigError(f"{key} must vary between finite numbers, was {override.get_value_string()}.")
    start, stop, step = (Decimal(str(n)) for n in given)
    if not step:
        raise ConfigError(f"{key} must have a step other than 0, was {override.get_value_string()}.")
    count = max(0, math.ceil((stop - start) / step))
    if not count:
        raise ConfigError(
            f"{key} must have at least one value, was the empty range {override.get_value_string()}: from A up to B, "
            "which is left out, it is range(A,B,STEP)."
        )
    return _Range(start, step, count, all(isinstance(n, int) for n in given))


def _step_text(numbers: _Range, index: int) -> str:
    number = numbers.start + numbers.step * index
    return str(int(number)) if numbers.whole else str(float(number))


def _listed(key: str, override: Override, options: Options) -> list[str]:
    value: Any = override.value()
    if isinstance(value, Glob):
        names = options(override.key_or_group)
        found = value.filter(names)
        if not found:
            raise ConfigError(
                f"{override.input_line}: none of the options of {key} matches. They are "
                f"{', '.join(names) or '(none: it is no group)'}."
            )
        return found
    assert isinstance(value, ChoiceSweep)
    texts = [Override._get_value_element_as_str(item) for item in value.list]
    return _shuffled(texts, override) if value.shuffle else texts


def _shuffled(texts: list[str], override: Override) -> list[str]:
    """Shuffle, in the same way each time that the same override is given: a sweep can be resumed."""
    return random.Random(override.input_line).sample(texts, len(texts))
