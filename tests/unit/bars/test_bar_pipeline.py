"""From a source to the store and back: what is refused, what is told, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bt_framework.bars.actions import Adjustment, adjusted
from bt_framework.bars.building import raw_bars
from bt_framework.bars.config import BarSourceConfig, MissingBars
from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.bars.source import BarSource, Progress
from bt_framework.bars.store import BarStore
from bt_framework.errors import ConfigError, DataError, StorageError
from bt_framework.research import _spool
from bt_framework.research.pipeline import PipelineReport, RefusedBars, ingest_bars
from bt_framework.stores.research import ResearchStore

MIN_NS, DAY_NS = 60_000_000_000, 86_400_000_000_000
START_US = 1_704_067_200_000_000


def nothing(done: int, total: int) -> None:
    """Report no progress."""


class Listed(BarSource):
    """The tables that it is given."""

    def __init__(self, *tables: pa.Table, actions: list[dict] | None = None, **options: Any) -> None:
        self.config = BarSourceConfig(name="listed", **options)
        self._tables = tables
        self._actions = actions or []

    def tables(self, progress: Progress) -> Iterator[pa.Table]:
        yield from self._tables

    def actions(self) -> pa.Table:
        return pa.Table.from_pylist(self._actions, schema=ACTION_SCHEMA)


def minutes(symbol: str, at: list[int], step_ns: int = MIN_NS, **values: list[float]) -> pa.Table:
    values = values or {"close": [10.0 + i for i in at]}
    arrays = {name: np.asarray(column, float) for name, column in values.items()}
    return raw_bars(symbol, START_US + np.asarray(at) * (step_ns // 1_000), arrays)


def ingest(folder: Path, *tables: pa.Table, **options: Any) -> PipelineReport:
    return ingest_bars(Listed(*tables, **options), folder, nothing)


def changes(report: PipelineReport) -> list[str]:
    return [symbol.change for symbol in report.symbols]


def test_bars_are_stored_as_they_came_and_symbols_are_registered(tmp_path):
    a, b = minutes("A", list(range(20))), minutes("B", list(range(5, 9)))
    report = ingest(tmp_path, a.slice(0, 7), b, a.slice(7))
    assert BarStore(tmp_path / "bars").read("listed").equals(pa.concat_tables([a, b]))
    assert (report.interval_ns, report.new_symbols, report.stored) == (MIN_NS, ("A", "B"), True)
    assert [(row.bars, row.missing, row.grade, row.change) for row in report.symbols] == [
        (20, 0, "ok", "new"),
        (4, 0, "ok", "new"),
    ]
    assert ResearchStore.in_folder(tmp_path).symbols("listed") == ["A", "B"]


def test_doing_it_again_changes_nothing_and_says_what_changed_otherwise(tmp_path):
    a = minutes("A", list(range(20)))
    ingest(tmp_path, a, minutes("B", [0, 1]))
    files = sorted(tmp_path.rglob("*.parquet"))
    again = ingest(tmp_path, a, minutes("B", [0, 1]))
    assert (changes(again), again.new_symbols) == (["same", "same"], ())
    assert sorted(tmp_path.rglob("*.parquet")) == files
    other = minutes("A", [*range(1, 22)], close=[99.0, *range(12, 32)])
    report = ingest(tmp_path, other)
    assert (changes(report), report.kept_symbols) == (["2 added, 1 changed, 1 removed"], 1)
    assert BarStore(tmp_path / "bars").symbols("listed") == ["A", "B"]


def test_what_does_not_fit_into_memory_gives_the_same(tmp_path, monkeypatch):
    tables = [minutes(symbol, list(range(at, at + 10))) for at in range(0, 100, 10) for symbol in "CAB"]
    ingest(tmp_path / "one", *tables)
    monkeypatch.setattr(_spool, "HELD_ROWS", 35)
    monkeypatch.setattr("bt_framework.research.pipeline._ROWS_AT_ONCE", 120)
    monkeypatch.setattr("bt_framework.bars._writer.FLUSH_ROWS", 50)
    report = ingest(tmp_path / "two", *tables)
    one, two = (BarStore(tmp_path / name / "bars").read("listed") for name in ("one", "two"))
    assert one.equals(two)
    assert [row.bars for row in report.symbols] == [100] * 3


def test_every_refused_symbol_is_named_and_nothing_is_stored(tmp_path):
    ingest(tmp_path, minutes("A", [0, 1, 2]))
    crossed = minutes("D", [0, 1], close=[1.0, 1.0], high=[1.0, 0.5], low=[1.0, 0.7], open=[1.0, 0.6])
    with pytest.raises(RefusedBars) as caught:
        ingest(
            tmp_path,
            minutes("A", [0, 1, 2, 3]),
            minutes("B", [0, 1, 1, 2]),
            minutes("C", [0, 2, 1]),
            crossed,
            minutes("E", [0, 1], close=[float("nan")] * 2),
        )
    assert str(caught.value) == (
        "4 of 5 symbols of listed are refused, and nothing is stored."
        " bars of listed: B has two bars at 2024-01-01 00:01:00. Remove one of them."
        " bars of listed: C has the bar of 2024-01-01 00:01:00 after that of 2024-01-01 00:02:00. Sort the bars by"
        " time."
        " bars of listed: D has a high of 0.5 below the low of 0.7 at 2024-01-01 00:01:00+00:00. Correct or remove the"
        " bar. E has no close in any of its 2 bars."
    )
    assert [row.grade for row in caught.value.report.symbols] == ["ok", *["refused"] * 4]
    assert BarStore(tmp_path / "bars").read("listed").num_rows == 3


def test_doubtful_bars_are_stored_and_counted(tmp_path):
    values = {
        "open": [1.0, 9.0, -1.0],
        "high": [2.0, 2.0, 2.0],
        "low": [0.5, 0.5, -2.0],
        "close": [1.0, 3.0, 1.0],
    }
    (row,) = ingest(tmp_path, minutes("A", [0, 1, 2], **values)).symbols
    assert (row.inconsistent, row.not_positive, row.grade) == (1, 1, "doubtful")


def test_a_source_without_bars_is_refused(tmp_path):
    for tables in ((), (minutes("A", [0]).slice(1),)):
        with pytest.raises(DataError) as caught:
            ingest(tmp_path, *tables)
        assert str(caught.value) == "source listed has no bars. Look at the files and keys it was given."


def test_one_bar_says_nothing_of_the_interval(tmp_path):
    with pytest.raises(DataError, match=r"source listed has one bar per symbol.* Give bars\.interval_ns=1d"):
        ingest(tmp_path, minutes("A", [0]))
    assert ingest(tmp_path, minutes("A", [0]), interval_ns=DAY_NS).interval_ns == DAY_NS


def test_the_interval_is_the_most_frequent_distance(tmp_path):
    report = ingest(tmp_path, minutes("A", [0, 5, 10, 15, 16, 21]), minutes("B", [0, 1, 2]))
    assert report.interval_ns == 5 * MIN_NS
    assert [row.unexpected for row in report.symbols] == [1, 2]


SPLIT = {"symbol": "A", "ex_date": date(2024, 1, 3), "kind": "split", "value": 2.0}


def daily(symbol: str = "A", days: tuple[int, ...] = (0, 1, 2, 3)) -> pa.Table:
    return minutes(symbol, list(days), DAY_NS, close=[20.0, 21.0, 10.0, 11.0][: len(days)])


def test_actions_set_the_factors_and_are_registered(tmp_path):
    report = ingest(tmp_path, daily(), actions=[SPLIT])
    stored = BarStore(tmp_path / "bars").read("listed")
    assert stored["adj_factor"].to_pylist() == [0.5, 0.5, 1.0, 1.0]
    assert adjusted(stored, Adjustment.backward)["close"].to_pylist() == [10.0, 10.5, 10.0, 11.0]
    assert (report.symbols[0].actions, report.symbols[0].recovery_error) == (1, 0.0)
    assert ResearchStore.in_folder(tmp_path).actions(source="listed").to_pylist() == [SPLIT]


def test_a_file_of_actions_takes_the_place_of_the_source_s_for_its_symbols(tmp_path):
    path = tmp_path / "actions.csv"
    path.write_text("symbol,ex_date,kind,value\nA,2024-01-03,split,4\n")
    other = SPLIT | {"symbol": "B"}
    ingest(tmp_path, daily(), daily("B"), actions=[SPLIT, other], actions_file=str(path))
    stored = BarStore(tmp_path / "bars").read("listed")["adj_factor"].to_pylist()
    assert stored == [0.25, 0.25, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0]


def test_an_action_of_an_unknown_symbol_is_refused(tmp_path):
    path = tmp_path / "actions.csv"
    path.write_text("symbol,ex_date,kind,value\nAAPL,2024-01-03,split,4\n")
    with pytest.raises(DataError) as caught:
        ingest(tmp_path, daily("APPL"), actions_file=str(path))
    assert str(caught.value) == (
        f"a symbol of the corporate actions {path} must be one of APPL, was 'AAPL'. Did you mean 'APPL'?"
    )


def test_an_ex_date_without_a_price_is_refused_even_if_the_day_would_be_filled(tmp_path):
    for options in ({}, {"missing": MissingBars.ffill, "calendar": "24/7"}):
        with pytest.raises(
            RefusedBars, match="A has no price on the ex-date 2024-01-03: the bars around it are of"
        ):
            ingest(tmp_path, daily(days=(0, 1, 3)), actions=[SPLIT], interval_ns=DAY_NS, **options)


def test_an_unknown_calendar_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"calendar must be one of .* The nearest are XNYS"):
        ingest(tmp_path, daily(), calendar="XNYX")


def test_days_that_a_calendar_expects_are_filled(tmp_path):
    (row,) = ingest(tmp_path, daily(days=(0, 1, 3)), missing=MissingBars.ffill, calendar="24/7").symbols
    assert (row.bars, row.missing, row.filled) == (4, 1, 1)


def interrupting(times: int) -> Callable[[int, int], None]:
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == times:
            raise KeyboardInterrupt

    return progress


def test_ctrl_c_leaves_the_store_as_it_was(tmp_path):
    ingest(tmp_path, minutes("A", [0, 1]))
    files = sorted(tmp_path.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        ingest_bars(Listed(minutes("A", [0, 1, 2]), minutes("B", [0, 1])), tmp_path, interrupting(2))
    assert sorted(tmp_path.rglob("*")) == files
    assert BarStore(tmp_path / "bars").read("listed").num_rows == 2


def test_what_is_read_back_must_be_what_was_written(tmp_path, monkeypatch):
    read = BarStore.read

    def damaged(self, *args, **options):
        table = read(self, *args, **options)
        return table.slice(0, table.num_rows - 1)

    monkeypatch.setattr(BarStore, "read", damaged)
    with pytest.raises(StorageError, match=r"the bars of B that .* gives are not those that were written"):
        ingest(tmp_path, minutes("A", [0, 1]), minutes("B", [0, 1]))


def test_the_report_is_plain_json(tmp_path):
    report = ingest(tmp_path, minutes("A", [0, 1])).as_json()
    assert report["symbols"][0]["grade"] == "ok"
    assert report["findings"] == {}
