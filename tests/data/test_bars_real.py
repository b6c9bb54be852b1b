"""Real bars through the whole pipeline: a vendor's adjusted prices rebuilt, another vendor's agreed with."""

from __future__ import annotations

import csv
import gzip
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest

from bt_framework.bars.actions import Adjustment, adjusted, adjustment_factors, unadjusted
from bt_framework.bars.building import raw_bars
from bt_framework.bars.config import DividendConvention
from bt_framework.bars.schema import ACTION_SCHEMA
from bt_framework.bars.store import BarStore
from bt_framework.cli.main import main
from bt_framework.stores.research import ResearchStore

SPLIT_DAY = date(2014, 6, 9)

YAHOO_LEVEL_ERROR = 5e-7 / 6.8 + 5e-7 / 6.4 + 2 * 2.0**-24
"""Relative. Yahoo rounds split-adjusted closes and adjusted closes to 6 decimals (the lowest are 6.8 and 6.4), and
keeps both as float32."""
YAHOO_RETURN_ERROR = 2 * YAHOO_LEVEL_ERROR
"""Of a daily return: that of two levels."""


@pytest.fixture(scope="module")
def wiki(shared_dir) -> pa.Table:
    """The vendor's table, oldest first."""
    with gzip.open(shared_dir / "data" / "corporate_actions" / "quandl_WIKI-AAPL.csv.gz") as file:
        return pyarrow.csv.read_csv(file).sort_by("Date")


