"""Pairs and days become symbols, files and times: the same run as if these had been named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bt_framework.config.compose import compose
from bt_framework.config.schema import ComponentConfig
from bt_framework.data.batches import days_of, symbols_of_pair
from bt_framework.errors import ConfigError
from bt_framework.registry import Kind
from bt_framework.results.identity import config_hash
from bt_plugins.data.bars import Bars
from bt_plugins.data.binance import Binance
from bt_plugins.data.clickhouse import Clickhouse
from bt_plugins.data.npz import Npz
from bt_plugins.data.quotes import Quotes
from bt_plugins.data.synthetic_pair import SyntheticPair

PAIR = "AAAUSDT-BBBUSDT"
DAY_NS = 86_400 * 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Empty files of two symbols and three days."""
    for symbol in ("aaausdt", "bbbusdt"):
        for day in ("20240830", "20240831", "20240901"):
            (tmp_path / f"{symbol}_{day}.gz").touch()
    return tmp_path


def names(config: Binance | Npz | Quotes) -> list[str]:
    return [Path(name).name for name in config.files]


def test_a_pair_and_a_day_are_the_files_that_are_called_so(folder: Path) -> None:
    pattern = str(folder / "{symbol_lower}_{date}.gz")
    config = Binance(files=[pattern], pair=PAIR, date="20240831")
    assert names(config) == ["aaausdt_20240831.gz", "bbbusdt_20240831.gz"]
    assert config.symbols == ["AAAUSDT", "BBBUSDT"]
    assert (config.pair, config.date) == ("", "")
    again = Binance(files=[str(folder / "{symbol}_{yyyy}{mm}{dd}.gz")], pair=PAIR.lower(), date="2024-08-31")
    assert again == config
    assert Binance(files=list(config.files), symbols=list(config.symbols)) == config


def test_the_order_of_a_pair_is_that_of_its_legs(folder: Path) -> None:
    config = Binance(files=[str(folder / "{symbol_lower}_20240830.gz")], pair="BBBUSDT-AAAUSDT")
    assert config.symbols == ["BBBUSDT", "AAAUSDT"]


def test_days_from_first_to_last_are_the_files_of_each_symbol_in_time_order(folder: Path) -> None:
    files = [str(folder / "{symbol_lower}_{date}.gz")]
    config = Npz(files=files, symbols=["AAAUSDT", "BBBUSDT"], date="20240830..20240901")
    assert names(config) == [
        f"{symbol}_{day}.gz"
        for symbol in ("aaausdt", "bbbusdt")
        for day in ("20240830", "20240831", "20240901")
    ]
    assert config.symbols == ["AAAUSDT"] * 3 + ["BBBUSDT"] * 3


def test_a_file_of_several_symbols_is_named_once(folder: Path) -> None:
    (folder / "both_20240830.gz").touch()
    config = Binance(files=[str(folder / "both_{date}.gz")], pair=PAIR, date="20240830")
    assert names(config) == ["both_20240830.gz"]
    assert config.symbols == ["AAAUSDT", "BBBUSDT"]


def test_a_file_that_has_braces_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    assert names(Binance(files=[str(tmp_path / "{odd}.gz")])) == ["{odd}.gz"]


def test_a_pair_of_rows_is_two_symbols_and_a_day_is_from_midnight_to_midnight() -> None:
    bars = Bars(pair="AAA-BBB", date="2024-08-31")
    assert (bars.symbols, bars.start, bars.end) == (["AAA", "BBB"], "2024-08-31", "2024-09-01")
    rows = Clickhouse(url="http://localhost/db", pair="A-1:B-2", date="20240830..20240901")
    assert (rows.symbols, rows.start, rows.end) == (["A-1", "B-2"], "2024-08-30", "2024-09-02")
    start_ts, end_ts = rows.range_ns()
    assert start_ts is not None
    assert end_ts is not None
    assert end_ts - start_ts == 3 * DAY_NS
    assert Clickhouse(symbols=["A-1", "B-2"], start="2024-08-30", end="2024-09-02", url=rows.url) == rows


def test_a_simulated_pair_begins_at_the_midnight_of_its_day() -> None:
    assert SyntheticPair(date="2024-01-01") == SyntheticPair()
    config = SyntheticPair(pair="XXX-YYY", date="1970-01-03")
    assert (config.symbols, config.start_ts) == (["XXX", "YYY"], 2 * DAY_NS)


def test_a_run_of_a_day_is_identical_to_that_of_its_files(folder: Path) -> None:
    pattern = f'data.files=["{folder}/{{symbol_lower}}_{{date}}.gz"]'
    asked = compose(
        ["+strategy=ou_pairs", "data=binance", pattern, f"data.pair={PAIR}", "data.date=20240830"]
    )
    files = ",".join(f"{folder}/{symbol}_20240830.gz" for symbol in ("aaausdt", "bbbusdt"))
    named = compose(
        ["+strategy=ou_pairs", "data=binance", f"data.files=[{files}]", "data.symbols=[AAAUSDT,BBBUSDT]"]
    )
    assert config_hash(asked.resolved) == config_hash(named.resolved)
    assert asked.one(Kind.DATA).config == named.one(Kind.DATA).config


