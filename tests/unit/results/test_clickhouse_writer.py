"""The writer of rows into ClickHouse: through the real client, to chDB behind its HTTP interface."""

import fcntl
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bt_framework.errors import ConfigError, RunError, StorageError
from bt_framework.results import folder
from bt_framework.results.rows import table_rows
from bt_framework.results.run import TABLES, SliceBatch, Status
from bt_framework.results.schemas import columns, to_arrow
from bt_framework.stores.clickhouse import spool
from bt_framework.stores.clickhouse._parcels import TABLE_OF, Slice, parts_of
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.connection import ClickHouse
from bt_framework.stores.clickhouse.schema import migrate
from bt_plugins.writers.clickhouse import Clickhouse, build

QUICK = {"max_retries": 1, "backoff_ns": 0, "retry_after_ns": "1h", "flush_interval_ns": 0}


@pytest.fixture(scope="module")
def made(clickhouse_front):
    """A connection to a database with tables, which the runs of this file share."""
    with ClickHouse(address_of(clickhouse_front.url(f"writer_{os.getpid()}"), ".")) as db:
        migrate(db)
        yield db
        db.command("DROP DATABASE {name:Identifier} SYNC", {"name": db.address.database})


@pytest.fixture
def db(clickhouse_front, made):
    clickhouse_front.heal()
    yield made
    clickhouse_front.heal()


@pytest.fixture
def url(db):
    return db.address.url


@pytest.fixture
def run(make_run, tmp_path):
    """A run whose folder has been made."""
    return started(make_run, tmp_path)


def started(make_run, tmp_path):
    config = {"store_dir": str(tmp_path / "store")}
    context = make_run(tmp_path, run_id=f"run-{time.time_ns()}", config=config)
    folder.start(context)
    return context


def write(run, summary, slices, url, **config):
    writer = build(Clickhouse(url=url, **(QUICK | config)))
    writer.before_run(run)
    for tables in slices:
        lent = {name: rows.copy() for name, rows in tables.items()}
        writer.on_slice(run, batch(lent))
        for rows in lent.values():  # the next slice uses the arrays again
            rows[:] = np.zeros(1, rows.dtype)
    writer.after_run(run, summary)


def write_or_fail(run, summary, slices, url, **config):
    """As the runner does: whatever is raised, the writer hears of it."""
    writer = build(Clickhouse(url=url, **(QUICK | config)))
    writer.before_run(run)
    try:
        for tables in slices:
            writer.on_slice(run, batch(tables))
        writer.after_run(run, summary)
    except Exception as error:
        failed = replace(summary, status=Status.FAILED, error=str(error))
        folder.finish(run, failed)
        writer.on_run_error(run, failed, error)
        raise


def batch(tables, local_ts=1_723_161_700_000_000_000):
    return SliceBatch(tables=tables, local_ts=local_ts, events=5, wall_s=0.1, metrics={})


def stored(db, run, name, final="FINAL"):
    """Rows of a table without their key, and their sequence."""
    rows = db.query(
        f"SELECT * FROM {TABLE_OF[name]} {final} WHERE run_id = {{run:String}} ORDER BY sequence",
        {"run": run.run_id},
    )
    assert rows.column_names[:2] == ["run_id", "sequence"]
    return rows["sequence"].to_pylist(), rows.drop_columns(["run_id", "sequence"])


def assert_all_there(db, run, tables, final="FINAL"):
    for name in TABLES:
        expected = to_arrow(name, tables[name], run)
        sequence, rows = stored(db, run, name, final)
        assert sequence == list(range(len(tables[name]))), name
        assert rows.column_names == expected.column_names
        for column in columns(name):
            ours, theirs = expected[column.name].combine_chunks(), rows[column.name].combine_chunks()
            if column.words is None and not column.boolean:
                assert ours.to_numpy().tobytes() == theirs.to_numpy().tobytes(), (name, column.name)
            else:
                assert ours.to_pylist() == theirs.to_pylist(), (name, column.name)


def waiting(run, url):
    return spool.waiting(run.config["store_dir"], address_of(url, "."))


def flush(run, url):
    return spool.flush(run.config["store_dir"], address_of(url, "."))


