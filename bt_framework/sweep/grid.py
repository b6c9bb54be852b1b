"""Every combination of values, in order, without making them before they are counted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

from bt_framework.errors import ConfigError
from bt_framework.sweep.plan import Job
from bt_framework.sweep.space import Choices, Space


def grid_jobs(space: Space) -> Iterator[Job]:
    """Yield all combinations; the last key varies fastest.

    Raises
    ------
    ConfigError
        If a key varies over an interval.
    """
    values = []
    for key, dimension in space.dimensions.items():
        if not isinstance(dimension, Choices):
            raise ConfigError(
                f"{key} must have values that can be counted, was an interval. Write range(A,B,STEP), or sample it "
                "with hydra/sweeper=random, lhs or optuna."
            )
        values.append(dimension.values)
    for number, chosen in enumerate(itertools.product(*values)):
        yield Job(number, dict(zip(space.dimensions, chosen, strict=True)))


def refuse_too_many(counts: Mapping[str, int], most: int) -> None:
    """Refuse a grid of more combinations than `most`, given how many values each key has.

    Raises
    ------
    ConfigError
        If there are more.
    """
    number = math.prod(counts.values())
    if number > most:
        sizes = " x ".join(f"{_count_text(count)} of {key}" for key, count in counts.items())
        raise ConfigError(
            f"the sweep must have at most sweep.max_jobs={most:,} jobs, has {_count_text(number)}: {sizes}. "
            "Give fewer values, sample them (hydra/sweeper=random), or raise sweep.max_jobs."
        )


def _count_text(count: int) -> str:
    """Return a count for people.

    >>> _count_text(1_234_567), _count_text(10**300)
    ('1,234,567', 'about 10^300')
    """
    return f"{count:,}" if count < 10**15 else f"about 10^{math.log10(count):.0f}"
