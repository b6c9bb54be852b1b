"""`bt runs` over ten thousand runs answers in less than a second, its start included, whichever database holds them.

That is processor time, the least of some tries: a machine that is busy with something else is slower.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from run_records import made

from bt_framework.cli._run_selection import open_store
from bt_framework.results.record import RunRecord
from bt_framework.results.rows import metrics_row, run_row
from bt_framework.results.run import Status
from bt_framework.stores.base import RunStore
from bt_framework.stores.relational.tables import METRICS, RUN_TAGS, RUNS

COUNT = 10_000
DISTINCT = 200
LONGEST_S = 1.0
_BT = """
import resource, sys
from bt_framework.cli.main import main
code = main()
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_utime + usage.ru_stime, file=sys.stderr)
sys.exit(code)
"""
FILTER = "sharpe>1 and strategy==ou_pairs and (tag==night or started>=2024-08-20)"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    """The runs; a few say that they are running."""
    folder = tmp_path_factory.mktemp("many") / "runs"
    kinds = [made(number, folder) for number in range(DISTINCT)]
    kinds = [dataclasses.replace(r, status=Status.FAILED) if not r.finished_at_ns else r for r in kinds]
    records = []
    for number in range(COUNT):
        kind = kinds[number % DISTINCT]
        run_id = f"run-{number:06d}"
        started_at_ns = kind.started_at_ns + number * 1_000_000_000
        records.append(
            dataclasses.replace(kind, run_id=run_id, run_dir=folder / run_id, started_at_ns=started_at_ns)
        )
    for number in range(0, COUNT, COUNT // 3):
        records[number] = made(number, folder, status=Status.RUNNING, finished_at_ns=0)
    return records


def fill(store: Any, records: list[RunRecord]) -> None:
    """Put all of `records` at once."""
    store.put(records[0])  # creates the tables
    rest = records[1:]
    tags = [{"run_id": r.run_id, "tag": tag} for r in rest for tag in r.tags]
    with store.database.writing() as connection:
        connection.execute(RUNS.insert(), [run_row(r) for r in rest])
        connection.execute(METRICS.insert(), [metrics_row(r) for r in rest if r.finished_at_ns])
        connection.execute(RUN_TAGS.insert(), tags)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(
    request: pytest.FixtureRequest, records: list[RunRecord], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], dict[str, str]]:
    """Overrides and environment of a store with the runs."""
    environment = dict(os.environ)
    overrides = [f"runs_dir={records[0].run_dir.parent}", f"store={request.param}"]
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        environment["BT_POSTGRES_URL"] = server.url(server.new_database())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", environment)
        store: RunStore = open_store(overrides)
        fill(store, records)
    return overrides, environment


def bt_runs(place: tuple[list[str], dict[str, str]], *arguments: str) -> tuple[str, float]:
    """Output of ``bt runs``, and processor time of the whole process, the least of some."""
    overrides, environment = place
    command = [sys.executable, "-c", _BT, "runs", *arguments, *overrides]
    taken_s = []
    for _ in range(5):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        taken_s.append(float(done.stderr.splitlines()[-1]))
        if taken_s[-1] < LONGEST_S:
            break
    return done.stdout, min(taken_s)


def test_the_newest_are_listed_in_less_than_a_second(
    place: tuple[list[str], dict[str, str]], records: list[RunRecord]
) -> None:
    out, seconds = bt_runs(place)
    newest = sorted(records, key=lambda r: r.started_at_ns, reverse=True)[:20]
    assert [line.split()[0] for line in out.splitlines()[1:]] == [r.run_id for r in newest]
    assert seconds < LONGEST_S


def test_a_filter_with_a_sort_takes_less_than_a_second(
    place: tuple[list[str], dict[str, str]], records: list[RunRecord]
) -> None:
    out, seconds = bt_runs(place, FILTER, "--sort", "-sharpe", "--format", "csv")
    wanted = [
        r
        for r in records
        if r.strategy == "ou_pairs"
        and r.metrics.get("sharpe", 0) > 1
        and ("night" in r.tags or r.started_at_ns >= 1_724_112_000_000_000_000)
    ]
    wanted.sort(key=lambda r: (-r.metrics["sharpe"], -r.started_at_ns, r.run_id))
    assert len(wanted) > 100
    assert [row["run_id"] for row in csv.DictReader(io.StringIO(out))] == [r.run_id for r in wanted[:20]]
    assert seconds < LONGEST_S


def test_json_of_the_worst_hundred_takes_less_than_a_second(
    place: tuple[list[str], dict[str, str]], records: list[RunRecord]
) -> None:
    out, seconds = bt_runs(place, "--sort", "pnl", "--limit", "100", "--json")
    wanted = sorted(
        (r for r in records if r.metrics), key=lambda r: (r.metrics["pnl"], -r.started_at_ns, r.run_id)
    )
    assert [run["run_id"] for run in json.loads(out)] == [r.run_id for r in wanted[:100]]
    assert seconds < LONGEST_S


@pytest.mark.parametrize("arguments", [[], [FILTER, "--format", "csv"]])
def test_neither_hydra_nor_numpy_nor_plugins_of_other_kinds_are_loaded(
    place: tuple[list[str], dict[str, str]], arguments: list[str]
) -> None:
    overrides, environment = place
    done = subprocess.run(
        [sys.executable, "-m", "bt_framework", "runs", *arguments, *overrides],
        env=environment | {"PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "bt_framework.stores.relational.queries" in imported
    packages = {name.partition(".")[0] for name in imported}
    assert (
        packages & {"hydra", "omegaconf", "antlr4", "numpy", "pyarrow", "pandas", "rich", "alembic"} == set()
    )
    plugins = {name.split(".")[1] for name in imported if name.startswith("bt_plugins.")}
    assert plugins == {"stores"}
