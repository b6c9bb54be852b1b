"""What a sweep's folder tells: rows, the best jobs, the command lines that repeat them."""

from __future__ import annotations

import os
import shlex
import time

import pytest
from sweep_folders import made_sweep, outcome_of, planned

from bt_framework.errors import ConfigError, StorageError
from bt_framework.sweep.folder import TABLE_FILE
from bt_framework.sweep.journal import Journal
from bt_framework.sweep.objectives import Objective
from bt_framework.sweep.reading import Sweep

VALUES = {"strategy.entry_z": ["1", "1.5", "2"], "latency": ["colo", "retail"]}
SHARPES = [0.5, None, 3.0, "no data", 3.0, -1.0]


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    """Six jobs: one has failed, one has no Sharpe ratio, two are equal."""
    return Sweep(made_sweep(tmp_path, VALUES, lambda job: SHARPES[job.number]))


def jobs(table) -> list[int]:
    return table["job"].to_pylist()


def test_the_best_job_comes_first_and_those_without_a_value_last(sweep):
    assert jobs(sweep.select()) == [2, 4, 0, 5, 1, 3]
    assert jobs(sweep.select(sort="sharpe")) == [5, 0, 2, 4, 1, 3]
    assert jobs(sweep.select(sort="-strategy.entry_z")) == [4, 5, 2, 3, 0, 1]
    assert jobs(sweep.select(sort="latency", limit=4)) == [0, 2, 4, 1]
    assert jobs(sweep.select(limit=0)) == []


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("sharpe>0", [2, 4, 0]),
        ("not sharpe>0", [5, 1, 3]),
        ("strategy.entry_z>=1.5 and latency==colo", [2, 4]),
        ("status==failed or sharpe<0", [5, 3]),
        ("job in [1, 3]", [1, 3]),
        ("config_hash==cc", [2, 4, 0, 5, 1]),
        ("strategy.entry_z==2", [4, 5]),
        ("error!=''", [3]),
    ],
)
def test_a_filter_compares_columns_of_the_table(sweep, where, found):
    assert jobs(sweep.select(where)) == found


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("strategy.entry>1", "was 'strategy.entry'. Did you mean 'strategy.entry_z'?"),
        ("started>2024-01-01", "a filter's field must be one of"),
        ("latency>1", "the operator after latency must be one of"),
        ("strategy.entry_z>colo", "strategy.entry_z is compared with a number, was 'colo'"),
        ("status==lost", "status must be one of completed, failed, pruned, running, waiting, was 'lost'"),
        ("strategy..z>1", "filter 'strategy..z>1': expected"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(sweep, where, message):
    with pytest.raises(ConfigError) as caught:
        sweep.select(where)
    assert message in str(caught.value)


def test_a_column_to_sort_by_must_be_one(sweep):
    with pytest.raises(ConfigError, match=r"the column to sort by must be one of .* was 'sharp'"):
        sweep.select(sort="-sharp")


def test_the_best_is_the_first_of_equals_and_the_smallest_if_asked(sweep):
    assert [job.number for job in sweep.best()] == [2]
    assert [job.number for job in sweep.best([Objective("sharpe", minimize=True)])] == [5]
    assert [job.number for job in sweep.best([Objective("trades")])] == [5]


def test_of_several_objectives_the_best_are_those_that_no_job_beats(sweep):
    found = sweep.best([Objective("sharpe"), Objective("trades")])
    assert [job.number for job in found] == [4, 5]


def test_a_metric_that_is_none_or_that_no_job_has_is_refused(tmp_path, sweep):
    with pytest.raises(
        ConfigError, match=r"the metric must be one of .*, was 'sharp'. Did you mean 'sharpe'"
    ):
        sweep.best([Objective("sharp")])
    undefined = Sweep(made_sweep(tmp_path / "x", VALUES, lambda job: None if job.number else "no data"))
    with pytest.raises(ConfigError, match=r"was sharpe: 5 of 6 jobs have completed, none with a value\."):
        undefined.best()


def test_a_command_line_is_quoted_and_leaves_out_how_the_sweep_was_carried_out(tmp_path, monkeypatch):
    fixed = (
        "+strategy=ou_pairs",
        "note='it\\'s $HOME'",
        "sweep.metric=pnl",
        "rerun=true",
        "limits.max_seconds=5",
    )
    made = made_sweep(tmp_path, VALUES, fixed=fixed, config_dirs=("my conf",))
    sweep = Sweep(made)
    words = shlex.split(sweep.command(sweep.jobs[3]))
    assert words == [
        *("bt", "--config-dir", "my conf", "+strategy=ou_pairs", "note='it\\'s $HOME'"),
        *("strategy.entry_z=1.5", "latency=retail"),
    ]
    monkeypatch.chdir(tmp_path)
    assert sweep.command(sweep.jobs[3]).startswith(f"cd {shlex.quote(sweep.plan.cwd)} && bt ")


def test_keys_of_hydra_s_own_make_it_a_sweep_of_one_job(tmp_path):
    sweep = Sweep(made_sweep(tmp_path, VALUES, fixed=("+strategy=x", "hydra.searchpath=[file:///conf]")))
    assert sweep.command(sweep.jobs[0]).startswith("bt -m +strategy=x 'hydra.searchpath=[file:///conf]' ")


def test_the_table_that_was_written_and_the_journals_tell_the_same(tmp_path, sweep):
    written = sweep.table
    (sweep.folder.path / TABLE_FILE).unlink()
    assert Sweep(sweep.folder).table.equals(written, check_metadata=True)


def test_a_sweep_under_way_is_read_from_its_journals(tmp_path):
    made = made_sweep(tmp_path, VALUES, done=2)
    assert Sweep(made).status == "stopped"
    _, planned_jobs = planned(VALUES)
    journal = Journal(made.path)
    journal.started(2)
    journal.ended(outcome_of(planned_jobs[2], 7.0))
    journal.started(3)
    after_ns = time.time_ns() + 10**9
    for path in (made.path / "journal").glob("*.jsonl"):
        os.utime(path, ns=(after_ns, after_ns))
    sweep = Sweep(made)
    assert sweep.status == "running"
    assert sweep.table["status"].to_pylist() == [*["completed"] * 3, "running", *["waiting"] * 2]
    assert [job.number for job in sweep.best()] == [2]


@pytest.mark.parametrize(
    ("results", "status"), [([1.0] * 6, "completed"), ([1.0, "no data", *[1.0] * 4], "failed")]
)
def test_a_sweep_that_has_ended_has_failed_if_a_job_has(tmp_path, results, status):
    assert Sweep(made_sweep(tmp_path, VALUES, lambda job: results[job.number])).status == status


def test_a_table_that_cannot_be_read_is_told(sweep):
    (sweep.folder.path / TABLE_FILE).write_bytes(b"nothing")
    with pytest.raises(StorageError, match=r"the table of .* cannot be read"):
        _ = Sweep(sweep.folder).table
