import dataclasses
import json
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bt_framework.errors import ConfigError, StorageError
from bt_framework.results.folder import RunFolder, _to_yaml, finish, replacing, start
from bt_framework.results.process import this_process
from bt_framework.results.record import RunRecord
from bt_framework.results.run import TABLES, Status
from bt_framework.results.schemas import schema


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_folder_says_that_the_run_is_running_as_soon_as_it_exists(tmp_path, make_run):
    run = make_run(tmp_path)
    start(run)
    record = RunFolder(run.run_dir).record()
    assert names(run.run_dir) == ["config.yaml", "run.json"]
    assert (record.status, record.run_id, record.identity) == (Status.RUNNING, run.run_id, run.identity)
    assert record.process == this_process()


TEXTS = st.text(alphabet=st.characters(max_codepoint=127), max_size=200) | st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=3))
def test_a_configuration_is_written_as_pyyaml_writes_it(config):
    assert _to_yaml(config) == yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode()


def test_the_end_of_a_run_is_written_into_its_folder(tmp_path, make_run, make_summary):
    run, summary = make_run(tmp_path), make_summary()
    start(run)
    written = finish(run, summary)
    read = RunFolder(run.run_dir).record()
    assert names(run.run_dir) == ["config.yaml", "run.json"]
    assert read.status == Status.COMPLETED
    assert read.finished_at_ns >= read.started_at_ns
    assert (read.counts, read.timings, read.result_hash) == (
        summary.counts,
        summary.timings,
        summary.result_hash,
    )
    assert math.isnan(read.metrics["sharpe"])
    assert read.metrics.keys() == written.metrics.keys()
    defined = [name for name in summary.metrics if name != "sharpe"]
    assert all(read.metrics[name] == written.metrics[name] == summary.metrics[name] for name in defined)
    assert dataclasses.replace(read, metrics={}) == dataclasses.replace(written, metrics={})


def test_run_json_is_json_that_any_reader_takes_and_has_no_nan(tmp_path, make_run, make_summary):
    run = make_run(tmp_path)
    start(run)
    finish(run, make_summary(status=Status.FAILED, error="the engine returned code 14"))
    content = json.loads((run.run_dir / "run.json").read_text(), parse_constant=pytest.fail)
    assert content["metrics"]["sharpe"] is None
    assert (content["status"], content["error"]) == ("failed", "the engine returned code 14")
    assert content["data_grade"]["line"] == "BTCUSDT: ok; ETHUSDT: 1 gap"


def test_config_yaml_is_the_resolved_composition_in_its_order(tmp_path, make_run):
    run = make_run(tmp_path)
    start(run)
    assert RunFolder(run.run_dir).config() == run.config
    assert list(yaml.safe_load((run.run_dir / "config.yaml").read_text("utf-8"))) == list(run.config)
    assert "größer" in (run.run_dir / "config.yaml").read_text("utf-8")


def test_a_running_run_whose_process_is_gone_is_lost(tmp_path, make_run):
    run = make_run(tmp_path)
    gone = dataclasses.replace(this_process(), started="0:1")
    record = dataclasses.replace(start(run), process=gone)
    (run.run_dir / "run.json").write_bytes(record.to_json())
    assert RunFolder(run.run_dir).record().status == Status.LOST


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.STOPPED])
def test_a_run_that_ended_keeps_its_status_when_its_process_is_gone(tmp_path, make_run, make_summary, status):
    run = make_run(tmp_path)
    gone = dataclasses.replace(this_process(), started="0:1")
    record = dataclasses.replace(start(run), process=gone).finished(make_summary(status=status))
    (run.run_dir / "run.json").write_bytes(record.to_json())
    assert RunFolder(run.run_dir).record().status == status


def test_a_run_folder_is_never_used_twice(tmp_path, make_run):
    start(make_run(tmp_path))
    with pytest.raises(StorageError, match=r"run folder .* must be new, but holds a run"):
        start(make_run(tmp_path))


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path, make_run):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StorageError, match=r"runs/.* cannot be written: Not a directory"):
        start(make_run(tmp_path / "runs"))


def test_a_folder_without_a_record_is_no_run_folder(tmp_path):
    with pytest.raises(StorageError, match=r"is no run folder: it has no run\.json"):
        RunFolder(tmp_path).record()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": "running"}', '{"status": "odd"}'])
def test_a_damaged_record_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(StorageError, match=r"run\.json must be the record of a run, but is not"):
        RunFolder(tmp_path).record()


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_which_nothing_was_written_is_empty_and_has_its_columns(tmp_path, table):
    empty = RunFolder(tmp_path).table(table)
    assert empty.num_rows == 0
    assert empty.schema.equals(schema(table), check_metadata=True)


@pytest.mark.parametrize("table", ["quotes", "order_lives"])
def test_what_is_no_table_of_a_run_is_an_error(tmp_path, table):
    with pytest.raises(ConfigError, match=f"table must be one of .*, was '{table}'"):
        RunFolder(tmp_path).table(table)


def test_a_damaged_table_is_an_error_that_names_the_folder(tmp_path):
    (tmp_path / "fills.parquet").write_bytes(b"PAR1 is how it begins")
    with pytest.raises(StorageError, match=f"fills of {tmp_path} cannot be read"):
        RunFolder(tmp_path).table("fills")


def test_a_file_that_could_not_be_completed_leaves_the_old_one(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")

    def be_interrupted():
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["run.json"]


def test_the_outcome_has_the_keys_that_programs_rely_on(make_run, make_summary):
    outcome = RunRecord.started(make_run()).finished(make_summary()).outcome()
    assert list(outcome) == [
        "run_id",
        "status",
        "run_dir",
        "config_hash",
        "data_hash",
        "code_hash",
        "result_hash",
        "seed",
        "events",
        "wall_s",
        "kernel_s",
        "events_per_s",
        "jit",
        "mode",
        "counts",
        "metrics",
    ]
    assert outcome["events_per_s"] == 944_088 / 0.05
    assert list(outcome["counts"]) == ["signals", "orders", "fills", "refusals", "risk_events", "trades"]
