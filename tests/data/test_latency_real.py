"""Every latency model on the real pair: results that repeat, orders that take the times the model says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bt_framework
from bt_framework.data.latency_tables import LatencyTables
from bt_framework.data.store import EventStore
from bt_framework.engine._latency_at import latencies_at
from bt_framework.engine.latency import LATENCY_ROW, LatencySpan
from bt_framework.units import NS_PER_S
from bt_plugins.data.binance import Binance
from bt_plugins.data.binance import build as build_binance
from bt_plugins.latency import feed_derived

Run = Callable[..., bt_framework.RunResult]
OUTAGES = ",".join(f"[{second}.2s,{second}.7s]" for second in range(5, 80, 3))
MODELS: dict[str, list[str]] = {
    "constant": ["latency=constant"],
    "colo": ["latency=colo"],
    "lognormal": ["latency=jitter"],
    "gamma": ["latency=jitter", "latency.distribution=gamma", "latency.correlation_ns=2s"],
    "feed_derived": ["latency=feed_derived", "latency.step_ns=100ms"],
    "historical": ["latency=historical"],
    "delays": ["latency=jitter", "latency.outages=[[10s,20s],[2024-08-08T23:56:00Z,2024-08-08T23:56:10Z]]"],
    "rejects": ["latency=colo", f"latency.outages=[{OUTAGES}]", "latency.outage_mode=reject"],
    "late_feed": ["latency=same_region", "latency.feed_jitter_ns=3ms"],
}
WINDOW = ["start=2024-08-08T23:55:00", "end=2024-08-08T23:56:30", "strategy.requote_ns=500ms"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def files(shared_dir: Path) -> list[str]:
    return [str(shared_dir / "data" / "binance" / f"{name}_20240808.gz") for name in ("btcusdt", "ethusdt")]


@pytest.fixture(scope="module")
def log(files: list[str], store: Path) -> Path:
    """A log of orders made from the feed's latencies, every third second's order rejected."""
    feed = EventStore(store).load_all(build_binance(Binance(files=files)).feeds())[0]
    req_ts = np.arange(feed.first_local_ts, feed.last_local_ts, NS_PER_S)
    rng = np.random.default_rng(5)
    exch_ts = req_ts + rng.integers(1, 9, len(req_ts)) * 1_000_000
    resp_ts = exch_ts + rng.integers(1, 9, len(req_ts)) * 1_000_000
    exch_ts[::3] = 0
    path = store / "log.csv"
    rows = np.stack([req_ts, exch_ts, resp_ts], axis=1)
    np.savetxt(path, rows, fmt="%d", delimiter=",", header="req_ts,exch_ts,resp_ts", comments="")
    return path


@pytest.fixture
def run(store: Path, files: list[str], log: Path, tmp_path: Path) -> Run:
    def go(model: str, *overrides: str) -> bt_framework.RunResult:
        folders = [f"store_dir={store}", f"runs_dir={tmp_path / 'runs'}", "console=json"]
        data = ["+strategy=market_maker", "data=binance", f"data.files=[{','.join(files)}]", *WINDOW]
        more = [f"latency.files=[{log}]"] if model == "historical" else []
        return bt_framework.run([*folders, *data, *MODELS[model], *more, *overrides])

    return go


@pytest.mark.parametrize("model", list(MODELS))
def test_a_model_runs_and_repeats_in_any_slices(run: Run, model: str) -> None:
    whole = run(model, "slice_wakes=1000000000")
    assert whole.counts["fills"] > 0
    assert set(whole.record.latency) == {"BTCUSDT", "ETHUSDT"}
    sliced = run(model, "slice_wakes=1000")
    assert sliced.result_hash == whole.result_hash
    assert sliced.record.identity == whole.record.identity
    assert sliced.record.latency == whole.record.latency


@pytest.mark.parametrize("model", ["lognormal", "rejects"])
def test_the_smallest_slices_change_nothing(run: Run, model: str) -> None:
    part = ["end=2024-08-08T23:55:15"]
    assert run(model, *part, "slice_wakes=1").result_hash == run(model, *part).result_hash


@pytest.mark.parametrize("model", ["lognormal", "late_feed"])
def test_another_seed_is_another_run(run: Run, model: str) -> None:
    one, other = run(model), run(model, "seed=2")
    assert one.result_hash != other.result_hash
    assert one.record.identity.data_hash != other.record.identity.data_hash


def test_the_content_of_a_log_is_part_of_the_identity(run: Run, log: Path) -> None:
    before = run("historical")
    content = log.read_text()
    try:
        log.write_text(content.replace(content.splitlines()[1] + "\n", ""))
        after = run("historical")
    finally:
        log.write_text(content)
    assert before.record.identity.config_hash == after.record.identity.config_hash
    assert before.record.identity.data_hash != after.record.identity.data_hash


def tables_of(store: Path) -> list[np.ndarray]:
    return [np.fromfile(p, "<i8").reshape(-1, 4) for p in (store / "latency").glob("*/*.rows")]


@pytest.mark.parametrize("model", ["lognormal", "feed_derived", "delays", "historical"])
def test_orders_take_the_times_of_the_table(run: Run, tmp_path: Path, model: str) -> None:
    result = run(model, f"store_dir={tmp_path / 'store'}")
    tables = tables_of(tmp_path / "store")
    orders = result.orders.to_pandas().astype({"symbol": str, "event": str})
    orders[["local_ts", "exch_ts"]] = orders[["local_ts", "exch_ts"]].astype("int64")
    for _, one in orders.groupby("symbol"):
        sent = one[one.event == "submitted"].set_index("order_id").local_ts
        accepted = one[one.event == "accepted"].drop_duplicates("order_id").set_index("order_id")
        accepted = accepted.sort_values(["exch_ts", "local_ts"])
        assert len(accepted) > 50
        exch_ts, back_ts = accepted.exch_ts.to_numpy(), accepted.local_ts.to_numpy()
        sent_ts = sent.loc[accepted.index].to_numpy()
        entries = [np.array_equal(sent_ts + latencies(table, sent_ts)[0], exch_ts) for table in tables]
        responses = [np.array_equal(exch_ts + latencies(table, exch_ts)[1], back_ts) for table in tables]
        assert entries.count(True) == 1, "a table is that of one instrument, or of both where it is the same"
        if model != "historical":  # there, rejections on their way hold up what was sent after them
            assert responses == entries
        assert (len(one[one.event == "rejected"]) > 0) == (model == "historical")


def latencies(table: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entry and response latencies at `times`, which never fall but for orders sent at one time."""
    rows = np.ascontiguousarray(table).view(LATENCY_ROW).reshape(-1)
    order = np.argsort(times, kind="stable")
    entry_ns, response_ns = np.empty_like(times), np.empty_like(times)
    latencies_at(rows, np.ascontiguousarray(times[order]), entry_ns, response_ns)
    back = np.argsort(order, kind="stable")
    return entry_ns[back], response_ns[back]


