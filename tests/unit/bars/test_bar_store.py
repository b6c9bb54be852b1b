"""The bar store: what is written is what is read, all of it or nothing."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.bars.building import raw_bars
from bt_framework.bars.schema import BAR_SCHEMA
from bt_framework.bars.store import BarStore, MissingPartition
from bt_framework.errors import ConfigError, DataError, StorageError
from bt_framework.units import NS_PER_S

DAY_NS, HOUR_NS = 86_400 * NS_PER_S, 3_600 * NS_PER_S
START_US = 1_704_067_200_000_000
"""2024-01-01."""


FAR = 1_577_836_860_000_000_000
"""A time in us that datetime does not have."""


def bars(symbol: str, hours: list[int], step_ns: int = HOUR_NS) -> pa.Table:
    """Bars at these steps after the start; the close says which."""
    at = np.asarray(hours, np.int64)
    return raw_bars(symbol, START_US + at * (step_ns // 1_000), {"close": at + 1.0, "volume": at * 10.0})


def both(count: int, step_ns: int = HOUR_NS) -> pa.Table:
    return pa.concat_tables([bars(symbol, list(range(count)), step_ns) for symbol in ("A", "B")])


def day(number: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number - 1)


def test_what_is_written_is_read_by_symbol_and_time(tmp_path):
    store, table = BarStore(tmp_path), both(100)
    by_time = table.take(pc.sort_indices(table, [("datetime", "ascending"), ("symbol", "descending")]))
    assert store.append("venue", by_time, interval_ns=HOUR_NS) == 200
    assert store.read("venue").equals(table)
    assert (store.sources(), store.symbols("venue"), store.interval_ns("venue")) == (
        ["venue"],
        ["A", "B"],
        HOUR_NS,
    )


def test_a_partition_is_a_utc_day_and_for_daily_bars_a_year(tmp_path):
    store = BarStore(tmp_path)
    store.append("hours", both(49), interval_ns=HOUR_NS)
    store.append("days", both(400, DAY_NS), interval_ns=DAY_NS)
    folders = {name: [path.parent.name for path in store.files(name)] for name in store.sources()}
    assert folders["hours"] == ["date=2024-01-01", "date=2024-01-02", "date=2024-01-03"]
    assert folders["days"] == ["date=2024-01-01", "date=2025-01-01"]


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=12),
    start=st.none() | st.integers(-5, 70),
    end=st.none() | st.integers(-5, 70),
    symbols=st.none() | st.sampled_from([["A"], ["B"], ["A", "B"]]),
    columns=st.none() | st.lists(st.sampled_from(BAR_SCHEMA.names), unique=True, min_size=1),
)
def test_appending_in_any_pieces_is_one_write_and_a_range_is_a_filter(
    tmp_path_factory, cuts, start, end, symbols, columns
):
    store, table = BarStore(tmp_path_factory.mktemp("store")), both(60)
    times = table["datetime"].cast(pa.int64()).to_numpy()
    edges = [START_US + hour * 3_600_000_000 for hour in [0, *sorted(cuts), 60]]
    for begin, until in pairwise(edges):
        store.append("venue", table.filter(pa.array((times >= begin) & (times < until))), interval_ns=HOUR_NS)
    bounds = [None if hour is None else day(1) + timedelta(hours=hour) for hour in (start, end)]
    read = store.read("venue", symbols=symbols, start=bounds[0], end=bounds[1], columns=columns)
    expected = table
    if symbols:
        expected = expected.filter(pc.is_in(expected["symbol"], value_set=pa.array(symbols)))
    for bound, keeps in zip(bounds, (pc.greater_equal, pc.less), strict=True):
        if bound is not None:
            expected = expected.filter(
                keeps(expected["datetime"], pa.scalar(bound, BAR_SCHEMA.field(1).type))
            )
    assert read.equals(expected.select(columns or BAR_SCHEMA.names))


def test_many_small_appends_leave_few_files(tmp_path):
    store = BarStore(tmp_path)
    for hour in range(24):
        store.append("venue", bars("A", [hour]), interval_ns=HOUR_NS)
    assert len(store.files("venue")) <= 8
    assert len(list(tmp_path.rglob("*.parquet"))) == len(store.files("venue"))
    assert store.read("venue").equals(bars("A", list(range(24))))


def test_files_outside_the_range_are_not_opened(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", both(96), interval_ns=HOUR_NS)
    for path in store.files("venue"):
        if path.parent.name != "date=2024-01-03":
            path.write_bytes(b"no parquet")
    assert store.read("venue", start=day(3), end=day(4)).num_rows == 48
    with pytest.raises(
        StorageError, match=r"bars of venue in .* cannot be read: .* Ingest the source again\."
    ):
        store.read("venue", start=day(3))


def test_an_empty_range_is_an_empty_table(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", both(5), interval_ns=HOUR_NS)
    for start, end in ((day(9), day(10)), (day(2), day(1)), (day(1), day(1))):
        read = store.read("venue", start=start, end=end)
        assert read.num_rows == 0
        assert read.schema.equals(BAR_SCHEMA)


def test_older_bars_after_newer_ones_are_refused_and_change_nothing(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", bars("A", [0, 1, 2]), interval_ns=HOUR_NS)
    offered = pa.concat_tables([bars("B", [7]), bars("A", [2, 3])])
    with pytest.raises(DataError) as caught:
        store.append("venue", offered, interval_ns=HOUR_NS)
    assert str(caught.value) == (
        "bars of venue: the last bar stored of A is 2024-01-01 02:00:00, the first one offered is 2024-01-01 02:00:00."
        " Append later bars only, or replace the symbol's."
    )
    assert store.read("venue").equals(bars("A", [0, 1, 2]))


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        ([0, 1, 1, 2], "bars of venue: A has two bars at 2024-01-01 01:00:00. Remove one of them."),
        (
            [0, 2, 1],
            "bars of venue: A has the bar of 2024-01-01 01:00:00 after that of 2024-01-01 02:00:00. Sort the bars by"
            " time.",
        ),
    ],
)
def test_bars_that_are_double_or_out_of_order_are_refused(tmp_path, hours, message):
    with pytest.raises(DataError) as caught:
        BarStore(tmp_path).append("venue", bars("A", hours), interval_ns=HOUR_NS)
    assert str(caught.value) == message
    assert BarStore(tmp_path).sources() == []


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("adj_factor", 0.0, "bars of venue: adj_factor must be > 0, was not for A at 2024-01-01T01:00:00"),
        ("close", float("inf"), "bars of venue: close must be finite, was not for A at 2024-01-01T01:00:00"),
        *[
            (
                "symbol",
                symbol,
                "bars of venue: symbol must be 1 to 100 printable characters without space around them, was not for"
                f" {shown} at 2024-01-01T01:00:00.000000 (row 1).",
            )
            for symbol, shown in [
                ("", "''"),
                ("A\x1b[31mB", r"'A\x1b[31mB'"),
                ("A\nB", r"'A\nB'"),
                (" A", " A"),
            ]
        ],
        ("symbol", "A" * 101, "bars of venue: symbol must be 1 to 100 printable characters"),
        ("symbol", None, "bars of venue: symbol must be given, was not for None at 2024-01-01T01:00:00"),
        (
            "datetime",
            FAR,
            "bars of venue: datetime must lie between 1677 and 2262, was not for A at 51969-08-29T16:40:00.000000",
        ),
        ("datetime", None, "bars of venue: datetime must be given, was not for A at no time (row 1)."),
        ("adj_factor", float("nan"), "bars of venue: adj_factor must be > 0"),
    ],
)
def test_values_that_break_the_schema_are_refused(tmp_path, column, value, message):
    table = bars("A", [0, 1, 2])
    values = (table[column].cast(pa.int64()) if column == "datetime" else table[column]).to_pylist()
    values[1] = value
    at = BAR_SCHEMA.get_field_index(column)
    broken = table.set_column(at, BAR_SCHEMA.field(at), pa.array(values, BAR_SCHEMA.field(at).type))
    with pytest.raises(DataError) as caught:
        BarStore(tmp_path).append("venue", broken, interval_ns=HOUR_NS)
    assert str(caught.value).startswith(message)


def test_other_columns_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"bars of venue must have the columns symbol, datetime, open, .* were close"
    ):
        BarStore(tmp_path).append("venue", bars("A", [0]).select(["close"]), interval_ns=HOUR_NS)


def test_nan_is_stored_as_null(tmp_path):
    table = bars("A", [0, 1])
    at = BAR_SCHEMA.get_field_index("close")
    table = table.set_column(at, BAR_SCHEMA.field(at), pa.array([1.0, float("nan")]))
    BarStore(tmp_path).append("venue", table, interval_ns=HOUR_NS)
    assert BarStore(tmp_path).read("venue")["close"].to_pylist() == [1.0, None]


def test_replacing_a_symbol_leaves_the_others(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", both(60), interval_ns=HOUR_NS)
    store.replace("venue", bars("A", [30, 31]), interval_ns=HOUR_NS)
    assert store.read("venue", symbols=["A"]).equals(bars("A", [30, 31]))
    assert store.read("venue", symbols=["B"]).equals(bars("B", list(range(60))))
    assert [span.rows for span in store.spans("venue").values()] == [2, 60]
    assert len(list(tmp_path.rglob("*.parquet"))) == len(store.files("venue"))


def test_a_source_has_one_interval_unless_all_of_it_is_replaced(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", both(3), interval_ns=HOUR_NS)
    message = r"source venue has bars of 1h, those offered are of 24h\. Keep them under another name"
    with pytest.raises(DataError, match=message):
        store.append("venue", bars("C", [0], DAY_NS), interval_ns=DAY_NS)
    with pytest.raises(DataError, match=message):
        store.replace("venue", bars("A", [0], DAY_NS), interval_ns=DAY_NS)
    store.replace("venue", both(3, DAY_NS), interval_ns=DAY_NS)
    assert store.interval_ns("venue") == DAY_NS
    with pytest.raises(DataError, match="interval_ns must be > 0, was 0"):
        store.append("venue", bars("A", [0]), interval_ns=0)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a=b", ".hidden", "a b", "x" * 101])
def test_the_name_of_a_source_is_a_plain_name(tmp_path, name):
    with pytest.raises(ConfigError, match="the name of a source of bars must be letters"):
        BarStore(tmp_path).append(name, bars("A", [0]), interval_ns=HOUR_NS)
    with pytest.raises(ConfigError, match="the name of a source of bars"):
        BarStore(tmp_path).read(name)
    assert not list(tmp_path.iterdir())


def test_unknown_sources_symbols_and_columns_are_named(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", both(3), interval_ns=HOUR_NS)
    with pytest.raises(DataError, match=r"must be one of venue, was 'vneue'\. Did you mean 'venue'\?"):
        store.read("vneue")
    with pytest.raises(DataError, match="a symbol of source venue must be one of A, B, was 'C'"):
        store.read("venue", symbols=["A", "C"])
    with pytest.raises(
        ConfigError, match=r"a column of bars must be one of .*, was 'closes'\. Did you mean 'close'\?"
    ):
        store.read("venue", columns=["closes"])


def test_a_missing_partition_follows_the_policy(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", bars("A", [0, 1, 50]), interval_ns=HOUR_NS)
    assert store.read("venue").num_rows == 3
    with pytest.raises(DataError, match=r"no bars in the partition date=2024-01-02 of the range asked for"):
        store.read("venue", missing=MissingPartition.error)
    assert store.read("venue", end=day(2), missing=MissingPartition.error).num_rows == 2
    with pytest.raises(DataError, match=r"date=2024-01-04 and 5 more"):
        store.read("venue", start=day(3), end=day(10), missing=MissingPartition.error)


def test_a_partition_whose_files_are_gone_is_missing_too(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", bars("A", [0, 24]), interval_ns=HOUR_NS)
    store.files("venue")[0].unlink()
    assert store.read("venue")["close"].to_pylist() == [25.0]
    with pytest.raises(DataError, match="date=2024-01-01"):
        store.read("venue", missing=MissingPartition.error)


def test_files_that_no_manifest_names_do_not_count_and_are_swept(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", bars("A", [0]), interval_ns=HOUR_NS)
    stray = tmp_path / "source=venue" / "date=2020-01-01" / "part-stray.parquet"
    stray.parent.mkdir()
    stray.write_bytes(store.files("venue")[0].read_bytes())
    assert store.read("venue").num_rows == 1
    store.append("venue", bars("A", [1]), interval_ns=HOUR_NS)
    assert not stray.parent.exists()


def test_a_damaged_or_newer_manifest_is_a_storage_error(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", bars("A", [0]), interval_ns=HOUR_NS)
    path = tmp_path / "source=venue" / "manifest.json"
    newer = json.loads(path.read_text()) | {"format": 99}
    path.write_text(json.dumps(newer))
    with pytest.raises(StorageError, match="was written by a newer version of bt"):
        store.read("venue")
    path.write_text("{")
    with pytest.raises(StorageError, match=r"cannot be read: .* Remove .* and ingest the source again"):
        store.read("venue")


def add_all(store: BarStore, tables: Iterator[pa.Table]) -> None:
    with store.writing("venue", interval_ns=HOUR_NS, replace=True) as writer:
        for table in tables:
            writer.add(table)


def test_an_error_in_the_middle_of_a_write_leaves_the_store_as_it_was(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", both(10), interval_ns=HOUR_NS)
    files = sorted(tmp_path.rglob("*.parquet"))
    tables = iter([bars("A", [0]), bars("A", [0])])
    with pytest.raises(DataError, match="first one offered is"):
        add_all(store, tables)
    assert sorted(tmp_path.rglob("*.parquet")) == files
    assert store.read("venue").equals(both(10))


def test_a_full_disk_is_a_storage_error_and_leaves_the_store_as_it_was(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", both(10), interval_ns=HOUR_NS)
    files = sorted(tmp_path.rglob("*.parquet"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        with pytest.raises(
            StorageError, match=rf"storing bars in {tmp_path} failed: .* Free space, make it writable"
        ):
            store.append("venue", bars("A", list(range(10, 5_000))), interval_ns=HOUR_NS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(tmp_path.rglob("*.parquet")) == files
    assert store.read("venue").equals(both(10))


def test_removing_a_source_leaves_the_others(tmp_path):
    store = BarStore(tmp_path)
    for name in ("one", "two"):
        store.append(name, both(2), interval_ns=HOUR_NS)
    store.remove("one")
    assert store.sources() == ["two"]


APPEND = """
import sys
from pathlib import Path
import numpy as np
from bt_framework.bars.building import raw_bars
from bt_framework.bars.store import BarStore

