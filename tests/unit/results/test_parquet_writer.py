import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.errors import ConfigError, RunError, StorageError
from bt_framework.results.folder import RunFolder
from bt_framework.results.run import TABLES, SliceBatch, Status
from bt_framework.results.schemas import schema, to_records
from bt_plugins.writers.parquet import Parquet, build

NEVER = "365d"


def write(run, summary, slices, **config):
    run.run_dir.mkdir(parents=True)
    writer = build(Parquet(**config))
    writer.before_run(run)
    for tables in slices:
        writer.on_slice(run, batch(tables))
    writer.after_run(run, summary)


def batch(tables):
    return SliceBatch(tables=tables, local_ts=0, events=0, wall_s=0.0, metrics={})


@contextmanager
def files_no_larger_than(size):
    """Stands for a full disk: writing beyond `size` bytes fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 100),
    places=st.lists(st.floats(0, 1, exclude_max=True), max_size=6),
    flush_rows=st.integers(1, 60),
    interval=st.sampled_from(["0s", NEVER]),
)
def test_what_was_written_comes_back_bit_by_bit_however_it_was_sliced(
    tmp_path_factory, make_run, make_summary, make_tables, cut, seed, places, flush_rows, interval
):
    run, tables = make_run(tmp_path_factory.mktemp("runs")), make_tables(seed)
    write(run, make_summary(), cut(tables, places), flush_rows=flush_rows, flush_interval_ns=interval)
    for name in TABLES:
        assert to_records(RunFolder(run.run_dir).table(name), run).tobytes() == tables[name].tobytes()
    assert sorted(p.name for p in run.run_dir.iterdir()) == sorted(f"{name}.parquet" for name in TABLES)


def test_a_run_without_rows_leaves_empty_tables_with_their_schema(tmp_path, make_run, make_summary):
    run = make_run(tmp_path)
    write(run, make_summary(), [])
    for name in TABLES:
        read = pq.read_table(run.run_dir / f"{name}.parquet")
        assert read.num_rows == 0
        assert read.schema.equals(schema(name), check_metadata=True)


def test_row_groups_are_no_larger_than_what_is_kept_in_memory(
    tmp_path, make_run, make_summary, make_tables, cut
):
    run = make_run(tmp_path)
    write(
        run, make_summary(), cut(make_tables(1, samples=500), [0.5]), flush_rows=300, flush_interval_ns=NEVER
    )
    metadata = pq.ParquetFile(run.run_dir / "equity.parquet").metadata
    assert metadata.num_rows == 1_000
    assert max(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)) <= 300


def test_memory_holds_no_more_rows_than_asked_for(tmp_path, make_run, make_tables):
    run = make_run(tmp_path)
    run.run_dir.mkdir(parents=True)
    writer = build(Parquet(flush_rows=100, flush_interval_ns=NEVER))
    writer.before_run(run)
    for seed in range(20):
        writer.on_slice(run, batch(make_tables(seed)))
        assert all(sum(map(len, kept)) < 100 for kept in writer._rows.values())
    assert len(RunFolder(run.run_dir).files("equity")) == 10


def test_rows_are_on_disk_while_the_run_goes_on(tmp_path, make_run, make_tables, cut):
    run, tables = make_run(tmp_path), make_tables(2)
    run.run_dir.mkdir(parents=True)
    writer = build(Parquet(flush_interval_ns=0))
    writer.before_run(run)
    first, _ = cut(tables, [0.5])
    writer.on_slice(run, batch(first))
    for name in TABLES:
        assert to_records(RunFolder(run.run_dir).table(name), run).tobytes() == first[name].tobytes()


def test_the_buffers_of_a_slice_may_be_used_again(tmp_path, make_run, make_summary, make_tables, cut):
    run, tables = make_run(tmp_path), make_tables(3)
    run.run_dir.mkdir(parents=True)
    writer = build(Parquet(flush_interval_ns=NEVER))
    writer.before_run(run)
    for part in cut(tables, [0.3, 0.6]):
        buffers = {name: rows.copy() for name, rows in part.items()}
        writer.on_slice(run, batch(buffers))
        for rows in buffers.values():
            rows.view(np.uint8)[:] = 0xFF
    writer.after_run(run, make_summary())
    assert to_records(RunFolder(run.run_dir).table("fills"), run).tobytes() == tables["fills"].tobytes()


def test_a_failed_run_keeps_what_it_has_written(tmp_path, make_run, make_summary, make_tables):
    run, tables = make_run(tmp_path), make_tables(4)
    run.run_dir.mkdir(parents=True)
    writer = build(Parquet(flush_interval_ns=NEVER))
    writer.before_run(run)
    writer.on_slice(run, batch(tables))
    writer.on_run_error(run, make_summary(status=Status.FAILED), RuntimeError("a kernel raised"))
    assert RunFolder(run.run_dir).table("orders").num_rows == len(tables["orders"])


@pytest.mark.parametrize("flush_rows", [4, 15])  # the bad row is met in a slice, or at the end
def test_rows_that_mean_nothing_fail_the_run_and_cost_no_others(
    tmp_path, make_run, make_summary, make_tables, cut, flush_rows
):
    run, tables = make_run(tmp_path), make_tables(6)
    run.run_dir.mkdir(parents=True)
    tables["fills"]["tag"][-1] = 99
    writer = build(Parquet(flush_rows=flush_rows, flush_interval_ns=NEVER))
    writer.before_run(run)

    def write_all():
        for part in cut(tables, [0.2, 0.5, 0.9]):
            writer.on_slice(run, batch(part))
        writer.after_run(run, make_summary())

    with pytest.raises(RunError, match=r"fills\.tag must be one of") as caught:
        write_all()
    writer.on_run_error(run, make_summary(status=Status.FAILED), caught.value)
    fills = to_records(RunFolder(run.run_dir).table("fills"), run)
    assert 0 < len(fills) < len(tables["fills"])
    assert fills.tobytes() == tables["fills"][: len(fills)].tobytes()
    for name in ("signals", "orders"):  # written before the fills in every slice
        assert RunFolder(run.run_dir).table(name).num_rows == len(tables[name])
    assert not (run.run_dir / "parts").exists()


@pytest.mark.parametrize("interval", ["0s", NEVER])
def test_a_full_disk_is_an_error_and_leaves_no_half_written_file(
    tmp_path, make_run, make_summary, make_tables, interval
):
    run = make_run(tmp_path)
    run.run_dir.mkdir(parents=True)
    writer = build(Parquet(flush_interval_ns=interval))
    writer.before_run(run)

    def write_all():
        with files_no_larger_than(2_000):
            writer.on_slice(run, batch(make_tables(5, samples=2_000)))
            writer.after_run(run, make_summary())

    with pytest.raises(
        StorageError, match=rf"{tmp_path}.*parquet cannot be written: File too large"
    ) as caught:
        write_all()
    writer.on_run_error(run, make_summary(status=Status.FAILED), caught.value)
    left = [path for path in run.run_dir.rglob("*") if path.is_file()]
    assert all(path.suffix == ".parquet" and pq.read_table(path) is not None for path in left)
    assert RunFolder(run.run_dir).table("equity").num_rows == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compression": "zst"}, r"compression must be one of .*, was 'zst'\. Did you mean 'zstd'\?"),
        ({"flush_rows": 0}, "flush_rows must be >= 1, was 0"),
        ({"flush_interval_ns": -1}, "flush_interval_ns must be >= 0, was -1"),
        ({"flush_interval_ns": "5"}, "flush_interval_ns has no unit"),
    ],
)
def test_a_bad_configuration_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Parquet(**changes)


def test_writing_and_reading_do_not_import_pandas(tmp_path):
    program = (
        _RUN
        + "one_slice(0)\nwriter.after_run(run, None)\nfrom bt_framework.results.folder import RunFolder\n"
    )
    program += "assert RunFolder(run.run_dir).table('fills').num_rows == 7\n"
    program += "print([m for m in ('pandas', 'pyarrow.compute', 'pyarrow.dataset') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


_RUN = """
import sys
from pathlib import Path
import numpy as np
from bt_framework.records import EQUITY, FILL
from bt_framework.results.folder import start
from bt_framework.results.run import Identity, Instrument, RunContext, SliceBatch
from bt_plugins.writers.parquet import Parquet, build

