"""CSV files of bars: what their columns are, in which order they come, and what is said of wrong ones."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.bars.config import Layout
from bt_framework.errors import ConfigError, DataError
from bt_framework.testing.bar_contracts import check_bar_source
from bt_plugins.bars.csv import Csv, build

FULL = "Date,Open,High,Low,Close,Volume\n2024-01-02,1,3,0.5,2,10\n2024-01-03,2,4,1.5,3,20\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "A.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def rows(*files: str, **keys) -> list[tuple]:
    """Symbol, day and numbers of every bar, in the order of the tables."""
    table = check_bar_source(build(Csv(files=list(files), **keys)))
    columns = ("symbol", "datetime", "open", "high", "low", "close", "volume")
    found = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return [(symbol, str(time)[:16], *numbers) for symbol, time, *numbers in found]


def closes(*files: str, **keys) -> list[tuple[str, str, float]]:
    return [(row[0], row[1][:10], row[5]) for row in rows(*files, **keys)]


def refused(*files: str, **keys) -> str:
    with pytest.raises(DataError) as error:
        list(build(Csv(files=list(files), **keys)).tables(lambda done, total: None))
    return str(error.value)


BOTH = [
    ("A", "2024-01-02 00:00", 1.0, 3.0, 0.5, 2.0, 10.0),
    ("A", "2024-01-03 00:00", 2.0, 4.0, 1.5, 3.0, 20.0),
]


def test_columns_are_found_by_their_usual_names(write):
    assert rows(write(FULL)) == BOTH


def test_a_packed_file_with_a_byte_order_mark_and_dos_lines_is_the_same(write):
    text = "\ufeff" + FULL.replace("\n", "\r\n")
    assert rows(write(gzip.compress(text.encode()), "A.csv.gz")) == BOTH


def test_a_file_without_a_line_of_names_is_given_them(write):
    body = FULL.partition("\n")[2].replace(",", ";")
    names = ["time", "open", "high", "low", "close", "volume"]
    assert rows(write(body), names=names, delimiter=";") == BOTH


def test_a_file_with_times_and_closes_only_has_no_volumes_and_the_close_for_every_price(write):
    assert rows(write("day,px\n20240102,2\n"), columns={"time": "day", "close": "px"}) == [
        ("A", "2024-01-02 00:00", 2.0, 2.0, 2.0, 2.0, None)
    ]


def test_a_column_with_an_empty_name_is_not_read(write):
    assert rows(write(FULL), columns={"volume": "", "open": ""})[0][2:] == (2.0, 3.0, 0.5, 2.0, None)


def test_newest_first_and_shuffled_files_are_sorted(write):
    lines = FULL.splitlines()
    assert rows(write("\n".join([lines[0], lines[2], lines[1]]) + "\n")) == BOTH


def test_files_of_one_symbol_follow_each_other_whatever_their_order(write):
    lines = FULL.splitlines()
    later = write(f"{lines[0]}\n{lines[2]}\n", "a.csv")
    earlier = write(f"{lines[0]}\n{lines[1]}\n", "b.csv")
    assert rows(later, earlier, symbols=["A"]) == BOTH


def test_a_folder_and_a_pattern_are_their_files(write, tmp_path):
    write(FULL, "A.csv")
    write(FULL, "B.txt")
    write("no bars", "notes.md")
    write("no bars", ".hidden.csv")
    assert {row[0] for row in rows(str(tmp_path))} == {"A", "B"}
    assert {row[0] for row in rows(str(tmp_path / "?.csv"))} == {"A"}


def test_links_that_lead_out_of_a_folder_are_left_out(write, tmp_path):
    outside = Path(write(FULL, "secret.csv"))
    folder = tmp_path / "bars"
    folder.mkdir()
    (folder / "A.csv").write_text(FULL)
    (folder / "B.csv").symlink_to(outside)
    for name in (str(folder), str(folder / "*.csv")):
        assert {row[0] for row in rows(name)} == {"A"}


def test_symbols_come_from_a_column_the_key_or_the_name(write):
    long = "Date,Ticker,Close\n2024-01-02,X,1\n2024-01-02,Y,2\n2024-01-03,X,3\n"
    assert closes(write(long)) == [
        ("X", "2024-01-02", 1.0),
        ("Y", "2024-01-02", 2.0),
        ("X", "2024-01-03", 3.0),
    ]
    one, two = write(FULL, "bars_A_1d.csv"), write(FULL, "bars_B_1d.csv")
    assert {row[0] for row in rows(one, two, file_name="bars_{symbol}_1d")} == {"A", "B"}
    assert {row[0] for row in rows(one, two, symbols=["P", "Q"])} == {"P", "Q"}


def test_a_row_without_a_close_is_no_bar_and_is_counted(write):
    source = build(
        Csv(files=[write("Date,Close\n2024-01-02,1\n2024-01-03,NaN\n2024-01-04,\n2024-01-05,2\n")])
    )
    (table,) = source.tables(lambda done, total: None)
    assert table["close"].to_pylist() == [1.0, 2.0]
    assert source.findings == {"rows without a close": 2}


def test_a_missing_open_or_volume_stays_missing(write):
    assert rows(write("Date,Open,Close,Volume\n2024-01-02,null,1,\n"))[0][2:] == (None, 1.0, 1.0, 1.0, None)


WIDE = "Date,P,Q\n2024-01-02,1,\n2024-01-03,2,5\n"


def test_a_wide_file_has_a_column_of_closes_per_symbol(write):
    found = closes(write(WIDE), layout=Layout.wide)
    assert sorted(found) == [("P", "2024-01-02", 1.0), ("P", "2024-01-03", 2.0), ("Q", "2024-01-03", 5.0)]


def test_a_wide_file_may_have_its_symbols_elsewhere(write):
    numbered = write(WIDE.replace("Date,P,Q", "Var1,Var2,Var3"))
    expected = {"X", "Y"}
    for text in ("s1,s2\nX,Y\n", "X,Y\n", "X\nY\n", "symbol\nX\nY\n"):
        keys = {"layout": Layout.wide, "symbols_file": write(text, "symbols.csv")}
        assert {row[0] for row in rows(numbered, **keys)} == expected
    assert {row[0] for row in rows(numbered, layout=Layout.wide, symbols=["X", "Y"])} == expected
    assert refused(numbered, layout=Layout.wide, symbols=["X"]) == (
        f"{numbered} has 2 columns beside the time, bars.symbols names 1 different symbols. Name each once, in the"
        " order of the columns."
    )


def test_dividends_and_splits_are_corporate_actions(write):
    text = "Date,Close,Ex-Dividend,Split Ratio\n2024-01-03,2,0.5,1.0\n2024-01-02,1,0.0,7.0\n2024-01-01,1,,0\n"
    assert build(Csv(files=[write(text)])).actions().to_pylist() == [
        {"symbol": "A", "ex_date": date(2024, 1, 2), "kind": "split", "value": 7.0},
        {"symbol": "A", "ex_date": date(2024, 1, 3), "kind": "dividend", "value": 0.5},
    ]


def test_a_file_of_dividends_beside_one_of_prices_has_no_bars(write):
    prices = write(FULL, "prices.csv")
    dividends = write("Date,Dividends\n2024-01-03 00:00:00-05:00,0.25\n", "dividends.csv")
    source = build(Csv(files=[prices, dividends], symbols=["A"]))
    assert check_bar_source(source).num_rows == 2
    assert source.actions()["value"].to_pylist() == [0.25]
    assert "bars.files has no file with a column of closes" in refused(dividends)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40, unique=True), st.booleans())
def test_any_order_of_lines_gives_the_same_bars(tmp_path_factory, seconds, two_symbols):
    path = tmp_path_factory.mktemp("any") / "A.csv"
    names = ["P", "Q"] if two_symbols else ["P"]
    lines = [f"{second},{name},{second / 7}" for second in seconds for name in names]
    path.write_text("\n".join(["time,symbol,close", *lines]) + "\n")
    table = check_bar_source(build(Csv(files=[str(path)], time_format="s")))
    for name in names:
        own = table.filter(pa.compute.equal(table["symbol"], name))
        assert own["close"].to_pylist() == [second / 7 for second in sorted(seconds)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Date,Close\n2024-01-02,1\n2024-01-03,x\n", "{}, line 3: Close must be a number, was 'x'."),
        ("Date,Close\n2024-01-02,1\n2024-01-03\n", "{}, line 3 must have 2 fields, has 1."),
        (
            "Date,Close\n2024-01-02,1\nsoon,2\n",
            "{}, line 3: the time 'soon' is not understood; set bars.time_format.",
        ),
        ("Date,Close\n2024-01-02,1\n,2\n", "{}, line 3: the time is missing."),
        ("Date,Close\n2024-01-02,inf\n", "{}, line 2: Close must be finite, was inf."),
        ("Date,Symbol,Close\n2024-01-02,,1\n", "{}, line 2: the symbol is missing."),
        ("", "{} is empty. Fetch it again, or leave it out of bars.files."),
        ("Date,Close\n", "{} holds no bar. Fetch it again, or leave it out of bars.files."),
        ("Date,Close\n2024-01-02,\n", "{} holds no bar. Fetch it again, or leave it out of bars.files."),
        ("Date,Close,Close\n2024-01-02,1,2\n", "{} has two columns 'Close'. Rename one of them."),
        (
            "Date,Time,Close\n2024-01-02,09:30,1\n",
            "{}: the time may be 'Date' or 'Time'. Say which with bars.columns.time=NAME.",
        ),
        (
            "Date,px\n2024-01-02,1\n",
            "{} has no column that is the close. Name it with bars.columns.close=NAME. The columns are Date, px.",
        ),
        (
            "Date,Close\n2024-01-03,1\n2024-01-02,1\n2024-01-03,2\n",
            "{}: A has two bars at 2024-01-03 00:00:00. Remove one of them.",
        ),
    ],
)
def test_a_wrong_file_is_named_with_its_line(write, text, message):
    path = write(text)
    assert refused(path) == message.format(path)


def test_bytes_that_are_no_text_are_an_error_that_names_the_file(write):
    for content, name in ((b"Date,Close\n2024-01-02,1\n\xff\xfe,2\n", "A.csv"), (b"no gzip", "A.csv.gz")):
        path = write(content, name)
        assert refused(path).startswith(f"{path} cannot be read as CSV: ")


def test_a_line_that_is_wrong_far_into_a_file_is_named(write):
    lines = [f"{second},1.5" for second in range(400_000)]
    lines[399_500] = "399500,1,5"
    path = write("time,close\n" + "\n".join(lines))
    assert refused(path, time_format="s") == f"{path}, line 399502 must have 2 fields, has 3."
    lines[399_500] = "399500x,1.5"
    write("time,close\n" + "\n".join(lines))
    assert refused(path, time_format="s").startswith(
        f"{path}, line 399502: the time '399500x' is not understood"
    )


def test_files_that_overlap_are_refused(write):
    first, second = write(FULL, "a.csv"), write(FULL.replace("2024-01-02", "2024-01-04"), "b.csv")
    assert refused(first, second, symbols=["A"]) == (
        f"{second} begins with A at 2024-01-03 00:00:00, but {first} goes on until 2024-01-03 00:00:00. Remove the bars"
        " that are in both, or one of the files."
    )


def test_files_that_are_not_there_or_twice_are_refused(write, tmp_path):
    path = write(FULL)
    assert refused(str(tmp_path / "none.csv")).startswith(f"no such file: {tmp_path / 'none.csv'}.")
    assert refused(str(tmp_path / "*.tsv")).startswith(f"no such file: {tmp_path / '*.tsv'}.")
    (tmp_path / "empty").mkdir()
    assert refused(str(tmp_path / "empty")) == (
        f"the folder {tmp_path / 'empty'} holds no file that ends in .csv or .txt or .tsv."
    )
    assert refused(path, str(tmp_path)) == f"the file {path} is given twice. Name it once in bars.files."


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"columns": {"px": "Close"}},
            "columns must be one of close, dividend, high, low, open, split, symbol, time,",
        ),
        (
            {"time_format": "epoch"},
            "time_format must be one of auto, iso, yyyymmdd, s, ms, us, ns or a pattern such",
        ),
        ({"time_zone": "Mars"}, "time_zone must be UTC or a name such as America/New_York, was 'Mars'."),
        ({"time_zone": "../../etc/passwd"}, "time_zone must be UTC or a name such as America/New_York"),
        ({"file_name": "bars"}, "file_name must hold {symbol} once, was 'bars'."),
        (
            {"symbols_file": "x"},
            "symbols_file must be empty if layout is long or symbols are given, was 'x'.",
        ),
        ({"delimiter": "ab"}, "delimiter must be one character, no letter, was 'ab'."),
        ({"symbols": [""]}, "symbols must be names, for columns different ones, was ['']."),
    ],
)
def test_a_wrong_configuration_is_refused(keys, message):
    with pytest.raises(ConfigError) as error:
        Csv(**keys)
    assert str(error.value).startswith(message)


def test_symbols_that_do_not_fit_the_files_are_refused(write):
    path, other = write(FULL), write(FULL, "B.csv")
    long = write("Date,Symbol,Close\n2024-01-02,X,1\n", "C.csv")
    for files, keys, message in (
        ([], {}, "files must name at least one file, was []."),
        (
            [path, other],
            {"symbols": ["P", "Q", "R"]},
            "symbols must name the symbol of each file, or of all, was 3",
        ),
        (
            [long],
            {"symbols": ["P"]},
            f"symbols must be empty, was ['P']: {long} says them in its column 'Symbol'.",
        ),
        (
            [path],
            {"file_name": "bars_{symbol}"},
            "file_name must fit the names of all files, was 'bars_{symbol}': A.csv",
        ),
    ):
        with pytest.raises(ConfigError) as error:
            list(build(Csv(files=files, **keys)).tables(lambda done, total: None))
        assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("columns", "both"),
    [({"close": "symbol"}, "symbol and the close"), ({"dividend": "close"}, "close and the dividend")],
)
def test_a_column_is_one_field_only(write, columns, both):
    path = write("time,symbol,close\n2024-01-02,A,1\n")
    with pytest.raises(
        DataError, match=f"the column '{next(iter(columns.values()))}' is taken for the {both}"
    ):
        rows(path, columns=columns)
