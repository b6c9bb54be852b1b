"""`bt` from the outside: exit codes, what is printed where, sweeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bt_framework.cli.main import COMMANDS, main

SHORT = ["+strategy=market_maker", "data.duration_ns=2s", "console=json"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event store that the tests of this file share."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def bt(tmp_path: Path, store: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `bt` in a process of its own, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"BT_STORE_DIR": str(store)} | environment
        command = [sys.executable, "-m", "bt_framework", *arguments]
        return subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, check=False)

    return run


def test_help_is_short_and_imports_nothing_heavy(bt: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = bt("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert imported & {"hydra", "omegaconf", "numba", "numpy", "pyarrow", "rich", "click", "pluggy"} == set()


def test_help_takes_less_than_half_a_second(bt: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    bt("--help")
    start = time.perf_counter()
    bt("--help")
    assert time.perf_counter() - start < 0.5


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: bt +strategy=NAME")


def test_a_run_prints_one_json_object_and_leaves_one_folder(
    bt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = bt(*SHORT)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["status"] == "completed"
    assert (Path(record["run_dir"]) / "run.json").is_file()
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["runs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["latency=colo"],
            "no strategy is chosen. Choose one with +strategy=NAME. The strategies there are:",
        ),
        (["+strategy=ou_pairs", "latency.entry_ns=-5"], "latency.entry_ns must be >= 0, was -5"),
        (
            ["plugin"],
            "the command must be one of data, db, ingest, metrics, plugins, rerun, runs, screen, sweep, validate, "
            "was 'plugin'. Did you mean 'plugins'? A run is written bt +strategy=NAME.",
        ),
        (["--verbose"], "unknown option '--verbose'. The options are "),
        (["+strategy=ou_pairs", "--cfg"], "--cfg needs a value."),
        (
            ["-m", "+strategy=ou_pairs", "latency=colo,cola"],
            "latency must be one of colo, constant, feed_derived, historical, jitter, retail, same_region, zero, "
            "was 'cola'.",
        ),
        (["-m", "+strategy=ou_pairs", "strategy.entry=1,2"], "unknown key strategy.entry "),
        (
            ["-m", "hydra.launcher._target_=os.system"],
            "the override 'hydra.launcher._target_",
        ),
        (["--experimental-rerun=x"], "unknown option '--experimental-rerun=x'."),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"bt: error: {message}" in printed.err
    assert "Traceback" not in printed.err


def test_a_traceback_is_printed_on_demand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BT_TRACEBACK", "1")
    assert main(["latency=cola"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_wrong_argument_of_a_command_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "latencies"]) == 2
    assert "'latencies' is not one of" in capsys.readouterr().err


def swept(work: Path) -> list[dict[str, Any]]:
    """Return the table of the newest sweep."""
    found = max(work.glob("sweeps/*/table.parquet"))
    rows: list[dict[str, Any]] = pq.read_table(found).to_pylist()
    return rows


def test_a_sweep_makes_a_run_of_each_combination(
    bt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = bt("-m", *SHORT, "latency=colo,retail", "strategy.max_units=1,2")
    assert done.returncode == 0, done.stderr
    rows = swept(tmp_path / "work")
    assert [(row["latency"], row["strategy.max_units"]) for row in rows] == [
        ("colo", 1),
        ("colo", 2),
        ("retail", 1),
        ("retail", 2),
    ]
    assert len({row["config_hash"] for row in rows}) == 4
    # Neither logs nor folders of Hydra's own.
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["runs", "sweeps"]
    assert not list((tmp_path / "work").rglob("multirun.yaml"))
    alone = json.loads(bt(*SHORT, "latency=retail", "strategy.max_units=1").stdout.splitlines()[-1])
    assert (alone["config_hash"], alone["result_hash"]) == (rows[2]["config_hash"], rows[2]["result_hash"])


def test_a_value_out_of_range_is_refused_before_the_first_job(
    bt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = bt("-m", *SHORT, "latency.entry_ns=5,-5")
    assert done.returncode == 2
    assert "bt: error: latency.entry_ns must be >= 0, was -5 (override latency.entry_ns=-5)." in done.stderr
    assert list((tmp_path / "work").iterdir()) == []


def test_the_composition_can_be_printed_instead_of_run(
    bt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = bt("+strategy=ou_pairs", "latency=colo", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "latency:\n  name: colo\n  entry_ns: 250us\n" in done.stdout
    assert list((tmp_path / "work").iterdir()) == []


def test_options_of_a_folder_of_the_user_can_be_swept(
    bt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "mine/latency").mkdir(parents=True)
    (tmp_path / "mine/latency/desk.yaml").write_text("defaults:\n  - colo\n  - _self_\nentry_ns: 1us\n")
    done = bt("-m", *SHORT, "latency=colo,desk", "--config-dir", str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert [row["latency"] for row in swept(tmp_path / "work")] == ["colo", "desk"]


def test_an_option_of_the_user_cannot_run_code_in_a_sweep(
    bt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "mine/experiment").mkdir(parents=True)
    trap = tmp_path / "sprung"
    (tmp_path / "mine/experiment/bad.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: pathlib.Path.touch\n"
        f"      self: {trap}\n"
    )
    done = bt("-m", *SHORT[1:], "experiment=taker_retail,bad", "--config-dir", str(tmp_path / "mine"))
    assert done.returncode == 2
    assert "would let a configuration import code" in done.stderr
    assert not trap.exists()


def test_plugins_are_listed_with_their_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "latency"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "latency  colo  bt-framework 0.1.0  Same availability zone as the matching engine: 250 us each way."
    )
    assert lines[1].split()[:4] == ["entry_ns", "Duration", "250us", "ns"]
    assert lines[1].endswith("from our decision to the matching engine")


def test_plugins_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["problems"] == []
    (pairs,) = [c for c in listed["components"] if c["name"] == "ou_pairs"]
    assert (pairs["kind"], pairs["package"], pairs["version"]) == ("strategy", "bt-framework", "0.1.0")
    keys = {key["name"]: key for key in pairs["keys"]}
    assert keys["entry_z"] == {
        "name": "entry_z",
        "type": "float",
        "default": 2.0,
        "unit": "stationary sd",
        "doc": "enter beyond this",
    }
    assert keys["execution"]["type"] == "maker|taker"


def test_a_broken_package_is_reported_and_the_rest_goes_on(
    bt: Callable[..., subprocess.CompletedProcess[str]], write_package: Callable[..., Path]
) -> None:
    path = str(write_package("import a_module_that_is_not_there\n"))
    listed = bt("plugins", PYTHONPATH=path)
    assert listed.returncode == 0
    assert "strategy  ou_pairs  bt-framework 0.1.0" in listed.stdout
    assert "bt: problem: stranger 1.2 (entry point main = stranger) cannot be imported: " in listed.stderr
    ran = bt(*SHORT, PYTHONPATH=path)
    assert ran.returncode == 0, ran.stderr
    assert "bt: warning: stranger 1.2 (entry point main = stranger) cannot be imported: " in ran.stderr
    missing = bt("+strategy=secret_sauce", PYTHONPATH=path)
    assert missing.returncode == 2
    assert "stranger 1.2" in missing.stderr


def test_a_reader_that_goes_away_is_no_error(store: Path) -> None:
    bt = subprocess.Popen(
        [sys.executable, "-m", "bt_framework", "plugins"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert bt.stdout is not None
    assert bt.stderr is not None
    bt.stdout.close()
    errors = bt.stderr.read()
    bt.stderr.close()
    assert bt.wait() == 141
    assert errors == b""