root, symbol, mode = sys.argv[1:]
times = 1_704_067_200_000_000 + np.arange(100) * 3_600_000_000
print("ready", flush=True)
sys.stdin.readline()
if mode == "many":
    for at in range(0, 100, 20):
        table = raw_bars(symbol, times[at : at + 20], {"close": np.ones(20)})
        BarStore(Path(root)).append("venue", table, interval_ns=3_600_000_000_000)
else:
    with BarStore(Path(root)).writing("venue", interval_ns=3_600_000_000_000, replace=True) as writer:
        writer.add(raw_bars(symbol, times, {"close": np.ones(100)}))
        writer._flush()
        print("staged", flush=True)
        sys.stdin.readline()
"""


def process(root: Path, symbol: str, mode: str) -> subprocess.Popen:
    started = subprocess.Popen(
        [sys.executable, "-c", APPEND, str(root), symbol, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout.readline() == "ready\n"
    return started


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    running = [process(tmp_path, symbol, "many") for symbol in "ABC"]
    for one in running:
        one.stdin.write("\n")
        one.stdin.flush()
    for one in running:
        one.communicate(timeout=60)
        assert one.returncode == 0
    store = BarStore(tmp_path)
    assert [span.rows for span in store.spans("venue").values()] == [100] * 3
    assert store.read("venue").num_rows == 300


def test_a_killed_writer_leaves_what_was_there(tmp_path):
    store = BarStore(tmp_path)
    store.append("venue", both(10), interval_ns=HOUR_NS)
    running = process(tmp_path, "A", "one")
    running.stdin.write("\n")
    running.stdin.flush()
    assert running.stdout.readline() == "staged\n"
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    assert store.read("venue").equals(both(10))
    store.append("venue", bars("A", [10]), interval_ns=HOUR_NS)
    assert store.read("venue").num_rows == 21


def test_a_read_during_a_replacement_starts_over(tmp_path, monkeypatch):
    store = BarStore(tmp_path)
    store.append("venue", bars("A", [0]), interval_ns=HOUR_NS)
    lost = BarStore._lost
    replaced = []

    def replace_first(self, source, parts):
        if not replaced:
            replaced.append(True)
            BarStore(tmp_path).replace("venue", bars("A", [5]), interval_ns=HOUR_NS)
        return lost(self, source, parts)

    monkeypatch.setattr(BarStore, "_lost", replace_first)
    assert store.read("venue").equals(bars("A", [5]))
