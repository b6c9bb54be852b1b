"""The contract suite finds what is wrong with a source of bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from bt_framework.bars.building import raw_bars
from bt_framework.bars.config import BarSourceConfig
from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.bars.source import BarSource, Progress
from bt_framework.testing.bar_contracts import check_bar_source


def bars(*days: int, symbol: str = "A") -> pa.Table:
    return raw_bars(symbol, np.array(days, np.int64) * 86_400_000_000, {"close": np.array(days, float)})


def with_column(name: str, values: list) -> pa.Table:
    table = bars(1, 2)
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))


class Given(BarSource):
    """Hands out what it is given."""

    def __init__(self, *tables: pa.Table, actions: pa.Table | None = None, name: str = "given") -> None:
        self.config = BarSourceConfig(name=name)
        self._tables, self._actions = tables, actions

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        yield from self._tables

    def actions(self) -> pa.Table:
        return super().actions() if self._actions is None else self._actions


class Changing(Given):
    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        self._tables = (*self._tables, bars(9))
        yield from self._tables[1:]


class Counting(Given):
    def __init__(self, table: pa.Table, count: Callable[[BarSource], None]) -> None:
        super().__init__(table)
        self._count = count

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        self._count(self)
        yield from super().tables(progress)


class Progressing(Given):
    def __init__(self, *calls: tuple[int, int]) -> None:
        super().__init__(bars(1))
        self._calls = calls

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        for call in self._calls:
            progress(*call)
        yield from super().tables(progress)


def action(kind: str, value: float) -> pa.Table:
    return pa.table([["A"], [date(2024, 1, 2)], [kind], [value]], schema=ACTION_SCHEMA)


def test_a_source_that_keeps_the_contract_passes():
    table = pa.concat_tables([bars(1, 2), bars(1, 2, symbol="B"), with_column("open", [None, 1.0])])
    source = Given(table.slice(0, 4), bars(3), actions=action("split", 2.0))
    assert check_bar_source(source).num_rows == 5
    assert check_bar_source(Progressing((0, 0), (5, 10), (10, 10))).num_rows == 1
    assert check_bar_source(Given()).num_rows == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Given(name=""), "a source must have a name"),
        (Given(bars(1).drop_columns(["volume"])), "a table must have BAR_SCHEMA"),
        (Given(bars(*range(1_000_001))), "a table must have at most 1,000,000 rows"),
        (Given(with_column("close", [1.0, np.nan])), "close must be finite, a missing value null"),
        (Given(with_column("high", [1.0, np.inf])), "high must be finite, a missing value null"),
        (Given(with_column("symbol", ["A", None])), "symbol must not be null"),
        (Given(with_column("symbol", ["A", ""])), "a symbol must have a name"),
        (Given(with_column("adj_factor", [1.0, 0.5])), "bars must be raw: adj_factor 1"),
        (Given(with_column("outlier_flag", [0, 1])), "bars must be raw: outlier_flag 0"),
        (Given(bars(2, 1)), "A's bars must come in order of time, each once"),
        (Given(bars(1, 1)), "A's bars must come in order of time, each once"),
        (Given(bars(1, 2), bars(2, 3)), "A's bars must come in order of time from table to table"),
        (Changing(), "a source must give the same bars every time"),
        (Counting(bars(1), lambda s: s.findings.update(["odd"])), "findings must begin anew"),
        (
            Counting(bars(1), lambda s: s.findings.update({"none": 0})),
            "findings must be > 0, was 0 for 'none'",
        ),
        (Progressing((5, 10), (4, 10)), "progress must not go back, went from 5 to 4"),
        (Progressing((11, 10)), "progress must lie between 0 and 10, was 11"),
        (Given(actions=action("spin-off", 2.0)), "kind must be split or dividend, was {'spin-off'}"),
        (Given(actions=action("split", 0.0)), "values of actions must be > 0"),
        (Given(actions=bars(1)), "actions must have ACTION_SCHEMA"),
    ],
)
def test_what_breaks_the_contract_is_found(source, message):
    with pytest.raises(AssertionError) as error:
        check_bar_source(source)
    assert str(error.value).startswith(message)
