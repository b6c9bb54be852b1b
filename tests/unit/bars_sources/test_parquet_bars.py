"""Parquet files of bars: the same mapping as CSV, other types, streamed row group by row group."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import parquet

from bt_framework.bars.config import Layout
from bt_framework.errors import DataError
from bt_framework.testing.bar_contracts import check_bar_source
from bt_plugins.bars.parquet import Parquet, build

START = datetime(2024, 1, 2, tzinfo=UTC)


@pytest.fixture
def write(tmp_path):
    def write(columns: dict, name: str = "A.parquet", **keys) -> str:
        parquet.write_table(pa.table(columns), tmp_path / name, **keys)
        return str(tmp_path / name)

    return write


def bars(*files: str, **keys) -> pa.Table:
    return check_bar_source(build(Parquet(files=list(files), **keys)))


def refused(*files: str) -> str:
    with pytest.raises(DataError) as error:
        list(build(Parquet(files=list(files))).tables(lambda done, total: None))
    return str(error.value)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([START, START + timedelta(days=1)], pa.timestamp("ns", tz="UTC")),
        pa.array([date(2024, 1, 2), date(2024, 1, 3)]),
        pa.array([20240102, 20240103]),
        pa.array(["2024-01-02", "2024-01-03"]).dictionary_encode(),
    ],
)
def test_times_of_every_type_are_taken(write, times):
    assert bars(write({"date": times, "close": [1.0, 2.0]}))["datetime"].to_pylist() == [
        START,
        START + timedelta(days=1),
    ]


def test_numbers_of_every_type_are_taken(write):
    columns = {
        "time": [START],
        "symbol": pa.array(["X"]).dictionary_encode(),
        "open": pa.array([1], pa.int32()),
        "high": pa.array([2.5], pa.float32()),
        "low": pa.array([Decimal("0.50")]),
        "close": [2.0],
        "volume": pa.array([10], pa.uint64()),
    }
    (row,) = bars(write(columns)).to_pylist()
    assert [row[k] for k in ("symbol", "open", "high", "low", "close", "volume")] == [
        "X",
        1.0,
        2.5,
        0.5,
        2.0,
        10.0,
    ]


def test_row_groups_are_read_one_after_the_other_and_tables_are_bounded(write):
    n = 200_000
    times = pa.array(range(n), pa.int64()).cast(pa.timestamp("s"))
    path = write({"time": times, "close": pa.array(range(n), pa.float64())}, row_group_size=30_000)
    tables = list(build(Parquet(files=[path])).tables(lambda done, total: None))
    assert max(table.num_rows for table in tables) <= 65_536
    assert pa.concat_tables(tables)["close"].to_pylist() == list(range(n))


def test_newest_first_is_sorted_and_nan_is_no_bar(write):
    days = [date(2024, 1, 4), date(2024, 1, 3), date(2024, 1, 2)]
    table = bars(write({"date": days, "close": [3.0, float("nan"), 1.0]}))
    assert table["close"].to_pylist() == [1.0, 3.0]


def test_wide_files_have_a_column_per_symbol(write):
    table = bars(write({"date": [date(2024, 1, 2)], "P": [1.0], "Q": [2]}), layout=Layout.wide)
    assert dict(zip(table["symbol"].to_pylist(), table["close"].to_pylist(), strict=True)) == {
        "P": 1.0,
        "Q": 2.0,
    }


def test_dividends_and_splits_are_corporate_actions(write):
    path = write({"date": [date(2024, 1, 2)], "close": [1.0], "dividends": [0.5], "stock splits": [2.0]})
    found = build(Parquet(files=[path])).actions().to_pylist()
    assert [(a["kind"], a["value"]) for a in found] == [("dividend", 0.5), ("split", 2.0)]


def test_wrong_files_are_named(write, tmp_path):
    text = write({"date": [date(2024, 1, 2)], "close": ["1.0"]})
    assert refused(text) == f"{text}: the column close must be numbers, was string."
    nothing = write({"date": [date(2024, 1, 2), None], "close": [1.0, 2.0]}, "B.parquet")
    assert refused(nothing) == f"{nothing}, row 2: the time is missing."
    (tmp_path / "C.parquet").write_bytes(b"PAR1 no parquet")
    assert refused(str(tmp_path / "C.parquet")).startswith(
        f"{tmp_path / 'C.parquet'} cannot be read as Parquet: "
    )


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("time", pa.array([[1]]), ": the column time must be times, numbers or texts, was list<"),
        (
            "time",
            pa.array([2**60], pa.duration("us")),
            ": the column time must be times, numbers or texts, was duration",
        ),
        ("symbol", pa.array([["A"]]), ": the column symbol must be times, numbers or texts, was list<"),
        ("symbol", pa.array([b"\xff"]), " cannot be read as Parquet: Invalid UTF8 payload."),
        ("time", pa.array([2**45], pa.timestamp("s")), ", row 1: the time 1116918-"),
        (
            "time",
            pa.array([1], pa.timestamp("ns")),
            ", row 1: the time 1970-01-01T00:00:00.000000001 is not understood",
        ),
    ],
)
def test_columns_of_other_types_are_refused(write, column, values, message):
    columns = {"time": [date(2024, 1, 2)], "symbol": ["A"], "close": [1.0]} | {column: values}
    path = write(columns)
    assert refused(path).startswith(f"{path}{message}")


def test_texts_of_every_form_are_read(write):
    columns = {"time": [b"2024-01-02"], "symbol": pa.array(["A"]).dictionary_encode(), "close": [1.0]}
    (row,) = bars(write(columns)).to_pylist()
    assert (row["symbol"], f"{row['datetime']:%Y-%m-%d}") == ("A", "2024-01-02")