def run_status(db, run):
    return [row["status"] for row in of_run(db, run, "SELECT status FROM backtest_runs FINAL")]


def of_run(db, run, select):
    return db.query(f"{select} WHERE run_id = {{run:String}}", {"run": run.run_id}).to_pylist()


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10),
    places=st.lists(st.floats(0, 1), max_size=6),
    batch_rows=st.sampled_from([1, 40, 100_000]),
    queue_rows=st.sampled_from([1, 50, 100_000]),
)
def test_every_row_is_in_clickhouse_once_however_the_run_is_sliced(
    make_run, make_summary, make_tables, cut, tmp_path_factory, url, db, seed, places, batch_rows, queue_rows
):
    run = started(make_run, tmp_path_factory.mktemp("run"))
    tables = make_tables(seed)
    config = {"batch_rows": batch_rows, "queue_rows": queue_rows, "queue_wait_ns": "60s"}
    write(run, make_summary(), cut(tables, places), url, **config)
    assert_all_there(db, run, tables)
    assert_all_there(db, run, tables, final="")
    assert waiting(run, url) == []
    assert run_status(db, run) == ["completed"]


def test_what_is_known_of_the_run_is_in_its_row_and_its_metrics(run, make_summary, make_tables, url, db):
    write(run, make_summary(), [make_tables(1)], url)
    (row,) = of_run(db, run, "SELECT * FROM backtest_runs FINAL")
    assert row["run_id"] == run.run_id
    assert (row["status"], row["result_hash"], row["count_fills"]) == ("completed", "f" * 64, 72)
    assert row["finished_at_ns"] > 0
    (metrics,) = of_run(db, run, "SELECT * FROM backtest_metrics FINAL")
    assert (metrics["pnl"], metrics["sharpe"], metrics["trades"]) == (-123.456, None, 72)


def test_a_failed_run_says_so(run, make_summary, make_tables, url, db):
    writer = build(Clickhouse(url=url, **QUICK))
    writer.before_run(run)
    writer.on_slice(run, batch(make_tables(2)))
    summary = make_summary(status=Status.FAILED, error="it broke")
    folder.finish(run, summary)
    writer.on_run_error(run, summary, RunError("it broke"))
    assert run_status(db, run) == ["failed"]
    assert_all_there(db, run, make_tables(2))


def test_a_run_that_fails_after_its_rows_are_stored_says_so(run, make_summary, make_tables, url, db):
    writer = build(Clickhouse(url=url, **QUICK))
    writer.before_run(run)
    writer.on_slice(run, batch(make_tables(2)))
    writer.after_run(run, make_summary())
    summary = make_summary(status=Status.FAILED, error="the store broke")
    folder.finish(run, summary)
    writer.on_run_error(run, summary, StorageError("the store broke"))
    assert run_status(db, run) == ["failed"]


def test_a_run_is_there_as_soon_as_it_starts(run, make_summary, url, db):
    writer = build(Clickhouse(url=url, **(QUICK | {"flush_interval_ns": "1h"})))
    writer.before_run(run)
    until(lambda: run_status(db, run) == ["running"])
    writer.after_run(run, make_summary())
    assert run_status(db, run) == ["completed"]


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        ({"kind": "status", "status": 503}, 2),
        ({"kind": "error", "code": 243}, 1),
        ({"kind": "drop"}, 2),
    ],
    ids=["unavailable", "disk full", "dropped"],
)
def test_rows_that_the_server_cannot_take_wait_and_are_delivered_once(
    clickhouse_front, run, make_summary, make_tables, cut, url, db, capsys, fault, tries
):
    tables = make_tables(3)
    clickhouse_front.fail(**fault, match="INSERT", times=10_000)
    write(run, make_summary(), cut(tables, [0.3, 0.6]), url, batch_rows=1)
    assert len(clickhouse_front.requests("INSERT")) == tries
    clickhouse_front.heal()
    assert stored(db, run, "orders")[0] == []
    (left,) = waiting(run, url)
    assert left.run_id == run.run_id
    assert (left.busy, left.rows > sum(map(len, tables.values()))) == (False, True)
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert warning.startswith("bt: warning: ClickHouse at http://127.0.0.1:")
    assert f"wait in {spool.spool_folder(run.config['store_dir'], address_of(url, '.'))}" in warning
    assert "deliver them with: bt db flush" in warning
    done = flush(run, url)
    assert (done.runs, done.files, done.rows) == ((run.run_id,), left.files, left.rows)
    assert_all_there(db, run, tables)
    assert_all_there(db, run, tables, final="")
    assert run_status(db, run) == ["completed"]
    assert waiting(run, url) == []
    assert flush(run, url).files == 0


