"""Runs of the command line, afterwards: their metrics again, their labels, and what removes them."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import subprocess
from pathlib import Path

import pytest

import bt_framework
from bt_framework.cli._run_selection import open_store
from bt_framework.cli.main import main
from bt_framework.results.folder import RunFolder
from bt_framework.results.recompute import TABLES, recompute
from bt_framework.results.result import RunResult

SHORT = ["+strategy=market_maker", "data.duration_ns=5s", "console=plain", "latency=colo"]


def bits(metrics: dict[str, float]) -> dict[str, object]:
    """Each metric's bits; one NaN is like another."""
    return {k: "nan" if math.isnan(v) else (type(v), struct.pack("<d", v)) for k, v in metrics.items()}


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides that choose a store which keeps what metrics are made of as rows."""
    if request.param == "postgres":
        monkeypatch.setenv("BT_POSTGRES_URL", request.getfixturevalue("postgres_url"))
    return [f"store={request.param}", f"store.tables=[{','.join(TABLES)}]"]


@pytest.fixture
def work(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a repository with one commit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))
    (tmp_path / "strategy.md").write_text("buy low")
    for words in (["init", "-q"], ["add", "strategy.md"], ["commit", "-q", "-m", "First"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], check=True)
    return tmp_path


def run(*overrides: str) -> RunResult:
    result = bt_framework.run([*SHORT, *overrides])
    assert result.counts["fills"] > 0
    assert result.counts["trades"] > 0
    return result


def metrics(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    return (main(["metrics", *words]), *capsys.readouterr())


def test_metrics_from_rows_of_the_store_have_the_bits_of_the_run(
    work: Path, store: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(*store, "writer=[]", "slice_wakes=700")
    known = open_store(store)
    assert metrics(capsys, result.run_id, *store)[1].startswith(f"{result.run_id}  as stored")
    known.put(dataclasses.replace(result.record, metrics={"pnl": 1.0, "sharpe": math.nan}))
    out = metrics(capsys, result.run_id, *store)[1]
    assert f"pnl 1.0 -> {result.metrics['pnl']!r}" in out
    assert bits(known.get(result.run_id).metrics) == bits(result.metrics)
    known.put(dataclasses.replace(result.record, counts={**result.counts, "fills": 10**6}))
    assert metrics(capsys, result.run_id, *store)[0] == 0  # what the folder says is true
    known.put(dataclasses.replace(result.record, counts={**result.counts, "fills": 10**6}))
    for file in result.run_dir.iterdir():
        file.unlink()
    code, _, err = metrics(capsys, result.run_id, *store)
    assert (code, f"fills must have 1,000,000 rows, has {result.counts['fills']}." in err) == (1, True)


def test_the_row_of_metrics_is_replaced_even_where_the_record_has_the_same(
    work: Path, store: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from sqlalchemy import text

    result = run(*store)
    known = open_store(store)
    with known.database.writing() as connection:
        connection.execute(text("UPDATE backtest_metrics SET pnl = 1, fees = NULL"))
    assert metrics(capsys, result.run_id, *store)[0] == 0
    with known.database.reading() as connection:
        row = connection.execute(text("SELECT pnl, fees FROM backtest_metrics")).one()
    assert tuple(row) == (result.metrics["pnl"], result.metrics["fees"])


def test_metrics_from_files_have_the_bits_of_the_run_however_it_was_sliced(work: Path) -> None:
    results = [run(f"slice_wakes={wakes}") for wakes in (200_000, 313)]
    assert bits(results[0].metrics) == bits(results[1].metrics)
    for result in results:
        assert bits(recompute(result.record, RunFolder(result.run_dir))) == bits(result.metrics)


def test_a_run_knows_its_commit_tags_and_note_and_is_found_by_them(
    work: Path, store: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    result = run(*store, "tags=[night,fast]", "note=first try")
    assert result.git_commit == commit
    capsys.readouterr()
    assert main(["runs", f"git_commit=={commit[:7]} and tag==night", "--json", *store]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["run_id"], listed["tags"], listed["note"]) == (
        result.run_id,
        ["night", "fast"],
        "first try",
    )
    assert main(["runs", "tag", "tag==night", "--remove", "night", "--add", "day", *store]) == 0
    assert main(["runs", "note", result.run_id, "second thoughts", *store]) == 0
    record = open_store(store).get(result.run_id)
    assert (record.tags, record.note) == (("fast", "day"), "second thoughts")
    assert RunFolder(result.run_dir).record() == record
    assert main(["runs", "rm", "tag==day", "--yes", *store]) == 0
    known = open_store(store)
    assert (known.list(), known.tables(result.run_id)) == ([], ())
    assert not result.run_dir.exists()
