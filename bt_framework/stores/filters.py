"""Conditions on runs: what ``bt runs 'sharpe>1 and strategy==ou_pairs'`` asks for.

`parse_filter` reads the text, stores translate the `Condition`, and `matches` says in plain Python what it means. A
text is never evaluated: it becomes comparisons of known fields with values of their type, or an error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from bt_framework.errors import ConfigError
from bt_framework.registry import unknown_name
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import METRIC_COLUMNS, RUN_COLUMNS, RowColumn
from bt_framework.results.run import Status

MAX_LENGTH = 4_000
"""Characters of a filter."""

MAX_DEPTH = 20
"""How deep ``and``, ``or`` and ``not`` may be nested."""

SET_FIELDS: Mapping[str, str] = {"tag": "tags", "symbol": "symbols"}
"""Fields with several values per run, and the column that holds them as a JSON array."""

PREFIX_FIELDS = ("run_id", "sweep_id", "git_commit", "config_hash", "data_hash", "code_hash", "result_hash")
"""Fields that equal every value that they begin with; an empty value equals an empty field only."""

TIME_FIELDS = ("started_at_ns", "finished_at_ns", "start_ts", "end_ts")
"""Fields in ns UTC, which are also compared with dates."""

ALIASES: Mapping[str, str] = {
    "started": "started_at_ns",
    "finished": "finished_at_ns",
    "sweep": "sweep_id",
}
"""Other names of fields."""

_NO_FIELDS = ("symbols", "tags", "feeds", "record", "updated_at_ns")
_METRICS = frozenset(c.name for c in METRIC_COLUMNS)

FIELDS: Mapping[str, RowColumn] = {
    **{c.name: c for c in (*RUN_COLUMNS, *METRIC_COLUMNS) if c.name not in _NO_FIELDS},
    "tag": RowColumn("tag", str, "each of the run's tags"),
    "symbol": RowColumn("symbol", str, "each of the run's instruments"),
}
"""What a `Compare` may name: columns of ``backtest_runs`` and ``backtest_metrics``, and `SET_FIELDS`."""


@dataclass(frozen=True, eq=False)
class Fields:
    """What conditions on something may name.

    Attributes
    ----------
    columns : mapping of str to RowColumn
        The fields by name.
    aliases : mapping of str to str
        Other names.
    words : mapping of str to collection of str
        The only values of a field.
    times : collection of str
        Fields in ns UTC, which are also compared with dates.
    """

    columns: Mapping[str, RowColumn]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    words: Mapping[str, Collection[str]] = dataclasses.field(default_factory=dict)
    times: Collection[str] = ()


OF_RUNS = Fields(FIELDS, ALIASES, {"status": tuple(map(str, Status))}, TIME_FIELDS)
"""What filters of runs may name."""

TEXT_OPERATORS = ("==", "!=", "in")
OPERATORS = (*TEXT_OPERATORS, "<", "<=", ">", ">=")

Value: TypeAlias = str | int | float


@dataclass(frozen=True)
class Compare:
    """A field compared with a value.

    Attributes
    ----------
    field : str
        One of `FIELDS`.
    op : str
        One of `OPERATORS`; of text `TEXT_OPERATORS`.
    value : str, int or float; with ``in`` a tuple of them
        Of the field's type, numbers finite.
    known : Fields
        What the comparison is about: runs, unless something else is given.

    Notes
    -----
    A value that is undefined (null, NaN) satisfies no comparison, ``!=`` neither. Case matters. A field of
    `SET_FIELDS` is ``==`` or ``in`` if one of its values is, and ``!=`` if none is equal. ``status`` is that as of
    now: of a run whose process is gone it is lost.

    Raises
    ------
    ConfigError
        If the field, the operator or the value is none of these.
    """

    field: str
    op: str
    value: Value | tuple[Value, ...]
    known: Fields = dataclasses.field(default=OF_RUNS, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check that the comparison has a meaning."""
        known = self.known.columns
        if self.field not in known:
            raise ConfigError(unknown_name("a filter's field", self.field, [*known, *self.known.aliases]))
        is_text = known[self.field].type is str
        operators = TEXT_OPERATORS if is_text else OPERATORS
        if self.op not in operators:
            raise ConfigError(
                f"the operator after {self.field} must be one of {', '.join(operators)}, was {self.op!r}."
            )
        for value in self.values:
            if is_text:
                self._check_text(value)
            else:
                self._check_number(value)

    @property
    def values(self) -> tuple[Value, ...]:
        """The value, or all of those after ``in``."""
        return self.value if isinstance(self.value, tuple) else (self.value,)

    def _check_text(self, value: Value) -> None:
        if not isinstance(value, str) or not all(c.isprintable() for c in value):
            raise ConfigError(f"{self.field} is compared with printable text, was {value!r}.")
        if value not in self.known.words.get(self.field, (value,)):
            raise ConfigError(unknown_name(self.field, value, self.known.words[self.field]))

    def _check_number(self, value: Value) -> None:
        if isinstance(value, str | bool):
            raise ConfigError(
                f"{self.field} is compared with a number, was {value!r} "
                f"({self.known.columns[self.field].doc})."
            )
        if abs(value) >= 2**63 if isinstance(value, int) else not math.isfinite(value):
            shown = "one that does not" if isinstance(value, int) else value
            raise ConfigError(f"{self.field} is compared with a number that fits into 64 bits, was {shown}.")