run = RunContext("r", Path(sys.argv[1]) / "r", "s", {}, Identity("", "", "", 1), (Instrument("A", 1.0, 1.0),),
                 (), 0, 1, 0, 1.0, 1, 1, "hit", {}, {})
start(run)
writer = build(Parquet(flush_rows=50, flush_interval_ns="1h"))
writer.before_run(run)

def one_slice(n):
    fills, equity = np.zeros(7, FILL), np.zeros(40, EQUITY)
    fills["order_id"], fills["side"] = np.arange(7 * n, 7 * n + 7), 1
    equity["local_ts"] = np.arange(40 * n, 40 * n + 40)
    writer.on_slice(run, SliceBatch({"fills": fills, "equity": equity}, n, n, 0.0, {}))
"""


@pytest.mark.parametrize("slices", [1, 2, 9, 23, 40])
def test_a_killed_run_leaves_only_complete_files_and_is_lost(tmp_path, slices):
    endless = _RUN + "for n in range(10**9):\n    one_slice(n)\n    print(n, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", endless, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        for _ in range(slices):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    folder = RunFolder(tmp_path / "r")
    assert folder.record().status == Status.LOST
    fills, equity = folder.table("fills"), folder.table("equity")
    assert fills.column("order_id").to_pylist() == list(range(fills.num_rows))
    assert equity.column("local_ts").to_pylist() == list(range(equity.num_rows))
    assert equity.num_rows >= 80 * (slices // 2)
