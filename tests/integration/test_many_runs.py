"""Ten thousand runs add little to what `bt runs` takes over none, whichever database holds them.

Both are measured in turns: how long Python takes to start varies more from one minute to the next than all of the rest.
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
LONGEST_S = 0.35
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


def processor_s(environment: dict[str, str], *arguments: str) -> tuple[str, float]:
    """Output of ``bt runs``, and seconds of processor time of the whole process."""
    command = [sys.executable, "-c", _BT, "runs", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, float(done.stderr.splitlines()[-1])


def bt_runs(place: tuple[list[str], dict[str, str]], *arguments: str) -> tuple[str, float]:
    """Output, and processor time beyond that of the command over nothing, the least of some."""
    overrides, environment = place
    added = []
    for _ in range(3):
        _, nothing_s = processor_s(environment, "runs_dir=no_such_folder")
        out, seconds = processor_s(environment, *arguments, *overrides)
        added.append(seconds - nothing_s)
        if added[-1] < LONGEST_S:
            break
    return out, min(added)


def test_the_newest_are_listed_in_little_more_than_the_start_up(
    place: tuple[list[str], dict[str, str]], records: list[RunRecord]
) -> None:
    out, seconds = bt_runs(place)
    newest = sorted(records, key=lambda r: r.started_at_ns, reverse=True)[:20]
    assert [line.split()[0] for line in out.splitlines()[1:]] == [r.run_id for r in newest]
    assert seconds < LONGEST_S


def test_a_filter_with_a_sort_takes_little_more_than_the_start_up(
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


def test_json_of_the_worst_hundred_takes_little_more_than_the_start_up(
    place: tuple[list[str], dict[str, str]], records: list[RunRecord]
) -> None:
    out, seconds = bt_runs(place, "--sort", "pnl", "--limit", "100", "--json")
    wanted = sorted(
        (r for r in records if r.metrics), key=lambda r: (r.metrics["pnl"], -r.started_at_ns, r.run_id)
    )
    assert [run["run_id"] for run in json.loads(out)] == [r.run_id for r in wanted[:100]]
    assert seconds < LONGEST_S
