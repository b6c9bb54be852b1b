"""`bt rerun`: a run can be repeated from what it left, and a difference is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import bt_framework
from bt_framework.cli.main import main
from bt_framework.results.folder import RunFolder
from bt_framework.results.result import RunResult

SHORT = ["+strategy=market_maker", "data.duration_ns=5s", "console=plain", "latency=colo"]


@pytest.fixture
def first(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> RunResult:
    """A run with fills, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))
    result = bt_framework.run([*SHORT, "note='${seed} is text'"])
    assert result.counts["fills"] > 0
    return result


def edit(result: RunResult, change: Callable[[dict], None]) -> None:
    """Change the stored configuration of a run."""
    path = result.run_dir / "config.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def test_a_repeated_run_has_an_equal_result(first: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["rerun", first.run_id]) == 0
    *_, verdict, before, after, identity = capsys.readouterr().out.splitlines()
    assert (verdict, identity) == ("result hash: equal", "identity: equal")
    assert before.split() == [first.run_id, first.result_hash, "(completed)"]
    assert after.split()[1:] == [first.result_hash, "(completed)"]
    assert after.split()[0] != first.run_id
    assert RunFolder(f"runs/{after.split()[0]}").config() == RunFolder(first.run_dir).config()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda config: config["strategy"].update(half_spread_bps=0.2), "config_hash"),
        (lambda config: config["data"].update(seed=2), "data_hash"),
    ],
)
def test_a_run_that_comes_out_differently_is_said_to_and_why(
    first: RunResult, capsys: pytest.CaptureFixture[str], change: Callable[[dict], None], part: str
) -> None:
    edit(first, change)
    assert main(["rerun", first.run_id]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4] == "result hash: differs"
    assert lines[-1] == f"identity: differs in {part}"


def test_what_cannot_change_a_result_changes_no_identity(
    first: RunResult, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(first, lambda config: config.update(slice_wakes=7, note="other", tags=["x"], writer={}))
    assert main(["rerun", first.run_id]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "identity: equal"


def test_a_run_without_its_configuration_cannot_be_repeated(
    first: RunResult, capsys: pytest.CaptureFixture[str]
) -> None:
    (first.run_dir / "config.yaml").unlink()
    assert main(["rerun", first.run_id]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"bt: error: {first.run_dir}/config.yaml cannot be read: No such file or directory."


def test_the_resolved_configuration_is_a_run(first: RunResult) -> None:
    again = bt_framework.run(config=RunFolder(first.run_dir).config())
    assert (again.result_hash, again.config_hash, again.data_hash, again.code_hash, again.seed) == (
        first.result_hash,
        first.config_hash,
        first.data_hash,
        first.code_hash,
        first.seed,
    )
    assert again.fills.equals(first.fills)
