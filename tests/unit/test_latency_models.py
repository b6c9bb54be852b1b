"""Latency plugins: what their configurations mean, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from bt_framework.data.latency_tables import LatencyTables
from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.engine.latency import LATENCY_ROW, LatencySpan
from bt_framework.engine.models import LatencyModel, Moment, Outage, OutageMode
from bt_framework.errors import ConfigError, DataError
from bt_framework.plugin_manager import discover
from bt_framework.registry import Kind
from bt_framework.testing.feeds import START_TS, ArrayFeed, clean_events
from bt_framework.units import NS_PER_MS as MS
from bt_plugins.latency import constant, feed_derived, historical, jitter
from bt_plugins.latency._shared import InOutage

COMPONENTS = [c for c in discover().registry.components() if c.kind is Kind.LATENCY]
LOG = np.array(
    [
        (START_TS + k * 50 * MS, START_TS + k * 50 * MS + MS + k, START_TS + k * 50 * MS + 3 * MS)
        for k in range(40)
    ]
)


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> StoredFeed:
    return EventStore(tmp_path_factory.mktemp("store")).load(ArrayFeed(clean_events(2_000)))


def span_of(feed: StoredFeed, *, seed: int = 1, symbol: str = "TEST", notices: Any = None) -> LatencySpan:
    notice = [].append if notices is None else notices.append
    return LatencySpan(symbol, feed.first_local_ts, feed.last_local_ts, seed, feed, notice)


def rows_of(model: LatencyModel, span: LatencySpan) -> np.ndarray:
    assert model.table is not None
    return np.concatenate([chunk.copy() for chunk in model.table.chunks(span)])


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
@pytest.mark.parametrize("disturbed", [False, True])
def test_every_model_keeps_the_contract(
    component: Any, feed: StoredFeed, tmp_path: Path, disturbed: bool
) -> None:
    options: dict[str, Any] = (
        {"outages": [["200ms", "300ms"]], "outage_mode": InOutage.reject} if disturbed else {}
    )
    if component.name == "historical":
        np.save(tmp_path / "log.npy", LOG)
        options["files"] = [str(tmp_path / "log.npy")]
    model = component.build(component.config_class(**options))
    assert isinstance(model, LatencyModel)
    assert min(model.entry_ns, model.response_ns) >= 0
    found = LatencyTables(tmp_path).load(model, span_of(feed))
    percentiles = found.percentiles
    assert 0 <= percentiles["entry_p50_ns"] <= percentiles["entry_p99_ns"]
    assert 0 <= percentiles["response_p50_ns"] <= percentiles["response_p99_ns"]
    assert (percentiles["rejected_frac"] > 0) == disturbed
    if model.table is not None and not disturbed:
        rows = np.asarray(found.rows)
        for name in ("req_ts", "exch_ts", "resp_ts"):
            assert np.all(np.diff(rows[name]) >= 0)


@pytest.mark.parametrize("profile", [constant.Colo, constant.SameRegion, constant.Retail, constant.Zero])
def test_every_named_profile_says_what_its_figures_rest_on(profile: type) -> None:
    assert "Provenance: " in str(profile.__doc__)


def test_outages_are_times_or_count_from_the_start_of_the_run() -> None:
    model = constant.build(
        constant.Colo(outages=[["90s", "2min"], ["2024-01-01T00:00:01", "2024-01-01T00:00:02Z"]])
    )
    assert model.outages == (
        Outage(Moment(90 * 10**9), Moment(120 * 10**9)),
        Outage(Moment(START_TS + 10**9, is_utc=True), Moment(START_TS + 2 * 10**9, is_utc=True)),
    )
    assert model.outage_mode == OutageMode.DELAY


def test_jitter_is_a_base_and_a_draw_on_absolute_time(feed: StoredFeed) -> None:
    config = jitter.JitterLatency(entry_base_ns=5 * MS, response_base_ns=7 * MS, step_ns=3 * MS)
    span = span_of(feed)
    rows = rows_of(jitter.build(config), span)
    assert np.all(rows["req_ts"] % (3 * MS) == 0)
    assert np.all(np.diff(rows["req_ts"]) == 3 * MS)
    assert rows["req_ts"][0] <= span.start_ts
    assert rows["req_ts"][-1] > span.end_ts
    entry_ns, response_ns = rows["exch_ts"] - rows["req_ts"], rows["resp_ts"] - rows["exch_ts"]
    assert entry_ns.min() > 5 * MS
    assert response_ns.min() > 7 * MS
    assert abs(np.corrcoef(entry_ns, response_ns)[0, 1]) < 0.15


def test_jitter_differs_by_seed_and_symbol_and_not_by_interval(feed: StoredFeed) -> None:
    model = jitter.build(jitter.JitterLatency())
    rows = rows_of(model, span_of(feed))
    assert rows_of(model, span_of(feed)).tobytes() == rows.tobytes()
    assert rows_of(model, span_of(feed, seed=2)).tobytes() != rows.tobytes()
    assert rows_of(model, span_of(feed, symbol="OTHER")).tobytes() != rows.tobytes()
    assert model.table is not None
    identities = [
        model.table.identity(span_of(feed, seed=n, symbol=s)) for n, s in ((1, "A"), (2, "A"), (1, "B"))
    ]
    assert identities[0] != identities[1] != identities[2] != identities[0]
    whole = span_of(feed)
    later = LatencySpan("TEST", whole.start_ts + 500 * MS, whole.end_ts, 1, feed, print)
    part = rows_of(model, later)
    assert rows[-len(part) :].tobytes() == part.tobytes()


def test_feed_derived_is_the_last_event_of_each_step_by_hand(feed: StoredFeed) -> None:
    config = feed_derived.FeedDerived(
        entry_multiplier=2.0,
        entry_offset_ns=-100,
        response_multiplier=0.5,
        response_offset_ns=7,
        step_ns=100 * MS,
    )
    rows = rows_of(feed_derived.build(config), span_of(feed))
    events = feed.open()
    last = {int(event["local_ts"]) // (100 * MS): event for event in events}
    assert len(rows) == len(last) > 10
    for row, event in zip(rows, last.values(), strict=True):
        feed_ns = int(event["local_ts"] - event["exch_ts"])
        assert row["req_ts"] == event["local_ts"]
        assert row["exch_ts"] - row["req_ts"] == 2 * feed_ns - 100
        assert row["resp_ts"] - row["exch_ts"] == int(0.5 * feed_ns + 7)


def test_feed_derived_takes_no_latency_for_negative_ones(feed: StoredFeed) -> None:
    config = feed_derived.FeedDerived(entry_multiplier=0.0, entry_offset_ns=-5)
    rows = rows_of(feed_derived.build(config), span_of(feed))
    np.testing.assert_array_equal(rows["exch_ts"], rows["req_ts"])


def written(folder: Path, kind: str) -> Path:
    names = ["req_ts", "exch_ts", "resp_ts"]
    path = folder / f"log.{kind}"
    table = pa.table({name: LOG[:, k] for k, name in enumerate(names)})
    if kind == "npy":
        np.save(path, LOG)
    elif kind == "npz":
        rows = np.zeros(len(LOG), LATENCY_ROW)
        for k, name in enumerate(names):
            rows[name] = LOG[:, k]
        np.savez_compressed(path, data=rows)
    elif kind == "parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with (
            pa.CompressedOutputStream(path, "gzip")
            if kind.endswith("gz")
            else pa.OSFile(str(path), "wb") as out
        ):
            pyarrow.csv.write_csv(table, out)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "csv.gz", "parquet"])
def test_a_log_is_read_from_every_kind_of_file(feed: StoredFeed, tmp_path: Path, kind: str) -> None:
    config = historical.Historical(files=[str(written(tmp_path, kind))])
    rows = rows_of(historical.build(config), span_of(feed))
    assert rows.dtype == LATENCY_ROW
    np.testing.assert_array_equal(np.stack([rows[n] for n in ("req_ts", "exch_ts", "resp_ts")], axis=1), LOG)


def test_a_log_that_ends_before_the_run_says_so_and_holds_on(feed: StoredFeed, tmp_path: Path) -> None:
    np.save(tmp_path / "log.npy", LOG[:3])
    model = historical.build(historical.Historical(files=[str(tmp_path / "log.npy")]))
    notices: list[str] = []
    found = LatencyTables(tmp_path).load(model, span_of(feed, notices=notices))
    assert [notice[:32] for notice in notices] == ["latency: the last order of the l"]
    assert found.percentiles["entry_p99_ns"] == MS + 2


def test_a_log_of_another_time_or_unit_is_refused(feed: StoredFeed, tmp_path: Path) -> None:
    log = tmp_path / "ms.csv"
    at_ms = feed.first_local_ts // 1_000_000
    log.write_text(f"req_ts,exch_ts,resp_ts\n{at_ms},{at_ms + 1},{at_ms + 2}\n")
    model = historical.build(historical.Historical(files=[str(log)]))
    with pytest.raises(
        DataError, match=r"must have orders in the time of the run, .* its times are ns since 1970"
    ):
        LatencyTables(tmp_path).load(model, span_of(feed))


def test_the_content_of_a_log_counts_and_not_its_name(feed: StoredFeed, tmp_path: Path) -> None:
    for name, rows in (("a", LOG), ("b", LOG), ("c", LOG[:-1])):
        np.save(tmp_path / f"{name}.npy", rows)
    models = [historical.build(historical.Historical(files=[str(tmp_path / f"{n}.npy")])) for n in "abc"]
    same, again, other = (m.table.identity(span_of(feed)) for m in models)  # type: ignore[union-attr]
    assert same == again != other


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constant.Colo(outages=[["1s"]]), "outages must be pairs of start and end, was ['1s']."),
        (lambda: constant.Colo(outages=[["1s", "soon"]]), "outages must be a duration, was 'soon'."),
        (lambda: constant.Colo(response_ns=-1), "response_ns must be >= 0, was -1."),
        (lambda: constant.Colo(feed_jitter_ns=-1), "feed_jitter_ns must be >= 0, was -1."),
        (
            lambda: constant.Colo(feed_jitter_ns=1, feed_jitter_sigma=9.0),
            "feed_jitter_sigma must be from 0 to 3",
        ),
        (lambda: jitter.JitterLatency(entry_shape=-1.0), "entry_shape must be from 0 to 3, was -1.0."),
        (lambda: jitter.JitterLatency(step_ns=0), "step_ns must be from 1 to 2e+09, was 0."),
        (lambda: feed_derived.FeedDerived(step_ns=0), "step_ns must be > 0, was 0."),
        (lambda: feed_derived.FeedDerived(entry_multiplier=-1.0), "entry_multiplier must be >= 0, was -1.0."),
        (
            lambda: historical.Historical(columns=["a"]),
            "columns must name those of request, exchange and response",
        ),
        (lambda: historical.build(historical.Historical()), "latency.files must name a file, was empty."),
        (
            lambda: historical.build(historical.Historical(files=["a.txt"])),
            "latency.files must be .npz, .npy, .csv, .csv.gz or .parquet, was a.txt.",
        ),
    ],
)
def test_wrong_configurations_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("a,b\n1,2\n", "It must have the integer columns req_ts, exch_ts, resp_ts in ns (latency.columns)."),
        ("req_ts,exch_ts,resp_ts\n1.5,2,3\n", "It must have the integer columns"),
    ],
)
def test_logs_that_cannot_be_read_are_named(
    feed: StoredFeed, tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "log.csv"
    if content is not None:
        path.write_text(content)
    model = historical.build(historical.Historical(files=[str(path)]))
    with pytest.raises(DataError) as caught:
        LatencyTables(tmp_path / "store").load(model, span_of(feed))
    assert str(caught.value).startswith(f"latency file {path} cannot be read: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty.csv", "exch_ts is empty in some rows; a rejected order has the exchange time 0"),
        ("empty.parquet", "exch_ts is empty in some rows"),
        ("floats.parquet", "exch_ts is of double"),
        ("truncated.npz", "File is not a zip file"),
        ("nothing.npz", "it is no .npz file with an array"),
        ("array.npz", "it is no .npz file with an array"),
        ("archive.npy", "the magic string is not correct"),
        ("nothing.npy", "EOF"),
        ("flat.npy", "its array has the shape (3,)"),
        ("number.npy", "its array has the shape ()"),
    ],
)
def test_logs_with_holes_or_of_other_shapes_are_refused(
    feed: StoredFeed, tmp_path: Path, name: str, message: str
) -> None:
    path = tmp_path / name
    req_ts, resp_ts = LOG[:2, 0].tolist(), LOG[:2, 2].tolist()
    match name:
        case "empty.csv":
            lines = f"{req_ts[0]},{req_ts[0] + 1},{resp_ts[0]}\n{req_ts[1]},,{resp_ts[1]}\n"
            path.write_text("req_ts,exch_ts,resp_ts\n" + lines)
        case "empty.parquet" | "floats.parquet":
            exch_ts: Any = [req_ts[0] + 1, None] if name == "empty.parquet" else [float(ts) for ts in req_ts]
            table = pa.table({"req_ts": req_ts, "exch_ts": exch_ts, "resp_ts": resp_ts})
            pyarrow.parquet.write_table(table, path)
        case "truncated.npz":
            path.write_bytes(b"PK\x03\x04 and no more")
        case "nothing.npz":
            np.savez(path)
        case "array.npz" | "archive.npy":
            with path.open("wb") as file:
                (np.save if name == "array.npz" else np.savez)(file, LOG)
        case "nothing.npy":
            path.write_bytes(b"")
        case "flat.npy":
            np.save(path, np.arange(3))
        case _:
            np.save(path, np.int64(3))
    model = historical.build(historical.Historical(files=[str(path)]))
    with pytest.raises(DataError) as caught:
        LatencyTables(tmp_path / "store").load(model, span_of(feed))
    assert str(caught.value).startswith(f"latency file {path} cannot be read: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("unit", ["ns", "us"])
def test_timestamps_of_any_unit_are_read_as_nanoseconds(feed: StoredFeed, tmp_path: Path, unit: str) -> None:
    whole_us = LOG // 1_000 * 1_000
    times = pa.array(whole_us.ravel() // (1 if unit == "ns" else 1_000)).cast(pa.timestamp(unit, "UTC"))
    columns = {
        name: times.take(pa.array(range(k, len(times), 3))) for k, name in enumerate(LATENCY_ROW.names[:3])
    }
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "log.parquet")
    model = historical.build(historical.Historical(files=[str(tmp_path / "log.parquet")]))
    rows = rows_of(model, span_of(feed))
    np.testing.assert_array_equal(np.stack([rows[n] for n in LATENCY_ROW.names[:3]], axis=1), whole_us)
