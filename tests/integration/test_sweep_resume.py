"""A sweep goes on where it was left: what is done stays, what is missing or failed is run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from warm_sweeps import WarmPlace, WarmServer

from bt_framework.cli.main import main
from bt_framework.sweep.folder import TABLE_FILE, SweepFolder, sweep_folders
from bt_framework.sweep.journal import Ending, Journal, read_states

LOTS = [{"strategy.lots": str(n)} for n in range(1, 5)]


def run_ids(folder: SweepFolder) -> list[str]:
    """Ids of the runs of a sweep's jobs."""
    outcomes = [state.outcome for _, state in sorted(read_states(folder.path).items())]
    return [outcome.run_id for outcome in outcomes if outcome is not None]


def table(folder: SweepFolder) -> bytes:
    """Content of the sweep's table."""
    return (folder.path / TABLE_FILE).read_bytes()


@pytest.fixture(scope="module")
def resumed(
    trouble_server: WarmServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[WarmPlace, list[str]]:
    """A sweep of three jobs, of which one fails until a file is there; resumed by id, and by its command again."""
    place = WarmPlace(trouble_server, tmp_path_factory.mktemp("resumed"))
    over = place.path / "over"
    command = [
        "strategy.what=none,raise",
        "strategy.lots=1,2",
        f"strategy.until={over}",
        "limits.max_seconds=60",
    ]
    printed = [place.bt_sweep(*command)]
    over.touch()
    # From somewhere else.
    other = place.elsewhere(tmp_path_factory.mktemp("elsewhere"))
    where = ["--dir", str(place.path / "sweeps")]
    printed.append(
        other.bt("sweep", "resume", place.sweeps[0].path.name[:-2], "limits.max_seconds=50", *where)
    )
    assert other.runs == other.sweeps == []
    printed.append(place.bt_sweep(*command, "limits.max_seconds=40", "resume=true"))
    assert [code for code, _ in printed] == [3, 0, 0], printed
    return place, [text for _, text in printed]


def test_a_sweep_resumed_by_its_id_runs_only_what_had_failed(resumed) -> None:
    place, printed = resumed
    states = read_states(place.sweeps[0].path)
    assert [states[n].attempts for n in range(4)] == [1, 1, 2, 2]
    assert {state.ending for state in states.values()} == {Ending.COMPLETED}
    assert "resuming sweep" in printed[1]
    assert not list((place.sweeps[0].path / "errors").iterdir())


def test_resume_true_goes_on_with_the_newest_sweep_of_the_same_plan_however_it_is_carried_out(
    resumed,
) -> None:
    place, printed = resumed
    assert len(place.sweeps) == 1
    assert f"resuming sweep {place.sweeps[0].path}" in printed[2]


def test_resume_true_starts_a_sweep_of_another_plan(resumed) -> None:
    place, _ = resumed
    code, printed = place.bt_sweep("strategy.lots=1,2", "resume=true", "sweep.dir=others")
    assert code == 0, printed
    assert "no sweep of this plan in others: a new one starts" in printed
    assert len(sweep_folders(place.path / "others")) == 1


def test_identical_runs_of_another_sweep_are_reused_which_is_told(warm_place: WarmPlace) -> None:
    first, second = (warm_place.sweep(name, LOTS[:count]) for name, count in (("three", 3), ("four", 4)))
    assert warm_place.run(first)[0] == 0
    code, printed = warm_place.run(second)
    assert code == 0, printed
    assert "4 of 4 jobs completed, 3 of them reused" in printed
    assert len(warm_place.runs) == 4
    assert run_ids(first) == run_ids(second)[:3]


def test_what_was_said_before_a_sweep_is_resumed_is_not_said_again(warm_place: WarmPlace) -> None:
    folder = warm_place.sweep("told", LOTS[:1])
    Journal(folder.path).notice(0, "read long ago")
    code, printed = warm_place.run(folder)
    assert code == 0, printed
    assert "1 of 1 job completed" in printed
    assert "read long ago" not in printed


def test_a_sweep_that_is_under_way_is_refused_to_others(warm_place: WarmPlace) -> None:
    folder = warm_place.sweep("held", LOTS, "strategy.slow_s=0.5")
    process = warm_place.start(folder)
    process.until(lambda: read_states(folder.path))
    code, printed = warm_place.run(folder)
    assert code == 2, printed
    assert "bt: error: sweep held is under way in another process. Wait for it, or stop it." in printed
    assert process.wait() == 0, process.printed


def test_the_same_sweep_twice_at_once_is_two_sweeps_with_the_same_results(warm_place: WarmPlace) -> None:
    arguments = ["-m", *warm_place.command, "data.duration_ns=1500ms", "strategy.lots=1,2,3"]
    both = [warm_place.start_bt(*arguments, f"store_dir={warm_place.path}/new") for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0], [process.printed for process in both]
    first, second = warm_place.sweeps
    assert table(first) == table(second)
    assert pq.read_table(first.path / TABLE_FILE)["status"].to_pylist() == ["completed"] * 3


def test_jobs_that_differ_in_a_note_only_are_run_once(warm_place: WarmPlace) -> None:
    # The first job runs by itself, so that the others meet.
    jobs = [LOTS[0], *(LOTS[1] | {"note": name} for name in "abcd")]
    folder = warm_place.sweep("notes", jobs, "strategy.slow_s=0.2")
    assert warm_place.run(folder)[0] == 0
    assert len(warm_place.runs) == len(set(run_ids(folder))) == 2
    again = warm_place.sweep("again", jobs, "strategy.slow_s=0.2")
    assert warm_place.run(again, "rerun=true")[0] == 0
    assert len(warm_place.runs) == 2 + len(jobs)


def test_a_run_whose_end_was_not_written_down_is_found_by_what_it_is(warm_place: WarmPlace) -> None:
    folder = warm_place.sweep("lines", LOTS)
    assert warm_place.run(folder)[0] == 0
    before, runs = table(folder), run_ids(folder)
    for journal in (folder.path / "journal").iterdir():
        lines = journal.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line).get("job") != 2 or b'"started"' in line]
        journal.write_bytes(b"".join(kept))
    assert read_states(folder.path)[2].crashes == 1
    assert warm_place.run(folder)[0] == 0
    assert table(folder) == before
    assert run_ids(folder) == runs


