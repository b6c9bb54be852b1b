"""`bt runs FILTER`: which runs, in which order, and how they are printed."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from run_records import made

from bt_framework.cli._run_selection import Arguments, open_store
from bt_framework.cli.main import main
from bt_framework.results.rows import METRIC_COLUMNS

RUNS = 40


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "runs"
    store = open_store([f"runs_dir={folder}"])
    runs = [made(number, folder) for number in range(RUNS)]
    for record in runs:
        store.put(record)
    return runs


@pytest.fixture
def bt(records, capsys):
    """Return a function that runs `bt runs ...`: (exit code, stdout, stderr)."""

    def bt(*arguments):
        code = main(["runs", *arguments, f"runs_dir={records[0].run_dir.parent}"])
        return code, *capsys.readouterr()

    return bt


def ids(shown):
    return [run["run_id"] for run in json.loads(shown[1])]


@pytest.mark.parametrize(
    "argument",
    ["sharpe>1", "strategy==x", "strategy=x", "tag=a", "not seed==1", "(seed==1)", "started>2024-08-01"],
)
def test_what_compares_a_field_is_a_filter(argument):
    assert Arguments.of([argument]) == Arguments((), (argument,), ())


@pytest.mark.parametrize(
    "argument",
    ["runs_dir=a b", "store=sqlite", "store.path=/tmp/x>y (1)", "store_dir=x", "runs_dri=x", "+store=x"],
)
def test_another_key_with_a_value_is_an_override(argument):
    assert Arguments.of([argument]) == Arguments((), (), (argument,))


def test_the_rest_are_ids():
    assert Arguments.of(["20240809", "sharpe>1", "runs_dir=x", "b"]) == Arguments(
        ("20240809", "b"), ("sharpe>1",), ("runs_dir=x",)
    )


def test_a_filter_chooses_runs_and_several_must_all_hold(bt, records):
    wanted = [r.run_id for r in records if r.metrics.get("sharpe", 0) > 1 and r.strategy == "ou_pairs"]
    assert wanted
    assert ids(bt("sharpe>1 and strategy==ou_pairs", "--json")) == wanted[::-1]
    assert ids(bt("sharpe>1", "strategy=ou_pairs", "--json")) == wanted[::-1]
    assert ids(bt("sharpe>1", "--strategy", "ou_pairs", "--json", "--limit", "1")) == wanted[-1:]


def test_runs_are_sorted_by_a_field_smallest_first_and_with_a_minus_largest_first(bt, records):
    known = [r for r in records if r.metrics and r.metrics["sharpe"] == r.metrics["sharpe"]]
    by_sharpe = [r.run_id for r in sorted(known, key=lambda r: r.metrics["sharpe"])]
    up = ids(bt("--sort", "sharpe", "--json", "--limit", "0"))
    down = ids(bt("--sort", "-sharpe", "--json", "--limit", "0"))
    assert up[: len(known)] == by_sharpe
    assert down[: len(known)] == by_sharpe[::-1]
    assert up[len(known) :] == down[len(known) :]
    assert len(up) == RUNS
    assert ids(bt("--sort", "started", "--json", "--limit", "2")) == ["run-000000", "run-000001"]


def test_more_runs_than_are_listed_are_mentioned_where_results_do_not_go(bt):
    code, out, err = bt()
    assert (code, len(out.splitlines()), err) == (0, 21, "the first 20; --limit 0 lists all\n")
    assert bt("--limit", "0")[2] == ""
    assert bt("--limit", str(RUNS))[2] == ""


def test_csv_has_a_line_per_run_with_numbers_in_full(bt, records):
    rows = list(csv.DictReader(io.StringIO(bt("--format", "csv", "--limit", "0", "--sort", "started")[1])))
    assert len(rows) == RUNS
    for row, record in zip(rows, records, strict=True):
        assert (row["run_id"], row["tags"]) == (record.run_id, " ".join(record.tags))
        assert int(row["started_at_ns"]) == record.started_at_ns
        for column in METRIC_COLUMNS:
            value = record.metrics.get(column.name)
            known = value is not None and value == value
            assert (column.type(row[column.name]) == value) if known else row[column.name] == ""


def test_columns_are_chosen_for_every_format(bt, records):
    columns = ("--columns", "run_id,tags, started,sharpe,git_commit", "--limit", "0", "--sort", "started")
    rows = json.loads(bt(*columns, "--json")[1])
    first = records[0]
    assert list(rows[0]) == ["run_id", "tags", "started_at_ns", "sharpe", "git_commit"]
    assert rows[0]["tags"] == list(first.tags)
    assert rows[0]["started_at_ns"] == first.started_at_ns
    undefined = next(
        i for i, r in enumerate(records) if r.metrics.get("sharpe", 0) != r.metrics.get("sharpe", 0)
    )
    assert rows[undefined]["sharpe"] is None
    heading = bt(*columns, "--format", "csv")[1].splitlines()[0]
    assert heading == "run_id,tags,started_at_ns,sharpe,git_commit"
    table = bt(*columns)[1].splitlines()
    assert table[0].split() == ["run_id", "tags", "started_at_ns", "sharpe", "git_commit"]
    assert "2024-08-01 00:00:00" in table[1]


def test_a_terminal_shows_the_chosen_columns_whole(bt, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    shown = re.sub(r"\x1b\[[\d;]*m", "", bt("--columns", "run_id,git_commit,pnl", "run_id==run-000003")[1])
    assert "run-000003" in shown
    assert max(map(len, shown.splitlines())) <= 60


def test_json_tells_of_tags_note_and_commit(bt, records):
    (run,) = json.loads(bt("run_id==run-000007", "--json")[1])
    record = records[7]
    assert (run["tags"], run["note"], run["git_commit"]) == (
        list(record.tags),
        record.note,
        record.git_commit,
    )


def test_no_such_run_is_said_in_a_table_and_empty_otherwise(bt):
    assert "no such runs in" in bt("sharpe>1e9")[1]
    assert bt("sharpe>1e9", "--json")[1] == "[]\n"
    assert bt("sharpe>1e9", "--format", "csv")[1].startswith("run_id,strategy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sharpee>1"], "bt: error: a filter's field must be one of "),
        (["sharpe>high"], "bt: error: sharpe is compared with a number, was 'high'"),
        (["sharpe>"], "bt: error: filter 'sharpe>': expected a value"),
        (["--sort", "sharp"], "bt: error: the column to sort by must be one of "),
        (["--columns", "run_id,sharp"], "bt: error: the column must be one of "),
        (["--columns", "run_id,"], "bt: error: the column must be one of "),
        (["--format", "xml"], "'xml' is not one of 'table', 'csv', 'json'"),
        (["--format", "csv", "--json"], "--json is --format json, but --format is csv."),
        (["--limit", "-1"], "-1 is not in the range x>=0"),
        (["ls", "20240809"], "'20240809' is neither a filter nor KEY=VALUE."),
        (["runs_dri=x"], "bt: error: unknown key runs_dri"),
    ],
)
def test_wrong_input_is_refused_with_exit_code_2(bt, arguments, message):
    code, out, err = bt(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_what_a_terminal_would_obey_is_not_printed(tmp_path, capsys):
    store = open_store([f"runs_dir={tmp_path}"])
    store.put(made(1, tmp_path, note="a\x1b[2Jb", strategy="x\x1b]0;y\x07", error="\x9b31m"))
    for arguments in ([], ["--columns", "run_id,note"], ["show", "run-000001"]):
        assert main(["runs", *arguments, f"runs_dir={tmp_path}"]) == 0
        assert not re.search(r"[\x1b\x07\x9b]", capsys.readouterr().out)
