"""The event store: what goes in comes out, once, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bt_framework.data.manifest import Manifest
from bt_framework.data.store import EventStore, StoredFeed
from bt_framework.errors import DataError, StorageError
from bt_framework.records import EVENT
from bt_framework.results.run import Instrument
from bt_framework.testing.feeds import START_TS, ArrayFeed, clean_events
from bt_framework.units import NS_PER_S

DAY_NS = 86_400 * NS_PER_S


@pytest.fixture(scope="module")
def events() -> np.ndarray:
    array = clean_events(400)
    array.flags.writeable = False
    return array


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return EventStore(tmp_path / "store")


def files_of(store: EventStore, folder: str) -> list[Path]:
    return sorted(path for path in (store.root / folder).rglob("*") if path.is_file())


def test_what_was_stored_is_mapped_as_it_was(store, events):
    stored = store.load(ArrayFeed(events))
    mapped = stored.open()
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == EVENT
    assert not mapped.flags.writeable
    assert mapped.tobytes() == events.tobytes()
    assert stored.events == len(events)
    assert (stored.first_local_ts, stored.last_local_ts) == (events["local_ts"][0], events["local_ts"][-1])
    assert stored.first_exch_ts == events["exch_ts"][0]
    assert stored.spec == Instrument("TEST", 0.1, 0.001)
    assert not stored.has_depth_clear


def test_a_second_load_streams_nothing(store, events):
    store.load(ArrayFeed(events))
    again = ArrayFeed(events)
    store.load(again)
    assert again.streamed == 0


def test_the_size_of_chunks_does_not_matter(tmp_path, events):
    stored = [
        EventStore(tmp_path / str(rows)).load(ArrayFeed(events, chunk_rows=rows)) for rows in (1, 7, 100_000)
    ]
    assert len({s.content_hash for s in stored}) == 1
    assert len({(s.touch_low_px, s.touch_high_px, s.spec, s.findings) for s in stored}) == 1


def test_blocks_are_joined_without_loss(store):
    many = clean_events(20_000)
    assert len(many) > 2 * 65_536
    assert store.load(ArrayFeed(many, chunk_rows=50_000)).open().tobytes() == many.tobytes()


def test_a_deleted_mapping_is_rebuilt_to_the_bit(store, events):
    stored = store.load(ArrayFeed(events))
    stored.path.unlink()
    feed = ArrayFeed(events)
    assert store.load(feed).open().tobytes() == events.tobytes()
    assert feed.streamed == 0


def test_a_mapping_that_vanished_after_the_load_is_rebuilt_on_open(store, events):
    stored = store.load(ArrayFeed(events))
    stored.path.unlink()
    assert stored.open().tobytes() == events.tobytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=arrays(
        np.dtype([("px", "u8"), ("qty", "u8"), ("fval", "u8"), ("ival", "i8"), ("order_id", "u8")]),
        st.integers(1, 40),
    )
)
def test_every_bit_survives_the_archive(values, tmp_path_factory):
    from bt_framework.data._sink import Sink, archived_rows

    rows = clean_events(10)[: len(values)].copy()
    values = values[: len(rows)]
    for name in values.dtype.names:
        rows[name] = values[name].view(rows[name].dtype)
    folder = tmp_path_factory.mktemp("sink")
    with Sink(folder, "array", "TEST") as sink:
        block = sink.block()
        block[: len(rows)] = rows
        sink.submit(block[: len(rows)])
        _, days = sink.finish()
    back = b"".join(part.tobytes() for day, _ in days for part in archived_rows(folder / f"{day}.parquet"))
    assert back == rows.tobytes()
    assert np.load(folder / "events.npy").tobytes() == rows.tobytes()


def test_days_are_archived_apart_and_rebuilt_together(store):
    days = np.concatenate([clean_events(1, start_ts=START_TS + day * DAY_NS) for day in (0, 1, 3)])
    stored = store.load(ArrayFeed(days))
    hash12 = stored.content_hash[:12]
    assert [path.name for path in files_of(store, "archive/array/TEST")] == [
        f"2024-01-0{day}.{hash12}.parquet" for day in (1, 2, 4)
    ]
    stored.path.unlink()
    assert stored.open().tobytes() == days.tobytes()


def test_an_archived_day_can_be_read_by_itself(store, events):
    import pyarrow.parquet as pq

    store.load(ArrayFeed(events))
    (path,) = files_of(store, "archive")
    table = pq.read_table(path)
    assert table.column_names == list(EVENT.names)
    assert table.schema.metadata == {b"bt_format": b"1", b"reader": b"array", b"symbol": b"TEST"}
    assert table["px"].to_numpy().tolist() == events["px"].tolist()


def test_a_damaged_archive_means_ingesting_again(store, events):
    stored = store.load(ArrayFeed(events))
    stored.path.unlink()
    (part,) = files_of(store, "archive")
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"the archive of TEST in .* cannot be read"):
        stored.open()
    feed, said = ArrayFeed(events), []
    assert store.load(feed, announce=said.append).open().tobytes() == events.tobytes()
    assert feed.streamed == 1
    assert any("Ingesting again" in line for line in said)


def test_an_archive_with_other_events_is_refused(store, events):
    stored = store.load(ArrayFeed(events))
    other = store.load(ArrayFeed(clean_events(100, seed=5)))
    parts = {path.name.split(".")[1]: path for path in files_of(store, "archive")}
    os.replace(parts[other.content_hash[:12]], parts[stored.content_hash[:12]])
    stored.path.unlink()
    with pytest.raises(StorageError, match="is damaged: its events have changed"):
        stored.open()


def test_a_truncated_mapping_is_not_used(store, events):
    stored = store.load(ArrayFeed(events))
    stored.path.write_bytes(stored.path.read_bytes()[:-64])
    assert store.load(ArrayFeed(events)).open().tobytes() == events.tobytes()


def test_a_broken_manifest_means_ingesting_again(store, events):
    key = store.load(ArrayFeed(events)).key
    (store.root / "manifests" / f"{key}.json").write_text('{"format": 1, "key"')
    feed = ArrayFeed(events)
    store.load(feed)
    assert feed.streamed == 1


def test_other_options_are_another_feed(store, events):
    keys = {
        store.load(ArrayFeed(events, **options)).key
        for options in (
            {},
            {"tick_size": 0.1},
            {"lot_size": 0.001},
            {"symbol": "OTHER"},
            {"base_latency_ns": 5},
        )
    }
    assert len(keys) == 5
    assert len(files_of(store, "objects")) == 1


class FileFeed(ArrayFeed):
    """Stands for a reader: its events do not depend on the file, so that only the store looks at it."""

    def identity(self):
        return {"reader": "file"}


def test_a_file_is_known_by_its_content(store, events, tmp_path):
    file = tmp_path / "raw.gz"
    file.write_bytes(b"one")
    first = store.load(FileFeed(events, files=(file,)))
    os.utime(file, ns=(1, 1))
    moved = tmp_path / "moved.gz"
    moved.write_bytes(b"one")
    assert store.load(FileFeed(events, files=(file,))).key == first.key
    assert store.load(FileFeed(events, files=(moved,))).key == first.key
    file.write_bytes(b"two")
    assert store.load(FileFeed(events, files=(file,))).key != first.key


SECOND_RUN = """
import sys
from pathlib import Path
opened = []
sys.addaudithook(lambda name, args: opened.append(str(args[0])) if name == "open" else None)
from bt_framework.data.store import EventStore
from bt_framework.testing.feeds import clean_events
sys.path.insert(0, {folder!r})
from test_store import FileFeed
file, root = Path({file!r}), Path({root!r})
stored = EventStore(root).load(FileFeed(clean_events(50), files=(file,)))
opened.clear()
stored = EventStore(root).load(FileFeed(clean_events(50), files=(file,)))
stored.open()
names = {{Path(name).name for name in opened if name.startswith({tmp!r})}}
assert all(name.endswith((".json", ".npy")) for name in names) and len(names) == 3, names
"""


def test_a_second_run_opens_the_manifest_and_the_mapping_only(tmp_path):
    file = tmp_path / "raw.gz"
    file.write_bytes(b"x" * 1_000)
    names = {"folder": str(Path(__file__).parent), "file": str(file), "root": str(tmp_path / "store")}
    script = SECOND_RUN.format(**names, tmp=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WARM_IMPORTS = """
