"""`bt metrics`: metrics of stored runs, from the tables that they left."""

from __future__ import annotations

import dataclasses
import json
import math
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bt_framework.cli._run_selection import open_store
from bt_framework.cli.main import main
from bt_framework.errors import DataError
from bt_framework.records import OrderEvent
from bt_framework.results.folder import PARTS_FOLDER, RunFolder, amend, finish, start
from bt_framework.results.hashing import ResultHash
from bt_framework.results.metrics import RunMetrics
from bt_framework.results.recompute import TABLES, metrics_of, recompute
from bt_framework.results.record import RunRecord
from bt_framework.results.run import TABLES as ALL_TABLES
from bt_framework.results.schemas import to_arrow


def bits(metrics):
    """Each metric's type and bits; one NaN is like another."""
    return {name: (type(v), "nan" if math.isnan(v) else struct.pack("<d", v)) for name, v in metrics.items()}


@pytest.fixture
def leave(make_run, make_summary):
    """Return a function that leaves a run's folder with its tables, in files and row groups of any size."""

    def leave(folder, tables, row_group_size=1_000, parts=1, **changes):
        run = make_run(folder, **changes)
        start(run)
        metrics, digest = RunMetrics(run.capital, run.equity_interval_ns, run.instruments), ResultHash()
        metrics.update(tables)
        digest.update(tables)
        for name, rows in tables.items():
            table = to_arrow(name, rows, run)
            for part in range(parts):
                first, end = part * len(rows) // parts, (part + 1) * len(rows) // parts
                path = run.run_dir / f"{name}.parquet"
                if parts > 1:
                    path = run.run_dir / PARTS_FOLDER / f"{name}-{part:05d}.parquet"
                    path.parent.mkdir(exist_ok=True)
                pq.write_table(table.slice(first, end - first), path, row_group_size=row_group_size)
        counts = {name: len(tables[name]) for name in ALL_TABLES}
        counts["orders"] = int((tables["orders"]["event"] == OrderEvent.SUBMITTED).sum())
        summary = make_summary(
            counts=counts, metrics=metrics.result(), result_hash=digest.hexdigest(), error=""
        )
        return finish(run, summary)

    return leave


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1_000), size=st.integers(1, 60), parts=st.integers(1, 4))
def test_recomputed_metrics_have_the_bits_of_the_run_however_its_files_are_cut(
    tmp_path_factory, make_tables, leave, seed, size, parts
):
    record = leave(tmp_path_factory.mktemp("run"), make_tables(seed), size, parts)
    assert bits(recompute(record, RunFolder(record.run_dir))) == bits(record.metrics)


@given(seed=st.integers(0, 1_000), places=st.lists(st.floats(0, 1, exclude_max=True), max_size=5))
def test_rows_in_any_parts_give_the_same_bits(make_run, make_summary, make_tables, cut, seed, places):
    tables, run = make_tables(seed), make_run()
    metrics = RunMetrics(run.capital, run.equity_interval_ns, run.instruments)
    metrics.update(tables)
    counts = {name: len(rows) for name, rows in tables.items()}
    counts["orders"] = int((tables["orders"]["event"] == OrderEvent.SUBMITTED).sum())
    record = RunRecord.started(run).finished(make_summary(counts=counts))
    slices = cut(tables, places)
    again = metrics_of(record, lambda name: [part[name] for part in slices])
    assert bits(again) == bits(metrics.result())


@pytest.fixture
def left(tmp_path, make_tables, leave):
    """A run with tables, in folder and store; a function that runs `bt metrics` goes with it."""
    record = leave(tmp_path / "runs", make_tables(3), tags=("night",))
    open_store([f"runs_dir={tmp_path / 'runs'}"]).put(record)
    return record


@pytest.fixture
def stored(left):
    """Return a function that gives what the store knows of the run."""
    store = open_store([f"runs_dir={left.run_dir.parent}"])
    return lambda: store.get(left.run_id)


@pytest.fixture
def metrics(left, capsys):
    """Return a function that runs `bt metrics`: (exit code, stdout, stderr)."""

    def metrics(*arguments):
        code = main(["metrics", *arguments, f"runs_dir={left.run_dir.parent}"])
        return code, *capsys.readouterr()

    return metrics


def put(left, **changes):
    open_store([f"runs_dir={left.run_dir.parent}"]).put(dataclasses.replace(left, **changes))


def test_a_run_that_nobody_has_touched_is_as_stored(metrics, left, stored):
    before = (left.run_dir / "run.json").read_bytes()
    assert metrics(left.run_id) == (0, f"{left.run_id}  as stored\n1 runs computed, 0 changed\n", "")
    assert (left.run_dir / "run.json").read_bytes() == before
    assert bits(stored().metrics) == bits(left.metrics)


