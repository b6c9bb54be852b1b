"""`bt runs tag`, `note`, `rm` and `gc`: what they change, and what they never touch."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time

import pytest

from bt_framework.cli._run_selection import open_store
from bt_framework.errors import StorageError
from bt_framework.results.folder import RunFolder, amend, finish, start
from bt_framework.results.run import Status
from bt_framework.stores import upkeep

COMPLETED, FAILED, LOST = "20240800-abc", "20240801-abc", "20240802-abc"


@pytest.fixture
def store(runs_dir):
    return open_store([f"runs_dir={runs_dir}"])


@pytest.fixture
def running(runs_dir, make_run, store):
    """A run of this process that is under way."""
    run = make_run(runs_dir, run_id="20240803-abc")
    store.put(start(run))
    return run


def listed(bt, *arguments):
    return {run["run_id"]: run for run in json.loads(bt(*arguments, "--json")[1])}


def test_tags_are_given_and_taken_in_folder_and_store(bt, runs_dir):
    assert bt("tag", "20240800", FAILED, "--add", "night", "--add", "b") == (
        0,
        f"{COMPLETED}  night b\n{FAILED}  night b\n",
        "",
    )
    assert set(listed(bt, "tag==night")) == {COMPLETED, FAILED}
    assert bt("tag", "status==failed", "--remove", "night", "--remove", "b")[1] == f"{FAILED}  no tags\n"
    assert set(listed(bt, "tag==night")) == {COMPLETED}
    bt("tag", COMPLETED, "--add", "night")
    assert RunFolder(runs_dir / COMPLETED).record().tags == ("night", "b")
    assert RunFolder(runs_dir / FAILED).record().tags == ()


def test_a_note_is_replaced_and_labels_survive_a_new_index(bt, runs_dir):
    assert bt("note", COMPLETED, "größer, “better”") == (0, f"{COMPLETED}  größer, “better”\n", "")
    bt("tag", COMPLETED, "--add", "night")
    for file in runs_dir.glob("index.sqlite*"):
        file.unlink()
    bt("reindex")
    run = listed(bt, "note=='größer, “better”' and tag==night")[COMPLETED]
    assert (run["note"], run["tags"], run["status"]) == ("größer, “better”", ["night"], "completed")
    assert bt("note", COMPLETED, "")[1] == f"{COMPLETED}  no note\n"
    assert listed(bt)[COMPLETED]["note"] == ""


def test_a_lost_run_stays_lost_and_one_under_way_can_still_end(bt, running, make_summary, runs_dir):
    bt("tag", LOST, running.run_id, "--add", "x")
    assert RunFolder(runs_dir / LOST).stored().status == Status.RUNNING
    assert listed(bt)[LOST]["status"] == "lost"
    record = finish(running, make_summary())
    assert (record.tags, record.status) == (("x",), Status.COMPLETED)


def test_a_run_that_ends_while_it_is_labelled_loses_neither(tmp_path, make_run, make_summary):
    run = make_run(tmp_path)
    start(run)
    threads = [
        threading.Thread(target=finish, args=(run, make_summary())),
        *(threading.Thread(target=amend, args=(run.run_dir,), kwargs={"note": "x"}) for _ in range(4)),
        threading.Thread(target=amend, args=(run.run_dir,), kwargs={"tags": ("a",)}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = RunFolder(run.run_dir).record()
    assert (record.status, record.note, record.tags) == (Status.COMPLETED, "x", ("a",))


def test_a_run_whose_folder_is_elsewhere_is_labelled_in_the_store(bt, store, runs_dir):
    record = RunFolder(runs_dir / COMPLETED).record()
    store.put(dataclasses.replace(record, run_id="other", run_dir=runs_dir / "nowhere"))
    store.put(dataclasses.replace(record, run_id="mine", run_dir=runs_dir / FAILED))
    before = (runs_dir / FAILED / "run.json").read_bytes()
    assert bt("tag", "other", "mine", "--add", "x")[0] == 0
    assert set(listed(bt, "tag==x")) == {"other", "mine"}
    assert (runs_dir / FAILED / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tag", COMPLETED], "Say which tags: --add TAG, --remove TAG."),
        (["tag", "--add", "x"], "Say which runs: their ids, or a filter"),
        (["tag", COMPLETED, "seed==7", "--add", "x"], "Say which runs: their ids, or a filter"),
        (["tag", COMPLETED, "--add", "two words"], "a tag must be a word of up to 64 characters"),
        (["tag", COMPLETED, "--add", ""], "a tag must be a word of up to 64 characters"),
        (["tag", COMPLETED, "--add", "x\x1b"], "a tag must be a word of up to 64 characters"),
        (["tag", COMPLETED, "--add", "x" * 65], "a tag must be a word of up to 64 characters"),
        (["tag", "1999", "--add", "x"], "no run has the id '1999'"),
        (["note", COMPLETED, "two\nlines"], "a note must be one line of up to 1,000 characters"),
        (["note", COMPLETED, "x" * 1_001], "a note must be one line of up to 1,000 characters"),
        (["rm"], "Say which runs: their ids, or a filter"),
        (["rm", COMPLETED], "There is nobody to ask. Give --yes."),
        (["rm", "1999", "--yes"], "no run has the id '1999'"),
        (["rm", "statuss==failed", "--yes"], "a filter's field must be one of"),
        (["gc", "--older-than", "7"], "--older-than has no unit"),
    ],
)
def test_wrong_input_changes_nothing_and_exits_with_2(bt, store, arguments, message):
    before = [record.to_json() for record in store.list()]
    code, _, err = bt(*arguments)
    assert (code, message in err) == (2, True), err
    assert [record.to_json() for record in store.list()] == before


def test_a_removed_run_is_gone_from_folder_and_store_and_others_stay(bt, runs_dir):
    (runs_dir / COMPLETED / "fills.parquet").write_bytes(b"x" * 2_000_000)
    assert bt("rm", "20240800", "--yes") == (0, f"removed 1, freed 2.0 MB in {runs_dir}\n", "")
    assert set(listed(bt)) == {FAILED, LOST}
    assert sorted(path.name for path in runs_dir.iterdir() if path.is_dir()) == [FAILED, LOST]
    assert bt("rm", "status in [failed, lost]", "--yes")[0] == 0
    assert listed(bt) == {}
    assert bt("rm", "status==failed", "--yes")[:2] == (0, "no such runs\n")


def test_a_terminal_is_asked(bt, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked = []
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda text: asked.append(text) or "n")
    assert bt("rm", COMPLETED)[0] == 130
    assert len(listed(bt)) == 3
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda text: "y")
    assert bt("rm", COMPLETED)[0] == 0
    assert len(listed(bt)) == 2


def test_a_run_under_way_is_removed_only_by_force(bt, running):
    code, _, err = bt("rm", COMPLETED, running.run_id, "--yes")
    assert (code, len(listed(bt))) == (2, 4)
    assert f"run {running.run_id} is under way (process {os.getpid()} on " in err
    assert bt("rm", running.run_id, "--yes", "--force")[0] == 0
    assert not running.run_dir.exists()


def test_a_folder_outside_of_runs_dir_is_never_removed(bt, store, runs_dir, tmp_path, make_run, make_summary):
    run = make_run(tmp_path / "elsewhere", run_id="foreign")
    start(run)
    store.put(finish(run, make_summary()))
    code, _, err = bt("rm", "foreign", COMPLETED, "--yes")
    assert (code, len(listed(bt))) == (2, 4)
    assert (
        f"run foreign lies in {tmp_path / 'elsewhere'}, outside of {runs_dir}. Say so to remove it: " in err
    )


@pytest.mark.parametrize("kind", ["other run", "no run", "parent", "dots", "link", "empty", "root"])
def test_a_run_dir_that_is_not_the_run_s_is_never_touched(bt, store, runs_dir, tmp_path, kind):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    link = runs_dir / "link"
    link.symlink_to(runs_dir / FAILED)
    run_dir = {
        "other run": runs_dir / FAILED,
        "no run": precious,
        "parent": runs_dir,
        "dots": runs_dir / COMPLETED / ".." / ".." / "precious",
        "link": link,
        "empty": "",
        "root": "/",
    }[kind]
    run_id = FAILED if kind == "link" else "evil"
    record = dataclasses.replace(RunFolder(runs_dir / FAILED).record(), run_id=run_id, run_dir=run_dir)
    store.put(record)
    before = sorted(tmp_path.rglob("*"))
    assert bt("rm", run_id, "--yes")[0] == 0
    assert run_id not in listed(bt)
    assert [p for p in sorted(tmp_path.rglob("*")) if "index.sqlite" not in p.name] == [
        p for p in before if "index.sqlite" not in p.name
    ]


def test_gc_lists_what_goes_and_removes_it_when_told(bt, store, runs_dir, make_run, make_summary):
    half = runs_dir / "half"
    (half / "parts").mkdir(parents=True)
    (half / "config.yaml").write_text("seed: 1\n")
    somebodys = runs_dir / "notes"
    somebodys.mkdir()
    (somebodys / "config.yaml").write_text("x")
    (somebodys / "paper.pdf").write_text("x")
    interrupted = runs_dir / ".old.removed"
    interrupted.mkdir()
    for folder in (half, somebodys, interrupted):
        os.utime(folder, (1, 1))
    gone = RunFolder(runs_dir / COMPLETED).record()
    store.put(dataclasses.replace(gone, run_id="gone", run_dir=runs_dir / "gone"))
    store.put(dataclasses.replace(gone, run_id="far", run_dir=runs_dir.parent / "far" / "far"))
    before = sorted(runs_dir.iterdir())
    code, out, _ = bt("gc", "--older-than", "0s", "--dry-run")
    rows = {line.split()[0]: " ".join(line.split()[1:-1]) for line in out.splitlines()[1:-1]}
    assert (code, rows) == (
        0,
        {
            FAILED: "failed",
            LOST: "lost",
            "gone": "folder is gone",
            "half": "never started",
            ".old.removed": "half removed",
        },
    )
    assert out.splitlines()[-1].startswith("would remove 5, ")
    assert sorted(runs_dir.iterdir()) == before
    assert bt("gc", "--older-than", "0s")[0] == 2
    assert bt("gc", "--older-than", "0s", "--yes")[1].splitlines()[-1].startswith("removed 5, freed ")
    assert set(listed(bt)) == {COMPLETED, "far"}
    assert sorted(p.name for p in runs_dir.iterdir() if p.is_dir()) == [COMPLETED, "notes"]
    assert bt("gc", "--older-than", "0s")[:2] == (0, f"nothing to remove in {runs_dir}\n")


def test_gc_leaves_what_is_young_and_what_is_under_way(bt, running, runs_dir):
    half = runs_dir / "half"
    half.mkdir()
    (half / "config.yaml").write_text("seed: 1\n")
    amend(runs_dir / LOST, started_at_ns=time.time_ns())
    out = bt("gc", "--older-than", "1h", "--dry-run")[1]
    assert "half" not in out
    assert LOST not in out
    assert running.run_id not in bt("gc", "--older-than", "0s", "--dry-run")[1]
    assert "half" not in bt("gc", "--older-than", "0s", "--dry-run")[1]


def test_gc_finds_failed_runs_that_the_index_has_not(bt, runs_dir):
    for file in runs_dir.glob("index.sqlite*"):
        file.unlink()
    assert bt("gc", "--older-than", "0s", "--yes")[1].splitlines()[-1].startswith("removed 2, ")
    assert not (runs_dir / FAILED).exists()


def test_an_interrupted_removal_is_finished_by_gc(bt, store, runs_dir, monkeypatch):
    doomed = upkeep.removal(RunFolder(runs_dir / COMPLETED).record(), runs_dir)

    def fail(run_id):
        raise StorageError("the disk is full")

    monkeypatch.setattr(store, "remove", fail)
    with pytest.raises(StorageError, match="disk is full"):
        upkeep.remove(store, doomed)
    for folder in runs_dir.glob(".*.removed"):
        os.utime(folder, (1, 1))
    bt("gc", "--older-than", "0s", "--yes")
    assert listed(bt) == {}
    assert not list(runs_dir.glob(".*"))


def test_show_tells_tags_note_commit_and_feeds(bt, store, runs_dir, tmp_path):
    amend(
        runs_dir / COMPLETED,
        tags=("night", "b"),
        note="for the meeting",
        git_commit="ab12" * 10 + "-dirty",
        feeds=("1" * 64, "2" * 64),
    )
    bt("reindex")
    lines = [" ".join(line.split()) for line in bt("show", COMPLETED)[1].splitlines()]
    for line in (
        "tags night b",
        "note for the meeting",
        f"commit {'ab12' * 10}-dirty",
        f"feed BTCUSDT {'1' * 64}",
        f"feed ETHUSDT {'2' * 64}",
    ):
        assert line in lines
    shown = json.loads(bt("show", COMPLETED, "--json")[1])
    assert (shown["tags"], shown["note"], shown["feeds"]) == (
        ["night", "b"],
        "for the meeting",
        ["1" * 64, "2" * 64],
    )
