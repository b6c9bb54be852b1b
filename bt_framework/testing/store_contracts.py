"""What every run store must hold; call from a test of your own.

::

    from bt_framework.testing.store_contracts import check_run_store

    def test_my_store_keeps_the_contract(tmp_path):
        check_run_store(build(MyStore(path=str(tmp_path / "index"))), tmp_path / "runs")
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.errors import BtError, StorageError, UnknownRunError, UnknownSweepError
from bt_framework.records import Side, SignalKind, Tag
from bt_framework.results import folder as folders
from bt_framework.results.process import this_process
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import METRIC_COLUMNS, table_rows
from bt_framework.results.run import (
    TABLES,
    Identity,
    Instrument,
    RunContext,
    RunSummary,
    SliceBatch,
    Status,
)
from bt_framework.results.schemas import RECORDS, to_arrow, to_records
from bt_framework.stores.base import RunQuery, RunStore
from bt_framework.stores.filters import parse_filter
from bt_framework.stores.sweeps import (
    JOB,
    JOB_STATUSES,
    RESULT_COLUMNS,
    RUN_ID,
    SweepRow,
    arrow_table,
    column_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

INSTRUMENTS = (Instrument("TESTA", 0.5, 0.01), Instrument("TEST'B\\", 0.01, 0.1, 10.0))
"""Of the runs; the second name is what a statement must not be made of."""

FILTERS = (
    "sharpe > 0",
    "not sharpe > 0",
    "pnl <= 10.5 and strategy == ou_pairs",
    "trades in [1, 2, 3] or tag == night",
    "tag != night",
    'symbol == "TEST\'B\\"',
    "status == lost",
    "status in [running, failed]",
    "git_commit == ab1",
    "started >= 2024-08-01 and started < 2024-08-03",
    "count_fills >= 1.5",
    'note == "it\'s % _ \\"',
)
"""Questions that a store must answer as `bt_framework.stores.filters.matches` does."""

_DAY_NS = 86_400_000_000_000
_FIRST_NS = 1_722_470_400_000_000_000  # 2024-08-01
_GONE = dataclasses.replace(this_process(), started="0:1")
_HOSTILE = (
    "it's % _ \\",
    '"; DROP TABLE backtest_runs; --',
    "größer 量 🙂",
    "a\nb\tc",
    "{x:String} :y %s ?",
    "x" * 5_000,
)


def check_run_store(store: RunStore, folder: Path) -> None:
    """Use an empty store in every way, and look at its answers.

    Parameters
    ----------
    store : RunStore
        Empty, and empty again afterwards but for sweeps.
    folder : Path
        A new folder for run folders.

    Raises
    ------
    AssertionError
        If it breaks the contract; the message says how.
    """
    _check_empty(store)
    records = sample_records(24, folder)
    _check_puts(store, records)
    _check_ids(store, records)
    _check_queries(store, records)
    _check_identical(store, records)
    _check_edits(store, records)
    _check_sweeps(store, records)
    for record in records:
        store.remove(record.run_id)
    _check_empty(store)
    _check_life(store, folder)
    if store.row_tables:
        _check_rows(store, folder)


def sample_records(count: int, folder: Path, seed: int = 1) -> list[RunRecord]:
    """Return records of different runs: running, lost, stopped, failed and completed, with and without metrics."""
    rng = np.random.default_rng(seed)
    return [_sample(rng, number, folder) for number in range(count)]


def sample_run(folder: Path, run_id: str = "20240801-120000-abc123", **changes: Any) -> RunContext:
    """Return a run that is about to start in a folder of `folder`."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "run_dir": folder / run_id,
        "strategy": "ou_pairs",
        "config": {"seed": 7},
        "identity": Identity("c" * 64, "d" * 64, "e" * 64, 7),
        "instruments": INSTRUMENTS,
        "rules": ("max_position",),
        "start_ts": _FIRST_NS,
        "end_ts": _FIRST_NS + _DAY_NS,
        "events": 1_000,
        "capital": 100_000.0,
        "equity_interval_ns": 1_000_000_000,
        "started_at_ns": _FIRST_NS,
        "jit": "hit",
        "versions": {"python": "3"},
        "data_grade": {"grade": "ok"},
    }
    return RunContext(**(values | changes))