import sys
from pathlib import Path
from bt_plugins.data.synthetic_pair import SyntheticPair, build
from bt_framework.data.store import EventStore
EventStore(Path({root!r})).load_all(build(SyntheticPair(duration_ns="1s")).feeds())
print([name for name in ("numba", "pyarrow", "pandas", "hydra") if name in sys.modules])
"""


def test_a_second_run_imports_neither_numba_nor_pyarrow(tmp_path):
    script = WARM_IMPORTS.format(root=str(tmp_path / "store"))
    outs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outs[0].startswith("['numba', 'pyarrow'")
    assert outs[1] == "[]\n"


def test_a_missing_file_is_a_data_error(store, events, tmp_path):
    with pytest.raises(DataError, match=r"data file .*nowhere.gz cannot be read: No such file"):
        store.load(FileFeed(events, files=(tmp_path / "nowhere.gz",)))


def test_a_file_that_changes_while_it_is_read_is_refused(store, events, tmp_path):
    file = tmp_path / "raw.gz"
    file.write_bytes(b"one")

    def touch(done: int, total: int) -> None:
        file.write_bytes(b"one and more")

    with pytest.raises(DataError, match=r"raw.gz changed while it was read"):
        store.load(FileFeed(events, files=(file,)), progress=touch)
    assert store.manifests() == []


def test_data_of_another_symbol_are_refused(store, events):
    feed = ArrayFeed(events, symbol="ETH", report={"symbol": "BTC"})
    with pytest.raises(DataError, match=r"symbol must be ETH, was BTC in the data"):
        store.load(feed)


def test_refused_events_leave_nothing(store, events):
    broken = events.copy()
    broken["ev"] &= np.uint64(0xFF)
    with pytest.raises(DataError, match="the events cannot be used"):
        store.load(ArrayFeed(broken))
    assert [files_of(store, folder) for folder in ("manifests", "objects", "archive", "tmp")] == [
        [],
        [],
        [],
        [],
    ]


def test_a_feed_without_events_leaves_nothing(store, events):
    with pytest.raises(DataError, match="zero events: 0, the source has no events"):
        store.load(ArrayFeed(events[:0]))
    assert [files_of(store, folder) for folder in ("manifests", "objects", "tmp")] == [[], [], []]


class VanishingFeed(ArrayFeed):
    """Its file goes away while it is read, and the reader lets the OSError through."""

    def chunks(self, report, progress):
        yield from super().chunks(report, progress)
        self.files[0].unlink()
        self.files[0].read_bytes()


def test_a_file_that_vanishes_is_a_data_error(store, events, tmp_path):
    file = tmp_path / "raw.gz"
    file.write_bytes(b"one")
    with pytest.raises(DataError, match=r"data file .*raw.gz cannot be read: No such file"):
        store.load(VanishingFeed(events, files=(file,)))


class BreakingFeed(ArrayFeed):
    """Breaks in the middle, as a truncated file does."""

    def chunks(self, report, progress):
        yield from super().chunks(report, progress)
        raise DataError("raw.gz is truncated")


def test_a_reader_that_fails_leaves_nothing(store, events):
    with pytest.raises(DataError, match=r"raw.gz is truncated"):
        store.load(BreakingFeed(events))
    assert [files_of(store, folder) for folder in ("manifests", "objects", "archive", "tmp")] == [
        [],
        [],
        [],
        [],
    ]


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path, events):
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(
        StorageError, match=rf"storing events in {tmp_path}/store failed: .*choose another folder"
    ):
        EventStore(tmp_path / "store").load(ArrayFeed(events))


def test_least_recently_used_mappings_are_evicted(tmp_path):
    arrays_ = [clean_events(100, seed=seed) for seed in range(3)]
    size = max(a.nbytes for a in arrays_) + 1_000
    store = EventStore(tmp_path, max_cache_bytes=2 * size)
    first, second = (store.load(ArrayFeed(a)) for a in arrays_[:2])
    os.utime(second.path, ns=(1, 1))
    third = store.load(ArrayFeed(arrays_[2]))
    assert [s.path.exists() for s in (first, second, third)] == [True, False, True]
    assert second.open().tobytes() == arrays_[1].tobytes()


def test_a_mapping_that_cannot_be_rebuilt_is_not_evicted(tmp_path):
    store = EventStore(tmp_path, max_cache_bytes=1)
    first = store.load(ArrayFeed(clean_events(100)))
    for part in files_of(store, "archive"):
        part.unlink()
    store.load(ArrayFeed(clean_events(100, seed=1)))
    assert first.path.exists()


def test_removing_a_feed_frees_what_no_other_needs(store, events):
    first = store.load(ArrayFeed(events))
    same = store.load(ArrayFeed(events, tick_size=0.1))
    assert store.remove([first.key]) == 0
    assert same.open().tobytes() == events.tobytes()
    assert store.remove([same.key]) > 0
    assert [files_of(store, folder) for folder in ("manifests", "objects", "archive")] == [[], [], []]


def test_feeds_are_loaded_together_in_their_order(store):
    feeds = [ArrayFeed(clean_events(300, seed=i), symbol=f"S{i}") for i in range(5)]
    seen = []
    stored = store.load_all(feeds, progress=lambda done, total: seen.append((done, total)))
    assert [s.symbol for s in stored] == ["S0", "S1", "S2", "S3", "S4"]
    assert [s.content_hash for s in stored] == [store.load(feed).content_hash for feed in feeds]
    assert all(total in (0, sum(len(f.events) for f in feeds)) for _, total in seen)


def test_one_failure_of_several_feeds_is_the_one_reported(store, events):
    feeds = [ArrayFeed(events), BreakingFeed(events, symbol="B"), ArrayFeed(events, symbol="C")]
    with pytest.raises(DataError, match=r"raw.gz is truncated"):
        store.load_all(feeds)


def test_the_touch_spans_best_prices_and_trades(store, events):
    stored = store.load(ArrayFeed(events))
    bids, asks, low, high = set(), set(), np.inf, -np.inf
    buy = (events["ev"] & np.uint64(1 << 29)) != 0
    for ts in np.unique(events["local_ts"]):
        for row, is_buy in zip(events[events["local_ts"] == ts], buy[events["local_ts"] == ts], strict=True):
            if row["ev"] & np.uint64(0xFF) == 2:
                low, high = min(low, row["px"]), max(high, row["px"])
                continue
            side = bids if is_buy else asks
            side.add(row["px"]) if row["qty"] > 0 else side.discard(row["px"])
        low, high = min(low, max(bids)), max(high, min(asks))
    assert (stored.touch_low_px, stored.touch_high_px) == (pytest.approx(low), pytest.approx(high))


def test_a_stale_level_far_away_does_not_widen_the_touch(store, events):
    plain = store.load(ArrayFeed(events))
    stale = events[:2].copy()
    stale["px"] = [10.0, 90_000.0]
    stored = store.load(ArrayFeed(np.concatenate([stale, events[4:]])))
    assert stored.touch_low_px >= plain.touch_low_px
    assert stored.touch_high_px <= plain.touch_high_px


def test_a_manifest_is_read_as_it_was_written(store, events, tmp_path):
    manifest_file = store.root / "manifests" / f"{store.load(ArrayFeed(events)).key}.json"
    manifest = Manifest.read(manifest_file)
    manifest.write(tmp_path / "copy.json")
    assert Manifest.read(tmp_path / "copy.json") == manifest


class ListedFeed(ArrayFeed):
    """A feed whose source has a catalogue."""

    listed: Instrument | None = None

    def known_instrument(self, report):
        return self.listed


def test_a_catalogue_gives_the_sizes_and_a_changed_one_means_ingesting_again(store, events):
    def load(tick_size: float) -> tuple[StoredFeed, int]:
        feed = ListedFeed(events, listed=Instrument("TEST", tick_size, 0.001, 10.0))
        return store.load(feed), feed.streamed

    assert load(0.1)[0].spec == Instrument("TEST", 0.1, 0.001, 10.0)
    assert load(0.1)[1] == 0
    stored, streamed = load(0.05)
    assert stored.spec.tick_size == 0.05
    assert streamed == 1