def test_an_answer_that_is_lost_does_not_double_rows(
    clickhouse_front, run, make_summary, make_tables, cut, url, db
):
    tables = make_tables(4)
    clickhouse_front.fail("no_answer", match="INSERT", skip=3, times=6)
    write(run, make_summary(), cut(tables, [0.5]), url, batch_rows=1, max_retries=8)
    assert clickhouse_front.faults() == []
    assert waiting(run, url) == []
    assert_all_there(db, run, tables, final="")


def test_a_server_that_comes_back_is_used_again(
    clickhouse_front, run, make_summary, make_tables, cut, url, db
):
    tables = make_tables(5)
    first, *others = cut(tables, [0.2, 0.4, 0.6])
    clickhouse_front.fail("status", status=503, match="INSERT", times=2)
    write(run, make_summary(), [first, *others], url, batch_rows=1, max_retries=0, retry_after_ns=0)
    assert waiting(run, url)[0].files >= 2
    assert stored(db, run, "orders")[0] != []
    flush(run, url)
    assert_all_there(db, run, tables)


def test_a_server_that_is_too_slow_does_not_hold_the_run_up(
    clickhouse_front, run, make_summary, make_tables, cut, url, db, capsys
):
    tables = make_tables(6)
    clickhouse_front.fail("slow", match="INSERT", times=3, delay_s=0.7)
    writer = build(
        Clickhouse(url=url, **(QUICK | {"queue_rows": 10, "queue_wait_ns": "1ms", "batch_rows": 1}))
    )
    writer.before_run(run)
    began = time.monotonic()
    for part in cut(tables, [0.2, 0.4, 0.6, 0.8]):
        writer.on_slice(run, batch(part))
    assert time.monotonic() - began < 0.7
    writer.after_run(run, make_summary())
    assert "did not keep up: 10 rows were waiting for it." in capsys.readouterr().err
    flush(run, url)
    assert_all_there(db, run, tables)


def test_a_database_without_tables_is_said_with_the_command_that_makes_them(
    run, make_summary, make_tables, clickhouse_url, capsys
):
    write(run, make_summary(), [make_tables(7)], clickhouse_url)
    warning = capsys.readouterr().err
    assert "has no tables of bt" in warning
    assert "bt db migrate" in warning
    with ClickHouse(address_of(clickhouse_url, ".")) as db:
        migrate(db)
        flush(run, clickhouse_url)
        assert_all_there(db, run, make_tables(7))


def test_wrong_credentials_are_said_without_them(run, make_summary, make_tables, url, capsys, monkeypatch):
    monkeypatch.setenv("BT_CLICKHOUSE_USER", "default")
    monkeypatch.setenv("BT_CLICKHOUSE_PASSWORD", "not-this-one")
    write(run, make_summary(), [make_tables(7)], url)
    warning = capsys.readouterr().err
    assert "refused the user or password" in warning
    everything = b"".join(p.read_bytes() for p in run.run_dir.parent.rglob("*") if p.is_file())
    assert "not-this-one" not in warning
    assert b"not-this-one" not in everything


def test_a_run_fails_because_of_its_database_only_if_asked_to(
    clickhouse_front, run, make_summary, make_tables, url, db
):
    clickhouse_front.fail("error", code=243, match="INSERT", times=10_000)
    with pytest.raises(StorageError, match=r"is out of disk space.*on_error=fail"):
        write_or_fail(run, make_summary(), [make_tables(8)], url, on_error="fail")
    clickhouse_front.heal()
    flush(run, url)
    assert run_status(db, run) == ["failed"]
    assert_all_there(db, run, make_tables(8))