def test_orders_in_an_outage_are_rejected_and_none_outside(run: Run) -> None:
    result = run("rejects")
    orders = result.orders.to_pandas().astype({"event": str})
    orders["local_ts"] = orders["local_ts"].astype("int64")
    seconds = (orders["local_ts"] - result.record.start_ts) / NS_PER_S
    inside = (seconds >= 5) & (seconds < 80) & (seconds.mod(1) >= 0.2) & (seconds.mod(1) < 0.7)
    inside &= (seconds.floordiv(1) - 5).mod(3) == 0
    sent = orders.event == "submitted"
    rejected = set(orders[orders.event == "rejected"].order_id)
    assert rejected == set(orders[sent & inside].order_id)
    assert len(rejected) > 10
    assert result.record.latency["BTCUSDT"]["rejected_frac"] == pytest.approx(12.5 / 90, abs=3e-3)


def test_feed_derived_agrees_with_hftbacktests_own(files: list[str], store: Path, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    assert polars
    from hftbacktest.data.utils.feed_order_latency import generate_order_latency

    feed = EventStore(store).load_all(build_binance(Binance(files=files)).feeds())[0]
    np.savez(tmp_path / "feed.npz", data=np.array(feed.open()))
    theirs = generate_order_latency(
        str(tmp_path / "feed.npz"), mul_entry=3.0, offset_entry=1e6, mul_resp=2.0, offset_resp=5e5
    )
    options: dict[str, Any] = {"entry_multiplier": 3.0, "entry_offset_ns": 1_000_000}
    options |= {"response_multiplier": 2.0, "response_offset_ns": 500_000}
    model = feed_derived.build(feed_derived.FeedDerived(**options))
    assert model.table is not None
    span = LatencySpan("BTCUSDT", feed.first_local_ts, feed.last_local_ts, 1, feed, print)
    ours = np.concatenate([chunk.copy() for chunk in model.table.chunks(span)])
    assert len(ours) == len(theirs) > 300
    np.testing.assert_array_equal(ours["req_ts"], theirs["req_ts"])
    # Theirs adds latencies to times in float64, which resolves 256 ns there.
    assert np.abs(ours["exch_ts"] - theirs["exch_ts"]).max() <= 256
    assert np.abs(ours["resp_ts"] - theirs["resp_ts"]).max() <= 512
    kept = LatencyTables(tmp_path).load(model, span)
    assert kept.percentiles["entry_p50_ns"] > 1_000_000
