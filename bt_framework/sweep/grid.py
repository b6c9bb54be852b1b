"""Every combination of values, in order, without making them before they are counted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bt_framework.errors import ConfigError
from bt_framework.sweep.plan import Job


@dataclass(frozen=True)
class Grid:
    """Values of each key, as overrides write them; the last key varies fastest."""

    values: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        """How many combinations there are."""
        return math.prod(len(values) for values in self.values.values())

    def __iter__(self) -> Iterator[Job]:
        """Yield the combinations."""
        for number, chosen in enumerate(itertools.product(*self.values.values())):
            yield Job(number, dict(zip(self.values, chosen, strict=True)))

    def samples(self) -> Iterator[Job]:
        """Yield combinations in which every value of every key occurs: the first one, and others that differ in one."""
        first = {key: values[0] for key, values in self.values.items()}
        yield Job(0, first)
        for key, values in self.values.items():
            for value in values[1:]:
                yield Job(0, {**first, key: value})

    def jobs(self, most: int) -> list[Job]:
        """Return all combinations.

        Raises
        ------
        ConfigError
            If a key has no values, or there are more than `most` combinations.
        """
        for key, values in self.values.items():
            if not values:
                raise ConfigError(f"{key} must have at least one value, was an empty range.")
        if len(self) > most:
            sizes = " x ".join(f"{len(values):,} of {key}" for key, values in self.values.items())
            raise ConfigError(
                f"the sweep must have at most sweep.max_jobs={most:,} jobs, has {len(self):,}: {sizes}. Give fewer "
                "values, sample them (hydra/sweeper=random), or raise sweep.max_jobs."
            )
        return list(self)
