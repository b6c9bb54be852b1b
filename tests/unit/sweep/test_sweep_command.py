"""`bt sweep list`, `show` and `best` on folders of sweeps."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

import pytest
from sweep_folders import made_sweep

from bt_framework.cli.main import main

VALUES = {"strategy.entry_z": ["1", "1.5", "2"], "fees": ["zero", "'two words'"]}
SHARPES = [0.5, None, 3.0, "no data\nat all", 2.5, -1.0]


@pytest.fixture
def bt(tmp_path, capsys) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs ``bt sweep ...`` on two sweeps: (exit code, stdout, stderr)."""
    sweeps = tmp_path / "sweeps"
    made_sweep(sweeps, VALUES, lambda job: SHARPES[job.number], cwd="")
    made_sweep(sweeps, {"x": ["1", "2", "3"]}, lambda job: None, sweep_id="20250101-000000-ffffff", done=1)

    def bt(*arguments: str) -> tuple[int, str, str]:
        code = main(["sweep", *arguments, "--dir", str(sweeps)])
        return code, *capsys.readouterr()

    return bt


def test_sweeps_are_listed_with_what_is_done_and_the_best(bt):
    code, out, _ = bt("list")
    assert code == 0
    assert out.splitlines() == [
        "sweep                   started              status   jobs  done  failed  best           value",
        "20250101-000000-ffffff  2024-08-09 12:00:00  stopped     3     1       0  -                  -",
        "20240809-120000-abc123  2024-08-09 12:00:00  failed      6     5       1  job 2, sharpe   3.00",
    ]
    rows = json.loads(bt("list", "--format", "json")[1])
    assert [row["value"] for row in rows] == [None, 3.0]


def test_a_folder_that_cannot_be_read_is_told_of_and_the_others_are_listed(bt, tmp_path):
    broken = tmp_path / "sweeps" / "20230101-broken"
    broken.mkdir()
    (broken / "plan.json").write_text("{")
    code, out, err = bt("list")
    assert (code, len(out.splitlines())) == (0, 3)
    assert "bt: problem:" in err
    assert "20230101-broken" in err


def test_no_sweeps_are_none(tmp_path, capsys):
    assert main(["sweep", "list", "--dir", str(tmp_path)]) == 0
    assert "Start one with: bt -m +strategy=NAME KEY=A,B" in capsys.readouterr().out


def test_the_folder_of_sweeps_may_be_below_home(bt, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["sweep", "list", "--dir=~/sweeps"]) == 0
    assert "20240809-120000-abc123" in capsys.readouterr().out


def test_jobs_are_shown_the_best_first_with_what_varied(bt):
    code, out, err = bt("show", "2024", "--limit", "3")
    assert code == 0
    assert out.splitlines() == [
        "job  strategy.entry_z  config.fees  status     sharpe   pnl  max_drawdown  trades",
        "  2               1.5  zero         completed    3.00  2.00          2.00       2",
        "  4                 2  zero         completed    2.50  4.00          4.00       4",
        "  0                 1  zero         completed    0.50  0.00          0.00       0",
    ]
    assert err == "the first 3; --limit 0 lists all\n"
    assert "no data" in bt("show", "2024", "status==failed")[1]
    assert "at all" not in bt("show", "2024", "status==failed")[1]


def test_jobs_are_filtered_sorted_and_printed_as_asked(bt):
    where = ("strategy.entry_z>1", "--sort", "-job", "--columns", "job,config.fees,sharpe", "--limit", "0")
    code, out, _ = bt("show", "2024", *where, "--format", "json")
    assert code == 0
    assert json.loads(out) == [
        {"job": 5, "config.fees": "two words", "sharpe": -1.0},
        {"job": 4, "config.fees": "zero", "sharpe": 2.5},
        {"job": 3, "config.fees": "two words", "sharpe": None},
        {"job": 2, "config.fees": "zero", "sharpe": 3.0},
    ]
    rows = list(csv.DictReader(io.StringIO(bt("show", "2024", "--format", "csv")[1])))
    assert [row["job"] for row in rows] == ["2", "4", "0", "5", "1", "3"]
    assert rows[0]["run_id"] == "run-000002"
    assert rows[4]["sharpe"] == ""


def test_the_best_is_a_line_for_the_shell_and_why_goes_elsewhere(bt):
    assert bt("best", "2024") == (
        0,
        "bt +strategy=ou_pairs 'note='\"'\"'two words'\"'\"'' strategy.entry_z=1.5 fees=zero\n",
        "job 2: sharpe 3\n",
    )
    assert bt("best", "2024", "--metric", "sharpe", "--minimize")[2] == "job 5: sharpe -1\n"


def test_a_chart_is_drawn_into_a_file(bt, tmp_path):
    for chart in ("heatmap", "parallel"):
        file = tmp_path / f"{chart}.svg"
        assert bt("show", "2024", "sharpe<9", "--chart", chart, "--out", str(file), "--metric", "pnl")[0] == 0
        assert file.read_text().startswith("<svg")
    assert bt("show", "2024", "--chart", "heatmap", "--out", str(file), "--axes", "config.fees")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "1999"), "has the id '1999'. List them with: bt sweep list"),
        (("show", "20"), "the id '20' must name one sweep, but begins"),
        (("show", "2024", "sharp>1"), "was 'sharp'. Did you mean 'sharpe'?"),
        (("show", "2024", "--columns", "sharp"), "the column must be one of .*was 'sharp'"),
        (("show", "2024", "--sort", "sharp"), "the column to sort by must be one of .*was 'sharp'"),
        (("show", "2024", "--chart", "heatmap"), "--chart needs --out FILE"),
        (("show", "2024", "--out", "x.svg"), "--out goes with --chart"),
        (
            ("show", "2024", "--chart", "parallel", "--axes", "x", "--out", "x"),
            "--axes goes with --chart heatmap",
        ),
        (("best", "2024", "--metric", "sharp"), "the metric must be one of .*was 'sharp'"),
        (("best", "2024", "--minimize"), "--minimize goes with --metric"),
        (("best", "2025"), "was sharpe: 1 of 3 jobs have completed, none with a value"),
    ],
)
def test_what_means_nothing_is_refused(bt, words, message):
    code, out, err = bt(*words)
    assert (code, out) == (2, "")
    assert re.search(message, err), err
