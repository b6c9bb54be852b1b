"""A filter of events, as a configuration may hold one: a little of SQL, checked and written anew.

The text itself never reaches the database. It is parsed; columns and functions are those that are listed here, numbers
and times become bound parameters, and everything else is refused.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import ConfigError
from bt_framework.records import EVENT, EventFlag, EventKind
from bt_framework.registry import unknown_name

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

MAX_LENGTH = 2_000
"""Characters of a filter."""

MAX_DEPTH = 50
"""How deep it may be nested."""

COLUMNS: Mapping[str, str] = {
    **{name: name for name in ("sequence", *(EVENT.names or ()))},
    "kind": "bitAnd(ev, 255)",
}
"""What a filter may name, and the SQL of it; ``kind`` is the low byte of ``ev``."""

CONSTANTS: Mapping[str, int] = {
    str(member.name).lower(): member for kind in (EventKind, EventFlag) for member in kind
}
"""Words for numbers: kinds and flags of events."""

FUNCTIONS: Mapping[str, tuple[str, int]] = {
    "abs": ("abs", 1),
    "floor": ("floor", 1),
    "ceil": ("ceil", 1),
    "round": ("round", 1),
    "least": ("least", 2),
    "greatest": ("greatest", 2),
    "bitand": ("bitAnd", 2),
    "bitor": ("bitOr", 2),
    "isnan": ("isNaN", 1),
    "isfinite": ("isFinite", 1),
}
"""Functions, in lower case: the SQL name and the number of arguments."""

_GRAMMAR = r"""
start: either
?either: both ("or"i both)*
?both: negated ("and"i negated)*
?negated: "not"i negated -> negate | test
?test: sum COMPARISON sum -> compare
    | sum "between"i sum "and"i sum -> between
    | sum "not"i "between"i sum "and"i sum -> not_between
    | sum "in"i list -> within
    | sum "not"i "in"i list -> not_within
    | "(" either ")"
list: "(" item ("," item)* ")" | "[" item ("," item)* "]"
?item: "-" NUMBER -> negative_number
    | NUMBER -> number
    | TIME -> time
    | NAME -> constant
?sum: product (ADDITIVE product)*
?product: signed (MULTIPLICATIVE signed)*
?signed: "-" value -> negative | value
?value: NUMBER -> number
    | TIME -> time
    | NAME -> column
    | NAME "(" sum ("," sum)* ")" -> call
    | "(" sum ")"
