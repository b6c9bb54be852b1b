"""The doctor on real files: what is clean stays clean, and what is not is refused, or repaired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bt_framework.data.fidelity import judge
from bt_framework.data.finding import grade
from bt_framework.data.repair import RepairedFeed
from bt_framework.data.store import EventStore
from bt_framework.data.timing import check_together
from bt_framework.errors import DataError
from bt_framework.records import EventFlag
from bt_plugins.data import binance, quotes


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return EventStore(tmp_path / "store")


@pytest.fixture
def fxcm(shared_dir: Path):
    path = shared_dir / "data" / "fx" / "lean_fxcm_eurusd_20140502_quote.zip"
    (feed,) = quotes.build(quotes.Quotes(files=[str(path)])).feeds()
    return feed


def test_the_binance_pair_has_no_defect_alone_or_together(shared_dir, store):
    files = [str(shared_dir / "data" / "binance" / f"{name}_20240808.gz") for name in ("btcusdt", "ethusdt")]
    feeds = store.load_all(binance.build(binance.Binance(files=files)).feeds())
    assert [grade(feed.findings) for feed in feeds] == ["ok", "ok"]
    assert [judge(feed.book_level, feed.findings).grade for feed in feeds] == ["A", "A"]
    assert [len(feed.timing.least_latency_ns) for feed in feeds] == [346, 346]
    assert check_together([feed.timing for feed in feeds]) == []


def test_quotes_of_oanda_are_top_of_book_on_one_clock_and_nothing_worse(shared_dir, store):
    path = shared_dir / "data" / "fx" / "lean_oanda_eurusd_20140505_quote.zip"
    (feed,) = quotes.build(quotes.Quotes(files=[str(path)])).feeds()
    stored = store.load(feed)
    assert grade(stored.findings) == "ok"
    assert [reason[:20] for reason in judge(stored.book_level, stored.findings).reasons] == [
        "C: top of book only:",
        "C: one clock: exchan",
    ]


@pytest.mark.parametrize(("auction", "fidelity"), [("withhold", "A"), ("keep", "B")])
def test_the_cme_file_is_crossed_in_its_auction_only(shared_dir, store, auction, fidelity):
    pytest.importorskip("databento_dbn", reason="pip install 'bt-framework[databento]'")
    from bt_plugins.data import databento

    path = shared_dir / "data" / "cme" / "esh4-glbx-mdp3-20231225.mbo.dbn.zst"
    (feed,) = databento.build(databento.Databento(files=[str(path)], auction=auction)).feeds()
    stored = store.load(feed)
    found = {finding.check: finding for finding in stored.findings}
    assert stored.book_level == "l3"
    assert found["auction phases"].severity == "info"
    assert judge(stored.book_level, stored.findings).grade == fidelity
    if auction == "keep":  # until the matching at the open is through
        assert "for 101ms" in found["crossed book"].detail


@pytest.mark.parametrize("sample", ["GOOG_2012-06-21_10", "AMZN_2012-06-21_1"])
def test_lobster_samples_have_one_clock_and_no_defect(shared_dir, store, sample):
    from bt_plugins.data import lobster

    path = shared_dir / "data" / "lobster" / f"LOBSTER_SampleFile_{sample}.zip"
    (feed,) = lobster.build(lobster.Lobster(files=[str(path)])).feeds()
    stored = store.load(feed)
    assert grade(stored.findings) == "ok"
    reasons = judge(stored.book_level, stored.findings).reasons
    assert reasons[-1].startswith("C: one clock: ")
    assert judge(stored.book_level, stored.findings).grade == "C"


def test_the_fxcm_file_is_refused(fxcm, store):
    with pytest.raises(DataError, match="the events cannot be used:\n  crossed book: ") as caught:
        store.load(fxcm)
    assert "after 12.5 % of the updates; repair=true withholds what is crossed" in str(caught.value)
    assert store.manifests() == []


def test_the_repaired_fxcm_file_shows_no_quote_while_it_is_crossed(fxcm, store):
    stored = store.load(RepairedFeed(fxcm))
    assert judge(stored.book_level, stored.findings).grade == "C"
    assert "crossed book" not in {finding.check for finding in stored.findings}
    events = stored.open()
    book: dict[bool, dict[float, float]] = {True: {}, False: {}}
    batches = np.flatnonzero(np.diff(events["local_ts"], append=0))
    start, empty = 0, 0
    for last in batches.tolist():
        for ev, px, qty in events[start : last + 1][["ev", "px", "qty"]].tolist():
            side = book[bool(ev & EventFlag.BUY)]
            side.pop(px, None)
            if qty:
                side[px] = qty
        start = last + 1
        assert max(book[True], default=-np.inf) <= min(book[False], default=np.inf)
        assert len(book[True]) == len(book[False]) <= 1
        empty += not book[True]
    assert empty > 10_000
    table = pq.read_table(store.repairs_path(stored.key))
    assert set(table["check"].to_pylist()) == {"crossed book"}
    assert table.num_rows == stored.report.notes["repairs"]["crossed book"] == 2 * empty
