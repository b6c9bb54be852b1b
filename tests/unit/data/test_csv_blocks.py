"""Text becomes columns of numbers: exactly, whatever the size of a block, or with a line to look at."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bt_framework.data import _csv, csv_blocks
from bt_framework.data.csv_blocks import DECIMAL, OPTIONAL_DECIMAL, SECONDS, WHOLE, Column
from bt_framework.data.source import FeedReport
from bt_framework.errors import DataError

COLUMNS = [
    Column("id", WHOLE),
    Column("note"),
    Column("time", SECONDS),
    Column("px", DECIMAL),
    Column("ask", OPTIONAL_DECIMAL),
    Column("side", ("buy", "sell")),
]
NAMES = [column.name for column in COLUMNS]
GOOD = "7,any,1.5,0.25,,buy"


def read(text: str | bytes, folder: Path, **options: int) -> tuple[dict[str, list[float]], FeedReport]:
    path = folder / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    report = FeedReport()
    table: dict[str, list[float]] = {name: [] for name in [*NAMES, "line"]}

    def columns_of(_: Path, names: list[str]) -> list[Column]:
        assert names == NAMES
        return COLUMNS

    for block in csv_blocks.csv_blocks(path, columns_of, report, **options):
        for name in NAMES:
            table[name] += block[name].tolist()
        table["line"] += block.lines.tolist()
    return table, report


def text_of(*lines: str) -> str:
    return "\n".join([",".join(NAMES), *lines]) + "\n"


def test_each_kind_of_column_is_read(tmp_path: Path) -> None:
    table, report = read(text_of(GOOD, "8,,1585180700.064712345,1e-7,3.5,sell"), tmp_path)
    assert table["id"] == [7, 8]
    assert table["time"] == [1_500_000_000, 1_585_180_700_064_712_345]
    assert table["px"] == [0.25, 1e-7]
    assert np.isnan(table["ask"][0])
    assert table["ask"][1] == 3.5
    assert table["side"] == [0, 1]
    assert table["line"] == [2, 3]
    assert (report.rows_read, report.dropped) == (2, {})


def test_windows_line_ends_blank_lines_and_a_missing_last_end_are_accepted(tmp_path: Path) -> None:
    table, report = read(text_of(GOOD, "", GOOD).replace("\n", "\r\n").rstrip(), tmp_path)
    assert table["line"] == [2, 4]
    assert report.rows_read == 2


@given(
    st.one_of(
        st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=8).map(str),
        st.from_regex(r"[0-9]{1,20}(\.[0-9]{0,25})?([eE]-?[0-9]{1,2})?", fullmatch=True),
    )
)
@example("9007199254740993")
@example("0.30000000000000004")
@example("97257876514.7237606")
def test_every_decimal_is_correctly_rounded(tmp_path_factory: pytest.TempPathFactory, number: str) -> None:
    table, _ = read(text_of(GOOD.replace("0.25", number)), tmp_path_factory.getbasetemp())
    assert table["px"] == [float(number)]


@given(st.integers(0, 9 * 10**18), st.integers(0, 9))
def test_every_time_is_exact(tmp_path_factory: pytest.TempPathFactory, ns: int, places: int) -> None:
    ns -= ns % 10 ** (9 - places)
    seconds = f"{Decimal(ns).scaleb(-9):.{places}f}"
    table, _ = read(text_of(GOOD.replace("1.5", seconds)), tmp_path_factory.getbasetemp())
    assert table["time"] == [ns]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("7,", "x,", "id must be a whole number, was 'x'"),
        ("7,", ",", "id must be a whole number, was ''"),
        ("7,", "9223372036854775808,", "id must be a whole number, was '9223372036854775808'"),
        ("1.5", "-1", "time must be seconds since 1970, was '-1'"),
        ("0.25", "", "px must be a number >= 0, was ''"),
        ("0.25", "-0.25", "px must be a number >= 0, was '-0.25'"),
        ("0.25", "nan", "px must be a number >= 0, was 'nan'"),
        ("buy", "Buy", "side must be buy or sell, was 'Buy'"),
        ("buy", "buyer", "side must be buy or sell, was 'buyer'"),
        (",buy", "", "it must have 6 fields, has 5"),
        (",buy", ",buy,1", "it must have 6 fields, has 7"),
    ],
)
def test_a_malformed_line_is_named_with_its_reason(tmp_path: Path, old: str, new: str, why: str) -> None:
    text = text_of(GOOD, GOOD.replace(old, new, 1), GOOD)
    with pytest.raises(DataError) as error:
        read(text, tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'a.csv'} line 3 is malformed: {why}. data.max_malformed")
    table, report = read(text, tmp_path, max_malformed_lines=1)
    assert table["line"] == [2, 4]
    assert (report.dropped, report.rows_read) == ({"malformed": 1}, 3)
    assert report.first_dropped == {"malformed": f"{tmp_path / 'a.csv'} line 3"}


def test_bytes_that_are_no_text_are_malformed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3 is malformed: it is no UTF-8"):
        read(text_of(GOOD).encode() + b'7,\xff"\x80,x\n', tmp_path)


@pytest.mark.parametrize(("rows", "n_bytes"), [(1, 1), (7, 100), (64, 1 << 18)])
def test_blocks_of_any_size_hold_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, n_bytes: int
) -> None:
    lines = [f"{i},,1.{i},{i / 8},{i}e1,{'buy' if i % 3 else 'sell'}" for i in range(150)]
    lines[50] = "broken"
    expected, expected_report = read(text_of(*lines), tmp_path, max_malformed_lines=1)
    monkeypatch.setattr(csv_blocks, "_ROWS_PER_BLOCK", rows)
    monkeypatch.setattr(csv_blocks, "_BYTES_PER_BLOCK", n_bytes)
    table, report = read(text_of(*lines), tmp_path, max_malformed_lines=1)
    assert table == expected
    assert report == expected_report
    assert len(table["id"]) == 149


def test_the_kernel_agrees_with_its_plain_form() -> None:
    text = np.frombuffer(
        text_of(GOOD, "8,,2.5,1.125,3.5,sell", "9,,x,1,1,buy").partition("\n")[2].encode(), np.uint8
    )
    table, words = csv_blocks._tables(COLUMNS)
    results = []
    for function in (_csv.parse_lines, _csv.parse_lines.py_func):
        whole, decimal = np.zeros((6, 8), np.int64), np.zeros((6, 8))
        lines, cursor = np.zeros(8, np.int64), np.zeros(1, _csv.CURSOR)
        status = function(text, table, words, whole, decimal, lines, cursor)
        results.append(
            (status, whole.tolist(), np.nan_to_num(decimal).tolist(), lines.tolist(), cursor.tolist())
        )
    assert results[0] == results[1]
    assert results[0][0] == _csv.ParseStatus.NOT_UNDERSTOOD
    assert results[0][4] == [(len(GOOD) + 1 + 22, len(text), 2, 2)]
