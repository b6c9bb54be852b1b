"""Which runs a command is about: the arguments of `bt runs` and `bt metrics`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bt_framework.config.place import Place
    from bt_framework.results.record import RunRecord
    from bt_framework.stores.base import RunStore
    from bt_framework.stores.filters import Condition

_OVERRIDE = re.compile(r"[+~]*([A-Za-z_][\w./@-]*)=(?!=)")
_OPERATORS = frozenset("=<>!() ")


@dataclass(frozen=True)
class Arguments:
    """What the arguments of a command are.

    Attributes
    ----------
    words : tuple of str
        Neither of the others: ids of runs.
    filters : tuple of str
        Filters, all of which must hold.
    overrides : tuple of str
        ``key=value`` whose key is no field of a filter: where the runs are.
    """

    words: tuple[str, ...]
    filters: tuple[str, ...]
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Arguments:
        """Tell the arguments apart."""
        overrides = tuple(a for a in arguments if _is_override(a))
        rest = [a for a in arguments if a not in overrides]
        words = tuple(a for a in rest if not is_filter(a))
        return cls(words, tuple(a for a in rest if is_filter(a)), overrides)

    @cached_property
    def place(self) -> Place:
        """The settings, and where the runs are."""
        from bt_framework.config.place import place_of

        return place_of(self.overrides)

    @cached_property
    def store(self) -> RunStore:
        """The store that knows the runs."""
        store: RunStore = self.place.open()
        return store

    @property
    def runs_dir(self) -> Path:
        """Folder of run folders."""
        return Path(self.place.settings.runs_dir).absolute()

    def condition(self, **equal: str | None) -> Condition | None:
        """Return the filters and the fields that must be `equal` to a value, as one condition."""
        from bt_framework.stores.filters import And, Compare, parse_filter

        parts = [parse_filter(text) for text in self.filters]
        parts += [Compare(field, "==", value) for field, value in equal.items() if value is not None]
        if len(parts) <= 1:
            return parts[0] if parts else None
        return And(tuple(parts))

    def records(self) -> list[RunRecord]:
        """Return the runs that are named by their ids, or that the filters mean.

        Raises
        ------
        click.UsageError
            If neither or both are given: a command that changes runs is told which.
        UnknownRunError
            If an id names none, or several.
        """
        if bool(self.words) == bool(self.filters):
            raise click.UsageError("Say which runs: their ids, or a filter such as 'status==failed'.")
        if self.words:
            named = [self.store.get(word) for word in self.words]
            return list({record.run_id: record for record in named}.values())
        from bt_framework.stores.base import RunQuery

        return self.store.select(RunQuery(self.condition()))


def is_filter(argument: str) -> bool:
    """Whether an argument is a filter: it compares, or has several words, and is no override."""
    return not _is_override(argument) and not _OPERATORS.isdisjoint(argument)


def _is_override(argument: str) -> bool:
    """Whether an argument is ``key=value``; ``strategy=x`` and its like choose runs, as ``strategy==x`` does."""
    from bt_framework.stores.filters import ALIASES, FIELDS

    match = _OVERRIDE.match(argument)
    return match is not None and match[1] not in FIELDS and match[1] not in ALIASES


def open_store(overrides: Sequence[str]) -> RunStore:
    """Return the store that `overrides` choose."""
    return Arguments((), (), tuple(overrides)).store
