"""Every file of bars and of corporate actions that there is, with its known number of rows and values."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from bt_framework.bars.config import Layout
from bt_framework.testing.bar_contracts import check_bar_source
from bt_plugins.bars.csv import Csv, build
from bt_plugins.bars.parquet import Parquet
from bt_plugins.bars.parquet import build as build_parquet


def read(folder: Path, *names: str, **keys) -> pa.Table:
    return check_bar_source(build(Csv(files=[str(folder / name) for name in names], **keys)))


def of(table: pa.Table, symbol: str) -> pa.Table:
    return table.filter(pc.equal(table["symbol"], symbol))


@pytest.fixture
def bars_dir(shared_dir: Path) -> Path:
    return shared_dir / "data" / "bars"


@pytest.fixture
def actions_dir(shared_dir: Path) -> Path:
    return shared_dir / "data" / "corporate_actions"


def test_minute_bars_have_no_gap_and_are_shifted_by_58_minutes(bars_dir):
    table = read(bars_dir, "flox_btcusdt_1m.csv", "flox_ethusdt_1m.csv", file_name="flox_{symbol}_1m")
    starts = {}
    for symbol in ("btcusdt", "ethusdt"):
        times = of(table, symbol)["datetime"].cast(pa.int64()).to_numpy()
        assert len(times) == 3_000
        assert set((times[1:] - times[:-1]).tolist()) == {60_000_000}
        starts[symbol] = int(times[0])
    assert starts["ethusdt"] - starts["btcusdt"] == 58 * 60_000_000
    first = of(table, "btcusdt").slice(0, 1).to_pylist()[0]
    assert first["datetime"] == datetime.fromtimestamp(1776606960, UTC)
    assert [first[k] for k in ("open", "high", "low", "close", "volume")] == [
        75901.45,
        75928.59,
        75901.45,
        75921.45,
        3.49275,
    ]


@pytest.mark.parametrize(
    ("name", "symbols"),
    [("inputData_EWA_EWC.csv", ["EWA", "EWC"]), ("inputData_EWA_EWC_IGE.csv", ["EWA", "EWC", "IGE"])],
)
def test_wide_files_of_closes_have_1500_days_a_symbol(bars_dir, name, symbols):
    table = read(bars_dir, name, layout=Layout.wide)
    for symbol in symbols:
        days = of(table, symbol)["datetime"]
        assert len(days) == 1_500
        assert [days[0].as_py().date(), days[-1].as_py().date()] == [date(2006, 4, 26), date(2012, 4, 9)]
    assert of(table, "EWA")["close"][0].as_py() == 16.1
    assert table["volume"].null_count == table.num_rows


def test_the_universe_of_67_etfs_has_no_bar_before_a_listing(bars_dir):
    files = {"symbols_file": str(bars_dir / "inputData_ETF_stocks.csv"), "layout": Layout.wide}
    source = build(Csv(files=[str(bars_dir / "inputData_ETF_cl.csv")], **files))
    table = check_bar_source(source)
    counts = {row["values"]: row["counts"] for row in pc.value_counts(table["symbol"]).to_pylist()}
    lines = (bars_dir / "inputData_ETF_cl.csv").read_text().splitlines()[1:]
    assert len(counts) == 67
    assert len(lines) == 1_500
    nan = sum(line.count("NaN") for line in lines)
    assert table.num_rows == 1_500 * 67 - nan
    assert counts["EEM"] == counts["XLE"] == 1_500
    # The columns are those of the other files, so the symbols are where they should be.
    assert of(table, "EWA")["close"].equals(
        of(read(bars_dir, "inputData_EWA_EWC.csv", layout=Layout.wide), "EWA")["close"]
    )


def test_prices_as_traded_come_with_their_splits_and_dividends(actions_dir):
    name = "quandl_WIKI-AAPL.csv.gz"
    source = build(Csv(files=[str(actions_dir / name)], file_name="quandl_WIKI-{symbol}"))
    table = check_bar_source(source)
    assert table.num_rows == 9_400
    days = [table["datetime"][at].as_py().date() for at in (0, -1)]
    assert days == [date(1980, 12, 12), date(2018, 3, 27)]
    assert [table["close"][at].as_py() for at in (0, -1)] == [28.75, 168.34]
    actions = source.actions().to_pylist()
    splits = [(a["ex_date"], a["value"]) for a in actions if a["kind"] == "split"]
    assert splits == [
        (date(1987, 6, 16), 2.0),
        (date(2000, 6, 21), 2.0),
        (date(2005, 2, 28), 2.0),
        (date(2014, 6, 9), 7.0),
    ]
    assert sum(a["kind"] == "dividend" for a in actions) == 54
    assert {a["symbol"] for a in actions} == {"AAPL"}


def test_adjusted_prices_and_a_list_of_dividends_are_two_files_of_one_symbol(actions_dir):
    names = [str(actions_dir / f"yahoo_leon7786_AAPL{part}.csv") for part in ("", "_dividends")]
    source = build(Csv(files=names, symbols=["AAPL"]))
    assert check_bar_source(source).num_rows == 4_023
    actions = source.actions().to_pylist()
    assert len(actions) == 54
    assert (actions[0]["ex_date"], actions[0]["value"]) == (date(2012, 8, 9), 0.094643)


def test_the_same_bars_in_parquet_are_the_same(actions_dir, tmp_path):
    name = "quandl_WIKI-AAPL.csv.gz"
    table = read(actions_dir, name, symbols=["AAPL"])
    parquet.write_table(table, tmp_path / "all.parquet", row_group_size=1_000)
    again = check_bar_source(build_parquet(Parquet(files=[str(tmp_path / "all.parquet")])))
    assert again.equals(table)
