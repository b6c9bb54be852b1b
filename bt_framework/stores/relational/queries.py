"""Questions about runs, as SQL: what `bt_framework.stores.filters.matches` says in plain Python."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    and_,
    cast,
    false,
    func,
    not_,
    or_,
    select,
    true,
)

from bt_framework.results.run import Status
from bt_framework.stores.base import RunQuery
from bt_framework.stores.filters import PREFIX_FIELDS, And, Compare, Condition, Not
from bt_framework.stores.relational.run_tables import METRICS, RUN_TAGS, RUNS

_OPERATORS = {"==": "__eq__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}
_RECORD = (RUNS.c.run_id, RUNS.c.run_dir, RUNS.c.record)


_LASTING = {"run_id", "strategy", "symbol", "started_at_ns", "start_ts", "end_ts", "config_hash", "data_hash"}
_LASTING |= {"code_hash", "seed", "git_commit", "capital", "mode", "sweep_id"}
"""Fields whose value a run has from its start to its end."""


def is_lasting(query: RunQuery) -> bool:
    """Whether the answer is the same whatever has become of runs that say that they are running."""
    return _fields(query) <= _LASTING


def runs(query: RunQuery, dialect: str) -> Select[Any]:
    """Return the statement for the runs that `query` means, in order, as they were written."""
    order = _column(query.order_by)
    first = (order.desc() if query.descending else order.asc()).nulls_last()
    statement = select(*_RECORD)
    if query.where is not None:
        statement = statement.where(_where(query.where, dialect))
    if any(field in METRICS.c and field not in RUNS.c for field in _fields(query)):
        statement = statement.outerjoin_from(RUNS, METRICS, RUNS.c.run_id == METRICS.c.run_id)
    return statement.order_by(first, RUNS.c.started_at_ns.desc(), RUNS.c.run_id).limit(query.limit)


def ended_runs(query: RunQuery, dialect: str) -> Select[Any]:
    """Return the statement for those of them that have ended."""
    return runs(query, dialect).where(RUNS.c.status != str(Status.RUNNING))


def running_runs() -> Select[Any]:
    """Return the statement for the runs that say that they are running: only their processes know."""
    return select(*_RECORD).where(RUNS.c.status == str(Status.RUNNING))


def runs_by_prefix(prefix: str, limit: int) -> Select[Any]:
    """Return the statement for the runs whose id begins with `prefix`, an exact match first."""
    order = (func.length(RUNS.c.run_id), RUNS.c.started_at_ns.desc(), RUNS.c.run_id)
    return select(*_RECORD).where(_begins(RUNS.c.run_id, prefix)).order_by(*order).limit(limit)


def _column(field: str) -> Any:
    return RUNS.c[field] if field in RUNS.c else METRICS.c[field]


def _fields(query: RunQuery) -> set[str]:
    found, conditions = {query.order_by}, [query.where]
    while conditions:
        condition = conditions.pop()
        if isinstance(condition, Compare):
            found.add(condition.field)
        elif isinstance(condition, Not):
            conditions.append(condition.part)
        elif condition is not None:
            conditions.extend(condition.parts)
    return found


def _where(condition: Condition, dialect: str) -> ColumnElement[bool]:
    """Return a clause that is true or false and never null."""
    if isinstance(condition, Compare):
        return _compare(condition, dialect)
    if isinstance(condition, Not):
        return not_(_where(condition.part, dialect))
    parts = [_where(part, dialect) for part in condition.parts]
    return and_(true(), *parts) if isinstance(condition, And) else or_(false(), *parts)


def _compare(condition: Compare, dialect: str) -> ColumnElement[bool]:
    if condition.field == "tag":
        of_run = select(RUN_TAGS.c.tag).where(RUN_TAGS.c.run_id == RUNS.c.run_id)
        return _unless(condition, of_run.where(RUN_TAGS.c.tag.in_(condition.values)).exists())
    if condition.field == "symbol":
        symbol = _symbols(dialect)
        return _unless(condition, select(symbol).where(symbol.in_(condition.values)).exists())
    column = _column(condition.field)
    if condition.op in ("==", "!=", "in"):
        equal = or_(*(_equal(condition.field, column, value) for value in condition.values))
        found = _unless(condition, equal)
    else:
        found = getattr(column, _OPERATORS[condition.op])(_number(column, condition.values[0]))
    return and_(column.is_not(None), found) if column.nullable else found


def _unless(condition: Compare, clause: ColumnElement[bool]) -> ColumnElement[bool]:
    return not_(clause) if condition.op == "!=" else clause


def _equal(field: str, column: Any, value: Any) -> ColumnElement[bool]:
    if field in PREFIX_FIELDS and value:
        return _begins(column, value)
    found: ColumnElement[bool] = column == (value if isinstance(value, str) else _number(column, value))
    return found


def _begins(column: Any, prefix: str) -> ColumnElement[bool]:
    """Compare with a part of the column: LIKE has wildcards, and SQLite's ignores case. The bound uses the index."""
    return and_(column >= prefix, func.substr(column, 1, len(prefix)) == prefix)


def _number(column: Any, value: Any) -> Any:
    """Return a number to compare with: of whole numbers those beyond 2^53 are compared exactly, too."""
    if isinstance(column.type, Double):
        return float(value)
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**63
    return int(value) if is_whole else value


def _symbols(dialect: str) -> ColumnElement[Any]:
    """Return the column of the run's instruments, one row each, out of the JSON array."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import JSONB

        return func.jsonb_array_elements_text(cast(RUNS.c.symbols, JSONB)).column_valued("symbol")
    return func.json_each(RUNS.c.symbols).table_valued("value").c.value