def test_a_sweep_goes_on_in_the_folder_where_it_was_started(resumed) -> None:
    place, _ = resumed
    outcomes = [state.outcome for state in read_states(place.sweeps[0].path).values()]
    assert {Path(outcome.run_dir).parent for outcome in outcomes if outcome} == {place.path / "runs"}


def test_a_sweep_whose_folder_is_gone_is_not_resumed_in_another_one(warm_place: WarmPlace) -> None:
    folder = warm_place.sweep("moved", LOTS[:1])
    path = folder.path / "plan.json"
    gone = warm_place.path / "gone"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cwd": str(gone)}))
    code, printed = warm_place.bt("sweep", "resume", "moved")
    assert code == 2, printed
    assert (
        f"sweep moved was started in {gone}, which cannot be entered: No such file or directory." in printed
    )
    assert warm_place.runs == []


def test_what_cannot_be_resumed_is_refused(
    resumed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, _ = resumed
    monkeypatch.chdir(place.path)
    for arguments, message in (
        (["none"], "no sweep has the id 'none'. List them with: bt sweep list"),
        (
            [place.sweeps[0].path.name, "latency=colo"],
            "was 'latency=colo'. What is run is in the sweep's plan",
        ),
    ):
        assert main(["sweep", "resume", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_a_stop_and_a_resume_leave_the_table_of_a_sweep_that_was_not_stopped(warm_place: WarmPlace) -> None:
    whole, parts = (warm_place.sweep(name, LOTS, "strategy.slow_s=0.1") for name in ("whole", "parts"))
    process = warm_place.start(parts, "rerun=true", workers=1)
    process.until(lambda: any(state.ending for state in read_states(parts.path).values()))
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 130, process.printed
    assert warm_place.run(parts, "rerun=true")[0] == 0
    assert warm_place.run(whole, "rerun=true")[0] == 0
    assert table(parts) == table(whole)


def test_a_sweep_is_not_resumed_with_other_options_or_code_than_its_finished_jobs_had(
    warm_place: WarmPlace,
) -> None:
    options = warm_place.path / "own"
    option = options / "latency" / "mine.yaml"
    option.parent.mkdir(parents=True)
    content = "defaults: [/schema/latency/constant@_here_, _self_]\nentry_ns: 1ms\n"
    option.write_text(content)
    over = warm_place.path / "over"
    command = ["latency=zero,mine", "strategy.what=none,raise", f"strategy.until={over}"]
    assert warm_place.bt_sweep(*command, "--config-dir", str(options))[0] == 3
    over.touch()
    (folder,) = warm_place.sweeps
    before = table(folder)
    option.write_text(content.replace("1ms", "2ms"))
    for arguments in (
        ["sweep", "resume", folder.path.name],
        ["-m", *warm_place.command, *command, "--config-dir", str(options), "resume=true"],
    ):
        code, printed = warm_place.bt(*arguments)
        assert code == 2, printed
        assert "an option of job 2 has changed since it was run (config_hash was" in printed
        assert "its 2 finished jobs" in printed
    assert table(folder) == before
    option.write_text(content)
    code, printed = warm_place.bt("sweep", "resume", folder.path.name)
    assert code == 0, printed
    option.write_text(content.replace("1ms", "2ms"))  # nothing is left that could be mixed
    code, printed = warm_place.bt("sweep", "resume", folder.path.name)
    assert code == 0, printed
