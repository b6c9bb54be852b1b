"""The grammar of filters, and what its words mean for each field."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bt_framework.config.settings import parse_time_ns
from bt_framework.errors import ConfigError
from bt_framework.stores.filters import (
    MAX_DEPTH,
    MAX_LENGTH,
    OPERATORS,
    And,
    Compare,
    Condition,
    Fields,
    Not,
    Or,
    Value,
)

if TYPE_CHECKING:
    from lark import Lark, Token

_GRAMMAR = r"""
    ?start: any
    ?any: all (_OR all)*
    ?all: one (_AND one)*
    ?one: _NOT one -> negated | "(" any ")" | comparison
    comparison: FIELD OPERATOR value
        | FIELD _IN "[" value ("," value)* "]" -> listed
        | FIELD _NOT _IN "[" value ("," value)* "]" -> not_listed
    ?value: WORD | QUOTED

    _OR.2: /or\b/i
    _AND.2: /and\b/i
    _NOT.2: /not\b/i
    _IN.2: /in\b/i
    FIELD: /[A-Za-z_]\w*(\.\w+)*/
    OPERATOR: /==|=|!=|<=|>=|<|>/
    WORD: /[^\s()\[\],"'<>=!]+/
    QUOTED: /"[^"]*"|'[^']*'/
    %ignore /\s+/
"""
_EXAMPLE = "sharpe>1 and (tag==night or started>=2024-08-01)"
_NUMBER = re.compile(r"[+-]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(e[+-]?\d+)?", re.I | re.A)
_DIGITS = re.compile(r"\d[\d_]*", re.A)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.A)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.,+\-Z]+", re.A)
_DAY_NS = timedelta(days=1) // timedelta(microseconds=1) * 1_000


def parse(text: str, fields: Fields) -> Condition:
    """See `bt_framework.stores.filters.parse_filter`."""
    from lark.exceptions import UnexpectedInput

    if len(text) > MAX_LENGTH:
        raise ConfigError(f"a filter must have at most {MAX_LENGTH:,} characters, had {len(text):,}.")
    if not text.strip():
        raise ConfigError(f"a filter must not be empty. Write for example: {_EXAMPLE}")
    try:
        condition: Condition = _parser(fields).parse(text)  # type: ignore[assignment]
    except UnexpectedInput as error:
        raise ConfigError(_unreadable(text, error)) from None
    if _depth(condition) > MAX_DEPTH:
        raise ConfigError(
            f"a filter must nest at most {MAX_DEPTH} times, this one nests deeper: {text[:60]} ..."
        )
    return condition


@lru_cache(maxsize=4)
def _parser(fields: Fields) -> Lark:
    from lark import Lark, Transformer

    class Builder(Transformer):
        """Makes conditions of what the grammar finds."""

        def any(self, parts: list[Condition]) -> Condition:
            return Or(tuple(parts))

        def all(self, parts: list[Condition]) -> Condition:
            return And(tuple(parts))

        def negated(self, parts: list[Condition]) -> Condition:
            return Not(parts[0])

        def comparison(self, tokens: list[Token]) -> Condition:
            field, operator, value = tokens
            return _comparison(fields, str(field), "==" if operator == "=" else str(operator), [value])

        def listed(self, tokens: list[Token]) -> Condition:
            return _comparison(fields, str(tokens[0]), "in", tokens[1:])

        def not_listed(self, tokens: list[Token]) -> Condition:
            return Not(self.listed(tokens))

    return Lark(_GRAMMAR, parser="lalr", transformer=Builder(), maybe_placeholders=False)


def _comparison(fields: Fields, name: str, op: str, tokens: list[Token]) -> Condition:
    """Compare the field called `name` with what the tokens mean for it."""
    field = fields.aliases.get(name, name)
    if field in fields.times and (name in fields.aliases or not all(_DIGITS.fullmatch(t) for t in tokens)):
        if op != "in":
            return _compare_time(fields, name, op, tokens[0])
        return Or(tuple(_compare_time(fields, name, "==", token) for token in tokens))
    values = tuple(_value(fields, field, token) for token in tokens)
    return Compare(field, op, values if op == "in" else values[0], fields)


def _value(fields: Fields, field: str, token: Token) -> Value:
    """Value of a word: a number where the field is one and the word is not quoted."""
    if token.type == "QUOTED":
        return str(token[1:-1])
    column = fields.columns.get(field)
    if column is None or column.type is str or not _NUMBER.fullmatch(token):
        return str(token)
    if column.type is int and _DIGITS.fullmatch(token.lstrip("+-")):
        return int(token)
    number = float(token)
    return int(number) if column.type is int and number.is_integer() else number


def _compare_time(fields: Fields, name: str, op: str, token: Token) -> Condition:
    """Compare with a time; a date is all of its day. A run that has not finished is at no time finished."""
    field = fields.aliases.get(name, name)
    first_ns, end_ns = _span(name, str(token[1:-1]) if token.type == "QUOTED" else str(token))
    condition: Condition
    if op in ("==", "!="):
        inside = And((Compare(field, ">=", first_ns, fields), Compare(field, "<", end_ns, fields)))
        condition = inside if op == "==" else Not(inside)
    else:
        # Up to and after a day mean its end, before and from on its start.
        bound = end_ns if op in ("<=", ">") else first_ns
        condition = Compare(field, "<" if op.startswith("<") else ">=", bound, fields)
    return And((Compare(field, ">", 0, fields), condition)) if field == "finished_at_ns" else condition


def _span(name: str, text: str) -> tuple[int, int]:
    """First ns UTC of a day or an instant, and the ns after its last."""
    if not _DAY.fullmatch(text) and not _TIME.fullmatch(text):
        raise ConfigError(
            f"{name} is compared with a date or a time, was {text!r}. Write 2024-08-09 or 2024-08-09T12:00."
        )
    first_ns = parse_time_ns(text, name)
    end_ns = first_ns + (_DAY_NS if _DAY.fullmatch(text) else 1)
    if not -(2**63) <= first_ns < end_ns < 2**63:
        raise ConfigError(f"{name} is compared with times from 1678 to 2261, was {text!r}.")
    return first_ns, end_ns


def _depth(condition: Condition) -> int:
    """How deep it nests; the parser has built it without recursion, so it may be deep."""
    depth, level = 0, [condition]
    while level:
        depth += 1
        below: list[Condition] = []
        for part in level:
            if isinstance(part, Not):
                below.append(part.part)
            elif isinstance(part, And | Or):
                below.extend(part.parts)
        level = below
    return depth


def _unreadable(text: str, error: Any) -> str:
    """Say where a filter stops making sense, and what could be there."""
    expected = getattr(error, "expected", None) or getattr(error, "allowed", None) or set()
    if {"WORD", "QUOTED"} & expected:
        what = "a value, such as 1.5, night or 'two words'"
    elif "FIELD" in expected:
        what = "a field, such as sharpe or strategy"
    elif "OPERATOR" in expected:
        what = f"an operator: one of {', '.join(OPERATORS)}"
    else:
        before = text[: error.pos_in_stream]
        what = "and, or or ')'" if before.count("(") > before.count(")") else "and, or or the end"
    place = _place(text, error)
    return f"filter {text!r}: expected {what}, {place}. Write for example: {_EXAMPLE}"


def _place(text: str, error: Any) -> str:
    token, position = getattr(error, "token", None), error.pos_in_stream
    if (token is not None and token.type == "$END") or position is None or position >= len(text):
        return "at its end"
    return f"at {text[position : position + 20]!r} (character {position + 1})"
