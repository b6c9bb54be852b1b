"""The account of a run at given times, whatever files its samples are in."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.results.equity import equity_at
from bt_framework.results.folder import RunFolder, finish, start
from bt_framework.results.schemas import RECORDS, to_arrow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_run, make_summary):
    """Make the folder of a run of two instruments that has left no tables."""
    run = make_run(tmp_path_factory.mktemp("runs"))
    start(run)
    finish(run, make_summary())
    return RunFolder(run.run_dir), run


def write_parts(folder, run, ts, equity, cuts):
    """Write samples, shape (n, 2), into as many files as there are pieces between `cuts`, small row groups each."""
    parts = folder.path / "parts"
    parts.mkdir(exist_ok=True)
    for file in parts.glob("*.parquet"):
        file.unlink()
    rows = np.zeros(2 * len(ts), RECORDS["equity"])
    rows["local_ts"], rows["asset"] = np.repeat(ts, 2), np.tile([0, 1], len(ts))
    rows["equity"] = equity.ravel()
    for number, piece in enumerate(np.split(rows, cuts)):
        table = to_arrow("equity", piece, run)
        pq.write_table(table, parts / f"equity-{number:06}.parquet", row_group_size=3)


@given(data=st.data())
@settings(max_examples=40)
def test_it_is_that_of_the_last_sample_up_to_a_time(folder, data):
    folder, run = folder
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count = int(rng.integers(1, 12))
    ts = np.cumsum(rng.integers(1, 5, count)) + 10
    equity = rng.normal(size=(count, 2))
    cuts = np.sort(rng.integers(0, 2 * count + 1, int(rng.integers(0, 4))))
    write_parts(folder, run, ts, equity, cuts)
    times = np.unique(rng.integers(5, ts[-1] + 5, 20))
    profit, sample_ts = equity_at(folder, times)
    for time, found, at in zip(times, profit, sample_ts, strict=True):
        place = np.searchsorted(ts, time, side="right") - 1
        if place < 0 or time > ts[-1]:
            assert np.isnan(found), time
            assert at == 0
        else:
            assert (found, at) == (equity[place].sum(), ts[place]), time


def test_a_run_without_samples_has_none(tmp_path, make_run, make_summary):
    run = make_run(tmp_path)
    start(run)
    finish(run, make_summary())
    profit, sample_ts = equity_at(RunFolder(run.run_dir), np.array([1, 2]))
    assert np.isnan(profit).all()
    assert sample_ts.tolist() == [0, 0]