def sample_tables(rows: int, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Return records of each of a run's tables, some of whose numbers are NaN or infinite."""
    rng = np.random.default_rng(seed)
    return {name: _sample_table(rng, name, rows) for name in TABLES}


def _sample(rng: np.random.Generator, number: int, folder: Path) -> RunRecord:
    run = sample_run(
        folder,
        f"2024080{1 + number % 3}-{number:06d}-{rng.bytes(3).hex()}",
        strategy=str(rng.choice(["ou_pairs", "market_maker"])),
        started_at_ns=int(_FIRST_NS + rng.integers(0, 4) * _DAY_NS),
        git_commit=str(rng.choice(["", "ab12" + "0" * 36, "ab99" + "0" * 36, "ffff-dirty"])),
        tags=tuple(rng.choice(["night", "colo", *_HOSTILE[:3]], rng.integers(0, 3), replace=False).tolist()),
        note=str(rng.choice(["", *_HOSTILE])),
        instruments=INSTRUMENTS[: 1 + number % 2],
    )
    status = Status(str(rng.choice(["running", "completed", "completed", "failed", "stopped"])))
    started = RunRecord.started(run)
    if status == Status.RUNNING:
        return dataclasses.replace(started, process=_GONE if number % 2 else started.process)
    metrics = {c.name: float(rng.choice([-2.5, 0.0, 1.0, 2.0, 10.5, math.nan])) for c in METRIC_COLUMNS}
    metrics |= {c.name: int(rng.integers(0, 5)) for c in METRIC_COLUMNS if c.type is int}
    counts = dict.fromkeys(TABLES, int(rng.integers(0, 4)))
    summary = RunSummary(status, run.end_ts, "f" * 64, counts, metrics, {"kernel_s": 0.5}, error="")
    return dataclasses.replace(started.finished(summary), finished_at_ns=run.started_at_ns + 1)


def _sample_table(rng: np.random.Generator, name: str, rows: int) -> np.ndarray[Any, Any]:
    table = np.zeros(rows, RECORDS[name])
    for field in table.dtype.names or ():
        if table.dtype[field].kind == "f":
            table[field] = rng.normal(size=rows) * 10.0 ** rng.integers(-9, 9, rows)
            table[field][::5], table[field][1::7] = math.nan, math.inf
        else:
            table[field] = 1
    for field, values in {"side": Side, "kind": SignalKind, "tag": Tag}.items():
        if field in (table.dtype.names or ()) and name != "refusals":
            table[field] = rng.choice([int(v) for v in values], rows)
    for field in {"asset", "rule", "maker", "open"} & set(table.dtype.names or ()):
        table[field] = 0 if field == "rule" else rng.integers(0, 2, rows)
    return table


def _check_empty(store: RunStore) -> None:
    assert store.list() == [], "a store must be empty before the first run"
    assert store.find("2", 5) == [], "an empty store must find nothing"
    assert store.tables("20240801") == (), "a store must have no rows of a run that it does not know"
    store.remove("not there")


def _check_puts(store: RunStore, records: Sequence[RunRecord]) -> None:
    for record in records[:3]:
        store.put(RunRecord.started(sample_run(record.run_dir.parent, record.run_id)))
        store.put(record)
    for record in records:
        store.put(record)
    found = {r.run_id: r for r in store.list()}
    assert len(found) == len(store.list()) == len(records), "a run that is put again must be there once"
    for record in records:
        _assert_equal(found[record.run_id], record)


def _check_ids(store: RunStore, records: Sequence[RunRecord]) -> None:
    one = records[0].run_id
    assert [r.run_id for r in store.find(one, 6)] == [one], "a run must be found by its id"
    assert store.get(one[:-1]).run_id == one, "a run must be found by what its id begins with"
    assert len(store.find("2024", 6)) == 6, "find must return at most `limit`"
    longer = dataclasses.replace(records[0], run_id=f"{one}-2")
    store.put(longer)
    assert store.find(one, 1)[0].run_id == one, "a run whose id is the prefix must come first"
    store.remove(longer.run_id)
    for wild in ("%", "_024", "2024*", one.upper() if one != one.upper() else "x", "'"):
        assert store.find(wild, 6) == [], f"{wild!r} must be looked for as it is written"


def _check_queries(store: RunStore, records: Sequence[RunRecord]) -> None:
    now = [r.as_of_now() for r in records]
    orders = (
        ("started_at_ns", True),
        ("sharpe", True),
        ("sharpe", False),
        ("strategy", False),
        ("trades", True),
    )
    queries = [
        RunQuery(order_by=order, descending=down, limit=n) for order, down in orders for n in (None, 7)
    ]
    queries += [RunQuery(parse_filter(text), order_by="pnl", limit=n) for text in FILTERS for n in (None, 3)]
    for query in queries:
        expected, found = ([r.run_id for r in runs] for runs in (query.of(now), store.select(query)))
        assert found == expected, f"{query} must give {expected}, gave {found}"
    for status in Status:
        found = [r.run_id for r in store.list(status=status)]
        assert len(found) == sum(r.status == status for r in now), f"runs that are {status} must be listed"


def _check_identical(store: RunStore, records: Sequence[RunRecord]) -> None:
    completed = [r for r in records if r.status == Status.COMPLETED]
    assert completed, "a sample without completed runs checks nothing"
    newest = RunQuery().of(completed)
    for record in completed:
        expected = next(r for r in newest if r.identity == record.identity)
        found = store.identical(record.identity)
        assert found is not None, f"identical must find {record.run_id}, found nothing"
        _assert_equal(found, expected)
        other = dataclasses.replace(record.identity, seed=record.identity.seed + 1_000)
        assert store.identical(other) is None, "identical must not find runs of another seed"
    for record in records:
        found = store.identical(record.identity)
        assert found is None or found.status == Status.COMPLETED, "identical must find completed runs only"


def _check_edits(store: RunStore, records: Sequence[RunRecord]) -> None:
    record = records[1]
    for text in _HOSTILE:
        edited = store.edit(record.run_id, tags=[text, "kept"], note=text)
        assert (edited.tags, edited.note) == ((text, "kept"), text), "edit must return the run as it is now"
        found = store.get(record.run_id)
        assert (found.tags, found.note) == (edited.tags, text), f"{text[:40]!r} must come back as it was"
    assert store.edit(record.run_id, note="").tags == (_HOSTILE[-1], "kept"), (
        "edit must leave what is not given"
    )
    for text in ("a\0b", "half \ud800"):
        try:
            assert store.edit(record.run_id, note=text).note == text, "text must come back as it was"
            assert store.get(record.run_id).note == text, "text must come back as it was"
        except BtError:
            assert store.get(record.run_id).note != text, "what was refused must not be kept"
    try:
        store.edit(record.run_id[:-1], note="")
    except UnknownRunError:
        pass
    else:
        raise AssertionError("edit must want the whole id")
    store.put(record)
    _assert_equal(store.get(record.run_id), record)
    assert store.select(RunQuery(parse_filter("tag == kept"))) == [], (
        "tags that a run has no more must be forgotten"
    )


def sample_jobs(run_ids: Sequence[str], seed: int = 1) -> pa.Table:
    """Return the table of a sweep with a job per run, and one of each status without a run."""
    rng = np.random.default_rng(seed)
    jobs = len(run_ids) + len(JOB_STATUSES)
    varied: dict[str, list[Any]] = {
        "strategy.entry_z": [None, *rng.normal(size=jobs - 1).tolist()],
        "strategy.window": rng.integers(-(2**62), 2**62, jobs).tolist(),
        "config.fees": [str(text) for text in rng.choice(_HOSTILE, jobs)],
        "data.files": [None] * jobs,
    }
    values: list[list[Any]] = [list(range(jobs)), *varied.values()]
    for column in RESULT_COLUMNS:
        numbers = rng.integers(0, 9, jobs) if column.type is int else rng.normal(size=jobs)
        cells = [str(number) for number in numbers] if column.type is str else numbers.tolist()
        values.append([None if column.optional and job % 4 == 0 else cell for job, cell in enumerate(cells)])
    values[1 + len(varied)] = [*["completed"] * len(run_ids), *JOB_STATUSES]
    columns = (JOB, *(column_of(name, cells) for name, cells in varied.items()), *RESULT_COLUMNS, RUN_ID)
    return arrow_table(columns, [*values, [*run_ids, *[None] * len(JOB_STATUSES)]])


def _check_sweeps(store: RunStore, records: Sequence[RunRecord]) -> None:
    assert list(store.sweeps()) == [], "a store must know no sweep before the first one"
    first = SweepRow("20240809-a", _FIRST_NS, 0, Status.RUNNING, _HOSTILE[:4], 3)
    other = dataclasses.replace(first, sweep_id="20240810-b", started_at_ns=_FIRST_NS + 1, note=_HOSTILE[0])
    try:
        store.put_sweep_jobs(first.sweep_id, sample_jobs([]))
    except StorageError:
        pass
    else:
        raise AssertionError("jobs of a sweep that is not known must be refused")
    ended = dataclasses.replace(first, status=Status.FAILED, finished_at_ns=_FIRST_NS + 2, jobs=8)
    for row in (first, other, ended, ended):
        store.put_sweep(row)
    assert list(store.sweeps()) == [other, ended], "sweeps must come back, the newest first, each once"
    assert store.sweep("20240809") == ended, "a sweep must be found by what its id begins with"
    for prefix in ("2024", "", "x", "%"):
        try:
            store.sweep(prefix)
        except UnknownSweepError:
            continue
        raise AssertionError(f"{prefix!r} must name no sweep")
    _check_sweep_jobs(store, ended.sweep_id, records)
    store.put(dataclasses.replace(records[1], sweep_id="20240811-c"))
    assert len(store.sweeps()) == 3, "a sweep of which only a run was put must be known"


def _check_sweep_jobs(store: RunStore, sweep_id: str, records: Sequence[RunRecord]) -> None:
    assert store.sweep_jobs(sweep_id).num_rows == 0, "a sweep must have no jobs before they are put"
    ids = [record.run_id for record in records[:3]]
    table = sample_jobs(ids)
    for jobs in (sample_jobs(ids, seed=2), table):
        store.put_sweep_jobs(sweep_id, jobs)
    found = store.sweep_jobs(sweep_id)
    assert found.equals(table, check_metadata=True), "the jobs of a sweep must come back to the bit"
    assert store.sweep_jobs("20240810-b").num_rows == 0, "jobs must be those of their sweep"
    store.put(dataclasses.replace(records[0], sweep_id=sweep_id, job=1))
    query = RunQuery(parse_filter(f"sweep == {sweep_id}"))
    assert [r.run_id for r in store.select(query)] == ids[:1], "runs must be found by their sweep"
    store.remove(ids[0])
    assert store.sweep_jobs(sweep_id).equals(table), "the jobs of a sweep must outlive their runs"


def _check_life(store: RunStore, folder: Path) -> None:
    """Tell the store of a run as the runner does, and look what it knows at each step."""
    run = sample_run(folder, "20240805-000000-aaaaaa", tags=("night",))
    folders.start(run)
    store.before_run(run)
    assert store.get(run.run_id).status == Status.RUNNING, "a run must be known when it has started"
    tables = sample_tables(30)
    slices = [{name: rows[part] for name, rows in tables.items()} for part in (slice(0, 11), slice(11, 30))]
    for part in slices:
        store.on_slice(run, SliceBatch(part, run.end_ts, 10, 0.1, {}))
    for name in store.row_tables:
        _assert_rows(store, run, name, tables[name])
    summary = RunSummary(Status.STOPPED, run.end_ts, "f" * 64, dict.fromkeys(TABLES, 30), {"pnl": 1.5})
    folders.finish(run, summary)
    store.after_run(run, summary)
    found = store.get(run.run_id)
    assert (found.status, found.metrics["pnl"]) == (Status.STOPPED, 1.5), "a store must keep how a run ended"
    for name in store.row_tables:
        _assert_rows(store, run, name, tables[name])
    store.remove(run.run_id)
    assert run.run_dir.exists(), "a run's folder must stay"
    assert store.tables(run.run_id) == (), "rows must go with their run"


def _check_rows(store: RunStore, folder: Path) -> None:
    run, other = (sample_run(folder, f"20240806-00000{n}-bbbbbb") for n in (0, 1))
    name = store.row_tables[0]
    records = sample_tables(20, seed=2)[name]
    store.put(RunRecord.started(run))
    for first, last in ((0, 0), (0, 12), (8, 20), (0, 20)):  # a part that comes again replaces itself
        store.put_rows(
            run.run_id, {name: table_rows(to_arrow(name, records[first:last], run), run.run_id, first)}
        )
    _assert_rows(store, run, name, records)
    assert store.tables(run.run_id) == (name,), "tables() must name those with rows"
    rows = table_rows(to_arrow(name, records, other), other.run_id, 0)
    try:
        store.put_rows(other.run_id, {name: rows})
    except StorageError:
        pass
    else:
        raise AssertionError("rows of a run that is not known must be refused")
    assert store.tables(other.run_id) == (), "what was refused must not be kept"
    store.put(RunRecord.started(run))
    _assert_rows(store, run, name, records)
    store.remove(run.run_id)
    assert store.rows(run.run_id, name).num_rows == 0, "rows must go with their run"


def _assert_equal(found: RunRecord, record: RunRecord) -> None:
    expected = record.as_of_now()
    assert found.to_json() == expected.to_json(), f"{record.run_id} must come back as it was put"
    assert found.run_dir == expected.run_dir, "the folder of a run must come back as it was put"


def _assert_rows(store: RunStore, run: RunContext, name: str, records: np.ndarray[Any, Any]) -> None:
    found, expected = store.rows(run.run_id, name), to_arrow(name, records, run)
    assert found.schema.equals(expected.schema, check_metadata=True), f"rows of {name} must have its schema"
    back, before = to_records(found, run), to_records(expected, run)
    assert len(back) == len(before), f"{name} must have {len(before)} rows, had {len(back)}"
    for field in before.dtype.names or ():
        same = np.array_equal(back[field], before[field], equal_nan=before.dtype[field].kind == "f")
        assert same, f"{name}.{field} must come back to the bit"