@pytest.mark.parametrize("where", ["store", "folder", "both"])
def test_metrics_that_were_changed_are_put_right_in_folder_and_store(metrics, left, stored, where):
    wrong = {**left.metrics, "pnl": math.nextafter(left.metrics["pnl"], 9e9), "trades": 1}
    if where != "folder":
        put(left, metrics=wrong)
    if where != "store":
        amend(left.run_dir, metrics=wrong)
    code, out, err = metrics("tag==night")
    assert (code, err) == (0, "")
    assert f"pnl {wrong['pnl']!r} -> {left.metrics['pnl']!r}, trades 1 -> {left.metrics['trades']}" in out
    assert out.endswith("1 runs computed, 1 changed\n")
    assert bits(stored().metrics) == bits(RunFolder(left.run_dir).record().metrics) == bits(left.metrics)
    assert dataclasses.replace(stored(), metrics={}) == dataclasses.replace(left, metrics={})
    assert metrics("tag==night")[1].endswith("1 runs computed, 0 changed\n")


def test_a_metric_that_was_added_later_appears_and_one_that_was_dropped_goes(metrics, left, stored):
    older = {name: value for name, value in left.metrics.items() if name != "maker_share"} | {"alpha": 1.0}
    amend(left.run_dir, metrics=older)
    put(left, metrics=older)
    out = metrics(left.run_id)[1]
    assert f"maker_share none -> {left.metrics['maker_share']!r}, alpha 1.0 -> none" in out
    assert bits(stored().metrics) == bits(left.metrics)
    shown = json.loads((left.run_dir / "run.json").read_text())["metrics"]
    assert shown.keys() == left.metrics.keys()


def test_an_undefined_metric_is_no_change(metrics, make_tables, leave, left, stored):
    assert any(math.isnan(v) for v in RunMetrics(left.capital, 0, ()).result().values())
    empty = {name: rows[:0] for name, rows in make_tables(1).items()}
    record = leave(left.run_dir.parent, empty, run_id="empty")
    put(record)
    assert metrics("empty")[1].startswith("empty  as stored")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_not_there_is_refused_and_nothing_changes(metrics, left, stored, table):
    put(left, metrics={"pnl": 1.0})
    (left.run_dir / f"{table}.parquet").unlink()
    code, out, err = metrics(left.run_id)
    assert (code, out) == (1, "0 runs computed, 0 changed\n")
    expected = left.counts[table]
    assert f"bt: problem: run {left.run_id}: {table} must have {expected} rows, has 0." in err
    assert stored().metrics == {"pnl": 1.0}


@pytest.mark.parametrize("table", ["fills", "equity"])
def test_a_table_with_other_rows_is_refused(metrics, left, stored, table):
    path = left.run_dir / f"{table}.parquet"
    rows = pq.read_table(path)
    changed = rows.set_column(
        rows.schema.get_field_index("local_ts"), rows.schema.field("local_ts"), pa.array(range(len(rows)))
    )
    pq.write_table(changed, path)
    code, _, err = metrics(left.run_id)
    assert (code, "are not those that it left: their result hash is" in err) == (1, True)
    pq.write_table(rows.slice(1), path)
    assert f"{table} must have {len(rows)} rows, has {len(rows) - 1}." in metrics(left.run_id)[2]
    path.write_bytes(b"PAR1")
    assert f"{path} cannot be read" in metrics(left.run_id)[2]


def test_a_run_that_has_not_ended_is_refused_and_the_others_are_computed(metrics, left, make_run):
    run = make_run(left.run_dir.parent, run_id="running")
    put(start(run))
    code, out, err = metrics(left.run_id, "running")
    assert (code, out.splitlines()[-1]) == (1, "1 runs computed, 0 changed")
    assert "run running has not ended: it is running, and its tables are not whole." in err


def test_without_a_run_or_with_a_wrong_one_nothing_is_computed(metrics):
    assert metrics()[0] == 2
    assert "Say which runs: their ids, or a filter" in metrics()[2]
    assert metrics("1999") == (2, "", "bt: error: no run has the id '1999'. List them with: bt runs\n")
    assert metrics("sharpe>1e300") == (0, "0 runs computed, 0 changed\n", "")


def test_a_run_without_rows_has_the_metrics_of_nothing(make_run, make_summary):
    record = RunRecord.started(make_run()).finished(make_summary(counts={}))
    run = make_run()
    nothing = RunMetrics(run.capital, run.equity_interval_ns, run.instruments)
    assert bits(metrics_of(record, lambda name: [])) == bits(nothing.result())
    with pytest.raises(DataError, match="has not ended"):
        metrics_of(dataclasses.replace(record, counts={}), lambda name: [])
