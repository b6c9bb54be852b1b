"""What every source of bars must hold; call from a test of your own.

::

    from bt_framework.testing.bar_contracts import check_bar_source

    def test_my_source_keeps_the_contract():
        check_bar_source(build(MySource(files=["small.csv"])))
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bt_framework.bars.schema import ACTION_SCHEMA, BAR_SCHEMA
from bt_framework.bars.source import BarSource

MAX_ROWS = 1_000_000
"""Largest table that still counts as bounded."""


def check_bar_source(source: BarSource, *, repeatable: bool = True) -> pa.Table:
    """Read all bars of a source and its corporate actions, and look at them.

    Parameters
    ----------
    source : BarSource
        With little data.
    repeatable : bool
        Whether it must give the same bars a second time; a stream need not.

    Returns
    -------
    pa.Table
        The bars, in the order in which they came.

    Raises
    ------
    AssertionError
        If it breaks the contract; the message says how.
    """
    assert source.name, "a source must have a name"
    bars = _read(source)
    if repeatable:
        findings = dict(source.findings)
        assert _read(source).equals(bars), "a source must give the same bars every time"
        assert source.findings == findings, (
            f"findings must begin anew, were {findings}, then {source.findings}"
        )
    _check_actions(source.actions())
    for reason, count in source.findings.items():
        assert isinstance(reason, str), f"findings must be counted by reason, was {reason!r}"
        assert count > 0, f"findings must be > 0, was {count} for {reason!r}"
    return bars


def _read(source: BarSource) -> pa.Table:
    """All bars; each table is looked at as it comes."""
    calls: list[tuple[int, int]] = []
    last: dict[str, int] = {}
    tables = [BAR_SCHEMA.empty_table()]
    for table in source.tables(lambda done, total: calls.append((done, total))):
        assert table.schema.equals(BAR_SCHEMA), f"a table must have BAR_SCHEMA, had {table.schema}"
        assert table.num_rows <= MAX_ROWS, (
            f"a table must have at most {MAX_ROWS:,} rows, had {table.num_rows:,}"
        )
        _check_values(table)
        _check_order(table, last)
        tables.append(table)
    for before, after in pairwise(calls):
        assert before[0] <= after[0], f"progress must not go back, went from {before[0]} to {after[0]}"
    for done, total in calls:
        assert total == 0 or 0 <= done <= total, f"progress must lie between 0 and {total}, was {done}"
    return pa.concat_tables(tables).combine_chunks()


def _check_values(table: pa.Table) -> None:
    for field in BAR_SCHEMA:
        column = table[field.name]
        assert field.nullable or not column.null_count, f"{field.name} must not be null"
        if pa.types.is_floating(field.type):
            finite = pc.all(pc.is_finite(column)).as_py()
            assert finite is not False, f"{field.name} must be finite, a missing value null"
    assert pc.all(pc.not_equal(table["symbol"], "")).as_py() is not False, "a symbol must have a name"
    assert pc.all(pc.equal(table["adj_factor"], 1.0)).as_py() is not False, "bars must be raw: adj_factor 1"
    assert pc.all(pc.equal(table["outlier_flag"], 0)).as_py() is not False, "bars must be raw: outlier_flag 0"


def _check_order(table: pa.Table, last: dict[str, int]) -> None:
    """Each symbol's bars come in order of time; `last` is its newest one so far, us."""
    symbols = np.array(table["symbol"].to_pylist(), object)
    times = table["datetime"].cast(pa.int64()).to_numpy()
    for symbol in table["symbol"].unique().to_pylist():
        own = times[symbols == symbol]
        assert np.all(np.diff(own) > 0), f"{symbol}'s bars must come in order of time, each once"
        if symbol in last:
            assert own[0] > last[symbol], f"{symbol}'s bars must come in order of time from table to table"
        last[symbol] = int(own[-1])


def _check_actions(actions: pa.Table) -> None:
    assert actions.schema.equals(ACTION_SCHEMA), f"actions must have ACTION_SCHEMA, had {actions.schema}"
    for name in ACTION_SCHEMA.names:
        assert not actions[name].null_count, f"{name} of actions must not be null"
    kinds = set(actions["kind"].to_pylist())
    assert kinds <= {"split", "dividend"}, f"kind must be split or dividend, was {kinds}"
    assert pc.all(pc.greater(actions["value"], 0.0)).as_py() is not False, "values of actions must be > 0"