@dataclass(frozen=True)
class And:
    """True if all of `parts` are; without any it is true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Or:
    """True if one of `parts` is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    """True if `part` is not."""

    part: Condition


Condition: TypeAlias = Compare | And | Or | Not


def parse_filter(text: str, fields: Fields = OF_RUNS) -> Condition:
    """Read a filter.

    Parameters
    ----------
    text : str
        Comparisons such as ``sharpe>1``, ``tag==night``, ``status in [failed, lost]``, ``started>=2024-08-01``, joined
        by ``and``, ``or``, ``not`` and parentheses. Text may be quoted; ``=`` is ``==``. A date is the whole day,
        times are UTC unless they say otherwise.
    fields : Fields
        What it may name.

    Raises
    ------
    ConfigError
        If it cannot be read. The message says where, was, and fix.

    Examples
    --------
    >>> parse_filter("sharpe>1 and strategy==ou_pairs")  # doctest: +NORMALIZE_WHITESPACE
    And(parts=(Compare(field='sharpe', op='>', value=1.0),
               Compare(field='strategy', op='==', value='ou_pairs')))
    """
    from bt_framework.stores._filter_grammar import parse

    return parse(text, fields)


def matches(condition: Condition, record: RunRecord) -> bool:
    """Say whether a run satisfies `condition`."""
    return holds(condition, partial(field_value, record))


def holds(condition: Condition, value_of: Callable[[str], Any]) -> bool:
    """Say whether something whose fields have the values `value_of`, None where undefined, satisfies `condition`."""
    if isinstance(condition, Compare):
        return _compare(condition, value_of(condition.field))
    if isinstance(condition, Not):
        return not holds(condition.part, value_of)
    parts = (holds(part, value_of) for part in condition.parts)
    return all(parts) if isinstance(condition, And) else any(parts)


def field_value(record: RunRecord, field: str) -> Any:
    """Value of one of `FIELDS`; None where it is undefined, a tuple for `SET_FIELDS`."""
    value: Any
    if field in _METRICS:
        value = record.metrics.get(field)
    elif field in SET_FIELDS:
        value = getattr(record, SET_FIELDS[field])
    elif field.startswith("count_"):
        value = record.counts.get(field.removeprefix("count_"))
    elif field in ("config_hash", "data_hash", "code_hash", "seed"):
        value = getattr(record.identity, field)
    elif field == "host":
        value = record.process.host
    elif field == "sweep_id":
        value = record.sweep_id or None
    elif field in ("run_dir", "status"):
        value = str(getattr(record, field))
    else:
        value = getattr(record, field, None)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def order_key(field: str, *, descending: bool) -> Callable[[RunRecord], tuple[Any, ...]]:
    """Key by which ``sorted`` orders runs: undefined values last, and the newest first among equals."""

    def key(record: RunRecord) -> tuple[Any, ...]:
        value = field_value(record, field)
        newest = (-record.started_at_ns, record.run_id)
        if value is None:
            return (1, 0, *newest)
        return (0, _Reversed(value) if descending else value, *newest)

    return key


@dataclass(frozen=True)
class _Reversed:
    """Orders values of any type the other way round."""

    value: Any

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.value < self.value)


def _compare(condition: Compare, value: Any) -> bool:
    if value is None:
        return False
    if condition.op in TEXT_OPERATORS:
        values = value if condition.field in SET_FIELDS else (value,)
        equal = any(_equal(condition.field, v, wanted) for v in values for wanted in condition.values)
        return equal != (condition.op == "!=")
    (wanted,) = condition.values
    if condition.op in ("<", "<="):
        return bool(value < wanted or (condition.op == "<=" and value == wanted))
    return bool(value > wanted or (condition.op == ">=" and value == wanted))


def _equal(field: str, value: Any, wanted: Any) -> bool:
    if field in PREFIX_FIELDS and wanted:
        return bool(value.startswith(wanted))
    return bool(value == wanted)
