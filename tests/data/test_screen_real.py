"""The universe of 67 ETFs: 2,211 pairs, the same statistics as statsmodels pair by pair, and published numbers.

``BT_ALL_PAIRS=1`` compares every pair instead of a sample; that takes a minute.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bt_framework.bars.building import raw_bars
from bt_framework.bars.store import BarStore
from bt_framework.research.screen import Screening
from bt_framework.research.settings import ScreenConfig
from bt_framework.research.universe import load_universe

DAY_NS = 86_400_000_000_000
SAMPLE = 60


def etf_bars(folder: Path) -> pa.Table:
    """Read the closes: a day and 67 columns, named in the other file in the order of the columns."""
    names = (folder / "inputData_ETF_stocks.csv").read_text().splitlines()[1].split(",")
    table = np.genfromtxt(folder / "inputData_ETF_cl.csv", delimiter=",", skip_header=1)
    days = table[:, 0].astype(int).astype(str)
    iso = [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in days]
    times = np.array(iso, "datetime64[us]").astype(np.int64)
    tables = []
    for name, closes in sorted(zip(names, table.T[1:], strict=True)):
        there = ~np.isnan(closes)
        tables.append(raw_bars(name, times[there], {"close": closes[there]}))
    return pa.concat_tables(tables)


@pytest.fixture(scope="module")
def screened(shared_dir, tmp_path_factory) -> Callable[..., Screening]:
    folder = tmp_path_factory.mktemp("store")
    bars = etf_bars(shared_dir / "data" / "bars")
    BarStore(folder / "bars").replace("etf", bars, interval_ns=DAY_NS)

    def screen(**keys) -> Screening:
        config = ScreenConfig(source="etf", log=False, store_dir=str(folder), workers=2, **keys)
        work = Screening(config, *load_universe(config))
        work.run(lambda done, total: None)
        return work

    return screen


def test_all_pairs_of_67_symbols_are_tested(screened):
    summary = screened().store.screens()[0].summary
    assert summary["symbols"] == 67
    assert summary["pairs"] == summary["tested"] == 2_211
    assert summary["refused"] == {}
    assert 0.5 < summary["pi0_lowest"] < 0.9
    assert 200 < summary["found_bh"] <= summary["found_storey"] < 1_000


def test_the_statistics_of_every_pair_are_those_of_statsmodels(screened):
    from statsmodels.tsa.stattools import coint
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    work = screened()
    rows = work.store.results(work.screen_id)
    if not os.environ.get("BT_ALL_PAIRS"):
        chosen = np.random.default_rng(4).choice(len(rows), SAMPLE, replace=False)
        rows = [rows[i] for i in chosen]
    for row in rows:
        prices = work.universe.prices[:, list(work.columns_of(row["pair_id"]))]
        a, b = prices[np.isfinite(prices).all(axis=1)].T
        assert row["observations"] == len(a)
        for way, (y, x) in {"ab": (a, b), "ba": (b, a)}.items():
            t, p, _ = coint(y, x, maxlag=1, autolag=None)
            assert row[f"{way}_t"] == pytest.approx(t, rel=1e-9, abs=1e-9), row["pair_id"]
            assert row[f"{way}_p"] == pytest.approx(p, rel=1e-7, abs=1e-12), row["pair_id"]
            slope, intercept = np.polyfit(x, y, 1)
            assert row[f"{way}_hedge_ratio"] == pytest.approx(slope, rel=1e-7)
            assert row[f"{way}_intercept"] == pytest.approx(intercept, rel=1e-6, abs=1e-6)
        expected = coint_johansen(np.column_stack([a, b]), 0, 1)
        for r in (0, 1):
            assert row[f"trace_{r}"] == pytest.approx(expected.trace_stat[r], rel=1e-7, abs=1e-9)
            assert row[f"max_{r}"] == pytest.approx(expected.max_eig_stat[r], rel=1e-7, abs=1e-9)


def test_the_published_pair_has_its_published_statistics(screened):
    # Chan (2013), Algorithmic Trading, Examples 2.7 and 2.8: CADF of EWC on EWA, Johansen of both.
    work = screened(pairs=["EWA/EWC"])
    (row,) = work.store.results(work.screen_id)
    assert row["observations"] == 1_500
    assert row["ba_t"] == pytest.approx(-3.6435, abs=5e-5)
    assert (row["trace_0"], row["trace_1"]) == (
        pytest.approx(19.983, abs=1e-3),
        pytest.approx(3.983, abs=1e-3),
    )


def test_rolling_windows_refuse_pairs_that_were_not_listed_yet(screened):
    work = screened(symbols=["EWA", "EWC", "SRTY", "TZA"], window=250, step=250)
    rows = work.store.results(work.screen_id)
    status = {(row["pair_id"], row["window_end"].year): row["status"] for row in rows}
    assert status["EWA_EWC", 2007] == "ok"
    assert status["SRTY_TZA", 2007] == "no_overlap"
    assert status["SRTY_TZA", 2011] == "ok"
    assert {row["status"] for row in rows} <= {"ok", "no_overlap", "too_few"}
