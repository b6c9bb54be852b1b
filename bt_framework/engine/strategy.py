"""The contract of a strategy.

A strategy is a configuration dataclass, up to three kernels, and a class that prepares their arguments. Kernels are
compiled into the loop. They read the market and the account, and write intents and signals; they cannot send::

    @kernel
    def on_timer(market, account, out, p, s, w): ...

`market`, `account`, `out` are `bt_framework.engine.view` objects; `p` (parameters) and `s` (state) are records,
`w` is a float64 work array: run-time values, so that one compilation serves every configuration.

Or it is an ordinary Python class, see `PlainStrategy`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.errors import ConfigError, PluginError
from bt_framework.results.run import Instrument

if TYPE_CHECKING:
    from bt_framework.features import RunFeatures

WAKES = {"on_timer": 1, "on_book": 2, "on_order": 3}
"""The number with which the loop gives the reason of a wake-up."""


@dataclass(frozen=True)
class Kernels:
    """Where a strategy's kernels are, as ``"package.module:function"``; None for a wake-up that it does not want.

    Attributes
    ----------
    on_timer : str or None
        Called every `Strategy.timer_ns` of simulated time.
    on_book : str or None
        Called at every feed update of any instrument.
    on_order : str or None
        Called when order responses have arrived.
    """

    on_timer: str | None = None
    on_book: str | None = None
    on_order: str | None = None


class Strategy(ABC):
    """Base class of strategies: what the ``strategy`` group builds."""

    kernels: Kernels
    timer_ns: int = 0
    instruments: int | None = None
    """How many instruments it trades; None for any number."""

    @abstractmethod
    def params(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernels' ``p``, see `params_record`."""

    @abstractmethod
    def state(self, instruments: Sequence[Instrument]) -> np.record:
        """Return the kernels' ``s`` as it is before the first wake-up; it must be fresh at each call."""

    def work(self, instruments: Sequence[Instrument]) -> np.ndarray:
        """Return the kernels' ``w``, a float64 array of shape (n, m) for whatever does not fit a record."""
        return np.zeros((1, 1))

    data_starts_ts: Sequence[int] = ()
    """When each instrument's data begins, ns UTC, at the start of the run or before; set before `load`.

    Bars that are traded at prices of one point in time are comparable with the first of them, not with the run's first.
    """

    features: RunFeatures | None = None
    """What asks for arrays that are computed once per machine, see `bt_framework.features`; set before `load`.

    Kernels get at them in what `work` returns.
    """

    def load(self, store_dir: Path, symbols: Sequence[str], start_ts: int) -> Mapping[str, Any]:
        """Take what earlier work has stored, such as estimated parameters; called once, before `params`.

        Parameters
        ----------
        store_dir : Path
            Folder of the stores, as in the settings.
        symbols : sequence of str
            The instruments, in the strategy's order.
        start_ts : int
            When the run begins, ns UTC: what became known later must not be taken.

        Returns
        -------
        mapping
            What was taken, JSON types: it is part of the run's identity and stands in its run.json.
        """
        return {}


class PlainStrategy:
    """Base class of strategies that are ordinary Python: what the ``strategy`` group may build as well.

    Define any of ``on_timer(self, market, account, out)``, ``on_book`` and ``on_order``; each defined one is called.
    ``market``, ``account`` and ``out`` are what kernels are given, see `bt_framework.engine.view`. State is what the
    object keeps; it must depend on nothing but the configuration and what has been seen, or runs are not repeatable.
    """

    timer_ns: int = 0
    instruments: int | None = None
    """How many instruments it trades; None for any number."""

    def start(self, instruments: Sequence[Instrument]) -> None:
        """Prepare for a run of `instruments`; called once, before the first wake-up."""


def timer_of(*intervals_ns: int) -> int:
    """Return the timer of a strategy that samples at several intervals: the shortest of them.

    Kernels ask ``market.is_due(interval_ns)`` which of them are due at a wake-up.

    Raises
    ------
    ConfigError
        If an interval is not a multiple of the shortest.

    Examples
    --------
    >>> timer_of(60_000_000_000, 1_000_000_000)
    1000000000
    """
    shortest = min(intervals_ns)
    for interval in intervals_ns:
        if shortest <= 0 or interval % shortest != 0:
            raise ConfigError(
                f"sampling intervals must be multiples of the shortest, {shortest} ns, was {interval} ns."
            )
    return shortest


def params_record(config: Any, **extra: Any) -> np.record:
    """Record of a config dataclass's numbers, for kernels.

    Parameters
    ----------
    config : dataclass
        bool, int, float and Enum (by ordinal place) fields are taken, others are left out.
    **extra
        Further fields: numbers or arrays.

    Examples
    --------
    >>> @dataclass
    ... class Config:
    ...     entry_z: float = 2.0
    ...     name: str = "x"
    >>> float(params_record(Config(), qty=[0.1, 0.2]).entry_z)
    2.0
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Enum):
            values[field.name] = list(type(value)).index(value)
        elif isinstance(value, bool | int | float):
            values[field.name] = value
    return numbers_record(values | extra)


def numbers_record(values: Mapping[str, Any]) -> np.record:
    """Writable record of numbers and arrays, int64 and float64; without any, of one unused field.

    Raises
    ------
    PluginError
        If a name is one that NumPy's records have themselves: compiled code would read the field, plain code not.
    """
    columns: list[tuple[Any, ...]] = []
    for name, value in values.items():
        if hasattr(np.record, name):
            raise PluginError(
                f"field {name!r} of a kernel's record must not be called like an attribute of numpy.record. "
                f"Rename it, for example to {name}_."
            )
        array = np.asarray(value)
        kind = "f8" if array.dtype.kind == "f" else "i8"
        columns.append((name, kind, array.shape) if array.shape else (name, kind))
    if not columns:
        columns, values = [("unused", "i8")], {"unused": 0}
    record = np.zeros(1, np.dtype(columns))
    for name, value in values.items():
        record[name] = value
    return record.view(np.recarray)[0]  # type: ignore[no-any-return]
