"""The table of a sweep: its columns, its bytes, and what a store makes of it."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_folders import made_sweep, outcome_of, planned

from bt_framework.errors import StorageError
from bt_framework.results.rows import METRIC_COLUMNS
from bt_framework.stores.sweeps import RESULT_COLUMNS, job_rows, jobs_table
from bt_framework.sweep.folder import TABLE_FILE
from bt_framework.sweep.journal import Ending, JobState, Journal, Outcome, read_states
from bt_framework.sweep.table import RUNS_FILE, status_of, sweep_tables, with_runs, write_table


def table_of(texts: list[str]) -> pa.Table:
    plan, jobs = planned({"key": texts})
    return sweep_tables(plan, jobs, {})[0]


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "-2", "1_000"], pa.int64(), [1, -2, 1_000]),
        (["1", "1.5", "1e-3"], pa.float64(), [1.0, 1.5, 0.001]),
        (["1", "null"], pa.int64(), [1, None]),
        (["null", "null"], pa.string(), [None, None]),
        (["colo", "1", "2.50"], pa.string(), ["colo", "1", "2.50"]),
        (["true", "false"], pa.string(), ["true", "false"]),
        (["'two words'", r"'it\'s'", '"x"'], pa.string(), ["two words", "it's", "x"]),
        (["'1'", "'2'"], pa.string(), ["1", "2"]),
        (["[a,b]", "{a:1}"], pa.string(), ["[a,b]", "{a:1}"]),
        ([str(2**63), "1"], pa.float64(), [2.0**63, 1.0]),
        (["inf", "-1"], pa.float64(), [float("inf"), -1.0]),
    ],
)
def test_a_column_of_what_varies_is_of_numbers_if_all_its_values_are(texts, kind, values):
    column = table_of(texts)["key"]
    assert column.type == kind
    assert column.to_pylist() == values


def test_columns_are_the_job_what_varies_and_what_came_of_it_in_this_order():
    plan, jobs = planned({"+latency": ["colo"], "fees": ["zero"], "seed": ["1"]})
    assert sweep_tables(plan, jobs, {})[0].column_names == [
        "job",
        "latency",
        "config.fees",
        "config.seed",
        "status",
        "error",
        *(column.name for column in METRIC_COLUMNS),
        *("config_hash", "data_hash", "code_hash", "seed", "result_hash"),
    ]


def test_a_row_says_what_became_of_its_job(tmp_path):
    plan, jobs = planned({"z": ["1", "2", "3", "4"]})
    journal = Journal(tmp_path)
    for job, result in zip(jobs, (1.5, "no data\nat all", None), strict=False):
        journal.started(job.number)
        journal.ended(outcome_of(job, result))
    journal.started(3)
    table, runs = sweep_tables(plan, jobs, read_states(tmp_path))
    assert table["status"].to_pylist() == ["completed", "failed", "completed", "running"]
    assert table["error"].to_pylist() == ["", "no data", "", ""]
    assert table["sharpe"].to_pylist() == [1.5, None, None, None]
    assert table["trades"].to_pylist() == [0, None, 2, None]
    assert table["result_hash"].to_pylist() == ["0" * 64, None, f"{2:064x}", None]
    assert runs["job"].to_pylist() == [0, 1, 2, 3]
    assert runs["run_id"].to_pylist() == ["run-000000", None, "run-000002", None]
    assert runs["wall_s"].to_pylist() == [0.1, None, 0.1, None]
    assert runs["attempts"].to_pylist() == [1, 1, 1, 0]
    journal.ended(Outcome(3, Ending.PRUNED, error="pruned at step 1 of 9"))
    assert sweep_tables(plan, jobs, read_states(tmp_path))[0]["status"][3].as_py() == "pruned"


def test_a_sweep_without_jobs_has_an_empty_table(tmp_path):
    plan, _ = planned({"z": ["1"]})
    write_table(tmp_path, plan, [], {})
    assert pq.read_table(tmp_path / TABLE_FILE).num_rows == 0
    assert pq.read_table(tmp_path / RUNS_FILE).num_rows == 0
    assert status_of(pq.read_table(tmp_path / TABLE_FILE)) == "stopped"


def test_the_bytes_of_the_table_say_nothing_of_who_ran_the_jobs_when_and_how_often(tmp_path):
    values = {"z": ["1", "2", "3"], "latency": ["colo", "retail"]}
    plain = made_sweep(tmp_path, values)
    plan, jobs = planned(values, sweep_id="20250101-another", created_at_ns=1, cwd="/elsewhere")
    other = tmp_path / plan.sweep_id
    for number in (5, 0, 3, 1, 4, 2):
        journal = Journal(other)  # each by a process of its own, as it were
        journal.started(number)
        journal.ended(Outcome(number, Ending.FAILED, error="killed"))
        journal.started(number)
        outcome = outcome_of(jobs[number], float(number))
        journal.ended(
            Outcome(**vars(outcome) | {"run_id": "other", "reused": True, "timings": {"wall_s": 9.0}})
        )
        journal.close()
    write_table(other, plan, jobs, read_states(other))
    assert (other / TABLE_FILE).read_bytes() == (plain.path / TABLE_FILE).read_bytes()
    assert (other / RUNS_FILE).read_bytes() != (plain.path / RUNS_FILE).read_bytes()


_TEXTS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["colo", "null", "true", "[a,b]", "'it is'", "größer"]),
)
_KEYS = st.sampled_from(["a", "strategy.z", "fees", "seed", "status", "run_id", "latency", "data.files"])


@given(st.dictionaries(_KEYS, st.lists(_TEXTS, min_size=1, max_size=3), min_size=1, max_size=3))
def test_what_a_store_keeps_of_the_jobs_becomes_the_table_again(values):
    plan, jobs = planned(values)
    states = {job.number: JobState(end=outcome_of(job, 1.0 / (1 + job.number))) for job in jobs[::2]}
    table, runs = sweep_tables(plan, jobs, states)
    whole = with_runs(table, runs)
    rows = job_rows("sweep", whole)
    assert [list(json.loads(row["varied"])) for row in rows] == [
        whole.column_names[1 : 1 + len(values)]
    ] * len(rows)
    assert jobs_table(rows).equals(whole, check_metadata=True)
    assert {column.name for column in RESULT_COLUMNS} < set(rows[0])


def test_a_table_that_cannot_be_written_says_which_folder_to_choose(tmp_path):
    plan, jobs = planned({"seed": ["1"]})
    (tmp_path / RUNS_FILE).mkdir()
    with pytest.raises(
        StorageError, match=r"runs\.parquet cannot be written: .*choose another sweep\.dir\.$"
    ):
        write_table(tmp_path, plan, jobs, {})