def test_a_spool_that_cannot_be_written_fails_the_run(run, make_summary, make_tables):
    (run.run_dir.parent / "store").write_text("no folder")
    with pytest.raises(
        StorageError, match="cannot be written: Not a directory, and the database cannot take"
    ):
        write(run, make_summary(), [make_tables(9)], "http://127.0.0.1:9/bt")


def test_rows_without_words_fail_the_run_and_are_not_stored(run, make_summary, make_tables, url, db):
    tables = make_tables(10)
    tables["fills"]["tag"] = 99
    with pytest.raises(RunError, match=r"fills.tag must be one of .*, was 99"):
        write_or_fail(run, make_summary(), [tables], url)
    assert of_run(db, run, "SELECT max(orders) AS n FROM backtest_progress FINAL") == [{"n": 0}]
    assert run_status(db, run) == ["failed"]


def test_rows_after_lost_ones_do_not_pass_for_whole(run, make_summary, make_tables, cut, url, db):
    bad, good = cut(make_tables(10), [0.5])
    bad = bad | {"equity": np.tile(bad["equity"][:1], len(bad["equity"]))}
    bad["equity"]["asset"] = 7
    writer = build(Clickhouse(url=url, **(QUICK | {"batch_rows": 1})))
    writer.before_run(run)
    for part in (bad, good):
        with suppress(RunError):  # the second may hear of the first
            writer.on_slice(run, batch(part))
    summary = make_summary(status=Status.FAILED)
    folder.finish(run, summary)
    writer.on_run_error(run, summary, RunError("no words"))
    assert of_run(db, run, "SELECT max(orders) AS n FROM backtest_progress FINAL") == [{"n": 0}]
    assert of_run(db, run, "SELECT count() AS n FROM backtest_orders") == [{"n": 0}]
    assert run_status(db, run) == ["failed"]


def test_rows_of_a_slice_that_was_not_whole_are_not_in_the_views(
    run, make_summary, make_tables, cut, url, db
):
    tables = make_tables(11)
    first, second = cut(tables, [0.5])
    writer = build(Clickhouse(url=url, **QUICK))
    writer.before_run(run)
    writer.on_slice(run, batch(first))
    until(lambda: len(of_run(db, run, "SELECT batch FROM backtest_progress FINAL")) == 2)
    names = [name for name in TABLES if len(second[name])]
    for name in names:  # what a writer that is killed just then leaves
        rows = table_rows(to_arrow(name, second[name], run), run.run_id, len(first[name]))
        db.insert(TABLE_OF[name], rows)
    for name in names:
        assert len(stored(db, run, name)[0]) == len(tables[name])
        view = TABLE_OF[name].replace("backtest_", "whole_")
        assert of_run(db, run, f"SELECT count() AS n FROM {view}") == [{"n": len(first[name])}]
    writer.on_slice(run, batch(second))
    writer.after_run(run, make_summary())
    for name in names:
        view = TABLE_OF[name].replace("backtest_", "whole_")
        assert of_run(db, run, f"SELECT count() AS n FROM {view}") == [{"n": len(tables[name])}]
    assert_all_there(db, run, tables)


def test_the_row_that_says_that_a_batch_is_whole_comes_after_its_rows(run, make_tables):
    rows = {name: table for name, table in make_tables(16).items() if len(table)}
    totals = {name: len(table) for name, table in rows.items()}
    parts = parts_of(run.run_id, [Slice(7, rows, totals, 5, 6)], run)
    assert [part.table for part in parts] == [*(TABLE_OF[name] for name in TABLES), "backtest_progress"]
    assert [part.label for part in parts] == sorted(part.label for part in parts)
    assert len({part.token for part in parts}) == len(parts)


def test_a_run_under_way_and_a_second_delivery_are_left_alone(
    clickhouse_front, run, make_summary, make_tables, cut, url, capsys
):
    clickhouse_front.fail("error", code=243, match="INSERT", times=10_000)
    writer = build(Clickhouse(url=url, **QUICK))
    writer.before_run(run)
    until(lambda: waiting(run, url))
    for part in cut(make_tables(12), [0.5]):
        writer.on_slice(run, batch(part))
    assert capsys.readouterr().err.count("bt: warning: ") == 1
    clickhouse_front.heal()
    assert flush(run, url).busy == (run.run_id,)
    assert [left.busy for left in waiting(run, url)] == [True]
    writer.after_run(run, make_summary())
    root = spool.spool_folder(run.config["store_dir"], address_of(url, "."))
    with open(root / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match=r"another delivery of .* is at work"):
            flush(run, url)
    assert flush(run, url).runs == (run.run_id,)