COMPARISON: "<=" | ">=" | "!=" | "<>" | "==" | "=" | "<" | ">"
ADDITIVE: "+" | "-"
MULTIPLICATIVE: "*" | "/" | "%"
NUMBER: /[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?/
TIME: /'[0-9A-Za-z:+. -]*'|"[0-9A-Za-z:+. -]*"/
NAME: /[A-Za-z_][A-Za-z0-9_]*/
%ignore /[ \t\n]+/
"""

_ONE_TYPE = ("least", "greatest")
"""Functions that ClickHouse does not give a float and an integer."""
_FLOAT = re.compile(r"\b(px|qty|fval)\b|:Float64\}| / ")

_SPELLED = {"==": "=", "<>": "!="}


@dataclass(frozen=True)
class RowFilter:
    """A filter as the database gets it.

    Attributes
    ----------
    sql : str
        An expression of `COLUMNS` and `FUNCTIONS` with placeholders; the same for the same filter, however written.
    parameters : dict of str to int or float
        Values of the placeholders.
    """

    sql: str
    parameters: dict[str, int | float] = field(default_factory=dict)


def parse_where(text: str) -> RowFilter:
    """Read a filter.

    Parameters
    ----------
    text : str
        Comparisons of sums and products of `COLUMNS`, numbers, `CONSTANTS` and `FUNCTIONS`; ``between``, ``in``;
        joined by ``and``, ``or``, ``not`` and parentheses. A quoted text is a time, ISO-8601, and stands for its
        ns UTC.

    Raises
    ------
    ConfigError
        If it is anything else. The message says where.

    Examples
    --------
    >>> parse_where("kind = trade and qty * px >= 1e6")
    ... # doctest: +NORMALIZE_WHITESPACE
    RowFilter(sql='((bitAnd(ev, 255) = {w0:Int64}) and ((qty * px) >= {w1:Float64}))',
              parameters={'w0': 2, 'w1': 1000000.0})
    """
    from lark import UnexpectedInput

    if len(text) > MAX_LENGTH:
        raise ConfigError(f"data.where must have at most {MAX_LENGTH} characters, was {len(text)}.")
    try:
        tree = _parser().parse(text)
        writer = _Writer()
        sql = writer.write(tree.children[0], 0)
    except UnexpectedInput as error:
        raise ConfigError(_where_message(text, error)) from None
    return RowFilter(sql, writer.parameters)


@functools.cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr")


def _where_message(text: str, error: Any) -> str:
    place = getattr(error, "pos_in_stream", None)
    if place is None or getattr(getattr(error, "token", None), "type", "") == "$END":
        where = "at its end"
    else:
        where = f"at character {place + 1}, {text[place : place + 20]!r}"
    return (
        "data.where must be comparisons of columns of market_data, joined by and, or, not: it cannot be read "
        f"{where}. Write for example: kind = trade and qty >= 0.5."
    )


class _Writer:
    """Writes a parsed filter as SQL, every value a parameter."""

    def __init__(self) -> None:
        self.parameters: dict[str, int | float] = {}

    def write(self, node: Tree[Any] | Token, depth: int) -> str:
        """SQL of a node of the tree."""
        if depth > MAX_DEPTH:
            raise ConfigError(f"data.where must be nested at most {MAX_DEPTH} deep, was deeper.")
        kind, children = node.data, node.children  # type: ignore[union-attr]
        special = getattr(self, f"_{kind}", None)
        if special is not None:
            return str(special(*children))
        if kind == "call":
            return self._called(str(children[0]), [self.write(c, depth + 1) for c in children[1:]])
        parts = [self._word(c) if not hasattr(c, "data") else self.write(c, depth + 1) for c in children]
        return _joined(kind, parts)

    def _word(self, token: Any) -> str:
        return _SPELLED.get(str(token), str(token))

    def _number(self, token: Any) -> str:
        return self._bound(int(token) if token.isdigit() else float(token))

    def _negative_number(self, token: Any) -> str:
        return self._bound(-int(token) if token.isdigit() else -float(token))

    def _time(self, token: Any) -> str:
        return self._bound(parse_time_ns(str(token)[1:-1], "data.where: a quoted text"))

    def _column(self, token: Any) -> str:
        name = str(token).lower()
        if name in COLUMNS:
            return COLUMNS[name]
        if name in CONSTANTS:
            return self._bound(int(CONSTANTS[name]))
        raise ConfigError(f"data.where: {unknown_name('a name', str(token), [*COLUMNS, *CONSTANTS])}")

    def _constant(self, token: Any) -> str:
        if str(token).lower() in COLUMNS:
            raise ConfigError(f"data.where: in is followed by numbers and times, was {token}.")
        return self._column(token)

    def _called(self, name: str, arguments: Sequence[str]) -> str:
        if name.lower() not in FUNCTIONS:
            raise ConfigError(f"data.where: {unknown_name('a function', name, FUNCTIONS)}")
        sql_name, count = FUNCTIONS[name.lower()]
        if len(arguments) != count:
            raise ConfigError(f"data.where: {name} must have {count} argument(s), was {len(arguments)}.")
        if sql_name in _ONE_TYPE and any(_FLOAT.search(argument) for argument in arguments):
            arguments = [f"toFloat64({argument})" for argument in arguments]
        return f"{sql_name}({', '.join(arguments)})"

    def _bound(self, value: int | float) -> str:
        if not (-(2**63) <= value < 2**64 if isinstance(value, int) else abs(value) < math.inf):
            raise ConfigError("data.where: numbers and times must fit into 64 bits, was one that does not.")
        name = f"w{len(self.parameters)}"
        self.parameters[name] = value
        if isinstance(value, float):
            return f"{{{name}:Float64}}"
        return f"{{{name}:{'Int64' if value < 2**63 else 'UInt64'}}}"


def _joined(kind: str, parts: Sequence[str]) -> str:
    """SQL of an operation whose operands are written."""
    match kind:
        case "either":
            return f"({' or '.join(parts)})"
        case "both":
            return f"({' and '.join(parts)})"
        case "negate":
            return f"(not {parts[0]})"
        case "negative":
            return f"(-{parts[0]})"
        case "list":
            return f"({', '.join(parts)})"
        case "between" | "not_between":
            return f"({parts[0]} {kind.replace('_', ' ')} {parts[1]} and {parts[2]})"
        case "within" | "not_within":
            return f"({parts[0]} {kind.replace('_', ' ').replace('within', 'in')} {parts[1]})"
        case _:  # compare, sum, product: operands and operators in turns
            return f"({' '.join(parts)})"