Make = Callable[[], ComponentConfig]
THERE = "/{symbol}_{date}"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Binance(pair="AAA"), "data.pair must be two symbols, FIRST-SECOND, or FIRST:SECOND where"),
        (lambda: Binance(pair="A-1-B-2"), "was 'A-1-B-2'"),
        (lambda: Binance(pair="AAA-"), "was 'AAA-'"),
        (lambda: Binance(pair="AAA-aaa"), "data.pair must be two different symbols, was 'AAA-aaa'"),
        (lambda: Binance(pair=PAIR, symbols=["A"]), "data.pair must be left out with data.symbols"),
        (lambda: SyntheticPair(pair="A-B", symbols=["C", "D"]), "data.pair must be left out with data.symb"),
        (
            lambda: Binance(files=[THERE], pair=PAIR, date="2024-02-30"),
            "data.date must be a day such as 2024",
        ),
        (lambda: Binance(files=[THERE], pair=PAIR, date="2024-0830"), "was '2024-0830'"),
        (lambda: Binance(files=[THERE], pair=PAIR, date="0001-01-01"), "was '0001-01-01'"),
        (lambda: Bars(date="2024-09-01..2024-08-30"), "data.date must be FIRST..LAST, at most 10,000 days"),
        (lambda: Bars(date="1900-01-01..2100-01-01"), "data.date must be FIRST..LAST, at most 10,000 days"),
        (lambda: Bars(date="2024-09-01", start="2024-09-01"), "data.start must be left out with data.date"),
        (lambda: Clickhouse(date="2024-09-01", end="2024-09-01"), "data.end must be left out with data.date"),
        (
            lambda: SyntheticPair(date="2024-01-01..2024-01-02"),
            "data.date must be one day, without data.star",
        ),
        (
            lambda: SyntheticPair(date="2024-01-02", start_ts=5),
            "data.date must be one day, without data.star",
        ),
        (lambda: Binance(files=[THERE], pair=PAIR), "data.date must say the day that data.files=.* asks for"),
        (lambda: Binance(files=[THERE], date="20240830"), "data.pair or data.symbols must say the symbols"),
        (lambda: Binance(files=["a"], date="20240830"), r"data.date needs \{date\}, or \{yyyy\}, \{mm\} and"),
        (lambda: Npz(files=["a"], pair=PAIR), r"data.pair needs file names with \{symbol\} in data.files"),
        (
            lambda: Binance(files=["/{symbo}"], pair=PAIR),
            r"must be one of \{symbol\}, .*, \{dd\}, was \{symbo\}",
        ),
        (
            lambda: Binance(files=[THERE], pair=PAIR, date="20240830"),
            r"/AAAUSDT_20240830 does not exist, which /\{symbol\}_\{date\} in data.files is for AAAUSDT 20240830",
        ),
    ],
)
def test_what_cannot_be_chosen_is_said(make: Make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    "symbol", ["..", "../x", "a/b", "a\\b", "/etc", "~root", ".x", "a{date}", "a b", "a\n"]
)
def test_a_symbol_is_no_way_out_of_the_folder_of_files(tmp_path: Path, symbol: str) -> None:
    inside = tmp_path / "data"
    inside.mkdir()
    (tmp_path / "x").touch()
    with pytest.raises(
        ConfigError, match="a symbol in the name of a file must be without slashes, braces and"
    ):
        Binance(files=[f"{inside}/{{symbol}}"], symbols=[symbol])


@given(st.dates(date(1970, 1, 1), date(2190, 1, 1)), st.integers(0, 400), st.booleans())
def test_days_are_without_gaps_and_written_as_they_were_asked_for(
    first: date, more_days: int, dashes: bool
) -> None:
    last = first + timedelta(days=more_days)
    text = f"{first}..{last}" if dashes else f"{first}..{last}".replace("-", "")
    days = days_of(text)
    assert [day.day.toordinal() for day in days] == list(range(first.toordinal(), last.toordinal() + 1))
    assert f"{days[0].values['date']}..{days[-1].values['date']}" == text
    assert all("-".join(d.values[key] for key in ("yyyy", "mm", "dd")) == str(d.day) for d in days)


WORDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.", min_size=1, max_size=12)


@given(WORDS, WORDS)
def test_a_pair_is_its_two_symbols(first: str, second: str) -> None:
    assume(first != second)
    assert symbols_of_pair(f"{first}-{second}") == (first, second)
    assert symbols_of_pair(f"{first}-X:{second}-X") == (f"{first}-X", f"{second}-X")


def test_a_pattern_without_quotes_is_refused_with_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"Quote what has \{symbol\}: data.files='\[\"FILE\"\]'\."):
        compose(["+strategy=ou_pairs", "data=binance", "data.files=[/data/{symbol}.gz]"])