KILLED = """
import os, random, signal, sys
from bt_framework.stores.clickhouse import spool
from bt_framework.stores.clickhouse.address import address_of
from bt_framework.stores.clickhouse.sending import Retries, Sender
import clickhouse_connect, pyarrow.parquet, tenacity

store, url = sys.argv[1:]
address = address_of(url, ".")
folder = spool.spool_folder(store, address)
moments = random.Random(3)
kills = 0
while any(folder.glob("*/*.parquet")):
    before, after = moments.randrange(5), moments.randrange(3)
    pid = os.fork()
    if not pid:
        sender = Sender(address, Retries(first_wait_s=0.0))
        seen = 0
        def insert(part):
            global seen
            if seen == before and after == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            sender.send([part])
            seen += 1
            if seen > before and after:
                os.kill(os.getpid(), signal.SIGKILL)
        spool.deliver(folder, insert)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    kills += os.WIFSIGNALED(status)
print(kills, len(spool.flush(store, address).runs))
"""


def test_a_delivery_that_is_killed_at_any_moment_can_be_repeated(
    clickhouse_front, run, make_summary, make_tables, cut, url, db
):
    tables = make_tables(13)
    clickhouse_front.fail("status", status=503, match="INSERT", times=10_000)
    write(run, make_summary(), cut(tables, [0.3, 0.7]), url, batch_rows=1)
    clickhouse_front.heal()
    clickhouse_front.fail("no_answer", match="INSERT", skip=4, times=2)
    command = [sys.executable, "-c", KILLED, run.config["store_dir"], url]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env=dict(os.environ)
    )
    kills, _ = map(int, done.stdout.split())
    assert kills >= 4
    assert waiting(run, url) == []
    assert_all_there(db, run, tables)
    assert_all_there(db, run, tables, final="")
    assert run_status(db, run) == ["completed"]


def test_a_damaged_file_is_named_and_the_others_wait(
    clickhouse_front, run, make_summary, make_tables, url, db
):
    clickhouse_front.fail("status", status=503, match="INSERT", times=10_000)
    write(run, make_summary(), [make_tables(14)], url)
    clickhouse_front.heal()
    root = spool.spool_folder(run.config["store_dir"], address_of(url, ".")) / run.run_id
    victim = sorted(root.glob("*fills.parquet"))[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageError, match=r"fills\.parquet cannot be read: .* Move it away"):
        flush(run, url)
    victim.write_bytes(content)
    flush(run, url)
    assert_all_there(db, run, make_tables(14))


def test_what_waits_for_another_database_is_told(run, make_summary, make_tables, url):
    write(run, make_summary(), [make_tables(15)], "http://127.0.0.1:9/bt")
    store_dir = run.config["store_dir"]
    assert spool.elsewhere(store_dir, address_of(url, ".")) == ["http://127.0.0.1:9/bt"]
    assert spool.elsewhere(store_dir, address_of("http://127.0.0.1:9/bt", ".")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_rows": 0}, "batch_rows must be >= 1, was 0."),
        ({"max_retries": 21}, "max_retries must be from 0 to 20, was 21."),
        ({"backoff_ns": -1}, "backoff_ns must be >= 0, was -1."),
        ({"timeout_ns": 0}, "timeout_ns must be > 0, was 0."),
        ({"on_error": "ignore"}, "on_error"),
        ({"url": "http://u:hunter2@host/bt"}, "url must not hold a password"),
    ],
)
def test_a_wrong_key_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")) as caught:
        Clickhouse(**changes)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "url"), [("clickhouse_connect", "http://h/bt"), ("tenacity", ""), ("chdb", "")]
)
def test_a_package_that_is_missing_is_named_before_the_run(monkeypatch, missing, url):
    monkeypatch.delenv("BT_CLICKHOUSE_URL", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ConfigError, match=rf"writer=clickhouse needs {missing}.*'bt-framework\[clickhouse\]'"
    ):
        build(Clickhouse(url=url))