@pytest.fixture(scope="module")
def aapl(wiki) -> pa.Table:
    values = {name: wiki[name.capitalize()].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    return raw_bars("AAPL", days_us(wiki), values)


@pytest.fixture(scope="module")
def actions(wiki) -> pa.Table:
    rows = []
    for row in wiki.select(["Date", "Ex-Dividend", "Split Ratio"]).to_pylist():
        for kind, value, none in (("split", row["Split Ratio"], 1.0), ("dividend", row["Ex-Dividend"], 0.0)):
            if value != none:
                rows.append({"symbol": "AAPL", "ex_date": row["Date"], "kind": kind, "value": value})
    return pa.Table.from_pylist(rows, schema=ACTION_SCHEMA)


def days_us(table: pa.Table) -> np.ndarray:
    return table["Date"].to_numpy().astype("M8[D]").astype(np.int64) * 86_400_000_000


def with_factors(bars: pa.Table, factors: np.ndarray) -> pa.Table:
    return bars.set_column(7, bars.schema.field(7), pa.array(factors))


def test_the_vendor_s_adjusted_prices_are_rebuilt(wiki, aapl, actions):
    assert (aapl.num_rows, actions.num_rows) == (9_400, 58)
    prices = adjusted(with_factors(aapl, adjustment_factors(aapl, actions)), Adjustment.backward)
    for name in ("open", "high", "low", "close"):
        theirs = wiki[f"Adj. {name.capitalize()}"].to_numpy()
        np.testing.assert_allclose(prices[name].to_numpy(), theirs, rtol=1e-12)


def test_the_vendor_s_volumes_are_divided_by_splits_only(wiki, aapl, actions):
    splits = actions.filter(pc.equal(actions["kind"], "split"))
    prices = adjusted(with_factors(aapl, adjustment_factors(aapl, splits)), Adjustment.backward)
    np.testing.assert_allclose(prices["volume"].to_numpy(), wiki["Adj. Volume"].to_numpy(), rtol=1e-12)


@pytest.mark.parametrize("dividends", list(DividendConvention))
@pytest.mark.parametrize("mode", [Adjustment.backward, Adjustment.point_in_time])
def test_the_return_of_the_split_day_is_a_day_s_return(wiki, aapl, actions, dividends, mode):
    at = int(np.searchsorted(days_us(wiki), np.datetime64(SPLIT_DAY, "D").astype(np.int64) * 86_400_000_000))
    bars = with_factors(aapl, adjustment_factors(aapl, actions, dividends=dividends))
    close_px = adjusted(bars, mode)["close"].to_numpy()
    assert close_px[at] / close_px[at - 1] - 1 == pytest.approx(0.01600, abs=5e-6)
    raw_px = unadjusted(adjusted(bars, mode))["close"].to_numpy()
    assert raw_px[at] / raw_px[at - 1] - 1 == pytest.approx(-0.8549, abs=5e-5)


def test_nothing_is_known_before_the_split_day(aapl, actions):
    split_us = np.datetime64(SPLIT_DAY, "us").astype(np.int64)
    before = aapl.filter(pc.less(aapl["datetime"].cast(pa.int64()), split_us))
    known = [a for a in actions.to_pylist() if a["ex_date"] < SPLIT_DAY]
    assert (len(actions) - len(known), before.num_rows) == (14, 8_444)
    factors = adjustment_factors(before, actions)
    np.testing.assert_array_equal(
        factors, adjustment_factors(before, pa.Table.from_pylist(known, schema=ACTION_SCHEMA))
    )
    np.testing.assert_array_equal(
        factors, adjustment_factors(aapl, actions, as_of=date(2014, 6, 8))[: before.num_rows]
    )
    part = adjusted(with_factors(before, factors), Adjustment.point_in_time)["close"].to_numpy()
    whole = adjusted(with_factors(aapl, adjustment_factors(aapl, actions)), Adjustment.point_in_time)[
        "close"
    ].to_numpy()
    np.testing.assert_allclose(part, whole[: before.num_rows], rtol=1e-14)


def yahoo_returns(
    shared_dir: Path, aapl: pa.Table, actions: pa.Table, dividends: DividendConvention
) -> tuple:
    """Absolute differences of daily log returns from Yahoo's, and the days, us UTC."""
    yahoo = pyarrow.csv.read_csv(shared_dir / "data" / "corporate_actions" / "yahoo_leon7786_AAPL.csv")
    theirs = yahoo["Close"].to_numpy()
    bars = with_factors(aapl, adjustment_factors(aapl, actions, dividends=dividends))
    times = bars["datetime"].cast(pa.int64()).to_numpy()
    both, i, j = np.intersect1d(times, days_us(yahoo), return_indices=True)
    ours = adjusted(bars, Adjustment.backward)["close"].to_numpy()[i]
    return np.abs(np.diff(np.log(ours)) - np.diff(np.log(theirs[j]))), both[1:]


def test_another_vendor_agrees_to_its_rounding_where_the_closes_do(shared_dir, aapl, actions):
    """Yahoo subtracts a dividend over the close before it.

    On most days the two vendors have the same close, and the returns agree to Yahoo's rounding. Elsewhere their raw
    closes differ, mostly by fractions of a cent; WIKI's last year also lacks two dividends and has a few wrong closes.
    """
    errors, days = yahoo_returns(shared_dir, aapl, actions, DividendConvention.previous_close)
    assert len(errors) == 2_069
    assert np.median(errors) < YAHOO_RETURN_ERROR
    assert (errors < YAHOO_RETURN_ERROR).mean() > 0.8
    assert (errors > 1e-3).sum() == 8
    early = days < np.datetime64("2015-09-30", "us").astype(np.int64)
    assert errors[early].max() < 1e-3


def test_on_its_ex_dates_the_other_vendor_has_the_other_convention(shared_dir, aapl, actions):
    dates = np.array([a["ex_date"] for a in actions.to_pylist() if a["kind"] == "dividend"], "M8[D]")
    ex_days = dates.astype("M8[us]").astype(np.int64)
    median = {}
    for dividends in DividendConvention:
        errors, days = yahoo_returns(shared_dir, aapl, actions, dividends)
        median[dividends] = np.median(errors[np.isin(days, ex_days)])
    assert median[DividendConvention.previous_close] < YAHOO_RETURN_ERROR
    assert median[DividendConvention.close_plus_dividend] > 40 * YAHOO_RETURN_ERROR


def test_validate_stores_the_vendor_s_file_with_its_actions(shared_dir, tmp_path, wiki, capsys):
    path = shared_dir / "data" / "corporate_actions" / "quandl_WIKI-AAPL.csv.gz"
    arguments = [f"store_dir={tmp_path}", f"bars.files=[{path}]", "bars.symbols=[AAPL]", "bars.source=wiki"]
    assert main(["validate", "bars=csv", *arguments]) == 0
    assert " 58 " in capsys.readouterr().out
    stored = BarStore(tmp_path / "bars").read("wiki")
    np.testing.assert_array_equal(stored["close"].to_numpy(), wiki["Close"].to_numpy())
    prices = adjusted(stored, Adjustment.backward)["close"].to_numpy()
    np.testing.assert_allclose(prices, wiki["Adj. Close"].to_numpy(), rtol=1e-12)
    assert ResearchStore.in_folder(tmp_path).actions(source="wiki").num_rows == 58


def test_validate_finds_every_session_of_the_etfs(shared_dir, tmp_path, capsys):
    folder = shared_dir / "data" / "bars"
    arguments = [
        f"bars.files=[{folder / 'inputData_ETF_cl.csv'}]",
        f"bars.symbols_file={folder / 'inputData_ETF_stocks.csv'}",
        "bars.layout=wide",
        "bars.calendar=XNYS",
        f"store_dir={tmp_path}",
    ]
    assert main(["validate", "bars=csv", *arguments]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:68]]
    with (folder / "inputData_ETF_cl.csv").open() as file:
        closes = sum(cell not in ("", "NaN") for line in list(csv.reader(file))[1:] for cell in line[1:])
    assert sum(int(row[1].replace(",", "")) for row in rows) == 83_454 == closes
    assert {row[6] for row in rows} == {"0"}
    assert {row[0] for row in rows if row[-1] != "ok"} == {"EDC", "MWJ", "SMN"}
    stored = BarStore(tmp_path / "bars").read("csv", symbols=["EDC", "MWJ", "SMN"])
    assert pc.sum(pc.less_equal(stored["close"], 0.0)).as_py() == 11


def test_minute_bars_without_gaps_have_none(shared_dir, tmp_path, capsys):
    files = [shared_dir / "data" / "bars" / f"flox_{name}usdt_1m.csv" for name in ("btc", "eth")]
    arguments = [f"bars.files=[{files[0]},{files[1]}]", "bars.calendar=24/7", f"store_dir={tmp_path}"]
    assert main(["validate", "bars=csv", *arguments]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:3]]
    assert [(row[1], row[6], row[-1]) for row in rows] == [("3,000", "0", "ok")] * 2
