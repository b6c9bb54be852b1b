"""`bt data export`: slices of events as files that pyarrow reads back to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bt_framework.cli.main import main
from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.errors import StorageError
from bt_framework.records import EVENT
from bt_framework.stores.clickhouse import export
from bt_framework.stores.clickhouse.export import FileFormat, export_events
from bt_framework.testing.feeds import START_TS, ArrayFeed, clean_events
from bt_framework.units import NS_PER_MS

COLUMNS = ["feed_id", "symbol", "sequence", *(EVENT.names or ())]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def stored(folder: Path, symbol: str, seed: int = 0) -> StoredFeed:
    events = clean_events(400, seed)
    rng = np.random.default_rng(seed)
    for name in ("fval", "ival", "order_id"):
        events[name] = rng.integers(0, 2**64, len(events), np.uint64).view(EVENT[name])
    return EventStore(folder).load(ArrayFeed(events, symbol))


def read(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with pa.ipc.open_file(path) as file:
        return file.read_all()


def events_of(table: pa.Table) -> np.ndarray:
    rows = np.zeros(table.num_rows, EVENT)
    for name in EVENT.names or ():
        rows[name] = table[name].to_numpy()
    return rows


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_what_is_written_is_read_back_to_the_bit(tmp_path, folder, monkeypatch, capsys, ending):
    monkeypatch.setattr(export, "BLOCK_ROWS", 700)
    feeds = [stored(folder, "AUSDT"), stored(folder, "BUSDT", 1)]
    output = tmp_path / f"slice.{ending}"
    arguments = ["AUSDT", "BUSDT", f"store_dir={folder}", "--output", str(output)]
    assert main(["data", "export", *arguments]) == 0
    assert f"{sum(f.events for f in feeds):,} events, " in capsys.readouterr().out
    table = read(output)
    assert table.column_names == COLUMNS
    assert events_of(table).tobytes() == b"".join(f.open().tobytes() for f in feeds)
    assert table["symbol"].to_pylist() == [f.symbol for f in feeds for _ in range(f.events)]
    assert set(table["feed_id"].to_pylist()) == {f.content_hash for f in feeds}
    assert table["sequence"].to_pylist() == [i for f in feeds for i in range(f.events)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name, "store"]


def test_a_span_of_local_time_is_written(tmp_path, folder):
    feed = stored(folder, "AUSDT")
    span = START_TS + 100 * NS_PER_MS, START_TS + 200 * NS_PER_MS
    output = tmp_path / "part"
    times = ["--start", "2024-01-01T00:00:00.1", "--end", "2024-01-01T00:00:00.200Z", "--format", "parquet"]
    assert main(["data", "export", feed.key[:9], f"store_dir={folder}", *times, "--output", str(output)]) == 0
    events = feed.open()
    inside = (events["local_ts"] >= span[0]) & (events["local_ts"] < span[1])
    table = pq.read_table(output)
    assert events_of(table).tobytes() == events[inside].tobytes()
    assert table["sequence"].to_pylist() == np.flatnonzero(inside).tolist()


def test_data_of_a_composition_are_written(tmp_path, folder):
    output = tmp_path / "synthetic.arrow"
    data = ["data=synthetic_pair", "data.duration_ns=2s", f"store_dir={folder}"]
    assert main(["data", "export", *data, "--output", str(output)]) == 0
    assert read(output)["symbol"].unique().to_pylist() == [m.symbol for m in EventStore(folder).manifests()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "{folder}/x.csv"], "--output must end in .parquet or .arrow, or --format be given"),
        (["--output", "{folder}/none/x.parquet"], "--output must be in a folder that exists"),
        (["--output", "{folder}/there.parquet"], "--output must not exist"),
        (
            ["--output", "{folder}/x.parquet", "--start", "soon"],
            "--start must be an ISO-8601 time, was 'soon'",
        ),
        (
            ["--output", "{folder}/x.parquet", "--start", "2025-01-01"],
            "no events were received in the time asked for",
        ),
        (["--output", "{folder}/x.parquet", "NONE"], "AUSDT, was 'NONE'"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, folder, capsys, arguments, message):
    stored(folder, "AUSDT")
    (tmp_path / "there.parquet").write_text("kept")
    told = [argument.format(folder=tmp_path) for argument in arguments]
    assert main(["data", "export", "AUSDT", f"store_dir={folder}", *told]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "there.parquet"]
    assert (tmp_path / "there.parquet").read_text() == "kept"


def test_a_full_disk_leaves_no_part_of_the_file(tmp_path, folder, monkeypatch):
    feed = stored(folder, "AUSDT")

    def full(rows: object, *_: object) -> pa.Table:
        raise OSError(28, "No space left on device")

    written = export.event_table
    blocks = iter([written, full])
    monkeypatch.setattr(export, "BLOCK_ROWS", 700)
    monkeypatch.setattr(export, "event_table", lambda *columns: next(blocks)(*columns))
    with pytest.raises(StorageError, match=r"writing x\.parquet in .* failed: No space left on device"):
        export_events([feed], (None, None), tmp_path / "x.parquet", FileFormat.PARQUET, lambda a, b: None)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
